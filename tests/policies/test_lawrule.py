from __future__ import annotations

import re
from datetime import date
from typing import get_args

import pytest
from pydantic import ValidationError

from policies.cedar import HERE, open_gate
from policies.law import load_rules
from policies.lawrule import CHECKS, CheckName, LawRule, Severity, TextRead
from policies.rules import RULES

BOOK = load_rules()
READ = BOOK.find("US-TIDA").model_copy(
    update={"severity": "error", "text_read": "primary", "text_sha256": "0" * 64}
)


@pytest.mark.parametrize("text_read", get_args(TextRead))
@pytest.mark.parametrize("severity", get_args(Severity))
def test_only_an_error_that_was_read_can_block(severity: str, text_read: str) -> None:
    # model_copy goes round the loader's caps: the property must not rely on them.
    rule = READ.model_copy(update={"severity": severity, "text_read": text_read})
    assert rule.can_block is (severity == "error" and text_read == "primary")


def test_the_floor_can_block_and_no_other_rule_that_ships_can() -> None:
    assert {rule.id for rule in BOOK.rules if rule.can_block} == {
        rule.id for rule in BOOK.rules if rule.jurisdiction == "FLOOR"
    }


def test_a_rule_is_immutable() -> None:
    with pytest.raises(ValidationError):
        BOOK.find("FLOOR").severity = "info"  # type: ignore[misc]


def test_reading_is_said_in_a_word() -> None:
    words = {rule.id: rule.reading for rule in BOOK.rules}
    assert words["FLOOR"] == "own rule"
    assert (words["GDPR-17"], words["US-TIDA"]) == ("none", "secondary")
    unread = {rule.id: rule.is_unread for rule in BOOK.rules}
    assert (unread["FLOOR"], unread["GDPR-17"], unread["US-TIDA"]) == (False, True, True)
    assert READ.is_unread is False


@pytest.mark.parametrize(
    ("start", "end", "applies"),
    [
        ("", "", (True, True, True)),
        (date(2026, 1, 2), "", (False, True, True)),
        ("", date(2026, 1, 2), (True, True, False)),
        (date(2026, 1, 2), date(2026, 1, 2), (False, True, False)),
    ],
)
def test_both_ends_of_a_rules_days_are_included(
    start: date | str, end: date | str, applies: tuple[bool, ...]
) -> None:
    rule = READ.model_copy(update={"applies_from": start, "applies_until": end})
    days = [date(2026, 1, day) for day in (1, 2, 3)]
    assert tuple(map(rule.applies_on, days)) == applies
    assert rule.applies_on(date.max) is not bool(end)
    assert rule.applies_on(date.min) is not bool(start)


def test_every_check_is_known_and_names_conditions_that_exist() -> None:
    assert set(CHECKS) == set(get_args(CheckName))
    codes = {rule.code for rule in RULES}
    assert {code for decided in CHECKS.values() for code in decided} <= codes


def test_every_check_is_used_by_a_rule() -> None:
    assert {name for rule in BOOK.rules for name in rule.checks} == set(CHECKS)


def test_the_floor_says_everything_the_decision_looks_at() -> None:
    # A form is looked at only where a rule that can block demands it: that is no floor.
    decided = {name for name, codes in CHECKS.items() if codes and codes != ("ADDENDUM-MISSING",)}
    assert decided <= set(BOOK.find("FLOOR").checks)


def test_every_rule_that_the_gate_or_its_twin_cites_is_in_the_table() -> None:
    known = {rule.id for rule in BOOK.rules}
    clauses = open_gate().clauses
    assert {rule.code: rule.cites for rule in RULES} == {
        code: clause.cites for code, clause in clauses.items()
    }
    for clause in clauses.values():
        assert set(clause.cites) <= known, clause.code


def test_the_law_of_the_gate_is_read_from_its_text_too() -> None:
    # Not through the reader of the gate: a citation it skipped would be checked by nobody.
    text = (HERE / "gate.cedar").read_text("utf-8")
    cited = {word for words in re.findall(r'@law\("([^"]*)"\)', text) for word in words.split()}
    assert len(re.findall(r"@law", text)) - 1 == len(RULES)  # once in the comment at the head
    assert {"FLOOR", "GDPR-6-7-9"} < cited <= {rule.id for rule in BOOK.rules}


def test_what_asks_for_a_form_is_decided_by_the_form() -> None:
    for name in ("written_release_signed", "separate_consent_signed", "source_origin_declared"):
        assert CHECKS[name] == ("ADDENDUM-MISSING",)
        askers = [rule for rule in BOOK.rules if name in rule.checks]
        assert any(rule.requires_addenda for rule in askers)


@pytest.mark.parametrize(
    "name", ["log_entry_made", "digital_source_type_ai", "retention_in_limit", "subjects_counted"]
)
def test_what_the_decision_does_not_look_at_says_so(name: CheckName) -> None:
    assert CHECKS[name] == ()


def test_a_rule_round_trips() -> None:
    for rule in BOOK.rules:
        assert LawRule.model_validate(rule.model_dump()) == rule
