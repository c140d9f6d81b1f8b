"""T8, T9, T10, T13: one use, one start, one end; and nothing after a withdrawal."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from policies.audit import ClockRollback, Receipt, verify_entry
from policies.canonical import canonical, parse
from policies.cedar import HERE, Gate
from policies.database import Database
from policies.decide import Refused, decide
from policies.digest import sha256_hex
from policies.entries import MAX_ENTRY_BYTES
from policies.errors import Error, Malformed, StoreUnavailable
from policies.issue import _fit
from policies.keys import SigningKey
from policies.law import LawBook
from policies.request import MOST_PEOPLE
from policies.rules import RULES
from policies.tables import DECISION, RELEASE, RELEASE_PERSON
from policies.terms import BystanderPolicy
from policies.warrant import Warrant, WarrantInvalid, read_warrant
from policies.warrants import ActiveWarrant, WarrantDesk, require_active

NOW = 1_795_219_200
MODEL_SHA256 = "0" * 64
Tamper = Callable[..., None]


def keep(connection: sa.Connection, receipt: Receipt) -> None:
    """A registry that has nothing to record."""


def admit(office: Any, **changes: Any) -> Warrant:
    request = office.swap_request(**changes)
    warrant: Warrant = office.desk.admit(request, office.measured(request))
    return warrant


def invalid(code: str, call: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        call(*args, **options)
    assert caught.value.code == code


def uses(office: Any) -> int:
    with office.database.transaction() as connection:
        return int(connection.exec_driver_sql("select count(*) from reservation").scalar())


def kinds(office: Any) -> list[str]:
    return [entry["kind"] for entry in office.log.entries() if entry["kind"] != "consent_event"]


# --- the straight way ---------------------------------------------------------------------------


def test_admitted_started_released(office: Any) -> None:
    request = office.swap_request()
    warrant = office.desk.admit(request, office.measured(request))
    assert office.desk.state(warrant.warrant_id) == "issued"
    active = office.desk.start(warrant)
    assert office.desk.state(warrant.warrant_id) == "started"
    active.require()
    active.require(source_sha256=request.source_sha256, target_sha256=request.target_sha256)
    recorded: list[int] = []
    receipt = office.desk.finish(
        active, {"output": "o"}, record=lambda connection, r: recorded.append(r.index)
    )
    assert office.desk.state(warrant.warrant_id) == "released"
    assert recorded == [receipt.index]
    assert kinds(office) == ["decision", "warrant", "release"]
    assert uses(office) == 2
    office.log.check()


def test_a_warrant_names_its_decision_in_the_log(office: Any) -> None:
    request = office.swap_request()
    warrant = office.desk.admit(request, office.measured(request))
    proof = office.log.prove(warrant.decision_index)
    verify_entry(proof, origin=warrant.log_origin, key=office.log_key.public)
    assert proof.entry["decision"] == warrant.decision_sha256
    assert proof.entry["request"] == warrant.request_sha256 == request.sha256
    assert (proof.entry["allow"], proof.entry["reasons"]) == (True, [])
    assert warrant.log_size == warrant.decision_index + 1
    heads = [office.book.read(person.record_id).state.head for person in warrant.people]
    assert [person.consent_head for person in warrant.people] == heads


def test_nothing_in_the_log_names_a_person(office: Any) -> None:
    request = office.swap_request()
    office.desk.abort(office.desk.admit(request, office.measured(request)), "x")
    text = str(office.log.entries())
    assert not any(person.record_id in text for person in request.people)
    assert request.source_sha256 not in text
    assert request.target_sha256 not in text


# --- refusals -----------------------------------------------------------------------------------


def test_the_decision_behind_a_warrant_is_kept_with_its_facts(office: Any) -> None:
    """An auditor decides again on the same facts and must come to the same decision."""
    request = office.swap_request()
    with pytest.raises(Refused):
        office.desk.admit(request, office.measured(request, source_faces=2))
    measured = office.measured(request)
    office.desk.precheck(request, identity_model_sha256=measured.identity_model_sha256)
    warrant = office.desk.admit(request, measured)
    with office.database.transaction() as connection:
        kept = connection.execute(sa.select(DECISION)).all()
    assert [row.decision_id for row in kept] == [warrant.decision_id], "refusals are not kept"
    document, facts = kept[0].document, kept[0].facts
    entry = office.log.prove(warrant.decision_index).entry
    assert sha256_hex(document) == warrant.decision_sha256 == entry["decision"]
    assert sha256_hex(facts) == entry["facts"]
    again = decide(
        parse(facts),
        request_sha256=warrant.request_sha256,
        decision_id=warrant.decision_id,
        now=office.clock.now,
        house=office.house,
    )
    assert canonical(again.model_dump(mode="json")) == document
    with pytest.raises(StoreUnavailable, match="append-only"):
        with office.database.transaction() as connection:
            connection.execute(sa.delete(DECISION))


def test_a_refusal_is_logged_with_its_reasons_and_takes_nothing(office: Any) -> None:
    request = office.swap_request()
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request, source_faces=2))
    assert caught.value.decision.codes == ("SOURCE-FACES",)
    entry = office.log.entries()[-1]
    assert (entry["kind"], entry["allow"], entry["reasons"]) == (
        "decision",
        False,
        ["SOURCE-FACES"],
    )
    assert uses(office) == 0
    assert office.desk.abandoned(request.request_id) == []


def test_a_clock_behind_the_log_decides_nothing(office: Any) -> None:
    request = office.swap_request()
    office.clock.now += 3600
    office.log.append("decision", {})
    office.clock.now -= 1
    with pytest.raises(ClockRollback):
        office.desk.admit(request, office.measured(request))
    with pytest.raises(ClockRollback):
        office.desk.precheck(request, identity_model_sha256=MODEL_SHA256)
    assert uses(office) == 0


def test_an_expired_consent_and_a_clock_set_back(office: Any) -> None:
    request = office.swap_request()
    office.clock.now += 31 * 86_400
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request))
    assert set(caught.value.decision.codes) == {"CONSENT-STATUS", "CONSENT-WINDOW"}
    office.clock.now -= 2 * 86_400
    with pytest.raises(ClockRollback):
        office.desk.admit(request, office.measured(request))


def test_precheck_refuses_what_no_picture_could_save(office: Any) -> None:
    request = office.swap_request()
    model = office.measured(request).identity_model_sha256
    office.desk.precheck(request, identity_model_sha256=model)
    assert kinds(office) == []  # a precheck that passes has decided nothing
    with pytest.raises(Refused) as caught:
        office.desk.precheck(request, identity_model_sha256="f" * 64)
    assert caught.value.decision.codes == ("TEMPLATE-MODEL",)
    office.withdraw(request.people[0].record_id)
    with pytest.raises(Refused) as caught:
        office.desk.precheck(request, identity_model_sha256=model)
    assert caught.value.decision.codes == ("CONSENT-STATUS",)
    assert kinds(office) == ["decision", "decision"]
    assert uses(office) == 0


def test_measurements_of_other_pictures_are_refused(office: Any) -> None:
    request = office.swap_request()
    other = office.measured(request, source_sha256="0" * 64)
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, other)
    assert caught.value.decision.codes == ("INPUTS-MISMATCH",)


# --- the capability -----------------------------------------------------------------------------


def test_only_the_desk_makes_an_active_warrant(office: Any) -> None:
    warrant = admit(office)
    for grant in (None, object(), True, office.desk):
        invalid("WARRANT-REQUIRED", ActiveWarrant, grant, warrant, office.desk)


def test_it_cannot_be_copied_or_pickled(active_warrant: Any) -> None:
    active = active_warrant()
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        invalid("WARRANT-REQUIRED", leave, active)


def test_it_cannot_be_pointed_at_another_document(office: Any, active_warrant: Any) -> None:
    active, other = active_warrant(), admit(office)
    invalid("WARRANT-REQUIRED", setattr, active, "document", other)
    invalid("WARRANT-REQUIRED", setattr, active, "_desk", object())
    invalid("WARRANT-REQUIRED", delattr, active, "document")
    active.require()


def test_require_active_takes_nothing_else(office: Any, active_warrant: Any) -> None:
    active = active_warrant()
    assert require_active(active) is active
    assert active.consents is office.book

    class Forged(ActiveWarrant):
        def require(self, **_: Any) -> None:
            """Agree to everything."""

    hollow = object.__new__(ActiveWarrant)
    subclass = object.__new__(Forged)
    for value in (
        None,
        True,
        "warrant",
        active.document,
        office.desk,
        hollow,
        subclass,
        type(active),
    ):
        invalid("WARRANT-REQUIRED", require_active, value)


def test_it_holds_for_its_own_pictures_only(active_warrant: Any) -> None:
    active = active_warrant(source_sha256="1" * 64, target_sha256="2" * 64)
    active.require(source_sha256="1" * 64)
    active.require(target_sha256="2" * 64)
    for digests in (
        {"source_sha256": "2" * 64},
        {"target_sha256": "1" * 64},
        {"source_sha256": "1" * 64, "target_sha256": "1" * 64},
        {"source_sha256": ""},
        {"target_sha256": "2" * 63},
        {"source_sha256": b"1" * 64},
    ):
        invalid("WARRANT-OTHER-INPUT", active.require, **digests)


# --- states -------------------------------------------------------------------------------------


def test_a_warrant_starts_once(office: Any) -> None:
    warrant = admit(office)
    office.desk.start(warrant)
    invalid("WARRANT-SPENT", office.desk.start, warrant)


def test_a_state_moves_only_from_where_it_was(office: Any) -> None:
    """The second lock, behind the check: the update itself names the old state."""
    warrant = admit(office)
    with office.database.transaction() as connection:
        move = office.desk._move
        move(warrant.warrant_id, "issued", "started", within=connection)
        invalid("WARRANT-SPENT", move, warrant.warrant_id, "issued", "started", within=connection)


def test_a_warrant_ends_once(office: Any) -> None:
    active = office.desk.start(admit(office))
    office.desk.finish(active, {}, record=keep)
    invalid("WARRANT-SPENT", active.require)
    invalid("WARRANT-SPENT", office.desk.finish, active, {}, record=keep)
    invalid("WARRANT-SPENT", office.desk.start, active.document)
    office.desk.abort(active.document, "late")  # a release stays a release
    assert office.desk.state(active.document.warrant_id) == "released"
    assert uses(office) == 2


@pytest.mark.parametrize("started", [True, False])
def test_abort_gives_the_uses_back_and_ends_the_warrant(office: Any, started: bool) -> None:
    warrant = admit(office)
    active = office.desk.start(warrant) if started else None
    assert uses(office) == 2
    for _ in range(2):
        office.desk.abort(warrant, "disk full")
    assert uses(office) == 0
    assert office.desk.state(warrant.warrant_id) == "aborted"
    assert kinds(office) == ["decision", "warrant", "abort"]
    invalid("WARRANT-SPENT", office.desk.start, warrant)
    if active:
        invalid("WARRANT-SPENT", active.require)
        invalid("WARRANT-SPENT", office.desk.finish, active, {}, record=keep)


@pytest.mark.parametrize(
    "reason", ["", "x" * 5000, "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\udcff"]
)
def test_any_reason_closes_a_warrant(office: Any, reason: str) -> None:
    warrant = admit(office)
    office.desk.abort(warrant, reason)
    assert office.desk.state(warrant.warrant_id) == "aborted"


def test_a_release_needs_the_capability(office: Any) -> None:
    warrant = admit(office)
    for value in (warrant, None, warrant.warrant_id):
        invalid("WARRANT-REQUIRED", office.desk.finish, value, {}, record=keep)


@pytest.mark.parametrize(
    "release", [{"kind": "decision"}, {"at": 0}, {"text": "x" * 5000}, {"n": 0.5}], ids=repr
)
def test_a_release_that_cannot_be_logged_is_none(office: Any, release: dict[str, Any]) -> None:
    active = office.desk.start(admit(office))
    with pytest.raises(Malformed):
        office.desk.finish(active, release, record=keep)
    assert office.desk.state(active.document.warrant_id) == "started"
    assert "release" not in kinds(office)


def test_a_release_entry_names_this_warrant_whatever_it_says(office: Any) -> None:
    active = office.desk.start(admit(office))
    office.desk.finish(active, {"warrant": "other", "output": "x"}, record=keep)
    assert office.log.entries()[-1]["warrant"] == active.document.warrant_id
    with office.database.transaction() as connection:
        newest = office.log.newest(active.document.warrant_id, within=connection)
    assert newest["kind"] == "release"


def test_a_record_that_fails_releases_nothing(office: Any) -> None:
    active = office.desk.start(admit(office))

    def fail(connection: sa.Connection, receipt: Receipt) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        office.desk.finish(active, {}, record=fail)
    assert office.desk.state(active.document.warrant_id) == "started"
    assert "release" not in kinds(office)
    active.require()


def test_an_abandoned_warrant_is_found_by_its_request(office: Any) -> None:
    one, two = admit(office, request_id="r-1"), admit(office, request_id="r-2")
    office.desk.start(two)
    assert office.desk.abandoned("r-1") == [one]
    assert office.desk.abandoned("r-2") == [two]
    assert office.desk.abandoned("r-3") == []
    for warrant in (one, two):
        office.desk.abort(warrant, "killed")
        assert office.desk.abandoned(warrant.request_id) == []


# --- forgeries and strangers --------------------------------------------------------------------


def test_forged_or_unknown_warrants_do_not_start(office: Any) -> None:
    warrant = admit(office)
    for changes in ({"source_sha256": "0" * 64}, {"expires_at": NOW + 10**6}):
        invalid("WARRANT-FORGED", office.desk.start, warrant.model_copy(update=changes))
    other = warrant.body() | {"warrant_id": "00000000-0000-4000-8000-000000000001"}
    signed = read_warrant(canonical(other | {"sig": office.desk_key.sign("warrant", other)}))
    invalid("WARRANT-UNKNOWN", office.desk.start, signed)
    invalid("WARRANT-UNKNOWN", office.desk.abort, signed, "x")
    invalid("WARRANT-UNKNOWN", office.desk.state, signed.warrant_id)
    stranger = replace(office.desk, key=SigningKey.from_seed(b"x" * 32))
    invalid("WARRANT-FORGED", stranger.start, warrant)
    office.desk.start(warrant)


def test_a_warrant_of_another_deployment(office: Any) -> None:
    elsewhere = type(office)()
    warrant = admit(elsewhere)
    invalid("WARRANT-UNKNOWN", office.desk.start, warrant)


def test_a_warrant_expires_before_and_after_its_start(office: Any) -> None:
    one, two = admit(office), admit(office)
    active = office.desk.start(two)
    office.clock.now += 600
    invalid("WARRANT-EXPIRED", office.desk.start, one)
    invalid("WARRANT-EXPIRED", active.require)
    invalid("WARRANT-EXPIRED", office.desk.finish, active, {}, record=keep)
    office.desk.abort(one, "expired")
    assert uses(office) == 2


def test_a_clock_set_back_stops_a_running_job(office: Any) -> None:
    active = office.desk.start(admit(office))
    office.clock.now -= 1
    with pytest.raises(ClockRollback):
        active.require()
    with pytest.raises(ClockRollback):
        office.desk.finish(active, {}, record=keep)


SPENT = {
    "a released warrant set back": "update warrant set state = 'started'",
    "a released warrant made new": "update warrant set state = 'issued'",
}


@pytest.mark.parametrize("name", SPENT)
@pytest.mark.parametrize("ended", ["released", "aborted"])
def test_a_spent_warrant_is_not_revived_by_editing_its_row(
    office: Any, tamper: Tamper, name: str, ended: str
) -> None:
    active = office.desk.start(admit(office))
    if ended == "released":
        office.desk.finish(active, {}, record=keep)
    else:
        office.desk.abort(active.document, "x")
    tamper(office.database, SPENT[name])
    invalid("WARRANT-SPENT", office.desk.start, active.document)
    invalid("WARRANT-SPENT", active.require)
    invalid("WARRANT-SPENT", office.desk.finish, active, {}, record=keep)


# --- withdrawal ---------------------------------------------------------------------------------

PEOPLE = [0, 1]


@pytest.mark.parametrize("who", PEOPLE)
def test_withdrawn_before_the_decision(office: Any, who: int) -> None:
    request = office.swap_request()
    measured = office.measured(request)
    office.withdraw(request.people[who].record_id)
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, measured)
    assert caught.value.decision.codes == ("CONSENT-STATUS",)


@pytest.mark.parametrize("who", PEOPLE)
def test_withdrawn_before_the_start(office: Any, who: int) -> None:
    warrant = admit(office)
    office.withdraw(warrant.people[who].record_id)
    invalid("CONSENT-CHANGED", office.desk.start, warrant)
    assert office.desk.state(warrant.warrant_id) == "issued"


@pytest.mark.parametrize("who", PEOPLE)
def test_withdrawn_after_the_start(office: Any, who: int) -> None:
    active = office.desk.start(admit(office))
    active.require()
    office.withdraw(active.document.people[who].record_id)
    invalid("CONSENT-CHANGED", active.require)
    invalid("CONSENT-CHANGED", office.desk.finish, active, {}, record=keep)
    assert "release" not in kinds(office)
    office.desk.abort(active.document, "withdrawn")
    assert uses(office) == 0


@pytest.mark.parametrize("kind", ["revoked", "invalidated"])
def test_the_controller_can_stop_a_running_job_too(office: Any, kind: Any) -> None:
    active = office.desk.start(admit(office))
    record_id = active.document.people[0].record_id
    keys = office.keys(record_id, "controller")
    office.book.append(record_id, kind, keys=keys, reason="a complaint")
    invalid("CONSENT-CHANGED", active.require)


def test_a_consent_that_expires_during_the_job(office: Any) -> None:
    people = [
        (office.enrol(validity={"not_before": NOW, "expires": NOW + 60}), "source_identity"),
        (office.enrol(), "target_body"),
    ]
    request = office.request(people)
    active = office.desk.start(office.desk.admit(request, office.measured(request)))
    office.clock.now += 59
    active.require()
    office.clock.now += 1
    invalid("CONSENT-CHANGED", active.require)


@pytest.mark.parametrize(
    "sql",
    [
        "update consent set document = x'7b7d'",
        "update consent_event set document = x'7b7d'",
        "delete from consent_event where seq = 1",
        "delete from log_entry where i not in (select max(i) - 1 from log_entry)",
    ],
)
def test_a_consent_that_is_edited_during_the_job(office: Any, tamper: Tamper, sql: str) -> None:
    active = office.desk.start(admit(office))
    tamper(office.database, sql)
    invalid("CONSENT-CHANGED", active.require)


def test_a_consent_that_is_replaced_during_the_job(office: Any, tamper: Tamper) -> None:
    """Another record of the same id, honestly signed and confirmed: still not the one that was."""
    active = office.desk.start(admit(office))
    record_id = active.document.people[0].record_id
    for sql in (
        "update log_entry set about = null",
        "delete from consent_event where record_id = ?",
        "delete from template where record_id = ?",
        "delete from consent where record_id = ?",
    ):
        tamper(office.database, sql, *[record_id] * sql.count("?"))
    record, template = office.record()
    subject = office.subjects[record.record_id]
    office.subjects[record_id] = subject
    renamed = record.model_copy(update={"record_id": record_id, "signatures": ()})
    office.book.add(office.signed(renamed), template)
    for kind in ("given", "confirmed"):
        keys = office.keys(record_id, "subject", "controller")
        assert office.book.append(record_id, kind, keys=keys).status == kind
    tamper(
        office.database, "update log_entry set about = ? where i in (2, 3)",
        office.book.commit(active.document.people[1].record_id),
    )  # fmt: skip
    invalid("CONSENT-CHANGED", active.require)


def test_a_database_that_goes_away_during_the_job(office: Any) -> None:
    active = office.desk.start(admit(office))
    with office.database.transaction() as connection:
        connection.exec_driver_sql("drop table reservation")
        connection.exec_driver_sql("drop table warrant")
    with pytest.raises(StoreUnavailable):
        active.require()


SEGMENTS = 6
STEPS = (
    "start", "source", "target", *(f"segment {n}" for n in range(SEGMENTS)), "mark", "sign",
    "finish",
)  # fmt: skip


@pytest.mark.parametrize("at", range(len(STEPS)), ids=STEPS)
@pytest.mark.parametrize("who", PEOPLE)
def test_withdrawn_just_before_any_step_of_a_long_job(office: Any, at: int, who: int) -> None:
    """T8: whatever the moment, the very next door is closed, and every one after it."""
    warrant = admit(office)
    released: list[Receipt] = []
    active: Any = None

    def take(step: str) -> None:
        nonlocal active
        if step == "start":
            active = office.desk.start(warrant)
        elif step == "finish":
            office.desk.finish(active, {}, record=lambda _, receipt: released.append(receipt))
        elif step in ("source", "target"):
            active.require(**{f"{step}_sha256": getattr(warrant, f"{step}_sha256")})
        else:
            active.require()

    for step in STEPS[:at]:
        take(step)
    office.withdraw(warrant.people[who].record_id)
    for step in STEPS[at:]:
        if active is not None or step == "start":
            invalid("CONSENT-CHANGED", take, step)
    assert released == []
    assert "release" not in kinds(office)
    office.desk.abort(warrant, "withdrawn")
    assert uses(office) == 0
    assert office.desk.state(warrant.warrant_id) == "aborted"


def test_a_bystander_who_withdraws_stops_the_job_too(office: Any) -> None:
    people = [
        (office.enrol(), "source_identity"), (office.enrol(), "target_body"),
        *((office.enrol(), "bystander") for _ in range(2)),
    ]  # fmt: skip
    request = office.request(people)
    active = office.desk.start(office.desk.admit(request, office.measured(request)))
    active.require()
    office.withdraw(people[-1][0])
    invalid("CONSENT-CHANGED", active.require)
    invalid("CONSENT-CHANGED", office.desk.finish, active, {}, record=keep)


# --- another policy -------------------------------------------------------------------------------

POLICY, SCHEMA = ((HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema"))
NOTHING_HERE = """@id("HOUSE-CLOSED") @about("request") @law("HOUSE")
@explain("Closed.") @mend("Wait.")
forbid (principal, action == Action::"generate", resource is Depiction) when { true };"""


def under(office: Any, **changes: Any) -> WarrantDesk:
    """The same desk, over the same database, in a house that was changed."""
    desk: WarrantDesk = replace(office.desk, house=replace(office.house, **changes))
    return desk


CHANGES: dict[str, dict[str, Any]] = {
    "a forbid": {"gate": Gate(POLICY, SCHEMA, house=NOTHING_HERE)},
    "a forbid that forbids nothing": {
        "gate": Gate(POLICY, SCHEMA, house=NOTHING_HERE.replace("when", "unless"))
    },
    "a purpose": {"purposes": {"studio:parade": "a parade"}},
    "no notice any more": {"notices": frozenset()},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_house_takes_no_earlier_warrant(office: Any, name: str) -> None:
    issued, started = admit(office), admit(office)
    active = office.desk.start(started)
    new = under(office, **CHANGES[name])
    invalid("WARRANT-OTHER-POLICY", new.start, issued)
    invalid("WARRANT-OTHER-POLICY", new.check, started, state="started")
    invalid("WARRANT-OTHER-POLICY", new.finish, active, {}, record=keep)
    assert "release" not in kinds(office)
    new.abort(issued, "another policy")
    new.abort(started, "another policy")
    assert uses(office) == 0


def test_a_forbid_of_the_house_refuses_and_is_logged(office: Any) -> None:
    desk = under(office, **CHANGES["a forbid"])
    request = office.swap_request()
    with pytest.raises(Refused, match="HOUSE-CLOSED") as caught:
        desk.admit(request, office.measured(request))
    assert caught.value.decision.codes == ("HOUSE-CLOSED",)
    entry = office.log.entries()[-1]
    assert entry["reasons"] == ["HOUSE-CLOSED"]
    assert entry["policy"] == desk.house.sha256 != office.house.sha256
    assert uses(office) == 0


def read_law(office: Any, rule_id: str) -> WarrantDesk:
    """The desk of a house in which somebody read the official text of a rule."""
    law = office.house.law
    read = law.find(rule_id).model_copy(
        update={"severity": "error", "text_read": "primary", "text_sha256": "ab" * 32,
                "reviewed_by": "A. Reader"}
    )  # fmt: skip
    return under(office, law=LawBook((*(r for r in law.rules if r.id != rule_id), read)))


RELEASE_FORM = {
    "form": "US-IL-RELEASE", "written_release_sha256": "5" * 64, "purpose_and_term": "a film",
    "signed_at": NOW - 1,
}  # fmt: skip


def in_illinois(office: Any, *addenda: dict[str, Any]) -> Any:
    people = [
        (office.enrol(territories=["US"], addenda=[RELEASE_FORM]), "source_identity"),
        (office.enrol(territories=["US"], addenda=list(addenda)), "target_body"),
    ]
    return office.request(people, territories=["US-IL"])


def test_unread_law_is_noted_in_the_log_and_refuses_nothing(office: Any) -> None:
    request = in_illinois(office)
    warrant = office.desk.admit(request, office.measured(request))
    entry = office.log.prove(warrant.decision_index).entry
    assert (entry["allow"], entry["notes"]) == (True, ["US-IL-BIPA-15"])
    signed = in_illinois(office, RELEASE_FORM)
    warrant = office.desk.admit(signed, office.measured(signed))
    assert office.log.prove(warrant.decision_index).entry["notes"] == []


def test_law_that_was_read_refuses_whoever_lacks_its_form(office: Any) -> None:
    desk = read_law(office, "US-IL-BIPA-15")
    request = in_illinois(office)
    with pytest.raises(Refused) as caught:
        desk.admit(request, office.measured(request))
    (finding,) = caught.value.decision.findings
    assert (finding.code, finding.subject.split()[0]) == ("ADDENDUM-MISSING", "target_body")
    assert finding.explain == "Their consent lacks US-IL-RELEASE."
    assert office.log.entries()[-1]["notes"] == []
    signed = in_illinois(office, RELEASE_FORM)
    desk.start(desk.admit(signed, office.measured(signed))).require()
    elsewhere = office.swap_request()
    desk.admit(elsewhere, office.measured(elsewhere))


# --- what an entry of the log holds ---------------------------------------------------------------


def crowd(office: Any, people: int = MOST_PEOPLE) -> Any:
    roles = ["source_identity", "target_body", *["bystander"] * (people - 2)]
    return office.request([(office.enrol(), role) for role in roles])


def entry_bytes(office: Any) -> int:
    return len(canonical(office.log.entries()[-1]))


def test_a_decision_about_the_most_people_fits_the_log(office: Any) -> None:
    request = crowd(office)
    warrant = office.desk.admit(request, office.measured(request))
    assert len(warrant.people) == 32
    entry = office.log.prove(warrant.decision_index).entry
    assert len(entry["subjects"]) == 32
    assert len(canonical(entry)) <= MAX_ENTRY_BYTES


def test_every_reason_against_the_most_people_fits_the_log(office: Any) -> None:
    """Also with what a house may add: more reasons and rules than there is room for."""
    codes = [f"HOUSE-{'X' * 36}-{n:03}" for n in range(60)]
    forbids = "\n".join(NOTHING_HERE.replace("HOUSE-CLOSED", code) for code in codes)
    bipa = office.house.law.find("US-IL-BIPA-15")
    more = [bipa.model_copy(update={"id": f"ACME-{'Y' * 30}-{n:03}"}) for n in range(60)]
    desk = under(
        office, gate=Gate(POLICY, SCHEMA, house=forbids),
        law=LawBook((*office.house.law.rules, *more)), notices=frozenset(),
    )  # fmt: skip
    people = crowd(office).people
    request = office.request(
        [(person.record_id, person.role) for person in people], territories=["US-IL", "CN"],
        categories=["minors_context"], purpose="studio:parade", medium="video",
        audience="paid_ads",
    )  # fmt: skip
    measured = office.measured(
        request, source_faces=3, target_faces=90, unnamed_minor=True, source_nudity="found",
        pixels=10**9, people=(), identity_model_sha256="f" * 64, source_sha256="f" * 64,
    )  # fmt: skip
    with pytest.raises(Refused) as caught:
        desk.admit(request, measured)
    decision, entry = caught.value.decision, office.log.entries()[-1]
    assert len(decision.codes) > 60 + 15
    assert entry["decision"] == decision.sha256
    assert entry["reasons"][:-1] == list(decision.codes[: len(entry["reasons"]) - 1])
    left = len(decision.codes) - len(entry["reasons"]) + 1
    assert entry["reasons"][-1] == f"and {left} more"
    notes = sorted({note.rule_id for note in decision.notes})
    assert len(notes) > 60
    assert entry["notes"][-1] == f"and {len(notes) - len(entry['notes']) + 1} more"
    assert entry["notes"][:-1] == notes[: len(entry["notes"]) - 1]
    assert len(entry["subjects"]) == 32
    assert 3_500 < entry_bytes(office) <= MAX_ENTRY_BYTES


def test_all_reasons_of_the_product_are_logged_by_name(office: Any) -> None:
    fit = _fit([rule.code for rule in RULES], 1_000)
    assert fit == [rule.code for rule in RULES]
    assert (_fit([], 9), _fit(["ab"], 5), _fit(["ab"], 4)) == ([], ["ab"], ["and 1 more"])


def test_a_consent_that_nobody_knows_is_logged_without_its_id(office: Any) -> None:
    stranger = "00000000-0000-7000-8000-0000000000ff"
    known = office.enrol()
    request = office.request([(stranger, "source_identity"), (known, "target_body")])
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request))
    assert "CONSENT-BROKEN" in caught.value.decision.codes
    entry = office.log.entries()[-1]
    subjects = set(entry["subjects"])
    assert office.book.commit(known) in subjects
    (mask,) = subjects - {office.book.commit(known)}
    assert stranger not in str(entry)
    assert mask != sha256_hex(stranger.encode())
    office.log.check()


def test_blurred_faces_are_named_in_the_warrant(office: Any) -> None:
    request = office.swap_request(bystanders="blur")
    boxes = [[1, 2, 30, 40], [-5, 0, 9, 9]]
    measured = office.measured(request, blurred=boxes, target_faces=3)
    warrant = office.desk.admit(request, measured)
    assert warrant.blurred == ((1, 2, 30, 40), (-5, 0, 9, 9))
    assert read_warrant(warrant.encode()).blurred == warrant.blurred
    active = office.desk.start(warrant)
    active.require()
    for blurred in ((), warrant.blurred[:1], (*warrant.blurred, (0, 0, 1, 1))):
        fewer = warrant.model_copy(update={"blurred": blurred})
        invalid("WARRANT-FORGED", office.desk.check, fewer, state="started")


@pytest.mark.parametrize("asked", get_args(BystanderPolicy))
def test_what_was_decided_on_strangers_is_signed(office: Any, asked: str) -> None:
    request = office.swap_request(bystanders=asked)
    boxes = [] if asked == "refuse" else [[1, 2, 30, 40]]
    warrant = office.desk.admit(
        request, office.measured(request, blurred=boxes, target_faces=1 + len(boxes))
    )
    assert warrant.bystanders == asked
    assert read_warrant(warrant.encode()).bystanders == asked
    office.desk.start(warrant)
    for other in set(get_args(BystanderPolicy)) - {asked}:
        changed = warrant.model_copy(update={"bystanders": other})
        invalid("WARRANT-FORGED", office.desk.check, changed, state="started")


# --- uses and races -----------------------------------------------------------------------------


def limited(office: Any, max_uses: int) -> Any:
    people = [
        (office.enrol(max_uses=max_uses), "source_identity"),
        (office.enrol(), "target_body"),
    ]
    return office.request(people)


def test_uses_run_out_come_back_on_abort_and_stay_gone_on_release(office: Any) -> None:
    request = limited(office, 2)
    measured = office.measured(request)
    first, second = (office.desk.admit(request, measured) for _ in range(2))
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, measured)
    assert caught.value.decision.codes == ("LIMIT-EXHAUSTED",)
    office.desk.abort(first, "x")
    third = office.desk.admit(request, measured)
    for warrant in (second, third):
        office.desk.finish(office.desk.start(warrant), {}, record=keep)
    with pytest.raises(Refused):
        office.desk.admit(request, measured)
    invalid("WARRANT-SPENT", office.desk.start, first)


def test_a_warrant_that_expired_unended_holds_no_use(office: Any) -> None:
    request = limited(office, 1)
    measured = office.measured(request)
    first = office.desk.start(office.desk.admit(request, measured))
    office.clock.now += 599
    with pytest.raises(Refused):
        office.desk.admit(request, measured)
    office.clock.now += 1
    second = office.desk.admit(request, measured)
    invalid("WARRANT-EXPIRED", first.require)
    invalid("WARRANT-EXPIRED", office.desk.finish, first, {}, record=keep)
    office.clock.now -= 1  # only before the second was logged could the first still have ended
    with pytest.raises(ClockRollback):
        office.desk.finish(first, {}, record=keep)
    office.clock.now += 1
    office.desk.finish(office.desk.start(second), {}, record=keep)
    assert kinds(office).count("release") == 1
    with pytest.raises(Refused):
        office.desk.admit(request, measured)


def test_the_use_of_a_release_never_comes_back(office: Any) -> None:
    request = limited(office, 1)
    active = office.desk.start(office.desk.admit(request, office.measured(request)))
    office.desk.finish(active, {}, record=keep)
    office.clock.now += 86_400
    assert office.desk.sweep() == []
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request))
    assert caught.value.decision.codes == ("LIMIT-EXHAUSTED",)
    assert uses(office) == 2


def test_the_sweep_ends_what_expired_and_nothing_else(office: Any) -> None:
    issued, started, aborted, released = (admit(office) for _ in range(4))
    for warrant in (started, released):
        office.desk.start(warrant)
    office.desk.abort(aborted, "x")
    office.clock.now += 300
    late = admit(office)
    done = office.desk.start(admit(office))
    office.desk.finish(done, {}, record=keep)
    office.clock.now = issued.expires_at - 1
    assert office.desk.sweep() == []
    office.clock.now = issued.expires_at
    assert office.desk.sweep() == office_ids(issued, started, released)
    assert uses(office) == 4  # of the late one, and of the one that was released
    assert {office.desk.state(w.warrant_id) for w in (issued, started, released)} == {"aborted"}
    assert office.desk.state(late.warrant_id) == "issued"
    assert office.desk.state(done.document.warrant_id) == "released"
    swept = [e for e in office.log.entries() if e["kind"] == "abort" and e["reason"] == "expired"]
    assert sorted(e["warrant"] for e in swept) == office_ids(issued, started, released)
    assert office.desk.sweep() == []
    for warrant in (issued, started):
        invalid("WARRANT-EXPIRED", office.desk.start, warrant)
    office.log.check()


def office_ids(*warrants: Warrant) -> list[str]:
    return sorted(warrant.warrant_id for warrant in warrants)


def test_the_sweep_trusts_no_clock_that_was_set_back(office: Any) -> None:
    warrant = admit(office)
    office.clock.now += 700
    office.log.append("decision", {})
    office.clock.now -= 50
    with pytest.raises(ClockRollback):
        office.desk.sweep()
    assert office.desk.state(warrant.warrant_id) == "issued"
    office.clock.now += 50
    assert office.desk.sweep() == [warrant.warrant_id]


def test_one_person_in_two_roles_spends_one_use(office: Any) -> None:
    only = office.enrol(max_uses=1)
    request = office.request([(only, "source_identity"), (only, "target_body")])
    office.desk.admit(request, office.measured(request))
    assert uses(office) == 1


def test_a_release_can_be_handed_out_again_only_for_its_own_request(office: Any) -> None:
    request = limited(office, 1)
    measured = office.measured(request)
    model = measured.identity_model_sha256
    active = office.desk.start(office.desk.admit(request, measured))
    office.desk.finish(active, {}, record=keep)
    warrant_id = active.document.warrant_id
    office.desk.recheck(warrant_id, request, identity_model_sha256=model)
    wider = request.model_copy(update={"audience": "public"})
    invalid(
        "REQUEST-ID-REUSED", office.desk.recheck, warrant_id, wider, identity_model_sha256=model
    )
    invalid("WARRANT-UNKNOWN", office.desk.recheck, "w", request, identity_model_sha256=model)
    office.withdraw(request.people[0].record_id)
    with pytest.raises(Refused) as caught:
        office.desk.recheck(warrant_id, request, identity_model_sha256=model)
    assert caught.value.decision.codes == ("CONSENT-STATUS",)


@pytest.mark.parametrize("ended", ["issued", "started", "aborted"])
def test_what_was_not_released_is_not_handed_out_again(office: Any, ended: str) -> None:
    request = limited(office, 1)
    measured = office.measured(request)
    warrant = office.desk.admit(request, measured)
    if ended != "issued":
        office.desk.start(warrant)
    if ended == "aborted":
        office.desk.abort(warrant, "x")
    invalid(
        "WARRANT-SPENT", office.desk.recheck, warrant.warrant_id, request,
        identity_model_sha256=measured.identity_model_sha256,
    )  # fmt: skip


def test_a_stored_warrant_that_was_edited_hands_out_nothing(office: Any, tamper: Tamper) -> None:
    request = office.swap_request()
    warrant = office.desk.admit(request, office.measured(request))
    model = office.measured(request).identity_model_sha256
    wider = request.model_copy(update={"audience": "public"})
    forged = warrant.model_copy(update={"request_sha256": wider.sha256})
    tamper(office.database, "update warrant set document = ?", forged.encode())
    invalid(
        "WARRANT-FORGED", office.desk.recheck, warrant.warrant_id, wider,
        identity_model_sha256=model,
    )  # fmt: skip


def test_stored_warrants_cannot_be_exchanged(office: Any, tamper: Tamper) -> None:
    request = office.swap_request()
    measured = office.measured(request)
    one, two = (office.desk.admit(request, measured) for _ in range(2))
    tamper(
        office.database, "update warrant set document = ? where warrant_id = ?",
        two.encode(), one.warrant_id,
    )  # fmt: skip
    invalid(
        "REQUEST-ID-REUSED", office.desk.recheck, one.warrant_id, request,
        identity_model_sha256=measured.identity_model_sha256,
    )  # fmt: skip


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Run `call` in that many threads at the same moment; returns results and errors."""
    gate = threading.Barrier(count)

    def run(number: int) -> Any:
        gate.wait()
        try:
            return call(number)
        except Error as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def file_office(office: Any, tmp_path: Path) -> Any:
    return type(office)(database=Database(f"sqlite:///{tmp_path / 'store.db'}"))


def test_fifty_threads_and_one_use_give_one_warrant(office: Any, tmp_path: Path) -> None:
    shared = file_office(office, tmp_path)
    request = limited(shared, 1)
    measured = shared.measured(request)
    found = at_once(50, lambda _: shared.desk.admit(request, measured))
    assert sum(isinstance(result, Warrant) for result in found) == 1
    others = [result for result in found if not isinstance(result, Warrant)]
    assert {type(error) for error in others} <= {Refused, StoreUnavailable}
    assert uses(shared) == 2
    shared.log.check()


@pytest.mark.parametrize("memory", [True, False])
def test_many_threads_start_a_warrant_once(office: Any, tmp_path: Path, memory: bool) -> None:
    shared = office if memory else file_office(office, tmp_path)
    warrant = admit(shared)
    found = at_once(12, lambda _: shared.desk.start(warrant))
    assert sum(type(result) is ActiveWarrant for result in found) == 1
    codes = {result.code for result in found if isinstance(result, Error)}
    assert codes <= {"WARRANT-SPENT", "STORE-UNAVAILABLE"}


def test_many_threads_finish_or_abort_once(office: Any, tmp_path: Path) -> None:
    shared = file_office(office, tmp_path)
    active = shared.desk.start(admit(shared))

    def end(number: int) -> Any:
        if number % 2:
            return shared.desk.abort(active.document, "race")
        return shared.desk.finish(active, {}, record=keep)

    found = at_once(12, end)
    released = sum(isinstance(result, Receipt) for result in found)
    ended = [kind for kind in kinds(shared) if kind in ("release", "abort")]
    assert len(ended) == 1
    assert released == (ended == ["release"])
    assert uses(shared) == (2 if released else 0)


def test_a_withdrawal_races_the_release(office: Any, tmp_path: Path) -> None:
    shared = file_office(office, tmp_path)
    active = shared.desk.start(admit(shared))
    record_id = active.document.people[0].record_id

    def act(number: int) -> Any:
        if number:
            return shared.desk.finish(active, {}, record=keep)
        return shared.withdraw(record_id)

    at_once(2, act)
    order = [e["kind"] for e in shared.log.entries() if e.get("event") == "withdrawn" or
             e["kind"] == "release"]  # fmt: skip
    assert order in (["consent_event"], ["release", "consent_event"])


def edit_entry(old: str, new: str) -> str:
    """SQL that changes words of the entry at an index."""
    changed = f"cast(replace(cast(data as text), '{old}', '{new}') as blob)"
    return f"update log_entry set data = {changed} where i = ?"  # noqa: S608 - an edit is the point


@pytest.mark.parametrize(
    "sql",
    [
        "delete from log_entry where i = ?",
        edit_entry('"allow":true', '"allow":false'),
        edit_entry('"kind":"decision"', '"kind":"abort"'),
        edit_entry('"decision":"', '"decision":"0'),
    ],
)
def test_a_warrant_whose_decision_is_not_in_the_log_holds_nowhere(
    office: Any, tamper: Tamper, sql: str
) -> None:
    active = office.desk.start(admit(office))
    tamper(office.database, sql, active.document.decision_index)
    invalid("WARRANT-UNLOGGED", active.require)
    invalid("WARRANT-UNLOGGED", lambda: office.desk.finish(active, {}, record=keep))


def release_row(office: Any, warrant: Any) -> Callable[[sa.Connection, Any], None]:
    """What a release writes about the people it shows."""

    def write(connection: sa.Connection, receipt: Any) -> None:
        mark = warrant.warrant_id
        row = {name: mark for name in ("request_id", "warrant_id", "manifest_id")}
        row |= {name: "0" * 64 for name in ("manifest_sha256", "output_sha256", "fingerprint")}
        row |= {"mark_id": mark, "mime": "image/png", "log_index": receipt.index, "released_at": 1}
        connection.execute(sa.insert(RELEASE), row)
        for person in warrant.people:
            connection.execute(
                sa.insert(RELEASE_PERSON), {"record_id": person.record_id, "mark_id": mark}
            )

    return write


@pytest.mark.parametrize("sql", ["delete from reservation", "update warrant set state = 'aborted'"])
def test_a_use_that_was_released_stays_taken_whatever_its_rows_say(office: Any, sql: str) -> None:
    """Neither edit needs a trigger dropped."""
    request = limited(office, 1)
    measured = office.measured(request)
    warrant = office.desk.admit(request, measured)
    office.desk.finish(office.desk.start(warrant), {}, record=release_row(office, warrant))
    with office.database.transaction() as connection:
        connection.exec_driver_sql(sql)
    office.clock.now += 601
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, measured)
    assert caught.value.decision.codes == ("LIMIT-EXHAUSTED",)


def test_two_running_warrants_for_one_use_release_once(office: Any) -> None:
    """The reservations were deleted behind the desk's back: the release itself counts."""
    request = limited(office, 1)
    measured = office.measured(request)
    first = office.desk.admit(request, measured)
    with office.database.transaction() as connection:
        connection.exec_driver_sql("delete from reservation")
    second = office.desk.admit(request, measured)
    with office.database.transaction() as connection:
        connection.exec_driver_sql("delete from reservation")
    running = [office.desk.start(warrant) for warrant in (first, second)]
    office.desk.finish(running[0], {}, record=release_row(office, first))
    with pytest.raises(WarrantInvalid) as caught:
        office.desk.finish(running[1], {}, record=release_row(office, second))
    assert caught.value.code == "CONSENT-CHANGED"
    assert office.desk.state(second.warrant_id) == "started"
