"""A development PKI: root, issuing CA and claim signer, made in one call and written once.

The keys of root and issuing CA are forgotten as soon as they have signed, so nobody can steal them;
a renewal makes a new PKI, and verifiers keep the old root beside the new one. Production brings its
own chain from a real CA. Judging chains and anchors is in `chains`; its names are repeated here.

Profile of the leaf: C2PA certificate profiles v0.2, claim signing, assurance level 1
(c2pa-org/conformance-public). Refused: overwriting any file of an existing chain.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

from provenance.chains import (
    CLAIM_SIGNING,
    EXPIRY_WARNING_DAYS,
    Chain,
    ChainRefused,
    TrustAnchors,
    lint_chain,
    load_anchors,
    load_chain,
    parse_chain,
    remaining_days,
)

__all__ = [
    "CLAIM_SIGNING",
    "EXPIRY_WARNING_DAYS",
    "Chain",
    "ChainRefused",
    "DevelopmentChain",
    "TrustAnchors",
    "lint_chain",
    "load_anchors",
    "load_chain",
    "make_development_chain",
    "parse_chain",
    "remaining_days",
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
_BACKDATED = timedelta(minutes=5)  # a verifier's clock may run a little behind the signer's


@dataclass(frozen=True, slots=True)
class DevelopmentChain:
    """A throw-away PKI; the keys of its root and issuing CA are already gone."""

    root: x509.Certificate
    issuing: x509.Certificate
    leaf: x509.Certificate
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def chain(self) -> Chain:
        """Leaf and issuing CA, as the signer writes them; the root stays out."""
        return Chain((self.leaf, self.issuing))

    @property
    def anchors(self) -> TrustAnchors:
        """The root, as a verifier takes it."""
        return TrustAnchors((self.root,))


def make_development_chain(
    *, organisation: str, now: datetime, country: str = "DE"
) -> DevelopmentChain:
    """Make root, issuing CA and leaf (all EC P-256, SHA-256) valid from five minutes before `now`.

    The leaf follows the assurance-level-1 profile and lives 365 days, CAs ten and five years.
    `organisation` (1 to 64 characters) is what verifiers show as the issuer. Raises ChainRefused
    (name) when it cannot stand in a certificate.
    """
    if not 1 <= len(organisation) <= MAX_ORGANISATION:
        raise ChainRefused("name", f"an organisation has 1 to {MAX_ORGANISATION} characters")
    root_key, issuing_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    try:
        names = [
            _name(country, organisation, role)
            for role in ("Development Root", "Development Issuing CA", "Development Claim Signer")
        ]
    except ValueError as error:
        raise ChainRefused("name", f"this name cannot stand in a certificate: {error}") from error
    start = now.astimezone(UTC) - _BACKDATED
    root = _authority(names[0], names[0], root_key, start, days=3650, path_length=1)
    issuing = _authority(names[1], names[0], issuing_key, start, days=1825, path_length=0)
    leaf = _base(names[2], names[1], leaf_key, start, days=365)
    for extension, critical in _leaf_profile():
        leaf = leaf.add_extension(extension, critical=critical)
    return DevelopmentChain(
        root=_sign(root, root_key),
        issuing=_sign(issuing, root_key),
        leaf=_sign(leaf, issuing_key),
        leaf_key=leaf_key,
    )


def save_chain(made: DevelopmentChain, folder: Path) -> None:
    """Write key.pem (mode 0600), chain.pem and root.pem into `folder`; never overwrite.

    Raises ChainRefused (exists) when one of them is there already, OSError when the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    secret = made.leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = (
        ("key.pem", secret, 0o600),
        ("chain.pem", made.chain.pem.encode("ascii"), 0o644),
        ("root.pem", made.anchors.pem.encode("ascii"), 0o644),
    )
    for name, _, _ in files:
        if (folder / name).exists():
            raise ChainRefused(
                "exists",
                f"{name} is there already and is not overwritten",
                mend="move the old files away; outputs signed with them need the old root",
            )
    for name, data, mode in files:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(folder / name, flags, mode), "wb") as file:
            file.write(data)


def _name(country: str, organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"FaceWarrant {common_name}"),
        ]
    )


def _base(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
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
