"""`facewarrant certificates`: how long the certificates last, and a new chain in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipelines.console import OUT, as_dict, make_table, plain, print_json, when
from pipelines.options import Json, check_each, one_of
from pipelines.settings import read_settings
from provenance.chains import Algorithm

if TYPE_CHECKING:
    from pipelines.certificates import Held

certificates_app = typer.Typer(
    help="Show the certificates, and renew those of development.", no_args_is_help=True
)


@certificates_app.command("show")
def certificates_show(json: Json = False) -> None:
    """Show signer, time-stamping authority and roots, with the days each has left."""
    from pipelines.certificates import list_certificates
    from pipelines.deployment import open_records, system_clock

    with open_records(read_settings()) as at:
        _show(list_certificates(at.settings, clock=system_clock), json=json)


@certificates_app.command("renew")
def certificates_renew(
    algorithm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<word>",
            callback=check_each(Algorithm),
            help=f"How claims are signed from now on: {one_of(Algorithm)}.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Replace the development chain by a new one; what was signed before stays trusted.

    Give the new root.pem to everyone who verifies: it holds the old roots too.
    """
    from pipelines.certificates import renew
    from pipelines.deployment import open_records, system_clock

    chosen = cast(Algorithm, (algorithm or ["ES256"])[-1])
    with open_records(read_settings()) as at:
        found = renew(at.settings, at.archive.log, algorithm=chosen, clock=system_clock)
        _show(found, json=json)


def _show(found: list[Held], *, json: bool) -> None:
    rows = [as_dict(held) for held in found]
    if json:
        print_json(rows)
        return
    table = make_table("use", "name", "ends", "days left", "SHA-256")
    for row in rows:
        table.add_row(
            row["use"],
            plain(row["name"]),
            when(row["ends_at"]),
            str(row["days_left"]),
            row["sha256"][:16],
        )
    OUT.print(table)
