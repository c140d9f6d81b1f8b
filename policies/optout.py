"""The book of people who asked never to be swapped: face vectors, sealed, and every change logged.

Gives all entries or none. An entry that does not open, a row that the log does not know and a row
that the log knows and the table has lost each make the whole book unreadable, and whoever needs it
must deny: skipping one entry would open the door to the one person who closed it. What is listed
for people carries no vector and no pseudonym; nobody can ask here whether somebody is in the book.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import sqlalchemy as sa
from pydantic import ValidationError

from policies.audit import AuditLog
from policies.canonical import digest, parse
from policies.database import Database
from policies.errors import Error, Malformed, StoreUnavailable
from policies.subjectkeys import KeyUnknown, SubjectKeys
from policies.tables import CONSENT, ENTRY, OPT_OUT
from policies.terms import Digest, Document, Pseudonym, UnixTime, Uuid

ADDED, REMOVED = "added", "removed"

# How such an entry reads in the log's canonical JSON, where no quoted text can read so.
_IN_LOG = b'"kind":"opt_out"'


class OptOutUnknown(Error):
    """There is no opt-out of that id."""

    code = "OPT-OUT-UNKNOWN"


class OptOutsUnreadable(Error):
    """The book of opt-outs is not whole, so nothing can be cleared by it."""

    code = "OPT-OUTS-UNREADABLE"


class OptOutListing(Document):
    """An opt-out as it may be shown: which, by which identity model, since when (unix seconds)."""

    entry_id: Uuid
    model_sha256: Digest
    added_at: UnixTime


class _Row(OptOutListing):
    pid: Pseudonym


@dataclass(frozen=True, slots=True)
class OptOut:
    """An opened opt-out: its id, its identity model, and the packed face vector."""

    entry_id: str
    model_sha256: str
    vector: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OptOutBook:
    """Opt-outs in a database; `keys` seals every vector under a key of its own person."""

    database: Database
    log: AuditLog
    keys: SubjectKeys
    clock: Callable[[], int]
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    def add(self, vector: bytes, *, model_sha256: str, pid: str) -> str:
        """Seal, store and log one opt-out; return its entry id.

        `vector`: the packed identity vector that the model of that digest made. Raises Malformed
        for an empty vector, a digest or pseudonym of another form, StoreUnavailable when the
        pseudonym has an opt-out already, and what sealing raises.
        """
        row = _make_row(self.new_id(), model_sha256, pid, self.clock())
        if not vector:
            raise Malformed("an opt-out needs a face vector")
        sealed = self.keys.seal(vector, pid=pid, bound=bind_opt_out(row.entry_id, model_sha256))
        with self.database.transaction() as connection:
            connection.execute(sa.insert(OPT_OUT), row.model_dump() | {"ciphertext": sealed})
            self._log(ADDED, row.entry_id, connection)
        return row.entry_id

    def remove(self, entry_id: str) -> None:
        """Delete and log one opt-out, and destroy its key unless the person has a consent too.

        Works on an entry that no longer opens: it would keep the book unreadable for ever. Raises
        OptOutUnknown.
        """
        with self.database.transaction() as connection:
            pid = connection.scalar(sa.select(OPT_OUT.c.pid).where(OPT_OUT.c.entry_id == entry_id))
            if pid is None:
                raise OptOutUnknown(
                    "there is no opt-out of that id",
                    mend="list them with 'facewarrant optout list'",
                )
            connection.execute(sa.delete(OPT_OUT).where(OPT_OUT.c.entry_id == entry_id))
            self._log(REMOVED, entry_id, connection)
            shared = connection.scalar(
                sa.select(sa.func.count()).select_from(CONSENT).where(CONSENT.c.pid == pid)
            )
        if not shared:
            with suppress(KeyUnknown):  # the keys were lost, which is why the entry must go
                self.keys.destroy(pid)

    def list(self) -> tuple[OptOutListing, ...]:
        """Return every opt-out without its vector, oldest first; raise OptOutsUnreadable."""
        columns = (OPT_OUT.c.entry_id, OPT_OUT.c.model_sha256, OPT_OUT.c.added_at)
        with self.database.transaction() as connection:
            rows = connection.execute(
                sa.select(*columns).order_by(OPT_OUT.c.added_at, OPT_OUT.c.entry_id)
            ).all()
        try:
            return tuple(OptOutListing.model_validate(dict(row._mapping)) for row in rows)
        except ValidationError as error:
            raise OptOutsUnreadable("a row of the opt-outs is not one that was written") from error

    def version(self) -> str:
        """Return a digest that changes with every opt-out added or removed; no vector is opened.

        Entry ids are random and never used twice, so their set says which entries there are.
        """
        with self.database.transaction() as connection:
            ids = connection.execute(sa.select(OPT_OUT.c.entry_id)).scalars().all()
        return digest({"opt_outs": sorted(map(str, ids))})

    def entries(self) -> tuple[OptOut, ...]:
        """Return every opt-out, opened; raise OptOutsUnreadable when one is missing or damaged.

        Raises StoreUnavailable when the database cannot be read.
        """
        with self.database.transaction() as connection:
            rows = connection.execute(sa.select(OPT_OUT).order_by(OPT_OUT.c.entry_id)).all()
            logged = _logged(connection)
        if {commit_entry(str(row.entry_id)) for row in rows} != logged:
            raise OptOutsUnreadable(
                "the opt-outs in the database are not those in the log",
                mend="restore the database from its backup; nothing is released until then",
            )
        return tuple(self._open(row) for row in rows)

    def _open(self, row: sa.Row[tuple[object, ...]]) -> OptOut:
        bound = bind_opt_out(row.entry_id, row.model_sha256)
        try:
            vector = self.keys.open(row.ciphertext, pid=row.pid, bound=bound)
        except StoreUnavailable:
            raise
        except Error as error:
            raise OptOutsUnreadable(
                f"the opt-out {row.entry_id} does not open",
                mend="restore the database of keys; if the key is gone for good, remove the entry "
                "and have the person enrolled again",
            ) from error
        return OptOut(row.entry_id, row.model_sha256, vector)

    def _log(self, event: str, entry_id: str, connection: sa.Connection) -> None:
        content = {"event": event, "entry": commit_entry(entry_id)}
        self.log.append("opt_out", content, within=connection)


def commit_entry(entry_id: str) -> str:
    """Return what the log calls an opt-out: a digest of its random id, which says nothing else.

    Whoever keeps the id that they were given can show that their opt-out was recorded.
    """
    return digest({"kind": "opt_out", "entry_id": entry_id})


def bind_opt_out(entry_id: str, model_sha256: str) -> dict[str, str]:
    """Return what a sealed vector is bound to beside its person: one entry, one model."""
    return {"kind": "opt_out", "entry_id": entry_id, "model_sha256": model_sha256}


def _make_row(entry_id: str, model_sha256: str, pid: str, at: int) -> _Row:
    try:
        return _Row(entry_id=entry_id, model_sha256=model_sha256, pid=pid, added_at=at)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise Malformed(f"opt-out: {detail['loc'][0]}: {detail['msg']}") from error


def _logged(connection: sa.Connection) -> set[str]:
    """Return the commitments of the opt-outs that the log says there are.

    Reads the whole log, whatever the columns beside an entry say; called when the book has changed.
    """
    found = connection.execute(sa.select(ENTRY.c.data).order_by(ENTRY.c.i))
    present: set[str] = set()
    for data in found.scalars():
        if _IN_LOG not in data:
            continue
        entry = parse(data)
        change = present.add if entry["event"] == ADDED else present.discard
        change(entry["entry"])
    return present
