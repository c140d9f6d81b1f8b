"""The certificates of a home folder: how long they last, and a new development chain in time.

A renewal replaces the chain that 'facewarrant init' made. Refused: renewing a chain of a real CA,
which only that CA can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pipelines.settings import Settings
from policies.audit import AuditLog
from provenance.chains import Algorithm, load_anchors, load_chain, name_of
from provenance.errors import CertificateRefused
from provenance.pki import is_development_root, make_development_chain, renew_chain

Use = Literal["signer", "time stamps", "anchor"]

_FILES: dict[str, Use] = {"chain.pem": "signer", "tsa.pem": "time stamps"}


@dataclass(frozen=True, slots=True)
class Held:
    """One certificate of the home: its use, its name, its last moment, whole days left."""

    use: Use
    name: str
    sha256: str
    ends_at: int
    days_left: int


def list_certificates(settings: Settings, *, clock: Callable[[], int]) -> list[Held]:
    """Return signer, local time-stamping authority where there is one, and anchors.

    Raises CertificateRefused for a file that cannot be read.
    """
    pki, now = settings.home / "pki", datetime.fromtimestamp(clock(), UTC)
    found = [
        _held(use, load_chain(pki / name).leaf, now)
        for name, use in _FILES.items()
        if name == "chain.pem" or (pki / name).exists()
    ]
    return [*found, *(_held("anchor", root, now) for root in _roots(pki))]


def renew(
    settings: Settings,
    log: AuditLog,
    *,
    algorithm: Algorithm = "ES256",
    clock: Callable[[], int],
) -> list[Held]:
    """Make a new development chain and log it; the old root stays an anchor beside the new one.

    Raises CertificateRefused where a root is of a real CA, or the key lies elsewhere: nothing is
    changed then.
    """
    if settings.signer != "file":
        raise CertificateRefused(
            "the signing key is not in this home: a new chain here would not be of it",
            mend="get a certificate for the key where it is: 'Rotating keys' in docs/signing.md",
        )
    pki = settings.home / "pki"
    if not all(is_development_root(root) for root in _roots(pki)):
        raise CertificateRefused(
            "the chain is of a CA outside: only that CA can renew it",
            mend=f"ask it for a new certificate, and put chain.pem and key.pem into {pki}",
        )
    now = datetime.fromtimestamp(clock(), UTC)
    made = make_development_chain(organisation=settings.organisation, now=now, algorithm=algorithm)
    log.append("key_event", {"event": "rotated", "role": "signer", "kid": _digest(made.leaf)})
    renew_chain(made, pki)
    return list_certificates(settings, clock=clock)


def _roots(pki: Path) -> Iterator[x509.Certificate]:
    yield from load_anchors([pki / "root.pem"]).certificates


def _held(use: Use, certificate: x509.Certificate, now: datetime) -> Held:
    ends = certificate.not_valid_after_utc
    return Held(
        use, name_of(certificate), _digest(certificate), int(ends.timestamp()), (ends - now).days
    )


def _digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
