"""Trust lists: whom a verifier believes, for which use, by which list of which day.

A list is a PEM file, as C2PA publishes them: one for the CAs of claim signers, one for those of
time stamps. A root of one use may not vouch for the other, and the C2PA library has one set for
both (c2pa-rs 0.91); so where lists are loaded a file is read more than once, each time with the
roots of one use, and what only the wrong use vouches for counts as untrusted. Refused: a
certificate that is no CA, one whose own key usage is for the other use, a list that was changed on
disk, a name that is taken.

The roots that a verifier is given outside of lists count for both uses: whoever gives them says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import Field, StringConstraints, ValidationError

from policies.digest import sha256_hex
from policies.terms import Digest, Document
from provenance.chains import CLAIM_SIGNING, ChainRefused, TrustAnchors
from provenance.errors import CertificateRefused
from provenance.reading import EXPIRED, ManifestReading
from provenance.store import write_whole
from provenance.tree import UNTRUSTED

Use = Literal["signers", "time-stamps"]

MAX_LIST_BYTES: Final = 2_000_000
"""Largest list read; the official ones have 60 kB (C2PA conformance-public, August 2026)."""

MAX_LISTS: Final = 32
"""Most lists of one home; our own choice."""

TRUST_FOLDER: Final = "trust"
"""Folder of trust lists in the home folder."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

_ANY_USE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_USES: Final = {
    "signers": {_ANY_USE, CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION}
    | {
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
        x509.ObjectIdentifier("1.3.6.1.4.1.311.76.59.1.9"),
    },
    "time-stamps": {_ANY_USE, ExtendedKeyUsageOID.TIME_STAMPING},
}


class TrustRefused(CertificateRefused):
    """A trust list cannot be taken in, or is not what it was when it was taken in."""

    code = "TRUST-REFUSED"


class _Kept(Document):
    """A list as it is kept in the home folder."""

    schema_: Literal["facewarrant/trust/1"] = Field(alias="schema")
    name: Name
    use: Use
    dated: Annotated[str, StringConstraints(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
    sha256: Digest
    pem: str


@dataclass(frozen=True, slots=True)
class TrustList:
    """One list: its use, the day it was issued (empty if unknown), its digest and its roots."""

    name: str
    use: Use
    dated: str
    sha256: str
    certificates: tuple[x509.Certificate, ...]

    @property
    def words(self) -> str:
        """The list in words, as every verdict prints it."""
        day = f"issued {self.dated}" if self.dated else "without a date"
        count = len(self.certificates)
        roots = f"{count} root{'' if count == 1 else 's'}"
        return f"{self.name} ({roots} for {self.use}, {day}, SHA-256 {self.sha256})"


@dataclass(frozen=True, slots=True)
class TrustLists:
    """All lists a verifier was given; none by default."""

    lists: tuple[TrustList, ...] = ()

    def roots(self, use: Use) -> tuple[x509.Certificate, ...]:
        """Return the roots of one use, in the order of the lists."""
        return tuple(c for one in self.lists if one.use == use for c in one.certificates)


NO_LISTS: Final = TrustLists()


def read_list(pem: bytes, *, name: str, use: Use, dated: str = "") -> TrustList:
    """Judge a PEM list; raise TrustRefused, naming the certificate that does not fit.

    `dated`: the day its issuer put on it, as 2026-08-05; text between the certificates is ignored.
    """
    if dated:
        _require_day(dated)
    if len(pem) > MAX_LIST_BYTES:
        raise TrustRefused(f"a trust list has at most {MAX_LIST_BYTES} bytes, this has {len(pem)}")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        TrustAnchors(certificates)
        for certificate in certificates:
            _require_use(certificate, use)
    except ChainRefused as error:
        raise TrustRefused(error.message, mend=error.mend) from error
    except (ValueError, x509.DuplicateExtension) as error:
        raise TrustRefused(
            "this is not a list of PEM certificates",
            mend="give the PEM form of the list; the JSON form is not read",
        ) from error
    return TrustList(name, use, dated, sha256_hex(pem), certificates)


class TrustFolder:
    """The lists of one home folder, one file each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, pem: bytes, *, name: str, use: Use, dated: str = "") -> TrustList:
        """Keep a list under a name; raise TrustRefused for a bad list, or a name that is taken.

        StoreUnavailable when it cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise TrustRefused(
                f"{name!r} is no name of a trust list",
                mend="letters, digits, dots, dashes and underscores, at most 64",
            )
        found = read_list(pem, name=name, use=use, dated=dated)
        if self._path(name).exists():
            raise TrustRefused(
                f"there is a trust list called {name}",
                mend=f"facewarrant trust remove {name}, then add the new one",
            )
        if len(self._paths()) >= MAX_LISTS:
            raise TrustRefused(f"there are {MAX_LISTS} trust lists already", mend="remove one")
        kept = _Kept(
            schema="facewarrant/trust/1",
            name=name,
            use=use,
            dated=dated,
            sha256=found.sha256,
            pem=pem.decode("latin-1"),
        )
        write_whole(self._path(name), kept.model_dump_json(indent=1, by_alias=True).encode())
        return found

    def remove(self, name: str) -> None:
        """Forget a list; raise TrustRefused for one that is not there."""
        if not any(path.stem == name for path in self._paths()):
            raise TrustRefused(f"no trust list is called {name!r}", mend="facewarrant trust list")
        self._path(name).unlink(missing_ok=True)

    def load(self) -> TrustLists:
        """Return every list, by name; raise TrustRefused for one that cannot be read.

        A list that does not load stops the verifier: a verdict under other trust than it prints
        would be worse than none.
        """
        return TrustLists(tuple(_load(path) for path in self._paths()))

    def _paths(self) -> list[Path]:
        return sorted(self._root.glob("*.json"))

    def _path(self, name: str) -> Path:
        return self._root / f"{name}.json"


def read_by_use(
    read: Callable[[TrustAnchors], ManifestReading], anchors: TrustAnchors, lists: TrustLists
) -> ManifestReading:
    """Read a manifest so that every root vouches only for its own use.

    `read`: reads one file with the anchors it is given; called once without lists, and two to six
    times with them. A signer known only by a root for time stamps becomes untrusted; a time stamp
    known only by a root for signers does not count, and what rested on it falls.
    """
    if not lists.lists:
        return read(anchors)
    both = anchors.certificates
    signers = _unique((*both, *lists.roots("signers")))
    stamps = _unique((*both, *anchors.time_stamping, *lists.roots("time-stamps")))
    found = read(TrustAnchors(_unique((*signers, *stamps))))
    if not (found.signer_trusted or found.time_stamped):
        return found
    by_stamps = read(TrustAnchors(stamps))
    if found.time_stamped and not by_stamps.time_stamped:
        found = _without_stamp(read, signers)
    if by_stamps.signer_trusted and not _leads_to_signers(read, signers, stamps):
        found = _without_signer(found)
    return found


def _leads_to_signers(
    read: Callable[[TrustAnchors], ManifestReading],
    signers: tuple[x509.Certificate, ...],
    stamps: tuple[x509.Certificate, ...],
) -> bool:
    """Tell whether a signer whom roots for time stamps vouch for leads to one for signers too."""
    if read(TrustAnchors(signers)).signer_trusted:
        return True
    # An expired signer reads as unknown without its stamp; so look under the stamp's root alone.
    alone = read(TrustAnchors(tuple(root for root in stamps if root not in signers)))
    return alone.time_stamped and not alone.signer_trusted


def _without_stamp(
    read: Callable[[TrustAnchors], ManifestReading], signers: tuple[x509.Certificate, ...]
) -> ManifestReading:
    """Judge a file as if its time stamp were not there; only an expired signer needs it."""
    bare = read(TrustAnchors(()))
    found = bare if EXPIRED in bare.failures else read(TrustAnchors(signers))
    return replace(found, time_stamped=False, misused=(*found.misused, "time stamp"))


def _without_signer(found: ManifestReading) -> ManifestReading:
    return replace(
        found,
        verdict="intact_untrusted" if found.verdict == "trusted" else found.verdict,
        failures=(*found.failures, UNTRUSTED),
        misused=(*found.misused, "signer"),
    )


def _unique(certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    return tuple({c.public_bytes(Encoding.DER): c for c in certificates}.values())


def _require_use(certificate: x509.Certificate, use: Use) -> None:
    """Refuse a CA whose own extended key usage is for something else; most roots have none."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not set(purposes) & _USES[use]:
        who = certificate.subject.rfc4514_string()
        raise TrustRefused(
            f"{who} is no root for {use}: its key usage forbids it",
            mend="add it for the other use, if its issuer says so",
        )


def _require_day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise TrustRefused(f"{text!r} is no day", mend="write it as 2026-08-05") from error


def _load(path: Path) -> TrustList:
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
        pem = kept.pem.encode("latin-1")
    except (OSError, ValidationError, ValueError) as error:
        raise TrustRefused(
            f"the trust list {path.name} cannot be read", mend="remove it and add it again"
        ) from error
    if (kept.sha256, kept.name) != (sha256_hex(pem), path.stem):
        raise TrustRefused(
            f"the trust list {path.name} was changed since it was added",
            mend="remove it and add it again from its source",
        )
    return read_list(pem, name=kept.name, use=kept.use, dated=kept.dated)
