"""What people see in a terminal: tables, steps, errors with their mend; or one JSON document."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from policies.errors import Error

if TYPE_CHECKING:
    from detector.scan import Verdict
    from pipelines.demo import Demo
    from pipelines.doctor import Finding
    from pipelines.outcome import Outcome
    from pipelines.people import BrokenConsent, Scope
    from pipelines.settings import Settings
    from policies.consents import Consent
    from policies.rules import Finding as Reason
    from provenance.evidence import Evidence, Report

EXIT_FAULT, EXIT_USAGE, EXIT_REFUSED, EXIT_INPUT, EXIT_EVIDENCE, EXIT_ENDED = 1, 2, 3, 4, 5, 6

_STYLE = {
    "holds": "green",
    "warns": "yellow",
    "fails": "red",
    "absent": "dim",
    "unchecked": "dim",
}

_FAULTS = ("STORE-UNAVAILABLE", "CLOCK-ROLLBACK", "DEMO-FAILED")
_BROKEN_EVIDENCE = ("LOG-TAMPERED", "PROOF-INVALID")
_ENDED_WARRANT = ("WARRANT-", "CONSENT-CHANGED", "REQUEST-ID-REUSED")

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def exit_code_for(error: Error) -> int:
    """Return the exit code of an error that ended a command."""
    from policies.decide import Refused
    from policies.warrant import WarrantInvalid
    from provenance.errors import VerificationError

    if isinstance(error, Refused | WarrantInvalid):
        return EXIT_REFUSED
    if isinstance(error, VerificationError) or error.code in _BROKEN_EVIDENCE:
        return EXIT_EVIDENCE
    return EXIT_FAULT if error.code in _FAULTS else EXIT_INPUT


def exit_code_of(outcome: Outcome) -> int:
    """Return the exit code of a finished request."""
    if outcome.status == "released":
        return 0
    if any(code in _FAULTS for code in outcome.codes):
        return EXIT_FAULT
    ended = any(code.startswith(_ENDED_WARRANT) for code in outcome.codes)
    return EXIT_REFUSED if outcome.status == "refused" or ended else EXIT_INPUT


def exit_code_of_report(report: Report) -> int:
    """Return the exit code of a verification that held."""
    return 0 if report.consent in ("current", "unchecked") else EXIT_ENDED


def show_error(error: Error, *, json: bool) -> None:
    """Print an error and how to mend it; evidence too where it carries some."""
    evidence: Sequence[Evidence] = getattr(error, "evidence", ())
    if json:
        _print_json(
            {
                "error": {"code": error.code, "message": error.message, "mend": error.mend},
                "evidence": [_evidence_json(line) for line in evidence],
            }
        )
        return
    _err.print(f"[red bold]{error.code}[/]: {_plain(error.message)}")
    if evidence:
        _err.print(_evidence_table(evidence))
    _print_mend(error.mend)


def show_init(settings: Settings, *, json: bool) -> None:
    """Say what was made and what to do next."""
    if json:
        _print_json({"home": str(settings.home), "organisation": settings.organisation})
        return
    _out.print(f"Made keys, certificates and database in {_plain(settings.home)}", soft_wrap=True)
    _out.print("For development: nobody else trusts this root, and its own key is gone.")
    _out.print("Next, for every person shown: facewarrant consent grant --help")


def confirm_twice(notice: str, scope: Scope) -> Scope:
    """Show notice and scope; ask for adulthood, then twice for consent. A no ends the command.

    Returns the scope with adulthood declared. All of it goes to stderr: stdout is for the consent,
    in text or JSON.
    """
    _err.print(_plain(" ".join(notice.split())))
    words = {
        "roles": ", ".join(scope.roles),
        "purposes": ", ".join(scope.purposes),
        "territories": ", ".join(scope.territories),
        "audiences": ", ".join(scope.audiences),
        "for": f"{scope.days} days, at most {scope.max_uses} pictures",
    }
    _err.print(Padding(_pairs(words), (1, 0)))
    for question in (
        "Do you declare: I am 18 or older?",
        "Do you consent to this?",
        "Second confirmation: sign exactly this?",
    ):
        if not typer.confirm(question, err=True):
            _err.print("Not confirmed: nothing was signed and nothing was kept.")
            raise typer.Exit(EXIT_FAULT)
    return replace(scope, adult=True)


def show_consent(consent: Consent, *, json: bool) -> None:
    """Print one consent: its scope and what it is worth now."""
    record, state = consent.record, consent.state
    if json:
        _print_json(_consent_json(consent))
        return
    rows = {
        "consent": record.record_id,
        "status": f"{state.status} since {_when(state.since)}",
        "roles": ", ".join(record.roles),
        "purposes": ", ".join(record.purposes),
        "territories": ", ".join(record.territories),
        "audiences": ", ".join(record.audiences),
        "valid": f"{_when(record.validity.not_before)} to {_when(record.validity.expires)}",
        "uses": f"at most {record.max_uses}",
        "withdraw": record.withdrawal,
    }
    _out.print(_pairs(rows))


def show_grant(consent: Consent, settings: Settings, *, json: bool) -> None:
    """Print a consent just granted, and where the person's key is kept."""
    show_consent(consent, json=json)
    if not json:
        _out.print(f"The person's key is kept in {_plain(settings.home / 'subjects')}: fit for")
        _out.print("development; in production it belongs on the person's own device.")


def show_consents(consents: Sequence[Consent | BrokenConsent], *, json: bool) -> None:
    """Print all consents, one a line; a broken one with what is wrong with it."""
    from pipelines.people import BrokenConsent

    if json:
        _print_json(
            [
                {**_dict(consent), "status": "broken"}
                if isinstance(consent, BrokenConsent)
                else _consent_json(consent)
                for consent in consents
            ]
        )
        return
    if not consents:
        _out.print("No consent yet. To add one: facewarrant consent grant --help")
        return
    table = _table("consent", "status", "scope")
    table.columns[0].no_wrap = True  # an id that is cut cannot be copied
    for consent in consents:
        if isinstance(consent, BrokenConsent):
            table.add_row(_plain(consent.record_id), "[red]broken[/]", _plain(consent.reason))
            continue
        record = consent.record
        scope = f"{', '.join(record.roles)} for {', '.join(record.purposes)}"
        table.add_row(record.record_id, consent.state.status, scope)
    _out.print(table)


def step_printer(*, json: bool) -> Callable[[str, str, float], None]:
    """Return an observer that prints every step; silent for JSON."""

    def observe(_request_id: str, step: str, seconds: float) -> None:
        if not json:
            _out.print(f"  {_plain(step):<44}{seconds:7.2f} s")

    return observe


def show_outcome(outcome: Outcome, out: Path, *, json: bool) -> None:
    """Print what became of a request."""
    if json:
        _print_json({**outcome.as_json(), "out": str(out) if outcome.release else None})
        return
    if outcome.release is not None:
        _out.print(f"[green bold]released[/] {_plain(out)}", soft_wrap=True)
        _out.print(f"  manifest {outcome.release.manifest_id}")
        _out.print(f"  mark {outcome.release.mark_id}, log entry {outcome.release.log_index}")
        return
    findings = _telling(outcome.findings)
    codes = dict.fromkeys(finding.code for finding in findings) or outcome.codes
    _err.print(f"[red bold]{outcome.status}[/] {', '.join(codes)}")
    if not findings:
        _err.print(_plain(outcome.message))
        _print_mend(outcome.mend)
    for reason, people in _merged(findings).items():
        about, cites = ", ".join(people), ", ".join(reason.cites)
        _err.print(f"[bold]{reason.code}[/]  {_plain(about)}  {_plain(f'[{cites}]')}")
        _err.print(Padding(_plain(reason.explain), (0, 0, 0, 2)))
        _err.print(Padding(f"To mend: {_plain(reason.mend)}", (0, 0, 0, 2)))


def _telling(reasons: Sequence[Reason]) -> list[Reason]:
    """Leave out what follows from a consent that is missing or broken: it permits nothing."""
    broken = {reason.subject for reason in reasons if reason.code == "CONSENT-BROKEN"}
    return [r for r in reasons if r.code == "CONSENT-BROKEN" or r.subject not in broken]


def _merged(reasons: Sequence[Reason]) -> dict[Reason, list[str]]:
    """Return each reason once, with everyone it concerns."""
    merged: dict[Reason, list[str]] = {}
    for reason in reasons:
        who = reason.subject.partition(" ")[0] or "the request"
        merged.setdefault(reason.model_copy(update={"subject": ""}), []).append(who)
    return merged


def show_report(file: Path, report: Report, *, json: bool) -> None:
    """Print what a verification found."""
    if json:
        _print_json({"file": str(file), **report.as_json()})
        return
    style = "yellow" if exit_code_of_report(report) else "green"
    words = f"[{style} bold]{report.verdict}[/], consent {report.consent}: {_plain(file)}"
    _out.print(words, soft_wrap=True)
    _out.print(_evidence_table(report.evidence))


def show_verdicts(verdicts: Sequence[tuple[Path, Verdict]], *, json: bool) -> None:
    """Print scan verdicts, one a file."""
    if json:
        _print_json([{"file": str(file), **verdict.as_json()} for file, verdict in verdicts])
        return
    for file, verdict in verdicts:
        _out.print(f"[bold]{_plain(file)}[/]: {verdict.outcome}", soft_wrap=True)
        rows = {
            "why": verdict.reason,
            "action": verdict.action,
            "score": f"{verdict.score.status}: {verdict.score.reason}",
        }
        _out.print(Padding(_pairs(rows), (0, 0, 0, 2)))


def show_findings(findings: Sequence[Finding], *, json: bool) -> None:
    """Print what the doctor found."""
    if json:
        _print_json([_dict(finding) for finding in findings])
        return
    for finding in findings:
        _out.print(f"[{_STYLE[finding.state]}]{finding.state:>6}[/]  {_plain(finding.words)}")
        if finding.mend:
            _out.print(f"        To mend: {_plain(finding.mend)}")


def demo_printer(*, json: bool) -> Callable[[str], None]:
    """Return a printer of the demo's progress; silent for JSON."""
    return (lambda _line: None) if json else (lambda line: _out.print(_plain(line)))


def show_demo(demo: Demo, *, json: bool) -> None:
    """Print the demo's steps and where its page is."""
    if json:
        _print_json(demo.as_json())
        return
    table = _table("step", "result", "seconds")
    table.columns[2].justify = "right"
    for step in demo.steps:
        table.add_row(step.name, _plain(step.result), f"{step.seconds:.2f}")
    table.add_row("[bold]in all[/]", "", f"[bold]{demo.seconds:.1f}[/]")
    _out.print(table)
    _out.print(f"Page: [bold]{_plain(demo.page)}[/]", soft_wrap=True)


def _print_mend(mend: str) -> None:
    if mend:
        _err.print(f"To mend: {_plain(mend)}")


def _table(*names: str) -> Table:
    """Return an empty table that folds what is too long and cuts nothing off."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(names))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _pairs(rows: Mapping[str, str]) -> Table:
    """Return a table of names and values."""
    table = _table()
    for name, value in rows.items():
        table.add_row(name, _plain(value))
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    return table


def _evidence_table(evidence: Sequence[Evidence]) -> Table:
    table = _table()
    for line in evidence:
        table.add_row(f"[{_STYLE[line.state]}]{line.state}[/]", line.subject, _plain(line.words))
    return table


def _evidence_json(line: Evidence) -> dict[str, str]:
    return {"subject": line.subject, "state": line.state, "words": line.words}


def _consent_json(consent: Consent) -> dict[str, Any]:
    record = consent.record.model_dump(mode="json", by_alias=True)
    return {"record": record, "status": consent.state.status, "since": consent.state.since}


def _dict(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _print_json(value: object) -> None:
    print(jsonlib.dumps(value, indent=1, sort_keys=True, default=str))


def _plain(text: object) -> str:
    """Return text without effect on a terminal: file names and messages are not ours to style.

    Markup is escaped; control characters, which a file's own labels may hold, become U+FFFD.
    """
    shown = str(text).encode(errors="replace").decode()
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in shown))


def _when(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
