"""`facewarrant keys`: the key-encryption key behind every person's data key, and watermark keys.

Thin commands over `pipelines.keyring` and `pipelines.mark_keys`. Signing keys and certificates are
files of the home folder.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.console import OUT, pair_table, print_json
from pipelines.options import Json
from pipelines.settings import read_settings

keys_app = typer.Typer(
    help="Show, rotate and destroy the keys that wrap and that mark.", no_args_is_help=True
)


@keys_app.command("show")
def keys_show(json: Json = False) -> None:
    """Show the current version, and the watermark keys by name.

    The newest watermark key comes first: that one writes.
    """
    from pipelines.deployment import open_records
    from pipelines.mark_keys import name_mark_key, read_mark_keys

    with open_records(read_settings()) as at:
        provider = at.consents.keys.provider
        found = {"version": provider.version, "provider": type(provider).__name__}
        names = [name_mark_key(key) for key in read_mark_keys(at.settings)]
    if json:
        print_json({**found, "watermark": names})
    else:
        OUT.print(pair_table({**found, "watermark": ", ".join(names)}))


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


@keys_app.command("rotate-watermark")
def keys_rotate_watermark(json: Json = False) -> None:
    """Make a new watermark key that writes from now on.

    The older ones go on reading what they marked; at most four keys are kept.
    """
    from pipelines.deployment import open_records
    from pipelines.mark_keys import rotate_mark_key

    with open_records(read_settings()) as at:
        names = rotate_mark_key(at.settings, at.archive.log)
    if json:
        print_json({"watermark": names})
    else:
        OUT.print(f"Watermark key {names[0]} writes; keys that are read: {len(names)}.")


@keys_app.command("destroy-watermark")
def keys_destroy_watermark(
    name: Annotated[str, typer.Argument(help="An old key, as 'keys show' names it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Destroy an old watermark key for good.

    What it marked can no longer be recognised by its mark.
    """
    from pipelines.deployment import open_records
    from pipelines.mark_keys import destroy_mark_key

    if not yes:
        asked = f"Destroy watermark key {name}? Its marks cannot be read afterwards."
        typer.confirm(asked, err=True, abort=True)
    with open_records(read_settings()) as at:
        names = destroy_mark_key(at.settings, name, at.archive.log)
    if json:
        print_json({"destroyed": name, "watermark": names})
    else:
        OUT.print(f"Watermark key {name} is destroyed; keys that are read: {len(names)}.")
