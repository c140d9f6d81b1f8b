"""What names a person beside their consents is found by the ids of their records, and alone."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from policies.mentions import Mentions, find_mentions
from policies.request import Request
from policies.tables import RELEASE_PERSON, WARRANT
from policies.warrant import Warrant, read_warrant


def find(office: Any, *record_ids: str) -> Mentions:
    with office.database.transaction() as connection:
        return find_mentions(record_ids, within=connection)


def admit(office: Any, request: Request) -> Warrant:
    warrant: Warrant = office.desk.admit(request, office.measured(request))
    return warrant


@pytest.fixture
def request_(office: Any) -> Request:
    found: Request = office.swap_request()
    return found


def test_nothing_names_somebody_who_was_never_shown(office: Any, request_: Request) -> None:
    admit(office, request_)
    assert find(office, office.enrol()) == Mentions({}, {}, 0, 0)
    assert find(office) == Mentions({}, {}, 0, 0)


def test_a_warrant_its_decision_and_its_use_are_found_by_either_person(
    office: Any, request_: Request
) -> None:
    warrant = admit(office, request_)
    admit(office, office.swap_request(request_id="of-other-people"))
    for person in request_.people:
        found = find(office, person.record_id)
        [(state, document)] = found.warrants.values()
        assert (list(found.warrants), state) == ([warrant.warrant_id], "issued")
        assert read_warrant(document) == warrant
        [(decision, facts)] = found.decisions.values()
        assert list(found.decisions) == [warrant.decision_id]
        assert warrant.request_sha256.encode() in decision
        assert person.record_id.encode() in facts
        assert (found.uses, found.shown) == (1, 0)
    both = find(office, *(person.record_id for person in request_.people))
    assert (len(both.warrants), len(both.decisions), both.uses) == (1, 1, 2)


def test_a_warrant_that_ended_still_names_people_and_holds_no_use(
    office: Any, request_: Request
) -> None:
    office.desk.abort(admit(office, request_), "not needed")
    found = find(office, request_.people[0].record_id)
    assert [state for state, _ in found.warrants.values()] == ["aborted"]
    assert (len(found.decisions), found.uses) == (1, 0)


def test_releases_that_show_the_person_are_counted(office: Any, request_: Request) -> None:
    mine, other = (person.record_id for person in request_.people)
    shown = [{"record_id": mine, "mark_id": "a"}, {"record_id": mine, "mark_id": "b"}]
    with office.database.transaction() as connection:
        connection.execute(sa.insert(RELEASE_PERSON), shown)
    assert [find(office, one).shown for one in (mine, other)] == [2, 0]


def test_a_damaged_document_counts_by_the_id_that_it_holds(office: Any, request_: Request) -> None:
    admit(office, request_)
    mine, other = (person.record_id for person in request_.people)
    with office.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger warrant_update")
        connection.execute(sa.update(WARRANT).values(document=b"broken " + mine.encode()))
    assert [len(find(office, one).warrants) for one in (mine, other)] == [1, 0]


def test_more_rows_than_are_held_at_once(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.mentions._PAGE", 2)
    face, record_ids = b"one face " * 40, []
    for number in range(5):
        request = office.swap_request(face=face, request_id=f"request-{number}")
        admit(office, request)
        record_ids.append(request.people[0].record_id)
    found = find(office, *record_ids)
    assert (len(found.warrants), len(found.decisions), found.uses) == (5, 5, 5)
