"""Which rows may never change: triggers against careless edits of consents, releases and the log.

Merkle tree and checkpoints catch the deliberate ones. Free to change or go: templates, challenges,
opt-outs and reservations. A consent goes only after `disposal` names it, a warrant only changes its
state. These are the triggers of a new SQLite database; the revisions in `migrations/` write their
own, for PostgreSQL too, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """What a table refuses.

    `keys` are the unique keys, each its columns. `frozen` names the columns that cannot be updated
    (empty: none can; None: all can). `disposable` rows may be deleted once `disposal` names them.
    """

    table: str
    keys: tuple[tuple[str, ...], ...]
    frozen: tuple[str, ...] | None = ()
    disposable: bool = False


GUARDS = (
    Guard("log_entry", (("i",),)),
    Guard("log_node", (("key",),)),
    Guard("consent", (("record_id",), ("commitment",)), disposable=True),
    Guard("consent_event", (("record_id", "seq"),), disposable=True),
    Guard("disposal", (("record_id",),)),
    Guard("erasure", (("pid",),), frozen=None),
    Guard(
        "warrant",
        (("warrant_id",),),
        frozen=("warrant_id", "request_id", "document", "expires_at"),
    ),
    Guard("release", (("mark_id",), ("request_id",), ("warrant_id",), ("manifest_id",))),
    Guard("decision", (("decision_id",),)),
    Guard("release_frame", (("mark_id", "second"),)),
    Guard("release_person", (("record_id", "mark_id"),)),
)


def sqlite_triggers() -> Iterator[str]:
    """Yield the statements that guard a new SQLite database.

    The insert guards matter: INSERT OR REPLACE deletes the old row, by whichever unique key it
    meets, without firing a delete trigger.
    """
    for guard in GUARDS:
        table = guard.table
        if guard.frozen is not None:
            columns = f" of {', '.join(guard.frozen)}" if guard.frozen else ""
            yield _trigger(f"{table}_update before update{columns} on {table}")
        disposed = "select 1 from disposal where record_id = old.record_id"
        unless = f" when not exists ({disposed})" if guard.disposable else ""
        yield _trigger(f"{table}_delete before delete on {table}{unless}")
        same = " or ".join(
            " and ".join(f"{column} = new.{column}" for column in key) for key in guard.keys
        )
        taken = f"select 1 from {table} where {same}"  # noqa: S608 - our own names
        yield _trigger(f"{table}_insert before insert on {table} when exists ({taken})")


def _trigger(rule: str) -> str:
    return f"create trigger {rule} begin select raise(abort, 'append-only'); end"
