"""Trust lists: whom a verifier believes, for which use, by which list of which day.

A list of roots is a file as C2PA publishes them, PEM or JSON: one for the CAs of claim signers, one
for those of time stamps. Beside them a verifier may be given the conforming products and the
revocation lists of CAs, which make nothing trusted. A root of one use may not vouch for the other,
and the C2PA library has one set for both (c2pa-rs 0.91); so where lists are loaded a file is read
more than once, each time with the roots of one use, and what only the wrong use vouches for counts
as untrusted. Refused: a certificate that is no CA, one whose own key usage is for the other use, a
list that was changed on disk, a name that is taken.

The roots that a verifier is given outside of lists count for both uses: whoever gives them says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import Field, StringConstraints, ValidationError

from policies.digest import sha256_hex
from policies.terms import Digest, Document
from provenance.chains import CLAIM_SIGNING, ChainRefused, TrustAnchors
from provenance.products import ProductList, read_products
from provenance.reading import EXPIRED, ManifestReading
from provenance.revocation import RevocationList, read_revocations
from provenance.store import write_whole
from provenance.tree import UNTRUSTED
from provenance.trust_lote import read_lote
from provenance.trust_terms import Kind, Name, TrustRefused, Use, require_day, require_size

MAX_LISTS: Final = 32
"""Most lists of one home; our own choice."""

TRUST_FOLDER: Final = "trust"
"""Folder of trust lists in the home folder."""

_ANY_USE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_USES: Final = {
    "signers": {_ANY_USE, CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION}
    | {
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
        x509.ObjectIdentifier("1.3.6.1.4.1.311.76.59.1.9"),
    },
    "time-stamps": {_ANY_USE, ExtendedKeyUsageOID.TIME_STAMPING},
}


class _Kept(Document):
    """A list as it is kept in the home folder."""

    schema_: Literal["facewarrant/trust/2"] = Field(alias="schema")
    name: Name
    use: Kind
    dated: Annotated[str, StringConstraints(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
    sha256: Digest
    content: str


@dataclass(frozen=True, slots=True)
class TrustList:
    """One list of roots: its use, the day it was issued (empty if unknown), its digest.

    `next_update`: when it is due for renewal, None where it does not say.
    """

    name: str
    use: Use
    dated: str
    sha256: str
    certificates: tuple[x509.Certificate, ...]
    next_update: datetime | None = None

    @property
    def words(self) -> str:
        """The list in words, as every verdict prints it."""
        day = f"issued {self.dated}" if self.dated else "without a date"
        if self.next_update is not None:
            day += f", due for renewal {self.next_update.date().isoformat()}"
        count = len(self.certificates)
        roots = f"{count} root{'' if count == 1 else 's'}"
        return f"{self.name} ({roots} for {self.use}, {day}, SHA-256 {self.sha256})"


AnyList = TrustList | ProductList | RevocationList


@dataclass(frozen=True, slots=True)
class TrustLists:
    """All lists a verifier was given; none by default. Only roots can make anything trusted."""

    lists: tuple[TrustList, ...] = ()
    products: tuple[ProductList, ...] = ()
    revoked: tuple[RevocationList, ...] = ()

    @property
    def every(self) -> tuple[AnyList, ...]:
        """All of them, roots first."""
        return (*self.lists, *self.products, *self.revoked)

    def roots(self, use: Use) -> tuple[x509.Certificate, ...]:
        """Return the roots of one use, in the order of the lists."""
        return tuple(c for one in self.lists if one.use == use for c in one.certificates)


NO_LISTS: Final = TrustLists()


def read_any(content: bytes, *, name: str, kind: Kind, dated: str = "") -> AnyList:
    """Judge a list of any kind; raise TrustRefused.

    A day that the list itself says is not given by hand: `dated` must be empty, or the same.
    """
    if kind == "products":
        return read_products(content, name=name, dated=dated)
    if kind == "revoked":
        found = read_revocations(content, name=name)
        _require_same_day(dated, found.dated)
        return found
    return read_list(content, name=name, use=kind, dated=dated)


def read_list(content: bytes, *, name: str, use: Use, dated: str = "") -> TrustList:
    """Judge a list of roots, PEM or JSON; raise TrustRefused, naming what does not fit.

    `dated`: the day its issuer put on it, as 2026-08-05; a JSON list says it itself. Text between
    PEM certificates is ignored.
    """
    if dated:
        require_day(dated)
    require_size(content)
    due = None
    try:
        if content.lstrip().startswith(b"{"):
            lote = read_lote(content, use=use)
            certificates, due = lote.certificates, lote.next_update
            issued = lote.issued.date().isoformat()
            _require_same_day(dated, issued)
            dated = issued
        else:
            certificates = tuple(x509.load_pem_x509_certificates(content))
        TrustAnchors(certificates)
        for certificate in certificates:
            _require_use(certificate, use)
    except ChainRefused as error:
        raise TrustRefused(error.message, mend=error.mend) from error
    except (ValueError, x509.DuplicateExtension) as error:
        raise TrustRefused(
            "this is not a list of PEM certificates",
            mend="give the list as its issuer publishes it",
        ) from error
    return TrustList(name, use, dated, sha256_hex(content), certificates, due)


class TrustFolder:
    """The lists of one home folder, one file each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(
        self,
        content: bytes,
        *,
        name: str,
        kind: Kind,
        dated: str = "",
        announce: Callable[[str], None] = lambda _sha256: None,
    ) -> AnyList:
        """Keep a list under a name; raise TrustRefused for a bad list, or a name that is taken.

        `announce` is told its digest once it is judged and before it counts: a list that cannot be
        logged is not believed. StoreUnavailable when it cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise TrustRefused(
                f"{name!r} is no name of a trust list",
                mend="letters, digits, dots, dashes and underscores, at most 64",
            )
        found = read_any(content, name=name, kind=kind, dated=dated)
        if self._path(name).exists():
            raise TrustRefused(
                f"there is a trust list called {name}",
                mend=f"facewarrant trust remove {name}, then add the new one",
            )
        if len(self._paths()) >= MAX_LISTS:
            raise TrustRefused(f"there are {MAX_LISTS} trust lists already", mend="remove one")
        kept = _Kept(
            schema="facewarrant/trust/2",
            name=name,
            use=kind,
            dated=dated,
            sha256=found.sha256,
            content=content.decode("latin-1"),
        )
        announce(found.sha256)
        write_whole(self._path(name), kept.model_dump_json(indent=1, by_alias=True).encode())
        return found

    def remove(self, name: str, *, announce: Callable[[str], None] = lambda _sha256: None) -> None:
        """Forget a list; raise TrustRefused for one that is not there.

        `announce` is told its digest before it is gone, an empty one for a list that no longer
        loads: that can be removed too.
        """
        if not any(path.stem == name for path in self._paths()):
            raise TrustRefused(f"no trust list is called {name!r}", mend="facewarrant trust list")
        announce(_digest_of(self._path(name)))
        self._path(name).unlink(missing_ok=True)

    def load(self) -> TrustLists:
        """Return every list, by name; raise TrustRefused for one that cannot be read.

        A list that does not load stops the verifier: a verdict under other trust than it prints
        would be worse than none.
        """
        found = [_load(path) for path in self._paths()]
        return TrustLists(
            tuple(one for one in found if isinstance(one, TrustList)),
            tuple(one for one in found if isinstance(one, ProductList)),
            tuple(one for one in found if isinstance(one, RevocationList)),
        )

    def _paths(self) -> list[Path]:
        return sorted(self._root.glob("*.json"))

    def _path(self, name: str) -> Path:
        return self._root / f"{name}.json"


def _digest_of(path: Path) -> str:
    """Return the digest of the list in a file; empty for one that no longer loads."""
    try:
        return _load(path).sha256
    except TrustRefused:
        return ""


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


def _require_same_day(given: str, said: str) -> None:
    if given not in ("", said):
        raise TrustRefused(
            f"the list says that it was issued on {said}, not on {given}", mend="leave --dated out"
        )


def _load(path: Path) -> AnyList:
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
        content = kept.content.encode("latin-1")
    except (OSError, ValidationError, ValueError) as error:
        raise TrustRefused(
            f"the trust list {path.name} cannot be read", mend="remove it and add it again"
        ) from error
    if (kept.sha256, kept.name) != (sha256_hex(content), path.stem):
        raise TrustRefused(
            f"the trust list {path.name} was changed since it was added",
            mend="remove it and add it again from its source",
        )
    return read_any(content, name=kept.name, kind=kept.use, dated=kept.dated)
