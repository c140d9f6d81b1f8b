"""Every rule has a request that breaks it, and names who, why and what would mend it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies import rule as rule_module
from policies import rules as rules_module
from policies.canonical import digest
from policies.decide import Decision, decide
from policies.digest import sha256_hex
from policies.facts import read_facts
from policies.house import shipped_house
from policies.rule import Finding, Rule
from policies.rules import POLICY_SHA256, RULES

NOW = 1_795_219_200
FACTS = dict[str, Any]
HOUSE = shipped_house([])


def verdict(facts: FACTS, rules: tuple[Rule, ...] = RULES) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        house=HOUSE,
        rules=rules,
    )


def found(facts: FACTS, rules: tuple[Rule, ...] = RULES) -> list[str]:
    """What the rules say by themselves, without the gate."""
    return [finding.code for rule in rules for finding in rule.findings(read_facts(facts))]


def test_the_twins_cover_every_rule(twins: list[tuple[tuple[str, ...], FACTS]]) -> None:
    assert {code for codes, _ in twins for code in codes} == {rule.code for rule in RULES}


def test_codes_are_distinct_and_every_rule_explains_itself() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES) == 33
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
    rule = Rule("X", ("FLOOR",), "m.", rule_module.whole(lambda f: 1, lambda f: "x"))  # type: ignore[arg-type, return-value]
    each = Rule("Y", ("FLOOR",), "m.", rule_module.people(lambda f, p: "yes", lambda f, p: "y"))  # type: ignore[arg-type, return-value]
    facts = read_facts(good_facts)
    assert [f.explain for f in rule.findings(facts)] == ["x"]
    assert len(each.findings(facts)) == 2


DECIDING = (
    "gate.cedar gate.cedarschema cedar.py rule.py rules.py rules_request.py rules_consent.py "
    "rules_face.py decide.py house.py gather.py facts.py terms.py territories.py law.py lawrule.py "
    "request.py issue.py record.py consent.py consents.py challenge.py keys.py canonical.py"
).split()


def test_the_policy_digest_is_of_every_file_that_decides() -> None:
    folder = Path(rules_module.__file__).parent
    files = {name: sha256_hex((folder / name).read_bytes()) for name in DECIDING}
    assert digest(files) == POLICY_SHA256
    for name in DECIDING:
        assert digest(files | {name: sha256_hex(b"edited")}) != POLICY_SHA256


# What stores, signs, logs and refuses; nothing of it says who may be shown.
UNDECIDING = (
    "audit checkpoint database digest entries errors files guards keyprovider "
    "merkle privatefile retention revisions subjectkeys tables"
).split()


def test_no_file_that_decides_is_left_out_of_the_digest() -> None:
    """Whatever the decision imports, directly or not, is digested or named above."""
    folder = Path(rules_module.__file__).parent
    seen: set[str] = set()
    todo = ["decide", "gather"]
    while todo:
        name = todo.pop()
        if name in seen or name in UNDECIDING:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("policies."):
                todo.append((node.module or "").removeprefix("policies."))
    # `issue` also writes warrants down; their form is the desk's.
    assert {f"{name}.py" for name in seen - {"warrant"}} <= set(DECIDING)


# --- the words ------------------------------------------------------------------------------------


def explain(facts: FACTS, code: str) -> str:
    (finding, *_) = [f for f in verdict(facts).findings if f.code == code]
    return finding.explain


def test_a_consent_that_is_not_there_is_not_described_as_if_it_were(good_facts: FACTS) -> None:
    good_facts["people"][0] |= {
        "status": "unknown", "status_since": 0, "not_before": 0, "expires": 0, "roles": [],
        "purposes": [], "media": [], "audiences": [], "territories": [],
    }  # fmt: skip
    said = " ".join(finding.explain for finding in verdict(good_facts).findings)
    assert "1970" not in said
    assert "agreed to ," not in said
    assert explain(good_facts, "CONSENT-BROKEN") == "There is no such consent record."
    assert explain(good_facts, "CONSENT-STATUS") == "The consent is 'unknown', not 'confirmed'."
    assert explain(good_facts, "ROLE-SCOPE") == "They agreed to nothing, not to source_identity."


def test_only_the_missing_opt_ins_and_addenda_are_named(good_facts: FACTS) -> None:
    good_facts["categories"] = ["political", "alcohol"]
    good_facts["required_addenda"] = ["US-TX-ORIGIN", "CN-SEPARATE"]
    for person in good_facts["people"]:
        person["opted_in"] = ["alcohol"]
    assert explain(good_facts, "SENSITIVE-CATEGORY") == "They did not opt in to political."
    assert explain(good_facts, "ADDENDUM-MISSING") == "Their consent lacks CN-SEPARATE."


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"registry": "hit"}, "DO-NOT-SWAP", "may be of somebody who asked"),
        ({"registry": "ambiguous"}, "DO-NOT-SWAP", "may be of somebody who asked"),
        ({"registry": "unavailable"}, "DO-NOT-SWAP", "cannot be asked"),
        ({"match": "ambiguous"}, "FACE-MISMATCH", "cannot be told apart"),
        ({"match": "mismatch"}, "FACE-MISMATCH", "No face in the picture"),
        ({"status": "broken"}, "CONSENT-BROKEN", "edited, forged or cut"),
        ({"status": "given"}, "SECOND-CONFIRMATION", "2026-11-20 00:00 UTC, and not confirmed"),
        ({"expires": NOW}, "CONSENT-WINDOW", "until 2026-11-21 00:00 UTC, not now"),
        ({"max_pixels": 9}, "LIMIT-SIZE", "262144 pixels and 0 seconds; they agreed to 9 and 30"),
        ({"prohibited": ["nudity"]}, "PROHIBITED-USE", "agreed: nudity."),
    ],
)
def test_the_words_say_what_was_found(
    good_facts: FACTS, changes: FACTS, code: str, words: str
) -> None:
    if code == "PROHIBITED-USE":
        good_facts["categories"] = ["political", "nudity"]
    good_facts["people"][0] |= changes
    assert words in explain(good_facts, code)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"purpose_known": False}, "PURPOSE-UNKNOWN", "knows no purpose 'film_vfx'"),
        ({"territories": []}, "TERRITORY-SCOPE", "the request is for nothing"),
        ({"source_nudity": "review"}, "NUDITY", "'review' of the source and 'clear' of the target"),
        ({"target_faces": 3, "target_faces_blurred": 1}, "BYSTANDER",
         "shows 3 face(s), 1 of them matched a consent and 1 would be hidden; the request names 1 "
         "people in it and says to refuse others"),
    ],
)  # fmt: skip
def test_the_words_about_the_request_say_what_was_found(
    good_facts: FACTS, changes: FACTS, code: str, words: str
) -> None:
    good_facts |= changes
    assert words in explain(good_facts, code)


def test_findings_are_strict() -> None:
    fields = {"code": "A", "cites": ("F",), "subject": "", "explain": "e", "mend": "m"}
    assert Finding.model_validate(fields).code == "A"
    with pytest.raises(ValueError, match="surprise"):
        Finding.model_validate(fields | {"surprise": 1})
