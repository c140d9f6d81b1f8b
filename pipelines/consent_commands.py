"""`facewarrant consent`: a person gives, reads, and takes back what they agree to.

Thin commands over `pipelines.people`. Nothing is granted without the declaration of adulthood and
two confirmations; every sensitive category is asked for by itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.console import EXIT_EVIDENCE
from pipelines.options import PURPOSES, Audiences, Json, Territories, check_each, one_of
from pipelines.settings import read_settings
from policies.terms import AgeMethod, Category, Medium, PersonRole

consent_app = typer.Typer(help="Grant, withdraw and show consents; receipts.", no_args_is_help=True)

Origin = Literal["published_by_subject", "provided_by_subject", "other"]
Form = Literal["text", "html", "json"]

Roles = Annotated[
    list[str],
    typer.Option(
        metavar="<word>",
        callback=check_each(PersonRole),
        help=f"Role in a swap: {one_of(PersonRole)}.",
    ),
]
Purposes = Annotated[
    list[str], typer.Option(metavar="<word>", help=f"What it may be for: {PURPOSES}.")
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<word>",
        callback=check_each(Category),
        help=f"A use that is never permitted, whatever else is: {one_of(Category)}.",
    ),
]
OptIns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<word>",
        callback=check_each(Category),
        help="A sensitive category that is permitted; signed for by itself.",
    ),
]
Media = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<word>", callback=check_each(Medium), help=f"Kind of media: {one_of(Medium)}."
    ),
]


@consent_app.command("grant")
def consent_grant(
    media: Annotated[
        list[Path],
        typer.Argument(help="Pictures of the person alone, or with --challenge one video."),
    ],
    role: Roles,
    purpose: Purposes,
    territory: Territories,
    audience: Audiences = None,
    medium: Media = None,
    days: Annotated[int, typer.Option(min=1, max=3653, help="Valid for so many days.")] = 365,
    max_uses: Annotated[int, typer.Option(min=1, max=10_000, help="Swaps permitted.")] = 100,
    prohibit: Categories = None,
    opt_in: OptIns = None,
    only_with: Annotated[
        list[str] | None, typer.Option(help="Pseudonym of somebody they may be combined with.")
    ] = None,
    only_in: Annotated[
        list[Path] | None, typer.Option(help="A target picture they may be used with.")
    ] = None,
    project: Annotated[str, typer.Option(help="The work, in words.")] = "",
    compensation: Annotated[str, typer.Option(help="Reference of the contract.")] = "",
    us_il_release: Annotated[
        Path | None, typer.Option(help="Signed written release (Illinois), as a file.")
    ] = None,
    cn_separate: Annotated[
        Path | None, typer.Option(help="Signed separate consent (China), as a file.")
    ] = None,
    us_tx_origin: Annotated[
        Origin | None,
        typer.Option(metavar="<word>", help=f"Origin of the media (Texas): {one_of(Origin)}."),
    ] = None,
    challenge: Annotated[
        str, typer.Option(help="Nonce of the liveness challenge that the video answers.")
    ] = "",
    age_assurance: Annotated[
        AgeMethod,
        typer.Option(metavar="<word>", help=f"How age was checked: {one_of(AgeMethod)}."),
    ] = "self_declared",
    age_evidence: Annotated[
        str, typer.Option(help="Reference of the age check; never the document.")
    ] = "",
    in_person: Annotated[
        bool, typer.Option("--in-person", help="You saw the person when the pictures were taken.")
    ] = False,
    subject: Annotated[
        str, typer.Option(help="Pseudonym of somebody enrolled already; new when left out.")
    ] = "",
    adult: Annotated[
        bool, typer.Option("--adult", help="The person declares to be 18 or older.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Give all confirmations at once; needs --adult.")
    ] = False,
    json: Json = False,
) -> None:
    """Enrol a person from pictures or a video; sign and confirm.

    Options that take a word or code may be given repeatedly. Pictures alone are enough for internal
    use; a wider audience needs --challenge or --in-person.
    """
    from pipelines import people_view
    from pipelines.deployment import open_deployment, system_clock
    from pipelines.enrol import read_enrolment
    from pipelines.jobs import read_file
    from pipelines.notice import NOTICE
    from pipelines.people import Assurance, Scope, grant
    from policies.digest import sha256_hex

    if yes and not adult:
        raise typer.BadParameter(
            "--yes needs --adult: only a person who declares to be 18 or older can be enrolled."
        )
    scope = Scope(
        roles=tuple(role),
        purposes=tuple(purpose),
        territories=tuple(territory),
        audiences=tuple(audience or ["internal"]),
        media=tuple(medium or ["image"]),
        days=days,
        max_uses=max_uses,
        prohibited=tuple(prohibit or ()),
        opted_in=tuple(opt_in or ()),
        counterparties=tuple(only_with or ()),
        assets=tuple(sha256_hex(read_file(path)) for path in only_in or ()),
        project=project,
        compensation=compensation,
    )
    assurance = Assurance(adult, age_assurance, age_evidence, in_person)
    now = system_clock()
    scope = replace(scope, addenda=_addenda(us_il_release, cn_separate, us_tx_origin, scope, now))
    people_view.show_terms(NOTICE, scope)
    if not yes:
        people_view.confirm_twice(scope)
        assurance = replace(assurance, adult=True)
    enrolment = read_enrolment(media, challenge)
    with open_deployment(read_settings()) as at:
        granted = grant(enrolment, scope, assurance, at=at, pid=subject)
        consent = at.consents.read(granted.record_id)
        people_view.show_grant(consent, granted.warnings, at.settings, json=json)


def _addenda(
    release: Path | None, separate: Path | None, origin: Origin | None, scope: Any, now: int
) -> tuple[dict[str, Any], ...]:
    """Return the forms that were handed in, by the digests of their files."""
    from pipelines.jobs import read_file
    from policies.digest import sha256_hex

    found: list[dict[str, Any]] = []
    if release is not None:
        found.append(
            {
                "form": "US-IL-RELEASE",
                "written_release_sha256": sha256_hex(read_file(release)),
                "purpose_and_term": f"{', '.join(scope.purposes)}; {scope.days} days",
                "signed_at": now,
            }
        )
    if separate is not None:
        digest = sha256_hex(read_file(separate))
        found.append({"form": "CN-SEPARATE", "separate_consent_sha256": digest, "signed_at": now})
    if origin is not None:
        found.append({"form": "US-TX-ORIGIN", "origin": origin})
    return tuple(found)


@consent_app.command("challenge")
def consent_challenge(json: Json = False) -> None:
    """Ask for movements that only somebody there can make.

    Film the person doing it, then give the video to 'consent grant --challenge NONCE'.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.enrol import issue_challenge

    with open_records(read_settings()) as at:
        people_view.show_challenge(issue_challenge(at), json=json)


@consent_app.command("withdraw")
def consent_withdraw(
    record_id: Annotated[str, typer.Argument(help="The consent to withdraw.")],
    reason: Annotated[str, typer.Option(help="Optional; none is needed.")] = "",
    lost_key: Annotated[
        bool,
        typer.Option("--lost-key", help="Sign for a person whose key is lost; needs a reason."),
    ] = False,
    json: Json = False,
) -> None:
    """Withdraw a consent, with effect at once.

    Work that is running under it is stopped, the face template is erased, and every output that was
    released is listed; 'consent recall' writes copies of these that say so themselves. Withdrawing
    twice is no error.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.people import withdraw

    with open_records(read_settings()) as at:
        withdrawn = withdraw(record_id, at=at, reason=reason, lost_key=lost_key)
        people_view.show_withdrawal(at.consents.read(record_id), withdrawn.released, json=json)


@consent_app.command("recall")
def consent_recall(
    record_id: Annotated[str, typer.Argument(help="A consent that has ended.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the copies are written.")],
    json: Json = False,
) -> None:
    """Write copies of outputs that say themselves: withdrawn.

    Same pictures, with a newer manifest on top: whoever verifies such a copy sees it, without this
    deployment's records. Pass the copies on to whoever has the originals. Asked for again, the same
    copies are written; refused while the consent holds.
    """
    from pipelines import people_view
    from pipelines.deployment import open_deployment
    from pipelines.recall import recall
    from pipelines.terminal import exit_code_for

    with open_deployment(read_settings()) as at:
        found = recall(record_id, out=out, at=at)
    people_view.show_recalled(found, json=json)
    errors = [one.error for one in found if one.error is not None]
    if errors:
        raise typer.Exit(exit_code_for(errors[0]))


@consent_app.command("show")
def consent_show(
    record_id: Annotated[str | None, typer.Argument(help="One consent; all when left out.")] = None,
    json: Json = False,
) -> None:
    """Show one consent or all, and what they are worth now.

    Every signature is verified anew; ends with 5 when a consent is broken.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.people import BrokenConsent, list_consents

    with open_records(read_settings()) as at:
        if record_id is not None:
            people_view.show_consent(at.consents.read(record_id), json=json)
        else:
            consents = list_consents(at)
            people_view.show_consents(consents, json=json)
            if any(isinstance(consent, BrokenConsent) for consent in consents):
                raise typer.Exit(EXIT_EVIDENCE)


@consent_app.command("receipt")
def consent_receipt(
    record_id: Annotated[str, typer.Argument(help="The consent.")],
    form: Annotated[
        Form, typer.Option(metavar="<word>", help=f"For reading or machines: {one_of(Form)}.")
    ] = "text",
    out: Annotated[Path | None, typer.Option(help="A file instead of the terminal.")] = None,
    json: Json = False,
) -> None:
    """Write the person's receipt, for reading or for machines.

    --json is --form json.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.people import write_receipt

    with open_records(read_settings()) as at:
        text = write_receipt(record_id, at=at, form="json" if json else form)
    people_view.show_text(text, out)
