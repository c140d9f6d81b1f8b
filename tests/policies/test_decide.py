from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from policies.canonical import digest
from policies.cedar import HERE, Gate
from policies.decide import Decision, Refused, decide
from policies.facts import Facts
from policies.house import House, shipped_house
from policies.rule import Rule
from policies.rules import RULES

NOW = 1_795_219_200
HOUSE = shipped_house([])
IDS: dict[str, Any] = {
    "request_sha256": "0" * 64,
    "decision_id": "00000000-0000-4000-8000-000000000000",
}


def verdict(
    facts: dict[str, Any], rules: tuple[Rule, ...] = RULES, *, house: House = HOUSE
) -> Decision:
    return decide(facts, **IDS, now=NOW, rules=rules, house=house)


def test_an_allowed_decision_names_what_it_rests_on(good_facts: dict[str, Any]) -> None:
    decision = verdict(good_facts)
    assert (decision.allow, decision.findings, decision.codes) == (True, (), ())
    assert decision.policy_sha256 == HOUSE.sha256
    assert decision.facts_sha256 == digest(good_facts)
    assert decision.evaluated_at == NOW
    assert decision.sha256 == digest(decision.model_dump(mode="json"))


def test_a_decision_is_pure(good_facts: dict[str, Any]) -> None:
    assert verdict(good_facts) == verdict(good_facts)


def test_every_reason_is_given_once_in_rule_order(good_facts: dict[str, Any]) -> None:
    good_facts["source_faces"] = 0
    for person in good_facts["people"]:
        person |= {"status": "given", "adult": False}
    decision = verdict(good_facts)
    assert decision.codes == ("SOURCE-FACES", "CONSENT-STATUS", "SECOND-CONFIRMATION", "ADULT-ONLY")
    assert len(decision.findings) == 7


def crash(error: BaseException) -> Rule:
    def broken_by(facts: Facts) -> Iterator[tuple[str, str]]:
        raise error
        yield "", ""

    return Rule("NEW-RULE", ("FLOOR",), "Repair the rule.", broken_by)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), RecursionError(), MemoryError(), AssertionError()]
)
def test_a_rule_that_crashes_denies_with_its_own_code(
    good_facts: dict[str, Any], error: Exception
) -> None:
    decision = verdict(good_facts, (*RULES, crash(error)))
    assert decision.codes == ("NEW-RULE", "ENGINE-DISAGREEMENT")
    assert type(error).__name__ in decision.findings[0].explain
    assert decision.allow is False


def test_an_interrupt_is_not_swallowed(good_facts: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        verdict(good_facts, (crash(KeyboardInterrupt()),))


def test_a_rule_that_answers_nonsense_denies(good_facts: dict[str, Any]) -> None:
    for answer in (None, 7, [("one",)], [(None, None)]):
        rule = Rule("ODD", ("FLOOR",), "m.", lambda f, a=answer: a)  # type: ignore[misc]
        assert verdict(good_facts, (*RULES, rule)).codes == ("ODD", "ENGINE-DISAGREEMENT")


def test_no_rules_is_not_permission(good_facts: dict[str, Any]) -> None:
    decision = verdict(good_facts, ())
    assert (decision.allow, decision.codes) == (False, ("ENGINE-DISAGREEMENT",))
    assert all(rule.code in decision.findings[0].explain for rule in RULES)


@pytest.mark.parametrize("left", range(len(RULES)))
def test_a_rule_that_is_missing_denies_even_good_facts(
    good_facts: dict[str, Any], left: int
) -> None:
    decision = verdict(good_facts, (*RULES[:left], *RULES[left + 1 :]))
    (finding,) = decision.findings
    assert (decision.allow, finding.code) == (False, "ENGINE-DISAGREEMENT")
    assert finding.explain.endswith(f"disagree about {RULES[left].code}.")


@pytest.mark.parametrize("raw", [{}, {"now": 1.5}, {"a": object()}, {"now": "\ud800"}])
def test_unreadable_facts_deny_and_still_have_a_digest(raw: dict[str, Any]) -> None:
    decision = verdict(raw)
    assert decision.codes == ("FACTS",)
    assert decision.findings[0].cites == ("FLOOR",)
    assert len(decision.facts_sha256) == 64


def test_facts_without_an_end_deny(good_facts: dict[str, Any]) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    around = {**good_facts}
    around["purpose"] = around
    for raw in ({**good_facts, "categories": deep}, around):
        assert verdict(raw).codes == ("FACTS",)


def test_the_reader_of_a_refusal_sees_the_words_of_the_house(good_facts: dict[str, Any]) -> None:
    forbid = """@id("HOUSE-CLOSED") @about("request") @law("HOUSE") @explain("Closed.")
        @mend("Come back tomorrow.")
        forbid (principal, action == Action::"generate", resource is Depiction) when { true };"""
    texts = [(HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema")]
    house = replace(HOUSE, gate=Gate(*texts, house=forbid))
    error = Refused(verdict(good_facts, house=house))
    assert error.message == "refused: HOUSE-CLOSED: Closed. [HOUSE]"
    assert error.mend == "Come back tomorrow."
    # Rules that lack one of the product's are a disagreement, whatever the house forbids.
    codes = verdict(good_facts, RULES[1:], house=house).codes
    assert codes == ("HOUSE-CLOSED", "ENGINE-DISAGREEMENT")


def test_a_rule_with_a_code_of_the_house_is_another_policy(good_facts: dict[str, Any]) -> None:
    rule = Rule("HOUSE-OWN", ("FLOOR",), "m.", lambda f: iter(()))
    assert verdict(good_facts, (*RULES, rule)).codes == ("ENGINE-DISAGREEMENT",)


def test_refused_says_every_reason_law_and_mend(good_facts: dict[str, Any]) -> None:
    good_facts["source_faces"] = 2
    for person in good_facts["people"]:
        person["adult"] = False
    error = Refused(verdict(good_facts))
    assert error.code == "REFUSED"
    assert error.message.startswith("refused: SOURCE-FACES: The source picture shows 2 faces")
    assert "ADULT-ONLY (target_body 00000000-" in error.message
    assert "[FLOOR, EU-AIA-5-NCII]" in error.message
    assert error.mend.count("no role, flag or setting permits this") == 1
    assert error.decision.codes == ("SOURCE-FACES", "ADULT-ONLY")
