"""Erasing a person: end their consents, destroy their key, prove it, sign and log a receipt.

Four states lie in the database (requested, shredded, proved, receipted); each step may be run
again, so an erasure that was interrupted goes on where it stopped. From `requested` on no consent
of the person is open (`consents.py`), and every run ends those that are left. Refused: calling
anything erased that still opens or of which a copy stands in our files, and destroying a key while
the clock is behind, when no receipt could be dated. A consent that is broken cannot be ended by an
event; the receipt names it, and it stays closed by the erasure itself. Released files are not
destroyed, they are listed; an opt-out stays, under a pseudonym of its own.
"""

from __future__ import annotations

import os
import sqlite3
import string
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from policies.canonical import canonical, digest, parse
from policies.consent import ConsentBroken, StepRefused
from policies.consents import ConsentBook
from policies.erasure_receipt import (
    MAX_RECEIPT_BYTES,
    Checks,
    Derivative,
    Derived,
    list_derived,
    sign_receipt,
    verify_receipt,
    with_proof,
)
from policies.erasure_row import ErasureFailed, Progress, Row, read_progress
from policies.keyprovider import KeyGone
from policies.keys import CommitmentKey, SigningKey
from policies.mentions import find_mentions
from policies.optout import bind_opt_out
from policies.residue import Needle, count_copies, needle
from policies.retention import parse_duration
from policies.subjectkeys import KeyUnknown, new_pseudonym
from policies.tables import ERASURE, OPT_OUT, TEMPLATE

BACKUP_SECONDS = 7 * 86_400
"""How long backups of the key database are kept; a product choice, named in each receipt."""

PROOF = "proof that a past use was permitted (GDPR Art. 17(3)(e))"
"""The basis of what stays of a consent and of its uses."""

_DIGEST_CHARS = 64
_SIDE_FILES = ("", "-journal", "-wal")


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases people of one deployment; `controller` signs withdrawals and receipts."""

    consents: ConsentBook
    controller: SigningKey
    backup_seconds: int = BACKUP_SECONDS
    random: Callable[[int], bytes] = os.urandom

    def erase(
        self, pid: str, derivatives: Sequence[Derivative] = (), *, models: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Erase one pseudonym and return the signed receipt with its proof from the log.

        `derivatives` and `models` (trained with the person's pictures) are listed, not destroyed.
        For a pseudonym erased before, its first receipt. Raises KeyUnknown for one never seen,
        ErasureFailed when it cannot be completed now, and what database and key provider raise.
        """
        derived = list_derived(derivatives, models)
        row = self._row(pid) or self._request(pid)
        if row.state == "requested":
            row = self._note_needles(pid, row)
        # Ends come first: they wait for no clock, and nothing may be open beside a receipt.
        self._close(pid)
        if row.state != "receipted":
            self._refuse_rollback()
        if row.state != "requested" and self._shred_again(pid) and row.state == "proved":
            # A backup had brought the key back: what was proved before was proved of another file.
            row = self._move_on(pid, Row("shredded", row.document), old="proved")
        if row.state == "requested":
            row = self._shred(pid, row)
        if row.state == "shredded":
            row = self._prove(pid, row)
        if row.state == "proved":
            row = self._write_receipt(pid, row, derived)
        return self._give_out(row)

    def reapply(self) -> int:
        """Destroy again every key that an old backup brought back; return how many.

        To be run after the key database was restored, before anything else.
        """
        done = sa.select(ERASURE.c.pid).where(ERASURE.c.state != "requested")
        with self.consents.database.transaction() as connection:
            pids = connection.execute(done.order_by(ERASURE.c.pid)).scalars().all()
        return sum(self._shred_again(pid) for pid in pids)

    def _request(self, pid: str) -> Row:
        keys, now = self.consents.keys, self.consents.clock()
        found, request_id = keys.find(pid), self._new_id()
        if found.destroyed_at is not None:
            raise ErasureFailed(
                "the key of this pseudonym was destroyed without an erasure",
                mend="nothing of it opens any more; there is no receipt to give",
            )
        bound = {"kind": "erasure_check", "request_id": request_id}
        canary = keys.seal(request_id.encode(), pid=pid, bound=bound)
        keys.open(canary, pid=pid, bound=bound)
        commitment = CommitmentKey(keys.salt(pid)).commit("subject", pid)
        progress = Progress(
            request_id=request_id,
            requested_at=now,
            subject_commitment=commitment,
            dek_ids=(found.key_id,),
            kek_version=found.kek_version,
            needles=(*keys.needles(pid), *self._sealed_needles(pid)),
            canary=canary.hex(),
            checks=None,
        )
        row = Row("requested", progress.encode())
        values = {"pid": pid, "requested_at": now, "state": row.state, "document": row.document}
        with self.consents.database.transaction() as connection:
            connection.execute(sa.insert(ERASURE), values)
        return row

    def _shred(self, pid: str, row: Row) -> Row:
        """Take the opt-out away from the key that goes, and destroy the key."""
        self._move_opt_out(pid)
        self.consents.keys.destroy(pid)
        return self._move_on(pid, Row("shredded", row.document), old="requested")

    def _note_needles(self, pid: str, row: Row) -> Row:
        """Write down what to search for later, while it is still there.

        Since the request the key may have been wrapped anew, and a template may have been added.
        """
        keys = self.consents.keys
        if keys.shredded(pid):
            return row
        progress = read_progress(row)
        found = (*progress.needles, *keys.needles(pid), *self._sealed_needles(pid))
        now = {
            "needles": tuple(dict.fromkeys(found)),
            "kek_version": keys.find(pid).kek_version,
        }
        document = progress.model_copy(update=now).encode()
        return self._move_on(pid, Row("requested", document), old="requested")

    def _close(self, pid: str) -> list[str]:
        """End every consent of the person and take away what was sealed.

        Returns how the log names those that no event could end, because they are broken; whatever
        else fails is raised.
        """
        record_ids = self.consents.records_of(pid)
        broken = [one for one in record_ids if not self._end(one)]
        with self.consents.database.transaction() as connection:
            theirs = TEMPLATE.c.record_id.in_(record_ids)
            connection.execute(sa.delete(TEMPLATE).where(theirs))
            return sorted(self._name(one, connection) for one in broken)

    def _name(self, record_id: str, connection: sa.Connection) -> str:
        """Return a broken consent's commitment, or a mask where that column holds none."""
        name = self.consents.name_in_log(record_id, within=connection)
        is_digest = len(name) == _DIGEST_CHARS and set(name) <= set(string.hexdigits.lower())
        return name if is_digest else self.consents.commitment.commit("broken-consent", record_id)

    def _refuse_rollback(self) -> None:
        log, now = self.consents.log, self.consents.clock()
        with self.consents.database.transaction() as connection:
            log.refuse_rollback(now, within=connection)

    def _prove(self, pid: str, row: Row) -> Row:
        progress = read_progress(row)
        bound = {"kind": "erasure_check", "request_id": progress.request_id}
        try:
            self.consents.keys.open(bytes.fromhex(progress.canary), pid=pid, bound=bound)
        except KeyGone:
            pass
        else:
            raise ErasureFailed("what was sealed for this pseudonym still opens")
        files = self._files()
        if copies := count_copies(files, progress.needles):
            raise ErasureFailed(
                f"{copies} copies of what was erased stand in the database files",
                mend="stop other programs that use them, vacuum both databases, and erase again",
            )
        checks = Checks(
            decrypt_fails=True,
            copies_found=0,
            needles=len(progress.needles),
            files_searched=len(files),
        )
        proved = progress.model_copy(update={"checks": checks})
        return self._move_on(pid, Row("proved", proved.encode()), old="shredded")

    def _write_receipt(self, pid: str, row: Row, derived: Derived) -> Row:
        """Sign and log the receipt in one transaction: there is never one without the other."""
        progress = read_progress(row)
        if progress.checks is None:
            raise ErasureFailed("the erasure's row says proved, but holds no proof")
        standing = self.consents.keys.provider.standing(progress.kek_version)
        kek = {"version": progress.kek_version, "state": standing.state}
        body = {
            "schema": "facewarrant/erasure/1",
            "receipt_id": self._new_id(),
            "request_id": progress.request_id,
            "subject_commitment": progress.subject_commitment,
            "requested_at": progress.requested_at,
            "completed_at": self.consents.clock(),
            "method": "crypto-shred",
            "dek_ids": list(progress.dek_ids),
            "kek": kek | {"gone_at": standing.gone_at},
            "checks": progress.checks.model_dump(),
            "not_ended": self._close(pid),
            **derived.model_dump(mode="json"),
            "kept": self._kept(pid, destroyed=standing.state == "destroyed"),
        }
        receipt = sign_receipt(body, key=self.controller)
        entry = {"receipt": digest(receipt), "subject": progress.subject_commitment}
        with self.consents.database.transaction() as connection:
            index = self.consents.log.append("erasure", entry, within=connection).index
            document = canonical({"receipt": receipt, "index": index})
            return self._move_on(pid, Row("receipted", document), old="proved", within=connection)

    def _give_out(self, row: Row) -> dict[str, Any]:
        """Return a stored receipt with its proof, verified as whoever gets it will."""
        stored = parse(row.document, max_bytes=MAX_RECEIPT_BYTES)
        if stored.keys() != {"receipt", "index"}:
            raise ErasureFailed("the stored receipt is damaged", mend="restore the database")
        log = self.consents.log
        document = with_proof(stored["receipt"], log.prove(stored["index"]))
        controllers = (self.controller.public, *self.consents.controllers)
        verify_receipt(document, controllers=controllers, origin=log.origin, log_key=log.public)
        return document

    def _shred_again(self, pid: str) -> bool:
        keys = self.consents.keys
        try:
            return bool(keys.destroy(pid))
        except KeyUnknown:
            # The restored file is older than the person: there is nothing of them to open.
            return False

    def _end(self, record_id: str) -> bool:
        """Tell whether an event ends the consent now; False for one that is broken."""
        try:
            self.consents.end(record_id, controller=self.controller, reason="erasure was asked for")
        except StepRefused:
            raise  # by our own signature, not by what is stored: nothing may be claimed then
        except ConsentBroken:
            # Tampering must not prevent an erasure; its row keeps the consent closed if it mends.
            return False
        return True

    def _move_opt_out(self, pid: str) -> None:
        """Seal the person's opt-out, if there is one, under a new pseudonym that nothing links.

        It shares the key that is to go; losing it would open the door to the one who closed it, and
        a book with an entry that does not open denies everybody.
        """
        keys = self.consents.keys
        mine = sa.select(OPT_OUT).where(OPT_OUT.c.pid == pid)
        with self.consents.database.transaction() as connection:
            found = connection.execute(mine).one_or_none()
            if found is None:
                return
            bound = bind_opt_out(found.entry_id, found.model_sha256)
            fresh = new_pseudonym(self.random)
            vector = keys.open(found.ciphertext, pid=pid, bound=bound)
            moved = {"pid": fresh, "ciphertext": keys.seal(vector, pid=fresh, bound=bound)}
            connection.execute(sa.update(OPT_OUT).where(OPT_OUT.c.pid == pid).values(moved))

    def _sealed_needles(self, pid: str) -> list[Needle]:
        """Return the fingerprints of the person's sealed templates and opt-out."""
        theirs = TEMPLATE.c.record_id.in_(self.consents.records_of(pid))
        with self.consents.database.transaction() as connection:
            templates = connection.execute(sa.select(TEMPLATE.c.ciphertext).where(theirs))
            opt_outs = connection.execute(
                sa.select(OPT_OUT.c.ciphertext).where(OPT_OUT.c.pid == pid)
            )
            return [needle(data) for (data,) in (*templates, *opt_outs)]

    def _kept(self, pid: str, *, destroyed: bool) -> list[dict[str, Any]]:
        record_ids, now = self.consents.records_of(pid), self.consents.clock()
        kept = [
            _kept(
                "a consent record and its signed events, without the face template",
                PROOF,
                self._keep_until(record_id),
            )
            for record_id in record_ids
        ]
        kept += self._kept_mentions(record_ids)
        kept += [
            _kept("log entries with commitments and digests", "an append-only log is proof", None),
            _kept("the pseudonym, marked as erased", "it is never given to anybody again", None),
            _kept("an opt-out, if there is one", "it protects the person; removed on demand", None),
        ]
        if not destroyed and self.backup_seconds:
            until = now + self.backup_seconds
            kept.append(_kept("copies of the wrapped key in backups", "recovery", until))
        return kept

    def _kept_mentions(self, record_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return what still names those records, with how many there are of each kind."""
        with self.consents.database.transaction() as connection:
            found = find_mentions(record_ids, within=connection)
        lines = (
            (len(found.warrants), "signed warrants that name a record by its id", PROOF),
            (len(found.decisions), "decisions, whose facts name a record by its id", PROOF),
            (found.uses, "uses taken of a record", "they count how often it was used"),
            (found.shown, "places where a release names a record", "they find what was released"),
        )
        return [_kept(f"{count} {what}", basis, None) for count, what, basis in lines if count]

    def _keep_until(self, record_id: str) -> int | None:
        try:
            consent = self.consents.read_to_end(record_id)
        except ConsentBroken:
            return None
        # Signed or not, it ended with its date; as the sweep counts.
        ended = min(consent.state.since, consent.record.validity.expires)
        return parse_duration(consent.record.storage.retention).after(ended)

    def _files(self) -> list[Path]:
        """Return the database files there are, the main one's journal written back before.

        A PostgreSQL server's files are not ours to read: there, and in memory, only the keys'.
        """
        found = [self.consents.keys.path] if self.consents.keys.path else []
        if (main := self._main_path()) is not None:
            _flush(main)
            found.append(main)
        candidates = [path.with_name(path.name + side) for path in found for side in _SIDE_FILES]
        return [path for path in candidates if path.exists()]

    def _main_path(self) -> Path | None:
        with self.consents.database.transaction() as connection:
            url = connection.engine.url
        on_file = url.get_backend_name() == "sqlite" and url.database not in (None, ":memory:")
        return Path(str(url.database)) if on_file else None

    def _row(self, pid: str) -> Row | None:
        columns = sa.select(ERASURE.c.state, ERASURE.c.document).where(ERASURE.c.pid == pid)
        with self.consents.database.transaction() as connection:
            found = connection.execute(columns).one_or_none()
        return None if found is None else Row(found.state, found.document)

    def _move_on(self, pid: str, row: Row, *, old: str, within: sa.Connection | None = None) -> Row:
        """Write the next state, if the row still is in the old one: each step is taken once."""
        if within is None:
            with self.consents.database.transaction() as connection:
                return self._move_on(pid, row, old=old, within=connection)
        mine = sa.update(ERASURE).where(ERASURE.c.pid == pid, ERASURE.c.state == old)
        moved = within.execute(mine.values(state=row.state, document=row.document))
        if moved.rowcount != 1:
            raise ErasureFailed(
                "somebody else is erasing this person at the same time", mend="erase again"
            )
        return row

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self.random(16), version=4))


def _kept(what: str, basis: str, until: int | None) -> dict[str, Any]:
    return {"what": what, "basis": basis, "until": until}


def _flush(path: Path) -> None:
    """Write the write-ahead log back into its database and empty it; raise ErasureFailed.

    Until then deleted rows stay readable in the -wal file (measured, SQLite 3.40.1).
    """
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            busy = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
    except sqlite3.Error as error:
        raise ErasureFailed(f"the database's journal cannot be emptied: {error}") from error
    if busy:
        raise ErasureFailed(
            "another program reads the database, so its journal cannot be emptied",
            mend="erase again when it is done",
        )
