"""One data key per subject pseudonym, in a database of its own: erasing a person is losing a key.

AES-256-GCM under the subject's key, which is wrapped by the deployment's key provider. Everything
sealed is bound to its pseudonym and to what the caller names, so that it opens nowhere else. The
keys lie in a separate SQLite file with a rollback journal and secure_delete: in WAL mode a deleted
key stayed readable in the -wal file (measured, SQLite 3.40.1). Refused: a pseudonym whose key was
destroyed, for ever, and a file that others could open.
"""

from __future__ import annotations

import base64
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from policies.canonical import canonical
from policies.errors import Error, Malformed, StoreUnavailable
from policies.keyprovider import KEY_BYTES, KeyDenied, KeyGone, KeyProvider, Wrapped
from policies.privatefile import claim_private
from policies.residue import Needle, needle

NONCE_BYTES = 12
"""The nonce of AES-GCM; random ones allow 2**32 seals under one key (NIST SP 800-38D, 8.3)."""

SALT_BYTES = 32
"""One SHA-256 output: the salt is the secret of an HMAC-SHA256."""

BUSY_SECONDS = 5
"""How long a transaction waits for the one before it."""

REWRAP_BATCH = 256
"""Keys per transaction of `rewrap`: one fsync serves them all, and no writer waits for long."""

_PSEUDONYM_BYTES = 17
"""136 random bits, of which 26 letters of base 32 hold 130: no two people meet by chance."""

_SCHEMA_VERSION = 1
_SCHEMA = (
    """create table subject_key (
        pid text not null primary key,
        key_id text not null unique,
        kek_version text not null,
        wrapped blob,
        salt blob,
        created_at integer not null,
        destroyed_at integer,
        check ((wrapped is null) = (destroyed_at is not null)),
        check ((salt is null) = (destroyed_at is not null))
    ) strict""",
    """create trigger tombstone_update before update on subject_key
        when old.destroyed_at is not null
        begin select raise(abort, 'this key was destroyed'); end""",
    """create trigger tombstone_delete before delete on subject_key
        begin select raise(abort, 'a pseudonym is never reused'); end""",
    # INSERT OR REPLACE deletes the old row without firing a delete trigger.
    """create trigger tombstone_replace before insert on subject_key
        when exists (select 1 from subject_key where pid = new.pid or key_id = new.key_id)
        begin select raise(abort, 'a pseudonym is never reused'); end""",
    f"pragma user_version = {_SCHEMA_VERSION}",
)
# extra: without it a power cut could bring back the journal, and with it the destroyed key.
_PRAGMAS = (("secure_delete", "on", 1), ("synchronous", "extra", 3), ("temp_store", "memory", 2))


class TemplateUnreadable(Error):
    """Sealed bytes do not open: other subject, other record or model, or changed bytes."""

    code = "TEMPLATE-UNREADABLE"


class KeyUnknown(TemplateUnreadable):
    """There has never been a key for that pseudonym; nothing of it was sealed here."""

    code = "KEY-UNKNOWN"


def new_pseudonym(random: Callable[[int], bytes]) -> str:
    """Return a pseudonym that nothing links to a person (`terms.Pseudonym`).

    `random(n)` gives n unpredictable bytes (`os.urandom`).
    """
    return "ps_" + base64.b32encode(random(_PSEUDONYM_BYTES)).decode().lower()[:26]


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """What is known of a subject's key; `destroyed_at` in unix seconds, None while it is kept."""

    pid: str
    key_id: str
    kek_version: str
    destroyed_at: int | None
    wrapped: bytes | None = field(repr=False)
    salt: bytes | None = field(repr=False)


class SubjectKeys:
    """The data keys of all subjects; safe between threads and processes."""

    def __init__(
        self,
        url: str,
        provider: KeyProvider,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Open `sqlite:///path` (made with mode 0600 when missing) or `sqlite://` for memory.

        `clock` gives unix seconds. Raises StoreUnavailable when the database does not open as it
        must, KeyExposed and KeyUnavailable when its file is open to others or not ours.
        """
        self._provider, self._clock, self._random = provider, clock, random
        self._path = _path_of(url)
        if self._path is not None:
            claim_private(self._path)
        # One connection: in memory there is no second, and on a file threads take turns anyway.
        self._turn = threading.RLock()
        try:
            self._connection = _connect(self._path)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    @property
    def provider(self) -> KeyProvider:
        """Who wraps these keys."""
        return self._provider

    @property
    def path(self) -> Path | None:
        """The database file; None in memory."""
        return self._path

    def seal(self, plain: bytes, *, pid: str, bound: Mapping[str, str]) -> bytes:
        """Encrypt for one subject: nonce (12 bytes), ciphertext, tag (16 bytes).

        Makes the subject's key on first use; two callers at once make one. `bound` names what the
        bytes belong to, for example record and model; it is authenticated, not stored. Raises
        KeyGone for an erased pseudonym, KeyDenied, Malformed for a `bound` that names a pid.
        """
        aad = _bound_to(pid, bound)
        with self._transaction() as connection:
            found = _find(connection, pid) or self._make(connection, pid)
        key, _ = self._unlock(found)
        nonce = self._random(NONCE_BYTES)
        return nonce + AESGCM(key).encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, *, pid: str, bound: Mapping[str, str]) -> bytes:
        """Decrypt what `seal` made for this subject and this `bound`.

        Raises KeyGone for an erased pseudonym, KeyUnknown for one never seen, TemplateUnreadable
        for anything but what was sealed, and what the provider raises.
        """
        aad = _bound_to(pid, bound)
        key, _ = self._unlock(self.find(pid))
        return _decrypt(key, sealed, aad)

    def salt(self, pid: str) -> bytes:
        """Return the subject's 32 secret bytes, which end with the key; raises as `open` does."""
        return self._unlock(self.find(pid))[1]

    def find(self, pid: str) -> SubjectKey:
        """Return what is known of a subject's key, destroyed or not; raise KeyUnknown."""
        with self._transaction() as connection:
            found = _find(connection, pid)
        if found is None:
            raise KeyUnknown("there has never been a key for this pseudonym")
        return found

    def shredded(self, pid: str) -> bool:
        """Tell whether the subject's key was destroyed; False as well for one never made."""
        return self.destroyed_at(pid) is not None

    def destroyed_at(self, pid: str) -> int | None:
        """Return when the subject's key was destroyed (unix seconds); None for any other."""
        with self._transaction() as connection:
            found = _find(connection, pid)
        return None if found is None else found.destroyed_at

    def needles(self, pid: str) -> tuple[Needle, ...]:
        """Return what to search files for after `destroy`: fingerprints, no key material.

        Empty for a key destroyed already. Raises KeyUnknown.
        """
        found = self.find(pid)
        return tuple(needle(data) for data in (found.wrapped, found.salt) if data is not None)

    def destroy(self, pid: str) -> tuple[str, ...]:
        """Shred the subject's key and salt and return the ids of the keys destroyed now.

        Empty when it was destroyed before. A mark without any key stays, so that the pseudonym is
        never used again. Raises KeyUnknown for a pseudonym never seen and StoreUnavailable.
        """
        with self._transaction() as connection:
            found = _find(connection, pid)
            if found is None:
                raise KeyUnknown("there has never been a key for this pseudonym")
            if found.destroyed_at is not None:
                return ()
            connection.execute(
                "update subject_key set wrapped = null, salt = null, destroyed_at = ? "
                "where pid = ?",
                (self._clock(), pid),
            )
        return (found.key_id,)

    def rewrap(self) -> int:
        """Wrap every key anew that is not under the provider's current version; return how many.

        Committed in batches, each whole or not at all: after a crash, run it again.
        """
        done = 0
        while count := self._rewrap_batch(self._provider.version):
            done += count
        return done

    def retire(self, version: str) -> None:
        """Destroy a version of the provider's key that no subject's key needs any more.

        Copies of keys wrapped under it, in backups or on a disk, open no longer once that is final.
        Raises KeyDenied while a key is under it and while it is the provider's current version.
        """
        with self._transaction() as connection:
            (left,) = connection.execute(
                "select count(*) from subject_key where kek_version = ? and destroyed_at is null",
                (version,),
            ).fetchone()
            if left:
                raise KeyDenied(f"{left} keys are still under {version}", mend="rewrap them first")
            self._provider.destroy(version)

    def close(self) -> None:
        """Close the database."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                self._connection.execute("begin immediate")
                try:
                    yield self._connection
                    self._connection.commit()
                except BaseException:
                    # Whatever came up, also Ctrl-C: half a change must not stay open.
                    self._connection.rollback()
                    raise
            except sqlite3.Error as error:
                raise _unavailable(error) from error

    def _make(self, connection: sqlite3.Connection, pid: str) -> SubjectKey:
        key, key_id = self._random(KEY_BYTES), self._random(16).hex()
        salt, nonce = self._random(SALT_BYTES), self._random(NONCE_BYTES)
        wrapped = self._provider.wrap(key)
        sealed = nonce + AESGCM(key).encrypt(nonce, salt, _salt_bound_to(pid, key_id))
        row = (pid, key_id, wrapped.version, None, wrapped.blob, sealed)
        connection.execute(
            f"insert into subject_key ({_COLUMNS}, created_at) values (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (*row, self._clock()),
        )
        return SubjectKey(*row)

    def _unlock(self, found: SubjectKey) -> tuple[bytes, bytes]:
        """Return a subject's data key and salt.

        The salt is bound to pseudonym and key id. Opening it each time shows a wrapped key that
        was copied from another subject, whose erasure that copy would outlive.
        """
        if found.wrapped is None or found.salt is None:
            raise KeyGone("this pseudonym was erased; its key was destroyed")
        key = self._provider.unwrap(Wrapped(found.wrapped, found.kek_version))
        return key, _decrypt(key, found.salt, _salt_bound_to(found.pid, found.key_id))

    def _rewrap_batch(self, current: str) -> int:
        with self._transaction() as connection:
            rows = connection.execute(
                "select pid, wrapped, kek_version from subject_key "
                "where kek_version != ? and destroyed_at is null order by pid limit ?",
                (current, REWRAP_BATCH),
            ).fetchall()
            for pid, wrapped, version in rows:
                anew = self._provider.wrap(self._provider.unwrap(Wrapped(wrapped, version)))
                connection.execute(
                    "update subject_key set wrapped = ?, kek_version = ? where pid = ?",
                    (anew.blob, anew.version, pid),
                )
        return len(rows)


_COLUMNS = "pid, key_id, kek_version, destroyed_at, wrapped, salt"


def _find(connection: sqlite3.Connection, pid: str) -> SubjectKey | None:
    row: tuple[Any, ...] | None = connection.execute(
        f"select {_COLUMNS} from subject_key where pid = ?",  # noqa: S608 - our own constant
        (pid,),
    ).fetchone()
    return None if row is None else SubjectKey(*row)


def _path_of(url: str) -> Path | None:
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise StoreUnavailable(
            "subject keys live in an SQLite file of their own",
            mend="write sqlite:///path/to/keys.db: other databases keep deleted rows",
        )
    return Path(url.removeprefix("sqlite:///"))


def _connect(path: Path | None) -> sqlite3.Connection:
    """Open the database, demand its settings, and make its table in an empty one."""
    connection = sqlite3.connect(
        path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        mode = connection.execute("pragma journal_mode = delete").fetchone()[0]
        taken = all(_set(connection, name, text) == want for name, text, want in _PRAGMAS)
        if not taken or mode != ("delete" if path else "memory"):
            raise StoreUnavailable("the key database does not take the settings it needs")
        connection.execute("begin immediate")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
        elif version != _SCHEMA_VERSION:
            raise StoreUnavailable(f"the key database is of version {version}, not known here")
        connection.commit()
    except BaseException:
        connection.close()  # also on Ctrl-C: an open transaction would block other processes
        raise
    return connection


def _set(connection: sqlite3.Connection, name: str, value: str) -> int:
    connection.execute(f"pragma {name} = {value}")
    return int(connection.execute(f"pragma {name}").fetchone()[0])


def _bound_to(pid: str, bound: Mapping[str, str]) -> bytes:
    if "pid" in bound:
        raise Malformed("the pseudonym is bound by itself; leave it out of what else is bound")
    return canonical({**bound, "pid": pid})


def _salt_bound_to(pid: str, key_id: str) -> bytes:
    return canonical({"kind": "subject_salt", "key_id": key_id, "pid": pid})


def _decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError) as error:
        raise TemplateUnreadable("the sealed bytes do not open for this subject") from error


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(
        f"the key database refused: {error}",
        mend="check that its file can be read and written, then run the request again",
    )
