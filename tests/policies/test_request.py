from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policies.canonical import digest
from policies.errors import Malformed
from policies.request import MOST_PEOPLE, Request, make_request

SOURCE = {"record_id": "00000000-0000-7000-8000-000000000001", "role": "source_identity"}
TARGET = {"record_id": "00000000-0000-7000-8000-000000000002", "role": "target_body"}
BYSTANDER = {"record_id": "00000000-0000-7000-8000-000000000003", "role": "bystander"}
GOOD: dict[str, Any] = {
    "request_id": "request-1",
    "operator": "operator",
    "source_sha256": "1" * 64,
    "target_sha256": "2" * 64,
    "people": [SOURCE, TARGET],
    "purpose": "film_vfx",
    "medium": "image",
    "audience": "internal",
    "territories": ["DE"],
    "categories": [],
    "bystanders": "refuse",
}


def test_a_good_request() -> None:
    request = make_request(**GOOD)
    assert isinstance(request, Request)
    assert request.sha256 == digest({"schema": "facewarrant/request/1", **GOOD})
    assert (
        make_request(**GOOD | {"people": [SOURCE, TARGET, BYSTANDER]}).people[2].role == "bystander"
    )
    self_swap = [SOURCE, {**TARGET, "record_id": SOURCE["record_id"]}]
    assert len(make_request(**GOOD | {"people": self_swap}).people) == 2


@pytest.mark.parametrize("field", sorted(set(GOOD) - {"categories", "bystanders"}))
def test_every_field_is_needed(field: str) -> None:
    with pytest.raises(Malformed, match=field):
        make_request(**{name: value for name, value in GOOD.items() if name != field})


@pytest.mark.parametrize("field", sorted(GOOD))
@pytest.mark.parametrize("value", [None, 0, 1.5, "", "true", [1], {}, True, b"x", [[]]], ids=repr)
def test_a_wrong_type_is_refused(field: str, value: object) -> None:
    if field in ("operator", "request_id", "purpose") and value == "true":
        return  # words they could be; an unknown purpose is denied by the decision
    with pytest.raises(Malformed) as caught:
        make_request(**GOOD | {field: value})
    assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize(
    "people",
    [
        [],
        [SOURCE],
        [SOURCE, SOURCE],
        [SOURCE, BYSTANDER],
        [TARGET, BYSTANDER],
        [SOURCE, TARGET, TARGET],
        [SOURCE, SOURCE, TARGET],
        [SOURCE, TARGET, BYSTANDER, BYSTANDER],
        [SOURCE, TARGET, {**BYSTANDER, "role": "extra"}],
        [SOURCE, {**TARGET, "name": "someone"}],
        [SOURCE, TARGET, *[BYSTANDER] * 63],
    ],
    ids=len,
)
def test_exactly_one_source_and_one_target(people: list[dict[str, str]]) -> None:
    with pytest.raises(Malformed):
        make_request(**GOOD | {"people": people})


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facewarrant/request/2"},
        {"schema_": "facewarrant/request/1"},
        {"override": True},
        {"categories": ["minor"]},
        {"bystanders": "keep"},
        {"bystanders": True},
        {"territories": ["EU-DE"]},
        {"territories": ["Germany"]},
        {"categories": ["other"]},
        {"territories": []},
        {"territories": ["de"]},
        {"purpose": "FILM_VFX"},
        {"source_sha256": "A" * 64},
        {"request_id": "../../etc/passwd"},
        {"request_id": "a" * 65},
        {"request_id": "a\n"},
        {"operator": "\ud800"},
    ],
    ids=repr,
)
def test_unknown_words_and_fields_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        make_request(**GOOD | changes)


def test_faces_that_nobody_named_are_refused_unless_the_request_says_blur() -> None:
    silent = {name: value for name, value in GOOD.items() if name != "bystanders"}
    assert make_request(**silent) == make_request(**GOOD)
    assert make_request(**silent).bystanders == "refuse"
    blurred = make_request(**GOOD | {"bystanders": "blur"})
    assert blurred.bystanders == "blur"
    assert blurred.sha256 != make_request(**GOOD).sha256


def many(count: int) -> list[dict[str, str]]:
    extras = [
        {"record_id": f"00000000-0000-7000-8000-{n:012x}", "role": "bystander"}
        for n in range(3, count + 1)
    ]
    return [SOURCE, TARGET, *extras]


def test_no_more_people_than_a_log_entry_can_name() -> None:
    assert len(make_request(**GOOD | {"people": many(MOST_PEOPLE)}).people) == MOST_PEOPLE == 32
    with pytest.raises(Malformed, match="people"):
        make_request(**GOOD | {"people": many(MOST_PEOPLE + 1)})


def test_a_request_cannot_be_changed_afterwards() -> None:
    request = make_request(**GOOD)
    with pytest.raises(ValidationError):
        request.audience = "paid_ads"  # type: ignore[misc]
