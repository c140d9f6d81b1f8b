"""Every rule has a request that breaks it, and names who, why and what would mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies import rules as rules_module
from policies.canonical import digest
from policies.decide import Decision, decide
from policies.digest import sha256_hex
from policies.facts import read_facts
from policies.rules import POLICY_SHA256, RULES, Finding, Rule

NOW = 1_795_219_200
FACTS = dict[str, Any]


def verdict(facts: FACTS, rules: tuple[Rule, ...] = RULES) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        rules=rules,
    )


def found(facts: FACTS, rules: tuple[Rule, ...] = RULES) -> list[str]:
    """What the rules say by themselves, without the gate."""
    return [finding.code for rule in rules for finding in rule.findings(read_facts(facts))]


def test_the_twins_cover_every_rule(twins: list[tuple[tuple[str, ...], FACTS]]) -> None:
    assert {code for codes, _ in twins for code in codes} == {rule.code for rule in RULES}


def test_codes_are_distinct_and_every_rule_explains_itself() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES) == 21
    for rule in RULES:
        assert rule.cites, rule.code
        assert all(rule.cites), rule.code
        assert rule.mend.endswith("."), rule.code


def test_exactly_this_rule_breaks(
    good_facts: FACTS, codes: tuple[str, ...], breach: Callable[[FACTS], None]
) -> None:
    assert verdict(good_facts).allow is True
    breach(good_facts)
    decision = verdict(good_facts)
    assert decision.codes == codes
    assert decision.allow is False


def test_every_rule_is_load_bearing(
    good_facts: FACTS, codes: tuple[str, ...], breach: Callable[[FACTS], None]
) -> None:
    breach(good_facts)
    without = tuple(rule for rule in RULES if rule.code not in codes)
    assert found(good_facts, without) == []
    for code in codes[1:]:  # a doubly kept condition still denies when one keeper is gone
        assert found(good_facts, tuple(rule for rule in RULES if rule.code != code))
    # The gate still stands when a rule is gone, and nobody agrees with it.
    decision = verdict(good_facts, without)
    assert decision.allow is False
    assert set(decision.codes) == {*codes, "ENGINE-DISAGREEMENT"}


def test_findings_say_who_why_and_how_to_mend(good_facts: FACTS) -> None:
    good_facts["people"][1] |= {"status": "withdrawn", "status_since": NOW - 5}
    (finding,) = verdict(good_facts).findings
    assert finding.subject == f"target_body {good_facts['people'][1]['record_id']}"
    assert finding.explain.startswith("The consent is 'withdrawn' since 2026-11-20 23:59")
    assert "GDPR-6-7-9" in finding.cites
    assert finding.mend


def test_both_people_are_judged(good_facts: FACTS) -> None:
    for person in good_facts["people"]:
        person["uses_left"] = 0
    assert [f.code for f in verdict(good_facts).findings] == ["LIMIT-EXHAUSTED"] * 2


def test_an_empty_request_is_not_vacuously_allowed(good_facts: FACTS) -> None:
    good_facts |= {"people": [], "target_faces": 0, "target_faces_resolved": 0}
    assert {"PEOPLE-MISMATCH", "PEOPLE-MISSING"} <= set(verdict(good_facts).codes)
    good_facts |= {"target_faces": 1, "target_faces_resolved": 1}
    assert {"PEOPLE-MISMATCH", "BYSTANDER"} <= set(verdict(good_facts).codes)


def test_a_truthy_value_is_not_a_yes(good_facts: FACTS) -> None:
    rule = Rule("X", ("FLOOR",), "m.", rules_module._whole(lambda f: 1, lambda f: "x"))  # type: ignore[arg-type, return-value]
    each = Rule("Y", ("FLOOR",), "m.", rules_module._people(lambda f, p: "yes", lambda f, p: "y"))  # type: ignore[arg-type, return-value]
    facts = read_facts(good_facts)
    assert [f.explain for f in rule.findings(facts)] == ["x"]
    assert len(each.findings(facts)) == 2


DECIDING = (
    "gate.cedar gate.cedarschema cedar.py rules.py decide.py gather.py facts.py terms.py"
).split()


def test_the_policy_digest_is_of_every_file_that_decides() -> None:
    folder = Path(rules_module.__file__).parent
    files = {name: sha256_hex((folder / name).read_bytes()) for name in DECIDING}
    assert digest(files) == POLICY_SHA256
    for name in DECIDING:
        assert digest(files | {name: sha256_hex(b"edited")}) != POLICY_SHA256


def test_findings_are_strict() -> None:
    fields = {"code": "A", "cites": ("F",), "subject": "", "explain": "e", "mend": "m"}
    assert Finding.model_validate(fields).code == "A"
    with pytest.raises(ValueError, match="surprise"):
        Finding.model_validate(fields | {"surprise": 1})
