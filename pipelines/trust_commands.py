"""`facewarrant trust`: the lists that a verifier in this home goes by, and what each is for.

A list that says whose signatures count is as powerful as a key: it is read whole, judged, logged,
kept with its digest, and printed beside every verdict. It is logged before it counts, so that no
list counts without a trace; an auditor's home without keys has no log, and is not asked for one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import OUT, make_table, plain, print_json
from pipelines.options import Json, one_of
from pipelines.settings import read_settings
from provenance.products import ProductList
from provenance.trust import TRUST_FOLDER, AnyList, TrustFolder, TrustList
from provenance.trust_terms import Kind

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
    file: Annotated[
        Path, typer.Argument(help="Roots as PEM or as C2PA's JSON, a list of products, or a CRL.")
    ],
    kind: Annotated[
        Kind, typer.Option("--for", metavar="<word>", help=f"What it is for: {one_of(Kind)}.")
    ],
    name: Annotated[
        str, typer.Option(help="What the list is called; the file's name by default.")
    ] = "",
    dated: Annotated[
        str, typer.Option(metavar="<day>", callback=_day, help="Day its issuer put on it.")
    ] = "",
    json: Json = False,
) -> None:
    """Go by a list: roots for signers or time stamps, conforming products, or what a CA revoked.

    A root of one use never vouches for the other; where an issuer has one root for both, add it
    twice, under two names. Products and revocations make nothing trusted.
    """
    from pipelines.jobs import read_file

    with suppress(OSError):  # what hinders it, the writing will say
        read_settings().home.mkdir(parents=True, exist_ok=True, mode=0o700)
    called = name or file.stem
    added = _folder().add(
        read_file(file), name=called, kind=kind, dated=dated, announce=_logging("added", called)
    )
    if json:
        print_json(_as_json(added))
        return
    OUT.print(f"[green bold]added[/] {plain(added.words)}", soft_wrap=True)


@trust_app.command("list")
def trust_list(json: Json = False) -> None:
    """List every list that a verifier here goes by, with its day and digest."""
    lists = _folder().load().every
    if json:
        print_json([_as_json(one) for one in lists])
        return
    if not lists:
        OUT.print("No trust list: only the root of this home, and roots given with --anchors.")
        return
    table = make_table("name", "for", "issued", "entries", "SHA-256")
    for one in lists:
        dated, count = one.dated or "no date", str(_count(one))
        table.add_row(plain(one.name), one.use, dated, count, one.sha256)
    OUT.print(table)


@trust_app.command("remove")
def trust_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A list, as 'trust list' names it.")],
    json: Json = False,
) -> None:
    """Stop going by a list."""
    _folder().remove(name, announce=_logging("removed", name))
    if json:
        print_json({"removed": name})
        return
    OUT.print(f"[green bold]removed[/] {plain(name)}")


def _folder() -> TrustFolder:
    return TrustFolder(read_settings().home / TRUST_FOLDER)


def _logging(event: str, name: str) -> Callable[[str], None]:
    """Return what logs a step with a list, given its digest; nothing where this home has no log."""

    def log(sha256: str) -> None:
        settings = read_settings()
        if not (settings.home / "keys").is_dir():
            return
        from pipelines.deployment import open_records

        with open_records(settings) as at:
            at.archive.log.append("trust", {"event": event, "name": name, "sha256": sha256})

    return log


def _count(one: AnyList) -> int:
    if isinstance(one, TrustList):
        return len(one.certificates)
    return len(one.products) if isinstance(one, ProductList) else len(one.crl)


def _as_json(one: AnyList) -> dict[str, object]:
    about: dict[str, object] = {
        "name": one.name,
        "use": one.use,
        "dated": one.dated,
        "sha256": one.sha256,
        "entries": _count(one),
    }
    if isinstance(one, TrustList):
        about["roots"] = [each.subject.rfc4514_string() for each in one.certificates]
        about["next_update"] = one.next_update.isoformat() if one.next_update else ""
    return about
