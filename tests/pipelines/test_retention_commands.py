"""`facewarrant retention`: what is listed, what a dry run leaves alone, what a sweep does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import pipelines.deployment
from pipelines.deployment import create
from pipelines.retention_commands import retention_app
from pipelines.settings import read_settings
from policies.sweep import MEANS

DAY = 86_400


def retention(*words: str) -> Result:
    result = CliRunner().invoke(retention_app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def retention_json(*words: str) -> Any:
    return json.loads(retention(*words, "--json").stdout)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def here(office: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An office in the place of the home folder."""

    @contextmanager
    def opened(_settings: object) -> Iterator[Any]:
        settings = SimpleNamespace(home=tmp_path)
        yield SimpleNamespace(
            desk=office.desk, clock=office.clock, consents=office.book, settings=settings
        )

    monkeypatch.setattr(pipelines.deployment, "open_records", opened)
    monkeypatch.setattr(pipelines.deployment, "controller_key", lambda _: office.controller)
    return office


def test_nothing_is_due_in_a_new_deployment() -> None:
    create(read_settings())
    assert flat(retention("list").stdout) == "Nothing is due within 30 days."
    assert retention_json("list")["due"] == []
    assert retention("sweep").stdout == "gone: 0\nleft: 0\n"
    assert retention_json("sweep") == {"dry_run": False, "done": [], "left": []}


def test_the_list_says_when_by_which_rule_and_whether_it_was_read(here: Any) -> None:
    record_id = here.enrol()
    start = here.clock.now
    [due] = retention_json("list")["due"]
    assert due == {
        "what": "expired",
        "means": MEANS["expired"],
        "item": record_id,
        "due_at": start + 30 * DAY,
        "due": False,
        "rule": "US-IL-BIPA-15-PURPOSE",
        "unread": True,
        "clocks": [
            {
                "due_at": start + 30 * DAY,
                "rule": "US-IL-BIPA-15-PURPOSE",
                "event": "purpose_satisfied",
                "unread": True,
            },
            {
                "due_at": start + 395 * DAY,
                "rule": "US-TX-CUBI",
                "event": "purpose_satisfied",
                "unread": True,
            },
        ],
    }
    assert retention("list").stdout.splitlines() == [
        f"2026-12-21 00:00 UTC  expired  {record_id}  by US-IL-BIPA-15-PURPOSE (unread)",
        "    another clock: 2027-12-21 00:00 UTC  by US-TX-CUBI (unread)",
        f"expired: {MEANS['expired']}",
    ]


@pytest.mark.parametrize(("days", "found"), [(29, []), (30, ["expired"])])
def test_only_what_is_due_in_time_is_listed(here: Any, days: int, found: list[str]) -> None:
    here.enrol()
    listed = retention_json("list", "--days", str(days))["due"]
    assert [due["what"] for due in listed] == found


def test_everything_is_listed_with_enough_days(here: Any) -> None:
    here.enrol()
    listed = retention_json("list", "--days", "4000")["due"]
    assert [due["what"] for due in listed] == ["expired", "unused"]
    assert retention("list", "--days", "-1").exit_code == 2


def test_a_dry_run_says_what_would_go_and_changes_nothing(here: Any) -> None:
    record_id = here.enrol()
    here.clock.now += 30 * DAY
    before = here.log.entries()
    found = retention_json("sweep", "--dry-run")
    assert found["dry_run"] is True
    assert [(due["what"], due["item"], due["due"]) for due in found["done"]] == [
        ("expired", record_id, True)
    ]
    told = retention("sweep", "--dry-run").stdout
    assert told.startswith(f"would go: 1\nnow  expired  {record_id}  by US-IL-BIPA-15-PURPOSE")
    assert here.log.entries() == before
    assert here.book.template(here.book.read(record_id).record)


def test_a_sweep_does_what_the_dry_run_said(here: Any) -> None:
    here.enrol()
    here.clock.now += 30 * DAY
    expected = retention_json("sweep", "--dry-run")["done"]
    assert retention_json("sweep")["done"] == expected
    assert here.log.entries()[-1]["kind"] == "sweep"
    assert retention("sweep").stdout == "gone: 0\nleft: 0\n"


def test_a_sweep_forgets_the_keys_of_people_of_whom_nothing_is_kept(
    here: Any, tmp_path: Path
) -> None:
    record_id, nobody = here.enrol(), "ps_" + "z" * 26
    folder = tmp_path / "subjects"
    folder.mkdir()
    kept = [here.book.read(record_id).record.subject.pid, "someone-else"]
    for name in (nobody, *kept):
        (folder / f"{name}.pem").write_text("a key")
    retention("sweep", "--dry-run")
    assert (folder / f"{nobody}.pem").exists(), "a dry run changes nothing"
    retention("sweep")
    assert sorted(path.stem for path in folder.iterdir()) == sorted(kept)


def test_a_broken_consent_is_left_and_ends_the_command_with_5(here: Any) -> None:
    record_id = here.enrol()
    with here.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger consent_update")
        connection.exec_driver_sql("update consent set document = x'7b7d'")
    for words in (("sweep",), ("sweep", "--dry-run")):
        result = retention(*words)
        assert result.exit_code == 5
        assert "left: 1" in result.stdout
        assert f"now  broken  {record_id}  by FLOOR\n" in result.stdout
        assert "A consent is broken" in result.stderr
    assert retention_json("sweep")["left"][0]["what"] == "broken"
