"""`facewarrant trust`: the lists of roots that a verifier in this home believes, and for which use.

A list that says whose signatures count is as powerful as a key: it is read whole, judged, kept with
its digest, and printed beside every verdict.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import OUT, make_table, plain, print_json
from pipelines.options import Json, one_of
from pipelines.settings import read_settings
from provenance.trust import TRUST_FOLDER, TrustFolder, TrustList, Use

trust_app = typer.Typer(
    help="Say whose signatures and time stamps a verifier believes.",
    no_args_is_help=True,
)


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat() if value else ""
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is not a day such as 2026-08-05.") from error


@trust_app.command("add")
def trust_add(
    file: Annotated[Path, typer.Argument(help="A PEM file of roots, such as a C2PA trust list.")],
    use: Annotated[
        Use, typer.Option("--for", metavar="<word>", help=f"What they vouch for: {one_of(Use)}.")
    ],
    name: Annotated[
        str, typer.Option(help="What the list is called; the file's name by default.")
    ] = "",
    dated: Annotated[
        str, typer.Option(metavar="<day>", callback=_day, help="Day its issuer put on it.")
    ] = "",
    json: Json = False,
) -> None:
    """Believe the roots of a list, for signers or for time stamps.

    A root of one use never vouches for the other; where an issuer has one root for both, add it
    twice, under two names.
    """
    from pipelines.jobs import read_file

    with suppress(OSError):  # what hinders it, the writing will say
        read_settings().home.mkdir(parents=True, exist_ok=True, mode=0o700)
    added = _folder().add(read_file(file), name=name or file.stem, use=use, dated=dated)
    if json:
        print_json(_as_json(added))
        return
    OUT.print(f"[green bold]added[/] {plain(added.words)}", soft_wrap=True)


@trust_app.command("list")
def trust_list(json: Json = False) -> None:
    """List every list that is believed here, with its day and digest."""
    lists = _folder().load().lists
    if json:
        print_json([_as_json(one) for one in lists])
        return
    if not lists:
        OUT.print("No trust list: only the root of this home, and roots given with --anchors.")
        return
    table = make_table("name", "for", "issued", "roots", "SHA-256")
    for one in lists:
        dated, count = one.dated or "no date", str(len(one.certificates))
        table.add_row(plain(one.name), one.use, dated, count, one.sha256)
    OUT.print(table)


@trust_app.command("remove")
def trust_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A list, as 'trust list' names it.")],
    json: Json = False,
) -> None:
    """Stop believing a list."""
    _folder().remove(name)
    if json:
        print_json({"removed": name})
        return
    OUT.print(f"[green bold]removed[/] {plain(name)}")


def _folder() -> TrustFolder:
    return TrustFolder(read_settings().home / TRUST_FOLDER)


def _as_json(one: TrustList) -> dict[str, object]:
    return {
        "name": one.name,
        "use": one.use,
        "dated": one.dated,
        "sha256": one.sha256,
        "roots": [certificate.subject.rfc4514_string() for certificate in one.certificates],
    }
