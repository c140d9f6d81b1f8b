from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from policies.decide import decide
from policies.digest import sha256_hex
from policies.facts import read_facts
from policies.gather import gather_facts
from policies.house import shipped_house

NOW = 1_795_219_200
HOUSE = shipped_house([])
UNKNOWN = "00000000-0000-7000-8000-0000000000ff"
UNSEEN = {"PEOPLE-MISMATCH", "FACE-MISMATCH", "AGE-MINOR", "DO-NOT-SWAP"}
# Somebody who was not measured: neither matched, nor of age, nor looked up.


def gather(office: Any, request: Any, measured: Any = None, **options: Any) -> dict[str, Any]:
    with office.database.transaction() as connection:
        return gather_facts(
            request, measured or office.measured(request), book=office.book,
            house=office.house, now=office.clock(), within=connection, **options,
        )  # fmt: skip


def codes(facts: dict[str, Any]) -> set[str]:
    decision = decide(
        facts, request_sha256="0" * 64, now=facts["now"], house=HOUSE,
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
        ({"people": ()}, UNSEEN),
        ({"source_faces": 2}, {"SOURCE-FACES"}),
        ({"target_faces": 2}, {"BYSTANDER"}),
        ({"target_faces": 2, "target_faces_resolved": 2}, {"BYSTANDER"}),
        ({"identity_model_sha256": "0" * 64}, {"TEMPLATE-MODEL"}),
        ({"unnamed_minor": True}, {"BYSTANDER-MINOR"}),
        ({"blurred": [[0, 0, 9, 9]], "target_faces": 2}, {"BYSTANDER"}),
        ({"pixels": 100_000_001}, {"LIMIT-SIZE"}),
        ({"seconds": 601}, {"LIMIT-SIZE"}),
        *(
            ({name: answer}, {"NUDITY"})
            for name in ("source_nudity", "target_nudity")
            for answer in ("review", "found", "unavailable")
        ),
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
        ((source, stranger), UNSEEN),
        ((source, target, target), {"PEOPLE-MISMATCH"}),
        ((source,), UNSEEN),
    ):
        measured = office.measured(request, people=people)
        assert codes(gather(office, request, measured)) == expected


FACES = [
    ({"match": "mismatch"}, {"FACE-MISMATCH"}),
    ({"match": "ambiguous"}, {"FACE-MISMATCH"}),
    ({"box": None}, {"FACE-MISMATCH"}),
    ({"age": "minor"}, {"AGE-MINOR"}),
    ({"age": "challenge"}, set()),
    *(({"registry": answer}, {"DO-NOT-SWAP"}) for answer in ("hit", "ambiguous", "unavailable")),
]


@pytest.mark.parametrize(("changes", "expected"), FACES)
@pytest.mark.parametrize("who", [0, 1])
def test_what_a_face_shows(
    office: Any, changes: dict[str, Any], expected: set[str], who: int
) -> None:
    request = office.swap_request()
    people = list(office.measured(request).people)
    people[who] = people[who].model_copy(update=changes)
    measured = office.measured(request, people=tuple(people))
    assert codes(gather(office, request, measured)) == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [("document", set()), ("wallet", set()), ("rendered", {"AGE-CHALLENGE"}),
     ("in_person", {"AGE-CHALLENGE"}), ("self_declared", {"AGE-CHALLENGE"})],
)  # fmt: skip
def test_what_answers_a_challenge_of_a_young_face(
    office: Any, age: Any, expected: set[str]
) -> None:
    people = [(office.enrol(age=age), "source_identity"), (office.enrol(), "target_body")]
    request = office.request(people)
    source, target = office.measured(request).people
    young = (source.model_copy(update={"age": "challenge"}), target)
    assert codes(gather(office, request, office.measured(request, people=young))) == expected
    assert codes(gather(office, request)) == set()


@pytest.mark.parametrize(
    ("who", "listed", "expected"),
    [
        (0, sha256_hex(b"source"), set()),
        (1, sha256_hex(b"target"), set()),
        (0, sha256_hex(b"target"), {"AGE-CHALLENGE", "LIVENESS"}),
        (1, sha256_hex(b"source"), {"AGE-CHALLENGE", "LIVENESS"}),
        (0, sha256_hex(b"another picture"), {"AGE-CHALLENGE", "LIVENESS"}),
    ],
)
def test_rendered_holds_for_listed_pictures_alone(
    office: Any, who: int, listed: str, expected: set[str]
) -> None:
    """Nobody's word makes a person rendered: the picture itself has to be on the list."""
    ages = ["document", "document"]
    ages[who] = "rendered"
    roles = ("source_identity", "target_body")
    people = [(office.enrol(age=age), role) for age, role in zip(ages, roles, strict=True)]
    request = office.request(people, audience="public")
    found = list(office.measured(request).people)
    found[who] = found[who].model_copy(update={"age": "challenge"})
    office.house = replace(office.house, rendered=frozenset({listed}))
    measured = office.measured(request, people=tuple(found))
    assert codes(gather(office, request, measured)) == expected


@pytest.mark.parametrize(("audience", "expected"), [("internal", set()), ("public", {"LIVENESS"})])
def test_pictures_alone_are_enough_for_internal_use_only(
    office: Any, audience: str, expected: set[str]
) -> None:
    liveness = {"method": "none", "nonce_sha256": "", "score_milli": 0}
    still = office.enrol(binding={"liveness": liveness})
    people = [(still, "source_identity"), (office.enrol(), "target_body")]
    assert codes(gather(office, office.request(people, audience=audience))) == expected


def test_a_notice_that_was_never_published(office: Any) -> None:
    odd = office.enrol(notice={"sha256": sha256_hex(b"another text")})
    request = office.request([(office.enrol(), "source_identity"), (odd, "target_body")])
    assert codes(gather(office, request)) == {"NOTICE-UNKNOWN"}
    office.house = replace(
        office.house, notices=[sha256_hex(b"notice"), sha256_hex(b"another text")]
    )
    assert codes(gather(office, request)) == set()


def test_a_purpose_of_the_house_needs_the_house_and_the_consent(office: Any) -> None:
    parade = ["film_vfx", "studio:parade"]
    willing = [
        (office.enrol(purposes=parade), "source_identity"),
        (office.enrol(purposes=parade), "target_body"),
    ]
    request = office.request(willing, purpose="studio:parade")
    unasked = office.swap_request(purpose="studio:parade")
    assert codes(gather(office, request)) == {"PURPOSE-UNKNOWN"}
    assert codes(gather(office, unasked)) == {"PURPOSE-UNKNOWN", "PURPOSE-SCOPE"}
    office.house = replace(office.house, purposes={"studio:parade": "a parade"})
    assert codes(gather(office, request)) == set()
    assert codes(gather(office, unasked)) == {"PURPOSE-SCOPE"}


@pytest.mark.parametrize(
    ("territories", "expected"),
    [
        (["DE-BY"], set()),
        (["DE", "FR", "DE-BY", "FR-75C"], set()),
        (["EU"], {"TERRITORY-SCOPE"}),
        (["DE", "AT"], {"TERRITORY-SCOPE"}),
        (["RE"], {"TERRITORY-SCOPE"}),
    ],
)
def test_a_country_covers_its_parts_and_never_the_other_way(
    office: Any, territories: list[str], expected: set[str]
) -> None:
    request = office.swap_request(territories=territories)
    assert codes(gather(office, request)) == expected


def test_a_union_covers_its_members(office: Any) -> None:
    people = [
        (office.enrol(territories=["EEA"]), "source_identity"),
        (office.enrol(territories=["EU", "IS", "LI", "NO"]), "target_body"),
    ]
    for places in (["EEA"], ["EU"], ["NO"], ["DE-BY", "PT"]):
        assert codes(gather(office, office.request(people, territories=places))) == set()
    assert codes(gather(office, office.request(people, territories=["GB"]))) == {"TERRITORY-SCOPE"}


def test_what_a_person_barred_is_barred_whatever_the_other_opted_in_to(office: Any) -> None:
    people = [
        (office.enrol(opted_in=["political"]), "source_identity"),
        (office.enrol(prohibited=["political", "alcohol"]), "target_body"),
    ]
    request = office.request(people, categories=["political"])
    assert codes(gather(office, request)) == {"PROHIBITED-USE", "SENSITIVE-CATEGORY"}
    request = office.request(people, categories=["minors_context"])
    assert codes(gather(office, request)) == {"PROHIBITED-USE", "SENSITIVE-CATEGORY"}


@pytest.mark.parametrize(
    ("says", "faces", "blurred", "expected"),
    [
        ("blur", 3, 2, set()),
        ("persona", 3, 2, set()),
        ("persona", 1, 0, set()),
        ("persona", 4, 2, {"BYSTANDER"}),
        ("blur", 1, 0, set()),
        ("refuse", 3, 2, {"BYSTANDER"}),
        ("blur", 4, 2, {"BYSTANDER"}),
        ("blur", 2, 2, {"BYSTANDER"}),
    ],
)
def test_faces_that_nobody_named(
    office: Any, says: str, faces: int, blurred: int, expected: set[str]
) -> None:
    request = office.swap_request(bystanders=says)
    boxes = [[n, 0, n + 9, 9] for n in range(blurred)]
    measured = office.measured(request, blurred=boxes, target_faces=faces)
    assert codes(gather(office, request, measured)) == expected
    minor = office.measured(request, blurred=boxes, target_faces=faces, unnamed_minor=True)
    assert codes(gather(office, request, minor)) == expected | {"BYSTANDER-MINOR"}


def test_a_use_whose_warrant_expired_unended_is_left_again(office: Any) -> None:
    people = [(office.enrol(max_uses=1), "source_identity"), (office.enrol(), "target_body")]
    request = office.request(people)
    warrant = office.desk.admit(request, office.measured(request))
    office.desk.start(warrant)
    office.clock.now = warrant.expires_at - 1
    assert codes(gather(office, request)) == {"LIMIT-EXHAUSTED"}
    office.clock.now = warrant.expires_at
    assert codes(gather(office, request)) == set()


def test_a_use_that_was_released_stays_used(office: Any) -> None:
    people = [(office.enrol(max_uses=1), "source_identity"), (office.enrol(), "target_body")]
    request = office.request(people)
    active = office.desk.start(office.desk.admit(request, office.measured(request)))
    office.desk.finish(active, {}, record=lambda *_: None)
    office.clock.now += 5 * 86_400
    assert codes(gather(office, request)) == {"LIMIT-EXHAUSTED"}


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
    people = [(office.enrol(max_uses=1), "source_identity"), (office.enrol(), "target_body")]
    request, other = office.request(people), office.swap_request(request_id="other")
    office.desk.admit(request, office.measured(request))
    warrant = office.desk.admit(other, office.measured(other))
    tamper(
        office.database, "insert into reservation values (?, ?, ?)",
        people[0][0], 1, warrant.warrant_id,
    )  # fmt: skip
    assert gather(office, request)["people"][0]["uses_left"] == 0


def test_a_clock_behind_the_log(office: Any) -> None:
    request = office.swap_request()
    office.clock.now += 60
    office.log.append("decision", {})
    office.clock.now -= 1
    assert codes(gather(office, request)) == {"CLOCK-ROLLBACK"}
