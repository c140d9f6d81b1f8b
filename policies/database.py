"""The one SQL database under consents, warrants, uses, releases and the log.

Opens SQLite or PostgreSQL through SQLAlchemy, with the newest schema or not at all, and turns every
database error into StoreUnavailable. One rule on both engines: transactions happen one after the
other. Two writers queue up instead of both reading a stale count (a count-then-insert without it
let 50 of 50 threads through `max_uses = 1`; measured), and the log has one writer by that alone.

SQLite runs in WAL mode with full fsync, and every transaction begins IMMEDIATE. On PostgreSQL every
transaction first takes one advisory lock, at READ COMMITTED: each statement after it sees all that
was committed before. SERIALIZABLE would need every caller to run again after a conflict, and would
have conflicts all the time, since each decision appends to the one log. REPEATABLE READ would be
wrong: its snapshot is taken by the statement that waits for the lock, before the wait.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from policies import revisions
from policies.errors import StoreUnavailable

BUSY_SECONDS = 5
"""How long a transaction waits for the one before it, and an opening one for its server."""

STALLED_SECONDS = 60
"""PostgreSQL ends a transaction whose client is silent for so long: it must not keep the lock."""

STATEMENT_SECONDS = 600
"""PostgreSQL ends a statement after this. Checking a log of 100,000 entries, our longest work, took
6 seconds in all (measured on two busy cores)."""

_WRITER_LOCK = 0x4657_4442
"""Number of the advisory lock ("FWDB"); each PostgreSQL database has its own set of numbers."""

_DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg2"}


class Database:
    """A SQLAlchemy engine with our tables and our transaction rules."""

    def __init__(self, url: str, *, upgrade: bool = False) -> None:
        """Open `url`: `sqlite:///path`, `sqlite://` (memory), `postgresql+psycopg2://host/name`.

        A new database gets the newest schema; `upgrade` brings an older one there. Raises
        StoreUnavailable when it cannot be opened, StoreOutdated and StoreNewer for another schema.
        """
        self._engine, memory = _open(url)
        # In memory all threads share one connection; they have to take turns as on a file.
        self._turn = threading.Lock() if memory else None
        try:
            with self.transaction() as connection:
                self.opened_at = revisions.settle(connection, upgrade=upgrade)
        except StoreUnavailable:
            self.close()
            raise

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
        except SQLAlchemyError as error:
            raise _unavailable(error) from error
        finally:
            if self._turn:
                self._turn.release()

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def read_revision(url: str) -> str | None:
    """Return the schema's revision of a database without changing it, None for a new one.

    Raises StoreUnavailable, and StoreOutdated for tables without a revision.
    """
    engine, memory = _open(url)
    name = engine.url.database or ""
    if engine.dialect.name == "sqlite" and not memory and not Path(name).exists():
        return None  # connecting would make the file
    try:
        with engine.begin() as connection:
            return revisions.current_revision(connection)
    except SQLAlchemyError as error:
        raise _unavailable(error) from error
    finally:
        engine.dispose()


def _open(url: str) -> tuple[sa.Engine, bool]:
    """Return an engine with our transaction rules, and whether its database is in memory."""
    try:
        parsed = sa.make_url(url)
        memory = parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")
        engine = sa.create_engine(parsed, **_options(parsed, memory=memory))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        # ValueError: a port or option of the address that is no number, or a zero byte in it.
        raise _unavailable(error) from error
    if _DRIVERS.get(engine.dialect.name) != engine.dialect.driver:
        raise StoreUnavailable(
            f"no rules for transactions of {engine.dialect.name}+{engine.dialect.driver}",
            mend="use sqlite:///path or postgresql+psycopg2://user@host/name",
        )
    sa.event.listen(engine, "handle_error", _name_error)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
        if memory:
            sa.event.listen(engine, "connect", _fill_memory)
    else:
        sa.event.listen(engine, "begin", _begin_alone)
    return engine, memory


def _options(url: sa.URL, *, memory: bool) -> Mapping[str, Any]:
    if memory:
        return {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    options: dict[str, Any] = {"pool_timeout": BUSY_SECONDS}
    if url.get_backend_name() == "postgresql":
        seconds = math.ceil(BUSY_SECONDS)
        patience = {  # libpq's connection parameters: seconds, one of milliseconds, and a count
            "connect_timeout": seconds,
            "tcp_user_timeout": seconds * 1000,
            "keepalives_idle": seconds,
            "keepalives_interval": 1,
            "keepalives_count": seconds,
        }
        # A server may have another isolation as its default; a restart leaves dead connections.
        options |= {"isolation_level": "READ COMMITTED", "pool_pre_ping": True}
        # Many rows in one round trip, not one each.
        options["executemany_mode"] = "values_plus_batch"
        options["connect_args"] = patience | {"application_name": "facewarrant"}
    return options


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


def _fill_memory(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    connection.deserialize(_new_database())


@cache
def _new_database() -> bytes:
    """Return the newest schema as the bytes of an empty SQLite database, made once per process."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        revisions.create_newest(connection)
    with engine.connect() as connection:
        image: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
    engine.dispose()
    return image


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("begin immediate")


def _begin_alone(connection: sa.Connection) -> None:
    """Take the lock that one transaction of ours at a time has on PostgreSQL."""
    connection.exec_driver_sql(
        f"set local lock_timeout = {round(BUSY_SECONDS * 1000)}; "
        f"set local statement_timeout = '{STATEMENT_SECONDS}s'; "
        f"set local idle_in_transaction_session_timeout = '{STALLED_SECONDS}s'; "
        # What was answered must be on the disk, whatever the server's default is.
        "set local synchronous_commit = on; "
        f"select pg_advisory_xact_lock({_WRITER_LOCK})"
    )


def _name_error(context: sa.engine.ExceptionContext) -> StoreUnavailable | None:
    """Translate what the drivers raise for values that they cannot hand over."""
    error = context.original_exception
    unfit = isinstance(error, OverflowError | ValueError | TypeError)
    return _unavailable(error) if unfit else None


def _unavailable(error: BaseException) -> StoreUnavailable:
    if isinstance(error, ImportError):
        return StoreUnavailable(
            f"the database's driver is missing: {error}",
            mend="install facewarrant[postgres] and write postgresql+psycopg2://user@host/name",
        )
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    # PostgreSQL's further lines quote the row.
    return StoreUnavailable(
        f"the database refused: {cause.partition(chr(10))[0]}",
        mend="check that its file or server can be read and written, then run the request again",
    )
