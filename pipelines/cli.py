"""The command line: thin commands, one place that turns errors into exit codes.

Exit codes: 0 done; 1 fault; 2 wrong use; 3 refused by policy; 4 input cannot be used; 5 evidence
does not hold; 6 authentic, but consent has ended. Every command takes --json. Imports of the
work are inside the commands, so that `--help` and `doctor` run on a machine where OpenCV does not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import TypeAdapter, ValidationError

from pipelines import terminal
from pipelines.law_commands import law_app
from pipelines.settings import read_settings
from policies.errors import Error
from policies.terms import Audience, PersonRole, Purpose, Territory

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
consent_app = typer.Typer(help="Grant, withdraw and show consents.", no_args_is_help=True)
app.add_typer(consent_app, name="consent")
app.add_typer(law_app, name="law")


def _one_of(choices: object) -> str:
    return ", ".join(get_args(choices))


def _each(kind: Any) -> Callable[[list[str] | None], list[str] | None]:
    """Return a check that every value of an option is one of `kind`, before any work is done."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    words = get_origin(kind) is Literal
    expected = f"one of {_one_of(kind)}" if words else "an ISO 3166 code such as DE or US-IL"

    def check(values: list[str] | None) -> list[str] | None:
        for value in values or ():
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                raise typer.BadParameter(f"{value!r} is not {expected}.") from error
        return values

    return check


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Roles = Annotated[
    list[str],
    typer.Option(
        metavar="<word>",
        callback=_each(PersonRole),
        help=f"Role in a swap: {_one_of(PersonRole)}.",
    ),
]
Purposes = Annotated[
    list[str],
    typer.Option(
        metavar="<word>", callback=_each(Purpose), help=f"What it may be for: {_one_of(Purpose)}."
    ),
]
Territories = Annotated[
    list[str],
    typer.Option(
        metavar="<code>",
        callback=_each(Territory),
        help="Where it may be shown: ISO 3166 code, e.g. DE or US-IL.",
    ),
]
Audiences = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<word>", callback=_each(Audience), help=f"Who may see it: {_one_of(Audience)}."
    ),
]
Files = Annotated[list[Path], typer.Argument(help="Picture files (JPEG, PNG or WebP).")]


@app.command()
def init(json: Json = False) -> None:
    """Make keys, certificates and database in the home folder.

    The home folder is FACEWARRANT_HOME, or .facewarrant in the current folder.
    """
    from pipelines.deployment import create

    settings = read_settings()
    create(settings)
    terminal.show_init(settings, json=json)


@consent_app.command("grant")
def consent_grant(
    pictures: Files,
    role: Roles,
    purpose: Purposes,
    territory: Territories,
    audience: Audiences = None,
    days: Annotated[int, typer.Option(min=1, max=3653, help="Valid for so many days.")] = 365,
    max_uses: Annotated[int, typer.Option(min=1, max=10_000, help="Swaps permitted.")] = 100,
    rendered: Annotated[
        bool, typer.Option("--rendered", help="The person does not exist.")
    ] = False,
    adult: Annotated[
        bool, typer.Option("--adult", help="The person declares to be 18 or older.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Give both confirmations at once; needs --adult.")
    ] = False,
    json: Json = False,
) -> None:
    """Enrol a person from their pictures; sign and confirm.

    Every picture shows the person alone. Options that take a word or code may be given repeatedly.
    """
    from pipelines.deployment import open_deployment
    from pipelines.people import NOTICE, Scope, grant

    if yes and not adult:
        raise typer.BadParameter(
            "--yes needs --adult: only a person who declares to be 18 or older can be enrolled."
        )
    scope = Scope(
        roles=tuple(role),
        purposes=tuple(purpose),
        territories=tuple(territory),
        audiences=tuple(audience or ["internal"]),
        days=days,
        max_uses=max_uses,
        rendered=rendered,
        adult=adult,
    )
    if not yes:
        scope = terminal.confirm_twice(NOTICE, scope)
    with open_deployment(read_settings()) as at:
        record = grant([_read(path) for path in pictures], scope, at=at)
        terminal.show_grant(at.consents.read(record.record_id), at.settings, json=json)


@consent_app.command("withdraw")
def consent_withdraw(
    record_id: Annotated[str, typer.Argument(help="The consent to withdraw.")],
    reason: Annotated[str, typer.Option(help="Optional; none is needed.")] = "",
    json: Json = False,
) -> None:
    """Withdraw a consent, with effect at once.

    Work that is running under it is stopped. Withdrawing twice is no error.
    """
    from pipelines.deployment import open_records
    from pipelines.people import withdraw

    with open_records(read_settings()) as at:
        withdraw(record_id, at=at, reason=reason)
        terminal.show_consent(at.consents.read(record_id), json=json)


@consent_app.command("show")
def consent_show(
    record_id: Annotated[str | None, typer.Argument(help="One consent; all when left out.")] = None,
    json: Json = False,
) -> None:
    """Show one consent or all, and what they are worth now.

    Every signature is verified anew; ends with 5 when a listed consent is broken.
    """
    from pipelines.deployment import open_records
    from pipelines.people import BrokenConsent, list_consents

    with open_records(read_settings()) as at:
        if record_id is not None:
            terminal.show_consent(at.consents.read(record_id), json=json)
        else:
            consents = list_consents(at)
            terminal.show_consents(consents, json=json)
            if any(isinstance(consent, BrokenConsent) for consent in consents):
                raise typer.Exit(terminal.EXIT_EVIDENCE)


@app.command()
def run(
    source: Annotated[Path, typer.Option(help="Picture of the person whose face is used.")],
    target: Annotated[Path, typer.Option(help="Picture that the face is put into.")],
    source_consent: Annotated[str, typer.Option(help="Consent of the person in the source.")],
    target_consent: Annotated[str, typer.Option(help="Consent of the person in the target.")],
    purpose: Annotated[
        Purpose, typer.Option(metavar="<word>", help=f"What it is made for: {_one_of(Purpose)}.")
    ],
    territory: Territories,
    out: Annotated[Path, typer.Option(help="Where the released picture is written.")],
    bystander: Annotated[list[str] | None, typer.Option(help="Consents of others shown.")] = None,
    audience: Annotated[
        Audience, typer.Option(metavar="<word>", help=f"Who will see it: {_one_of(Audience)}.")
    ] = "internal",
    request_id: Annotated[str, typer.Option(help="Names the request; a rerun is safe.")] = "",
    operator: Annotated[str, typer.Option(help="Who asks.")] = "command line",
    json: Json = False,
) -> None:
    """Run one consented face swap and write the released picture."""
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
        )
        outcome = run_one(spec, out=out, at=at, observe=terminal.step_printer(json=json))
    terminal.show_outcome(outcome, out, json=json)
    raise typer.Exit(terminal.exit_code_of(outcome))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A picture file.")],
    anchors: Annotated[
        list[Path] | None, typer.Option(help="Root certificates to trust instead of the home's.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what holds about a picture, with evidence."""
    from pipelines.verifiers import open_verifier

    with open_verifier(read_settings(), anchors or []) as verifier:
        report = verifier.verify(_read(file))
    terminal.show_report(file, report, json=json)
    raise typer.Exit(terminal.exit_code_of_report(report))


@app.command()
def scan(files: Files, json: Json = False) -> None:
    """Say what is known about uploads; never says 'real'."""
    from detector.scan import ACTIONS, NO_MODEL, Verdict
    from detector.scan import scan as scan_bytes
    from pipelines.jobs import FileUnreadable
    from pipelines.verifiers import open_verifier

    verdicts, code = [], 0
    with open_verifier(read_settings(), []) as verifier:
        for file in files:
            try:
                verdict = scan_bytes(_read(file), verifier=verifier)
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
    """Run the command line; turn every error of ours into a message and an exit code."""
    try:
        app()
    except Error as error:
        terminal.show_error(error, json="--json" in sys.argv)
        sys.exit(terminal.exit_code_for(error))


def _read(path: Path) -> bytes:
    from pipelines.jobs import read_file

    return read_file(path)
