from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipelines.law_page import (
    PAGE,
    POLICY_PAGE,
    check_words,
    describe_law,
    describe_reasons,
    details,
    duration_words,
    insert_reasons,
    period,
    write_pages,
)
from policies.cedar import Clause, open_gate
from policies.errors import Malformed
from policies.law import LawBook, load_rules
from policies.rules import RULES

BOOK = load_rules()
READ = BOOK.find("US-TIDA").model_copy(
    update={"severity": "error", "text_read": "primary", "reviewed_by": "A. Reader"}
)


def section(page: str, title: str) -> str:
    return page.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_is_what_the_rules_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == describe_law(BOOK), "run: python -m pipelines.law_page"


def test_the_page_says_that_it_is_no_advice_before_it_says_anything_else() -> None:
    head = describe_law(BOOK).split("## Counts")[0]
    assert "**This is not legal advice.**" in head
    assert "No lawyer counter-read it" in head


def test_every_rule_is_on_the_page_with_its_reading() -> None:
    page = describe_law(BOOK)
    assert page.count("\n### ") == len(BOOK.rules)
    for rule in BOOK.rules:
        own = page.split(f"### {rule.id}\n")[1].split("\n### ")[0]
        assert rule.explain in own
        assert f"* read: {rule.reading}, last looked at {rule.reviewed_on}\n" in own
        assert ("* may: deny\n" in own) is rule.is_floor


def test_the_counts_add_up() -> None:
    counts = section(describe_law(BOOK), "Counts")
    assert "46 rules: 32 in-force, 1 transitional, 1 contract, 5 voluntary, 1 draft" in counts
    assert "4 of them may deny, 0 of these in the name of a law." in counts
    rows = [line.split("|")[2:5] for line in counts.splitlines() if line[:2] == "| "]
    assert sum(int(cell) for row in rows[2:] for cell in row) == len(BOOK.rules)


def test_a_law_that_was_read_is_counted_apart() -> None:
    rest = tuple(rule for rule in BOOK.rules if rule.id != READ.id)
    page = describe_law(LawBook((*rest, READ)))
    assert "5 of them may deny, 1 of these in the name of a law." in page
    assert "| primary | 0 | 0 | 1 |" in page
    assert "* read: primary, last looked at 2026-11-21 by A. Reader\n" in page


def test_what_nobody_read_and_every_clock_are_listed() -> None:
    page = describe_law(BOOK)
    unread = section(page, "What nobody read")
    clocks = section(page, "Clocks")
    for rule in BOOK.rules:
        assert (f"| {rule.id} |" in unread) is (rule.reading == "none")
        assert (f"| {rule.id} |" in clocks) is bool(rule.deadline)
    assert "| removal_request | 48 hours | US-TIDA | secondary |" in clocks


def test_a_bar_in_a_title_breaks_no_table() -> None:
    rest = tuple(rule for rule in BOOK.rules if rule.id != "GDPR-17")
    odd = BOOK.find("GDPR-17").model_copy(update={"title": "a | b"})
    assert "| GDPR-17 | a \\| b | no day stated |" in describe_law(LawBook((*rest, odd)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PT48H", "48 hours"),
        ("PT1H", "1 hour"),
        ("PT0H", "at once"),
        ("P30D", "30 days"),
        ("P3M", "3 months"),
        ("P1Y", "1 year"),
    ],
)
def test_durations_in_words(text: str, words: str) -> None:
    assert duration_words(text) == words


def test_days_in_words() -> None:
    assert period(BOOK.find("FLOOR")) == "always"
    assert period(BOOK.find("GDPR-17")) == "no day stated"
    assert period(BOOK.find("US-TIDA")) == "from 2026-05-19"
    ended = READ.model_copy(update={"applies_until": date(2027, 1, 1)})
    assert period(ended) == "from 2026-05-19 until 2027-01-01"


def test_a_check_that_decides_nothing_says_so() -> None:
    assert check_words("adult_only") == (
        "adult_only (ADULT-ONLY, AGE-MINOR, AGE-CHALLENGE, BYSTANDER-MINOR)"
    )
    assert check_words("subjects_counted") == "subjects_counted (not part of the decision)"


@pytest.mark.parametrize(
    ("rule_id", "name", "words"),
    [
        ("FLOOR", "where", "everywhere"),
        ("FLOOR", "may", "deny"),
        ("US-TIDA", "may", "warn"),
        ("GDPR-17", "may", "inform"),
        ("GDPR-17", "source", "none named"),
        ("GDPR-17", "clock", "30 days after erasure_request"),
        ("US-TX-CUBI-B1", "asks for", "addendum US-TX-ORIGIN"),
        ("US-TX-CUBI-B1", "not for", "published_by_the_person"),
        ("US-TX-CUBI-B1", "clock", None),
        ("GDPR-OMNIBUS", "checks", None),
        ("GDPR-OMNIBUS", "evidence", None),
    ],
)
def test_details_leave_out_what_is_empty(rule_id: str, name: str, words: str | None) -> None:
    found: Callable[[str], str | None] = dict(details(BOOK.find(rule_id))).get
    assert found(name) == words


def test_the_reasons_of_the_policy_page_are_those_of_the_policy() -> None:
    text = POLICY_PAGE.read_text(encoding="utf-8")
    assert text == insert_reasons(text), "run: python -m pipelines.law_page"


def test_every_reason_is_on_the_page_with_its_mend_and_its_citations() -> None:
    text = POLICY_PAGE.read_text(encoding="utf-8")
    assert f"{len(RULES)} reasons, in the order of the policy." in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    told = {row.split("`")[1]: row for row in rows if "`" in row}
    for code, clause in open_gate().clauses.items():
        about = "the request" if clause.whole else "a person"
        words = (about, clause.explain, clause.mend, ", ".join(clause.cites))
        assert told[code] == f"| `{code}` | {' | '.join(words)} |"
    assert {rule.code for rule in RULES} <= set(told)


def test_a_bar_in_a_reason_breaks_no_table() -> None:
    odd = Clause("HOUSE-ODD", True, ("HOUSE",), "a | b", "c")
    assert "| `HOUSE-ODD` | the request | a \\| b | c | HOUSE |" in describe_reasons([odd])


@pytest.mark.parametrize("lost", ["<!-- reasons: ", "<!-- end of reasons -->"])
def test_a_page_without_its_marks_is_not_written(tmp_path: Path, lost: str) -> None:
    page = tmp_path / "policy.md"
    page.write_text(POLICY_PAGE.read_text(encoding="utf-8").replace(lost, ""), encoding="utf-8")
    before = page.read_bytes()
    with pytest.raises(Malformed, match="the page lacks"):
        write_pages(tmp_path / "law.md", page)
    assert page.read_bytes() == before


def test_writing_the_pages_gives_the_pages(tmp_path: Path) -> None:
    law, policy = tmp_path / "law.md", tmp_path / "policy.md"
    stale = POLICY_PAGE.read_text(encoding="utf-8").replace("| `NUDITY`", "| `NAKED`")
    policy.write_text(stale, encoding="utf-8")
    write_pages(law, policy)
    assert law.read_bytes() == PAGE.read_bytes()
    assert policy.read_bytes() == POLICY_PAGE.read_bytes()
