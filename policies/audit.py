"""The append-only log: what was decided, warranted and released, provable to an outsider.

A Merkle tree (`merkle.py`) over canonical JSON entries (`entries.py`) in the project's own
database, with signed checkpoints (`checkpoint.py`). Entries carry pseudonymous commitments and
digests only. Refused: an entry that is not of a known form, and any entry dated before its
predecessor (a clock set back). Nothing here sees a log that was cut or rewritten as a whole: only a
checkpoint kept elsewhere does (`AuditLog.check`), or a witness (`witness.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from policies import merkle
from policies.canonical import canonical, parse
from policies.checkpoint import Checkpoint, WitnessKey, open_checkpoint, sign_checkpoint
from policies.database import Database
from policies.entries import EntryKind, about_of, encode_entry, read_entry
from policies.errors import Error, Malformed
from policies.keys import PublicKey, SigningKey
from policies.tables import ENTRY, NODE

_PAGE = 1000  # rows that one select of `latest` looks at


class ClockRollback(Error):
    """The clock is behind the newest log entry; nothing may be decided with it."""

    code = "CLOCK-ROLLBACK"


class LogTampered(Error):
    """The log's entries no longer lead to its stored or signed root."""

    code = "LOG-TAMPERED"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an entry stands: its index, and the log's size right after it was appended."""

    index: int
    size: int


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """An entry, its place and its path to the root of a signed checkpoint."""

    entry: Mapping[str, Any]
    index: int
    path: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every entry's bytes, oldest first, and the signed checkpoint over exactly these."""

    entries: tuple[bytes, ...]
    checkpoint: str


class AuditLog:
    """The log over one database; `key` signs its checkpoints, `clock` gives unix seconds."""

    def __init__(
        self, database: Database, *, origin: str, key: SigningKey, clock: Callable[[], int]
    ) -> None:
        self._database = database
        self._origin = origin
        self._key = key
        self._clock = clock

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self._origin

    @property
    def public(self) -> PublicKey:
        """The key that its checkpoints are verified with."""
        return self._key.public

    def refuse_rollback(self, now: int, *, within: sa.Connection) -> None:
        """Raise ClockRollback when unix time `now` is behind the newest entry."""
        if now < (last := last_time(within)):
            raise ClockRollback(
                f"the clock says {now}, the newest log entry {last}",
                mend="set the clock right (NTP); nothing is decided while it is behind",
            )

    def append(
        self,
        kind: EntryKind,
        content: Mapping[str, Any],
        *,
        within: sa.Connection | None = None,
        never_wait: bool = False,
    ) -> Receipt:
        """Append one entry and return its place; `within` joins a transaction already open.

        With `never_wait` the entry gets the newest entry's time where the clock is behind it: for
        what only ends something, as a withdrawal. Raises Malformed for what `entries.encode_entry`
        refuses, otherwise ClockRollback when the clock is behind the newest entry.
        """
        return self.append_many([(kind, content)], within=within, never_wait=never_wait)[0]

    def append_many(
        self,
        batch: Sequence[tuple[EntryKind, Mapping[str, Any]]],
        *,
        within: sa.Connection | None = None,
        never_wait: bool = False,
    ) -> tuple[Receipt, ...]:
        """Append entries in one transaction, all with one time; all of them or none.

        The tree is the one that appending them one by one would give. Raises as `append` does.
        """
        if within is None:
            with self._database.transaction() as connection:
                return self.append_many(batch, within=connection, never_wait=never_wait)
        at = max(self._clock(), last_time(within)) if never_wait else self._clock()
        data = [encode_entry(kind, content, at=at) for kind, content in batch]
        if not data:
            return ()
        self.refuse_rollback(at, within=within)
        first = _size(within)
        rows = [(first + n, at, about_of(*batch[n]), entry) for n, entry in enumerate(data)]
        _insert(within, ENTRY, rows)
        _insert(within, NODE, _new_nodes(within, first, list(map(merkle.leaf_hash, data))))
        return tuple(Receipt(index, index + 1) for index in range(first, first + len(data)))

    def newest(self, about: str, *, within: sa.Connection) -> dict[str, Any] | None:
        """Return the newest entry about a consent's commitment or a warrant's id, if any."""
        data = within.scalar(
            sa.select(ENTRY.c.data)
            .where(ENTRY.c.about == about)
            .order_by(ENTRY.c.i.desc())
            .limit(1)
        )
        return None if data is None else parse(data)

    def entry(self, index: int, *, within: sa.Connection) -> dict[str, Any] | None:
        """Return the entry at an index, None where there is none; raise Malformed."""
        data = within.scalar(sa.select(ENTRY.c.data).where(ENTRY.c.i == index))
        return None if data is None else read_entry(data)

    def latest(
        self, limit: int, *, kind: EntryKind | None = None, about: str | None = None
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return index and content of the newest entries, newest first; at most `limit`."""
        found: list[tuple[int, dict[str, Any]]] = []
        with self._database.transaction() as connection:
            before = _size(connection)
            while before > 0 and len(found) < limit:
                wanted = sa.select(ENTRY.c.i, ENTRY.c.data).where(ENTRY.c.i < before)
                if about is not None:
                    wanted = wanted.where(ENTRY.c.about == about)
                page = connection.execute(wanted.order_by(ENTRY.c.i.desc()).limit(_PAGE)).all()
                read = [(row.i, parse(row.data)) for row in page]
                found += [(i, entry) for i, entry in read if kind in (None, entry["kind"])]
                before = page[-1].i if len(page) == _PAGE else 0
        return found[:limit]

    def checkpoint(self) -> str:
        """Return the signed note of the log as it stands."""
        with self._database.transaction() as connection:
            return self._checkpoint(connection)

    def prove(self, index: int) -> InclusionProof:
        """Return the proof that entry `index` is under a checkpoint signed now.

        Raises LogTampered when there is no such entry.
        """
        with self._database.transaction() as connection:
            data = connection.scalar(sa.select(ENTRY.c.data).where(ENTRY.c.i == index))
            if data is None:
                raise LogTampered(f"the log has no entry {index}")
            size = _size(connection)
            # Path and root in one select: two of them cost as much again (measured).
            *path, root = _roots(connection, [*merkle.inclusion_ranges(index, size), (0, size)])
            note = self._sign(size, root)
            return InclusionProof(parse(data), index, tuple(path), note)

    def prove_consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the first `new` entries only append to the first `old`.

        `new` is the log as it stands where it is left out. Raises LogTampered when the log does not
        have so many.
        """
        with self._database.transaction() as connection:
            size = _size(connection)
            new = size if new is None else new
            if not 0 < old <= new <= size:
                raise LogTampered(f"a log of {size} entries cannot show {new} extending {old}")
            return tuple(_roots(connection, merkle.consistency_ranges(old, new)))

    def entries(self) -> list[dict[str, Any]]:
        """Return every entry, oldest first."""
        return [parse(data) for data in self._read_all()[0]]

    def snapshot(self) -> Snapshot:
        """Return everything in the log with a checkpoint over it; raise LogTampered."""
        entries, checkpoint = self._read_all()
        return Snapshot(tuple(entries), checkpoint)

    def check(
        self, *kept: str, witnesses: Sequence[WitnessKey] = (), quorum: int = 0
    ) -> Checkpoint:
        """Recompute the whole tree from its entries and compare every stored node and column.

        `kept` are checkpoints from elsewhere, each cosigned by `quorum` of `witnesses`: they alone
        show a log that was cut or rewritten as a whole. Returns the recomputed head; raises
        LogTampered, and what `open_checkpoint` raises for what was kept.
        """
        with self._database.transaction() as connection:
            columns = (ENTRY.c.i, ENTRY.c.at, ENTRY.c.about, ENTRY.c.data)
            rows = connection.execute(sa.select(*columns).order_by(ENTRY.c.i)).all()
            nodes = connection.execute(sa.select(NODE.c.key, NODE.c.hash))
            stored = {key: value for key, value in nodes}
        if [row[0] for row in rows] != list(range(len(rows))):
            raise LogTampered("an entry is missing from the log")
        tree = merkle.build_tree([merkle.leaf_hash(row[3]) for row in rows])
        if stored != _keyed(tree):
            raise LogTampered("the log's entries do not lead to its tree: an entry was changed")
        previous = 0
        for i, at, about, data in rows:
            entry = _read(i, data)
            if (at, about) != (entry["at"], about_of(entry["kind"], entry)) or type(at) is not int:
                raise LogTampered(f"the columns of entry {i} are not what the entry says")
            if at < previous:
                raise LogTampered(f"entry {i} is dated before the one in front of it")
            previous = at
        for note in kept:
            old = open_checkpoint(
                note, origin=self._origin, key=self.public, witnesses=witnesses, quorum=quorum
            )
            if old.size > len(rows) or merkle.root_of(tree, 0, old.size) != old.root:
                raise LogTampered(f"the log does not extend the kept checkpoint of {old.size}")
        return Checkpoint(self._origin, len(rows), merkle.root_of(tree, 0, len(rows)))

    def _read_all(self) -> tuple[list[bytes], str]:
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(ENTRY.c.data).order_by(ENTRY.c.i)).scalars()
            return list(rows), self._checkpoint(connection)

    def _checkpoint(self, connection: sa.Connection) -> str:
        size = _size(connection)
        root = _roots(connection, [(0, size)])[0] if size else merkle.EMPTY_ROOT
        return self._sign(size, root)

    def _sign(self, size: int, root: bytes) -> str:
        return sign_checkpoint(Checkpoint(self._origin, size, root), key=self._key)


def verify_entry(
    proof: InclusionProof,
    *,
    origin: str,
    key: PublicKey,
    witnesses: Sequence[WitnessKey] = (),
    quorum: int = 0,
) -> Checkpoint:
    """Return the checkpoint under which the proof's entry stands.

    Raises ProofInvalid, BadSignature, TooFewWitnesses or Malformed. Needs no database: this is what
    an auditor runs.
    """
    head = open_checkpoint(
        proof.checkpoint, origin=origin, key=key, witnesses=witnesses, quorum=quorum
    )
    leaf = merkle.leaf_hash(canonical(proof.entry))
    merkle.verify_inclusion(
        leaf, index=proof.index, size=head.size, path=proof.path, root=head.root
    )
    return head


def last_time(connection: sa.Connection) -> int:
    """Return the unix time of the newest entry, 0 for an empty log; raise LogTampered."""
    last = connection.scalar(sa.select(ENTRY.c.at).order_by(ENTRY.c.i.desc()).limit(1))
    if last is not None and type(last) is not int:
        raise LogTampered("the time of the newest log entry is not a number")
    return last or 0


def _size(connection: sa.Connection) -> int:
    last = connection.scalar(sa.select(sa.func.max(ENTRY.c.i)))
    return 0 if last is None else int(last) + 1


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert whole rows, in the order of the table's columns.

    Straight to the driver: SQLAlchemy's handling of a row costs as much CPU as SQLite's (measured:
    7 of 29 us an entry). All values are integers, text or bytes, which every driver takes.
    """
    text, names = _insert_into(table, connection.dialect)
    parameters = [dict(zip(names, row, strict=True)) for row in rows] if names else list(rows)
    connection.exec_driver_sql(text, parameters)


@lru_cache(maxsize=8)
def _insert_into(table: sa.Table, dialect: sa.Dialect) -> tuple[str, tuple[str, ...]]:
    """Return the statement in the driver's own form, and its parameter names where it has them."""
    compiled = sa.insert(table).compile(dialect=dialect)
    return str(compiled), () if compiled.positional else tuple(table.c.keys())


def _new_nodes(
    connection: sa.Connection, first: int, leaves: Sequence[bytes]
) -> list[tuple[int, bytes]]:
    """Return key and hash of the full subtrees that `leaves` complete, appended at `first`."""
    end = first + len(leaves)
    # Of the subtrees on the left edge, only those whose right sibling is completed are needed.
    siblings = [
        (level, (first >> level) - 1)
        for level in range(first.bit_length())
        if first >> level & 1 and end >= ((first >> level) + 1) << level
    ]
    known = _fetch(connection, siblings) if siblings else {}
    nodes = []
    for index, value in enumerate(leaves, start=first):
        level = 0
        while True:
            known[level, index] = value
            nodes.append((level << 56 | index, value))
            if not index & 1:
                break
            value = merkle.node_hash(known[level, index - 1], value)  # noqa: PLW2901
            level, index = level + 1, index >> 1  # noqa: PLW2901
    return nodes


def _fetch(
    connection: sa.Connection, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    keys = sorted({level << 56 | index for level, index in wanted})
    rows = connection.execute(sa.select(NODE.c.key, NODE.c.hash).where(NODE.c.key.in_(keys)))
    found = {(key >> 56, key & (1 << 56) - 1): value for key, value in rows}
    if len(found) != len(keys):
        raise LogTampered("a node of the log's tree is missing")
    return found


def _roots(connection: sa.Connection, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    covers = [merkle.cover(low, high) for low, high in ranges]
    nodes = _fetch(connection, [node for cover in covers for node in cover])
    return [merkle.fold([nodes[node] for node in cover]) for cover in covers]


def _keyed(tree: Sequence[Sequence[bytes]]) -> dict[int, bytes]:
    """Return every full subtree by the key it is stored under."""
    return {
        level << 56 | index: value
        for level, row in enumerate(tree)
        for index, value in enumerate(row)
    }


def _read(index: int, data: bytes) -> dict[str, Any]:
    try:
        return read_entry(data)
    except Malformed as error:
        raise LogTampered(f"entry {index} is not an entry: {error.message}") from error
