"""What people see in a terminal: tables, steps, errors with their mend; or one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table

from pipelines.console import (
    ERR,
    EXIT_ENDED,
    EXIT_EVIDENCE,
    EXIT_FAULT,
    EXIT_INPUT,
    EXIT_REFUSED,
    OUT,
    as_dict,
    make_table,
    pair_table,
    plain,
    print_json,
    print_mend,
)
from policies.errors import Error

if TYPE_CHECKING:
    from detector.scan import Verdict
    from pipelines.demo import Demo
    from pipelines.doctor import Finding
    from pipelines.outcome import Outcome
    from pipelines.report_document import EvidenceDocument
    from pipelines.settings import Settings
    from policies.rule import Finding as Reason
    from provenance.evidence import Evidence, Report
    from provenance.verify import Examination

_STYLE = {
    "holds": "green",
    "warns": "yellow",
    "fails": "red",
    "absent": "dim",
    "unchecked": "dim",
}

_FAULTS = (
    *("STORE-UNAVAILABLE", "STORE-OUTDATED", "STORE-NEWER"),
    *("CLOCK-ROLLBACK", "DEMO-FAILED"),
)
_BROKEN_EVIDENCE = ("LOG-TAMPERED", "PROOF-INVALID")
_ENDED_WARRANT = ("WARRANT-", "CONSENT-CHANGED", "REQUEST-ID-REUSED", "OPTED-OUT", "OUTPUT-")


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


def exit_code_of_examination(examined: Examination) -> int:
    """Return the exit code of a verification, whether it held or not."""
    if isinstance(examined.outcome, Error):
        return exit_code_for(examined.outcome)
    return exit_code_of_report(examined.outcome)


def show_error(error: Error, *, json: bool) -> None:
    """Print an error and how to mend it; evidence too where it carries some."""
    evidence: Sequence[Evidence] = getattr(error, "evidence", ())
    if json:
        print_json(
            {
                "error": {"code": error.code, "message": error.message, "mend": error.mend},
                "evidence": [_evidence_json(line) for line in evidence],
            }
        )
        return
    ERR.print(f"[red bold]{error.code}[/]: {plain(error.message)}")
    if evidence:
        ERR.print(_evidence_table(evidence))
    print_mend(error.mend)


def show_init(settings: Settings, *, json: bool) -> None:
    """Say what was made and what to do next."""
    if json:
        print_json({"home": str(settings.home), "organisation": settings.organisation})
        return
    OUT.print(f"Made keys, certificates and database in {plain(settings.home)}", soft_wrap=True)
    OUT.print("For development: nobody else trusts this root, and its own key is gone.")
    OUT.print("Next, for every person shown: facewarrant consent grant --help")


def step_printer(*, json: bool) -> Callable[[str, str, float], None]:
    """Return an observer that prints every step; silent for JSON."""

    def observe(_request_id: str, step: str, seconds: float) -> None:
        if not json:
            OUT.print(f"  {plain(step):<44}{seconds:7.2f} s")

    return observe


def show_outcome(outcome: Outcome, out: Path, *, json: bool) -> None:
    """Print what became of a request."""
    if json:
        print_json({**outcome.as_json(), "out": str(out) if outcome.release else None})
        return
    if outcome.release is not None:
        OUT.print(f"[green bold]released[/] {plain(out)}", soft_wrap=True)
        OUT.print(f"  manifest {outcome.release.manifest_id}")
        OUT.print(f"  mark {outcome.release.mark_id}, log entry {outcome.release.log_index}")
        return
    findings = _telling(outcome.findings)
    codes = dict.fromkeys(finding.code for finding in findings) or outcome.codes
    ERR.print(f"[red bold]{outcome.status}[/] {', '.join(codes)}")
    if not findings:
        ERR.print(plain(outcome.message))
        print_mend(outcome.mend)
    for reason, people in _merged(findings).items():
        about, cites = ", ".join(people), ", ".join(reason.cites)
        ERR.print(f"[bold]{reason.code}[/]  {plain(about)}  {plain(f'[{cites}]')}")
        ERR.print(Padding(plain(reason.explain), (0, 0, 0, 2)))
        ERR.print(Padding(f"To mend: {plain(reason.mend)}", (0, 0, 0, 2)))


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
        print_json({"file": str(file), **report.as_json()})
        return
    style = "yellow" if exit_code_of_report(report) else "green"
    words = f"[{style} bold]{report.verdict}[/], consent {report.consent}: {plain(file)}"
    OUT.print(words, soft_wrap=True)
    OUT.print(_evidence_table(report.evidence))


def show_verdicts(verdicts: Sequence[tuple[Path, Verdict]], *, json: bool) -> None:
    """Print scan verdicts, one a file."""
    if json:
        print_json([{"file": str(file), **verdict.as_json()} for file, verdict in verdicts])
        return
    for file, verdict in verdicts:
        OUT.print(f"[bold]{plain(file)}[/]: {verdict.outcome}", soft_wrap=True)
        rows = {
            "why": verdict.reason,
            "action": verdict.action,
            "score": f"{verdict.score.status}: {verdict.score.reason}",
        }
        OUT.print(Padding(pair_table(rows), (0, 0, 0, 2)))


def show_findings(findings: Sequence[Finding], *, json: bool) -> None:
    """Print what the doctor found."""
    if json:
        print_json([as_dict(finding) for finding in findings])
        return
    for finding in findings:
        OUT.print(f"[{_STYLE[finding.state]}]{finding.state:>6}[/]  {plain(finding.words)}")
        if finding.mend:
            OUT.print(f"        To mend: {plain(finding.mend)}")


def demo_printer(*, json: bool) -> Callable[[str], None]:
    """Return a printer of the demo's progress; silent for JSON."""
    return (lambda _line: None) if json else (lambda line: OUT.print(plain(line)))


def show_demo(demo: Demo, *, json: bool) -> None:
    """Print the demo's steps and where its page is."""
    if json:
        print_json(demo.as_json())
        return
    table = make_table("step", "result", "seconds")
    table.columns[2].justify = "right"
    for step in demo.steps:
        table.add_row(step.name, plain(step.result), f"{step.seconds:.2f}")
    table.add_row("[bold]in all[/]", "", f"[bold]{demo.seconds:.1f}[/]")
    OUT.print(table)
    OUT.print(f"Page: [bold]{plain(demo.page)}[/]", soft_wrap=True)


def show_document(document: EvidenceDocument) -> None:
    """Print the JSON document of a verification."""
    print_json(document.as_json())


def _evidence_table(evidence: Sequence[Evidence]) -> Table:
    table = make_table()
    for line in evidence:
        table.add_row(f"[{_STYLE[line.state]}]{line.state}[/]", line.subject, plain(line.words))
    if evidence:
        table.columns[2].overflow = "fold"  # a digest is shown whole
    return table


def _evidence_json(line: Evidence) -> dict[str, str]:
    return {"subject": line.subject, "state": line.state, "words": line.words}
