"""Revocation lists (CRLs, RFC 5280) that a verifier was given as files; nothing is fetched.

A certificate of the signer's chain that its own CA calls revoked fails, unless a trusted time stamp
says that it signed before. A list counts only where the CA that issued the certificate signed it.
Being on no list makes nothing trusted. Refused: a list that is partial (any critical extension: a
delta, one point of several), or one without a day of renewal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from policies.digest import sha256_hex
from provenance.chains import name_of
from provenance.evidence import Evidence, State
from provenance.trust_terms import Kind, TrustRefused, require_size

_WORST: tuple[State, ...] = ("fails", "warns", "holds")


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One CRL: who issued it and when, when it is due for renewal, and whom it revokes."""

    name: str
    sha256: str
    crl: x509.CertificateRevocationList
    issued: datetime
    due: datetime
    use: Kind = "revoked"

    @property
    def dated(self) -> str:
        """The day of issue, as 2026-08-05."""
        return self.issued.date().isoformat()

    @property
    def words(self) -> str:
        """The list in words, as every verdict prints it."""
        return (
            f"{self.name} ({len(self.crl)} revoked by {self.crl.issuer.rfc4514_string()}, "
            f"issued {self.dated}, SHA-256 {self.sha256})"
        )


def read_revocations(content: bytes, *, name: str) -> RevocationList:
    """Read one CRL, PEM or DER; raise TrustRefused.

    Its signature is checked where it is used, by the CA that issued the certificate in question.
    """
    require_size(content)
    is_pem = content.lstrip().startswith(b"-----")
    try:
        crl = x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)
        partial = any(extension.critical for extension in crl.extensions)
        due = crl.next_update_utc
        issued = crl.last_update_utc
        for one in crl:  # every entry is parsed here, so that no later look-up can fail
            _revoked_since(one)
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise TrustRefused(
            "this is no revocation list", mend="give the CRL of a CA, as PEM or DER"
        ) from error
    if partial:
        raise TrustRefused(
            "this revocation list covers only a part of what its CA issued",
            mend="ask the CA for its complete list",
        )
    if due is None or due < issued:
        raise TrustRefused("this revocation list does not say until when it holds")
    return RevocationList(name, sha256_hex(content), crl, issued, due)


def state_listed(
    chain: tuple[x509.Certificate, ...],
    lists: tuple[RevocationList, ...],
    *,
    roots: Iterable[x509.Certificate],
    stamped: datetime | None,
    now: datetime,
) -> Evidence:
    """Return the line about the revocation lists given, for every certificate of a chain.

    `roots`: the CAs the verifier believes; `stamped`: what a trusted time stamp says, None without
    one. Never raises.
    """
    cas = (*chain[1:], *roots)
    found = [
        word
        for certificate in chain
        if certificate.issuer != certificate.subject
        for one in lists
        if one.crl.issuer == certificate.issuer
        for word in _look_up(certificate, one, cas, stamped=stamped, now=now)
    ]
    for state in _WORST:
        if words := [said for kind, said in found if kind == state]:
            return Evidence("revocation", state, "; ".join(words))
    return Evidence("revocation", "unchecked", "no revocation list given is of the signer's CA")


def _look_up(
    certificate: x509.Certificate,
    one: RevocationList,
    cas: tuple[x509.Certificate, ...],
    *,
    stamped: datetime | None,
    now: datetime,
) -> Iterator[tuple[State, str]]:
    who = name_of(certificate)
    if not any(is_issuer(ca, certificate) and _has_signed(ca, one.crl) for ca in cas):
        yield "warns", f"{one.name} bears the name of the CA of {who}, and not its signature"
        return
    entry = one.crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is not None:
        since = _revoked_since(entry)
        signed_before = stamped is not None and stamped < since
        when = f"{who} was revoked {since:%Y-%m-%d %H:%M} UTC, says {one.name} of {one.dated}"
        if signed_before:
            yield "warns", f"{when}; a trusted time stamp says that it signed before"
        else:
            yield "fails", when
    # A CA may drop what has ended from its list (RFC 5280, 3.3), so silence says nothing then.
    elif one.issued <= certificate.not_valid_after_utc:
        if now > one.due:
            due = one.due.date().isoformat()
            yield "warns", f"{one.name} of {one.dated} was due for renewal on {due}"
        else:
            yield "holds", f"{who} is not on the revocation list {one.name} of {one.dated}"


def is_issuer(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Tell whether a CA's name and key stand behind a certificate; never raises."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _has_signed(ca: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # raises TypeError
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _revoked_since(entry: x509.RevokedCertificate) -> datetime:
    """Return from when a certificate may have been in other hands: the earlier of the two dates."""
    try:
        invalid = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
    except x509.ExtensionNotFound:
        return entry.revocation_date_utc
    known = invalid.invalidity_date.replace(tzinfo=UTC)
    return min(entry.revocation_date_utc, known)
