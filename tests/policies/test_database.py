from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from policies import database as module
from policies.database import CONSENT, ENTRY, NODE, WARRANT, Database
from policies.errors import StoreUnavailable

ROW = {"record_id": "r1", "document": b"x"}


def file_database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'store.db'}")


def count(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(CONSENT)) or 0)


def test_commit_and_reopen(tmp_path: Path) -> None:
    database = file_database(tmp_path)
    with database.transaction() as connection:
        connection.execute(sa.insert(CONSENT), ROW)
    database.close()
    assert count(file_database(tmp_path)) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_any_error_rolls_everything_back(error: type[BaseException]) -> None:
    database = Database("sqlite://")

    def fail_half_way() -> None:
        with database.transaction() as connection:
            connection.execute(sa.insert(CONSENT), ROW)
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert count(database) == 0


def test_every_connection_is_durable(tmp_path: Path) -> None:
    with file_database(tmp_path).transaction() as connection:
        for pragma, value in (
            ("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)
        ):  # fmt: skip
            assert connection.exec_driver_sql(f"pragma {pragma}").scalar() == value


def test_a_second_writer_waits_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.02)
    for database in (file_database(tmp_path), Database("sqlite://")):
        with database.transaction(), pytest.raises(StoreUnavailable) as caught:
            with database.transaction():
                pytest.fail("two writers at once")
        assert caught.value.code == "STORE-UNAVAILABLE"
        assert "locked" in caught.value.message
        assert count(database) == 0


@pytest.mark.parametrize("memory", [True, False])
def test_threads_never_lose_an_update(memory: bool, tmp_path: Path) -> None:
    database = Database("sqlite://") if memory else file_database(tmp_path)

    def add() -> None:
        for _ in range(5):
            with database.transaction() as connection:
                last = connection.scalar(sa.select(sa.func.max(ENTRY.c.i)))
                row = {"i": 0 if last is None else last + 1, "at": 0, "data": b""}
                connection.execute(sa.insert(ENTRY), row)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as connection:
        assert connection.scalar(sa.select(sa.func.max(ENTRY.c.i))) == 29


ROWS = {
    "log_entry": "(i, at, data) values (0, 1, x'00')",
    "log_node": "(key, hash) values (0, x'00')",
    "consent": "(record_id, document) values ('r', x'00')",
    "consent_event": "(record_id, seq, document) values ('r', 0, x'00')",
}


@pytest.mark.parametrize("table", ROWS)
@pytest.mark.parametrize(
    "sql",
    ["update {0} set {1} = x'ff'", "delete from {0}", "insert or replace into {0} {2}",
     "replace into {0} {2}", "insert or ignore into {0} {2}"],
)  # fmt: skip
def test_careless_edits_meet_a_trigger(table: str, sql: str) -> None:
    database = Database("sqlite://")
    blob = {"log_entry": "data", "log_node": "hash"}.get(table, "document")
    with database.transaction() as connection:
        if table == "consent_event":
            connection.exec_driver_sql(f"insert into consent {ROWS['consent']}")
        connection.exec_driver_sql(f"insert into {table} {ROWS[table]}")
    with pytest.raises(StoreUnavailable, match="append-only"), database.transaction() as connection:
        connection.exec_driver_sql(sql.format(table, blob, ROWS[table]))


def test_constraints_hold() -> None:
    database = Database("sqlite://")
    bad_state = {
        "warrant_id": "w",
        "request_id": "r",
        "document": b"",
        "state": "free",
        "changed_at": 0,
    }
    for statement, row in (
        (sa.insert(WARRANT), bad_state),
        (sa.insert(module.CONSENT_EVENT), {"record_id": "nobody", "seq": 0, "document": b""}),
        (sa.insert(module.RESERVATION), {"record_id": "r", "seq": 0, "warrant_id": "none"}),
        (sa.insert(CONSENT), {"record_id": "r", "document": None}),
    ):
        with pytest.raises(StoreUnavailable), database.transaction() as connection:
            connection.execute(statement, row)


@pytest.mark.parametrize(
    "row", [{"key": 2**70, "hash": b""}, {"key": 1, "hash": object()}], ids=["huge", "object"]
)
def test_values_that_the_driver_cannot_bind(row: dict[str, object]) -> None:
    database = Database("sqlite://")
    with pytest.raises(StoreUnavailable), database.transaction() as connection:
        connection.execute(sa.insert(NODE), row)


def test_text_that_is_not_unicode() -> None:
    database = Database("sqlite://")
    with pytest.raises(StoreUnavailable), database.transaction() as connection:
        connection.scalar(sa.select(CONSENT).where(CONSENT.c.record_id == "\ud800"))
    assert count(database) == 0


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
    ):
        with pytest.raises(StoreUnavailable) as caught:
            Database(url)
        assert caught.value.code == "STORE-UNAVAILABLE"
        assert caught.value.mend
    assert text.read_bytes().startswith(b"this is no database")


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(StoreUnavailable):
        Database("postgresql+pg8000://user:secret@localhost/db")


def test_a_database_of_an_older_version_does_not_open_the_gate(tmp_path: Path) -> None:
    database = file_database(tmp_path)
    with database.transaction() as connection:
        connection.exec_driver_sql("drop table log_node")
    with pytest.raises(StoreUnavailable), database.transaction() as connection:
        connection.execute(sa.select(NODE))


def test_another_engine_gets_no_sqlite_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    create = sa.create_engine

    def create_other(url: str, **options: object) -> sa.Engine:
        engine = create(url, **options)
        engine.dialect.name = "other"
        return engine

    monkeypatch.setattr(sa, "create_engine", create_other)
    with Database("sqlite://").transaction() as connection:
        names = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        assert names.all() == []
        assert connection.exec_driver_sql("pragma foreign_keys").scalar() == 0
