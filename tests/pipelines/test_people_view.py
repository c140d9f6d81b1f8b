"""What people see of consents: every question asked, nothing hidden, nothing overwritten."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer

from pipelines import people_view
from pipelines.people import BrokenConsent, Scope
from policies.challenge import Challenge
from policies.errors import StoreUnavailable

HOSTILE = "\x1b[31m\x07\x9b2J\N{RIGHT-TO-LEFT OVERRIDE}[bold]x[/]"
SCOPE = Scope(("bystander",), ("research",), ("DE", "FR"))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """`answer("y\\nn\\n")`: what the person types."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_notice_and_scope_are_shown_and_nothing_is_asked(
    capsys: pytest.CaptureFixture[str], answer
) -> None:  # type: ignore[no-untyped-def]
    answer("")
    people_view.show_terms("A\nnotice.", SCOPE)
    told = capsys.readouterr()
    assert told.out == "", "stdout is for the consent"
    for words in ("A notice.", "bystander", "research", "DE, FR", "internal", "365 days"):
        assert words in told.err
    assert "anybody who consented too" in told.err
    assert "any picture" in told.err
    assert "permitted besides" not in told.err
    assert "[y/N]" not in told.err


def test_confirming_asks_twice_and_shows_nothing_again(
    capsys: pytest.CaptureFixture[str], answer
) -> None:  # type: ignore[no-untyped-def]
    answer("y\ny\ny\n")
    people_view.confirm_twice(SCOPE)
    told = capsys.readouterr()
    assert told.out.strip() == ""
    assert told.err.count("[y/N]") == 3
    assert "18 or older?" in told.err
    assert "research" not in told.err


def test_a_notice_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    people_view.show_terms(HOSTILE, Scope(("bystander",), ("research",), ("DE",), project=HOSTILE))
    told = capsys.readouterr().err
    assert set(told) & set("\x1b\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}") == set()
    assert "[bold]x[/]" in told


def test_every_sensitive_category_is_asked_for_by_itself(
    capsys: pytest.CaptureFixture[str], answer
) -> None:  # type: ignore[no-untyped-def]
    answer("y\n" * 5)
    scope = Scope(
        ("bystander",),
        ("research",),
        ("DE",),
        opted_in=("alcohol", "political"),
        prohibited=("tobacco",),
        counterparties=("ps_x",),
        assets=("0" * 64,),
    )
    people_view.show_terms("A notice.", scope)
    people_view.confirm_twice(scope)
    told = capsys.readouterr().err
    assert told.count("[y/N]") == 5
    for word in ("alcohol", "political"):
        assert f"By itself: do you permit content that is '{word}'?" in told
    for shown in ("ps_x", "1 listed pictures", "tobacco", "permitted besides"):
        assert shown in told


@pytest.mark.parametrize("given", ["n\n", "y\nn\n", "y\ny\nn\n", "y\ny\ny\nn\n", "\n"])
def test_one_no_ends_it(capsys: pytest.CaptureFixture[str], answer, given: str) -> None:  # type: ignore[no-untyped-def]
    answer(given)
    scope = Scope(("bystander",), ("research",), ("DE",), opted_in=("alcohol",))
    with pytest.raises(typer.Exit) as ended:
        people_view.confirm_twice(scope)
    assert ended.value.exit_code == 1
    assert "nothing was signed and nothing was kept" in capsys.readouterr().err


def test_text_from_outside_cannot_drive_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    people_view.show_consents([BrokenConsent(HOSTILE, HOSTILE)], json=False)
    people_view.show_text("x", tmp_path / HOSTILE)
    people_view.show_export({"part": []}, tmp_path / f"{HOSTILE}.json", json=False)
    told = capsys.readouterr().out
    assert set(told) & set("\x1b\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}") == set()
    assert "[bold]x[/]" in told


def test_no_consent_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    people_view.show_consents([], json=False)
    assert "facewarrant consent grant --help" in capsys.readouterr().out
    people_view.show_consents([BrokenConsent("an id", "edited")], json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"record_id": "an id", "reason": "edited", "status": "broken"}
    ]


def test_a_challenge_says_what_to_do_and_until_when(capsys: pytest.CaptureFixture[str]) -> None:
    challenge = Challenge(
        schema="facewarrant/challenge/1",
        nonce="ab" * 32,
        steps=("turn_left", "close_eyes", "turn_right", "close_eyes", "turn_left"),
        issued_at=1_795_219_200,
        expires_at=1_795_219_320,
    )
    people_view.show_challenge(challenge, json=False)
    told = capsys.readouterr().out
    assert "  5. turn your head slowly to your own left" in told
    assert "2026-11-21 00:02 UTC" in told
    assert f"--challenge {'ab' * 32}" in told, "whole, on one line"
    people_view.show_challenge(challenge, json=True)
    assert json.loads(capsys.readouterr().out)["steps"] == list(challenge.steps)


@pytest.mark.parametrize("json_too", [False, True])
def test_what_is_written_is_private_new_and_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, json_too: bool
) -> None:
    receipt = {"method": "crypto-shred", "checks": {"copies_found": 0}}
    people_view.show_erasure(receipt, tmp_path / "receipt.json", json=json_too)
    people_view.show_export({"consents": [1, 2], "pid": "x"}, tmp_path / "all.json", json=json_too)
    told = capsys.readouterr().out
    assert "crypto-shred" in told
    assert ('"consents": 2' if json_too else "2 consents") in told
    for name in ("receipt.json", "all.json"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "receipt.json").read_text()) == receipt
    with pytest.raises(StoreUnavailable, match="there already"):
        people_view.show_erasure({}, tmp_path / "receipt.json", json=json_too)
    assert json.loads((tmp_path / "receipt.json").read_text()) == receipt
    people_view.show_erased_again(3, json=json_too)
    assert "3" in capsys.readouterr().out
