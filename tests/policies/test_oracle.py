"""Three statements of the policy agree, reasons and people included; where two differ, none allows.

The gate (Cedar), the rules (Python, worded) and a third one over plain dictionaries that only these
tests know. The gate permits; the rules are its oracle at run time as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cedar import HERE, Gate, open_gate
from policies.decide import Decision, decide
from policies.facts import ConsentFacts, Facts, read_facts
from policies.house import House, shipped_house
from policies.rule import Rule
from policies.rules import RULES

NOW = 1_795_219_200
FACTS = dict[str, Any]
OBJECT_TO = Callable[[FACTS], set[tuple[str, str]]]
POLICY, SCHEMA = ((HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema"))
HOUSE = shipped_house([])


def verdict(facts: FACTS, house: House = HOUSE) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        house=house,
    )


def found(facts: FACTS) -> set[tuple[str, str]]:
    """What the rules say by themselves."""
    read = read_facts(facts)
    return {(f.code, f.subject) for rule in RULES for f in rule.findings(read)}


def reworded(old: str, new: str) -> House:
    """A house whose gate has one condition changed in the permit and in its forbid."""
    assert POLICY.count(old) == 2
    return replace(HOUSE, gate=Gate(POLICY.replace(old, new), SCHEMA))


# --- the same reasons, the same words -------------------------------------------------------------


def test_both_know_the_same_reasons_in_the_same_order() -> None:
    assert list(open_gate().clauses) == [rule.code for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=[rule.code for rule in RULES])
def test_both_cite_the_same_law_and_the_same_mend(rule: Rule) -> None:
    clause = open_gate().clauses[rule.code]
    assert (clause.cites, clause.mend) == (rule.cites, rule.mend)
    assert clause.explain.endswith(".")


def test_every_twin_is_denied_alike_by_all_three(
    good_facts: FACTS, object_to: OBJECT_TO, codes: tuple[str, ...],
    breach: Callable[[FACTS], None],
) -> None:  # fmt: skip
    breach(good_facts)
    expected = object_to(good_facts)
    assert {code for code, _ in expected} == set(codes)
    assert open_gate().judge(read_facts(good_facts)) == found(good_facts) == expected


# --- any well-typed request -----------------------------------------------------------------------


def some(words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words.split()), max_size=3)


TIMES = st.sampled_from([0, NOW - 1, NOW, NOW + 1, NOW + 9])
COUNTS = st.integers(0, 3)
MARKS = st.lists(st.sampled_from(["c2pa", "label", "watermark"]), max_size=4)
NUDITY = st.sampled_from(["clear", "review", "found", "unavailable"])
WHOLE: dict[str, st.SearchStrategy[Any]] = {
    "now": TIMES,
    "last_log_time": TIMES,
    "purpose": st.sampled_from(["film_vfx", "research", "studio:parade"]),
    "medium": st.sampled_from(["image", "video"]),
    "audience": st.sampled_from(["internal", "paid_ads"]),
    "territories": some("DE FR US-IL"),
    "categories": some("political tobacco minors_context"),
    "bystanders": st.sampled_from(["refuse", "blur", "persona"]),
    "purpose_known": st.booleans(),
    "marks": MARKS,
    "required_marks": MARKS,
    "required_addenda": some("US-IL-RELEASE US-TX-ORIGIN"),
    "inputs_match": st.booleans(),
    "people_match": st.booleans(),
    "source_faces": COUNTS,
    "target_faces": COUNTS,
    "target_faces_resolved": COUNTS,
    "target_faces_blurred": COUNTS,
    "unnamed_minor": st.booleans(),
    "source_nudity": NUDITY,
    "target_nudity": NUDITY,
    "pixels": st.sampled_from([1, 999_999, 1_000_000, 1_000_001]),
    "seconds": st.sampled_from([0, 29, 30, 31]),
}
STATUSES = "confirmed given requested withdrawn revoked refused expired invalidated broken unknown"
PERSON: dict[str, st.SearchStrategy[Any]] = {
    "role": st.sampled_from(["source_identity", "target_body", "bystander"]),
    "status": st.sampled_from(STATUSES.split()),
    "not_before": TIMES,
    "expires": TIMES,
    "roles": some("source_identity target_body bystander"),
    "purposes": some("film_vfx research studio:parade"),
    "media": some("image video"),
    "audiences": some("internal public"),
    "territories": some("DE FR US-IL"),
    "opted_in": some("political tobacco minors_context"),
    "prohibited": some("political tobacco minors_context"),
    "addenda": some("US-IL-RELEASE US-TX-ORIGIN"),
    "counterparties_ok": st.booleans(),
    "asset_ok": st.booleans(),
    "notice_known": st.booleans(),
    "adult": st.booleans(),
    "age_assured": st.booleans(),
    "enrolled_live": st.booleans(),
    "uses_left": COUNTS,
    "max_pixels": st.sampled_from([0, 262_143, 262_144, 10**9]),
    "max_seconds": st.sampled_from([0, 30]),
    "template_model_ok": st.booleans(),
    "match": st.sampled_from(["match", "ambiguous", "mismatch"]),
    "age": st.sampled_from(["clear", "challenge", "minor"]),
    "registry": st.sampled_from(["clear", "hit", "ambiguous", "unavailable"]),
}
EDITS = st.lists(
    st.one_of(
        *[st.tuples(st.none(), st.just(name), values) for name, values in WHOLE.items()],
        *[st.tuples(st.integers(0, 2), st.just(name), values) for name, values in PERSON.items()],
    ),
    max_size=4,
)
SCOPES = ("roles", "purposes", "media", "audiences", "territories", "opted_in", "addenda")


def edited(good: FACTS, edits: list[tuple[int | None, str, Any]], *, people: int) -> FACTS:
    facts = copy.deepcopy(good)
    if people == 3:
        facts["people"].append({**facts["people"][1], "role": "bystander"})
        facts |= {"target_faces": 2, "target_faces_resolved": 2}
    for who, name, value in edits:
        spot = facts if who is None else facts["people"][who % people]
        spot[name] = value
    return facts


@settings(max_examples=250, derandomize=True, deadline=None)
@given(edits=EDITS, people=st.sampled_from([2, 3]))
def test_all_three_agree_reasons_included(
    good: FACTS, object_to: OBJECT_TO, edits: list[Any], people: int
) -> None:
    facts = edited(good, edits, people=people)
    expected = object_to(facts)
    assert open_gate().judge(read_facts(facts)) == found(facts) == expected
    decision = verdict(facts)
    assert {(finding.code, finding.subject) for finding in decision.findings} == expected
    assert decision.allow is not bool(expected)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(edits=EDITS, who=st.integers(0, 1), scope=st.sampled_from(SCOPES), at=st.integers(0, 2))
def test_less_consent_never_allows_more(
    good: FACTS, edits: list[Any], who: int, scope: str, at: int
) -> None:
    facts = edited(good, edits, people=2)
    before = verdict(facts)
    words = facts["people"][who][scope]
    facts["people"][who][scope] = words[:at] + words[at + 1 :]
    after = verdict(facts)
    assert set(after.codes) >= set(before.codes)
    assert before.allow or not after.allow


WORSE = {
    "status": "withdrawn", "counterparties_ok": False, "asset_ok": False, "notice_known": False,
    "adult": False, "age_assured": False, "enrolled_live": False, "uses_left": 0, "max_pixels": 0,
    "max_seconds": 0, "template_model_ok": False, "match": "mismatch", "age": "minor",
    "registry": "unavailable", "prohibited": ["political", "tobacco", "minors_context"],
}  # fmt: skip


@settings(max_examples=120, derandomize=True, deadline=None)
@given(edits=EDITS, who=st.integers(0, 1), name=st.sampled_from(sorted(WORSE)))
def test_worse_facts_never_allow_more(good: FACTS, edits: list[Any], who: int, name: str) -> None:
    facts = edited(good, edits, people=2)
    before = verdict(facts)
    facts["people"][who][name] = WORSE[name]
    after = verdict(facts)
    assert before.allow or not after.allow
    # Another word for the same fact may change which reason it gives, never take the last one.
    assert after.codes or not before.codes


def test_the_facts_model_and_the_strategies_have_the_same_fields(good_facts: FACTS) -> None:
    assert set(WHOLE) | {"people"} == set(Facts.model_fields)
    unjudged = {"record_id", "status_since"}
    assert set(PERSON) | unjudged == set(ConsentFacts.model_fields) == set(good_facts["people"][0])


# --- where they differ, nothing is allowed --------------------------------------------------------

LOOSENED = [
    ("resource.consent.uses_left > 0", "resource.consent.uses_left >= 0",
     {"uses_left": 0}, "LIMIT-EXHAUSTED"),
    ("resource.job.now < resource.consent.expires", "resource.job.now <= resource.consent.expires",
     {"expires": NOW}, "CONSENT-WINDOW"),
    ("resource.face.match == \"match\"", "resource.face.match != \"mismatch\"",
     {"match": "ambiguous"}, "FACE-MISMATCH"),
    ("resource.face.registry == \"clear\"", "resource.face.registry != \"hit\"",
     {"registry": "unavailable"}, "DO-NOT-SWAP"),
    ("resource.face.age != \"minor\"", "resource.face.age != \"child\"",
     {"age": "minor"}, "AGE-MINOR"),
    ("resource.job.pixels <= resource.consent.max_pixels",
     "resource.job.pixels <= resource.consent.max_pixels + 1",
     {"max_pixels": 262_143}, "LIMIT-SIZE"),
    ("resource.consent.notice_known", "(resource.consent.notice_known || resource.consent.adult)",
     {"notice_known": False}, "NOTICE-UNKNOWN"),
    ("resource.consent.adult", "(resource.consent.adult || true)", {"adult": False}, "ADULT-ONLY"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "changes", "code"), LOOSENED)
def test_a_gate_that_permits_too_much_is_overruled(
    good_facts: FACTS, old: str, new: str, changes: FACTS, code: str
) -> None:
    house = reworded(old, new)
    assert verdict(good_facts, house).allow is True
    good_facts["people"][0] |= changes
    assert house.gate.judge(read_facts(good_facts)) == frozenset()
    decision = verdict(good_facts, house)
    assert decision.codes == (code, "ENGINE-DISAGREEMENT")
    assert decision.allow is False
    last = decision.findings[-1]
    assert (last.cites, last.subject) == (("FLOOR",), "")
    assert last.explain == f"The two statements of the policy disagree about {code}."
    assert last.mend.startswith("Restore the published policy")


def test_a_reason_only_the_gate_has_is_told_in_its_own_words(good_facts: FACTS) -> None:
    house = reworded("resource.consent.uses_left > 0", "resource.consent.uses_left > 3")
    decision = verdict(good_facts, house)
    assert decision.codes == ("LIMIT-EXHAUSTED", "ENGINE-DISAGREEMENT")
    subjects = [f"{p['role']} {p['record_id']}" for p in good_facts["people"]]
    assert [finding.subject for finding in decision.findings] == [*subjects, ""]
    clause, finding = house.gate.clauses["LIMIT-EXHAUSTED"], decision.findings[0]
    told = (finding.cites, finding.explain, finding.mend)
    assert told == (clause.cites, clause.explain, clause.mend)


def test_agreeing_on_the_code_but_not_on_the_person_is_a_disagreement(good_facts: FACTS) -> None:
    house = reworded("resource.consent.asset_ok", 'resource.role == "target_body"')
    good_facts["people"][1]["asset_ok"] = False
    decision = verdict(good_facts, house)
    assert decision.codes == ("ASSET-SCOPE", "ENGINE-DISAGREEMENT")
    assert {f.subject.split()[0] for f in decision.findings[:2]} == {
        "target_body", "source_identity"
    }  # fmt: skip
    assert decision.allow is False


def test_a_reason_nobody_knows_denies_what_breaks_no_rule(good_facts: FACTS) -> None:
    """A gate with a reason more (or less) than the rules is another policy, even if it permits."""
    gate = Gate(POLICY.replace('@id("ASSET-SCOPE")', '@id("ASSET-SCOPES")'), SCHEMA)
    decision = verdict(good_facts, replace(HOUSE, gate=gate))
    assert decision.codes == ("ENGINE-DISAGREEMENT",)
    assert "ASSET-SCOPE, ASSET-SCOPES." in decision.findings[0].explain
