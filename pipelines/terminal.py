"""What people see in a terminal: tables, steps, errors with their mend; or one JSON document."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from policies.errors import Error, StoreUnavailable

if TYPE_CHECKING:
    from detector.scan import Verdict
    from pipelines.demo import Demo
    from pipelines.doctor import Finding
    from pipelines.outcome import Outcome
    from pipelines.people import Scope
    from pipelines.settings import Settings
    from policies.consents import Consent
    from provenance.evidence import Evidence, Report

EXIT_FAULT, EXIT_USAGE, EXIT_REFUSED, EXIT_INPUT, EXIT_EVIDENCE, EXIT_WITHDRAWN = 1, 2, 3, 4, 5, 6

_STYLE = {
    "holds": "green",
    "warns": "yellow",
    "fails": "red",
    "absent": "dim",
    "unchecked": "dim",
}

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def exit_code_for(error: Error) -> int:
    """Return the exit code of an error that ended a command."""
    from policies.decide import Refused
    from policies.warrant import WarrantInvalid
    from provenance.errors import VerificationError

    if isinstance(error, Refused | WarrantInvalid):
        return EXIT_REFUSED
    if isinstance(error, VerificationError):
        return EXIT_EVIDENCE
    return EXIT_FAULT if isinstance(error, StoreUnavailable) else EXIT_INPUT


def exit_code_of(outcome: Outcome) -> int:
    """Return the exit code of a finished request."""
    return {"released": 0, "refused": EXIT_REFUSED, "rejected": EXIT_INPUT}[outcome.status]


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
    if error.mend:
        _err.print(f"To mend: {_plain(error.mend)}")


def show_init(settings: Settings, *, json: bool) -> None:
    """Say what was made and what to do next."""
    if json:
        _print_json({"home": str(settings.home), "organisation": settings.organisation})
        return
    _out.print(f"Made keys, certificates and database in {settings.home}")
    _out.print("Development keys: the root's own key is gone, nobody else trusts the root.")
    _out.print("Next: facewarrant consent grant PICTURES... --role source_identity ...")


def confirm_twice(notice: str, scope: Scope) -> None:
    """Show the notice and the scope and ask twice; ends the command unless both are confirmed."""
    _out.print(notice)
    _out.print(
        f"Roles: {', '.join(scope.roles)}. Purposes: {', '.join(scope.purposes)}. "
        f"Territories: {', '.join(scope.territories)}. Audiences: {', '.join(scope.audiences)}. "
        f"{scope.days} days, {scope.max_uses} uses."
    )
    typer.confirm("Do you consent to this?", abort=True)
    typer.confirm("Second confirmation: sign exactly this?", abort=True)


def show_consent(consent: Consent, *, json: bool) -> None:
    """Print one consent: its scope and what it is worth now."""
    record, state = consent.record, consent.state
    if json:
        _print_json(_consent_json(consent))
        return
    table = Table(show_header=False, box=None)
    rows = {
        "consent": record.record_id,
        "status": f"{state.status} since {_when(state.since)}",
        "roles": ", ".join(record.roles),
        "purposes": ", ".join(record.purposes),
        "territories": ", ".join(record.territories),
        "audiences": ", ".join(record.audiences),
        "valid": f"{_when(record.validity.not_before)} to {_when(record.validity.expires)}",
        "uses": str(record.max_uses),
        "withdraw": record.withdrawal,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    _out.print(table)


def show_consents(consents: Sequence[Consent], *, json: bool) -> None:
    """Print all consents, one a line."""
    if json:
        _print_json([_consent_json(consent) for consent in consents])
        return
    table = Table("consent", "status", "since", "roles", "purposes", box=None)
    for consent in consents:
        record, state = consent.record, consent.state
        table.add_row(
            record.record_id,
            state.status,
            _when(state.since),
            ", ".join(record.roles),
            ", ".join(record.purposes),
        )
    _out.print(table)


def step_printer(*, json: bool) -> Callable[[str, str, float], None]:
    """Return an observer that prints every step; silent for JSON."""

    def observe(_request_id: str, step: str, seconds: float) -> None:
        if not json:
            _out.print(f"  {step:<44}{seconds:7.2f} s")

    return observe


def show_outcome(outcome: Outcome, out: Path, *, json: bool) -> None:
    """Print what became of a request."""
    if json:
        _print_json({**outcome.as_json(), "out": str(out) if outcome.release else None})
        return
    if outcome.release is not None:
        _out.print(f"[green bold]released[/] {out}")
        _out.print(f"  manifest {outcome.release.manifest_id}")
        _out.print(f"  mark {outcome.release.mark_id}, log entry {outcome.release.log_index}")
        return
    _err.print(f"[red bold]{outcome.status}[/] {', '.join(outcome.codes)}")
    if outcome.findings:
        _err.print(findings_table(outcome))
    else:
        _err.print(_plain(outcome.message))
        _err.print(f"To mend: {_plain(outcome.mend)}")


def findings_table(outcome: Outcome) -> Table:
    """Return a refusal's reasons as a table."""
    table = Table("reason", "who", "why", "what would make it lawful", "cites", box=None)
    for finding in outcome.findings:
        table.add_row(
            finding.code,
            finding.subject.partition(" ")[0] or "request",
            _plain(finding.explain),
            _plain(finding.mend),
            ", ".join(finding.cites),
        )
    return table


def show_report(file: Path, report: Report, *, json: bool) -> None:
    """Print what a verification found."""
    if json:
        _print_json({"file": str(file), **report.as_json()})
        return
    style = "green" if report.consent != "withdrawn" else "yellow"
    _out.print(f"[{style} bold]{report.verdict}[/], consent {report.consent}: {file}")
    _out.print(_evidence_table(report.evidence))


def show_verdicts(verdicts: Sequence[tuple[Path, Verdict]], *, json: bool) -> None:
    """Print scan verdicts, one a file."""
    if json:
        _print_json([{"file": str(file), **verdict.as_json()} for file, verdict in verdicts])
        return
    table = Table("file", "outcome", "action", "why", "score", box=None)
    for file, verdict in verdicts:
        table.add_row(
            str(file),
            verdict.outcome,
            verdict.action,
            _plain(verdict.reason),
            verdict.score.status,
        )
    _out.print(table)


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
    table = Table("step", "result", "seconds", box=None)
    for step in demo.steps:
        table.add_row(step.name, _plain(step.result), f"{step.seconds:.2f}")
    table.add_row("[bold]in all[/]", "", f"[bold]{demo.seconds:.1f}[/]")
    _out.print(table)
    _out.print(f"Page: [bold]{demo.page}[/]", soft_wrap=True)


def _evidence_table(evidence: Sequence[Evidence]) -> Table:
    table = Table(show_header=False, box=None)
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


def _plain(text: str) -> str:
    """Escape rich markup: file names and messages are not ours to style."""
    return text.replace("[", "\\[")


def _when(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
