"""The gate loads nothing but a whole policy, and takes no odd answer for a permission."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import cedarpy
import pytest

from policies import cedar
from policies.cedar import HERE, Gate, GateFailed, GateInvalid, PeopleMissing, open_gate
from policies.decide import Decision, decide
from policies.facts import ConsentFacts, Facts, read_facts
from policies.house import House, shipped_house

FACTS = dict[str, Any]
HOUSE = shipped_house([])
POLICY, SCHEMA = ((HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema"))
PERMIT = POLICY[POLICY.index('@id("GENERATE-PERMIT")') : POLICY.index('@id("CLOCK-ROLLBACK")')]
ADULT = "unless { resource.consent.adult };"
SCOPE = '(principal, action == Action::"generate", resource is Depiction)'


def verdict(facts: FACTS, house: House = HOUSE) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=1_795_219_200,
        house=house,
    )


def changed(old: str, new: str, *, count: int = -1) -> str:
    assert old in POLICY
    return POLICY.replace(old, new, count)


# --- what it says ---------------------------------------------------------------------------------


def test_good_facts_are_permitted(good_facts: FACTS) -> None:
    assert open_gate().judge(read_facts(good_facts)) == frozenset()


def test_each_reason_is_about_the_one_it_concerns(good_facts: FACTS) -> None:
    good_facts["people"].append({**good_facts["people"][1], "role": "bystander"})
    good_facts["people"][2] |= {"adult": False, "record_id": "00000000-0000-7000-8000-00000000000f"}
    good_facts["source_faces"] = 2
    assert open_gate().judge(read_facts(good_facts)) == {
        ("SOURCE-FACES", ""),
        ("BYSTANDER", ""),
        ("ADULT-ONLY", "bystander 00000000-0000-7000-8000-00000000000f"),
    }


@pytest.mark.parametrize("people", [2, 3, 5])
def test_everybody_is_evaluated_and_never_without_the_schema(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch, people: int
) -> None:
    target = good_facts["people"][1]
    good_facts["people"] += [
        {**target, "role": "bystander", "record_id": f"00000000-0000-7000-8000-{n:012x}"}
        for n in range(3, people + 1)
    ]
    good_facts |= {"target_faces": people - 1, "target_faces_resolved": people - 1}
    asked: list[tuple[str, object]] = []
    engine = cedarpy.is_authorized

    def spy(request: Any, policies: Any, entities: Any, schema: Any = None) -> cedarpy.AuthzResult:
        asked.append((entities[0]["attrs"]["role"], schema))
        return engine(request, policies, entities, schema)

    monkeypatch.setattr(cedarpy, "is_authorized", spy)
    assert open_gate().judge(read_facts(good_facts)) == frozenset()
    assert [role for role, _ in asked] == [person["role"] for person in good_facts["people"]]
    assert all(isinstance(schema, cedarpy.Schema) for _, schema in asked)


@pytest.mark.parametrize("people", [0, 1])
def test_nobody_is_no_permission(good_facts: FACTS, people: int) -> None:
    del good_facts["people"][people:]
    with pytest.raises(PeopleMissing, match=f"names {people} people") as caught:
        open_gate().judge(read_facts(good_facts))
    assert caught.value.code == "PEOPLE-MISSING"
    assert caught.value.mend
    decision = verdict(good_facts)
    assert decision.allow is False
    assert decision.findings[-1].code == "PEOPLE-MISSING"
    assert decision.findings[-1].cites == ("FLOOR",)


def test_every_fact_reaches_the_gate_or_is_listed_as_unjudged(good_facts: FACTS) -> None:
    facts = read_facts(good_facts)
    said = cedar._describe_person(facts.people[0])
    shown = {"role"} | set(said["consent"]) | set(said["face"])
    assert shown | cedar._UNJUDGED == set(ConsentFacts.model_fields)
    counts = {"people", "distinct", "sources", "targets", "shown"}
    assert set(cedar._describe_job(facts)) == set(Facts.model_fields) | counts


def test_a_fact_the_schema_does_not_know_denies(good_facts: FACTS) -> None:
    class More(ConsentFacts):
        nudity: str = "clear"

    facts = read_facts(good_facts)
    person = More.model_validate(facts.people[0].model_dump())
    with pytest.raises(GateFailed, match="could not evaluate"):
        open_gate().judge(facts.model_copy(update={"people": (person, facts.people[1])}))


# --- what it refuses to load ----------------------------------------------------------------------


def test_the_shipped_gate_is_loaded_once_and_cannot_be_changed() -> None:
    assert open_gate() is open_gate()
    with pytest.raises(TypeError):
        open_gate().clauses["NEW"] = open_gate().clauses["ADULT-ONLY"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["gate.cedar", "gate.cedarschema"])
def test_the_two_files_are_shipped_with_the_package(name: str) -> None:
    assert (files("policies") / name).is_file()


POLICIES: list[tuple[str, str, str]] = [
    ("nothing", "", "0 permits"),
    ("comments", "// permit everything\n", "0 permits"),
    ("not Cedar", "permit everybody;", "not Cedar"),
    ("no permit", POLICY.replace(PERMIT, ""), "0 permits"),
    ("two permits", POLICY + PERMIT.replace("GENERATE", "ANYTHING"), "2 permits"),
    ("a misspelt attribute of the permit", changed("consent.adult &&", "consent.adlut &&"), "fit"),
    ("a misspelt attribute of a forbid", changed(ADULT, "unless { resource.consent.adlut };"),
     "not found"),
    ("a misspelt record", changed(ADULT, "unless { resource.consents.adult };"), "fit"),
    ("a wrong type", changed(ADULT, "unless { resource.consent.adult == 1 };"), "fit"),
    ("an unknown action", changed('"generate"', '"swap"'), "fit"),
    ("an unknown entity", changed("is Depiction", "is Person"), "fit"),
    ("no code", changed('@id("ADULT-ONLY") ', ""), "no @id"),
    ("an empty code", changed('@id("ADULT-ONLY") ', '@id("") '), "no @id"),
    ("a permit without code", changed('@id("GENERATE-PERMIT")', ""), "no @id"),
    ("one code twice", changed('"ASSET-SCOPE"', '"ADULT-ONLY"'), "same @id"),
    ("the permit's code twice", changed('"ADULT-ONLY"', '"GENERATE-PERMIT"'), "same @id"),
    ("no law", changed('@law("FLOOR US-NOFAKES")', ""), "DO-NOT-SWAP has no @law"),
    ("a blank law", changed('@law("FLOOR US-NOFAKES")', '@law(" ")'), "DO-NOT-SWAP has no @law"),
    ("no explanation", changed('@explain("The record does not assure an adult.")', ""),
     "ADULT-ONLY has no @explain"),
    ("no mend", changed('@mend("Nothing: no role, flag or setting permits this.")', "@mend"),
     "ADULT-ONLY has no @mend"),
    ("about nobody", changed('"ADULT-ONLY") @about("person")', '"ADULT-ONLY")'), "no @about"),
    ("about a dog", changed('"ADULT-ONLY") @about("person")', '"ADULT-ONLY") @about("dog")'),
     "neither a person nor"),
    ("one principal", changed(SCOPE, SCOPE.replace("principal,", 'principal == Desk::"a",')),
     "every depiction"),
    ("one depiction", changed(SCOPE, SCOPE.replace("is Depiction", '== Depiction::"a"')),
     "every depiction"),
    ("any resource", changed(SCOPE, SCOPE.replace(" is Depiction", "")), "every depiction"),
    ("any action", changed(SCOPE, SCOPE.replace('== Action::"generate"', "in []")), "applicable"),
    ("no condition", changed(ADULT, ";"), "one condition"),
    ("a condition more", changed(ADULT, f"when {{ true }} {ADULT}"), "one condition"),
    ("the other way round", changed(ADULT, "when { !resource.consent.adult };"), "one condition"),
    ("a permit without conditions", POLICY.replace(PERMIT, '@id("P") permit ' + SCOPE + ";"),
     "one condition"),
    ("a template", changed("forbid (principal,", "forbid (principal == ?principal,", count=1),
     "template"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "says"), [case[1:] for case in POLICIES], ids=[case[0] for case in POLICIES]
)
def test_a_policy_that_is_not_whole_does_not_load(policy: str, says: str) -> None:
    with pytest.raises(GateInvalid) as caught:
        Gate(policy, SCHEMA)
    assert says in caught.value.message
    assert caught.value.code == "GATE-INVALID"
    assert caught.value.mend == "restore gate.cedar and gate.cedarschema as published"


SCHEMAS: list[tuple[str, str]] = [
    ("nothing", ""),
    ("not a schema", "Depiction = anything"),
    ("another schema", "entity Depiction; entity Desk;"),
    ("a fact less", SCHEMA.replace("  adult: Bool,\n", "")),
    ("a fact renamed", SCHEMA.replace("  adult: Bool,\n", "  grown: Bool,\n")),
    ("an optional fact", SCHEMA.replace("  adult: Bool,\n", "  adult?: Bool,\n")),
    ("a fact of another type", SCHEMA.replace("  adult: Bool,\n", "  adult: String,\n")),
    ("another action", SCHEMA.replace('"generate"', '"swap"')),
]


@pytest.mark.parametrize("schema", [case[1] for case in SCHEMAS], ids=[case[0] for case in SCHEMAS])
def test_no_policy_loads_without_its_schema(schema: str) -> None:
    assert schema != SCHEMA
    with pytest.raises(GateInvalid):
        Gate(POLICY, schema)


@pytest.mark.parametrize("gone", ["gate.cedar", "gate.cedarschema"])
@pytest.mark.parametrize("left", [None, b"\xff\xfe"], ids=["missing", "not text"])
def test_a_file_that_cannot_be_read_does_not_load(
    tmp_path: Path, gone: str, left: bytes | None
) -> None:
    for name, text in (("gate.cedar", POLICY), ("gate.cedarschema", SCHEMA)):
        (tmp_path / name).write_text(text, "utf-8")
    assert open_gate(tmp_path).clauses == open_gate().clauses
    open_gate.cache_clear()
    (tmp_path / gone).unlink()
    if left is not None:
        (tmp_path / gone).write_bytes(left)
    for _ in range(2):  # a failure is not remembered as a success
        with pytest.raises(GateInvalid, match="cannot be read"):
            open_gate(tmp_path)


def test_without_a_gate_nothing_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.house.open_gate", lambda: open_gate(tmp_path))
    with pytest.raises(GateInvalid):
        shipped_house([])


# --- what it takes for no answer ------------------------------------------------------------------


class Panic(BaseException):
    """As an engine written in Rust raises it: not an Exception."""


def broken(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    monkeypatch.setattr(cedarpy, "is_authorized", answer)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), MemoryError(), RecursionError(), Panic("x")], ids=repr
)
def test_an_engine_that_raises_denies(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*_: object) -> None:
        raise error

    broken(monkeypatch, stop)
    with pytest.raises(GateFailed, match=f"stopped with {type(error).__name__}") as caught:
        open_gate().judge(read_facts(good_facts))
    assert caught.value.__cause__ is error
    decision = verdict(good_facts)
    assert (decision.allow, decision.codes) == (False, ("ENGINE-FAILED",))
    assert decision.findings[0].mend.startswith("Ask again")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_passed_on(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stop(*_: object) -> None:
        raise error

    broken(monkeypatch, stop)
    with pytest.raises(error):
        verdict(good_facts)


def policy_id(code: str) -> str:
    (found,) = [policy for policy, name in open_gate()._names.items() if name == code]
    return found


GRANT, ADULT_ONLY = policy_id("GENERATE-PERMIT"), policy_id("ADULT-ONLY")
ANSWERS: list[tuple[str, Any]] = [
    ("nothing", {}),
    ("no diagnostics", {"decision": "Allow"}),
    ("no reason to allow", {"decision": "Allow", "diagnostics": {"reason": [], "errors": []}}),
    ("no decision", {"decision": "NoDecision", "diagnostics": {"reason": [GRANT], "errors": []}}),
    ("an unknown decision", {"decision": "Maybe", "diagnostics": {"reason": [GRANT]}}),
    ("true", {"decision": True, "diagnostics": {"reason": [GRANT], "errors": []}}),
    ("allowed with an error", {"decision": "Allow",
                               "diagnostics": {"reason": [GRANT], "errors": ["skipped"]}}),
    ("allowed by a forbid", {"decision": "Allow", "diagnostics": {"reason": [ADULT_ONLY]}}),
    ("allowed by both", {"decision": "Allow", "diagnostics": {"reason": [GRANT, ADULT_ONLY]}}),
    ("allowed by a stranger", {"decision": "Allow", "diagnostics": {"reason": ["policy99"]}}),
    ("allowed without list", {"decision": "Allow", "diagnostics": {"reason": None}}),
    ("denied without reason", {"decision": "Deny", "diagnostics": {"reason": [], "errors": []}}),
    ("denied by the permit", {"decision": "Deny", "diagnostics": {"reason": [GRANT]}}),
    ("denied by a stranger", {"decision": "Deny", "diagnostics": {"reason": ["policy99"]}}),
    ("denied with an error", {"decision": "Deny",
                              "diagnostics": {"reason": [ADULT_ONLY], "errors": ["skipped"]}}),
]  # fmt: skip


@pytest.mark.parametrize("answer", [case[1] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
def test_an_odd_answer_denies(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch, answer: FACTS
) -> None:
    broken(monkeypatch, lambda *_: cedarpy.AuthzResult(answer))
    with pytest.raises(GateFailed):
        open_gate().judge(read_facts(good_facts))
    decision = verdict(good_facts)
    assert (decision.allow, decision.codes) == (False, ("ENGINE-FAILED",))


@pytest.mark.parametrize("answer", [None, True, "Allow", {"decision": "Allow"}], ids=repr)
def test_an_answer_of_another_kind_denies(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    broken(monkeypatch, lambda *_: answer)
    assert verdict(good_facts).codes == ("ENGINE-FAILED",)


def test_one_person_without_an_answer_denies_everybody(
    good_facts: FACTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = cedarpy.is_authorized

    def tired(request: Any, policies: Any, entities: Any, schema: Any) -> cedarpy.AuthzResult:
        if entities[0]["attrs"]["role"] == "target_body":
            raise TimeoutError
        return engine(request, policies, entities, schema)

    broken(monkeypatch, tired)
    decision = verdict(good_facts)
    assert (decision.allow, decision.codes) == (False, ("ENGINE-FAILED",))


def test_what_the_engine_says_about_the_facts_is_not_repeated(good_facts: FACTS) -> None:
    with pytest.raises(GateFailed) as caught:
        open_gate().ask({"role": "a secret", "job": {}})
    assert "secret" not in caught.value.message + caught.value.mend


# --- who may touch the engine ---------------------------------------------------------------------


def test_one_module_imports_the_engine() -> None:
    importers = set()
    for package in ("policies", "provenance", "generator", "detector", "pipelines"):
        for path in sorted((HERE.parent / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if any(name.split(".")[0] == "cedarpy" for name in names):
                    importers.add(f"{package}/{path.name}")
    assert importers == {"policies/cedar.py"}


@pytest.mark.parametrize("statement", ["permit", "forbid"])
def test_a_statement_without_any_annotation_is_refused(statement: str) -> None:
    text = f"{statement} (principal, action, resource);"
    for build in (lambda: Gate(text, SCHEMA), lambda: Gate(POLICY, SCHEMA, house=text)):
        with pytest.raises(GateInvalid, match="has no @id"):
            build()
