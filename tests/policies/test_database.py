"""One transaction after the other, on both engines; whatever a database refuses has one name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policies import database as module
from policies.database import Database, read_revision
from policies.errors import StoreUnavailable
from policies.guards import GUARDS
from policies.tables import CONSENT, CONSENT_EVENT, ENTRY, METADATA, NODE, RESERVATION, WARRANT

ROW = {"record_id": "r1", "pid": "p1", "commitment": "c1", "document": b"x"}


def file_database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'store.db'}")


def count(database: Database, table: sa.Table = CONSENT) -> int:
    with database.transaction() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def insert(database: Database, table: sa.Table, *rows: dict[str, Any]) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(table), list(rows))


def append(database: Database) -> None:
    """Count, then insert: what two transactions at once would do to each other."""
    with database.transaction() as connection:
        last = connection.scalar(sa.select(sa.func.max(ENTRY.c.i)))
        row = {"i": 0 if last is None else last + 1, "at": 0, "data": b""}
        connection.execute(sa.insert(ENTRY), row)


def refused(call: Callable[..., Any], *arguments: Any) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        call(*arguments)
    assert caught.value.code == "STORE-UNAVAILABLE"
    assert caught.value.mend
    return caught.value


# --- transactions -------------------------------------------------------------------------------


def test_commit_and_reopen(any_url: str) -> None:
    database = Database(any_url)
    insert(database, CONSENT, ROW)
    database.close()
    again = Database(any_url)
    assert count(again) == 1
    again.close()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
def test_any_error_rolls_everything_back(
    error: type[BaseException], any_database: Database
) -> None:
    for database in (any_database, Database("sqlite://")):

        def fail_half_way(database: Database = database) -> None:
            with database.transaction() as connection:
                connection.execute(sa.insert(CONSENT), ROW)
                raise error

        with pytest.raises(error):
            fail_half_way()
        assert count(database) == 0


def test_every_connection_is_durable_on_sqlite(tmp_path: Path) -> None:
    with file_database(tmp_path).transaction() as connection:
        for pragma, value in (
            ("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1),
            ("busy_timeout", 5000), ("secure_delete", 1),
        ):  # fmt: skip
            assert connection.exec_driver_sql(f"pragma {pragma}").scalar() == value


def test_every_transaction_is_durable_on_postgresql(postgres_server: Any) -> None:
    # What the server's owner set otherwise, for this database.
    url = postgres_server.new_migrated()
    name = sa.make_url(url).database
    for setting in ("default_transaction_isolation = 'serializable'", "synchronous_commit = off"):
        postgres_server.execute(f"alter database {name} set {setting}")
    database = Database(url)
    with database.transaction() as connection:
        for setting, value in (
            ("transaction_isolation", "read committed"),
            ("synchronous_commit", "on"),
            ("lock_timeout", "5s"),
            ("statement_timeout", "10min"),
            ("idle_in_transaction_session_timeout", "1min"),
            ("application_name", "facewarrant"),
        ):
            assert connection.exec_driver_sql(f"show {setting}").scalar() == value
    database.close()
    postgres_server.drop(url)


@pytest.mark.parametrize("kind", ["memory", "any"])
def test_a_second_writer_waits_its_turn(
    kind: str, any_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    database = Database("sqlite://" if kind == "memory" else any_url)

    def write_twice() -> None:
        with database.transaction():
            with database.transaction():
                pytest.fail("two writers at once")

    error = refused(write_twice)
    assert "lock" in error.message
    assert count(database) == 0
    database.close()


def test_threads_never_lose_an_update(any_database: Database) -> None:
    for database in (any_database, Database("sqlite://")):
        ways = [lambda db=database: [append(db) for _ in range(5)] for _ in range(6)]
        threads = [threading.Thread(target=way) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.transaction() as connection:
            assert connection.scalar(sa.select(sa.func.max(ENTRY.c.i))) == 29


def test_two_processes_worth_of_engines_take_turns(any_url: str) -> None:
    """Each engine has a pool of its own, as another process would have."""
    first, second = Database(any_url), Database(any_url)
    for database in (first, second, first):
        append(database)
    assert count(second, ENTRY) == 3
    with first.transaction() as connection:
        last = connection.scalar(sa.select(sa.func.max(ENTRY.c.i)))
        waiter = threading.Thread(target=append, args=(second,))
        waiter.start()
        connection.execute(sa.insert(ENTRY), {"i": last + 1, "at": 0, "data": b""})
    waiter.join()
    assert count(first, ENTRY) == 5
    first.close()
    second.close()


# --- locked, full, unreachable ------------------------------------------------------------------


def test_a_lock_from_outside_denies_and_loses_nothing(
    any_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    database = Database(any_url)
    insert(database, CONSENT, ROW)
    other = sa.create_engine(any_url)
    with other.connect() as connection:
        locked = "begin immediate" if "sqlite" in any_url else "lock table log_entry"
        connection.exec_driver_sql(locked)
        assert "lock" in refused(append, database).message
    other.dispose()
    append(database)
    assert (count(database), count(database, ENTRY)) == (1, 1)
    database.close()


def test_a_full_disk_denies_and_loses_nothing(tmp_path: Path) -> None:
    database = file_database(tmp_path)
    append(database)
    with database.transaction() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
        connection.exec_driver_sql(f"pragma max_page_count = {pages + 2}")

    def fill() -> None:
        with database.transaction() as connection:
            rows = [{"key": key, "hash": bytes(4096)} for key in range(50)]
            connection.execute(sa.insert(NODE), {"key": 50, "hash": b"small"})
            connection.execute(sa.insert(NODE), rows)

    assert "full" in refused(fill).message
    assert (count(database, ENTRY), count(database, NODE)) == (1, 0)
    append(database)
    with database.transaction() as connection:
        assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"


def test_a_server_that_goes_away_denies_and_loses_nothing(postgres_server: Any) -> None:
    url = postgres_server.new_migrated()
    name = sa.make_url(url).database
    database = Database(url)
    append(database)

    def cut_off() -> None:
        postgres_server.execute(f"alter database {name} allow_connections false")
        postgres_server.execute(
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"  # noqa: S608
        )

    def append_and_lose_the_server() -> None:
        with database.transaction() as connection:
            connection.execute(sa.insert(ENTRY), {"i": 1, "at": 0, "data": b""})
            cut_off()
            connection.execute(sa.insert(ENTRY), {"i": 2, "at": 0, "data": b""})

    refused(append_and_lose_the_server)
    refused(append, database)
    postgres_server.execute(f"alter database {name} allow_connections true")
    append(database)
    assert count(database, ENTRY) == 2
    database.close()
    postgres_server.drop(url)


# --- what is stored -----------------------------------------------------------------------------


ROWS: dict[str, dict[str, Any]] = {
    "log_entry": {"i": 0, "at": 1, "about": None, "data": b"0"},
    "log_node": {"key": 0, "hash": b"0"},
    "consent": {"record_id": "r", "pid": "p", "commitment": "c", "document": b"0"},
    "consent_event": {"record_id": "r", "seq": 0, "document": b"0"},
    "disposal": {"record_id": "other", "due_at": 1, "at": 2},
    "erasure": {"pid": "p", "state": "requested", "requested_at": 1, "document": b"0"},
    "warrant": {
        "warrant_id": "w", "request_id": "q", "document": b"0", "state": "issued",
        "expires_at": 1, "changed_at": 1,
    },
    "release": {
        "mark_id": "m", "request_id": "q", "warrant_id": "w", "manifest_id": "n",
        "manifest_sha256": "0", "output_sha256": "1", "mime": "image/png", "fingerprint": "f",
        "log_index": 1, "released_at": 1,
    },
    "decision": {"decision_id": "d", "document": b"0", "facts": b"0"},
    "release_frame": {"mark_id": "m", "second": 0, "fingerprint": "f"},
    "release_person": {"record_id": "r", "mark_id": "m"},
}  # fmt: skip
FREE: dict[str, dict[str, Any]] = {
    "template": {"record_id": "r", "ciphertext": b"0"},
    "challenge": {"nonce": "n", "document": b"0", "expires_at": 1, "spent_at": None},
    "opt_out": {
        "entry_id": "e", "pid": "p", "model_sha256": "0", "ciphertext": b"0", "added_at": 1,
    },
    "reservation": {"record_id": "r", "seq": 0, "warrant_id": "w"},
}  # fmt: skip
MAY_CHANGE = {"warrant": {"state", "changed_at"}, "erasure": set(ROWS["erasure"])}


def fill(database: Database) -> None:
    """One row in every table."""
    for table in METADATA.sorted_tables:
        insert(database, table, (ROWS | FREE)[table.name])


def quoted(value: object) -> str:
    if isinstance(value, bytes):
        return f"cast('{value.decode()}' as bytea)"
    return "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def test_every_table_is_either_guarded_or_free() -> None:
    assert {guard.table for guard in GUARDS} == set(ROWS)
    assert set(ROWS) | set(FREE) == set(METADATA.tables)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = "sqlite://"
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'filled.db'}"
    elif request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    fill(database)
    yield database
    database.close()


def run(database: Database, sql: str) -> None:
    with database.transaction() as connection:
        if connection.dialect.name == "sqlite":
            sql = sql.replace("bytea", "blob")
        connection.exec_driver_sql(sql)


def test_rows_of_evidence_never_change(filled: Database) -> None:
    for name, row in ROWS.items():
        for column, value in row.items():
            sql = f"update {name} set {column} = {quoted(value)}"  # noqa: S608
            if column in MAY_CHANGE.get(name, ()):
                run(filled, sql)
            else:
                assert "append-only" in refused(run, filled, sql).message, sql
        assert "append-only" in refused(run, filled, f"delete from {name}").message  # noqa: S608
        assert count(filled, METADATA.tables[name]) == 1


def test_rows_of_passing_use_may_go(filled: Database) -> None:
    for name in FREE:
        run(filled, f"delete from {name}")  # noqa: S608
        assert count(filled, METADATA.tables[name]) == 0


def test_a_consent_goes_only_after_its_disposal_is_written_down(filled: Database) -> None:
    run(filled, "delete from template")
    refused(run, filled, "delete from consent_event where record_id = 'r'")
    insert(filled, METADATA.tables["disposal"], {"record_id": "r", "due_at": 5, "at": 6})
    insert(filled, CONSENT, ROW)
    run(filled, "delete from consent_event where record_id = 'r'")
    run(filled, "delete from consent where record_id = 'r'")
    refused(run, filled, "delete from consent where record_id = 'r1'")
    assert "append-only" in refused(run, filled, "delete from disposal").message
    assert (count(filled), count(filled, CONSENT_EVENT)) == (1, 0)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.table)
def test_no_row_is_replaced_by_any_of_its_keys(guard: Any) -> None:
    """INSERT OR REPLACE deletes the old row without asking a delete trigger."""
    database = Database("sqlite://")
    fill(database)
    row = ROWS[guard.table]
    for key in guard.keys:
        other = {k: v if k in key or not isinstance(v, str) else f"{v}2" for k, v in row.items()}
        other |= {"state": row["state"]} if "state" in row else {}
        other |= {"record_id": row["record_id"]} if guard.table == "consent_event" else {}
        names = ", ".join(other)
        values = ", ".join(map(quoted, other.values()))
        for words in ("insert or replace into", "replace into", "insert or ignore into"):
            sql = f"{words} {guard.table} ({names}) values ({values})"
            assert "append-only" in refused(run, database, sql).message, sql
        assert count(database, METADATA.tables[guard.table]) == 1


def test_no_row_is_replaced_on_postgresql(postgres_url: str) -> None:
    database = Database(postgres_url)
    fill(database)
    for name, row in ROWS.items():
        values = f"({', '.join(row)}) values ({', '.join(map(quoted, row.values()))})"
        assert "duplicate key" in refused(run, database, f"insert into {name} {values}").message
        first = next(iter(row))
        upsert = f"insert into {name} {values} on conflict ({first}) do update set {first} = 'x'"
        if name not in ("erasure", "consent_event", "release_frame", "release_person"):
            refused(run, database, upsert)
        assert "append-only" in refused(run, database, f"truncate {name} cascade").message
        assert count(database, METADATA.tables[name]) == 1
    database.close()


def test_a_temporary_table_does_not_stand_in_for_the_disposals(postgres_url: str) -> None:
    database = Database(postgres_url)
    fill(database)

    def shadow() -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("create temporary table disposal (record_id text)")
            connection.exec_driver_sql("insert into pg_temp.disposal values ('r')")
            connection.exec_driver_sql("delete from consent_event")

    assert "append-only" in refused(shadow).message
    assert count(database, CONSENT_EVENT) == 1
    database.close()


def test_constraints_hold(any_database: Database) -> None:
    for table, row in (
        (WARRANT, ROWS["warrant"] | {"state": "free"}),
        (METADATA.tables["erasure"], ROWS["erasure"] | {"state": "done"}),
        (CONSENT_EVENT, {"record_id": "nobody", "seq": 0, "document": b""}),
        (RESERVATION, {"record_id": "r", "seq": 0, "warrant_id": "none"}),
        (CONSENT, ROW | {"document": None}),
    ):
        refused(insert, any_database, table, row)
        assert count(any_database, table) == 0


def test_an_error_does_not_quote_the_row(any_database: Database) -> None:
    row = ROWS["warrant"] | {"state": "free", "request_id": "very-personal"}
    error = refused(insert, any_database, WARRANT, row)
    assert "personal" not in error.diagnostics()


@pytest.mark.parametrize(
    "row",
    [{"key": 2**70, "hash": b""}, {"key": -(2**63) - 1, "hash": b""}, {"key": 1, "hash": object()}],
    ids=["huge", "small", "object"],
)
def test_values_that_the_driver_cannot_bind(row: dict[str, Any], any_database: Database) -> None:
    refused(insert, any_database, NODE, row)
    assert count(any_database, NODE) == 0


def test_numbers_of_64_bits_are_kept(any_database: Database) -> None:
    insert(any_database, NODE, {"key": 2**63 - 1, "hash": b"h"})
    insert(any_database, ENTRY, {"i": 2**40, "at": 2**40, "data": b""})
    with any_database.transaction() as connection:
        assert connection.scalar(sa.select(NODE.c.key)) == 2**63 - 1
        assert connection.execute(sa.select(ENTRY.c.i, ENTRY.c.at)).one() == (2**40, 2**40)


def test_text_that_is_not_unicode(any_database: Database) -> None:
    def read() -> None:
        with any_database.transaction() as connection:
            connection.scalar(sa.select(CONSENT).where(CONSENT.c.record_id == "\ud800"))

    refused(read)
    assert count(any_database) == 0


def test_text_with_a_zero_is_denied_where_the_server_cannot_hold_it(postgres_url: str) -> None:
    database = Database(postgres_url)
    refused(insert, database, CONSENT, ROW | {"record_id": "a\0b"})
    assert count(database) == 0
    database.close()


def test_bytes_come_back_as_bytes(any_database: Database) -> None:
    every = bytes(range(256))
    insert(any_database, NODE, {"key": 1, "hash": every}, {"key": 2, "hash": b""})
    with any_database.transaction() as connection:
        found = connection.execute(sa.select(NODE.c.hash).order_by(NODE.c.key)).scalars().all()
        assert found == [every, b""]
        assert connection.scalar(sa.select(NODE.c.key).where(NODE.c.hash == every)) == 1
    assert [type(value) for value in found] == [bytes, bytes]


def test_a_memoryview_is_bytes_and_anything_else_is_empty() -> None:
    read = module.revisions.METADATA.tables["log_node"].c.hash.type.process_result_value
    dialect = sa.create_engine("sqlite://").dialect
    assert read(memoryview(b"ab"), dialect) == b"ab"
    assert [read(value, dialect) for value in ("ab", 7, None, bytearray(b"ab"))] == [b""] * 4


# --- what cannot be opened ----------------------------------------------------------------------


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_bytes(b"this is no database, only a long enough text file" * 40)
    for url in (
        f"sqlite:///{text}",
        f"sqlite:///{tmp_path}",
        f"sqlite:///{tmp_path / 'missing' / 'store.db'}",
        "not a url",
        "nosuchdialect://x",
        "sqlite+nosuchdriver://",
        "postgresql+nosuchdriver://host/db",
        f"postgresql+psycopg2://nobody@/none?host={tmp_path}",
    ):
        refused(Database, url)
        if "missing" not in url:
            refused(read_revision, url)
    assert text.read_bytes().startswith(b"this is no database")


def test_looking_for_a_file_does_not_make_it(tmp_path: Path) -> None:
    assert read_revision(f"sqlite:///{tmp_path / 'missing' / 'store.db'}") is None
    assert read_revision(f"sqlite:///{tmp_path / 'store.db'}") is None
    assert list(tmp_path.iterdir()) == []


def test_a_port_on_which_nobody_listens() -> None:
    # Port 1 of this machine: refused at once, or never free for us.
    refused(Database, "postgresql+psycopg2://nobody@127.0.0.1:1/none")


def test_a_missing_driver_is_named() -> None:
    error = refused(Database, "postgresql+pg8000://user:secret@localhost/db")
    assert "pg8000" in error.message
    assert "postgresql+psycopg2://" in error.mend
    assert "secret" not in error.diagnostics()


def test_an_engine_without_our_rules_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    create = sa.create_engine

    def create_other(url: sa.URL, **options: Any) -> sa.Engine:
        engine = create(url, **options)
        engine.dialect.name = "other"
        return engine

    monkeypatch.setattr(sa, "create_engine", create_other)
    assert "other+pysqlite" in refused(Database, "sqlite://").message


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_every_database_in_memory_is_its_own(url: str) -> None:
    first, second = Database(url), Database(url)
    fill(first)
    assert (count(first), count(second)) == (1, 0)


def test_a_lost_table_does_not_open_the_gate(any_database: Database) -> None:
    run(any_database, "drop table log_node")

    def read() -> None:
        with any_database.transaction() as connection:
            connection.execute(sa.select(NODE))

    refused(read)
