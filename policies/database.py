"""The one SQL database under consents, warrants, uses and the log.

Opens SQLite or PostgreSQL through SQLAlchemy, declares the tables, and turns every database error
into StoreUnavailable. SQLite runs in WAL mode with full fsync, and every transaction begins
IMMEDIATE: two writers queue up instead of both reading a stale count (a count-then-insert without
it let 50 of 50 threads through `max_uses = 1`; measured).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from policies.errors import StoreUnavailable


class Blob(sa.types.TypeDecorator[bytes]):
    """Bytes, whatever the row holds: SQLite lets an edit put text or numbers into any column.

    Such a value reads as empty, which no digest and no signature is over.
    """

    impl = sa.LargeBinary
    cache_ok = True

    def process_result_value(self, value: object, dialect: sa.Dialect) -> bytes:
        """Return stored bytes; empty for any other type."""
        return value if isinstance(value, bytes) else b""


METADATA = sa.MetaData()

CONSENT = sa.Table(
    "consent",
    METADATA,
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("document", Blob, nullable=False),
)
CONSENT_EVENT = sa.Table(
    "consent_event",
    METADATA,
    sa.Column("record_id", sa.ForeignKey("consent.record_id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", Blob, nullable=False),
)
TEMPLATE = sa.Table(
    "template",
    METADATA,
    sa.Column("record_id", sa.ForeignKey("consent.record_id"), primary_key=True),
    sa.Column("wrapped_key", Blob, nullable=False),
    sa.Column("ciphertext", Blob, nullable=False),
)
WARRANT = sa.Table(
    "warrant",
    METADATA,
    sa.Column("warrant_id", sa.String(36), primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, index=True),
    sa.Column("document", Blob, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.CheckConstraint("state in ('issued', 'started', 'released', 'aborted')"),
)
RESERVATION = sa.Table(
    "reservation",
    METADATA,
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("warrant_id", sa.ForeignKey("warrant.warrant_id"), nullable=False, index=True),
)
ENTRY = sa.Table(
    "log_entry",
    METADATA,
    sa.Column("i", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    # Whose newest step this is: the commitment of a consent, or the id of an ended warrant.
    sa.Column("about", sa.String(64), nullable=True, index=True),
    sa.Column("data", Blob, nullable=False),
)
NODE = sa.Table(
    "log_node",
    METADATA,
    # level << 56 | index: one integer key keeps a proof to one indexed select (a row-value IN
    # list made SQLite scan the whole table; measured).
    sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", Blob, nullable=False),
)

BUSY_SECONDS = 5
"""How long a transaction waits for the one before it, on SQLite."""

_APPEND_ONLY = (
    ("log_entry", "i = new.i"),
    ("log_node", "key = new.key"),
    ("consent", "record_id = new.record_id"),
    ("consent_event", "record_id = new.record_id and seq = new.seq"),
)


class Database:
    """A SQLAlchemy engine with our tables and our transaction rules."""

    def __init__(self, url: str) -> None:
        """Open `url` (`sqlite:///path`, `sqlite://` for memory, or a PostgreSQL address).

        Creates missing tables. Raises StoreUnavailable when the database cannot be opened.
        """
        memory = url in ("sqlite://", "sqlite:///:memory:")
        options = (
            {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            if memory
            else {}
        )
        # In memory all threads share one connection; they have to take turns as on a file.
        self._turn = threading.Lock() if memory else None
        try:
            self._engine = sa.create_engine(url, **options)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _configure_sqlite)
                sa.event.listen(self._engine, "begin", _begin_immediate)
            with self.transaction() as connection:
                METADATA.create_all(connection)
                if self._engine.dialect.name == "sqlite":
                    _guard_append_only(connection)
        except (SQLAlchemyError, ImportError) as error:
            raise _unavailable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction; commit on success, roll back on any error.

        Raises StoreUnavailable for database errors; other exceptions pass through after rollback.
        """
        if self._turn and not self._turn.acquire(timeout=BUSY_SECONDS):
            raise StoreUnavailable("the database is locked", mend="run the request again")
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OverflowError, UnicodeEncodeError) as error:
            # The last two: a number or text that the driver cannot hand to the database.
            raise _unavailable(error) from error
        finally:
            if self._turn:
                self._turn.release()

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def _configure_sqlite(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    # The driver must not begin transactions itself, or BEGIN IMMEDIATE comes too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    busy = f"busy_timeout={BUSY_SECONDS * 1000}"
    # secure_delete: a template erased on withdrawal is overwritten, not just unlinked.
    settings = ("journal_mode=wal", "synchronous=full", "foreign_keys=on", "secure_delete=on")
    for pragma in (busy, *settings):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("begin immediate")


def _guard_append_only(connection: sa.Connection) -> None:
    """Add triggers against careless edits; Merkle tree and checkpoints catch deliberate ones.

    The insert guard matters: INSERT OR REPLACE deletes the old row without firing a delete trigger.
    """
    for table, same in _APPEND_ONLY:
        for operation in ("update", "delete"):
            connection.exec_driver_sql(
                f"create trigger if not exists {table}_{operation} before {operation} on {table} "
                "begin select raise(abort, 'append-only'); end"
            )
        connection.exec_driver_sql(
            f"create trigger if not exists {table}_insert before insert on {table} when exists "  # noqa: S608
            f"(select 1 from {table} where {same}) "
            "begin select raise(abort, 'append-only'); end"
        )


def _unavailable(error: Exception) -> StoreUnavailable:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return StoreUnavailable(
        f"the database refused: {cause}",
        mend="check that its file or server can be read and written, then run the request again",
    )
