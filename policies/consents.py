"""The book of consents: every record with its events, re-verified each time it is read.

Nothing is believed because it is in the database: an edited row breaks a signature or a link and
raises ConsentBroken. Withdrawal takes effect with the commit that writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from policies.audit import AuditLog
from policies.consent import (
    ConsentBroken,
    ConsentEvent,
    ConsentRecord,
    ConsentState,
    EventKind,
    Signer,
    encode,
    fold,
    make_event,
    read_event,
    read_record,
    sign,
    verify_record,
)
from policies.database import CONSENT, CONSENT_EVENT, TEMPLATE, Database
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.keys import CommitmentKey, PublicKey, SigningKey
from policies.vault import SealedTemplate, Vault


class ConsentUnknown(Error):
    """There is no consent record of that id."""

    code = "CONSENT-UNKNOWN"


@dataclass(frozen=True, slots=True)
class Consent:
    """A verified record with its state at the moment it was read."""

    record: ConsentRecord
    state: ConsentState


@dataclass(frozen=True, slots=True)
class ConsentBook:
    """Consents in a database; `controllers` are the keys whose signatures count."""

    database: Database
    log: AuditLog
    vault: Vault
    controllers: Sequence[PublicKey]
    commitment: CommitmentKey
    clock: Callable[[], int]

    def add(self, record: ConsentRecord, template: SealedTemplate) -> None:
        """Store a signed record and its sealed template.

        Raises ConsentBroken when the signatures or the template's hash are wrong, and
        StoreUnavailable when the id is taken.
        """
        verify_record(record, controllers=self.controllers)
        if sha256_hex(template.ciphertext) != record.binding.template_sha256:
            raise ConsentBroken("the face template is not the one the record names")
        with self.database.transaction() as connection:
            connection.execute(
                sa.insert(CONSENT), {"record_id": record.record_id, "document": encode(record)}
            )
            connection.execute(
                sa.insert(TEMPLATE),
                {
                    "record_id": record.record_id,
                    "wrapped_key": template.wrapped_key,
                    "ciphertext": template.ciphertext,
                },
            )

    def append(
        self,
        record_id: str,
        kind: EventKind,
        *,
        keys: dict[Signer, SigningKey],
        reason: str = "",
    ) -> ConsentState:
        """Sign, check and store the next event of a consent, and log it in the same transaction.

        A withdrawal erases the face template with it, as the signed record promises.

        Returns the new state. Raises ConsentUnknown, ConsentBroken (a step that is not allowed) and
        StoreUnavailable.
        """
        now = self.clock()
        with self.database.transaction() as connection:
            record, events = self._load(connection, record_id)
            state = fold(record, events, controllers=self.controllers, now=now)
            step = {"seq": len(events), "prev": state.head, "kind": kind, "at": now}
            event = make_event(record_id=record_id, reason=reason, **step)
            for by, key in keys.items():
                event = sign(event, by=by, key=key, at=now)
            state = self._store(connection, record, [*events, event], now=now)
            if kind == "withdrawn":
                connection.execute(sa.delete(TEMPLATE).where(TEMPLATE.c.record_id == record_id))
            return state

    def read(self, record_id: str, *, within: sa.Connection | None = None) -> Consent:
        """Return a record and its state now; raise ConsentUnknown or ConsentBroken."""
        if within is None:
            with self.database.transaction() as connection:
                return self.read(record_id, within=connection)
        record, events = self._load(within, record_id)
        return Consent(record, fold(record, events, controllers=self.controllers, now=self.clock()))

    def history(self, record_id: str) -> tuple[ConsentEvent, ...]:
        """Return the events of a consent, oldest first; raise ConsentUnknown or ConsentBroken."""
        with self.database.transaction() as connection:
            return tuple(self._load(connection, record_id)[1])

    def record_ids(self) -> tuple[str, ...]:
        """Return the ids of all records, sorted."""
        with self.database.transaction() as connection:
            rows = connection.execute(sa.select(CONSENT.c.record_id).order_by(CONSENT.c.record_id))
            return tuple(rows.scalars())

    def template(self, record: ConsentRecord) -> bytes:
        """Return the decrypted face template of a verified record.

        Raises ConsentBroken when the stored blob is not the one the record names or was erased by a
        withdrawal, and TemplateUnreadable when it does not open.
        """
        with self.database.transaction() as connection:
            row = connection.execute(
                sa.select(TEMPLATE.c.wrapped_key, TEMPLATE.c.ciphertext).where(
                    TEMPLATE.c.record_id == record.record_id
                )
            ).one_or_none()
        if row is None or sha256_hex(row.ciphertext) != record.binding.template_sha256:
            raise ConsentBroken("the stored face template is not the one the record names")
        return self.vault.open(
            SealedTemplate(row.wrapped_key, row.ciphertext),
            record_id=record.record_id,
            model_sha256=record.binding.model_sha256,
        )

    def commit(self, record_id: str) -> str:
        """Return the commitment under which logs and manifests name this consent."""
        return self.commitment.commit("consent", record_id)

    def find(self, commitment: str) -> str:
        """Return the record id behind a commitment; raise ConsentUnknown."""
        for record_id in self.record_ids():
            if self.commit(record_id) == commitment:
                return record_id
        raise ConsentUnknown("no consent of this deployment has that commitment")

    def _load(
        self, connection: sa.Connection, record_id: str
    ) -> tuple[ConsentRecord, list[ConsentEvent]]:
        document = connection.scalar(
            sa.select(CONSENT.c.document).where(CONSENT.c.record_id == record_id)
        )
        if document is None:
            raise ConsentUnknown(
                f"there is no consent {record_id}",
                mend="list the consents with 'facewarrant consent show', or grant one",
            )
        rows = connection.execute(
            sa.select(CONSENT_EVENT.c.document)
            .where(CONSENT_EVENT.c.record_id == record_id)
            .order_by(CONSENT_EVENT.c.seq)
        ).scalars()
        try:
            record, events = read_record(document), [read_event(row) for row in rows]
            newest = self.log.newest(self.commit(record_id), within=connection) or {}
        except Malformed as error:
            raise ConsentBroken(f"what is stored is not a consent: {error.message}") from error
        if record.record_id != record_id:
            raise ConsentBroken("the stored record carries another id")
        # A withdrawal cut off the chain leaves a valid chain; the log still names the lost step.
        if newest.get("head") != (sha256_hex(encode(events[-1])) if events else None):
            raise ConsentBroken("the consent's newest event is not the one in the log")
        return record, events

    def _store(
        self,
        connection: sa.Connection,
        record: ConsentRecord,
        events: list[ConsentEvent],
        *,
        now: int,
    ) -> ConsentState:
        state = fold(record, events, controllers=self.controllers, now=now)
        event = events[-1]
        connection.execute(
            sa.insert(CONSENT_EVENT),
            {"record_id": record.record_id, "seq": event.seq, "document": encode(event)},
        )
        content = {
            "subject": self.commit(record.record_id),
            "event": event.kind,
            "seq": event.seq,
            "head": state.head,
        }
        self.log.append("consent_event", content, within=connection)
        return state
