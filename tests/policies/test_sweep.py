"""What is due and what a sweep does: every clock one second before and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from policies.audit import ClockRollback
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.errors import StoreUnavailable
from policies.law import LawBook
from policies.retention import ClockMissing
from policies.subjectkeys import KeyUnknown
from policies.sweep import MEANS, UNTOUCHED, Due, Swept, What, due_work, sweep
from policies.tables import CHALLENGE, CONSENT, CONSENT_EVENT, DISPOSAL, ERASURE, OPT_OUT, TEMPLATE
from policies.warrants import WarrantDesk

NOW = 1_795_219_200  # 2026-11-21 00:00 UTC
HOUR, DAY = 3600, 86_400
EXPIRES = NOW + 30 * DAY  # of every record of the office
YEAR = 365 * DAY
THREE_YEARS = (3 * 365 + 1) * DAY  # 2028 has a day more
LONG = {"expires": NOW + 9 * YEAR}


def run(office: Any, *, dry_run: bool = False) -> Swept:
    return sweep(office.desk, controller=office.controller, dry_run=dry_run)


def whats(found: Any) -> list[tuple[str, str]]:
    return [(one.what, one.item) for one in found]


def due_of(office: Any, what: What) -> list[Due]:
    return [one for one in due_work(office.desk) if one.what == what]


def rows(office: Any, table: sa.Table) -> list[Any]:
    with office.database.transaction() as connection:
        return list(connection.execute(sa.select(table)).all())


def sweeps(office: Any) -> list[tuple[str, int, int]]:
    return [
        (entry["what"], entry["count"], entry["due"])
        for entry in office.log.entries()
        if entry["kind"] == "sweep"
    ]


def at_the_second(office: Any, due_at: int, *done: tuple[str, str]) -> Swept:
    """Nothing one second before `due_at`, also not by a dry run; these things at the second."""
    office.clock.now = due_at - 1
    before = len(office.log.entries())
    assert run(office) == Swept((), ())
    assert run(office, dry_run=True) == Swept((), ())
    office.clock.now = due_at
    assert whats(run(office, dry_run=True).done) == list(done)
    assert len(office.log.entries()) == before
    return run(office)


def test_nothing_is_due_where_there_is_nothing(office: Any) -> None:
    assert due_work(office.desk) == []
    assert run(office) == Swept((), ())
    assert office.log.entries() == []


def test_an_expired_consent_ends_and_loses_its_template(office: Any) -> None:
    record_id = office.enrol()
    record = office.book.read(record_id).record
    office.book.template(record)
    swept = at_the_second(office, EXPIRES, ("expired", record_id))
    [one] = swept.done
    assert (one.due_at, one.rule_id, one.unread) == (EXPIRES, "US-IL-BIPA-15-PURPOSE", True)
    assert [(c.rule_id, c.due_at) for c in one.clocks] == [
        ("US-IL-BIPA-15-PURPOSE", EXPIRES),
        ("US-TX-CUBI", EXPIRES + YEAR),
    ]
    assert rows(office, TEMPLATE) == []
    with pytest.raises(ConsentBroken):
        office.book.template(record)
    event = office.book.history(record_id)[-1]
    assert (event.kind, event.signatures[0].by, event.at) == ("expired", "controller", EXPIRES)
    assert sweeps(office) == [("expired", 1, EXPIRES)]
    office.clock.now += 1
    assert run(office) == Swept((), ())
    assert office.log.check().size == len(office.log.entries())


def test_what_expired_long_ago_is_ended_with_the_day_it_was_due(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now = EXPIRES + 40 * DAY
    assert whats(run(office).done) == [("expired", record_id)]
    assert sweeps(office) == [("expired", 1, EXPIRES)]
    # The record's own year runs from its date, not from the sweep that was late.
    [record] = due_of(office, "record")
    assert record.due_at == EXPIRES + YEAR


def test_a_withdrawn_consent_does_not_expire_again(office: Any) -> None:
    office.withdraw(office.enrol())
    office.clock.now = EXPIRES + DAY
    assert whats(run(office).done) == []


def left_template(office: Any, kind: str) -> str:
    """A consent that ended, whose template is there again, as a backup could bring it back."""
    record_id: str = office.enrol()
    [kept] = rows(office, TEMPLATE)
    signer = "subject" if kind == "withdrawn" else "controller"
    office.book.append(record_id, kind, keys=office.keys(record_id, signer), reason="asked")
    with office.database.transaction() as connection:
        connection.execute(sa.insert(TEMPLATE), dict(kept._mapping))
    return record_id


def test_a_template_that_is_left_after_a_withdrawal_is_erased(office: Any) -> None:
    record_id = left_template(office, "withdrawn")
    [one] = due_of(office, "ended")
    assert [(c.rule_id, c.due_at, c.unread) for c in one.clocks] == [
        ("US-IL-BIPA-15-PURPOSE", NOW, True),
        ("FLOOR-TEMPLATE", NOW + 72 * HOUR, False),
        ("FLOOR-SOURCE-MEDIA", NOW + 30 * DAY, False),
        ("US-TX-CUBI", NOW + YEAR, True),
    ]
    assert whats(run(office).done) == [("ended", record_id)]
    assert rows(office, TEMPLATE) == []
    assert sweeps(office) == [("ended", 1, NOW)]


@pytest.mark.parametrize("kind", ["revoked", "invalidated"])
def test_a_template_that_is_left_after_another_end_is_erased(office: Any, kind: str) -> None:
    record_id = left_template(office, kind)
    [one] = due_of(office, "ended")
    assert [c.rule_id for c in one.clocks] == ["US-IL-BIPA-15-PURPOSE", "US-TX-CUBI"]
    assert whats(run(office).done) == [("ended", record_id)]
    assert rows(office, TEMPLATE) == []


def without(office: Any, *rule_ids: str) -> None:
    """The desk's house without these rules of law."""
    house = office.desk.house
    rules = tuple(rule for rule in house.law.rules if rule.id not in rule_ids)
    office.desk = replace(office.desk, house=replace(house, law=LawBook(rules)))


def test_a_withdrawn_template_goes_by_the_floor_where_no_law_is_shorter(office: Any) -> None:
    without(office, "US-IL-BIPA-15-PURPOSE")
    record_id = left_template(office, "withdrawn")
    [one] = at_the_second(office, NOW + 72 * HOUR, ("ended", record_id)).done
    assert (one.rule_id, one.unread) == ("FLOOR-TEMPLATE", False)


def test_texas_waits_a_year_where_illinois_does_not_speak(office: Any) -> None:
    without(office, "US-IL-BIPA-15-PURPOSE")
    record_id = office.enrol()
    [one] = at_the_second(office, EXPIRES + YEAR, ("expired", record_id)).done
    assert (one.rule_id, one.unread) == ("US-TX-CUBI", True)


@pytest.mark.parametrize(("given", "after"), [(False, 0), (True, 600)])
def test_a_consent_nobody_confirmed_is_a_failed_enrolment(
    office: Any, given: bool, after: int
) -> None:
    record, template = office.record()
    office.book.add(record, template)
    if given:
        keys = office.keys(record.record_id, "subject", "controller")
        office.book.append(record.record_id, "given", keys=keys)
    swept = at_the_second(office, NOW + after + DAY, ("unfinished", record.record_id))
    assert [one.rule_id for one in swept.done] == ["FLOOR-ENROLMENT"]
    assert rows(office, TEMPLATE) == []
    event = office.book.history(record.record_id)[-1]
    assert (event.kind, event.reason) == ("invalidated", "not confirmed in time")
    assert sweeps(office) == [("unfinished", 1, NOW + after + DAY)]
    assert run(office) == Swept((), ())


def test_nobody_heard_of_for_three_years_loses_the_template_and_keeps_the_consent(
    office: Any,
) -> None:
    record_id = office.enrol(validity=LONG)
    swept = at_the_second(office, NOW + THREE_YEARS, ("unused", record_id))
    [one] = swept.done
    assert (one.rule_id, one.unread, one.clocks[0].event) == (
        "US-IL-BIPA-15",
        True,
        "last_interaction",
    )
    assert rows(office, TEMPLATE) == []
    assert office.book.read(record_id).state.status == "confirmed"
    assert sweeps(office) == [("unused", 1, NOW + THREE_YEARS)]
    assert run(office) == Swept((), ())
    assert due_of(office, "unused") == []


def test_a_person_is_heard_of_by_any_of_their_consents(office: Any) -> None:
    first, second = office.enrol(validity=LONG), office.enrol(validity=LONG)
    pid = office.book.read(second).record.subject.pid
    third = office.enrol(validity=LONG, subject={"pid": pid})
    assert {one.due_at for one in due_of(office, "unused")} == {NOW + THREE_YEARS}
    office.clock.now = NOW + YEAR
    office.withdraw(second)
    # Also by one that they withdrew, and whatever the order of the ids is.
    assert {one.item: one.due_at for one in due_of(office, "unused")} == {
        first: NOW + THREE_YEARS,
        third: NOW + YEAR + THREE_YEARS,  # 2028 lies in these three years too
    }


def ask_challenge(office: Any, nonce: str = "a" * 64, *, spent_at: int | None = None) -> int:
    values = {
        "nonce": nonce,
        "document": b"{}",
        "expires_at": NOW + 120,
        "spent_at": spent_at,
    }
    with office.database.transaction() as connection:
        connection.execute(sa.insert(CHALLENGE), values)
    return NOW + 120 + DAY


@pytest.mark.parametrize("spent_at", [None, NOW + 60])
def test_a_challenge_goes_a_day_after_its_time(office: Any, spent_at: int | None) -> None:
    due_at = ask_challenge(office, spent_at=spent_at)
    [one] = at_the_second(office, due_at, ("challenge", "a" * 64)).done
    assert (one.rule_id, one.unread) == ("FLOOR-ENROLMENT", False)
    assert rows(office, CHALLENGE) == []
    assert sweeps(office) == [("challenge", 1, due_at)]


def test_only_what_is_due_goes(office: Any) -> None:
    due_at = ask_challenge(office)
    ask_challenge(office, "b" * 64)
    with office.database.transaction() as connection:
        later = sa.update(CHALLENGE).where(CHALLENGE.c.nonce == "b" * 64)
        connection.execute(later.values(expires_at=NOW + 121))
    office.clock.now = due_at
    run(office)
    assert [row.nonce for row in rows(office, CHALLENGE)] == ["b" * 64]


def test_a_warrant_that_expired_unended_ends_and_gives_its_uses_back(office: Any) -> None:
    request = office.swap_request()
    warrant = office.desk.admit(request, office.measured(request))
    due_at = warrant.expires_at
    swept = at_the_second(office, due_at, ("warrant", warrant.warrant_id))
    assert [one.rule_id for one in swept.done] == ["FLOOR"]
    assert office.desk.state(warrant.warrant_id) == "aborted"
    assert sweeps(office) == [("warrant", 1, due_at)]
    assert due_of(office, "warrant") == []


def test_a_warrant_ended_meanwhile_is_not_counted(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = office.swap_request()
    office.desk.admit(request, office.measured(request))
    monkeypatch.setattr(WarrantDesk, "sweep", lambda _desk: [])
    office.clock.now = NOW + 4 * HOUR
    swept = run(office)
    assert (len(swept.done), whats(swept.left)[0][0]) == (0, "warrant")
    assert sweeps(office) == []


def test_a_record_goes_when_its_own_time_is_over(office: Any) -> None:
    record_id = office.enrol()
    pid = office.book.read(record_id).record.subject.pid
    office.withdraw(record_id)
    swept = at_the_second(office, NOW + YEAR, ("record", record_id))
    assert [one.rule_id for one in swept.done] == ["storage.retention"]
    for table in (CONSENT, CONSENT_EVENT, TEMPLATE):
        assert rows(office, table) == []
    assert [tuple(row) for row in rows(office, DISPOSAL)] == [(record_id, NOW + YEAR, NOW + YEAR)]
    assert office.subject_keys.shredded(pid)
    with pytest.raises(ConsentUnknown):
        office.book.read(record_id)
    assert sweeps(office) == [("record", 1, NOW + YEAR)]
    assert office.log.check().size == len(office.log.entries())
    assert run(office) == Swept((), ())


def test_a_record_that_is_to_be_kept_no_time_goes_with_its_end(office: Any) -> None:
    record_id = office.enrol(storage={"retention": "PT0H"})
    office.clock.now = EXPIRES
    assert whats(run(office).done) == [("expired", record_id)]
    assert whats(run(office).done) == [("record", record_id)]
    assert [what for what, _, _ in sweeps(office)] == ["expired", "record"]
    assert rows(office, CONSENT) == []


def test_no_record_goes_before_the_log_says_that_its_consent_ended(office: Any) -> None:
    record_id = office.enrol(storage={"retention": "PT0H"})
    commitment = office.book.commit(record_id)
    office.clock.now = EXPIRES + YEAR
    run(office)
    assert len(rows(office, CONSENT)) == 1
    run(office)
    assert rows(office, CONSENT) == []
    with office.database.transaction() as connection:
        assert office.log.newest(commitment, within=connection)["event"] == "expired"


def test_the_key_stays_while_anything_else_needs_it(office: Any) -> None:
    first, second, opted, erasing = (office.enrol() for _ in range(4))
    pids = [office.book.read(name).record.subject.pid for name in (first, second, opted, erasing)]
    again = office.enrol(subject={"pid": pids[1]}, storage={"retention": "P3Y"})
    with office.database.transaction() as connection:
        row = {"entry_id": "e", "model_sha256": "0" * 64, "ciphertext": b"x", "added_at": NOW}
        connection.execute(sa.insert(OPT_OUT), row | {"pid": pids[2]})
        row = {"pid": pids[3], "state": "receipted", "requested_at": NOW, "document": b"{}"}
        connection.execute(sa.insert(ERASURE), row)
    for record_id in (first, second, opted, erasing, again):
        office.withdraw(record_id)
    office.clock.now = NOW + YEAR
    assert {item for _, item in whats(run(office).done)} == {first, second, opted, erasing}
    assert [office.subject_keys.shredded(pid) for pid in pids] == [True, False, False, False]
    assert office.book.record_ids() == (again,)


def test_a_key_that_was_lost_keeps_no_record(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record_id = office.enrol()
    office.withdraw(record_id)
    office.clock.now = NOW + YEAR

    def lost(*_: object) -> None:
        raise KeyUnknown("there has never been a key for this pseudonym")

    monkeypatch.setattr(type(office.subject_keys), "destroy", lost)
    assert whats(run(office).done) == [("record", record_id)]


def test_an_interrupted_disposal_deletes_nothing_and_is_done_again(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_id = office.enrol()
    office.withdraw(record_id)
    office.clock.now = NOW + YEAR
    with monkeypatch.context() as broken:
        broken.setattr(type(office.log), "append", _full)
        with pytest.raises(StoreUnavailable):
            run(office)
    assert len(rows(office, CONSENT)) == 1
    assert rows(office, DISPOSAL) == []
    assert whats(run(office).done) == [("record", record_id)]


def _full(*_: object, **__: object) -> None:
    raise StoreUnavailable("the disk is full")


@pytest.mark.parametrize("state", ["requested", "shredded", "proved"])
def test_an_erasure_that_waits_is_listed_and_left_to_its_command(office: Any, state: str) -> None:
    row = {"pid": "ps_" + "a" * 26, "state": state, "requested_at": NOW, "document": b"{}"}
    with office.database.transaction() as connection:
        connection.execute(sa.insert(ERASURE), row)
    [one] = due_work(office.desk)
    assert (one.what, one.item, one.rule_id, one.unread) == ("erasure", row["pid"], "GDPR-17", True)
    office.clock.now = NOW + 30 * DAY - 1
    assert run(office) == Swept((), ())
    office.clock.now += 1
    for dry_run in (True, False):
        assert run(office, dry_run=dry_run) == Swept((), (one,))
    assert office.log.entries() == []


def test_an_erasure_that_is_done_is_not_listed(office: Any) -> None:
    row = {"pid": "ps_a", "state": "receipted", "requested_at": NOW, "document": b"{}"}
    with office.database.transaction() as connection:
        connection.execute(sa.insert(ERASURE), row)
    assert due_work(office.desk) == []


def test_a_broken_consent_is_evidence_and_stops_nothing_else(office: Any, tamper: Any) -> None:
    broken, whole = office.enrol(), office.enrol()
    tamper(office.database, "update consent set document = ? where record_id = ?", b"{}", broken)
    office.clock.now = EXPIRES
    swept = run(office)
    assert whats(swept.done) == [("expired", whole)]
    assert [(one.what, one.item, one.due_at) for one in swept.left] == [("broken", broken, EXPIRES)]
    assert [row.record_id for row in rows(office, TEMPLATE)] == [broken]


def test_a_database_that_fails_is_not_taken_for_a_broken_consent(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.enrol()
    monkeypatch.setattr(type(office.book), "read", _full)
    with pytest.raises(StoreUnavailable):
        due_work(office.desk)


def test_a_consent_that_changed_meanwhile_is_left_for_the_next_sweep(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = office.enrol(), office.enrol()
    office.clock.now = EXPIRES
    append = type(office.book).append

    def late(book: Any, record_id: str, kind: Any, **how: Any) -> Any:
        if record_id == first:
            raise ConsentBroken("event 3 says 'expired' after 'withdrawn'")
        return append(book, record_id, kind, **how)

    monkeypatch.setattr(type(office.book), "append", late)
    swept = run(office)
    assert (whats(swept.done), whats(swept.left)) == ([("expired", second)], [("expired", first)])
    assert sweeps(office) == [("expired", 1, EXPIRES)]


def test_nothing_goes_by_a_clock_that_was_set_back(office: Any) -> None:
    office.enrol()
    office.clock.now = NOW - 1
    for dry_run in (True, False):
        with pytest.raises(ClockRollback):
            run(office, dry_run=dry_run)


@pytest.mark.parametrize(
    ("rules", "make"),
    [
        (("US-IL-BIPA-15-PURPOSE", "US-TX-CUBI"), lambda office: office.enrol()),
        (("US-IL-BIPA-15",), lambda office: office.enrol()),
        (("FLOOR-ENROLMENT",), ask_challenge),
    ],
)
def test_a_missing_clock_is_an_error(
    office: Any, rules: tuple[str, ...], make: Callable[[Any], object]
) -> None:
    make(office)
    due_work(office.desk)
    without(office, *rules)
    with pytest.raises(ClockMissing) as missing:
        due_work(office.desk)
    assert missing.value.code == "CLOCK-MISSING"


def test_what_is_due_comes_in_the_order_of_time_and_everything_is_explained(office: Any) -> None:
    ask_challenge(office)
    office.enrol()
    office.withdraw(office.enrol())
    found = due_work(office.desk)
    assert [one.due_at for one in found] == sorted(one.due_at for one in found)
    assert {one.what for one in found} == {"challenge", "expired", "unused", "record"}
    assert set(MEANS) == set(get_args(What))
    assert UNTOUCHED == {"erasure", "broken"}


def test_everything_goes_on_both_databases(office: Any, any_database: Any) -> None:
    here = type(office)(database=any_database)
    request = here.swap_request()
    warrant = here.desk.admit(request, here.measured(request))
    ask_challenge(here)
    withdrawn = here.enrol()
    here.withdraw(withdrawn)
    here.clock.now = EXPIRES + YEAR
    people = sorted(person.record_id for person in request.people)
    assert sorted(whats(run(here).done)) == sorted(
        [
            ("challenge", "a" * 64),
            ("warrant", warrant.warrant_id),
            *(("expired", record_id) for record_id in people),
            ("record", withdrawn),
        ]
    )
    assert sorted(whats(run(here).done)) == [("record", record_id) for record_id in people]
    for table in (CONSENT, CONSENT_EVENT, TEMPLATE, CHALLENGE):
        assert rows(here, table) == []
    assert len(rows(here, DISPOSAL)) == 3
    assert {what for what, _, _ in sweeps(here)} == {"challenge", "warrant", "expired", "record"}
    assert here.log.check().size == len(here.log.entries())
    assert run(here) == Swept((), ())
