"""T12: a missing, ill-typed or unknown fact is a denial, whichever fact it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from policies.canonical import digest
from policies.decide import Decision, decide
from policies.errors import Malformed
from policies.facts import ConsentFacts, Facts, Measured, MeasuredPerson, assume_best, read_facts
from policies.house import shipped_house
from policies.request import make_request

HOUSE = shipped_house([])
WHOLE = sorted(set(Facts.model_fields) - {"people"})
PERSON = sorted(ConsentFacts.model_fields)
PATHS = [(name,) for name in [*WHOLE, "people"]] + [
    ("people", index, name) for index in (0, 1) for name in PERSON
]
MISSING = object()
WRONG = (MISSING, None, 0, 1, 1.0, 1.5, -1, 10**30, "", "true", [], {}, [1], True, False, "\ud800")
# Values of the right type that rightly permit: everything else in the table above must deny.
HARMLESS: dict[str, tuple[object, ...]] = {
    "last_log_time": (0, 1),
    "status_since": (0, 1),
    "not_before": (0, 1),
    "uses_left": (1,),
    "source_faces": (1,),
    "target_faces": (1,),
    "target_faces_resolved": (1,),
    "target_faces_blurred": (0,),
    "pixels": (1,),
    "seconds": (0, 1),
    "max_seconds": (0, 1),
    "unnamed_minor": (False,),
    "age_assured": (True, False),  # nobody challenges a clear face
    "enrolled_live": (True, False),  # the good request is for internal use
} | {
    name: ([],)
    for name in ("categories", "opted_in", "prohibited", "addenda", "required_marks",
                 "required_addenda")
} | {
    name: (True,)
    for name in ("inputs_match", "people_match", "purpose_known", "counterparties_ok", "asset_ok",
                 "notice_known", "adult", "template_model_ok")
}  # fmt: skip


def verdict(facts: Any) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=1_795_219_200,
        house=HOUSE,
    )


def damaged() -> Iterator[Any]:
    for path in PATHS:
        for value in WRONG:
            harmless = HARMLESS.get(str(path[-1]), ())
            if not any(type(value) is type(h) and value == h for h in harmless):
                name = "missing" if value is MISSING else repr(value)
                yield pytest.param(path, value, id=f"{'.'.join(map(str, path))}={name}")


def put(facts: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    spot: Any = facts
    for part in path[:-1]:
        spot = spot[part]
    if value is MISSING:
        del spot[path[-1]]
    else:
        spot[path[-1]] = value


def test_good_facts_are_allowed(good_facts: dict[str, Any]) -> None:
    assert verdict(good_facts).allow is True
    assert verdict(good_facts).facts_sha256 == digest(good_facts)


@pytest.mark.parametrize(("path", "value"), list(damaged()))
def test_any_damaged_fact_denies(
    good_facts: dict[str, Any], path: tuple[str | int, ...], value: object
) -> None:
    put(good_facts, path, value)
    decision = verdict(good_facts)
    assert decision.allow is False
    assert decision.findings


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_the_exceptions_of_the_table_are_real(good_facts: dict[str, Any], name: str) -> None:
    for value in HARMLESS[name]:
        path = (name,) if name in WHOLE else ("people", 0, name)
        put(good_facts, path, value)
        assert verdict(good_facts).allow is True


@pytest.mark.parametrize("raw", [None, 0, "facts", [], [["now", 1]], {}, {"now": float("nan")}])
def test_facts_that_are_no_object_deny(raw: object) -> None:
    decision = verdict(raw)
    assert decision.codes == ("FACTS",)
    assert decision.allow is False


@pytest.mark.parametrize("path", [("surprise",), ("people", 0, "surprise"), ("people", 1, "role_")])
def test_an_unknown_fact_denies(good_facts: dict[str, Any], path: tuple[str | int, ...]) -> None:
    put(good_facts, path, True)
    assert verdict(good_facts).codes == ("FACTS",)


def test_the_wrong_fact_is_named(good_facts: dict[str, Any]) -> None:
    good_facts["people"][1]["adult"] = "true"
    with pytest.raises(Malformed, match=r"fact people\.1\.adult") as caught:
        read_facts(good_facts)
    assert caught.value.code == "MALFORMED"


def test_facts_round_trip_and_have_one_digest(good_facts: dict[str, Any]) -> None:
    facts = read_facts(good_facts)
    assert facts.model_dump(mode="json") == good_facts
    assert facts.sha256 == digest(good_facts)
    good_facts["source_faces"] = 2
    assert read_facts(good_facts).sha256 != facts.sha256


PEOPLE = [
    {"record_id": "00000000-0000-7000-8000-000000000001", "role": "source_identity"},
    {"record_id": "00000000-0000-7000-8000-000000000002", "role": "target_body"},
    {"record_id": "00000000-0000-7000-8000-000000000003", "role": "bystander"},
]


def test_the_best_measurement_of_a_request() -> None:
    request = make_request(
        request_id="r", operator="o", source_sha256="1" * 64, target_sha256="2" * 64,
        people=PEOPLE, purpose="personal", medium="image", audience="internal",
        territories=["DE"],
    )  # fmt: skip
    best = assume_best(request, identity_model_sha256="3" * 64)
    assert (best.source_faces, best.target_faces, best.target_faces_resolved) == (1, 2, 2)
    assert (best.source_sha256, best.target_sha256) == ("1" * 64, "2" * 64)
    assert {(p.match, p.age, p.registry) for p in best.people} == {("match", "clear", "clear")}
    assert (best.blurred, best.unnamed_minor, best.pixels, best.seconds) == ((), False, 1, 0)
    assert (best.source_nudity, best.target_nudity) == ("clear", "clear")
    assert [(p.record_id, p.role) for p in best.people] == [
        (p["record_id"], p["role"]) for p in PEOPLE
    ]


PERSON_SEEN: dict[str, Any] = {
    **PEOPLE[0], "match": "match", "distance_milli": 300, "age": "clear", "registry": "clear",
    "box": (0, 0, 9, 9),
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"match": "probably"},
        {"match": True},
        {"age": "adult"},
        {"age": 30},
        {"age": None},
        {"registry": "miss"},
        {"registry": True},
        {"registry": None},
        {"distance_milli": 0.3},
        {"distance_milli": -1},
        {"distance_milli": 10**7},
        {"box": (0, 0, 9)},
        {"box": (0, 0, 9, 10**6)},
        {"box": "0099"},
        {"role": "nobody"},
        {"record_id": "x"},
        {"surprise": 1},
    ],
    ids=repr,
)
def test_an_odd_measurement_is_refused(changes: dict[str, Any]) -> None:
    MeasuredPerson.model_validate(PERSON_SEEN)
    with pytest.raises(ValidationError):
        MeasuredPerson.model_validate(PERSON_SEEN | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"source_faces": -1},
        {"source_faces": True},
        {"target_faces": 1.0},
        {"target_faces": 10**6},
        {"models": {"a b": "1" * 64}},
        {"models": {"a": "sha"}},
        {"identity_model_sha256": "X" * 64},
        {"people": None},
        {"blurred": None},
        {"blurred": [[0, 0, 9]]},
        {"blurred": [[0, 0, 9, 9]] * 65},
        {"unnamed_minor": None},
        {"unnamed_minor": 0},
        {"source_nudity": "none"},
        {"target_nudity": None},
        {"pixels": 0},
        {"pixels": 10**9 + 1},
        {"seconds": 0.5},
        {"seconds": -1},
    ],
    ids=repr,
)
def test_an_odd_measurement_of_the_pictures_is_refused(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "source_sha256": "1" * 64, "target_sha256": "2" * 64, "source_faces": 1, "target_faces": 1,
        "target_faces_resolved": 1, "blurred": [[0, 0, 9, 9]], "unnamed_minor": False,
        "source_nudity": "clear", "target_nudity": "clear", "pixels": 81, "seconds": 0,
        "people": [PERSON_SEEN], "models": {"idnet": "4" * 64},
        "identity_model_sha256": "4" * 64,
    }  # fmt: skip
    Measured.model_validate(good)
    with pytest.raises(ValidationError):
        Measured.model_validate(good | changes)
