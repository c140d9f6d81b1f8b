"""`facewarrant database`: which revision of the schema the database has, and the way to the newest.

Opening a database never changes an existing schema; `upgrade` alone does, in one transaction.
"""

from __future__ import annotations

import typer

from pipelines.console import OUT, pair_table, print_json
from pipelines.options import Json
from pipelines.settings import Settings, read_settings

database_app = typer.Typer(help="Show or upgrade the schema of the database.", no_args_is_help=True)


@database_app.command("current")
def database_current(json: Json = False) -> None:
    """Say which revision the database has and which one this version works with.

    Changes nothing. A database that is not there yet has none.
    """
    from policies.database import read_revision
    from policies.revisions import REVISIONS

    _show(read_revision(_address()) or "", REVISIONS[-1], json=json)


@database_app.command("upgrade")
def database_upgrade(json: Json = False) -> None:
    """Bring the database to the newest revision, all of it or nothing.

    Stop whatever uses the database and make a backup first; there is no way back.
    """
    from policies.database import Database
    from policies.revisions import REVISIONS

    database = Database(_address(), upgrade=True)
    database.close()
    _show(database.opened_at, REVISIONS[-1], json=json, upgraded=True)


def _address() -> str:
    """Return the database's address; raise KeyFileRefused without a home folder to belong to."""
    settings: Settings = read_settings()
    if not (settings.home / "keys").is_dir():
        from pipelines.keyfiles import KeyFileRefused

        raise KeyFileRefused(
            f"{settings.home} is not set up", mend="run 'facewarrant init', or set FACEWARRANT_HOME"
        )
    return settings.database_address


def _show(before: str, newest: str, *, json: bool, upgraded: bool = False) -> None:
    now = newest if upgraded else before
    if json:
        print_json({"before": before or None, "revision": now or None, "newest": newest})
        return
    rows = {"database at": now or "none yet", "this version needs": newest}
    if upgraded:
        rows = {"database was at": before or "none yet"} | rows
    OUT.print(pair_table(rows))
    if now != newest:
        OUT.print("Run 'facewarrant database upgrade' after a backup.")
