"""The book of consents: every record with its events, re-verified each time it is read.

Nothing is believed because it is in the database: an edited row breaks a signature or a link and
raises ConsentBroken. The columns beside a document are only an index; where they say something else
than the document, the document counts. Withdrawal takes effect with the commit that writes it, also
while the clock is behind, and every final step erases the face template in that commit. Once an
erasure is asked for, no consent of that person is open, whatever its events say. Refused: a second
key for one pseudonym, and a video whose challenge was not answered here or is named twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from policies.audit import AuditLog, last_time
from policies.challenge import redeem_challenge
from policies.consent import (
    CONFIRM_WITHIN_SECONDS,
    ENDS_ANY_TIME,
    FINAL,
    ConsentBroken,
    ConsentEvent,
    ConsentState,
    EventKind,
    StepRefused,
    fold,
    fold_next,
    make_event,
    newest_moment,
    read_event,
    sign,
    verify_record,
)
from policies.database import Database
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.keyprovider import KeyGone
from policies.keys import CommitmentKey, PublicKey, SigningKey
from policies.record import ConsentRecord, Signer, encode, read_record
from policies.subjectkeys import SubjectKeys
from policies.tables import CONSENT, CONSENT_EVENT, ERASURE, TEMPLATE


class ConsentUnknown(Error):
    """There is no consent record of that id."""

    code = "CONSENT-UNKNOWN"


class ConsentStale(Error):
    """A step that was signed elsewhere arrived too late to count."""

    code = "CONSENT-STALE"


class PseudonymTaken(Error):
    """The pseudonym belongs to somebody with another key; whoever names it would mean them."""

    code = "PSEUDONYM-TAKEN"


@dataclass(frozen=True, slots=True)
class Consent:
    """A verified record with its state at the moment it was read."""

    record: ConsentRecord
    state: ConsentState


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the database holds of one consent: its documents, and how the log names it."""

    record: ConsentRecord
    events: list[ConsentEvent]
    commitment: str


def bind_template(record_id: str, model_sha256: str) -> dict[str, str]:
    """Return what a sealed template is bound to beside its subject: one record, one model."""
    return {"kind": "template", "model_sha256": model_sha256, "record_id": record_id}


@dataclass(frozen=True, slots=True)
class ConsentBook:
    """Consents in a database; `controllers` are the keys whose signatures count.

    `keys` seals templates and holds the salt of each person's commitments; `commitment` is the
    deployment's own key, for what is not a person.
    """

    database: Database
    log: AuditLog
    keys: SubjectKeys
    controllers: Sequence[PublicKey]
    commitment: CommitmentKey
    clock: Callable[[], int]

    def seal(self, template: bytes, *, pid: str, record_id: str, model_sha256: str) -> bytes:
        """Return a face template sealed for one person, record and model."""
        return self.keys.seal(template, pid=pid, bound=bind_template(record_id, model_sha256))

    def add(self, record: ConsentRecord, sealed: bytes) -> None:
        """Store a signed record and its sealed template.

        Raises ConsentBroken when the signatures or the template's hash are wrong, ClockRollback for
        one dated ahead, KeyGone when the person was erased or asked for it, PseudonymTaken for
        another key than the person's, what `redeem_challenge` raises for a video, and
        StoreUnavailable when the id is taken.
        """
        verify_record(record, controllers=self.controllers, now=self.clock())
        if sha256_hex(sealed) != record.binding.template_sha256:
            raise ConsentBroken("the face template is not the one the record names")
        pid = record.subject.pid
        salt = CommitmentKey(self.keys.salt(pid))
        row = {
            "record_id": record.record_id,
            "pid": pid,
            "commitment": salt.commit("consent", record.record_id),
            "document": encode(record),
        }
        template = {"record_id": record.record_id, "ciphertext": sealed}
        with self.database.transaction() as connection:
            connection.execute(sa.insert(CONSENT), row)
            connection.execute(sa.insert(TEMPLATE), template)
            # In here: nothing that is asked before holds until the insert.
            if self._erased_at(pid, connection) is not None:
                raise KeyGone("this pseudonym was erased, or its erasure is under way")
            self._refuse_other_key(record, connection)
            liveness = record.binding.liveness
            if liveness.method == "video_challenge":
                redeem_challenge(liveness.nonce_sha256, record.record_id, within=connection)

    def append(
        self,
        record_id: str,
        kind: EventKind,
        *,
        keys: Mapping[Signer, SigningKey],
        reason: str = "",
    ) -> ConsentState:
        """Sign, check and store the next event of a consent, and log it in the same transaction.

        A final step erases the face template, as the signed record promises. What `ENDS_ANY_TIME`
        never waits for a clock that is behind: it is dated as the newest thing known. Raises
        ConsentUnknown, ConsentBroken, StepRefused (a step that is not allowed), ClockRollback,
        Malformed (a reason that is none) and StoreUnavailable.
        """
        with self.database.transaction() as connection:
            kept = self._load(connection, record_id)
            return self._append(connection, kept, kind, keys, reason)

    def end(self, record_id: str, *, controller: SigningKey, reason: str) -> None:
        """Withdraw a consent unless its events end it already; raises as `append` does."""
        with self.database.transaction() as connection:
            kept = self._load(connection, record_id)
            if kept.events and kept.events[-1].kind in FINAL:
                self._fold(kept, now=self._now(connection, kept))
            else:
                self._append(connection, kept, "withdrawn", {"controller": controller}, reason)

    def take(self, event: ConsentEvent) -> ConsentState:
        """Check and store a step that was signed elsewhere, on the person's own device.

        Giving and confirming count only while they are fresh, so that nobody is confirmed with a
        date of the past; withdrawing counts however late it arrives and however wrong the device's
        clock is. Raises ConsentStale, and what `append` raises; a step that was stored before is
        StepRefused.
        """
        now = self.clock()
        if event.kind in ("given", "confirmed") and now - event.at > CONFIRM_WITHIN_SECONDS:
            raise ConsentStale(
                f"'{event.kind}' was signed more than {CONFIRM_WITHIN_SECONDS} seconds ago",
                mend="ask the person again and send what they sign at once",
            )
        with self.database.transaction() as connection:
            kept = self._load(connection, event.record_id)
            if event.kind in ENDS_ANY_TIME:
                now = self._now(connection, kept)
            self._fold(kept, now=now)
            return self._store(connection, kept, event, now=now)

    def read(self, record_id: str, *, within: sa.Connection | None = None) -> Consent:
        """Return a record and its state now.

        Nothing of a person who was erased or asked for it is open: it reads as withdrawn. Raises
        ConsentUnknown, ConsentBroken, and ClockRollback when the clock is behind what was signed.
        """
        if within is None:
            with self.database.transaction() as connection:
                return self.read(record_id, within=connection)
        return self._judge(self._load(within, record_id), within, now=self.clock())

    def read_to_end(self, record_id: str) -> Consent:
        """Return what `read` does, for whoever is about to withdraw, while the clock is behind too.

        What was signed or logged counts as past then: permit nothing with the answer.
        """
        with self.database.transaction() as connection:
            kept = self._load(connection, record_id)
            return self._judge(kept, connection, now=self._now(connection, kept))

    def history(self, record_id: str) -> tuple[ConsentEvent, ...]:
        """Return the events of a consent, oldest first; raise ConsentUnknown or ConsentBroken."""
        with self.database.transaction() as connection:
            return tuple(self._load(connection, record_id).events)

    def record_ids(self) -> tuple[str, ...]:
        """Return the ids of all records, sorted."""
        with self.database.transaction() as connection:
            rows = connection.execute(sa.select(CONSENT.c.record_id).order_by(CONSENT.c.record_id))
            return tuple(rows.scalars())

    def records_of(self, pid: str) -> tuple[str, ...]:
        """Return the ids of one person's records, sorted; empty when there is none.

        A record that names somebody else is not theirs, whatever its row says. One that cannot be
        read is listed: an erasure must not leave it out, and reading it says what is wrong.
        """
        with self.database.transaction() as connection:
            rows = connection.execute(
                sa.select(CONSENT.c.record_id, CONSENT.c.document)
                .where(CONSENT.c.pid == pid)
                .order_by(CONSENT.c.record_id)
            ).all()
        return tuple(row.record_id for row in rows if _may_belong(row.document, pid))

    def template(self, record: ConsentRecord) -> bytes:
        """Return the decrypted face template of a verified record.

        Raises ConsentBroken when the stored blob is not the one the record names or was erased by a
        final step, KeyGone when the person was erased, and TemplateUnreadable when it does not
        open.
        """
        with self.database.transaction() as connection:
            ciphertext = connection.scalar(
                sa.select(TEMPLATE.c.ciphertext).where(TEMPLATE.c.record_id == record.record_id)
            )
        if ciphertext is None or sha256_hex(ciphertext) != record.binding.template_sha256:
            raise ConsentBroken("the stored face template is not the one the record names")
        bound = bind_template(record.record_id, record.binding.model_sha256)
        return self.keys.open(ciphertext, pid=record.subject.pid, bound=bound)

    def commit(self, record_id: str, *, within: sa.Connection | None = None) -> str:
        """Return the commitment under which logs and manifests name this consent.

        It is made once, with a salt that an erasure destroys. Raises ConsentUnknown.
        """
        if within is None:
            with self.database.transaction() as connection:
                return self.commit(record_id, within=connection)
        named = sa.select(CONSENT.c.commitment).where(CONSENT.c.record_id == record_id)
        commitment = within.scalar(named)
        if commitment is None:
            raise _unknown(record_id)
        return str(commitment)

    def name_in_log(self, record_id: str, *, within: sa.Connection) -> str:
        """Return the commitment of a consent, or a mask for an id that is no consent's.

        A refusal is logged also for ids that nobody knows. The mask is made with the deployment's
        own key: nobody's salt is behind such an id, and the log shows none as it was asked for.
        """
        try:
            return self.commit(record_id, within=within)
        except ConsentUnknown:
            return self.commitment.commit("unknown-consent", record_id)

    def find(self, commitment: str) -> str:
        """Return the record id behind a commitment; raise ConsentUnknown.

        Only `read` tells whether that row still is what the log says.
        """
        named = sa.select(CONSENT.c.record_id).where(CONSENT.c.commitment == commitment)
        with self.database.transaction() as connection:
            record_id = connection.scalar(named)
        if record_id is None:
            raise ConsentUnknown("no consent of this deployment has that commitment")
        return str(record_id)

    def _judge(self, kept: _Kept, connection: sa.Connection, *, now: int) -> Consent:
        state = self._fold(kept, now=now)
        at = None if state.status in FINAL else self._erased_at(kept.record.subject.pid, connection)
        if at is not None:
            state = replace(state, status="withdrawn", since=at)
        return Consent(kept.record, state)

    def _now(self, connection: sa.Connection, kept: _Kept) -> int:
        """Return the clock's time, or what is known to be past where the clock is behind that."""
        newest = newest_moment(kept.record, kept.events)
        return max(self.clock(), last_time(connection), newest)

    def _erased_at(self, pid: str, connection: sa.Connection) -> int | None:
        """Return since when a person's consents are over, None while nobody erased them."""
        # Either database is enough: the other one may have been restored from a backup.
        at: int | None = connection.scalar(
            sa.select(ERASURE.c.requested_at).where(ERASURE.c.pid == pid)
        )
        return self.keys.destroyed_at(pid) if at is None else at

    def _refuse_other_key(self, record: ConsentRecord, connection: sa.Connection) -> None:
        """Raise unless the person's key is the one in all their records."""
        pid = record.subject.pid
        rows = connection.execute(sa.select(CONSENT.c.document).where(CONSENT.c.pid == pid))
        try:
            known = {read_record(row.document).subject.key for row in rows}
        except Malformed as error:
            raise ConsentBroken("another record of this person cannot be read") from error
        if known != {record.subject.key}:
            raise PseudonymTaken(
                "this pseudonym belongs to somebody with another key",
                mend="sign with that person's key, or enrol under a new pseudonym",
            )

    def _load(self, connection: sa.Connection, record_id: str) -> _Kept:
        row = connection.execute(
            sa.select(CONSENT.c.pid, CONSENT.c.commitment, CONSENT.c.document).where(
                CONSENT.c.record_id == record_id
            )
        ).one_or_none()
        if row is None:
            raise _unknown(record_id)
        rows = connection.execute(
            sa.select(CONSENT_EVENT.c.document)
            .where(CONSENT_EVENT.c.record_id == record_id)
            .order_by(CONSENT_EVENT.c.seq)
        ).scalars()
        try:
            record, events = read_record(row.document), [read_event(event) for event in rows]
            newest = self.log.newest(row.commitment, within=connection) or {}
        except Malformed as error:
            raise ConsentBroken(f"what is stored is not a consent: {error.message}") from error
        if (record.record_id, record.subject.pid) != (record_id, row.pid):
            raise ConsentBroken("the stored record carries another id or person")
        # A withdrawal cut off the chain leaves a valid chain; the log still names the lost step.
        # A commitment that is not this record's leads to another step or to none.
        if newest.get("head") != (sha256_hex(encode(events[-1])) if events else None):
            raise ConsentBroken("the consent's newest event is not the one in the log")
        return _Kept(record, events, row.commitment)

    def _append(
        self,
        connection: sa.Connection,
        kept: _Kept,
        kind: EventKind,
        keys: Mapping[Signer, SigningKey],
        reason: str,
    ) -> ConsentState:
        now = self._now(connection, kept) if kind in ENDS_ANY_TIME else self.clock()
        state = self._fold(kept, now=now)
        step = {"seq": state.length, "prev": state.head, "kind": kind, "at": now}
        event = make_event(record_id=kept.record.record_id, reason=reason, **step)
        for by, key in keys.items():
            event = sign(event, by=by, key=key, at=now)
        return self._store(connection, kept, event, now=now)

    def _fold(self, kept: _Kept, *, now: int) -> ConsentState:
        return fold(kept.record, kept.events, controllers=self.controllers, now=now)

    def _store(
        self, connection: sa.Connection, kept: _Kept, event: ConsentEvent, *, now: int
    ) -> ConsentState:
        record, ends = kept.record, event.kind in FINAL
        state = fold_next(record, kept.events, event, controllers=self.controllers, now=now)
        if not ends and self._erased_at(record.subject.pid, connection) is not None:
            raise StepRefused("the person was erased; nothing of theirs opens again")
        connection.execute(
            sa.insert(CONSENT_EVENT),
            {"record_id": record.record_id, "seq": event.seq, "document": encode(event)},
        )
        content = {
            "subject": kept.commitment,
            "event": event.kind,
            "seq": event.seq,
            "head": state.head,
        }
        anyway = event.kind in ENDS_ANY_TIME
        self.log.append("consent_event", content, within=connection, never_wait=anyway)
        if ends:
            erase = sa.delete(TEMPLATE).where(TEMPLATE.c.record_id == record.record_id)
            connection.execute(erase)
        return state


def _may_belong(document: bytes, pid: str) -> bool:
    try:
        return read_record(document).subject.pid == pid
    except Malformed:
        return True


def _unknown(record_id: str) -> ConsentUnknown:
    return ConsentUnknown(
        f"there is no consent {record_id}",
        mend="list the consents with 'facewarrant consent show', or grant one",
    )
