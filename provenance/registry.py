"""What was released under which watermark: the way back from stripped pixels to their manifest.

A row binds a mark id to the manifest store, the output's digest and its perceptual fingerprint. The
id alone proves nothing, since a mark can be copied: a recovered manifest counts only when the
fingerprint agrees (`verify.py`). It also keeps whose consents a release shows, so that a withdrawal
finds every one of them. Refused: a second release under any of a release's names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from policies.database import Database
from policies.errors import Malformed
from policies.tables import RELEASE, RELEASE_PERSON


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


class Registry:
    """Releases in the project's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: ReleaseRow, *, people: Iterable[str], within: sa.Connection) -> None:
        """Store a row, and which consents' people it shows, in an open transaction.

        `people` are record ids; one that is given twice counts once. A taken mark id, request,
        warrant or manifest is an error of the transaction. Raises Malformed when nobody is shown.
        """
        shown = [{"record_id": one, "mark_id": row.mark_id} for one in sorted(set(people))]
        if not shown:
            raise Malformed("a release shows somebody; without a record no withdrawal finds it")
        values = {name: getattr(row, name) for name in ReleaseRow.__slots__}
        within.execute(sa.insert(RELEASE), values)
        within.execute(sa.insert(RELEASE_PERSON), shown)

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
        with self._database.transaction() as connection:
            return tuple(ReleaseRow(**row._asdict()) for row in connection.execute(query))

    def by_mark(self, mark_id: str) -> ReleaseRow | None:
        """Return the release that carries a mark id (hex), None when there is none."""
        return self._one(RELEASE.c.mark_id == mark_id)

    def by_request(self, request_id: str) -> ReleaseRow | None:
        """Return the release of a request, None when there is none."""
        return self._one(RELEASE.c.request_id == request_id)

    def by_manifest(self, manifest_id: str) -> ReleaseRow | None:
        """Return the release of a manifest URN, None when there is none."""
        return self._one(RELEASE.c.manifest_id == manifest_id)

    def _one(self, condition: sa.ColumnElement[bool]) -> ReleaseRow | None:
        with self._database.transaction() as connection:
            row = connection.execute(sa.select(RELEASE).where(condition)).one_or_none()
            return None if row is None else ReleaseRow(**row._asdict())
