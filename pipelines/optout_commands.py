"""`facewarrant optout`: the list of people who asked never to be swapped.

Thin commands over `policies.optout`. There is no command that says whether a face is on the list:
that would let anybody look for somebody. Whose opt-out an entry is, only the person knows, by the
id that they were given.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.console import OUT, make_table, plain, print_json, when
from pipelines.jobs import read_file
from pipelines.options import Files, Json
from pipelines.settings import read_settings

if TYPE_CHECKING:
    from generator.faces import FaceAnalyser
    from policies.optout import OptOutBook
    from provenance.media import Loader

optout_app = typer.Typer(
    help="Keep the list of people who must never be swapped.", no_args_is_help=True
)


@optout_app.command("add")
def optout_add(pictures: Files, json: Json = False) -> None:
    """Put a person on the list, from pictures that show them alone.

    Prints the id of the entry: give it to the person, who needs it to take the opt-out back. The
    pictures are not kept.
    """
    from pipelines.deployment import open_chosen_analyser, open_records

    settings = read_settings()
    shown = [read_file(path) for path in pictures]
    with open_records(settings) as at:
        analyser = open_chosen_analyser(settings)
        entry_id = opt_out(shown, optouts=at.optouts, analyser=analyser, load=at.decoder)
    if json:
        print_json({"entry_id": entry_id})
    else:
        OUT.print(f"On the list as {entry_id}.")


@optout_app.command("list")
def optout_list(json: Json = False) -> None:
    """List the entries: ids and dates, no faces and no names."""
    from pipelines.deployment import open_records

    with open_records(read_settings()) as at:
        found = at.optouts.list()
    if json:
        print_json([entry.model_dump() for entry in found])
        return
    table = make_table("entry", "since", "identity model")
    for entry in found:
        table.add_row(plain(entry.entry_id), when(entry.added_at), entry.model_sha256[:16])
    OUT.print(table if found else "Nobody is on the list.")


@optout_app.command("remove")
def optout_remove(
    entry_id: Annotated[str, typer.Argument(help="The entry, as 'optout add' printed it.")],
    json: Json = False,
) -> None:
    """Take a person off the list, at their own request; their face vector is erased."""
    from pipelines.deployment import open_records

    with open_records(read_settings()) as at:
        at.optouts.remove(entry_id)
    if json:
        print_json({"removed": entry_id})
    else:
        OUT.print(f"{plain(entry_id)} is off the list; its face vector is erased.")


def opt_out(
    pictures: Sequence[bytes], *, optouts: OptOutBook, analyser: FaceAnalyser, load: Loader
) -> str:
    """Enrol the person of some picture files as an opt-out under a new pseudonym; return its id.

    `load` decodes their pixels. Raises MediaError, NoFace, ManyFaces and EnrolmentRefused for
    pictures that do not show one person alone.
    """
    from generator.faces import only_face
    from generator.matching import template_of
    from generator.templates import pack_template
    from policies.subjectkeys import new_pseudonym
    from provenance.media import decode

    # Not `enrol_pictures`: a poor picture, which no consent may rest on, still protects somebody
    # wherever its vector matches. Refused, they would be protected nowhere.
    faces = [only_face(analyser.analyse(decode(data, load=load).frame)) for data in pictures]
    template = template_of(faces, thresholds=analyser.thresholds)
    return optouts.add(
        pack_template(template),
        model_sha256=analyser.models[analyser.id_model],
        pid=new_pseudonym(os.urandom),
    )
