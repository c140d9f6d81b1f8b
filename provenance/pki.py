"""A development PKI: root, issuing CA, claim signer and time-stamping authority, in one call.

The keys of root and issuing CA are forgotten as soon as they have signed, so nobody can steal them;
a renewal makes a new PKI, and verifiers keep the old root beside the new one. Production brings its
own chain from a real CA. Judging chains and anchors is in `chains`; its names are repeated here.

Profile of the leaf: C2PA certificate profiles v0.2, claim signing, assurance level 1
(c2pa-org/conformance-public); of the time-stamping authority: RFC 3161, 2.3. Refused: overwriting
any file of an existing chain, unless it is renewed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

from provenance.chains import (
    CLAIM_SIGNING,
    EXPIRY_WARNING_DAYS,
    TIME_STAMPING,
    Algorithm,
    Chain,
    ChainRefused,
    TrustAnchors,
    lint_chain,
    load_anchors,
    load_chain,
    parse_chain,
    remaining_days,
)
from provenance.paths import lint_time_stamping
from provenance.signers import PrivateKey, load_key
from provenance.timestamps import LocalAuthority

__all__ = [
    "CLAIM_SIGNING",
    "EXPIRY_WARNING_DAYS",
    "Chain",
    "ChainRefused",
    "DevelopmentChain",
    "TrustAnchors",
    "is_development_root",
    "lint_chain",
    "load_anchors",
    "load_authority",
    "load_chain",
    "make_development_chain",
    "parse_chain",
    "remaining_days",
    "renew_chain",
    "save_chain",
]

MAX_ORGANISATION = 64
"""Longest organisation name in a certificate (RFC 5280, ub-organization-name)."""

_POLICY = ObjectIdentifier("1.3.6.1.4.1.62558.1.1")
_ASSURANCE = ObjectIdentifier("1.3.6.1.4.1.62558.3")
_ASSURANCE_LEVEL_1 = bytes.fromhex("060a2b0601040183e85e030a")  # DER of OID 1.3.6.1.4.1.62558.3.10
_PRODUCT_RECORD = ObjectIdentifier("1.3.6.1.4.1.62558.4")
# UTF8String of the all-zero UUID: a development signer is in no list of conforming products.
_NO_PRODUCT_RECORD = b"\x0c\x24" + b"00000000-0000-0000-0000-000000000000"
_COMMON_NAME = "FaceWarrant Development {}"
_RSA_BITS = 3072  # as strong as P-256 (NIST SP 800-57, part 1, table 2)
_BACKDATED = timedelta(minutes=5)  # a verifier's clock may run a little behind the signer's


@dataclass(frozen=True, slots=True)
class DevelopmentChain:
    """A throw-away PKI; the keys of its root and issuing CA are already gone."""

    root: x509.Certificate
    issuing: x509.Certificate
    leaf: x509.Certificate
    leaf_key: PrivateKey = field(repr=False)
    tsa: x509.Certificate
    tsa_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def chain(self) -> Chain:
        """Leaf and issuing CA, as the signer writes them; the root stays out."""
        return Chain((self.leaf, self.issuing))

    @property
    def anchors(self) -> TrustAnchors:
        """The root, as a verifier takes it, for signer and time stamp."""
        return TrustAnchors((self.root,), (self.root,))

    def authority(self, clock: Callable[[], datetime]) -> LocalAuthority:
        """The time-stamping authority, by a clock that gives the time with its zone."""
        return LocalAuthority(self.tsa_key, self.tsa, clock)


def make_development_chain(
    *, organisation: str, now: datetime, country: str = "DE", algorithm: Algorithm = "ES256"
) -> DevelopmentChain:
    """Make root, issuing CA, leaf and time-stamping authority, valid from 5 minutes before `now`.

    All are EC P-256 with SHA-256; the key of the leaf is by `algorithm`. The leaf follows the
    assurance-level-1 profile and lives 365 days, issuing CA and authority five years, the root ten.
    `organisation` (1 to 64 characters) is what verifiers show as the issuer. Raises ChainRefused
    (name) when it cannot stand in a certificate.
    """
    if not 1 <= len(organisation) <= MAX_ORGANISATION:
        raise ChainRefused("name", f"an organisation has 1 to {MAX_ORGANISATION} characters")
    root_key, issuing_key, tsa_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    leaf_key = _make_key(algorithm)
    try:
        root_name, issuing_name, leaf_name, tsa_name = (
            _name(country, organisation, _COMMON_NAME.format(role))
            for role in ("Root", "Issuing CA", "Claim Signer", "Time Stamps")
        )
    except ValueError as error:
        raise ChainRefused("name", f"this name cannot stand in a certificate: {error}") from error
    start = now.astimezone(UTC) - _BACKDATED
    root = _authority(root_name, root_name, root_key, start, days=3650, path_length=1)
    issuing = _authority(issuing_name, root_name, issuing_key, start, days=1825, path_length=0)
    leaf = _with(_base(leaf_name, issuing_name, leaf_key, start, days=365), _leaf_profile())
    tsa = _with(_base(tsa_name, root_name, tsa_key, start, days=1825), _tsa_profile())
    return DevelopmentChain(
        root=_sign(root, root_key),
        issuing=_sign(issuing, root_key),
        leaf=_sign(leaf, issuing_key),
        leaf_key=leaf_key,
        tsa=_sign(tsa, root_key),
        tsa_key=tsa_key,
    )


def save_chain(made: DevelopmentChain, folder: Path) -> None:
    """Write chain, root, time-stamping authority and their keys (mode 0600); never overwrite.

    Raises ChainRefused (exists) when one of them is there already, OSError when the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _files(made)
    for name in files:
        if (folder / name).exists():
            raise ChainRefused(
                "exists",
                f"{name} is there already and is not overwritten",
                mend="move the old files away; outputs signed with them need the old root",
            )
    for name, data in files.items():
        _write_new(folder / name, data)


def renew_chain(made: DevelopmentChain, folder: Path) -> None:
    """Put a new chain in the place of the one in `folder`; the old roots stay anchors beside it.

    So what was signed before stays trusted, and what is signed from now on lives a year longer.
    The roots are written first: stopped in between, nothing that was trusted ceases to be, and a
    second renewal mends the rest. Raises OSError when the disk refuses, ChainRefused (unreadable)
    when the old roots cannot be read.
    """
    old = load_anchors([folder / "root.pem"]).pem.encode("ascii")
    files = _files(made)
    for name in ("root.pem", *(n for n in files if n != "root.pem")):
        new = folder / f"{name}.new"
        new.unlink(missing_ok=True)
        _write_new(new, files[name] + (old if name == "root.pem" else b""))
        new.replace(folder / name)


def load_authority(folder: Path, *, clock: Callable[[], datetime]) -> LocalAuthority:
    """Read the local time-stamping authority of `folder`.

    Raises KeyRefused when its key is exposed or none, ChainRefused when its certificate cannot be
    read, is of another key, or is not for time stamping alone.
    """
    certificate, key = load_chain(folder / "tsa.pem").leaf, load_key(folder / "tsa-key.pem")
    lint_time_stamping(certificate)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != (
        certificate.public_key()
    ):
        raise ChainRefused("key-mismatch", "tsa-key.pem does not belong to tsa.pem")
    return LocalAuthority(key, certificate, clock)


def is_development_root(certificate: x509.Certificate) -> bool:
    """Tell whether `make_development_chain` made this root, by its name; a word, not a proof."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [name.value for name in names] == [_COMMON_NAME.format("Root")]


def _files(made: DevelopmentChain) -> dict[str, bytes]:
    return {
        "key.pem": _secret(made.leaf_key),
        "tsa-key.pem": _secret(made.tsa_key),
        "chain.pem": made.chain.pem.encode("ascii"),
        "tsa.pem": Chain((made.tsa,)).pem.encode("ascii"),
        "root.pem": made.anchors.pem.encode("ascii"),
    }


def _secret(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_new(path: Path, data: bytes) -> None:
    mode = 0o600 if b"PRIVATE KEY" in data else 0o644
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_key(algorithm: Algorithm) -> PrivateKey:
    if algorithm == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "PS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())


def _name(country: str, organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _base(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    start: datetime,
    *,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: datetime,
    *,
    days: int,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _base(subject, issuer, key, start, days=days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(authority=True), critical=True)
    )


def _leaf_profile() -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """The extensions of assurance level 1, each with its critical flag; e-mail protection too.

    The second usage lets a reader with the library's default settings accept the certificate.
    """
    ocsp = x509.UniformResourceIdentifier("http://ocsp.invalid/")  # reserved name, RFC 2606
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage([CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        (x509.CertificatePolicies([x509.PolicyInformation(_POLICY, None)]), False),
        (
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, ocsp)]
            ),
            False,
        ),
        (x509.UnrecognizedExtension(_ASSURANCE, _ASSURANCE_LEVEL_1), False),
        (x509.UnrecognizedExtension(_PRODUCT_RECORD, _NO_PRODUCT_RECORD), False),
    )


def _tsa_profile() -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage([TIME_STAMPING]), True),
    )


def _with(
    builder: x509.CertificateBuilder, profile: Iterable[tuple[x509.ExtensionType, bool]]
) -> x509.CertificateBuilder:
    for extension, critical in profile:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(
    builder: x509.CertificateBuilder, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return builder.add_extension(issuer, critical=False).sign(issuer_key, hashes.SHA256())
