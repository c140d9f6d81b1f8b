"""`facewarrant keys`: the key-encryption key behind every person's data key.

Thin commands over `pipelines.keyring`. Signing keys and certificates are files of the home folder.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.console import OUT, pair_table, print_json
from pipelines.options import Json
from pipelines.settings import read_settings

keys_app = typer.Typer(
    help="Show, rotate and destroy the key-encryption key.", no_args_is_help=True
)


@keys_app.command("show")
def keys_show(json: Json = False) -> None:
    """Show the current version and who keeps it."""
    from pipelines.deployment import open_records

    with open_records(read_settings()) as at:
        provider = at.consents.keys.provider
        found = {"version": provider.version, "provider": type(provider).__name__}
    if json:
        print_json(found)
    else:
        OUT.print(pair_table(found))


@keys_app.command("rotate")
def keys_rotate(json: Json = False) -> None:
    """Make a new version and wrap every person's key with it.

    The old version stays, for backups, until it is destroyed.
    """
    from pipelines.deployment import open_records
    from pipelines.keyring import rotate

    with open_records(read_settings()) as at:
        version, count = rotate(at.consents.keys, at.archive.log)
    if json:
        print_json({"version": version, "wrapped": count})
    else:
        OUT.print(f"Version {version} is current; {count} keys are wrapped with it.")


@keys_app.command("destroy")
def keys_destroy(
    version: Annotated[str, typer.Argument(help="An old version, such as v1.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Destroy an old version for good.

    Backups that need it become unreadable.
    """
    from pipelines.deployment import open_records
    from pipelines.keyring import destroy

    if not yes:
        typer.confirm(f"Destroy {version}? Nothing brings it back.", err=True, abort=True)
    with open_records(read_settings()) as at:
        destroy(at.consents.keys, version, at.archive.log)
    if json:
        print_json({"destroyed": version})
    else:
        OUT.print(f"Version {version} is destroyed.")
