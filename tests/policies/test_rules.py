"""Every rule has a request that breaks it; a second, independent statement of the policy agrees."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import rules as rules_module
from policies.decide import Decision, decide
from policies.digest import sha256_hex
from policies.facts import Facts, read_facts
from policies.rules import POLICY_SHA256, RULES, Finding, Rule
from policies.terms import REQUIRED_MARKS

NOW = 1_795_219_200
FACTS = dict[str, Any]


def whole(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts.update(changes)


def source(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts["people"][0].update(changes)


def target(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts["people"][1].update(changes)


def _two_sources(facts: FACTS) -> None:
    """Two sources and one face in the target: the counts agree, the roles do not."""
    facts["people"].append({**facts["people"][0], "record_id": facts["people"][1]["record_id"]})


# For each rule: what breaks it alone. A broken record also has no standing, so that one twin breaks
# two rules on purpose: each of them must be enough.
BROKEN = ("CONSENT-BROKEN", "CONSENT-STATUS")
TWINS: list[tuple[tuple[str, ...], Callable[[FACTS], None]]] = [
    (("CLOCK-ROLLBACK",), whole(last_log_time=NOW + 1)),
    (("INPUTS-MISMATCH",), whole(inputs_match=False)),
    (("PEOPLE-MISMATCH",), whole(people_match=False)),
    (("PEOPLE-MISMATCH",), _two_sources),
    (("SOURCE-FACES",), whole(source_faces=0)),
    (("SOURCE-FACES",), whole(source_faces=2)),
    (("BYSTANDER",), whole(target_faces=2)),
    (("BYSTANDER",), whole(target_faces=2, target_faces_resolved=2)),
    (("BYSTANDER",), whole(target_faces=0, target_faces_resolved=0)),
    (("BYSTANDER",), whole(target_faces_resolved=2)),
    (BROKEN, source(status="broken")),
    (BROKEN, target(status="unknown")),
    *((("CONSENT-STATUS",), source(status=s)) for s in ("requested", "given", "withdrawn")),
    *((("CONSENT-STATUS",), target(status=s)) for s in ("revoked", "refused", "invalidated")),
    (("CONSENT-STATUS",), target(status="expired")),
    (("CONSENT-WINDOW",), source(expires=NOW)),
    (("CONSENT-WINDOW",), target(not_before=NOW + 1)),
    (("ROLE-SCOPE",), source(roles=["target_body"])),
    (("ROLE-SCOPE",), target(roles=["source_identity"])),
    (("PURPOSE-SCOPE",), source(purposes=["personal"])),
    (("MEDIA-SCOPE",), target(media=["video"])),
    (("AUDIENCE-SCOPE",), source(audiences=["public"])),
    (("TERRITORY-SCOPE",), target(territories=["FR"])),
    (("TERRITORY-SCOPE",), whole(territories=[])),
    (("SENSITIVE-CATEGORY",), whole(categories=["political"])),
    (("COUNTERPARTY-SCOPE",), source(counterparties_ok=False)),
    (("ASSET-SCOPE",), target(asset_ok=False)),
    (("LIMIT-EXHAUSTED",), source(uses_left=0)),
    (("ADULT-ONLY",), target(adult=False)),
    (("TEMPLATE-MODEL",), source(template_model_ok=False)),
    (("FACE-MISMATCH",), source(match="mismatch")),
    (("FACE-MISMATCH",), target(match="ambiguous")),
    *((("OUTPUT-MARKED",), whole(marks=sorted(REQUIRED_MARKS - {m}))) for m in REQUIRED_MARKS),
]


def verdict(facts: FACTS, rules: tuple[Rule, ...] = RULES) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        rules=rules,
    )


def test_the_table_covers_every_rule() -> None:
    assert {code for codes, _ in TWINS for code in codes} == {rule.code for rule in RULES}


def test_codes_are_distinct_and_every_rule_explains_itself() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES) == 21
    for rule in RULES:
        assert rule.cites, rule.code
        assert all(rule.cites), rule.code
        assert rule.mend.endswith("."), rule.code


@pytest.mark.parametrize(("codes", "breach"), TWINS)
def test_exactly_this_rule_breaks(
    good_facts: FACTS, codes: tuple[str, ...], breach: Callable[[FACTS], None]
) -> None:
    assert verdict(good_facts).allow is True
    breach(good_facts)
    decision = verdict(good_facts)
    assert decision.codes == codes
    assert decision.allow is False


@pytest.mark.parametrize(("codes", "breach"), TWINS)
def test_every_rule_is_load_bearing(
    good_facts: FACTS, codes: tuple[str, ...], breach: Callable[[FACTS], None]
) -> None:
    breach(good_facts)
    without = tuple(rule for rule in RULES if rule.code not in codes)
    assert verdict(good_facts, without).allow is True
    for code in codes[1:]:  # a doubly kept condition still denies when one keeper is gone
        assert verdict(good_facts, tuple(r for r in RULES if r.code != code)).allow is False


def test_findings_say_who_why_and_how_to_mend(good_facts: FACTS) -> None:
    target(status="withdrawn", status_since=NOW - 5)(good_facts)
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
    assert "PEOPLE-MISMATCH" in verdict(good_facts).codes
    good_facts |= {"target_faces": 1, "target_faces_resolved": 1}
    assert {"PEOPLE-MISMATCH", "BYSTANDER"} <= set(verdict(good_facts).codes)


def test_a_truthy_value_is_not_a_yes() -> None:
    rule = Rule("X", ("FLOOR",), "m.", rules_module._whole(lambda f: 1, lambda f: "x"))  # type: ignore[arg-type, return-value]
    each = Rule("Y", ("FLOOR",), "m.", rules_module._people(lambda f, p: "yes", lambda f, p: "y"))  # type: ignore[arg-type, return-value]
    facts = read_facts(_facts())
    assert [f.explain for f in rule.findings(facts)] == ["x"]
    assert len(each.findings(facts)) == 2


def test_the_policy_digest_is_of_the_file_that_ran() -> None:
    assert sha256_hex(Path(rules_module.__file__).read_bytes()) == POLICY_SHA256


def test_findings_are_strict() -> None:
    fields = {"code": "A", "cites": ("F",), "subject": "", "explain": "e", "mend": "m"}
    assert Finding.model_validate(fields).code == "A"
    with pytest.raises(ValueError, match="surprise"):
        Finding.model_validate(fields | {"surprise": 1})


# --- an independent oracle over plain dictionaries ------------------------------------------------


def _facts() -> FACTS:
    from_conftest: FACTS = copy.deepcopy(_GOOD)
    return from_conftest


_GOOD: FACTS = {}


@pytest.fixture(autouse=True)
def _remember(good_facts: FACTS) -> None:
    _GOOD.clear()
    _GOOD.update(copy.deepcopy(good_facts))


def oracle(f: FACTS) -> set[str]:
    """The policy once more, written without looking at the rules: what is wrong with the facts."""
    roles = [p["role"] for p in f["people"]]
    shown = [r for r in roles if r in ("target_body", "bystander")]
    wrong = {
        "CLOCK-ROLLBACK": f["last_log_time"] > f["now"],
        "INPUTS-MISMATCH": not f["inputs_match"],
        "PEOPLE-MISMATCH": not f["people_match"] or sorted(set(roles) - {"bystander"}) != [
            "source_identity", "target_body"] or len(shown) != len(roles) - 1
            or shown.count("target_body") != 1,
        "SOURCE-FACES": f["source_faces"] != 1,
        "BYSTANDER": {f["target_faces"], f["target_faces_resolved"]} != {len(shown)} or not shown,
        "OUTPUT-MARKED": sorted(set(f["marks"])) != ["c2pa", "label", "watermark"],
    }  # fmt: skip
    for p in f["people"]:
        checks = {
            "CONSENT-BROKEN": p["status"] in ("broken", "unknown"),
            "CONSENT-STATUS": p["status"] != "confirmed",
            "CONSENT-WINDOW": f["now"] < p["not_before"] or f["now"] > p["expires"] - 1,
            "ROLE-SCOPE": p["roles"].count(p["role"]) == 0,
            "PURPOSE-SCOPE": p["purposes"].count(f["purpose"]) == 0,
            "MEDIA-SCOPE": p["media"].count(f["medium"]) == 0,
            "AUDIENCE-SCOPE": p["audiences"].count(f["audience"]) == 0,
            "TERRITORY-SCOPE": not f["territories"]
            or any(t not in p["territories"] for t in f["territories"]),
            "SENSITIVE-CATEGORY": any(c not in p["opted_in"] for c in f["categories"]),
            "COUNTERPARTY-SCOPE": not p["counterparties_ok"],
            "ASSET-SCOPE": not p["asset_ok"],
            "LIMIT-EXHAUSTED": p["uses_left"] < 1,
            "ADULT-ONLY": not p["adult"],
            "TEMPLATE-MODEL": not p["template_model_ok"],
            "FACE-MISMATCH": p["match"] != "match",
        }
        wrong |= {code: True for code, broken in checks.items() if broken}
    return {code for code, broken in wrong.items() if broken}


def some(words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words.split()), max_size=3)


TIMES = st.sampled_from([0, NOW - 1, NOW, NOW + 1, NOW + 9])
COUNTS = st.integers(0, 3)
WHOLE: dict[str, st.SearchStrategy[Any]] = {
    "now": TIMES,
    "last_log_time": TIMES,
    "purpose": st.sampled_from(["film_vfx", "research"]),
    "medium": st.sampled_from(["image", "video"]),
    "audience": st.sampled_from(["internal", "paid_ads"]),
    "territories": some("DE FR US-IL"),
    "categories": some("political nudity"),
    "marks": some("c2pa label watermark"),
    "inputs_match": st.booleans(),
    "people_match": st.booleans(),
    "source_faces": COUNTS,
    "target_faces": COUNTS,
    "target_faces_resolved": COUNTS,
}
STATUSES = "confirmed given requested withdrawn revoked refused expired invalidated broken unknown"
PERSON: dict[str, st.SearchStrategy[Any]] = {
    "role": st.sampled_from(["source_identity", "target_body", "bystander"]),
    "status": st.sampled_from(STATUSES.split()),
    "not_before": TIMES,
    "expires": TIMES,
    "roles": some("source_identity target_body bystander"),
    "purposes": some("film_vfx research"),
    "media": some("image video"),
    "audiences": some("internal public"),
    "territories": some("DE FR US-IL"),
    "opted_in": some("political nudity"),
    "counterparties_ok": st.booleans(),
    "asset_ok": st.booleans(),
    "adult": st.booleans(),
    "uses_left": COUNTS,
    "template_model_ok": st.booleans(),
    "match": st.sampled_from(["match", "ambiguous", "mismatch"]),
}
EDITS = st.lists(
    st.one_of(
        *[st.tuples(st.none(), st.just(name), values) for name, values in WHOLE.items()],
        *[st.tuples(st.integers(0, 2), st.just(name), values) for name, values in PERSON.items()],
    ),
    max_size=4,
)
SCOPES = ("roles", "purposes", "media", "audiences", "territories", "opted_in")


def edited(edits: list[tuple[int | None, str, Any]], *, people: int) -> FACTS:
    facts = _facts()
    if people == 3:
        facts["people"].append({**facts["people"][1], "role": "bystander"})
        facts |= {"target_faces": 2, "target_faces_resolved": 2}
    for who, name, value in edits:
        spot = facts if who is None else facts["people"][who % people]
        spot[name] = value
    return facts


@settings(max_examples=250, derandomize=True, deadline=None)
@given(EDITS, st.sampled_from([2, 3]))
def test_rules_and_oracle_agree_reasons_included(edits: list[Any], people: int) -> None:
    facts = edited(edits, people=people)
    expected = oracle(facts)
    decision = verdict(facts)
    assert set(decision.codes) == expected
    assert decision.allow is not bool(expected)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(EDITS, st.integers(0, 1), st.sampled_from(SCOPES), st.integers(0, 2))
def test_less_consent_never_allows_more(edits: list[Any], who: int, scope: str, at: int) -> None:
    facts = edited(edits, people=2)
    before = verdict(facts)
    words = facts["people"][who][scope]
    facts["people"][who][scope] = words[:at] + words[at + 1 :]
    after = verdict(facts)
    assert set(after.codes) >= set(before.codes)
    assert before.allow or not after.allow


def test_the_facts_model_and_the_strategies_have_the_same_fields() -> None:
    assert set(WHOLE) | {"people"} == set(Facts.model_fields)
    assert set(PERSON) | {"record_id", "status_since"} == set(_facts()["people"][0])
