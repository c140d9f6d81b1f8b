"""What a signing service did: one line for every signature and every refusal, kept for good.

An SQLite file of the service's own. Its primary key is what makes a warrant good for one signature,
also between processes and after a restart; the line is on the disk before the key is used. Refused:
a second signature for a warrant, a clock behind the newest signature, changing or deleting a line,
and a file that others can open.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from policies.audit import ClockRollback
from policies.errors import StoreUnavailable
from policies.privatefile import claim_private
from provenance.signers import AlreadySigned

BUSY_SECONDS = 5
"""How long a line waits for the one before it."""

_VERSION = 1
_SCHEMA = (
    """create table signature (
        warrant_id text not null primary key,
        warrant_sha256 text not null,
        claim_sha256 text not null,
        at integer not null
    ) strict""",
    "create index signature_at on signature (at)",
    """create table refusal (
        n integer primary key,
        warrant_id text not null,
        code text not null,
        at integer not null
    ) strict""",
    *(
        f"""create trigger {table}_{act} before {act} on {table}
        begin select raise(abort, 'the ledger is append-only'); end"""
        for table in ("signature", "refusal")
        for act in ("update", "delete")
    ),
    # INSERT OR REPLACE deletes the old row without firing a delete trigger.
    """create trigger signature_replace before insert on signature
        when exists (select 1 from signature where warrant_id = new.warrant_id)
        begin select raise(abort, 'a warrant is signed for once'); end""",
    f"pragma user_version = {_VERSION}",
)


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What was answered: `code` is "SIGNED" or why not; `at` in unix seconds.

    `warrant_id` is empty where the request could not be read, the digests where nothing was signed.
    """

    at: int
    code: str
    warrant_id: str
    warrant_sha256: str
    claim_sha256: str


class SigningLedger:
    """The ledger in one file; safe between threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, made with mode 0600 when missing.

        Raises KeyExposed and KeyUnavailable when it or its folder is open to others or not ours,
        StoreUnavailable when it is no ledger.
        """
        claim_private(path)
        self._turn = threading.Lock()
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def enter_signature(
        self, warrant_id: str, *, warrant_sha256: str, claim_sha256: str, at: int
    ) -> None:
        """Write that a claim is signed now (unix time `at`), before it is.

        Raises AlreadySigned, ClockRollback and StoreUnavailable.
        """
        with self._transaction() as connection:
            held = "select 1 from signature where warrant_id = ?"
            if connection.execute(held, (warrant_id,)).fetchone():
                raise AlreadySigned(
                    "a claim was already signed for this warrant",
                    mend="ask for a new warrant; one warrant is one output",
                )
            last = connection.execute("select max(at) from signature").fetchone()[0] or 0
            if at < last:
                raise ClockRollback(
                    f"the clock says {at}, the newest signature is of {last}",
                    mend="set the clock right (NTP); nothing is signed while it is behind",
                )
            row = (warrant_id, warrant_sha256, claim_sha256, at)
            connection.execute("insert into signature values (?, ?, ?, ?)", row)

    def enter_refusal(self, code: str, *, warrant_id: str, at: int) -> None:
        """Write why nothing was signed; `warrant_id` may be empty. Raises StoreUnavailable."""
        with self._transaction() as connection:
            connection.execute(
                "insert into refusal (warrant_id, code, at) values (?, ?, ?)",
                (warrant_id, code, at),
            )

    def latest(self, limit: int) -> list[LedgerLine]:
        """Return the newest lines, newest first; raises StoreUnavailable."""
        with self._transaction() as connection:
            rows = connection.execute(
                "select at, 'SIGNED', warrant_id, warrant_sha256, claim_sha256 from signature "
                "union all select at, code, warrant_id, '', '' from refusal "
                "order by 1 desc, 2, 3 limit ?",
                (limit,),
            ).fetchall()
        return [LedgerLine(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                self._connection.execute("begin immediate")
                try:
                    yield self._connection
                    self._connection.commit()
                except BaseException:
                    self._connection.rollback()  # whatever came up: half a line must not stay open
                    raise
            except sqlite3.Error as error:
                raise _unavailable(error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        # extra: without it a power cut could take back a line whose signature has left.
        connection.execute("pragma synchronous = extra")
        connection.execute("begin immediate")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
        elif version != _VERSION:
            raise StoreUnavailable(f"the ledger is of version {version}, not known here")
        connection.commit()
    except BaseException:
        connection.close()  # also on Ctrl-C: an open transaction would block other processes
        raise
    return connection


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(
        f"the ledger refused: {error}",
        mend="check that its file can be read and written; nothing is signed without it",
    )
