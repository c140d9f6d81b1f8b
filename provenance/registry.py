"""What was released under which watermark: the way back from stripped pixels to their manifest.

A row binds a mark id to the manifest store, the output's digest and its perceptual fingerprint. The
id alone proves nothing, since a mark can be copied: a recovered manifest counts only when the
fingerprint agrees (`verify.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from policies.database import METADATA, Database

_RELEASE = sa.Table(
    "release",
    METADATA,
    sa.Column("mark_id", sa.String(64), primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, unique=True),
    sa.Column("warrant_id", sa.String(36), nullable=False, unique=True),
    sa.Column("manifest_id", sa.String(120), nullable=False, unique=True),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("output_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("mime", sa.String(16), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("log_index", sa.Integer, nullable=False),
    sa.Column("released_at", sa.BigInteger, nullable=False),
)


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
        """Open the table in `database`, making it when it is missing."""
        self._database = database
        with database.transaction() as connection:
            _RELEASE.create(connection, checkfirst=True)

    def add(self, row: ReleaseRow, *, within: sa.Connection) -> None:
        """Store a row in an open transaction; a taken mark id or request is an error of it."""
        values = {name: getattr(row, name) for name in ReleaseRow.__slots__}
        within.execute(sa.insert(_RELEASE), values)

    def by_mark(self, mark_id: str) -> ReleaseRow | None:
        """Return the release that carries a mark id (hex), None when there is none."""
        return self._one(_RELEASE.c.mark_id == mark_id)

    def by_request(self, request_id: str) -> ReleaseRow | None:
        """Return the release of a request, None when there is none."""
        return self._one(_RELEASE.c.request_id == request_id)

    def by_manifest(self, manifest_id: str) -> ReleaseRow | None:
        """Return the release of a manifest URN, None when there is none."""
        return self._one(_RELEASE.c.manifest_id == manifest_id)

    def _one(self, condition: sa.ColumnElement[bool]) -> ReleaseRow | None:
        with self._database.transaction() as connection:
            row = connection.execute(sa.select(_RELEASE).where(condition)).one_or_none()
            return None if row is None else ReleaseRow(**row._asdict())
