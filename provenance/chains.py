"""Judging certificates before they are used: signing chains, and the anchors a verifier believes.

The C2PA library says "the certificate is invalid" and nothing more, and accepts what it should not:
a self-signed leaf among the anchors reads as trusted (measured with c2pa-rs 0.91). So a chain is
judged here first, with the reason in words. Refused: a chain that is not leaf, issuing CA and so on
up; a leaf that is a CA, is self-signed, lives too long, is outside its dates, has a wrong usage or
a key we cannot sign with; a key that belongs to another certificate; an anchor that is no CA.

Profile: C2PA Certificate Policy and certificate profiles v0.2, claim signing, assurance level 1
(c2pa-org/conformance-public); dates and extensions after RFC 5280.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
    SignatureAlgorithmOID,
)

from provenance.errors import CertificateRefused

CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""c2pa-kp-claimSigning, the extended key usage that the C2PA Certificate Policy demands."""

TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
"""The extended key usage of a time-stamping authority, and of the CA that issues only those."""

MAX_LEAF_LIFE = timedelta(days=366)
"""Longest life of a leaf at assurance level 1 (C2PA certificate profiles v0.2)."""

EXPIRY_WARNING_DAYS = 30
"""From here on `facewarrant doctor` and the signer's owner should renew; our own choice."""

MAX_CHAIN_LENGTH = 5
"""Leaf, up to three issuing CAs and the root; a longer chain is hostile or a mistake."""

MIN_RSA_BITS = 2048
"""Smallest RSA key of a signer or a CA (C2PA specification 2.2, section 14.5)."""

Algorithm = Literal["ES256", "ES384", "Ed25519", "PS256"]
"""How a claim is signed, by the key of the leaf; ES512 and the larger PS hashes add nothing."""

LeafKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

Reason = Literal[
    "unreadable",
    "incomplete",
    "order",
    "self-signed",
    "ca-leaf",
    "not-a-ca",
    "not-yet-valid",
    "expired",
    "too-long",
    "key-usage",
    "eku",
    "weak-key",
    "weak-hash",
    "key-mismatch",
    "exists",
    "name",
    "no-path",
]

_E = TypeVar("_E", bound=x509.ExtensionType)


class ChainRefused(CertificateRefused):
    """A certificate, chain or anchor is refused; `reason` is the machine form of why."""

    def __init__(self, reason: Reason, message: str, *, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Chain:
    """A signing chain as a manifest carries it: leaf first, then its issuers; the root is out."""

    certificates: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.certificates) <= MAX_CHAIN_LENGTH:
            raise ChainRefused(
                "unreadable",
                f"a chain has 1 to {MAX_CHAIN_LENGTH} certificates, not {len(self.certificates)}",
            )

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the signer itself."""
        return self.certificates[0]

    @property
    def pem(self) -> str:
        """The chain as PEM text, leaf first."""
        return _pem(self.certificates).decode("ascii")


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The CAs a verifier believes; `TrustAnchors(())` believes nobody, so nothing reads as trusted.

    `certificates` vouch for signers, `time_stamping` for time stamps. Every anchor must be a CA
    allowed to sign certificates: the C2PA library would accept a signer's self-signed leaf here. It
    also has one list for both kinds, so an authority of time stamps that is no anchor of signers
    must be a CA for time stamping alone, or its other customers would read as trusted signers.
    Raises ChainRefused (not-a-ca, eku).
    """

    certificates: tuple[x509.Certificate, ...]
    time_stamping: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        with refusing_malformed():
            for certificate in (*self.certificates, *self.time_stamping):
                require_ca(certificate, what="anchor")
            for certificate in self.time_stamping:
                _require_stamps_only(certificate, self.certificates)

    @property
    def pem(self) -> str:
        """The anchors of signers as PEM text; empty when there are none."""
        return _pem(self.certificates).decode("ascii")

    @property
    def time_stamping_pem(self) -> str:
        """The authorities of time stamps as PEM text; empty when there are none."""
        return _pem(self.time_stamping).decode("ascii")

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each certificate, 64 hex digits, for printing beside a verdict."""
        return tuple(c.fingerprint(hashes.SHA256()).hex() for c in self.certificates)


def load_chain(path: Path) -> Chain:
    """Read a PEM file, leaf first; raise ChainRefused (unreadable). It is not judged yet."""
    return parse_chain(_read(path))


def parse_chain(pem: bytes) -> Chain:
    """Read PEM bytes, leaf first; raise ChainRefused (unreadable). It is not judged yet."""
    return Chain(_certificates(pem))


def load_anchors(paths: Iterable[Path], *, time_stamping: Iterable[Path] = ()) -> TrustAnchors:
    """Read the anchors a verifier was given, any number per file.

    Raises ChainRefused: unreadable for a bad file, not-a-ca for a certificate that is no CA, among
    them a self-signed leaf, and eku for an authority of time stamps that vouches for others too.
    """
    signers, stamps = (
        tuple(c for path in group for c in _certificates(_read(path)))
        for group in (paths, time_stamping)
    )
    return TrustAnchors(signers, stamps)


def remaining_days(chain: Chain, *, now: datetime) -> int:
    """Return whole days until the first certificate of the chain expires; negative once it has."""
    return (min(c.not_valid_after_utc for c in chain.certificates) - now).days


def lint_chain(chain: Chain, *, now: datetime, key: LeafKey | None = None) -> None:
    """Return if `chain` may sign C2PA claims at `now` (and with `key`); else raise ChainRefused.

    `key` is the public half of the signing key, where the caller holds it.
    """
    with refusing_malformed():
        _lint_links(chain.certificates)
        for certificate in chain.certificates:
            lint_dates(certificate, now)
            lint_strength(certificate)
        leaf_algorithm(chain)
        _lint_leaf(chain.leaf)
        if key is not None and key != chain.leaf.public_key():
            raise ChainRefused(
                "key-mismatch",
                "the private key does not belong to the first certificate of the chain",
                mend="put the signer's own certificate first, and use its key",
            )


def leaf_algorithm(chain: Chain) -> Algorithm:
    """Return how claims are signed with the key of the leaf; raise ChainRefused (weak-key)."""
    with refusing_malformed():
        key = chain.leaf.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
            return "ES384"
        if isinstance(key, ed25519.Ed25519PublicKey):
            return "Ed25519"
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
            return "PS256"
        raise ChainRefused(
            "weak-key",
            "the signer's key is not EC P-256, EC P-384, Ed25519 or RSA of 2048 bits and more",
        )


def _require_stamps_only(
    certificate: x509.Certificate, signers: Sequence[x509.Certificate]
) -> None:
    purposes = list(_extension(certificate, x509.ExtendedKeyUsage) or ())
    if certificate not in signers and purposes != [TIME_STAMPING]:
        raise ChainRefused(
            "eku",
            f"{name_of(certificate)} vouches for more than time stamps",
            mend="give the CA that issues time-stamping certificates, not the root above it",
        )


@contextmanager
def refusing_malformed() -> Iterator[None]:
    """Turn what the parser raises into a refusal; it parses a field only when asked for it."""
    try:
        yield
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ChainRefused("unreadable", f"a certificate is malformed: {error}") from error


def _lint_links(certificates: Sequence[x509.Certificate]) -> None:
    leaf = certificates[0]
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is None or constraints.ca:
        raise ChainRefused("ca-leaf", "the first certificate is a CA or does not say it is none")
    if leaf.issuer == leaf.subject:
        raise ChainRefused("self-signed", "the signer's certificate is self-signed")
    if len(certificates) < 2:
        raise ChainRefused(
            "incomplete",
            "the chain holds the leaf alone",
            mend="append the issuing CA: without it no verifier reaches the root",
        )
    for below, above in pairwise(certificates):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ChainRefused(
                "order",
                f"certificate {name_of(below)} was not issued by the next one, {name_of(above)}",
                mend="write leaf, issuing CA, and so on upwards",
            ) from error
    for depth, certificate in enumerate(certificates[1:]):
        require_ca(certificate, what="issuer", below=depth)


def lint_dates(certificate: x509.Certificate, now: datetime) -> None:
    """Return if a certificate is valid at `now`; else ChainRefused (not-yet-valid, expired)."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        raise ChainRefused(
            "not-yet-valid",
            f"certificate {name_of(certificate)} is valid only from {start:%Y-%m-%d %H:%M} UTC",
            mend="check this machine's clock",
        )
    if now >= end:
        raise ChainRefused(
            "expired",
            f"certificate {name_of(certificate)} expired at {end:%Y-%m-%d %H:%M} UTC",
            mend="obtain a new certificate for the signer",
        )


def lint_strength(certificate: x509.Certificate) -> None:
    """Return if key and signature are strong enough; else ChainRefused (weak-key, weak-hash)."""
    key = certificate.public_key()
    strong = (
        (isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS)
        or (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256)
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not strong:
        raise ChainRefused("weak-key", f"certificate {name_of(certificate)} has a weak key")
    sha2 = isinstance(
        certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512
    )
    # Ed25519 has its hash inside, and certificates name none.
    if not sha2 and certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        raise ChainRefused(
            "weak-hash", f"certificate {name_of(certificate)} is not signed by SHA-2"
        )


def _lint_leaf(leaf: x509.Certificate) -> None:
    if leaf.not_valid_after_utc - leaf.not_valid_before_utc > MAX_LEAF_LIFE:
        raise ChainRefused(
            "too-long", f"the signer's certificate lives more than {MAX_LEAF_LIFE.days} days"
        )
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        raise ChainRefused(
            "key-usage", "the signer's key usage must have digitalSignature and not keyCertSign"
        )
    purposes = set(_extension(leaf, x509.ExtendedKeyUsage) or ())
    forbidden = {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.TIME_STAMPING,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    }
    if CLAIM_SIGNING not in purposes or purposes & forbidden:
        raise ChainRefused(
            "eku",
            "the signer's extended key usage must have C2PA claim signing "
            f"({CLAIM_SIGNING.dotted_string}), and no any, time stamping or OCSP usage",
            mend="ask the issuing CA for a C2PA claim-signing certificate",
        )


def require_ca(certificate: x509.Certificate, *, what: str, below: int = 0) -> None:
    """Refuse what may not sign certificates; `below` CAs stand between it and the leaf."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise ChainRefused(
            "not-a-ca",
            f"the {what} {name_of(certificate)} is not a CA that may sign certificates",
            mend="give a root or issuing CA, never the certificate of a signer",
        )
    if constraints.path_length is not None and constraints.path_length < below:
        raise ChainRefused("not-a-ca", f"the {what} {name_of(certificate)} allows no CA below it")


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise ChainRefused(
            "unreadable", "this is not a list of PEM certificates", mend="give X.509 PEM text"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ChainRefused("unreadable", f"{path.name} cannot be read: {error.strerror}") from error


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def name_of(certificate: x509.Certificate) -> str:
    """Return the quoted common name of a certificate's subject, for messages."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(names[0].value if names else "without a common name")
