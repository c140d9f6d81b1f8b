"""A receipt says what the signed record and its events say, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from policies.canonical import canonical
from policies.consent import DPV_STATE, FINAL, ConsentBroken, fold, read_event
from policies.receipt import CONTEXT, Receipt, make_receipt
from policies.record import encode, read_record

NOW = 1_795_219_200
DAY = 86_400


def receipt_of(office: Any, record_id: str) -> Receipt:
    return make_receipt(office.book.read(record_id), office.book.history(record_id))


@pytest.fixture
def receipt(office: Any) -> Receipt:
    return receipt_of(office, office.enrol(opted_in=["political"], prohibited=["tobacco"]))


def test_the_parts_and_names_of_the_standard(office: Any, receipt: Receipt) -> None:
    document, record = receipt.document(), receipt.record
    assert list(document) == [
        "@context", "@id", "@type", "header", "processing", "parties", "events",
    ]  # fmt: skip
    assert document["@type"] == "dpv:ConsentReceipt"
    header = document["header"]
    assert header["dct:identifier"] == receipt.receipt_id
    assert header["dct:conformsTo"] == "urn:facewarrant:receipt:1"
    assert header["dpv:hasRecordOfActivity"]["dct:conformsTo"] == "facewarrant/consent/1"
    assert header["dpv:hasDataSubject"]["dpv:hasIdentifier"] == record.subject.pid
    assert (header["fw:hasConsentState"], header["fw:status"]) == ("dpv:ConsentGiven", "confirmed")
    processing = document["processing"]
    assert processing["dpv:hasPurpose"] == ["fw:purpose:film_vfx", "fw:purpose:personal"]
    assert processing["dpv:hasJurisdiction"] == ["DE", "FR"]
    assert processing["dpv:hasPersonalData"] == [
        {"@type": ["pd:FacialPrint", "dpv:SpecialCategoryPersonalData"],
         "dpv:hasNecessity": "dpv:Required"},
    ]  # fmt: skip
    assert processing["dpv:hasStorageCondition"] == [
        {"@type": "dpv:StorageLocation", "dpv:hasLocation": "Testville, DE"},
        {"@type": "dpv:StorageDuration", "dpv:hasDuration": "P1Y"},
    ]
    assert processing["fw:expires"] == "2026-12-21T00:00:00Z"
    assert processing["fw:scope"]["opted_in"] == ["political"]
    assert processing["fw:scope"]["prohibited"] == ["tobacco"]
    controller = document["parties"]["dpv:hasDataController"]
    assert controller["dpv:hasName"] == "Test Controller"
    events = document["events"]["dpv:hasConsentStatus"]
    assert [event["@type"] for event in events] == ["dpv:ConsentRequested", "dpv:ConsentGiven"]
    assert events[0]["dpv:isIndicatedBy"] == ["subject", "controller"]
    assert events[0]["dpv:isIndicatedAtTime"] == "2026-11-21T00:00:00Z"


def test_optional_data_is_said_to_be_optional(office: Any) -> None:
    kind = {"type": "pd:Picture", "special": True, "required": False}
    receipt = receipt_of(office, office.enrol(personal_data=[kind]))
    (data,) = receipt.document()["processing"]["dpv:hasPersonalData"]
    assert data["dpv:hasNecessity"] == "dpv:Optional"


def test_what_was_signed_can_be_verified_from_the_receipt_alone(
    office: Any, receipt: Receipt
) -> None:
    document = json.loads(receipt.encode())
    assert receipt.encode() == canonical(document)
    record = read_record(document["header"]["dpv:hasRecordOfActivity"]["fw:document"].encode())
    steps = document["events"]["dpv:hasConsentStatus"]
    events = [read_event(step["fw:document"].encode()) for step in steps]
    controllers = [office.controller.public]
    assert fold(record, events, controllers=controllers, now=NOW) == receipt.state


def test_the_context_is_in_the_receipt_and_names_every_prefix(receipt: Receipt) -> None:
    """Nothing is fetched: the context is an object, and no term needs another one."""
    document = receipt.document()
    assert document["@context"] == CONTEXT
    assert isinstance(document["@context"], dict)
    text = json.dumps({key: value for key, value in document.items() if key != "@context"})
    terms = set(re.findall(r'"(\w+):(?!//)\w+[^"]*": ', text))
    assert terms == {"dct", "dpv", "fw"} <= set(CONTEXT)
    assert set(re.findall(r'"(pd|xsd|dpv):', text)) <= set(CONTEXT)


def test_the_same_state_is_the_same_receipt(office: Any) -> None:
    record_id = office.enrol()
    first = receipt_of(office, record_id)
    office.clock.now += 5
    assert receipt_of(office, record_id) == first
    office.withdraw(record_id)
    second = receipt_of(office, record_id)
    assert second.receipt_id != first.receipt_id
    assert second.document()["header"]["fw:since"] == "2026-11-21T00:00:05Z"
    office.clock.now += 40 * DAY
    other = receipt_of(office, office.enrol(validity={"expires": NOW + 90 * DAY}))
    assert other.receipt_id not in (first.receipt_id, second.receipt_id)
    expired = office.enrol(validity={"expires": office.clock.now + 1})
    before = receipt_of(office, expired)
    office.clock.now += 1
    after = receipt_of(office, expired)
    assert (before.state.head, after.state.status) == (after.state.head, "expired")
    assert after.receipt_id != before.receipt_id


def test_a_history_of_something_else_is_refused(office: Any) -> None:
    one, two = office.enrol(), office.enrol()
    consent, history = office.book.read(one), office.book.history(one)
    for wrong in ((), history[:1], history[1:], office.book.history(two), (*history, *history)):
        with pytest.raises(ConsentBroken) as caught:
            make_receipt(consent, wrong)
        assert caught.value.code == "CONSENT-BROKEN"


def test_a_receipt_before_anything_was_given(office: Any) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    document = receipt_of(office, record.record_id).document()
    assert document["events"] == {"dpv:hasConsentStatus": []}
    assert document["header"]["fw:hasConsentState"] == "dpv:ConsentRequested"


@pytest.mark.parametrize("kind", sorted(FINAL))
def test_every_end_has_its_name(office: Any, kind: Any) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    both = office.keys(record.record_id, "subject", "controller")
    office.book.append(record.record_id, "given", keys=both)
    office.clock.now += 30 * DAY
    office.book.append(record.record_id, kind, keys=both, reason="an end")
    document = receipt_of(office, record.record_id).document()
    last = document["events"]["dpv:hasConsentStatus"][-1]
    assert last["@type"] == f"dpv:{DPV_STATE[kind]}" == document["header"]["fw:hasConsentState"]
    assert (last["fw:kind"], last["fw:reason"]) == (kind, "an end")


def test_no_template_and_no_key_is_in_a_receipt(office: Any) -> None:
    record_id = office.enrol(face=b"the numbers of a face")
    data = receipt_of(office, record_id).encode()
    assert b"the numbers of a face" not in data
    assert office.subjects[record_id].to_pem() not in data
    record = office.book.read(record_id).record
    assert office.subject_keys.salt(record.subject.pid).hex().encode() not in data
    assert encode(record).decode() in json.loads(data)["header"]["dpv:hasRecordOfActivity"].values()


def test_a_receipt_cannot_be_edited(receipt: Receipt) -> None:
    with pytest.raises(AttributeError):
        receipt.receipt_id = "x"  # type: ignore[misc]
    assert replace(receipt, receipt_id="x").document()["@id"] == "urn:uuid:x"
