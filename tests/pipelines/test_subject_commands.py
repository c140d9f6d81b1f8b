"""`facewarrant subject`: thin over `pipelines.subjects`; asks first, overwrites nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
NOBODY = "ps_" + "a" * 26


def test_an_export_is_one_private_file(cli: Cli, home: Any, tmp_path: Path) -> None:
    pid, out = home.pid(home.source), tmp_path / "all.json"
    ended = cli("subject", "export", pid, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert "1 consents, 0 warrants, 0 decisions, 0 releases, 2 log_entries" in " ".join(
        ended.out.split()
    )
    assert out.stat().st_mode & 0o077 == 0
    assert json.loads(out.read_text())["pid"] == pid
    again = cli("subject", "export", pid, "--out", out, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")
    other = cli("subject", "export", pid, "--out", tmp_path / "b.json", "--json").json
    nothing = {"warrants": 0, "decisions": 0, "releases": 0}
    assert other["counts"] == {"consents": 1, "log_entries": 2, **nothing}


def test_a_person_is_erased_once_and_gets_the_receipt_again(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    pid = home.pid(home.source)
    ended = cli("subject", "erase", pid, "--out", tmp_path / "a.json", "--yes")
    assert ended.code == 0
    assert "crypto-shred" in ended.out
    assert (tmp_path / "a.json").stat().st_mode & 0o077 == 0
    again = cli("subject", "erase", pid, "--out", tmp_path / "b.json", "--yes", "--json")
    assert again.code == 0
    assert again.json["receipt"] == json.loads((tmp_path / "a.json").read_text())
    assert cli("consent", "show", home.source, "--json").json["status"] == "withdrawn"
    assert not (home.path / "subjects" / f"{pid}.pem").exists()


def test_a_person_is_not_erased_without_a_yes(cli: Cli, home: Any, tmp_path: Path) -> None:
    pid, size = home.pid(home.source), home.log_size()
    for answers in ("n\n", ""):
        ended = cli("subject", "erase", pid, "--out", tmp_path / "a.json", answers=answers)
        assert (ended.code, ended.out.strip()) == (1, "")
        assert "nothing brings the template back" in ended.err
    assert home.log_size() == size
    assert not (tmp_path / "a.json").exists()
    assert cli("subject", "erase", pid, "--out", tmp_path / "a.json", answers="y\n").code == 0


@pytest.mark.parametrize("out", ["there.json", "there.json/receipt", "folder"])
def test_nothing_is_erased_while_the_receipt_has_no_place(
    cli: Cli, home: Any, tmp_path: Path, out: str
) -> None:
    (tmp_path / "there.json").write_text("mine")
    (tmp_path / "folder").mkdir()
    pid, size = home.pid(home.source), home.log_size()
    ended = cli("subject", "erase", pid, "--out", tmp_path / out, "--yes", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")
    assert home.log_size() == size
    assert (tmp_path / "there.json").read_text() == "mine"
    assert cli("consent", "show", home.source, "--json").json["status"] == "confirmed"


def test_nobody_is_exported_or_erased(cli: Cli, home: Any, tmp_path: Path) -> None:
    for command, code in (("export", "CONSENT-UNKNOWN"), ("erase", "KEY-UNKNOWN")):
        yes = ["--yes"] if command == "erase" else []
        ended = cli("subject", command, NOBODY, "--out", tmp_path / "x.json", *yes, "--json")
        assert (ended.code, ended.json["error"]["code"]) == (4, code)
    assert not (tmp_path / "x.json").exists()


def test_what_a_backup_brings_back_is_destroyed_again(cli: Cli, home: Any, tmp_path: Path) -> None:
    keys = home.path / "people-keys" / "people.db"
    shutil.copy2(keys, tmp_path / "backup.db")
    cli("subject", "erase", home.pid(home.source), "--out", tmp_path / "a.json", "--yes")
    shutil.copy2(tmp_path / "backup.db", keys)
    assert cli("subject", "erase-again", "--json").json == {"destroyed": 1}
    assert cli("subject", "erase-again").out.startswith("0 keys had come back")
