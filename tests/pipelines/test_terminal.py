from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detector.scan import ACTIONS, NO_MODEL, Verdict
from pipelines import terminal
from pipelines.demo import DemoFailed
from pipelines.jobs import FileUnreadable
from pipelines.keyfiles import KeyFileRefused
from pipelines.outcome import Outcome
from policies.audit import ClockRollback, LogTampered
from policies.decide import Refused, decide
from policies.errors import Error, Malformed, StoreUnavailable
from policies.house import shipped_house
from policies.rule import Finding
from policies.warrant import WarrantInvalid
from provenance.errors import (
    CertificateRefused,
    Tampered,
    Truncated,
    Unmarked,
    Unreadable,
    Untrusted,
)
from provenance.evidence import Evidence, Report
from provenance.release import Released

REPORT = Report(
    "authentic",
    "facewarrant",
    "current",
    "urn:c2pa:1",
    "Studio",
    "aabb",
    (
        Evidence("signature", "holds", "the manifest fits this file"),
        Evidence("labels", "warns", "a label that " + "goes on " * 20 + "ends"),
    ),
)
HOSTILE = "\x1b[31m\x07\x9b2J\N{RIGHT-TO-LEFT OVERRIDE}[bold]x[/] [/red] \\"


def reason(code: str, subject: str) -> Finding:
    return Finding(
        code=code, cites=("GDPR-7",), subject=subject, explain="They did not agree.", mend="Ask."
    )


def a_refusal() -> Refused:
    decision_id = "00000000-0000-7000-8000-000000000000"
    house = shipped_house([])
    decision = decide({}, request_sha256="0" * 64, decision_id=decision_id, now=1, house=house)
    return Refused(decision)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("x"), 1),
        (ClockRollback("x"), 1),
        (DemoFailed("x"), 1),
        (WarrantInvalid("x"), 3),
        (Malformed("x"), 4),
        (FileUnreadable("x"), 4),
        (KeyFileRefused("x"), 4),
        (CertificateRefused("x"), 4),
        (Truncated("x"), 4),
        (Tampered("x"), 5),
        (Untrusted("x"), 5),
        (Unreadable("x"), 5),
        (Unmarked("x"), 5),
        (LogTampered("x"), 5),
        (Error("x"), 4),
    ],
    ids=lambda value: getattr(value, "code", value),
)
def test_every_family_of_errors_has_its_exit_code(error: Error, code: int) -> None:
    assert terminal.exit_code_for(error) == code


def test_a_refusal_is_3() -> None:
    assert terminal.exit_code_for(a_refusal()) == 3


@pytest.mark.parametrize(
    ("status", "codes", "code"),
    [
        ("released", (), 0),
        ("refused", ("PURPOSE-SCOPE",), 3),
        ("rejected", ("MEDIA-TRUNCATED",), 4),
        ("rejected", ("WARRANT-SPENT",), 3),
        ("rejected", ("REQUEST-ID-REUSED",), 3),
        ("rejected", ("CONSENT-CHANGED",), 3),
        ("rejected", ("CONSENT-BROKEN",), 4),
        ("rejected", ("CLOCK-ROLLBACK",), 1),
        ("rejected", ("STORE-UNAVAILABLE",), 1),
    ],
)
def test_every_outcome_has_its_exit_code(status: Any, codes: tuple[str, ...], code: int) -> None:
    assert terminal.exit_code_of(Outcome("r-1", status, codes=codes)) == code


def test_an_error_says_what_is_wrong_and_how_to_mend_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.show_error(Malformed("it is wrong", mend="make it right"), json=False)
    terminal.show_error(Malformed("no mend is known"), json=False)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "MALFORMED: it is wrong\nTo mend: make it right\nMALFORMED: no mend is known\n"
    )


def test_an_error_with_evidence_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_error(Tampered("changed", evidence=REPORT.evidence), json=False)
    told = capsys.readouterr().err
    assert "holds  signature  the manifest fits this file" in told
    terminal.show_error(Tampered("changed", evidence=REPORT.evidence), json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["evidence"][0] == {
        "subject": "signature",
        "state": "holds",
        "words": "the manifest fits this file",
    }


def everything(text: str, folder: Path) -> None:
    """Show `text` in every place that can come from outside."""
    line = Evidence("labels", "warns", text)
    finding = reason("A-RULE", f"{text} id").model_copy(update={"explain": text, "mend": text})
    release = Released(b"", "image/webp", "0" * 64, "aabb", "urn:c2pa:1", 1)
    report = Report("authentic", "other", "unchecked", "urn:x", text, "", (line,))
    verdict = Verdict("0" * 64, "no_evidence_found", "none", text, NO_MODEL, (line,))
    terminal.show_error(Tampered(text, mend=text, evidence=(line,)), json=False)
    terminal.show_outcome(Outcome("r", "released", release=release), folder / text, json=False)
    terminal.show_outcome(Outcome("r", "refused", findings=(finding,)), folder, json=False)
    terminal.show_outcome(Outcome("r", "rejected", message=text, mend=text), folder, json=False)
    terminal.show_report(Path(text), report, json=False)
    terminal.show_verdicts([(Path(text), verdict)], json=False)
    terminal.demo_printer(json=False)(text)
    terminal.step_printer(json=False)("r", text, 1.0)


def test_text_from_outside_cannot_drive_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    everything(HOSTILE, tmp_path)
    told = capsys.readouterr()
    shown = told.out + told.err
    assert set(shown) & set("\x1b\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}") == set()
    assert "[bold]x[/]" in shown, "markup of others is shown, not obeyed"


def test_surrogates_of_odd_file_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_report(Path("odd\udcff.webp"), REPORT, json=False)
    assert "odd?.webp" in capsys.readouterr().out
    terminal.show_report(Path("odd\udcff.webp"), REPORT, json=True)
    assert json.loads(capsys.readouterr().out)["verdict"] == "authentic"


def test_nothing_is_wider_than_the_terminal_and_nothing_is_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.show_report(Path("a.webp"), REPORT, json=False)
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in told
    assert " ".join(told.split()).count("goes on") == 20
    assert "ends" in told


def test_people_with_the_same_reason_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    findings = (
        reason("PURPOSE", "source_identity 1"),
        reason("PURPOSE", "target_body 2"),
        reason("FACES", ""),
    )
    terminal.show_outcome(
        Outcome("r", "refused", codes=("PURPOSE", "FACES"), findings=findings), Path(), json=False
    )
    assert [line.rstrip() for line in capsys.readouterr().err.splitlines()] == [
        "refused PURPOSE, FACES",
        "PURPOSE  source_identity, target_body  [GDPR-7]",
        "  They did not agree.",
        "  To mend: Ask.",
        "FACES  the request  [GDPR-7]",
        "  They did not agree.",
        "  To mend: Ask.",
    ]


def test_a_broken_consent_hides_what_only_follows_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = (
        reason("CONSENT-BROKEN", "source_identity 1"),
        reason("LIMIT-EXHAUSTED", "source_identity 1"),
        reason("PURPOSE", "target_body 2"),
    )
    codes = tuple(finding.code for finding in findings)
    outcome = Outcome("r", "refused", codes=codes, findings=findings)
    terminal.show_outcome(outcome, Path(), json=False)
    told = capsys.readouterr().err
    assert told.startswith("refused CONSENT-BROKEN, PURPOSE\n")
    assert "LIMIT-EXHAUSTED" not in told
    assert outcome.as_json()["codes"] == list(codes)  # the machine's list stays whole


def test_a_rejection_without_a_mend_promises_none(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_outcome(
        Outcome("r", "rejected", codes=("X",), message="broken"), Path(), json=False
    )
    assert capsys.readouterr().err == "rejected X\nbroken\n"


@pytest.mark.parametrize("outcome", ACTIONS)
def test_a_verdict_shows_what_to_do_and_why(
    capsys: pytest.CaptureFixture[str], outcome: Any
) -> None:
    verdict = Verdict("0" * 64, outcome, ACTIONS[outcome], "because", NO_MODEL, ())
    terminal.show_verdicts([(Path("long" * 30 + ".webp"), verdict)], json=False)
    told = capsys.readouterr().out
    assert told.startswith("long" * 30 + f".webp: {outcome}\n")
    assert ACTIONS[outcome] in told
    assert "not_available: no calibrated detector" in told


def test_json_printers_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.step_printer(json=True)("r", "step", 1.0)
    terminal.demo_printer(json=True)("line")
    assert capsys.readouterr().out == ""
