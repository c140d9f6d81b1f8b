"""`facewarrant audit bundle`: the evidence for one output, checked as its README says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import open_records

Cli = Callable[..., Any]


@pytest.fixture
def manifest(released_home: Any) -> str:
    with open_records(released_home.settings) as at:
        row = at.archive.registry.by_request("first")
    assert row is not None
    return str(row.manifest_id)


def test_an_auditor_checks_a_real_release(
    released_home: Any, manifest: str, cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "evidence"
    told = cli("audit", "bundle", manifest, folder)
    assert told.code == 0, told.err
    assert "README.txt" in told.out
    assert (folder / "output.webp").read_bytes() == released_home.released.read_bytes()
    commands = re.findall(r"^\$ (.+)$", (folder / "README.txt").read_text(), re.MULTILINE)
    for command in commands:
        ended = subprocess.run(
            ["/bin/sh", "-c", command.replace("python3 ", f"{sys.executable} -I -S ")],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)


def test_json_names_the_entries(
    released_home: Any, manifest: str, cli: Cli, tmp_path: Path
) -> None:
    told = cli("audit", "bundle", "first", tmp_path / "e", "--json")
    assert told.json["manifest"] == manifest
    assert told.json["missing"] == []
    assert told.json["entries"]["warrant"] == told.json["entries"]["decision"] + 1


def test_an_unknown_name_is_refused(released_home: Any, cli: Cli, tmp_path: Path) -> None:
    told = cli("audit", "bundle", "urn:c2pa:none", tmp_path / "e")
    assert told.code != 0
    assert "OUTPUT-UNKNOWN" in told.err
    assert not (tmp_path / "e").exists()


def test_evidence_that_differs_ends_with_five(
    released_home: Any, manifest: str, cli: Cli, tmp_path: Path
) -> None:
    with open_records(released_home.settings) as at:
        with at.desk.database.transaction() as connection:
            connection.exec_driver_sql("drop trigger release_update")
            connection.exec_driver_sql("update release set log_index = 0")
    told = cli("audit", "bundle", manifest, tmp_path / "e")
    assert told.code == 5
    assert "LOG-TAMPERED" in told.err


def test_what_is_missing_is_told(
    released_home: Any, manifest: str, cli: Cli, tmp_path: Path
) -> None:
    with open_records(released_home.settings) as at:
        with at.desk.database.transaction() as connection:
            connection.exec_driver_sql("drop trigger decision_delete")
            connection.exec_driver_sql("delete from decision")
    told = cli("audit", "bundle", manifest, tmp_path / "e")
    assert told.code == 0
    assert "Not in it" in told.out
