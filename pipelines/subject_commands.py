"""`facewarrant subject`: what is kept about a person, and its erasure.

Thin commands over `pipelines.subjects`. A person is named by their pseudonym, which their receipts
carry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import Json
from pipelines.settings import read_settings

subject_app = typer.Typer(
    help="Give a person everything kept about them, or erase it.", no_args_is_help=True
)

Pseudonym = Annotated[str, typer.Argument(help="The person's pseudonym: ps_...")]


@subject_app.command("export")
def subject_export(
    pid: Pseudonym,
    out: Annotated[Path, typer.Option(help="The file to write (JSON).")],
    json: Json = False,
) -> None:
    """Write everything kept about a person into one file.

    Consents with receipts and events, releases, log entries: the right of access (GDPR Art. 15) in
    one document.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.subjects import export_subject

    with open_records(read_settings()) as at:
        document = export_subject(pid, at=at)
    people_view.show_export(document, out, json=json)


@subject_app.command("erase")
def subject_erase(
    pid: Pseudonym,
    out: Annotated[Path, typer.Option(help="The file for the signed receipt (JSON).")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Erase a person: end every consent, destroy their key.

    Nothing brings it back. Proves that the face template is gone, writes a signed receipt and logs
    it. An erasure that was interrupted goes on where it stopped.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.one import require_new
    from pipelines.subjects import erase_subject

    # Before anything is destroyed: afterwards the receipt has to have a place.
    require_new(out)
    if not yes:
        typer.confirm(
            f"Erase {pid}? Every consent ends and nothing brings the template back.",
            err=True,
            abort=True,
        )
    with open_records(read_settings()) as at:
        receipt = erase_subject(pid, at=at)
    people_view.show_erasure(receipt, out, json=json)


@subject_app.command("erase-again")
def subject_erase_again(json: Json = False) -> None:
    """Destroy every key that a restored backup brought back.

    To be run after the database of people's keys was restored, before anything else.
    """
    from pipelines import people_view
    from pipelines.deployment import open_records
    from pipelines.subjects import erase_again

    with open_records(read_settings()) as at:
        people_view.show_erased_again(erase_again(at), json=json)
