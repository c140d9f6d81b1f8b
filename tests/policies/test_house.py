"""A house adds forbids, purposes, notices and law: it narrows, and every change has its digest."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from policies.canonical import digest
from policies.cedar import HERE, Gate, GateFailed, GateInvalid, open_gate
from policies.decide import Decision, decide
from policies.digest import sha256_hex
from policies.errors import Malformed
from policies.facts import read_facts
from policies.house import House, LawNote, read_rendered, shipped_house
from policies.law import LawBook, LawUnknown
from policies.rules import POLICY_SHA256
from policies.terms import KnownPurpose

FACTS = dict[str, Any]
NOW = 1_795_219_200
POLICY, SCHEMA = ((HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema"))
HOUSE = shipped_house([])
SCOPE = '(principal, action == Action::"generate", resource is Depiction)'
WORDS = '@law("HOUSE") @explain("Not in this house.") @mend("Ask the house.")'


def forbid(condition: str, *, code: str = "HOUSE-OWN", about: str = "person") -> str:
    """A forbid of a house that holds unless the condition does."""
    return f'@id("{code}") @about("{about}") {WORDS}\nforbid {SCOPE}\nunless {{ {condition} }};\n'


def housed(forbids: str) -> House:
    return replace(HOUSE, gate=Gate(POLICY, SCHEMA, house=forbids))


def verdict(facts: FACTS, house: House = HOUSE) -> Decision:
    return decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        house=house,
    )


NO_PARIS = forbid('resource.job.purpose != "film_vfx"')


# --- own forbids: what they do --------------------------------------------------------------------


def test_a_forbid_of_the_house_denies_in_its_own_words(good_facts: FACTS) -> None:
    house = housed(forbid('resource.role != "target_body"'))
    decision = verdict(good_facts, house)
    (finding,) = decision.findings
    assert decision.allow is False
    assert finding.model_dump(mode="json") == {
        "code": "HOUSE-OWN",
        "cites": ["HOUSE"],
        "subject": f"target_body {good_facts['people'][1]['record_id']}",
        "explain": "Not in this house.",
        "mend": "Ask the house.",
    }


def test_one_about_the_request_names_nobody(good_facts: FACTS) -> None:
    house = housed(forbid('resource.job.purpose != "film_vfx"', about="request"))
    assert [f.subject for f in verdict(good_facts, house).findings] == [""]


def test_one_that_does_not_apply_changes_nothing_but_the_digest(
    good_facts: FACTS, twins: list[tuple[tuple[str, ...], FACTS]]
) -> None:
    house = housed(forbid("resource.job.source_faces >= 0"))
    assert house.gate.house.keys() == {"HOUSE-OWN"}
    for facts in [good_facts, *(twin for _, twin in twins)]:
        mine, shipped = verdict(facts, house), verdict(facts)
        assert mine.findings == shipped.findings
        assert mine.policy_sha256 != shipped.policy_sha256


def test_the_house_and_the_product_are_both_heard(
    twins: list[tuple[tuple[str, ...], FACTS]],
) -> None:
    """A forbid of the house never hides a reason of the product, and is never a disagreement."""
    house = housed(forbid("resource.job.now < 0", about="request"))
    for codes, facts in twins:
        found = verdict(facts, house).codes
        assert set(found) == {*codes, "HOUSE-OWN"}
        assert "ENGINE-DISAGREEMENT" not in found


def test_two_forbids_of_the_house_give_both_reasons(good_facts: FACTS) -> None:
    house = housed(
        forbid("resource.job.now < 0", code="HOUSE-B", about="request")
        + forbid("resource.job.now < 1", code="HOUSE-A", about="request")
    )
    assert verdict(good_facts, house).codes == ("HOUSE-A", "HOUSE-B")


def test_one_that_fails_to_evaluate_denies_everything(good_facts: FACTS) -> None:
    """Cedar skips an erroring forbid: were the error not a denial, it would be no forbid at all."""
    house = housed(forbid("resource.job.now * 9223372036854775807 > 0"))
    with pytest.raises(GateFailed, match="could not evaluate"):
        house.gate.judge(read_facts(good_facts))
    decision = verdict(good_facts, house)
    assert (decision.allow, decision.codes) == (False, ("ENGINE-FAILED",))


def test_one_that_fails_for_one_person_denies_everybody(good_facts: FACTS) -> None:
    fails = 'resource.role == "source_identity" || resource.job.now * 9223372036854775807 > 0'
    assert verdict(good_facts, housed(forbid(fails))).codes == ("ENGINE-FAILED",)


def test_a_house_cannot_lift_a_reason_of_the_product(
    twins: list[tuple[tuple[str, ...], FACTS]],
) -> None:
    for condition in ("true", "resource.consent.adult", "resource.job.now >= 0"):
        house = housed(forbid(condition))
        for codes, facts in twins:
            assert set(codes) <= set(verdict(facts, house).codes)


# --- own forbids: what does not load --------------------------------------------------------------

PERMITS = f'@id("HOUSE-OWN") @about("person") {WORDS}\npermit {SCOPE}\nwhen {{ true }};'
REFUSED: dict[str, tuple[str, str]] = {
    "a permit": (PERMITS, "a house forbids, it never permits"),
    "a permit among forbids": (NO_PARIS + PERMITS.replace("OWN", "YES"), "never permits"),
    "a code of the product": (forbid("true", code="ADULT-ONLY"), "does not begin with HOUSE-"),
    "the permit's code": (forbid("true", code="GENERATE-PERMIT"), "does not begin with HOUSE-"),
    "a code without prefix": (forbid("true", code="MINE"), "does not begin with HOUSE-"),
    "a code like it": (forbid("true", code="house-own"), "does not begin with HOUSE-"),
    "no code": (forbid("true").replace('@id("HOUSE-OWN")', ""), "no @id"),
    "an empty code": (forbid("true", code=""), "no @id"),
    "one code twice": (forbid("true") + forbid("false"), "same @id"),
    "no law": (forbid("true").replace('@law("HOUSE")', ""), "no @law"),
    "no explanation": (forbid("true").replace('@explain("Not in this house.")', ""), "@explain"),
    "a blank mend": (forbid("true").replace("Ask the house.", " "), "no @mend"),
    "about nobody": (forbid("true", about="everybody"), "neither a person nor"),
    "a template": (forbid("true").replace("(principal,", "(principal == ?principal,"), "template"),
    "one principal": (
        forbid("true").replace("(principal,", '(principal == Desk::"a",'), "every depiction"
    ),
    "one depiction": (
        forbid("true").replace("is Depiction", '== Depiction::"a"'), "every depiction"
    ),
    "any resource": (forbid("true").replace(" is Depiction", ""), "every depiction"),
    "no condition": (forbid("true").replace("\nunless { true }", ""), "one condition"),
    "two conditions": (forbid("true").replace("unless", "when { true } unless"), "one condition"),
    "a misspelt fact": (forbid("resource.consent.adlut"), "fit"),
    "a wrong type": (forbid("resource.consent.adult == 1"), "fit"),
    "an unknown action": (forbid("true").replace('"generate"', '"swap"'), "fit"),
    "not Cedar": ("forbid everybody;", "not Cedar"),
    "half a statement": (forbid("true")[:-3], "not Cedar"),
    "an end for the policy's last statement": ("};" + forbid("true"), "not Cedar"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_house_that_does_more_than_forbid_does_not_load(name: str) -> None:
    forbids, says = REFUSED[name]
    assert forbids != forbid("true")
    with pytest.raises(GateInvalid) as caught:
        Gate(POLICY, SCHEMA, house=forbids)
    assert says in caught.value.message
    assert caught.value.code == "GATE-INVALID"


@pytest.mark.parametrize("kind", ["when", "unless"])
def test_a_forbid_may_state_its_condition_either_way(good_facts: FACTS, kind: str) -> None:
    text = forbid("resource.consent.adult").replace("unless", kind)
    assert bool(verdict(good_facts, housed(text)).codes) is (kind == "when")


@pytest.mark.parametrize("text", ["", " \n", "// permit everything\n"])
def test_a_house_without_forbids_is_the_product(good_facts: FACTS, text: str) -> None:
    gate = Gate(POLICY, SCHEMA, house=text)
    assert dict(gate.house) == {}
    assert gate.clauses == open_gate().clauses
    assert verdict(good_facts, replace(HOUSE, gate=gate)).allow is True


def test_a_comment_at_the_end_swallows_nothing(good_facts: FACTS) -> None:
    gate = Gate(POLICY + "// the end", SCHEMA, house=forbid("resource.job.now < 0") + "// the end")
    assert verdict(good_facts, replace(HOUSE, gate=gate)).codes == ("HOUSE-OWN",)


def test_a_reason_that_no_clause_has_is_no_clause() -> None:
    gate = housed(NO_PARIS).gate
    assert gate.clause("HOUSE-OWN").whole is False
    assert gate.clause("NUDITY").whole is True
    with pytest.raises(KeyError):
        gate.clause("HOUSE-OTHER")
    with pytest.raises(TypeError):
        gate.house["HOUSE-NEW"] = gate.clause("NUDITY")  # type: ignore[index]


# --- the digest -----------------------------------------------------------------------------------


def test_the_digest_of_the_shipped_house() -> None:
    texts = {"policy": POLICY, "schema": SCHEMA, "house": ""}
    gate = digest({name: sha256_hex(text.encode()) for name, text in texts.items()})
    assert HOUSE.gate.sha256 == gate
    assert HOUSE.sha256 == digest(
        {"policy": POLICY_SHA256, "law": HOUSE.law.sha256, "gate": gate, "purposes": {},
         "notices": [], "rendered": digest({"rendered": sorted(HOUSE.rendered)})}
    )  # fmt: skip
    assert shipped_house([]).sha256 == HOUSE.sha256


def test_every_part_of_a_house_changes_its_digest() -> None:
    info = HOUSE.law.find("US-NOFAKES").model_copy(update={"explain": "Something else."})
    others = tuple(rule for rule in HOUSE.law.rules if rule.id != info.id)
    houses = [
        HOUSE,
        housed(NO_PARIS),
        housed(NO_PARIS + "// "),
        replace(HOUSE, gate=Gate(POLICY + "\n", SCHEMA)),
        replace(HOUSE, gate=Gate(POLICY, SCHEMA + "\n")),
        replace(HOUSE, purposes={"studio:parade": "a parade"}),
        replace(HOUSE, purposes={"studio:parade": "another parade"}),
        replace(HOUSE, notices=frozenset({sha256_hex(b"notice")})),
        replace(HOUSE, law=LawBook((*others, info))),
        replace(HOUSE, law=LawBook(others)),
    ]
    assert len({house.sha256 for house in houses}) == len(houses)


def test_a_house_cannot_change_under_its_digest() -> None:
    purposes, notices = {"studio:parade": "a parade"}, {sha256_hex(b"notice")}
    house = replace(HOUSE, purposes=purposes, notices=notices)  # type: ignore[arg-type]
    before = house.sha256
    purposes["studio:more"] = "more"
    notices.add(sha256_hex(b"more"))
    assert not house.knows("studio:more")
    assert house.notices == {sha256_hex(b"notice")}
    assert replace(house).sha256 == before
    with pytest.raises(TypeError):
        house.purposes["studio:more"] = "more"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        house.notices = frozenset()  # type: ignore[misc]


# --- purposes -------------------------------------------------------------------------------------


def test_a_house_knows_the_products_purposes_and_its_own() -> None:
    house = replace(HOUSE, purposes={"studio:parade": "a parade"})
    for purpose in (*get_args(KnownPurpose), "studio:parade"):
        assert house.knows(purpose)
    for purpose in ("", "parade", "studio:", "studio:parades", "other:parade", "Film_vfx"):
        assert not house.knows(purpose)
    assert not HOUSE.knows("studio:parade")


# --- law ------------------------------------------------------------------------------------------


def read(rule_id: str, **changes: Any) -> House:
    """The shipped house with one rule whose official text somebody read."""
    rule = HOUSE.law.find(rule_id).model_copy(
        update={"severity": "error", "text_read": "primary", "text_sha256": "ab" * 32,
                "reviewed_by": "A. Reader"} | changes
    )  # fmt: skip
    others = (other for other in HOUSE.law.rules if other.id != rule_id)
    return replace(HOUSE, law=LawBook((*others, rule)))


FORMS = [("US-IL-BIPA-15", "US-IL", "US-IL-RELEASE"), ("CN-PIPL-29", "CN", "CN-SEPARATE"),
         ("US-TX-CUBI", "US-TX", "US-TX-ORIGIN")]  # fmt: skip


@pytest.mark.parametrize(("rule_id", "place", "form"), FORMS)
def test_only_law_that_was_read_binds(rule_id: str, place: str, form: str) -> None:
    unread, bound = HOUSE.require([place], now=NOW), read(rule_id).require([place], now=NOW)
    assert unread.binding.addenda == {}
    assert rule_id in unread.advised.addenda[form]
    assert bound.binding.addenda == {form: (rule_id,)}
    assert rule_id not in bound.advised.addenda.get(form, ())
    assert read(rule_id).require(["DE"], now=NOW).binding.addenda == {}


@pytest.mark.parametrize(
    "changes", [{"severity": "warn"}, {"severity": "info"}, {"text_read": "secondary"},
                {"text_read": "none"}], ids=repr,
)  # fmt: skip
def test_half_read_law_advises(changes: FACTS) -> None:
    house = read("US-IL-BIPA-15", **changes)
    asked = house.require(["US-IL"], now=NOW)
    assert (dict(asked.binding.addenda), set(asked.advised.addenda)) == ({}, {"US-IL-RELEASE"})


def test_law_binds_on_its_days_only() -> None:
    today = datetime.fromtimestamp(NOW, UTC).date()
    house = read("US-IL-BIPA-15", applies_from=today, applies_until=today)
    for now, binds in ((NOW - 1, False), (NOW, True), (NOW + 86_399, True), (NOW + 86_400, False)):
        assert bool(house.require(["US-IL"], now=now).binding.addenda) is binds


def test_a_mark_that_law_demands_is_required_with_its_rule() -> None:
    bound = read("CN-LABEL").require(["CN"], now=NOW).binding
    assert bound.marks["label"] == ("CN-LABEL", "FLOOR")
    assert set(bound.marks) == {"watermark", "c2pa", "label"}


def test_a_required_mark_denies_by_itself(good_facts: FACTS) -> None:
    """Were the floor's list shorter, what law demands would still have to be there."""
    shorter = Gate(
        POLICY.replace('["watermark", "c2pa", "label"]', '["watermark", "c2pa"]'), SCHEMA
    )
    good_facts |= {"marks": ["c2pa", "watermark"], "required_marks": ["label"]}
    assert shorter.judge(read_facts(good_facts)) == {("OUTPUT-MARKED", "")}
    good_facts["required_marks"] = []
    assert shorter.judge(read_facts(good_facts)) == frozenset()


def test_no_place_and_no_country_are_no_freedom_from_law() -> None:
    with pytest.raises(LawUnknown):
        HOUSE.require([], now=NOW)
    with pytest.raises(Malformed):
        HOUSE.require(["Illinois"], now=NOW)


def test_unread_law_is_said_beside_a_decision_and_never_decides(good_facts: FACTS) -> None:
    for person in good_facts["people"]:
        person["territories"] = ["US-IL", "CN"]
    good_facts["territories"] = ["US-IL", "CN"]
    quiet = replace(HOUSE, law=LawBook(tuple(r for r in HOUSE.law.rules if r.is_floor)))
    decision, silent = verdict(good_facts), verdict(good_facts, quiet)
    assert (decision.allow, decision.findings) == (True, ()) == (silent.allow, silent.findings)
    assert silent.notes == ()
    who = [f"{p['role']} {p['record_id']}" for p in good_facts["people"]]
    assert {(note.rule_id, note.subject) for note in decision.notes} >= {
        ("US-IL-BIPA-15", who[0]), ("US-IL-BIPA-15", who[1]), ("CN-PIPL-29", who[0])
    }  # fmt: skip
    note = next(note for note in decision.notes if note.rule_id == "US-IL-BIPA-15")
    assert note.explain == "would ask for US-IL-RELEASE"


def test_whoever_signed_the_form_gets_no_note(good_facts: FACTS) -> None:
    good_facts["territories"] = ["US-IL"]
    good_facts["people"][0] |= {"territories": ["US-IL"], "addenda": ["US-IL-RELEASE"]}
    good_facts["people"][1] |= {"territories": ["US-IL"]}
    assert {note.subject.split()[0] for note in verdict(good_facts).notes} == {"target_body"}


def test_a_mark_that_unread_law_would_like_is_noted_of_the_request(good_facts: FACTS) -> None:
    for person in good_facts["people"]:
        person["territories"] = ["CN"]
    good_facts |= {"territories": ["CN"], "marks": ["c2pa", "watermark"]}
    decision = verdict(good_facts)
    assert decision.codes == ("OUTPUT-MARKED",)
    assert LawNote(rule_id="CN-LABEL", subject="", explain="would ask for label") in decision.notes


@pytest.mark.parametrize("changes", [{"territories": []}, {"territories": ["DE"]}])
def test_no_notes_where_law_says_nothing_or_cannot_be_asked(
    good_facts: FACTS, changes: FACTS
) -> None:
    facts = copy.deepcopy(good_facts) | changes
    assert verdict(facts).notes == ()


def test_notes_change_neither_reasons_nor_facts(
    twins: list[tuple[tuple[str, ...], FACTS]],
) -> None:
    quiet = replace(HOUSE, law=LawBook(tuple(r for r in HOUSE.law.rules if r.is_floor)))
    for _, twin in twins:
        facts = copy.deepcopy(twin)
        for person in facts["people"]:
            person["territories"] = ["US-IL", *person["territories"]]
        facts["territories"] = ["US-IL", *facts["territories"]]
        loud, silent = verdict(facts, HOUSE), verdict(facts, quiet)
        assert loud.notes
        assert (loud.findings, loud.facts_sha256) == (silent.findings, silent.facts_sha256)


def test_the_shipped_list_of_rendered_pictures_is_the_demo() -> None:
    demo = Path(__file__).parents[2] / "docs" / "demo"
    assert HOUSE.rendered == {sha256_hex(path.read_bytes()) for path in demo.glob("*.webp")}


def test_a_list_of_rendered_pictures_is_read_line_by_line() -> None:
    text = f"# a note\n\n{'a' * 64}  one.webp\n{'b' * 64}\n"
    assert read_rendered(text) == {"a" * 64, "b" * 64}


@pytest.mark.parametrize("line", ["A" * 64, "a" * 63, "a" * 65, "one.webp", " " + "a" * 64 + "x"])
def test_a_line_that_is_no_digest_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        read_rendered(line + "\n")
