"""Damaged requests and damaged policies: more than 10,000 of the first, none wrongly allowed.

Every fact is deleted, given a wrong type or shifted; then pairs of such edits, drawn by fixed
seeds. Then the policy itself: without any one forbid, or any one condition of its permit, nothing
that must be denied gets through.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, get_args

import pytest

from policies.cedar import (
    HERE,
    Gate,
    GateFailed,
    PeopleMissing,
    _describe_job,
    _describe_person,
    open_gate,
)
from policies.decide import Decision, decide
from policies.errors import Malformed
from policies.facts import ConsentFacts, Facts, read_facts
from policies.house import House, shipped_house
from policies.terms import (
    AddendumForm,
    AgeLook,
    Audience,
    BystanderPolicy,
    Category,
    FaceMatch,
    KnownPurpose,
    Mark,
    Medium,
    NudityLook,
    PersonRole,
    RegistryAnswer,
)

FACTS = dict[str, Any]
PATH = tuple[str | int, ...]
EDIT = tuple[PATH, object]
OBJECT_TO = Callable[[FACTS], set[tuple[str, str]]]
NOW = 1_795_219_200
POLICY, SCHEMA = ((HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema"))
HOUSE = shipped_house([])

DELETED = object()
WRONG: tuple[object, ...] = (
    DELETED, None, 0, 1, -1, 1.0, 1.5, float("nan"), 10**30, True, False, "", "true", "\ud800", [],
    [1], ["DE", None], [["DE"]], {}, {"DE": True}, b"DE",
)  # fmt: skip
# Wherever the type fits by chance, what a value is worth is the third statement's to say.

PURPOSES = (*get_args(KnownPurpose), "studio:parade")
WORDS: dict[str, tuple[str, ...]] = {
    "purpose": PURPOSES,
    "medium": get_args(Medium),
    "audience": get_args(Audience),
    "role": get_args(PersonRole),
    "status": get_args(ConsentFacts.model_fields["status"].annotation),
    "match": get_args(FaceMatch),
    "age": get_args(AgeLook),
    "registry": get_args(RegistryAnswer),
    "bystanders": get_args(BystanderPolicy),
    "source_nudity": get_args(NudityLook),
    "target_nudity": get_args(NudityLook),
    "record_id": ("00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-00000000000F"),
    "territories": ("DE", "FR", "US-IL", "de"),
    "categories": get_args(Category),
    "marks": get_args(Mark),
    "required_marks": get_args(Mark),
    "required_addenda": get_args(AddendumForm),
    "addenda": get_args(AddendumForm),
    "prohibited": get_args(Category),
    "roles": get_args(PersonRole),
    "purposes": PURPOSES,
    "media": get_args(Medium),
    "audiences": get_args(Audience),
    "opted_in": get_args(Category),
}


def shifted(name: str, value: object) -> Iterator[object]:
    """Values of the same type as `value`: some permit, some do not, some are no words at all."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value - 1, value + 1, value + 2, NOW - 1, NOW, NOW + 1, 2**53, 2**63 - 1)
    elif isinstance(value, str):
        yield from (*WORDS[name], f" {value}", value.upper(), f"{value}\0")
    elif isinstance(value, list):
        yield from ([word] for word in WORDS[name])
        yield from (list(WORDS[name]), value[::-1], value * 2, [*value, "nobody"])


def paths(facts: FACTS) -> Iterator[PATH]:
    yield from ((name,) for name in facts if name != "people")
    for index, person in enumerate(facts["people"]):
        yield from (("people", index, name) for name in person)


def at(facts: FACTS, path: PATH) -> Any:
    for part in path:
        facts = facts[part]  # type: ignore[index]
    return facts


def people_edits(good: FACTS) -> Iterator[EDIT]:
    """Nobody, one, one twice, a stranger, somebody else, no list at all, and unknown facts."""
    source, target = good["people"]
    third = {**target, "role": "bystander", "record_id": WORDS["record_id"][0]}
    lists: list[list[Any]] = [
        [], [source], [target], [source, source], [target, source], [source, target, target],
        [source, target, third], [source, target, third, third], [source, target, {}], [None],
    ]  # fmt: skip
    yield from ((("people",), people) for people in lists)
    yield from ((("people",), value) for value in WRONG)
    yield from ((path, True) for path in ((("override",)), ("people", 0, "override")))


def edits_of(good: FACTS) -> tuple[list[EDIT], list[EDIT]]:
    """Every single edit: those of any kind, and those that keep the type."""
    kept = [
        (path, value) for path in paths(good) for value in shifted(str(path[-1]), at(good, path))
    ]
    wrong = [(path, value) for path in paths(good) for value in WRONG]
    return [*wrong, *kept, *people_edits(good)], kept


def apply(good: FACTS, edits: tuple[EDIT, ...]) -> FACTS:
    """A copy of the good facts with the edits, the longest path first; skips what is gone."""
    facts = copy.deepcopy(good)
    for path, value in sorted(edits, key=lambda edit: -len(edit[0])):
        spot = at(facts, path[:-1])
        if value is DELETED:
            spot.pop(path[-1], None)
        else:
            spot[path[-1]] = copy.deepcopy(value)
    return facts


def verdict(facts: Any, house: House = HOUSE) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        house=house,
    )


def well_typed(facts: Any, like: Any) -> bool:
    """The same fields and the very same types as good facts have, whoever reads them."""
    if type(facts) is not type(like):
        return False
    if isinstance(like, dict):
        return facts.keys() == like.keys() and all(well_typed(facts[k], like[k]) for k in like)
    if isinstance(like, list) and like and isinstance(like[0], dict):
        return all(well_typed(person, like[0]) for person in facts)
    if isinstance(like, list):
        return all(type(word) is str for word in facts)
    return True


def judge_mutant(good: FACTS, edits: tuple[EDIT, ...], object_to: OBJECT_TO) -> str:
    """Fail if a damaged request is wrongly allowed, or two statements differ; say how it ended."""
    facts = apply(good, edits)
    decision = verdict(facts)
    assert decision.allow is not bool(decision.codes), edits
    try:
        read = read_facts(facts)
    except Malformed:
        assert decision.codes == ("FACTS",), edits
        return "unreadable"
    assert well_typed(facts, good), edits
    expected = object_to(facts)
    told = {(finding.code, finding.subject) for finding in decision.findings}
    if len(read.people) < 2:
        assert told == expected | {("PEOPLE-MISSING", "")}, edits
        with pytest.raises(PeopleMissing):
            open_gate().judge(read)
        return "denied"
    # Cedar and the rules both ran: had they differed, ENGINE-DISAGREEMENT would stand here.
    assert told == expected, edits
    return "denied" if expected else "allowed"


SEEDS, PAIRS = range(6), 2_000


def test_no_single_damage_is_wrongly_allowed(good: FACTS, object_to: OBJECT_TO) -> None:
    singles, kept = edits_of(good)
    ends = [judge_mutant(good, (edit,), object_to) for edit in singles]
    assert len(singles) > len(kept) > 300
    assert {end: ends.count(end) for end in set(ends)}.keys() == {"unreadable", "denied", "allowed"}
    assert len(singles) + len(SEEDS) * PAIRS > 10_000


@pytest.mark.parametrize("seed", SEEDS)
def test_no_pair_of_damages_is_wrongly_allowed(
    good: FACTS, object_to: OBJECT_TO, seed: int
) -> None:
    """Odd seeds keep the types, so that both engines are reached; even ones do anything."""
    rng = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    pool = edits_of(good)[seed % 2]
    ends = []
    for _ in range(PAIRS):
        first, second = rng.sample(pool, 2)
        ends.append(judge_mutant(good, (first, second), object_to))
    judged = ends.count("denied") + ends.count("allowed")
    assert judged > (PAIRS // 3 if seed % 2 else PAIRS // 50)
    assert ends.count("unreadable") > PAIRS // 10


@pytest.mark.parametrize("raw", [None, [], "facts", 7, {}, {"people": []}])
def test_no_facts_at_all(raw: Any) -> None:
    assert verdict(raw).codes == ("FACTS",)


class Liar(str):
    """A text that equals every other text, and says one thing and another."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("confirmed")

    def __str__(self) -> str:
        return "confirmed"


class Yes(int):
    """A number that is greater than every other one."""

    def __gt__(self, other: object) -> bool:
        return True


class Status(StrEnum):
    CONFIRMED = "withdrawn"


class Two(dict[str, Any]):
    """A mapping that shows one value to those who ask, another to those who list."""

    def __getitem__(self, name: str) -> Any:
        return True if name == "adult" else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return True if name == "adult" else super().get(name, default)


@pytest.mark.parametrize(
    "changes",
    [{"status": Liar("withdrawn")}, {"status": Status.CONFIRMED}, {"uses_left": Yes(0)},
     {"adult": Yes(0)}, {"role": Liar("bystander")}, {"roles": Liar("source_identity")},
     {"registry": Liar("hit")}, {"age": Liar("minor")}],
    ids=repr,
)  # fmt: skip
def test_values_that_lie_about_themselves_permit_nothing(good: FACTS, changes: FACTS) -> None:
    facts = copy.deepcopy(good)
    facts["people"][0] |= changes
    assert verdict(facts).allow is False


def test_a_mapping_that_lies_is_judged_by_what_was_digested(good: FACTS) -> None:
    facts = copy.deepcopy(good)
    facts["people"][0] = Two(facts["people"][0] | {"adult": False})
    decision = verdict(facts)
    assert decision.allow is False
    assert set(decision.codes) <= {"ADULT-ONLY", "FACTS"}


def test_a_read_only_view_of_good_facts_is_either_read_or_denied(good: FACTS) -> None:
    decision = verdict(MappingProxyType(good))
    assert decision.allow is not bool(decision.codes)


# --- the gate by itself, with facts no reader has narrowed ----------------------------------------


def depictions(facts: FACTS) -> list[FACTS]:
    read = read_facts(facts)
    job = _describe_job(read)
    return [_describe_person(person) | {"job": job} for person in read.people]


def refused(gate: Gate, depiction: FACTS) -> bool:
    """Whether the gate denies, with reasons or without an answer."""
    try:
        return gate.ask(depiction) != frozenset()
    except GateFailed:
        return True


def attributes(depiction: FACTS) -> Iterator[PATH]:
    yield ("role",)
    for group in ("consent", "face", "job"):
        yield (group,)
        yield from ((group, name) for name in depiction[group])


def right_type(value: object, like: object) -> bool:
    """Whether the schema takes the value where `like` stands; what it says is another matter."""
    if isinstance(value, list | dict):
        return value == [] and isinstance(like, list)
    return type(value) is type(like) and value not in (10**30, "\ud800")


def test_the_gate_alone_permits_no_ill_typed_fact(good: FACTS) -> None:
    """As if facts.py did not exist: the schema is the only type check left."""
    gate, whole = open_gate(), depictions(good)[0]
    assert not refused(gate, whole)
    damaged = 0
    for path in attributes(whole):
        for value in WRONG:
            facts = apply(whole, ((path, value),))
            if right_type(value, at(whole, path)):
                continue  # above
            assert refused(gate, facts), (path, value)
            damaged += 1
    assert damaged > 1_000


@pytest.mark.parametrize("group", [(), ("consent",), ("face",), ("job",)])
def test_the_gate_alone_permits_no_unknown_fact(good: FACTS, group: PATH) -> None:
    facts = apply(depictions(good)[0], (((*group, "override"), True),))
    assert refused(open_gate(), facts)


# --- damaged policies -----------------------------------------------------------------------------


def statements() -> list[str]:
    """The statements of the policy, the permit first."""
    text = "\n".join(line for line in POLICY.splitlines() if not line.startswith("//"))
    return [f"{statement.strip()};" for statement in re.split(r";\s*\n", f"{text}\n")[:-1]]


def conditions(statement: str) -> list[str]:
    """What a statement's one clause joins with `&&`."""
    (clause,) = re.findall(r"(?:when|unless) \{(.*)\};$", statement, flags=re.DOTALL)
    return [" ".join(part.split()) for part in clause.split("&&")]


def rewritten(statement: str, kept: list[str]) -> str:
    head = re.sub(r"(when|unless) \{.*", r"\1 ", statement, flags=re.DOTALL)
    return f"{head}{{ {' && '.join(kept)} }};"


PERMIT, *FORBIDS = statements()


def without_forbid(number: int) -> str:
    return "\n".join([PERMIT, *FORBIDS[:number], *FORBIDS[number + 1 :]])


def without_condition(number: int) -> str:
    listed = conditions(PERMIT)
    return "\n".join([rewritten(PERMIT, listed[:number] + listed[number + 1 :]), *FORBIDS])


@pytest.fixture(scope="module")
def must_deny(good: FACTS, object_to: OBJECT_TO, twins: list[tuple[Any, FACTS]]) -> list[Facts]:
    """Requests with something against them: every twin, and shifted good facts."""
    found = [read_facts(facts) for _, facts in twins]
    rng = random.Random(7)  # noqa: S311 - a reproducible draw, not a secret
    kept = edits_of(good)[1]
    while len(found) < 100:
        facts = apply(good, (rng.choice(kept),))
        try:
            read = read_facts(facts)
        except Malformed:
            continue
        if object_to(facts) and len(read.people) > 1:
            found.append(read)
    return found


def permitted(gate: Gate, facts: Facts) -> bool:
    try:
        return gate.judge(facts) == frozenset()
    except GateFailed:
        return False


def test_the_permit_lists_every_condition_and_no_other() -> None:
    every = [condition for forbid in FORBIDS for condition in conditions(forbid)]
    assert conditions(PERMIT) == every
    assert len(set(every)) == len(every)
    assert len(FORBIDS) == len(open_gate().clauses) == 33


def test_the_policy_read_as_text_is_the_policy(good: FACTS) -> None:
    gate = Gate("\n".join([PERMIT, *FORBIDS]), SCHEMA)
    assert gate.clauses == open_gate().clauses
    assert permitted(gate, read_facts(good))


@pytest.mark.parametrize("number", range(len(FORBIDS)))
def test_removing_any_forbid_lets_nothing_through(
    good: FACTS, must_deny: list[Facts], number: int
) -> None:
    gate = Gate(without_forbid(number), SCHEMA)
    assert permitted(gate, read_facts(good))
    assert [facts for facts in must_deny if permitted(gate, facts)] == []


@pytest.mark.parametrize("number", range(len(conditions(PERMIT))))
def test_removing_any_condition_of_the_permit_lets_nothing_through(
    good: FACTS, must_deny: list[Facts], number: int
) -> None:
    gate = Gate(without_condition(number), SCHEMA)
    assert permitted(gate, read_facts(good))
    assert [facts for facts in must_deny if permitted(gate, facts)] == []


@pytest.mark.parametrize("number", range(len(FORBIDS)))
def test_a_condition_missing_from_both_is_caught_by_the_rules(
    good: FACTS, must_deny: list[Facts], twins: list[tuple[tuple[str, ...], FACTS]], number: int
) -> None:
    """Both keepers of one reason gone: the gate would permit it, the decision does not."""
    code = list(open_gate().clauses)[number]
    kept = [c for c in conditions(PERMIT) if c not in conditions(FORBIDS[number])]
    forbids = [*FORBIDS[:number], *FORBIDS[number + 1 :]]
    gate = Gate("\n".join([rewritten(PERMIT, kept), *forbids]), SCHEMA)
    mine = [facts for codes, facts in twins if code in codes]
    alone = [facts for codes, facts in twins if codes == (code,)]
    assert mine
    assert all(permitted(gate, read_facts(facts)) for facts in alone)
    for facts in [*mine, good]:
        decision = verdict(facts, replace(HOUSE, gate=gate))
        assert decision.allow is False
        assert "ENGINE-DISAGREEMENT" in decision.codes
