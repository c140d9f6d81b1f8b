"""A policy folder that cannot be read stops every request, and nobody's withdrawal or erasure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import open_deployment, open_records
from pipelines.settings import read_settings
from policies.entries import POLICY

DEMO = Path(__file__).parents[2] / "docs" / "demo"
Cli = Callable[..., Any]


def write_policy(home: Path, name: str, text: str) -> Path:
    path = home / "policy" / name
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


@pytest.fixture
def closed(released_home: Any) -> Any:
    """A home with a release, whose policy folder has a misspelt file in it."""
    write_policy(released_home.path, "purpose.toml", "")
    return released_home


def policies(home: Any) -> list[str]:
    with open_records(home.settings) as at:
        return [e["policy"] for e in at.archive.log.entries() if e["kind"] == POLICY]


def test_no_request_is_permitted_and_no_release_is_handed_out_again(
    cli: Cli, closed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out.webp"
    for changes in ({}, {"request_id": "first", "operator": "test"}):
        ended = cli(*closed.run_words(out, **changes), "--json")
        assert (ended.code, ended.json["status"]) == (3, "refused")
        assert "HOUSE-CLOSED" in ended.json["codes"]
        assert not out.exists()
    told = cli(*closed.run_words(out))
    assert "facewarrant policy check" in " ".join(told.err.split())
    checked = cli("policy", "check")
    assert checked.code != 0
    assert "purpose.toml" in checked.err


def test_withdrawing_verifying_and_erasing_go_on(cli: Cli, closed: Any, tmp_path: Path) -> None:
    verified = cli("verify", closed.released, "--json")
    assert (verified.code, verified.json["consent"]) == (0, "current")
    assert cli("consent", "show", "--json").code == 0
    assert cli("consent", "receipt", closed.source).code == 0
    pids = [closed.pid(record_id) for record_id in (closed.source, closed.target)]
    assert cli("subject", "export", pids[0], "--out", tmp_path / "export.json").code == 0
    assert cli("consent", "withdraw", closed.source, "--json").json["status"] == "withdrawn"
    assert cli("verify", closed.released, "--json").code == 6
    erased = cli("subject", "erase", pids[1], "--out", tmp_path / "a.json", "--yes", "--json")
    assert (erased.code, erased.json["receipt"]["method"]) == (0, "crypto-shred")
    assert cli("retention", "sweep", "--json").code == 0
    assert cli("audit", "verify", "--json").code == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("purposes.toml", "[[purpose"),
        ("own.cedar", '@id("HOUSE-ALL") permit (principal, action, resource);'),
        ("own.cedar", "permit (principal, action, resource);"),
        ("rendered.txt", "every picture\n"),
    ],
)
def test_whatever_is_wrong_with_it_closes_the_house(empty_home: Path, name: str, text: str) -> None:
    path = write_policy(empty_home, name, text)
    assert own_forbids() == ["HOUSE-CLOSED"]
    path.unlink()
    assert own_forbids() == []


def own_forbids() -> list[str]:
    """The own forbids of the policy that a deployment opened now goes by."""
    with open_records(read_settings()) as at:
        return list(at.desk.house.gate.house)


def test_the_log_says_which_policy_was_in_force_from_when(closed: Any) -> None:
    [shipped] = policies(closed)
    for _ in range(2):
        with open_deployment(closed.settings):
            pass
    first, then = policies(closed)
    assert first == shipped != then, "once for each change"
    (closed.path / "policy" / "purpose.toml").unlink()
    with open_deployment(closed.settings):
        pass
    assert policies(closed) == [shipped, then, shipped]
    with open_records(closed.settings) as at:
        at.archive.log.check()
        assert at.archive.log.entries()[-1]["event"] == "in_force"
        assert json.dumps(at.archive.log.entries()[-1]).count("/") == 0, "no path is logged"
