"""The book believes no row: edited, cut or swapped ones permit nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from policies.audit import ClockRollback
from policies.canonical import parse
from policies.challenge import CHALLENGE_SECONDS, ChallengeBook, ChallengeExpired
from policies.consent import ConsentBroken, ConsentEvent, StepRefused, make_event, sign
from policies.consents import ConsentStale, ConsentUnknown, PseudonymTaken
from policies.database import Database
from policies.decide import Refused
from policies.digest import sha256_hex
from policies.errors import Error, Malformed, StoreUnavailable
from policies.keyprovider import KeyGone
from policies.keys import SigningKey
from policies.record import encode
from policies.subjectkeys import TemplateUnreadable
from policies.tables import CHALLENGE, CONSENT, CONSENT_EVENT, ERASURE, TEMPLATE

NOW = 1_795_219_200
DAY = 86_400
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
    assert len({office.book.commit(record_id) for record_id in ids}) == 2


def test_a_commitment_is_made_with_the_persons_own_salt(office: Any) -> None:
    """Who keeps the deployment's key links nobody; the salt goes with the person's key."""
    record_id = office.enrol()
    pid = office.book.read(record_id).record.subject.pid
    commitment = office.book.commit(record_id)
    assert office.book.commitment.commit("consent", record_id) != commitment
    office.subject_keys.destroy(pid)
    with pytest.raises(KeyGone):
        office.subject_keys.salt(pid)
    assert office.book.commit(record_id) == commitment, "old outputs still lead to their status"
    state = office.book.read(record_id).state
    assert (state.status, state.since) == ("withdrawn", NOW), "nothing of theirs is open"
    with pytest.raises(KeyGone):
        office.book.template(office.book.read(record_id).record)


def ask_for_erasure(office: Any, pid: str, at: int = NOW) -> None:
    row = {"pid": pid, "state": "requested", "requested_at": at, "document": b"{}"}
    with office.database.transaction() as connection:
        connection.execute(sa.insert(ERASURE), row)


def test_from_the_request_on_nothing_of_the_person_is_open(office: Any) -> None:
    record_id, other = office.enrol(), office.enrol()
    pid = office.book.read(record_id).record.subject.pid
    ask_for_erasure(office, pid, at=NOW - 7)
    state = office.book.read(record_id).state
    assert (state.status, state.since, state.length) == ("withdrawn", NOW - 7, 2)
    assert office.book.read(other).state.status == "confirmed"
    request = office.request([(record_id, "source_identity"), (other, "target_body")])
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request))
    assert caught.value.decision.codes == ("CONSENT-STATUS",)
    office.withdraw(record_id)
    assert office.book.read(record_id).state.since == NOW


def test_a_consent_of_an_erased_person_is_neither_added_nor_goes_on(office: Any) -> None:
    record, sealed = office.record()
    late, its_template = office.record(subject={"pid": record.subject.pid})
    office.book.add(record, sealed)
    both = office.keys(record.record_id, "subject", "controller")
    ask_for_erasure(office, record.subject.pid)
    with pytest.raises(KeyGone, match="under way") as caught:
        office.book.add(late, its_template)
    assert caught.value.code == "KEY-GONE"
    with pytest.raises(StepRefused, match="erased"):
        office.book.append(record.record_id, "given", keys=both)
    assert office.book.record_ids() == (record.record_id,)
    assert office.book.history(record.record_id) == ()
    office.book.end(record.record_id, controller=office.controller, reason="erased")
    assert [event.kind for event in office.book.history(record.record_id)] == ["withdrawn"]


def test_ending_twice_writes_one_end_and_looks_at_it(office: Any, tamper: Tamper) -> None:
    record_id = office.enrol()
    for _ in range(2):
        office.book.end(record_id, controller=office.controller, reason="an end")
    assert [event.kind for event in office.book.history(record_id)][2:] == ["withdrawn"]
    tamper(office.database, "update consent set document = "
           "cast(replace(document, '\"DE\"', '\"US\"') as blob)")  # fmt: skip
    with pytest.raises(ConsentBroken) as caught:
        office.book.end(record_id, controller=office.controller, reason="an end")
    assert caught.value.code == "CONSENT-BROKEN"


def test_a_pseudonym_is_one_persons(office: Any) -> None:
    """Else whoever lists X as counterparty would be combined with Y."""
    first = office.enrol()
    pid = office.book.read(first).record.subject.pid
    record, sealed = office.record(subject={"pid": pid, "key": STRANGER.public.hex})
    office.subjects[record.record_id] = STRANGER
    stranger = office.signed(record.model_copy(update={"signatures": ()}))
    with pytest.raises(PseudonymTaken, match="another key") as caught:
        office.book.add(stranger, sealed)
    assert caught.value.code == "PSEUDONYM-TAKEN"
    assert office.book.record_ids() == (first,)
    again = office.enrol(subject={"pid": pid})
    assert office.book.records_of(pid) == (first, again)


def test_beside_a_record_that_cannot_be_read_none_is_added(office: Any, tamper: Tamper) -> None:
    first = office.enrol()
    pid = office.book.read(first).record.subject.pid
    tamper(office.database, "update consent set document = x'00'")
    with pytest.raises(ConsentBroken, match="another record of this person"):
        office.enrol(subject={"pid": pid})


def answered(office: Any, *, after: int = 5) -> dict[str, Any]:
    """What a record says of a challenge that was spent `after` so many seconds."""
    issued = ChallengeBook(office.database, office.clock).issue(
        lambda n: sha256_hex(f"{n} {office.clock.now}".encode()).encode()[:n]
    )
    office.clock.now += after
    with suppress(ChallengeExpired):  # it is spent then too
        ChallengeBook(office.database, office.clock).spend(issued.nonce)
    nonce = sha256_hex(issued.nonce.encode())
    liveness = {"method": "video_challenge", "nonce_sha256": nonce, "score_milli": 900}
    return {"binding": {"liveness": liveness}}


def test_a_challenge_shows_one_enrolment(office: Any) -> None:
    said = answered(office)
    record_id = office.enrol(**said)
    with office.database.transaction() as connection:
        assert connection.scalar(sa.select(CHALLENGE.c.record_id)) == record_id
    with pytest.raises(Error) as caught:
        office.enrol(**said)
    assert caught.value.code == "CHALLENGE-SPENT"
    assert office.book.record_ids() == (record_id,)
    office.clock.now += 1
    assert office.book.read(office.enrol(**answered(office))).state.status == "confirmed"


@pytest.mark.parametrize(
    ("after", "code"),
    [(CHALLENGE_SECONDS - 1, None), (CHALLENGE_SECONDS, "CHALLENGE-EXPIRED"),
     (-1, "CHALLENGE-EXPIRED")],
)  # fmt: skip
def test_a_challenge_was_answered_in_its_window(office: Any, after: int, code: str | None) -> None:
    record, sealed = office.record(**answered(office, after=after))
    office.clock.now = max(office.clock.now, NOW)
    if code is None:
        office.book.add(record, sealed)
        return
    with pytest.raises(Error) as caught:
        office.book.add(record, sealed)
    assert caught.value.code == code
    assert office.book.record_ids() == ()


def test_a_challenge_that_nobody_issued_or_answered(office: Any) -> None:
    said = {"method": "video_challenge", "nonce_sha256": "ab" * 32, "score_milli": 900}
    issued = ChallengeBook(office.database, office.clock).issue(lambda n: b"n" * n)
    unspent = said | {"nonce_sha256": sha256_hex(issued.nonce.encode())}
    for liveness in (said, unspent):
        with pytest.raises(Error) as caught:
            office.enrol(binding={"liveness": liveness})
        assert caught.value.code == "CHALLENGE-UNKNOWN"
    assert office.book.record_ids() == ()


def test_an_erased_person_is_not_enrolled_again(office: Any) -> None:
    record, sealed = office.record()
    office.subject_keys.destroy(record.subject.pid)
    with pytest.raises(KeyGone):
        office.book.add(record, sealed)
    assert office.book.record_ids() == ()


def test_an_unknown_consent_has_a_mask_in_the_log_and_no_commitment(office: Any) -> None:
    known = office.enrol()
    with pytest.raises(ConsentUnknown):
        office.book.commit(UNKNOWN)
    with office.database.transaction() as connection:
        name = office.book.name_in_log(known, within=connection)
        masks = [office.book.name_in_log(who, within=connection) for who in (UNKNOWN, "x", "x")]
    assert name == office.book.commit(known)
    assert masks[0] != masks[1] == masks[2]
    assert UNKNOWN not in masks[0]
    with pytest.raises(ConsentUnknown):
        office.book.find(masks[0])


def test_the_records_of_one_person(office: Any) -> None:
    one, two = office.enrol(), office.enrol()
    pid = office.book.read(one).record.subject.pid
    third = office.enrol(subject={"pid": pid})
    assert office.book.records_of(pid) == (one, third)
    assert office.book.records_of(office.book.read(two).record.subject.pid) == (two,)
    assert office.book.records_of("ps_" + "z" * 26) == ()


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
    limits = record.limits.model_copy(update={"max_uses": 10_000})
    edited = record.model_copy(update={"limits": limits})
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
        ("withdrawn", ("controller",)),  # without a reason
        ("expired", ("controller",)),  # before its time
        ("expired", ("subject",)),
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


def test_a_clock_set_back_judges_nothing(office: Any) -> None:
    record_id, other = office.enrol(), office.enrol()
    office.clock.now -= 1
    refuse(office, record_id, ClockRollback)
    request = office.request([(record_id, "source_identity"), (other, "target_body")])
    with pytest.raises(ClockRollback) as caught:
        office.desk.admit(request, office.measured(request))
    assert caught.value.code == "CLOCK-ROLLBACK"
    assert len(office.log.entries()) == 4
    office.clock.now += 1
    assert office.book.read(record_id).state.status == "confirmed"


def test_a_withdrawal_never_waits_for_the_clock(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now -= 60
    assert office.book.read_to_end(record_id).state.status == "confirmed"
    office.withdraw(record_id)
    for now in (NOW - 60, NOW, NOW + DAY):
        office.clock.now = now
        state = office.book.read(record_id).state
        assert (state.status, state.since) == ("withdrawn", NOW)
        assert office.book.read_to_end(record_id).state == state
    assert office.log.entries()[-1]["at"] == NOW
    office.log.check()


def test_one_entry_dated_ahead_locks_no_withdrawal(office: Any) -> None:
    one, two = office.enrol(), office.enrol()
    office.clock.now += 3_650 * DAY
    office.log.append("sweep", {"what": "x", "count": 1, "due": 1})
    office.clock.now -= 3_650 * DAY
    office.withdraw(one)
    office.book.take(signed_elsewhere(office, two, "withdrawn", "subject"))
    for record_id in (one, two):
        assert office.book.read(record_id).state.status == "withdrawn"
    assert office.log.entries()[-1]["at"] == NOW + 3_650 * DAY
    office.log.check()
    with pytest.raises(ClockRollback):
        office.enrol()


def test_a_withdrawal_of_a_request_while_the_clock_is_behind(office: Any) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    office.clock.now -= 60
    office.withdraw(record.record_id)
    assert office.book.history(record.record_id)[0].at == NOW
    assert office.book.read(record.record_id).state.status == "withdrawn"


def test_expiry_needs_no_event(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now += 30 * DAY
    assert office.book.read(record_id).state.status == "expired"
    assert office.book.template(office.book.read(record_id).record)


def test_an_expiry_that_is_written_down_is_final(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now += 30 * DAY
    keys = office.keys(record_id, "controller")
    assert office.book.append(record_id, "expired", keys=keys).status == "expired"
    with pytest.raises(ConsentBroken, match="after 'expired'"):
        office.withdraw(record_id)


def test_the_lost_key_route(office: Any) -> None:
    record_id = office.enrol()
    keys = office.keys(record_id, "controller")
    with pytest.raises(ConsentBroken, match="without a reason") as caught:
        office.book.append(record_id, "withdrawn", keys=keys)
    assert caught.value.code == "CONSENT-STEP-REFUSED"
    assert office.book.template(office.book.read(record_id).record)
    state = office.book.append(record_id, "withdrawn", keys=keys, reason="lost key; seen in person")
    assert state.status == "withdrawn"
    assert office.log.entries()[-1]["event"] == "withdrawn"


ENDS = {
    "withdrawn": ("subject",), "refused": ("subject",), "revoked": ("controller",),
    "invalidated": ("controller",), "expired": ("controller",),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDS)
def test_every_final_step_erases_the_template(office: Any, kind: Any) -> None:
    other = office.enrol()
    record, sealed = office.record()
    office.book.add(record, sealed)
    both = office.keys(record.record_id, "subject", "controller")
    office.book.append(record.record_id, "given", keys=both)
    assert office.book.template(record)
    office.clock.now += 30 * DAY
    keys = office.keys(record.record_id, *ENDS[kind])
    office.book.append(record.record_id, kind, keys=keys, reason="an end")
    with office.database.transaction() as connection:
        kept = connection.execute(sa.select(TEMPLATE.c.record_id)).scalars().all()
    assert kept == [other]
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(record)


def signed_elsewhere(
    office: Any, record_id: str, kind: str, *signers: Any, at: int = NOW
) -> ConsentEvent:
    """The next step of a consent, as the person's own device would send it."""
    consent = office.book.read(record_id)
    event = make_event(
        record_id=record_id, seq=consent.state.length, prev=consent.state.head, kind=kind, at=at,
        reason="",
    )  # fmt: skip
    for by, key in office.keys(record_id, *signers).items():
        event = sign(event, by=by, key=key, at=at)
    return event


def test_steps_that_were_signed_elsewhere(office: Any) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    record_id = record.record_id
    given = signed_elsewhere(office, record_id, "given", "subject", "controller")
    assert office.book.take(given).status == "given"
    office.clock.now += 600
    confirmed = signed_elsewhere(office, record_id, "confirmed", "subject")
    assert office.book.take(confirmed).status == "confirmed"
    assert [entry["event"] for entry in office.log.entries()] == ["given", "confirmed"]
    for replayed in (given, confirmed):
        with pytest.raises(ConsentBroken, match="does not follow") as caught:
            office.book.take(replayed)
        assert caught.value.code == "CONSENT-STEP-REFUSED"
    withdrawn = signed_elsewhere(office, record_id, "withdrawn", "subject")
    office.clock.now += DAY
    assert office.book.take(withdrawn).status == "withdrawn", "a late withdrawal still counts"
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(record)


@pytest.mark.parametrize("kind", ["given", "confirmed"])
def test_nobody_is_confirmed_with_a_date_of_the_past(office: Any, kind: str) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    both = ("subject", "controller")
    if kind == "confirmed":
        office.book.append(record.record_id, "given", keys=office.keys(record.record_id, *both))
    event = signed_elsewhere(office, record.record_id, kind, *both)
    office.clock.now += 601
    with pytest.raises(ConsentStale) as caught:
        office.book.take(event)
    assert caught.value.code == "CONSENT-STALE"
    assert len(office.book.history(record.record_id)) == (kind == "confirmed")


@pytest.mark.parametrize("off", [-DAY, 1, DAY])
def test_a_withdrawal_from_a_device_with_another_clock(office: Any, off: int) -> None:
    record_id = office.enrol()
    theirs = signed_elsewhere(office, record_id, "withdrawn", "subject", at=NOW + off)
    assert office.book.take(theirs).status == "withdrawn"
    state = office.book.read(record_id).state
    assert (state.status, state.since) == ("withdrawn", max(NOW, NOW + off))
    assert office.log.entries()[-1]["at"] == NOW


def test_a_gift_from_a_device_that_is_ahead_waits(office: Any) -> None:
    record, sealed = office.record()
    office.book.add(record, sealed)
    ahead = signed_elsewhere(office, record.record_id, "given", "subject", "controller", at=NOW + 1)
    with pytest.raises(ClockRollback, match="future"):
        office.book.take(ahead)
    assert office.book.history(record.record_id) == ()
    office.clock.now += 1
    assert office.book.take(ahead).status == "given"


def test_a_step_of_nobody_or_by_a_stranger(office: Any) -> None:
    record_id = office.enrol()
    unsigned = signed_elsewhere(office, record_id, "withdrawn")
    with pytest.raises(ConsentBroken, match="not signed by"):
        office.book.take(unsigned)
    with pytest.raises(ConsentUnknown):
        office.book.take(unsigned.model_copy(update={"record_id": UNKNOWN}))
    assert len(office.book.history(record_id)) == 2


def test_a_record_from_the_future_is_not_added(office: Any) -> None:
    record, sealed = office.record(subject={"age_assurance": {"checked_at": NOW + 1}})
    with pytest.raises(ClockRollback, match="lies in the future"):
        office.book.add(record, sealed)


def test_a_consent_is_written_once(office: Any) -> None:
    """The book's own connection cannot change what is written either."""
    record_id = office.enrol()
    for change in (
        sa.update(CONSENT).values(pid="ps_" + "z" * 26),
        sa.update(CONSENT).values(commitment="0" * 64),
        sa.delete(CONSENT_EVENT),
        sa.update(CONSENT_EVENT).values(document=b""),
    ):
        with pytest.raises(StoreUnavailable, match="append-only"):
            with office.database.transaction() as connection:
                connection.execute(change)
    assert office.book.read(record_id).state.status == "confirmed"


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
    "the column of the person": "update consent set pid = 'ps_' || substr(record_id, 1, 26)",
    "the column of the commitment": "update consent set commitment = record_id",
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


@pytest.mark.parametrize("same_person", [True, False])
def test_a_record_under_another_id(office: Any, tamper: Tamper, same_person: bool) -> None:
    one = office.enrol()
    pid = office.book.read(one).record.subject.pid
    two = office.enrol(**({"subject": {"pid": pid}} if same_person else {}))
    tamper(
        office.database,
        "update consent set document = (select document from consent where record_id = ?) "
        "where record_id = ?",
        one,
        two,
    )
    with pytest.raises(ConsentBroken, match="another id"):
        office.book.read(two)


def test_commitments_that_were_exchanged(office: Any, tamper: Tamper) -> None:
    """Else an old output would show the standing of somebody who never withdrew."""
    gone, stays = office.enrol(), office.enrol()
    commitments = {who: office.book.commit(who) for who in (gone, stays)}
    office.withdraw(gone)
    for who, value in ((gone, "parked"), (stays, commitments[gone]), (gone, commitments[stays])):
        tamper(office.database, "update consent set commitment = ? where record_id = ?", value, who)
    assert office.book.find(commitments[gone]) == stays
    for who in (gone, stays):
        with pytest.raises(ConsentBroken, match="not the one in the log"):
            office.book.read(who)


def test_a_record_under_another_persons_pseudonym(office: Any, tamper: Tamper) -> None:
    """The record's own word counts: nobody is given, or erased with, what is another's."""
    one, two = office.enrol(), office.enrol()
    mine, theirs = (office.book.read(who).record.subject.pid for who in (one, two))
    tamper(office.database, "update consent set pid = ? where record_id = ?", mine, two)
    assert office.book.records_of(mine) == (one,)
    assert office.book.records_of(theirs) == ()
    refuse(office, two)
    tamper(office.database, "update consent set document = x'00' where record_id = ?", two)
    assert office.book.records_of(mine) == (one, two), "what cannot be read is not left out"


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


def stored_template(office: Any, record_id: str) -> bytes:
    with office.database.transaction() as connection:
        return bytes(
            connection.scalar(
                sa.select(TEMPLATE.c.ciphertext).where(TEMPLATE.c.record_id == record_id)
            )
        )


def test_a_template_that_is_not_the_records(office: Any, tamper: Tamper) -> None:
    one, two = office.enrol(), office.enrol()
    record = office.book.read(one).record
    keys = office.subject_keys
    other = record.binding.model_copy(update={"model_sha256": "0" * 64})
    with pytest.raises(TemplateUnreadable):  # the right bytes, read as another model's
        office.book.template(record.model_copy(update={"binding": other}))
    bound = {"kind": "template", "record_id": two, "model_sha256": record.binding.model_sha256}
    stored = stored_template(office, one)
    for pid, at in ((record.subject.pid, two), (office.book.read(two).record.subject.pid, one)):
        with pytest.raises(TemplateUnreadable):  # as another record's, or another person's
            keys.open(stored, pid=pid, bound=bound | {"record_id": at})
    move = (
        "update template set {0} = (select {0} from template where record_id = ?) "
        "where record_id = ?"
    )
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
    assert before[one].ciphertext not in b"".join(row.ciphertext for row in kept)
    with pytest.raises(ConsentBroken, match="template"):
        office.book.template(office.book.read(one).record)


def test_a_withdrawal_that_fails_keeps_the_template(office: Any) -> None:
    record_id = office.enrol()
    with pytest.raises(ConsentBroken):
        office.book.append(record_id, "withdrawn", keys={"subject": STRANGER})
    assert office.book.template(office.book.read(record_id).record)
