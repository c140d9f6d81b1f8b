from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from pipelines import law_commands
from pipelines.law_commands import law_app
from policies.house_files import HouseFileUnknown
from policies.law import LawBook, LawUnknown, load_rules
from policies.lawrule import Role

BOOK = load_rules()
TODAY = "2026-11-21"


def law(*words: str) -> Result:
    result = CliRunner().invoke(law_app, words, prog_name="facewarrant law")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def law_json(*words: str) -> Any:
    result = law(*words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def rule_ids(found: Any) -> list[str]:
    return [rule["id"] for rule in found["rules"]]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_listing_shows_every_rule_and_how_far_it_was_read() -> None:
    result = law("list")
    assert result.exit_code == 0
    for rule in BOOK.rules:
        assert f"\n{rule.id} " in result.stdout
    assert "46 of 46 rules, 4 may deny. Not legal advice" in flat(result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in result.stdout


@pytest.mark.parametrize(
    ("words", "found", "missing"),
    [
        ((), "US-IL-BIPA-15", "NOTHING"),
        (("--territory", "US-IL"), "US-IL-BIPA-15", "US-CA-942"),
        (("--territory", "US-CA", "--territory", "DE"), "GDPR-17", "CN-LABEL"),
        (("--role", "producer"), "US-SAG-AFTRA", "US-TIDA"),
        (("--role", "producer", "--role", "platform"), "US-TIDA", "GDPR-17"),
        (("--on", "2026-12-01"), "EU-AIA-50-2", "EU-AIA-5-NCII"),
        (("--on", "2026-12-02"), "EU-AIA-5-NCII", "US-CA-942-PLATFORM"),
    ],
)
def test_every_option_narrows_the_list(words: tuple[str, ...], found: str, missing: str) -> None:
    listed = law_json("list", *words)
    assert listed["rules_sha256"] == BOOK.sha256
    assert found in rule_ids(listed)
    assert missing not in rule_ids(listed)
    assert "FLOOR" in rule_ids(listed)


def test_explaining_a_rule_says_what_it_may_and_what_checks_it() -> None:
    told = flat(law("explain", "EU-AIA-50-2").stdout)
    assert told.startswith("EU-AIA-50-2 Generated media carries a machine-readable mark")
    for words in (
        "may warn",
        "read secondary, last looked at 2026-11-21",
        "manifest_signed (OUTPUT-MARKED); digital_source_type_ai (not part of the decision)",
        "not for legacy_system_before_2026-08-02",
        "Not legal advice",
    ):
        assert words in told


def test_explaining_as_json_gives_every_field() -> None:
    found = law_json("explain", "FLOOR")
    assert (found["can_block"], found["reading"], found["applies_from"]) == (True, "own rule", "")
    assert law_json("explain", "US-TIDA")["can_block"] is False


def test_explaining_what_does_not_exist_is_an_error_with_a_mend() -> None:
    with pytest.raises(LawUnknown, match="'GDPR-99'") as unknown:
        law("explain", "GDPR-99")
    assert (unknown.value.code, unknown.value.mend) == (
        "LAW-UNKNOWN",
        "list the ids: facewarrant law list",
    )


def test_checking_keeps_what_binds_apart_from_what_is_advised() -> None:
    found = law_json("check", "--territory", "CN", "--role", "provider", "--on", TODAY)
    assert {"CN-DS", "CN-DS-14", "CN-LABEL", "FLOOR"} < set(rule_ids(found))
    assert found["binding"]["marks"] == {m: ["FLOOR"] for m in ("c2pa", "label", "watermark")}
    assert found["binding"]["addenda"] == {}
    assert found["advised"]["addenda"] == {"CN-SEPARATE": ["CN-DS-14"]}
    assert (found["on"], found["territories"], found["roles"]) == (TODAY, ["CN"], ["provider"])
    assert found["stale"] == []


def test_checking_in_words() -> None:
    result = law("check", "--territory", "US-TX", "--role", "controller", "--on", TODAY)
    told = flat(result.stdout)
    assert f"US-TX on {TODAY} binds: FLOOR, FLOOR-ENROLMENT" in told
    assert (
        "advises: US-NOFAKES (secondary), US-TX-CUBI (secondary), US-TX-CUBI-B1 (secondary)" in told
    )
    assert "a release must carry: c2pa (FLOOR); label (FLOOR); watermark (FLOOR)" in told
    assert "a consent must hold: nothing" in told
    assert "a consent should hold: US-TX-ORIGIN (US-TX-CUBI, US-TX-CUBI-B1)" in told
    assert "365 days after purpose_satisfied (US-TX-CUBI)" in told
    assert "US-TIDA" not in told
    assert (
        "The official text of 3 of these rules was not read here. Such a rule neither blocks nor "
        "clears: no request is denied by it, and none is permitted by it."
    ) in told
    assert result.stderr == ""


def test_checking_several_places_tells_them_apart() -> None:
    words = ("check", "--territory", "US-IL", "--territory", "CN", "--territory", "US-IL")
    found = law_json(*words, "--on", TODAY)
    assert found["roles"] == list(get_args(Role))  # as a decision asks: rather too many
    assert list(found["places"]) == ["CN", "US-IL"]
    illinois, china = found["places"]["US-IL"], found["places"]["CN"]
    assert illinois["advised"]["addenda"] == {"US-IL-RELEASE": ["US-IL-BIPA-15"]}
    assert china["advised"]["addenda"] == {"CN-SEPARATE": ["CN-DS-14", "CN-FRT", "CN-PIPL-29"]}
    floor = ["FLOOR", "FLOOR-ENROLMENT", "FLOOR-SOURCE-MEDIA", "FLOOR-TEMPLATE"]
    for place in (illinois, china):
        assert place["binds"] == floor
        assert place["binding"]["addenda"] == {}
        assert place["unread"] == place["advises"]
    assert set(illinois["advises"]).isdisjoint(china["advises"])
    assert set(illinois["advises"]) | set(china["advises"]) | set(floor) == set(rule_ids(found))


def test_a_rule_that_was_read_binds_in_its_place_alone(tmp_path: Path) -> None:
    write_own(tmp_path, OWN)
    found = law_json("check", "--territory", "US-IL", "--territory", "CN", "--on", TODAY)
    assert "ACME-1" in found["places"]["US-IL"]["binds"]
    assert found["places"]["US-IL"]["binding"]["addenda"] == {"US-IL-RELEASE": ["ACME-1"]}
    assert "ACME-1" not in found["places"]["US-IL"]["unread"]
    assert found["places"]["CN"]["binding"]["addenda"] == {}
    assert "a consent must hold: US-IL-RELEASE (ACME-1)" in flat(
        law("check", "--territory", "US-IL", "--on", TODAY).stdout
    )
    assert "47 of 47 rules, 5 may deny." in flat(law("list").stdout)
    assert law_json("explain", "ACME-1")["reviewed_by"] == "A. Reader"


def test_a_policy_folder_that_is_wrong_stops_every_law_command(tmp_path: Path) -> None:
    write_own(tmp_path, OWN).rename(tmp_path / "home" / "policy" / "law" / "acme.tml")
    for words in (("list",), ("explain", "FLOOR"), ("check", "--territory", "DE")):
        with pytest.raises(HouseFileUnknown):
            law(*words)


OWN = """\
schema = "facewarrant/rules/1"
jurisdiction = "ACME"
[[rule]]
id = "ACME-1"
title = "Members sign the release"
binds = ["controller"]
territories = ["US-IL"]
applies_from = ""
applies_until = ""
status = "contract"
severity = "error"
text_read = "primary"
reviewed_by = "A. Reader"
reviewed_on = 2026-11-20
text_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
source = "member terms"
checks = ["written_release_signed"]
requires_marks = []
requires_addenda = ["US-IL-RELEASE"]
evidence = []
deadline = ""
deadline_from = ""
unless = []
explain = "Promised to members."
"""


def write_own(tmp_path: Path, text: str) -> Path:
    """A rule of the deployment's own, in the home that the tests of this folder have."""
    path = tmp_path / "home" / "policy" / "law" / "acme.toml"
    path.parent.mkdir(parents=True, mode=0o755)
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_checking_without_a_day_means_today(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            assert tz is UTC
            return cls(2027, 1, 1, 0, 0, 1, tzinfo=UTC)

    monkeypatch.setattr(law_commands, "datetime", Clock)
    found = law_json("check", "--territory", "US-CA", "--role", "platform")
    assert found["on"] == "2027-01-01"
    assert "US-CA-942-PLATFORM" in rule_ids(found)


def test_checking_warns_of_rules_nobody_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    [first, *rest] = BOOK.rules
    old = first.model_copy(update={"reviewed_on": date(2020, 1, 1)})
    monkeypatch.setattr(law_commands, "_book", lambda: LawBook((old, *rest)))
    words = ("check", "--territory", "JP", "--role", "provider", "--on", TODAY)
    result = law(*words)
    assert flat(result.stderr) == f"not looked at for too long on {TODAY}: {first.id}"
    assert law_json(*words)["stale"] == [first.id]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "--role", "provider"), "Missing option '--territory'"),
        (("check", "--territory", "DE", "--role", "boss"), "'boss' is not one of provider"),
        (("check", "--territory", "Germany", "--role", "provider"), "'Germany' is not a territory"),
        (("list", "--territory", "de"), "'de' is not a territory"),
        (("list", "--role", "boss"), "'boss' is not one of provider, deployer"),
        (("list", "--on", "21.11.2026"), "does not match the format"),
        (("explain",), "Missing argument 'ID'"),
    ],
)
def test_wrong_use_is_told(words: tuple[str, ...], told: str) -> None:
    result = law(*words)
    assert result.exit_code == 2
    assert told in flat(result.stderr.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " "))


def test_rules_of_others_cannot_style_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    [first, *rest] = BOOK.rules
    odd = first.model_copy(update={"title": "[bold]x[/] [/red]", "explain": "[/] y"})
    monkeypatch.setattr(law_commands, "_book", lambda: LawBook((odd, *rest)))
    assert "[bold]x[/] [/red]" in law("list").stdout
    assert "[/] y" in law("explain", odd.id).stdout
