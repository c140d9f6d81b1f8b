"""Which revision of the schema a database has, and the way to the newest.

A new database is brought to the newest revision when it is opened. One of an older revision is
refused until somebody upgrades it, so that no schema changes because a program was started; one of
a newer revision is refused for good. alembic is touched here and in `migrations/` alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from policies.errors import StoreUnavailable
from policies.guards import sqlite_triggers
from policies.tables import METADATA

REVISIONS = ("0001", "0002")
"""Every revision, oldest first; a database has the last one or is not opened."""

VERSION_TABLE = "facewarrant_revision"
"""Its own name, since other programs of a shared database keep an `alembic_version` there."""

MIGRATIONS = "policies:migrations"

_VERSION = sa.Table(  # as alembic makes it
    VERSION_TABLE,
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)


class StoreOutdated(StoreUnavailable):
    """The database has an older schema than this version works with."""

    code = "STORE-OUTDATED"


class StoreNewer(StoreUnavailable):
    """The database has a schema that this version does not know."""

    code = "STORE-NEWER"


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision of a database, None when it has none of our tables yet.

    Raises StoreOutdated for our tables without a revision: they are from before there were any, and
    no revision leads on from them.
    """
    names = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in names:
        revision: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
        if revision is not None:
            return revision
    if names & METADATA.tables.keys():
        raise StoreOutdated(
            "the database is from before its schema had revisions",
            mend="keep it for its records and set up a new one: 'facewarrant init' in a new "
            "FACEWARRANT_HOME",
        )
    return None


def settle(connection: sa.Connection, *, upgrade: bool) -> str:
    """Bring a new database to the newest revision, an older one too where `upgrade` says so.

    The connection's transaction must hold the database alone; everything happens in it or nothing.
    Returns the revision that was there before, "" for none. Raises StoreOutdated and StoreNewer.
    """
    found = current_revision(connection)
    if found == REVISIONS[-1]:
        return found
    if found is not None and found not in REVISIONS:
        raise StoreNewer(
            f"the database is at revision {found!r}, newer than {REVISIONS[-1]}",
            mend="run the version of FaceWarrant that the database was upgraded for, or a newer",
        )
    if found is not None and not upgrade:
        raise StoreOutdated(
            f"the database is at revision {found}, this version needs {REVISIONS[-1]}",
            mend="stop what uses it, make a backup, and run 'facewarrant database upgrade'",
        )
    _migrate(connection)
    return found or ""


def create_newest(connection: sa.Connection) -> None:
    """Make the newest schema of a new SQLite database at once, without running the revisions."""
    METADATA.create_all(connection, checkfirst=False)
    for statement in sqlite_triggers():
        connection.exec_driver_sql(statement)
    _VERSION.create(connection)
    connection.execute(sa.insert(_VERSION), {"version_num": REVISIONS[-1]})


def _migrate(connection: sa.Connection) -> None:
    config = Config()  # no file: whoever installs this has nothing to write and nothing to break
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    try:
        command.upgrade(config, REVISIONS[-1])
    except CommandError as error:
        raise StoreUnavailable(
            f"the schema's revisions do not run: {error}", mend="install FaceWarrant again"
        ) from error
