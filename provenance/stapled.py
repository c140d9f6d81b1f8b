"""OCSP answers stapled to a claim signature (RFC 6960; C2PA specification 2.2, 10.3.2.6).

The C2PA library says good or revoked, and nothing of an answer that was out of date when the claim
was signed. Here an answer counts only where it is for the signer's certificate and signed by the CA
that issued it, or by a responder to whom that CA gave this task. The header with the answers is not
signed: anybody may put another there, so a good answer makes nothing trusted, and a missing one
proves nothing. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from provenance.claim_signature import ClaimSignature
from provenance.revocation import is_issuer

StapleState = Literal["revoked", "good", "revoked since", "stale", "unknown", "void"]
"""By weight: the first that any answer gives is the signer's. `void`: an answer that is broken, for
another certificate, or signed by nobody who may speak for the CA."""

DEFAULT_LIFE: Final = timedelta(days=1)
"""How long an answer counts that names no end; our own choice, RFC 6960 leaves it open."""

_ORDER: Final[tuple[StapleState, ...]] = get_args(StapleState)


@dataclass(frozen=True, slots=True)
class Staple:
    """What the stapled answers say together, and in words why."""

    state: StapleState
    words: str


def judge_answers(
    signature: ClaimSignature,
    *,
    roots: Iterable[x509.Certificate],
    stamped: datetime | None,
    now: datetime,
) -> Staple | None:
    """Judge the stapled answers about the signer; None where there is none. Never raises.

    `stamped`: what a trusted time stamp says. Without one nobody knows when it was signed, so an
    answer is held against `now`.
    """
    issuers = [ca for ca in (*signature.chain[1:], *roots) if is_issuer(ca, signature.leaf)]
    found = [_judge(der, signature.leaf, issuers, stamped, now) for der in signature.answers]
    return min(found, key=lambda one: _ORDER.index(one.state), default=None)


def _judge(
    der: bytes,
    leaf: x509.Certificate,
    issuers: list[x509.Certificate],
    stamped: datetime | None,
    now: datetime,
) -> Staple:
    try:
        answer = ocsp.load_der_ocsp_response(der)
        if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Staple("void", "the stapled OCSP answer is a refusal to answer")
        singles = [one for ca in issuers for one in _about(answer, leaf, ca)]
        if not singles:
            return Staple("void", "the stapled OCSP answer is about another certificate")
        if not any(_is_spoken_for(answer, ca, stamped or now) for ca in issuers):
            return Staple("void", "nobody who may speak for the signer's CA signed the OCSP answer")
        return _read(singles[0], stamped, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return Staple("void", "the stapled OCSP answer cannot be read")


def _read(one: ocsp.OCSPSingleResponse, stamped: datetime | None, now: datetime) -> Staple:
    made = one.this_update_utc
    asked = f"the OCSP answer of {made:%Y-%m-%d %H:%M} UTC"
    if one.certificate_status == ocsp.OCSPCertStatus.UNKNOWN:
        return Staple("unknown", f"{asked} does not know the signer's certificate")
    revoked = one.revocation_time_utc
    if revoked is not None:
        when = (
            f"{asked} says that the signer's certificate was revoked {revoked:%Y-%m-%d %H:%M} UTC"
        )
        if stamped is None or stamped >= revoked:
            return Staple("revoked", when)
        return Staple("revoked since", f"{when}; a trusted time stamp says that it signed before")
    until = one.next_update_utc or made + DEFAULT_LIFE
    if (stamped or now) > until:
        when = "when it was signed" if stamped else "today, and no trusted time stamp says when"
        return Staple("stale", f"{asked} held until {until:%Y-%m-%d %H:%M} UTC: out of date {when}")
    return Staple("good", f"{asked} says that the signer's certificate was not revoked")


def _about(
    answer: ocsp.OCSPResponse, leaf: x509.Certificate, ca: x509.Certificate
) -> Iterator[ocsp.OCSPSingleResponse]:
    """Yield what an answer says of one certificate; it is named by its CA's name and its number."""
    for one in answer.responses:
        digest = hashes.Hash(one.hash_algorithm)
        digest.update(ca.subject.public_bytes())
        if (one.serial_number, one.issuer_name_hash) == (leaf.serial_number, digest.finalize()):
            yield one


def _is_spoken_for(answer: ocsp.OCSPResponse, ca: x509.Certificate, at: datetime) -> bool:
    """Tell whether the CA signed an answer, or a responder of its own (RFC 6960, 4.2.2.2)."""
    return any(_has_signed(one, answer) for one in (ca, *_responders(answer, ca, at)))


def _responders(
    answer: ocsp.OCSPResponse, ca: x509.Certificate, at: datetime
) -> Iterator[x509.Certificate]:
    for one in answer.certificates:
        try:
            purposes = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        lives = one.not_valid_before_utc <= at <= one.not_valid_after_utc
        if ExtendedKeyUsageOID.OCSP_SIGNING in purposes and lives and is_issuer(ca, one):
            yield one


def _has_signed(certificate: x509.Certificate, answer: ocsp.OCSPResponse) -> bool:
    key, digest = certificate.public_key(), answer.signature_hash_algorithm
    signature, signed = answer.signature, answer.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        else:
            return False
    except InvalidSignature:
        return False
    return True
