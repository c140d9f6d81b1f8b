from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policies.decide import decide
from policies.facts import read_facts
from policies.gather import gather_facts

NOW = 1_795_219_200
UNKNOWN = "00000000-0000-7000-8000-0000000000ff"


def gather(office: Any, request: Any, measured: Any = None, **options: Any) -> dict[str, Any]:
    with office.database.transaction() as connection:
        return gather_facts(
            request, measured or office.measured(request), book=office.book,
            now=office.clock(), within=connection, **options,
        )  # fmt: skip


def codes(facts: dict[str, Any]) -> set[str]:
    decision = decide(
        facts, request_sha256="0" * 64, now=NOW,
        decision_id="00000000-0000-4000-8000-000000000000",
    )  # fmt: skip
    assert decision.allow is not bool(decision.codes)
    return set(decision.codes)


def test_good_facts(office: Any) -> None:
    facts = gather(office, office.swap_request())
    assert codes(facts) == set()
    read = read_facts(facts)
    assert (read.now, read.last_log_time) == (NOW, NOW)
    assert [person.status for person in read.people] == ["confirmed", "confirmed"]
    assert read.people[0].uses_left == 100


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"source_sha256": "0" * 64}, {"INPUTS-MISMATCH"}),
        ({"target_sha256": "0" * 64}, {"INPUTS-MISMATCH"}),
        ({"people": ()}, {"PEOPLE-MISMATCH", "FACE-MISMATCH"}),
        ({"source_faces": 2}, {"SOURCE-FACES"}),
        ({"target_faces": 2}, {"BYSTANDER"}),
        ({"target_faces": 2, "target_faces_resolved": 2}, {"BYSTANDER"}),
        ({"identity_model_sha256": "0" * 64}, {"TEMPLATE-MODEL"}),
    ],
)
def test_what_the_pictures_show(office: Any, measured: dict[str, Any], expected: set[str]) -> None:
    request = office.swap_request()
    assert codes(gather(office, request, office.measured(request, **measured))) == expected


def test_measured_people_are_exactly_the_named_ones(office: Any) -> None:
    request = office.swap_request()
    source, target = office.measured(request).people
    stranger = target.model_copy(update={"record_id": UNKNOWN})
    for people, expected in (
        ((source, target, stranger), {"PEOPLE-MISMATCH"}),
        ((source, stranger), {"PEOPLE-MISMATCH", "FACE-MISMATCH"}),
        ((source, target, target), {"PEOPLE-MISMATCH"}),
        ((source,), {"PEOPLE-MISMATCH", "FACE-MISMATCH"}),
    ):
        measured = office.measured(request, people=people)
        assert codes(gather(office, request, measured)) == expected


@pytest.mark.parametrize("changes", [{"match": "mismatch"}, {"match": "ambiguous"}, {"box": None}])
def test_a_face_that_does_not_match_or_has_no_place(office: Any, changes: dict[str, Any]) -> None:
    request = office.swap_request()
    source, target = office.measured(request).people
    people = (source.model_copy(update=changes), target)
    measured = office.measured(request, people=people)
    assert codes(gather(office, request, measured)) == {"FACE-MISMATCH"}


def test_two_matches_for_one_person_do_not_overrule_each_other(office: Any) -> None:
    request = office.swap_request()
    source, target = office.measured(request).people
    wrong = source.model_copy(update={"match": "mismatch"})
    measured = office.measured(request, people=(wrong, source, target))
    assert "PEOPLE-MISMATCH" in codes(gather(office, request, measured))


def test_an_unknown_consent_denies_without_hiding_other_reasons(office: Any) -> None:
    request = office.request([(UNKNOWN, "source_identity"), (office.enrol(), "target_body")])
    facts = gather(office, request, office.measured(request, source_faces=2))
    assert facts["people"][0]["status"] == "unknown"
    assert {"SOURCE-FACES", "CONSENT-BROKEN", "CONSENT-STATUS", "ADULT-ONLY"} <= codes(facts)
    assert facts["people"][1]["status"] == "confirmed"


def test_a_broken_consent_denies(office: Any, tamper: Callable[..., None]) -> None:
    request = office.swap_request()
    for edit in ("cast(document || ' ' as blob)", "x'00'", "9"):
        tamper(office.database, f"update consent set document = {edit}")  # noqa: S608
        facts = gather(office, request)
        assert [person["status"] for person in facts["people"]] == ["broken", "broken"]
        assert {"CONSENT-BROKEN", "CONSENT-STATUS", "LIMIT-EXHAUSTED"} <= codes(facts)


SCOPES = {
    "roles": ["bystander"],
    "purposes": ["personal"],
    "media": ["video"],
    "audiences": ["public"],
    "territories": ["FR"],
    "assets": {"mode": "listed", "sha256": ["0" * 64]},
    "counterparties": {"mode": "listed", "pids": ["ps_" + "a" * 26]},
}
EXPECTED = {
    "roles": "ROLE-SCOPE",
    "purposes": "PURPOSE-SCOPE",
    "media": "MEDIA-SCOPE",
    "audiences": "AUDIENCE-SCOPE",
    "territories": "TERRITORY-SCOPE",
    "assets": "ASSET-SCOPE",
    "counterparties": "COUNTERPARTY-SCOPE",
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("narrow", ["source", "target"])
def test_a_narrower_consent_of_either_person_denies(office: Any, scope: str, narrow: str) -> None:
    changes = {scope: SCOPES[scope]}
    people = [
        (office.enrol(**(changes if narrow == "source" else {})), "source_identity"),
        (office.enrol(**(changes if narrow == "target" else {})), "target_body"),
    ]
    assert codes(gather(office, office.request(people))) == {EXPECTED[scope]}


def test_listed_counterparties_and_assets_permit_exactly_those(office: Any) -> None:
    target = office.enrol(assets={"mode": "listed", "sha256": ["5" * 64]})
    pid = office.book.read(target).record.subject.pid
    source = office.enrol(counterparties={"mode": "listed", "pids": [pid]})
    people = [(source, "source_identity"), (target, "target_body")]
    assert codes(gather(office, office.request(people, target_sha256="5" * 64))) == set()
    assert codes(gather(office, office.request(people))) == {"ASSET-SCOPE"}
    others = [*people, (office.enrol(), "bystander")]
    request = office.request(others, target_sha256="5" * 64)
    assert codes(gather(office, request)) == {"COUNTERPARTY-SCOPE"}


def test_a_person_may_be_combined_with_themself(office: Any) -> None:
    only = office.enrol(counterparties={"mode": "listed", "pids": []})
    request = office.request([(only, "source_identity"), (only, "target_body")])
    assert codes(gather(office, request)) == set()


def test_an_opt_in_is_needed_from_everyone(office: Any) -> None:
    yes, no = office.enrol(opted_in=["political"]), office.enrol()
    for people, expected in (((yes, no), {"SENSITIVE-CATEGORY"}), ((yes, yes), set())):
        request = office.request(
            [(people[0], "source_identity"), (people[1], "target_body")], categories=["political"]
        )
        assert codes(gather(office, request)) == expected


def test_uses_are_counted_and_a_release_keeps_its_own(office: Any) -> None:
    people = [
        (office.enrol(max_uses=2), "source_identity"),
        (office.enrol(max_uses=1), "target_body"),
    ]
    request = office.request(people)
    warrant = office.desk.admit(request, office.measured(request))
    left = [person["uses_left"] for person in gather(office, request)["people"]]
    assert left == [1, 0]
    own = gather(office, request, released_under=warrant.warrant_id)["people"]
    assert [person["uses_left"] for person in own] == [2, 1]
    other = gather(office, request, released_under="other")["people"]
    assert [person["uses_left"] for person in other] == [1, 0]


def test_more_uses_than_the_limit_are_not_a_negative_number(
    office: Any, tamper: Callable[..., None]
) -> None:
    request = office.swap_request()
    warrant = office.desk.admit(request, office.measured(request))
    for seq in range(1, 120):
        tamper(
            office.database, "insert into reservation values (?, ?, ?)",
            request.people[0].record_id, seq, warrant.warrant_id,
        )  # fmt: skip
    assert gather(office, request)["people"][0]["uses_left"] == 0


def test_a_clock_behind_the_log(office: Any) -> None:
    request = office.swap_request()
    office.clock.now += 60
    office.log.append("decision", {})
    office.clock.now -= 1
    assert codes(gather(office, request)) == {"CLOCK-ROLLBACK"}
