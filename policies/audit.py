"""The append-only log: what was decided, warranted and released, provable to an outsider.

A Merkle tree (`merkle.py`) over canonical JSON entries in the project's own database, with signed
checkpoints (`checkpoint.py`). Entries carry pseudonymous commitments and digests only. Refused: an
entry of unknown kind or over 4 kB, and any entry dated before its predecessor (a clock set back).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from policies import merkle
from policies.canonical import canonical, parse, parse_object
from policies.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from policies.database import ENTRY, NODE, Database
from policies.errors import Error, Malformed
from policies.keys import PublicKey, SigningKey

EntryKind = Literal["consent_event", "decision", "warrant", "release", "abort"]

_OWN_FIELDS = frozenset({"v", "kind", "at"})

MAX_ENTRY_BYTES = 4096
"""Entries name digests, not data; anything longer is a mistake about what belongs in a log."""


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

    def refuse_rollback(self, now: int, *, within: sa.Connection) -> None:
        """Raise ClockRollback when unix time `now` is behind the newest entry."""
        if now < (last := last_time(within)):
            raise ClockRollback(
                f"the clock says {now}, the newest log entry {last}",
                mend="set the clock right (NTP); nothing is decided while it is behind",
            )

    def append(
        self, kind: EntryKind, content: Mapping[str, Any], *, within: sa.Connection | None = None
    ) -> Receipt:
        """Append one entry and return its place; `within` joins a transaction already open.

        Raises Malformed for an unknown kind or an oversized entry, ClockRollback when the clock
        is behind the newest entry.
        """
        if within is None:
            with self._database.transaction() as connection:
                return self.append(kind, content, within=connection)
        if kind not in get_args(EntryKind):
            raise Malformed(f"no log entry is of kind {kind!r}")
        if taken := sorted(_OWN_FIELDS & content.keys()):
            raise Malformed(f"a log entry's {', '.join(taken)} is set by the log alone")
        at = self._clock()
        self.refuse_rollback(at, within=within)
        data = canonical({"v": 1, "kind": kind, "at": at, **content})
        if len(data) > MAX_ENTRY_BYTES:
            raise Malformed(f"a log entry of {len(data)} bytes; at most {MAX_ENTRY_BYTES}")
        index = _size(within)
        row = {"i": index, "at": at, "about": _about(kind, content), "data": data}
        within.execute(sa.insert(ENTRY), row)
        within.execute(sa.insert(NODE), _new_nodes(within, index, merkle.leaf_hash(data)))
        return Receipt(index=index, size=index + 1)

    def newest(self, about: str, *, within: sa.Connection) -> dict[str, Any] | None:
        """Return the newest entry about a consent's commitment or a warrant's id, if any."""
        data = within.scalar(
            sa.select(ENTRY.c.data)
            .where(ENTRY.c.about == about)
            .order_by(ENTRY.c.i.desc())
            .limit(1)
        )
        return None if data is None else parse(data)

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
            ranges = merkle.inclusion_ranges(index, _size(connection))
            path = tuple(_roots(connection, ranges))
            return InclusionProof(parse(data), index, path, self._checkpoint(connection))

    def prove_consistency(self, old: int) -> tuple[bytes, ...]:
        """Return the proof that the log as it stands only appended to its first `old` entries."""
        with self._database.transaction() as connection:
            size = _size(connection)
            if not 0 < old <= size:
                raise LogTampered(f"a log of {size} entries does not extend one of {old}")
            return tuple(_roots(connection, merkle.consistency_ranges(old, size)))

    def entries(self) -> list[dict[str, Any]]:
        """Return every entry, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(ENTRY.c.data).order_by(ENTRY.c.i))
            return [parse(data) for (data,) in rows]

    def check(self, kept: str | None = None) -> Checkpoint:
        """Recompute the whole tree from its entries and compare every stored node and column.

        `kept` is a checkpoint from elsewhere: it alone shows a log that was cut or rewritten as a
        whole. Returns the recomputed head; raises LogTampered.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(ENTRY).order_by(ENTRY.c.i)).all()
            stored = {key: value for key, value in connection.execute(sa.select(NODE))}
        if [row.i for row in rows] != list(range(len(rows))):
            raise LogTampered("an entry is missing from the log")
        tree = _tree([merkle.leaf_hash(row.data) for row in rows])
        if tree != stored:
            raise LogTampered("the log's entries do not lead to its tree: an entry was changed")
        for row in rows:
            entry = parse_object(row.data)
            if (row.at, row.about) != (entry["at"], _about(entry["kind"], entry)):
                raise LogTampered(f"the columns of entry {row.i} are not what the entry says")
        if kept is not None:
            old = open_checkpoint(kept, origin=self._origin, key=self._key.public)
            if old.size > len(rows) or _root_of(tree, old.size) != old.root:
                raise LogTampered(f"the log does not extend the kept checkpoint of {old.size}")
        return Checkpoint(self._origin, len(rows), _root_of(tree, len(rows)))

    def _head(self, connection: sa.Connection) -> Checkpoint:
        size = _size(connection)
        root = _roots(connection, [(0, size)])[0] if size else merkle.EMPTY_ROOT
        return Checkpoint(self._origin, size, root)

    def _checkpoint(self, connection: sa.Connection) -> str:
        return sign_checkpoint(self._head(connection), key=self._key)


def verify_entry(proof: InclusionProof, *, origin: str, key: PublicKey) -> Checkpoint:
    """Return the checkpoint under which the proof's entry stands.

    Raises ProofInvalid, BadSignature or Malformed. Needs no database: this is what an auditor runs.
    """
    head = open_checkpoint(proof.checkpoint, origin=origin, key=key)
    leaf = merkle.leaf_hash(canonical(proof.entry))
    merkle.verify_inclusion(
        leaf, index=proof.index, size=head.size, path=proof.path, root=head.root
    )
    return head


def _size(connection: sa.Connection) -> int:
    last = connection.scalar(sa.select(sa.func.max(ENTRY.c.i)))
    return 0 if last is None else int(last) + 1


def last_time(connection: sa.Connection) -> int:
    """Return the unix time of the newest entry, 0 for an empty log; raise LogTampered."""
    last = connection.scalar(sa.select(ENTRY.c.at).order_by(ENTRY.c.i.desc()).limit(1))
    if last is not None and type(last) is not int:
        raise LogTampered("the time of the newest log entry is not a number")
    return last or 0


def _new_nodes(connection: sa.Connection, index: int, leaf: bytes) -> list[dict[str, object]]:
    """Return the full subtrees that entry `index` completes, its own leaf first."""
    siblings = []
    level = 0
    while index >> level & 1:
        siblings.append((level, (index >> level) - 1))
        level += 1
    known = _fetch(connection, siblings)
    nodes: list[dict[str, object]] = [{"key": index, "hash": leaf}]
    value = leaf
    for level, sibling in siblings:
        value = merkle.node_hash(known[level, sibling], value)
        nodes.append({"key": (level + 1) << 56 | sibling >> 1, "hash": value})
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


def _about(kind: str, content: Mapping[str, Any]) -> str | None:
    """Return the consent or warrant whose newest step an entry is."""
    about: str | None = content.get("subject" if kind == "consent_event" else "warrant")
    return about


def _tree(hashes: Sequence[bytes]) -> dict[int, bytes]:
    """Return every full subtree over the leaves, by the key it is stored under."""
    tree: dict[int, bytes] = {}
    level, row = 0, list(hashes)
    while row:
        tree |= {level << 56 | index: value for index, value in enumerate(row)}
        row = [merkle.node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        level += 1
    return tree


def _root_of(tree: Mapping[int, bytes], size: int) -> bytes:
    if size == 0:
        return merkle.EMPTY_ROOT
    return merkle.fold([tree[level << 56 | index] for level, index in merkle.cover(0, size)])
