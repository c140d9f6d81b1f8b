"""The command line: thin commands, one place that turns errors into exit codes.

Exit codes: 0 done; 1 fault; 2 wrong use; 3 refused by policy; 4 input cannot be used; 5 evidence
does not hold; 6 authentic, but consent has ended. Every command takes --json. Imports of the
work are inside the commands, so that `--help` and `doctor` run on a machine where OpenCV does not.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipelines import terminal
from pipelines.audit_commands import audit_app
from pipelines.certificate_commands import certificates_app
from pipelines.consent_commands import consent_app
from pipelines.database_commands import database_app
from pipelines.house_commands import policy_app
from pipelines.key_commands import keys_app
from pipelines.law_commands import law_app
from pipelines.options import PURPOSES, Files, Json, Territories, check_each, one_of
from pipelines.optout_commands import optout_app
from pipelines.retention_commands import retention_app
from pipelines.settings import read_settings
from pipelines.signer_commands import signer_app
from pipelines.subject_commands import subject_app
from pipelines.trust_commands import trust_app
from policies.errors import Error
from policies.terms import Audience, BystanderPolicy, Category, PersonRole

app = typer.Typer(
    name="facewarrant",
    help="Lawful, traceable face swaps: no pixel without a warrant, no output without a trace.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done; 1 fault; 2 wrong use; 3 refused; 4 input cannot be used; "
    "5 evidence does not hold; 6 authentic, but consent has ended.",
)
for _name, _commands in (
    ("audit", audit_app),
    ("certificates", certificates_app),
    ("consent", consent_app),
    ("database", database_app),
    ("keys", keys_app),
    ("law", law_app),
    ("optout", optout_app),
    ("policy", policy_app),
    ("retention", retention_app),
    ("signer", signer_app),
    ("subject", subject_app),
    ("trust", trust_app),
):
    app.add_typer(_commands, name=_name)


@app.command()
def init(json: Json = False) -> None:
    """Make keys, certificates and database in the home folder.

    The home folder is FACEWARRANT_HOME, or .facewarrant in the current folder.
    """
    from pipelines.deployment import create

    settings = read_settings()
    create(settings)
    terminal.show_init(settings, json=json)


@app.command()
def run(
    source: Annotated[Path, typer.Option(help="Picture of the person whose face is used.")],
    target: Annotated[Path, typer.Option(help="Picture or MP4 video that the face is put into.")],
    source_consent: Annotated[str, typer.Option(help="Consent of the person in the source.")],
    target_consent: Annotated[str, typer.Option(help="Consent of the person in the target.")],
    purpose: Annotated[
        str, typer.Option(metavar="<word>", help=f"What it is made for: {PURPOSES}.")
    ],
    territory: Territories,
    out: Annotated[Path, typer.Option(help="Where the release is written.")],
    bystander: Annotated[list[str] | None, typer.Option(help="Consents of others shown.")] = None,
    others: Annotated[
        BystanderPolicy,
        typer.Option(
            metavar="<word>",
            help="What becomes of people nobody named (blur and persona in pictures): "
            f"{one_of(BystanderPolicy)}.",
        ),
    ] = "refuse",
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<word>",
            callback=check_each(Category),
            help=f"Sensitive content: {one_of(Category)}.",
        ),
    ] = None,
    audience: Annotated[
        Audience, typer.Option(metavar="<word>", help=f"Who will see it: {one_of(Audience)}.")
    ] = "internal",
    request_id: Annotated[str, typer.Option(help="Names the request; a rerun is safe.")] = "",
    operator: Annotated[str, typer.Option(help="Who asks.")] = "command line",
    json: Json = False,
) -> None:
    """Run one consented face swap and write the release.

    A video that was interrupted goes on where it stopped when the same command is run again.
    """
    from pipelines.deployment import open_deployment
    from pipelines.one import require_output, run_one, spec_of

    people: list[tuple[str, PersonRole]] = [
        (source_consent, "source_identity"),
        (target_consent, "target_body"),
        *((name, "bystander") for name in bystander or ()),
    ]
    with open_deployment(read_settings()) as at:
        require_output(out, source=source, target=target)
        spec = spec_of(
            people,
            request_id=request_id,
            operator=operator,
            source=str(source),
            target=str(target),
            purpose=purpose,
            audience=audience,
            territories=list(territory),
            categories=list(category or ()),
            bystanders=others,
        )
        outcome = run_one(spec, out=out, at=at, observe=terminal.step_printer(json=json))
    terminal.show_outcome(outcome, out, json=json)
    raise typer.Exit(terminal.exit_code_of(outcome))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A picture file.")],
    anchors: Annotated[
        list[Path] | None,
        typer.Option(help="Root certificates to trust instead of the home's roots and lists."),
    ] = None,
    second_engine: Annotated[
        bool, typer.Option("--second-engine", help="Ask an independent engine too.")
    ] = False,
    remote_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Fetch a manifest that the file keeps on this server; no other is asked.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page for people here (HTML).")
    ] = None,
    json: Json = False,
) -> None:
    """Say what holds about a picture or video, with evidence."""
    from pipelines.report_document import describe
    from pipelines.report_page import write_report
    from pipelines.verifiers import open_verifier

    with open_verifier(
        read_settings(),
        anchors or [],
        second_engine=second_engine,
        remote_hosts=remote_host or (),
    ) as verifier:
        content = _open(file)
        examined = verifier.examine(content)
        document = describe(str(file), content, examined, verifier=verifier)
    if report is not None:
        write_report(document, report)
    if json:
        terminal.show_document(document)
        raise typer.Exit(terminal.exit_code_of_examination(examined))
    found = examined.result()
    terminal.show_report(file, found, json=False)
    raise typer.Exit(terminal.exit_code_of_report(found))


@app.command()
def scan(files: Files, json: Json = False) -> None:
    """Say what is known about uploads; never says 'real'."""
    from detector.scan import ACTIONS, NO_MODEL, Verdict
    from detector.scan import scan as scan_file
    from pipelines.jobs import FileUnreadable
    from pipelines.verifiers import open_verifier

    verdicts, code = [], 0
    with open_verifier(read_settings(), []) as verifier:
        for file in files:
            try:
                verdict = scan_file(_open(file), verifier=verifier)
            except FileUnreadable as error:
                # Nothing was read, so there is no digest that the verdict could be about.
                why, action = f"{error.code}: {error.message}", ACTIONS["not_applicable"]
                verdict = Verdict("", "not_applicable", action, why, NO_MODEL, ())
                code = terminal.exit_code_for(error)
            verdicts.append((file, verdict))
    terminal.show_verdicts(verdicts, json=json)
    raise typer.Exit(code)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures and page.")] = Path("demo-output"),
    json: Json = False,
) -> None:
    """Show the whole chain on two rendered people.

    Consent, swap, release, verify, strip, tamper, withdraw; ends with a page to look at.
    """
    from pipelines.demo import run_demo

    page = run_demo(out, progress=terminal.demo_printer(json=json))
    terminal.show_demo(page, json=json)


@app.command()
def doctor(json: Json = False) -> None:
    """Check what is needed, and say how to mend it."""
    from pipelines.doctor import examine

    findings = examine(read_settings())
    terminal.show_findings(findings, json=json)
    raise typer.Exit(1 if any(f.state == "fails" for f in findings) else 0)


def main() -> None:
    """Run the command line; turn every error of ours into a message and an exit code.

    SIGTERM ends it as an error does, with 143: temporary files go, ledgers and databases close.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except Error as error:
        terminal.show_error(error, json="--json" in sys.argv)
        sys.exit(terminal.exit_code_for(error))


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _open(path: Path) -> bytes | Path:
    """Return the bytes of a picture, the path of a video, which memory need not hold."""
    from pipelines.jobs import read_file
    from provenance.asset import is_video

    return path if is_video(read_file(path, max_bytes=16)) else read_file(path)
