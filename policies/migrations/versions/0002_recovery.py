"""The second revision: decisions with their facts, fingerprints of videos, releases by log index.

What was decided before it stays as it was logged: its digests are in the log, its text is nowhere.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = """
create table decision (
    decision_id varchar(36) not null,
    document {blob} not null,
    facts {blob} not null,
    constraint pk_decision primary key (decision_id)
);
create table release_frame (
    mark_id varchar(64) not null,
    second integer not null,
    fingerprint varchar(64) not null,
    constraint pk_release_frame primary key (mark_id, second)
);
create index ix_release_log_index on release (log_index)
"""

# Table, and what may not be replaced (SQLite); nothing of either may be updated or deleted.
_FROZEN = (
    ("decision", "decision_id = new.decision_id"),
    ("release_frame", "mark_id = new.mark_id and second = new.second"),
)

_REFUSED = "begin select raise(abort, 'append-only'); end"


def upgrade() -> None:
    """Add the tables, their triggers and the index."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _TABLES.format(blob="blob" if sqlite else "bytea").split(";"):
        op.execute(statement)
    for table, same in _FROZEN:
        if sqlite:
            _guard_sqlite(table, same)
        else:
            _guard_postgresql(table)


def _guard_sqlite(table: str, same: str) -> None:
    for change in ("update", "delete"):
        op.execute(f"create trigger {table}_{change} before {change} on {table} {_REFUSED}")
    taken = f"select 1 from {table} where {same}"  # noqa: S608 - our own names
    when = f"when exists ({taken})"
    op.execute(f"create trigger {table}_insert before insert on {table} {when} {_REFUSED}")


def _guard_postgresql(table: str) -> None:
    refuse = "execute function facewarrant_append_only()"
    for change, each in (("update", "row"), ("delete", "row"), ("truncate", "statement")):
        op.execute(
            f"create trigger {table}_{change} before {change} on {table} for each {each} {refuse}"
        )
