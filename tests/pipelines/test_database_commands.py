"""The schema's revision, shown and brought to the newest; no home, no database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from pipelines.database_commands import database_app
from pipelines.keyfiles import KeyFileRefused
from policies import revisions
from policies.database import Database
from policies.revisions import REVISIONS, VERSION_TABLE, StoreNewer, StoreOutdated

NEWEST = REVISIONS[-1]


def database(*words: str) -> Result:
    result = CliRunner().invoke(database_app, words, prog_name="facewarrant database")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert (result.exit_code, result.stderr) == (0, "")
    return result


def database_json(word: str) -> Any:
    return json.loads(database(word, "--json").stdout)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "keys").mkdir()
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path))
    monkeypatch.delenv("FACEWARRANT_DATABASE_URL", raising=False)
    return tmp_path


def address(home: Path) -> str:
    return f"sqlite:///{home / 'facewarrant.db'}"


def test_no_database_yet_has_no_revision(home: Path) -> None:
    assert database_json("current") == {"before": None, "revision": None, "newest": NEWEST}
    assert "none yet" in database("current").stdout
    assert not (home / "facewarrant.db").exists()


def test_a_database_of_this_version_is_current(home: Path) -> None:
    Database(address(home)).close()
    assert database_json("current")["revision"] == NEWEST
    shown = database("current").stdout
    assert NEWEST in shown
    assert "upgrade" not in shown
    assert database_json("upgrade") == {"before": NEWEST, "revision": NEWEST, "newest": NEWEST}


def test_an_upgrade_makes_a_missing_database(home: Path) -> None:
    assert database_json("upgrade") == {"before": None, "revision": NEWEST, "newest": NEWEST}
    assert (home / "facewarrant.db").exists()
    assert "database was at" in database("upgrade").stdout


def test_an_older_database_is_shown_with_the_way_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(address(home)).close()
    monkeypatch.setattr(revisions, "REVISIONS", (*REVISIONS, "9998"))
    with pytest.raises(StoreOutdated):
        Database(address(home))
    assert "facewarrant database upgrade" in database("current").stdout


def test_a_newer_database_is_shown_and_not_touched(home: Path) -> None:
    Database(address(home)).close()
    engine = sa.create_engine(address(home))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"update {VERSION_TABLE} set version_num = '9'")  # noqa: S608
    engine.dispose()
    assert database_json("current")["revision"] == "9"
    with pytest.raises(StoreNewer):
        database("upgrade")
    assert database_json("current")["revision"] == "9"


def test_the_address_in_the_settings_counts(
    home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWARRANT_DATABASE_URL", postgres_url)
    assert database_json("current")["revision"] == NEWEST
    assert database_json("upgrade")["revision"] == NEWEST
    assert not (home / "facewarrant.db").exists()


@pytest.mark.parametrize("word", ["current", "upgrade"])
def test_without_a_home_there_is_no_database(home: Path, word: str) -> None:
    (home / "keys").rmdir()
    with pytest.raises(KeyFileRefused) as caught:
        database(word)
    assert caught.value.code == "KEY-FILE-REFUSED"
    assert list(home.iterdir()) == []
