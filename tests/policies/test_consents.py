"""The book believes no row: edited, cut or swapped ones permit nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from policies.canonical import parse
from policies.consent import ConsentBroken, encode, make_event, sign
from policies.consents import ConsentUnknown
from policies.database import CONSENT_EVENT, TEMPLATE, Database
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
from policies.keys import SigningKey
from policies.vault import TemplateUnreadable, Vault

NOW = 1_795_219_200
Tamper = Callable[..., None]
STRANGER = SigningKey.from_seed(b"x" * 32)
UNKNOWN = "00000000-0000-7000-8000-0000000000ff"


def refuse(office: Any, record_id: str, error: type[Exception] = ConsentBroken) -> None:
    with pytest.raises(error):
        office.book.read(record_id)


def test_from_request_to_withdrawal(office: Any) -> None:
    record, template = office.record()
    office.book.add(record, template)
    read = office.book.read(record.record_id)
    assert (read.record, read.state.status) == (record, "requested")
    keys = office.keys(record.record_id, "subject", "controller")
    assert office.book.append(record.record_id, "given", keys=keys).status == "given"
    one = office.keys(record.record_id, "subject")
    assert office.book.append(record.record_id, "confirmed", keys=one).status == "confirmed"
    office.clock.now += 5
    state = office.book.append(record.record_id, "withdrawn", keys=one, reason="my own")
    assert (state.status, state.since, state.length) == ("withdrawn", NOW + 5, 3)
    assert office.book.read(record.record_id).state == state
    history = office.book.history(record.record_id)
    assert [event.kind for event in history] == ["given", "confirmed", "withdrawn"]
    assert history[2].reason == "my own"


def test_every_event_is_logged_without_an_identity(office: Any) -> None:
    record_id = office.enrol()
    entries = office.log.entries()
    assert [entry["event"] for entry in entries] == ["given", "confirmed"]
    assert {entry["subject"] for entry in entries} == {office.book.commit(record_id)}
    assert entries[-1]["head"] == office.book.read(record_id).state.head
    assert record_id not in str(entries)
    assert "ps_" not in str(entries)


def test_ids_and_commitments(office: Any) -> None:
    ids = [office.enrol(), office.enrol()]
    assert office.book.record_ids() == tuple(sorted(ids))
    for record_id in ids:
        assert office.book.find(office.book.commit(record_id)) == record_id
    with pytest.raises(ConsentUnknown):
        office.book.find("0" * 64)


@pytest.mark.parametrize("record_id", [UNKNOWN, "", "x", "' or 1=1 --"])
def test_an_unknown_consent(office: Any, record_id: str) -> None:
    for ask in (office.book.read, office.book.history):
        with pytest.raises(ConsentUnknown) as caught:
            ask(record_id)
        assert caught.value.code == "CONSENT-UNKNOWN"
    with pytest.raises(ConsentUnknown):
        office.book.append(record_id, "withdrawn", keys={})


def test_an_id_that_is_not_text(office: Any) -> None:
    with pytest.raises(StoreUnavailable):
        office.book.read("\ud800")


def test_what_cannot_be_added(office: Any) -> None:
    record, template = office.record()
    unsigned = record.model_copy(update={"signatures": record.signatures[:1]})
    with pytest.raises(ConsentBroken, match="not signed by: controller"):
        office.book.add(unsigned, template)
    other = office.record()[1]
    with pytest.raises(ConsentBroken, match="template"):
        office.book.add(record, other)
    edited = record.model_copy(update={"max_uses": 10_000})
    with pytest.raises(ConsentBroken, match="does not verify"):
        office.book.add(edited, template)
    assert office.book.record_ids() == ()
    office.book.add(record, template)
    with pytest.raises(StoreUnavailable):
        office.book.add(record, template)


@pytest.mark.parametrize(
    ("kind", "signers"),
    [
        ("confirmed", ("subject",)),
        ("revoked", ("controller",)),
        ("given", ("subject",)),
        ("given", ("controller",)),
        ("given", ()),
        ("withdrawn", ("controller",)),
    ],
)
def test_a_step_that_is_not_allowed_leaves_nothing(
    office: Any, kind: Any, signers: tuple[Any, ...]
) -> None:
    record, template = office.record()
    office.book.add(record, template)
    keys = office.keys(record.record_id, *signers)
    with pytest.raises(ConsentBroken):
        office.book.append(record.record_id, kind, keys=keys)
    assert office.book.history(record.record_id) == ()
    assert office.log.entries() == []


@pytest.mark.parametrize("change", [{"reason": "x" * 401}, {"kind": "renewed"}])
def test_a_malformed_step(office: Any, change: dict[str, Any]) -> None:
    record_id = office.enrol()
    fields: dict[str, Any] = {"kind": "withdrawn", "reason": ""} | change
    with pytest.raises(Malformed):
        office.book.append(record_id, keys=office.keys(record_id, "subject"), **fields)


def test_a_strangers_withdrawal_or_revival_is_refused(office: Any) -> None:
    record_id = office.enrol()
    with pytest.raises(ConsentBroken):
        office.book.append(record_id, "withdrawn", keys={"subject": STRANGER})
    office.withdraw(record_id)
    both = office.keys(record_id, "subject", "controller")
    for kind in ("given", "confirmed", "withdrawn"):
        with pytest.raises(ConsentBroken, match="after 'withdrawn'"):
            office.book.append(record_id, kind, keys=both)
    assert office.book.read(record_id).state.status == "withdrawn"


def test_a_clock_set_back_breaks_the_chain(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now -= 1
    refuse(office, record_id)
    with pytest.raises(ConsentBroken):
        office.withdraw(record_id)


def test_expiry_needs_no_event(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now += 30 * 86_400
    assert office.book.read(record_id).state.status == "expired"


EDITS = {
    "a record's byte": "update consent set document = "
    "cast(replace(document, '\"DE\"', '\"US\"') as blob)",
    "a record as text": "update consent set document = cast(document as text)",
    "a record as number": "update consent set document = 7",
    "a record emptied": "update consent set document = x''",
    "an event's byte": "update consent_event set document = "
    "cast(replace(document, 'confirmed', 'withdrawn') as blob)",
    "an event as text": "update consent_event set document = cast(document as text) where seq = 1",
    "the last event cut": "delete from consent_event where seq = 1",
    "the first event cut": "delete from consent_event where seq = 0",
    "all events cut": "delete from consent_event",
    "events reordered": "update consent_event set seq = 5 - seq",
    "the log's entry edited": "update log_entry set data = "
    "cast(replace(data, '\"seq\":1', '\"head\":1') as blob)",
    "the log's entries cut": "delete from log_entry",
    "the log's newest entry cut": "delete from log_entry where i = 1",
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_row_permits_nothing(office: Any, tamper: Tamper, name: str) -> None:
    record_id = office.enrol()
    assert office.book.read(record_id).state.status == "confirmed"
    tamper(office.database, EDITS[name])
    refuse(office, record_id)


def test_a_withdrawal_cut_out_of_the_database_does_not_revive(office: Any, tamper: Tamper) -> None:
    record_id = office.enrol()
    office.withdraw(record_id)
    tamper(office.database, "delete from consent_event where seq = 2")
    refuse(office, record_id)
    tamper(office.database, "delete from log_entry where i = 2")  # now both halves agree again ...
    assert office.book.read(record_id).state.status == "confirmed"
    with pytest.raises(Exception, match="entries do not lead"):  # ... and the log itself does not
        office.log.check()


def test_one_persons_rows_under_another_id(office: Any, tamper: Tamper) -> None:
    one, two = office.enrol(), office.enrol()
    tamper(
        office.database,
        "update consent set document = (select document from consent where record_id = ?) "
        "where record_id = ?",
        one,
        two,
    )
    with pytest.raises(ConsentBroken, match="another id"):
        office.book.read(two)


def test_an_event_that_was_inserted_behind_the_book(office: Any) -> None:
    """Signed by the right keys, linked, but never logged: not taken."""
    record_id = office.enrol()
    last = office.book.history(record_id)[-1]
    event = make_event(
        record_id=record_id, seq=2, prev=sha256_hex(encode(last)), kind="withdrawn", at=NOW,
        reason="",
    )  # fmt: skip
    event = sign(event, by="subject", key=office.subjects[record_id], at=NOW)
    row = {"record_id": record_id, "seq": 2, "document": encode(event)}
    with office.database.transaction() as connection:
        connection.execute(sa.insert(CONSENT_EVENT), row)
    refuse(office, record_id)


def test_the_template_of_the_record(office: Any) -> None:
    record_id = office.enrol()
    record = office.book.read(record_id).record
    assert office.book.template(record) == b"template 1"


def test_a_template_that_is_not_the_records(office: Any, tamper: Tamper) -> None:
    one, two = office.enrol(), office.enrol()
    record = office.book.read(one).record
    other = replace(office.book, vault=Vault(b"z" * 32))
    with pytest.raises(TemplateUnreadable):
        other.template(record)
    move = (
        "update template set {0} = (select {0} from template where record_id = ?) "
        "where record_id = ?"
    )
    tamper(office.database, move.format("wrapped_key"), two, one)
    with pytest.raises(TemplateUnreadable):
        office.book.template(record)
    tamper(office.database, move.format("ciphertext"), two, one)
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(record)
    tamper(office.database, "delete from template where record_id = ?", one)
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(record)


def test_a_database_that_is_gone_is_an_error_of_ours(office: Any) -> None:
    record_id = office.enrol()
    gone = replace(office.book, database=Database("sqlite://"))
    with pytest.raises(ConsentUnknown):
        gone.read(record_id)
    with office.database.transaction() as connection:
        connection.exec_driver_sql("drop table consent_event")
    refuse(office, record_id, StoreUnavailable)


def test_no_name_or_address_is_in_a_record(office: Any) -> None:
    subject = parse(encode(office.record()[0]))["subject"]
    assert set(subject) == {"pid", "key", "age_assurance"}


def test_withdrawal_erases_that_template_and_no_other(office: Any) -> None:
    one, two = office.enrol(), office.enrol()
    rows = sa.select(TEMPLATE)
    with office.database.transaction() as connection:
        before = {row.record_id: row for row in connection.execute(rows)}
    office.withdraw(one)
    with office.database.transaction() as connection:
        kept = connection.execute(rows).all()
    assert [row.record_id for row in kept] == [two]
    held = b"".join(row.wrapped_key + row.ciphertext for row in kept)
    assert before[one].wrapped_key not in held
    assert before[one].ciphertext not in held
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(office.book.read(one).record)


def test_a_withdrawal_that_fails_keeps_the_template(office: Any) -> None:
    record_id = office.enrol()
    with pytest.raises(ConsentBroken):
        office.book.append(record_id, "withdrawn", keys={"subject": STRANGER})
    assert office.book.template(office.book.read(record_id).record)
