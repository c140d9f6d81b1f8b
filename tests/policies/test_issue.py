"""A warrant is written down whole, takes one use of every consent, and gives it back once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from policies.errors import Malformed, StoreUnavailable
from policies.facts import Measured
from policies.issue import LogPlace, count_uses, give_back, keep_warrant, sign_warrant
from policies.request import Request
from policies.tables import RESERVATION, WARRANT
from policies.warrant import WARRANT_SECONDS, Warrant, verify_warrant

NOW = 1_795_219_200
HEAD = "5" * 64


def write(office: Any, request: Request, measured: Measured, number: int = 1) -> Warrant:
    """A signed warrant, without a desk that keeps it."""
    with office.database.transaction() as connection:
        decision, _ = office.desk._evaluate(request, measured, connection)
    return sign_warrant(
        request,
        measured,
        decision,
        heads={person.record_id: HEAD for person in request.people},
        place=LogPlace("log.test/other", 7, 8),
        warrant_id=f"00000000-0000-4000-8000-{number:012x}",
        key=office.desk_key,
    )


def count(office: Any, record_id: str, *, now: int = NOW, besides: str = "") -> int:
    with office.database.transaction() as connection:
        return count_uses(record_id, now=now, besides=besides, within=connection)


def test_a_warrant_says_what_was_asked_measured_and_decided(office: Any) -> None:
    request = office.swap_request(bystanders="blur")
    boxes = {"source_identity": (1, 2, 3, 4), "target_body": (-5, 6, 7, 8)}
    measured = office.measured(request, boxes=boxes, blurred=[[0, 0, 2, 2]], target_faces=2)
    warrant = write(office, request, measured)
    verify_warrant(warrant, key=office.desk_key.public, policy_sha256=office.house.sha256, now=NOW)
    assert (warrant.request_id, warrant.request_sha256) == (request.request_id, request.sha256)
    assert (warrant.source_sha256, warrant.target_sha256) == (
        request.source_sha256, request.target_sha256
    )  # fmt: skip
    assert [(p.record_id, p.role, p.box, p.consent_head) for p in warrant.people] == [
        (person.record_id, person.role, boxes[person.role], HEAD) for person in request.people
    ]
    assert (warrant.blurred, warrant.bystanders) == (((0, 0, 2, 2),), "blur")
    assert dict(warrant.models) == dict(measured.models)
    assert warrant.log_origin == "log.test/other"
    assert (warrant.decision_index, warrant.log_size) == (7, 8)
    assert (warrant.not_before, warrant.expires_at) == (NOW, NOW + WARRANT_SECONDS)


def test_no_warrant_for_a_face_without_a_place(office: Any) -> None:
    """The decision denies it; were it asked for all the same, there is no such document."""
    request = office.swap_request()
    source, target = office.measured(request).people
    nowhere = office.measured(request, people=(source.model_copy(update={"box": None}), target))
    with pytest.raises(Malformed):
        write(office, request, nowhere)


def test_keeping_takes_one_use_of_every_consent_and_giving_back_returns_it(office: Any) -> None:
    only = office.enrol()
    people = [(only, "source_identity"), (only, "target_body"), (office.enrol(), "bystander")]
    request = office.request(people)
    warrant = write(office, request, office.measured(request))
    with office.database.transaction() as connection:
        keep_warrant(warrant, within=connection)
        row = connection.execute(sa.select(WARRANT)).one()
    assert (row.state, row.expires_at, row.changed_at) == ("issued", NOW + WARRANT_SECONDS, NOW)
    assert row.document == warrant.encode()
    assert [count(office, record_id) for record_id, _ in people] == [1, 1, 1]
    assert count(office, "somebody else") == 0
    with office.database.transaction() as connection:
        for _ in range(2):
            give_back(warrant.warrant_id, within=connection)
    assert [count(office, record_id) for record_id, _ in people] == [0, 0, 0]


def test_a_warrant_is_kept_once(office: Any) -> None:
    request = office.swap_request()
    warrant = write(office, request, office.measured(request))
    with office.database.transaction() as connection:
        keep_warrant(warrant, within=connection)
    with pytest.raises(StoreUnavailable), office.database.transaction() as connection:
        keep_warrant(warrant, within=connection)
    assert count(office, request.people[0].record_id) == 1


def test_what_counts_as_a_use(office: Any) -> None:
    request = office.swap_request()
    record_id = request.people[0].record_id
    warrants = [write(office, request, office.measured(request), n) for n in range(1, 4)]
    with office.database.transaction() as connection:
        for warrant in warrants:
            keep_warrant(warrant, within=connection)
        released = sa.update(WARRANT).where(WARRANT.c.warrant_id == warrants[0].warrant_id)
        connection.execute(released.values(state="started"))
        connection.execute(released.values(state="released"))
    end = NOW + WARRANT_SECONDS
    assert count(office, record_id, now=end - 1) == 3
    assert count(office, record_id, now=end) == 1  # two can never release any more
    assert count(office, record_id, now=end - 1, besides=warrants[1].warrant_id) == 2
    assert count(office, record_id, now=end, besides=warrants[0].warrant_id) == 0


def test_uses_are_numbered_on_however_many_were_given_back(office: Any) -> None:
    request = office.swap_request()
    record_id = request.people[0].record_id
    one, two, three = (write(office, request, office.measured(request), n) for n in (1, 2, 3))
    with office.database.transaction() as connection:
        keep_warrant(one, within=connection)
        keep_warrant(two, within=connection)
        give_back(one.warrant_id, within=connection)
        keep_warrant(three, within=connection)
        taken = sa.select(RESERVATION.c.seq).where(RESERVATION.c.record_id == record_id)
        assert sorted(connection.execute(taken).scalars()) == [1, 2]
