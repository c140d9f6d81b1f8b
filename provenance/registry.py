"""What was released under which watermark: the way back from stripped pixels to their manifest.

A row binds a mark id to the manifest store, the output's digest and its perceptual fingerprint; of
a video, every second has one. Neither id nor fingerprint proves anything, since a mark can be
copied, pictures can look alike and a row is not signed: what is found here is only a candidate
(`recovery.py`). It also keeps whose consents a release shows, so that a withdrawal finds every one
of them. Refused: a second release under any of a release's names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from policies.database import Database
from policies.errors import Malformed
from policies.tables import RELEASE, RELEASE_FRAME, RELEASE_PERSON
from provenance.fingerprints import Fingerprint
from provenance.hamming import BYTES, RADIUS, HammingIndex, count_bits, pack

PAGE = 50_000
"""Rows read in one transaction: nobody else waits longer than that for the database."""

TAIL = 32_768
"""So many new values are counted one by one (1 ms, measured) before the index is built anew."""


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One release. Digests are SHA-256 hex, `fingerprint` 64 hex digits (PDQ)."""

    mark_id: str
    request_id: str
    warrant_id: str
    manifest_id: str
    manifest_sha256: str
    output_sha256: str
    mime: str
    fingerprint: str
    log_index: int
    released_at: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release whose registered fingerprint lies near one that was asked for.

    `bits`: how many of 256 differ; `asked`: the place of the nearest of those asked for.
    """

    row: ReleaseRow
    bits: int
    asked: int


class Registry:
    """Releases in the project's database.

    Fingerprints are read into memory when the first one is looked up, later ones are added then:
    about 100 bytes for each.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._seen = -1  # log index of the newest release whose fingerprints are read
        self._index = HammingIndex(pack(b""))
        self._indexed: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._tail, self._tailed = bytearray(), list[int]()

    def add(
        self,
        row: ReleaseRow,
        *,
        people: Iterable[str],
        within: sa.Connection,
        seconds: Sequence[str] = (),
    ) -> None:
        """Store a row, and which consents' people it shows, in an open transaction.

        `people` are record ids; one that is given twice counts once. `seconds` are the fingerprints
        of a video, one for each second. A taken mark id, request, warrant or manifest is an error
        of the transaction. Raises Malformed when nobody is shown.
        """
        shown = [{"record_id": one, "mark_id": row.mark_id} for one in sorted(set(people))]
        if not shown:
            raise Malformed("a release shows somebody; without a record no withdrawal finds it")
        values = {name: getattr(row, name) for name in ReleaseRow.__slots__}
        within.execute(sa.insert(RELEASE), values)
        within.execute(sa.insert(RELEASE_PERSON), shown)
        frames = [
            {"mark_id": row.mark_id, "second": second, "fingerprint": bits}
            for second, bits in enumerate(seconds)
        ]
        if frames:
            within.execute(sa.insert(RELEASE_FRAME), frames)

    def by_consent(self, record_id: str) -> tuple[ReleaseRow, ...]:
        """Return every release that shows the person of a consent record, oldest first.

        What a withdrawal has to mark and an access request has to list.
        """
        query = (
            sa.select(RELEASE)
            .join(RELEASE_PERSON, RELEASE_PERSON.c.mark_id == RELEASE.c.mark_id)
            .where(RELEASE_PERSON.c.record_id == record_id)
            .order_by(RELEASE.c.log_index)
        )
        return self._all(query)

    def by_mark(self, mark_id: str) -> ReleaseRow | None:
        """Return the release that carries a mark id (hex), None when there is none."""
        return self._one(RELEASE.c.mark_id == mark_id)

    def by_request(self, request_id: str) -> ReleaseRow | None:
        """Return the release of a request, None when there is none."""
        return self._one(RELEASE.c.request_id == request_id)

    def by_manifest(self, manifest_id: str) -> ReleaseRow | None:
        """Return the release of a manifest URN, None when there is none."""
        return self._one(RELEASE.c.manifest_id == manifest_id)

    def by_output(self, sha256: str) -> tuple[ReleaseRow, ...]:
        """Return the releases of these very bytes, oldest first; usually one or none."""
        query = sa.select(RELEASE).where(RELEASE.c.output_sha256 == sha256)
        return self._all(query.order_by(RELEASE.c.log_index))

    def near(self, asked: Sequence[Fingerprint], *, limit: int) -> tuple[Candidate, ...]:
        """Return the releases at most 31 bits from any of these fingerprints, nearest first.

        Exact over every release there is, each once, at most `limit`. A registered fingerprint that
        is none, from an edit of the database, finds nothing. Raises StoreUnavailable.
        """
        best: dict[int, tuple[int, int]] = {}
        with self._turn:
            self._refresh()
            tail, tailed = pack(bytes(self._tail)), self._tailed
            index, indexed = self._index, self._indexed
            newer = np.array(tailed, np.int64)
        for place, one in enumerate(asked):
            value = pack(bytes.fromhex(one.bits))[0]
            rows, bits = index.near(value)
            counts = count_bits(tail, value)
            fresh = np.flatnonzero(counts <= RADIUS)
            entries = np.concatenate([indexed[rows], newer[fresh]]).tolist()
            counted = np.concatenate([bits, counts[fresh]]).tolist()
            for entry, count in zip(entries, counted, strict=True):
                best[entry] = min(best.get(entry, (count, place)), (count, place))
        nearest = sorted(best, key=lambda entry: (best[entry], entry))[:limit]
        rows_of = {row.log_index: row for row in self._by_index(nearest)}
        return tuple(Candidate(rows_of[e], *best[e]) for e in nearest if e in rows_of)

    def _refresh(self) -> None:
        """Read what was released since the last look; build the index anew when that is much."""
        while page := self._read_page():
            for entry, bits in page:
                if (value := _value(bits)) is not None:
                    self._tail += value
                    self._tailed.append(entry)
            self._seen = page[-1][0]
        if len(self._tailed) > TAIL:
            values = np.concatenate([self._index.values, pack(bytes(self._tail))])
            self._index = HammingIndex(values)
            self._indexed = np.concatenate([self._indexed, np.array(self._tailed, np.int64)])
            self._tail, self._tailed = bytearray(), []

    def _read_page(self) -> Sequence[tuple[int, str]]:
        """Return log index and fingerprint of the next releases, and of their seconds."""
        place = RELEASE.c.log_index
        stills = (
            sa.select(place, RELEASE.c.fingerprint)
            .where(place > self._seen)
            .order_by(place)
            .limit(PAGE)
        )
        with self._database.transaction() as connection:
            page = [(row[0], row[1]) for row in connection.execute(stills)]
            if not page:
                return page
            frames = (
                sa.select(place, RELEASE_FRAME.c.fingerprint)
                .join(RELEASE, RELEASE.c.mark_id == RELEASE_FRAME.c.mark_id)
                .where(place > self._seen, place <= page[-1][0])
            )
            return [(row[0], row[1]) for row in connection.execute(frames)] + page

    def _by_index(self, entries: Sequence[int]) -> tuple[ReleaseRow, ...]:
        if not entries:
            return ()
        return self._all(sa.select(RELEASE).where(RELEASE.c.log_index.in_(entries)))

    def _all(self, query: sa.Select[tuple[object, ...]]) -> tuple[ReleaseRow, ...]:
        with self._database.transaction() as connection:
            return tuple(ReleaseRow(**row._asdict()) for row in connection.execute(query))

    def _one(self, condition: sa.ColumnElement[bool]) -> ReleaseRow | None:
        found = self._all(sa.select(RELEASE).where(condition))
        return found[0] if found else None


def _value(bits: object) -> bytes | None:
    """Return the 32 bytes of a fingerprint as it is registered; None for anything else."""
    try:
        value = bytes.fromhex(bits) if isinstance(bits, str) else b""
    except ValueError:
        return None
    return value if len(value) == BYTES else None
