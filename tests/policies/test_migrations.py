"""The revisions make what the tables say, on both engines; another revision is never opened."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from policies import migrations, revisions
from policies.database import Database, read_revision
from policies.errors import StoreUnavailable
from policies.guards import GUARDS
from policies.revisions import REVISIONS, VERSION_TABLE, StoreNewer, StoreOutdated, create_newest
from policies.tables import METADATA

NEWEST = REVISIONS[-1]
VERSION = f"select version_num from {VERSION_TABLE}"  # noqa: S608 - our own name
AFTER = f"{int(NEWEST) + 1:04}"
NEXT = f"""
from alembic import op

revision = "{AFTER}"
down_revision = "{NEWEST}"


def upgrade() -> None:
    op.execute("create table added (id integer not null primary key)")
    {{more}}
"""


def engine_of(database: Database) -> sa.Engine:
    with database.transaction() as connection:
        return connection.engine


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    url = server.new()
    yield url
    server.drop(url)


@pytest.fixture
def run(empty_url: str) -> Iterator[Any]:
    """`run(sql)` in the database of `empty_url`, past our own rules; returns the rows' first."""
    engine = sa.create_engine(empty_url)

    def execute(sql: str) -> list[Any]:
        with engine.begin() as connection:
            done = connection.exec_driver_sql(sql)
            return list(done.scalars()) if done.returns_rows else []

    yield execute
    engine.dispose()


# --- what the revisions make --------------------------------------------------------------------


def test_the_revisions_make_exactly_the_tables(empty_url: str) -> None:
    database = Database(empty_url)
    with database.transaction() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
    database.close()


def describe(engine: sa.Engine) -> dict[str, Any]:
    """Everything that can be read back about the tables, also what alembic does not compare."""
    found = sa.inspect(engine)
    return {
        name: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"])
                for c in found.get_columns(name)
            ],
            "key": found.get_pk_constraint(name),
            "foreign": found.get_foreign_keys(name),
            "unique": sorted(found.get_unique_constraints(name), key=lambda c: str(c["name"])),
            "checks": sorted(found.get_check_constraints(name), key=lambda c: str(c["name"])),
            "indexes": sorted(found.get_indexes(name), key=lambda c: str(c["name"])),
        }
        for name in found.get_table_names()
    }


def test_keys_checks_and_indexes_are_the_same_too(empty_url: str, postgres_server: Any) -> None:
    database = Database(empty_url)
    in_sqlite = empty_url.startswith("sqlite")
    other = sa.create_engine("sqlite://" if in_sqlite else postgres_server.new())
    with other.begin() as connection:
        if in_sqlite:
            create_newest(connection)
        else:
            METADATA.create_all(connection)
    expected = describe(other)
    found = describe(engine_of(database))
    version = found.pop(VERSION_TABLE)
    assert expected.pop(VERSION_TABLE, version) == version
    assert found.keys() == METADATA.tables.keys()
    assert found == expected
    assert found["warrant"]["checks"]
    assert found["reservation"]["foreign"]
    database.close()
    other.dispose()


def triggers(engine: sa.Engine) -> dict[str, str]:
    with engine.begin() as connection:
        rows = connection.exec_driver_sql(
            "select name, sql from sqlite_master where type = 'trigger'"
        )
        return {name: " ".join(sql.lower().split()) for name, sql in rows}


def test_the_triggers_of_a_file_are_those_of_memory(tmp_path: Path) -> None:
    file, memory = Database(f"sqlite:///{tmp_path / 'store.db'}"), Database("sqlite://")
    found = triggers(engine_of(file))
    assert found == triggers(engine_of(memory))
    expected = {f"{g.table}_{what}" for g in GUARDS for what in ("update", "delete", "insert")}
    assert found.keys() == expected - {"erasure_update"}


def test_every_guarded_table_has_its_triggers_on_postgresql(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.transaction() as connection:
        rows = connection.exec_driver_sql(
            "select tgname, tgrelid::regclass::text, tgenabled::text, pg_get_triggerdef(oid)"
            " from pg_trigger where not tgisinternal"
        ).all()
    expected = {
        (f"{guard.table}_{what}", guard.table)
        for guard in GUARDS
        for what in ("update", "delete", "truncate")
        if what != "update" or guard.frozen is not None
    }
    assert {(row[0], row[1]) for row in rows} == expected
    assert {row[2] for row in rows} == {"O"}
    for name, table, _, definition in rows:
        guard = next(guard for guard in GUARDS if guard.table == table)
        disposed = guard.disposable and name.endswith("_delete")
        assert ("facewarrant_disposed_only" in definition) == disposed
        if name.endswith("_update"):
            columns = re.search(r"UPDATE(?: OF ([a-z_, ]+))? ON", definition)
            assert columns is not None
            assert tuple(filter(None, (columns[1] or "").split(", "))) == guard.frozen
    database.close()


def test_the_named_revisions_are_the_ones_that_ship() -> None:
    config = Config()
    config.set_main_option("script_location", revisions.MIGRATIONS)
    script = ScriptDirectory.from_config(config)
    shipped = [step.revision for step in script.walk_revisions()]
    assert tuple(reversed(shipped)) == REVISIONS
    assert list(REVISIONS) == sorted(set(REVISIONS))


def test_no_revision_imports_what_will_change() -> None:
    folder = Path(migrations.__path__[0]) / "versions"
    for path in folder.glob("[0-9]*.py"):
        assert not re.search(r"^\s*(from|import) policies", path.read_text("utf-8"), re.MULTILINE)


# --- opening ------------------------------------------------------------------------------------


def test_a_new_database_is_brought_to_the_newest_revision(empty_url: str, run: Any) -> None:
    assert read_revision(empty_url) is None
    first = Database(empty_url)
    assert first.opened_at == ""
    assert run(VERSION) == [NEWEST]
    second = Database(empty_url)
    assert (second.opened_at, read_revision(empty_url)) == (NEWEST, NEWEST)
    first.close()
    second.close()


def test_memory_has_the_newest_revision() -> None:
    assert Database("sqlite://").opened_at == NEWEST


def test_looking_at_the_revision_changes_nothing(empty_url: str, run: Any) -> None:
    assert read_revision(empty_url) is None
    run("create table mine (x integer)")
    assert read_revision(empty_url) is None
    with pytest.raises(sa.exc.DBAPIError):
        run(VERSION)


def test_many_openers_migrate_once(empty_url: str) -> None:
    gate = threading.Barrier(6)
    found: list[str] = []

    def open_it() -> None:
        gate.wait()
        database = Database(empty_url)
        found.append(database.opened_at)
        database.close()

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["", *[NEWEST] * 5]


def test_tables_of_others_are_left_alone(empty_url: str, run: Any) -> None:
    """Dagster, for one, keeps an alembic_version of its own in the same database."""
    run("create table alembic_version (version_num varchar(32))")
    run("insert into alembic_version values ('theirs')")
    Database(empty_url).close()
    assert run("select version_num from alembic_version") == ["theirs"]
    assert read_revision(empty_url) == NEWEST


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_newer_database_is_refused(empty_url: str, run: Any, upgrade: bool) -> None:
    Database(empty_url).close()
    run(f"update {VERSION_TABLE} set version_num = '9999'")  # noqa: S608 - our own name
    with pytest.raises(StoreNewer) as caught:
        Database(empty_url, upgrade=upgrade)
    assert caught.value.code == "STORE-NEWER"
    assert "9999" in caught.value.message
    assert isinstance(caught.value, StoreUnavailable)
    assert read_revision(empty_url) == "9999"


def test_an_older_database_is_refused(
    empty_url: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(empty_url).close()
    monkeypatch.setattr(revisions, "REVISIONS", (*REVISIONS, AFTER))
    with pytest.raises(StoreOutdated) as caught:
        Database(empty_url)
    assert caught.value.code == "STORE-OUTDATED"
    assert "facewarrant database upgrade" in caught.value.mend
    assert isinstance(caught.value, StoreUnavailable)
    assert run(VERSION) == [NEWEST]


@pytest.mark.parametrize("upgrade", [False, True])
@pytest.mark.parametrize("emptied", [False, True])
def test_tables_from_before_the_revisions_are_refused(
    empty_url: str, run: Any, upgrade: bool, emptied: bool
) -> None:
    if emptied:
        Database(empty_url).close()
        run(f"delete from {VERSION_TABLE}")  # noqa: S608 - our own name
    else:
        run("create table consent (record_id varchar(36))")
    for open_it in (lambda: Database(empty_url, upgrade=upgrade), lambda: read_revision(empty_url)):
        with pytest.raises(StoreOutdated) as caught:
            open_it()
        assert "FACEWARRANT_HOME" in caught.value.mend


# --- upgrading ----------------------------------------------------------------------------------


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`next_revision(more)`: pretend that one more revision ships, which adds a table."""
    shipped = Path(migrations.__path__[0])
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for path in (shipped / "env.py", *shipped.glob("versions/[0-9]*.py")):
        (folder / path.relative_to(shipped)).write_bytes(path.read_bytes())

    def add(more: str = "") -> None:
        (folder / "versions" / f"{AFTER}_next.py").write_text(NEXT.format(more=more), "utf-8")
        monkeypatch.setattr(revisions, "MIGRATIONS", str(folder))
        monkeypatch.setattr(revisions, "REVISIONS", (*REVISIONS, AFTER))

    return add


def test_an_upgrade_goes_to_the_newest_and_keeps_what_is_there(
    empty_url: str, run: Any, next_revision: Any
) -> None:
    Database(empty_url).close()
    run("insert into disposal (record_id, due_at, at) values ('r', 1, 2)")
    next_revision()
    database = Database(empty_url, upgrade=True)
    assert (database.opened_at, read_revision(empty_url)) == (NEWEST, AFTER)
    assert run("select count(*) from added") == [0]
    assert run("select record_id from disposal") == ["r"]
    database.close()
    Database(empty_url).close()


def test_a_database_of_the_first_revision_is_upgraded_to_what_the_tables_say(
    empty_url: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(revisions, "REVISIONS", ("0001",))
        Database(empty_url).close()
    run(
        "insert into release values ('m', 'r', 'w', 'urn:c2pa:1', 'a', 'b', 'image/png', 'f', 7, 1)"
    )
    database = Database(empty_url, upgrade=True)
    assert database.opened_at == "0001"
    with database.transaction() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
    assert run("select log_index from release") == [7]
    run("insert into release_frame values ('m', 0, 'f')")
    run("insert into decision values ('d', 'x', 'y')")
    for table in ("release_frame", "decision"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            run(f"delete from {table}")  # noqa: S608 - our own names
    database.close()


def test_an_upgrade_that_fails_half_way_changes_nothing(
    empty_url: str, run: Any, next_revision: Any
) -> None:
    Database(empty_url).close()
    next_revision('op.execute("create table added (id integer)")')
    with pytest.raises(StoreUnavailable):
        Database(empty_url, upgrade=True)
    assert read_revision(empty_url) == NEWEST
    with pytest.raises(sa.exc.DBAPIError):
        run("select count(*) from added")


def test_a_first_migration_that_fails_leaves_the_database_empty(
    empty_url: str, run: Any, next_revision: Any
) -> None:
    next_revision('op.execute("create table added (id integer)")')
    with pytest.raises(StoreUnavailable):
        Database(empty_url)
    assert read_revision(empty_url) is None
    with pytest.raises(sa.exc.DBAPIError):
        run("select count(*) from consent")


def test_an_installation_without_its_revisions_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "MIGRATIONS", str(tmp_path / "none"))
    with pytest.raises(StoreUnavailable) as caught:
        Database(f"sqlite:///{tmp_path / 'store.db'}")
    assert caught.value.mend == "install FaceWarrant again"
    # A database that is at the newest revision already needs none of them.
    Database("sqlite://").close()


def test_migrating_leaves_logging_alone(tmp_path: Path) -> None:
    mine = logging.getLogger("facewarrant.test")
    before = (mine.disabled, logging.root.level, list(logging.root.handlers), sys.stdout)
    Database(f"sqlite:///{tmp_path / 'store.db'}").close()
    assert (mine.disabled, logging.root.level, list(logging.root.handlers), sys.stdout) == before
