"""The receipt of a consent, for machines: the record's fields under their DPV names.

A receipt is made from a verified consent and its events and says nothing of its own. It follows the
parts of ISO/IEC TS 27560:2023 (header, processing, parties, events) with terms of W3C DPV 2 as
JSON-LD. Its context is written into it and is never fetched. The signed bytes of the record and of
every event go along, so that whoever holds the keys' ids can verify what they were told. Refused: a
history that is not the one the consent's state was folded from. The words for people are in
`receipt_words.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policies.canonical import canonical
from policies.consent import DPV_STATE, ConsentBroken, ConsentEvent, ConsentState
from policies.consents import Consent
from policies.digest import sha256_hex
from policies.record import ConsentRecord, encode

SCHEMA = "urn:facewarrant:receipt:1"

CONTEXT: dict[str, Any] = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    # What DPV has no term for: scopes of a likeness, signatures, templates.
    "fw": "urn:facewarrant:term:",
    # The four parts only group; their members belong to the receipt itself.
    **dict.fromkeys(("header", "processing", "parties", "events"), "@nest"),
    **{
        name: {"@type": "@id"}
        for name in ("dpv:hasPurpose", "dpv:hasLegalBasis", "fw:hasConsentState")
    },
    **{
        name: {"@type": "xsd:dateTime"}
        for name in ("dpv:isIndicatedAtTime", "fw:notBefore", "fw:expires", "fw:since")
    },
}
"""The JSON-LD context of every receipt; part of the receipt, not an address."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A consent as it stood at one moment; `receipt_id` is the same for the same state."""

    receipt_id: str
    record: ConsentRecord
    state: ConsentState
    history: tuple[ConsentEvent, ...]

    def document(self) -> dict[str, Any]:
        """Return the receipt as a JSON-LD object."""
        return {
            "@context": CONTEXT,
            "@id": f"urn:uuid:{self.receipt_id}",
            "@type": "dpv:ConsentReceipt",
            "header": _header(self),
            "processing": _processing(self.record),
            "parties": _parties(self.record),
            "events": _events(self),
        }

    def encode(self) -> bytes:
        """Return the receipt as canonical JSON bytes."""
        return canonical(self.document())


def make_receipt(consent: Consent, history: Sequence[ConsentEvent]) -> Receipt:
    """Return the receipt of a consent with the events that `ConsentBook.history` gives for it.

    Raises ConsentBroken when the events are not the ones behind the consent's state.
    """
    newest = encode(history[-1] if history else consent.record)
    if (len(history), sha256_hex(newest)) != (consent.state.length, consent.state.head):
        raise ConsentBroken("the history is not the one behind the consent's state")
    record_id, state = consent.record.record_id, consent.state
    # Name-based, so that asking twice gives one receipt; it is an id and protects nothing.
    receipt_id = uuid.uuid5(uuid.UUID(record_id), f"{state.status} {state.head}")
    return Receipt(str(receipt_id), consent.record, state, tuple(history))


def date_time(at: int) -> str:
    """Return a unix time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _header(receipt: Receipt) -> dict[str, Any]:
    record, state = receipt.record, receipt.state
    return {
        "dct:identifier": receipt.receipt_id,
        "dct:conformsTo": SCHEMA,
        "dpv:hasRecordOfActivity": {
            "@id": f"urn:uuid:{record.record_id}",
            "@type": "dpv:ConsentRecord",
            "dct:identifier": record.record_id,
            "dct:conformsTo": record.schema_,
            "fw:sha256": sha256_hex(encode(record)),
            "fw:document": encode(record).decode(),
        },
        "dpv:hasDataSubject": {
            "@type": "dpv:DataSubject",
            "dpv:hasIdentifier": record.subject.pid,
            "fw:key": record.subject.key,
        },
        "fw:hasConsentState": f"dpv:{DPV_STATE[state.status]}",
        "fw:status": state.status,
        "fw:since": date_time(state.since),
    }


def _processing(record: ConsentRecord) -> dict[str, Any]:
    return {
        "dpv:hasNotice": {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": f"{record.notice.id} {record.notice.version}",
            "dct:language": record.notice.language,
            "fw:sha256": record.notice.sha256,
        },
        "dpv:hasLegalBasis": "dpv:ExplicitlyExpressedConsent",
        "dpv:hasPurpose": [f"fw:purpose:{purpose}" for purpose in record.purposes],
        "dpv:hasPersonalData": [
            {
                "@type": [kind.type, "dpv:SpecialCategoryPersonalData"],
                "dpv:hasNecessity": "dpv:Required" if kind.required else "dpv:Optional",
            }
            for kind in record.personal_data
        ],
        "dpv:hasStorageCondition": [
            *(
                {"@type": "dpv:StorageLocation", "dpv:hasLocation": place}
                for place in record.storage.locations
            ),
            {"@type": "dpv:StorageDuration", "dpv:hasDuration": record.storage.retention},
        ],
        "dpv:hasJurisdiction": list(record.territories),
        "dpv:hasConsentControl": {
            "@type": "dpv:WithdrawConsent",
            "dct:description": record.withdrawal.method,
            "dpv:isExercisedAt": record.withdrawal.url,
        },
        "dpv:hasRight": record.rights,
        "dpv:hasImpactAssessment": record.dpia_ref,
        "fw:notBefore": date_time(record.validity.not_before),
        "fw:expires": date_time(record.validity.expires),
        "fw:scope": _scope(record),
    }


def _scope(record: ConsentRecord) -> dict[str, Any]:
    """Return what DPV has no words for, under the record's own names."""
    own = {"roles", "media", "audiences", "counterparties", "assets", "prohibited", "limits"}
    more = {"addenda", "compensation_ref"}
    scope = record.model_dump(mode="json", include=own | more)
    return scope | {"opted_in": list(record.opted_in_categories)}


def _parties(record: ConsentRecord) -> dict[str, Any]:
    return {
        "dpv:hasDataController": {
            "@type": "dpv:DataController",
            "dpv:hasIdentifier": record.controller.id,
            "dpv:hasName": record.controller.name,
            "dpv:hasAddress": record.controller.address,
            "dpv:hasContact": record.controller.contact,
            "fw:partyType": record.controller.type,
        },
        "dpv:hasAuthority": record.authority,
        "dpv:hasRecipient": list(record.recipients),
    }


def _events(receipt: Receipt) -> dict[str, Any]:
    return {
        "dpv:hasConsentStatus": [
            {
                "@type": f"dpv:{DPV_STATE[event.kind]}",
                "dpv:isIndicatedAtTime": date_time(event.at),
                "dpv:isIndicatedBy": [block.by for block in event.signatures],
                "fw:kind": event.kind,
                "fw:reason": event.reason,
                "fw:document": encode(event).decode(),
            }
            for event in receipt.history
        ]
    }
