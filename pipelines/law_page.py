"""Writes docs/law.md from the rule files, and the reasons of docs/policy.md from the policy.

Tests fail when either page is stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import get_args

from policies.cedar import Clause, open_gate
from policies.errors import Malformed
from policies.law import CHECKS, LawBook, LawRule, load_rules
from policies.lawrule import CheckName, Severity, Status, TextRead

PAGE = Path(__file__).parent.parent / "docs" / "law.md"
POLICY_PAGE = PAGE.with_name("policy.md")

_BEGIN = "<!-- reasons: made by python -m pipelines.law_page -->\n"
_END = "<!-- end of reasons -->\n"

_INTRO = """\
# Law as data

Made from `policies/law/*.toml` (`python -m pipelines.law_page`); a test compares this page with
them.

**This is not legal advice.** No lawyer counter-read it, and it is not complete: it lists what one
study looked at. A rule that is missing here is not a rule that does not exist.

* **How far it was read** is part of every rule. `primary`: somebody read the official text, signed
  with name and day, and its SHA-256 is kept. `secondary`: seen in a page that reports or quotes it.
  `none`: no source is named, or the text was not read. `own rule`: the product's floor, which cites
  no law.
* **What a rule may do** follows from that. Only the floor, or an `error` whose official text was
  read, may deny. Everything else warns or informs; it never denies and never permits.
* **Whom and where** is put rather too wide than too narrow: too wide costs a warning.
* **Days** are UTC, the first and the last on which a rule applies; for a draft or a bill, the day
  of the version that is cited. `no day stated`: our source names none, so the rule is always shown.
* **Territories** are ISO 3166 codes; a rule for the EU or EEA reaches every member, a rule for a
  country its parts, a rule for a part neither the whole nor another part.
"""


def describe_law(book: LawBook) -> str:
    """Return the page: what it is, counts per class, every rule, clocks, and what nobody read."""
    parts = [_INTRO, _counts(book.rules), _clocks(book.rules), _unread(book.rules)]
    by_jurisdiction = sorted(book.rules, key=lambda rule: (rule.jurisdiction, rule.id))
    for jurisdiction, rules in groupby(by_jurisdiction, key=lambda rule: rule.jurisdiction):
        parts.append(f"## {jurisdiction}\n\n" + "\n\n".join(map(_rule, rules)) + "\n")
    parts.append(f"Digest of all rules: `{book.sha256}`\n")
    return "\n".join(parts)


def describe_reasons(clauses: Iterable[Clause]) -> str:
    """Return the table of reason codes: what is wrong, what mends it, and what it cites."""
    every = tuple(clauses)
    rows = [
        (
            f"`{clause.code}`",
            "the request" if clause.whole else "a person",
            clause.explain,
            clause.mend,
            ", ".join(clause.cites),
        )
        for clause in every
    ]
    names = ("code", "about", "what", "mend", "cites")
    return f"{len(every)} reasons, in the order of the policy.\n\n" + _table(names, rows)


def insert_reasons(page: str) -> str:
    """Return a page with the reasons of the policy between its two marks; raise Malformed."""
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise Malformed(f"the page lacks {_BEGIN.strip()} or {_END.strip()} after it")
    reasons = describe_reasons(open_gate().clauses.values())
    return f"{head}{begin}\n{reasons}\n{end}{tail}"


def period(rule: LawRule) -> str:
    """Return the days of a rule in words."""
    if rule.is_floor:
        return "always"
    ends = [("from", rule.applies_from), ("until", rule.applies_until)]
    return " ".join(f"{word} {day}" for word, day in ends if day) or "no day stated"


def duration_words(text: str) -> str:
    """Return the duration of a rule's clock (`PT48H`, `P3Y`) in words, for people."""
    count = int(text.strip("PTHDMY"))
    unit = {"H": "hour", "D": "day", "M": "month", "Y": "year"}[text[-1]]
    return f"{count} {unit}{'' if count == 1 else 's'}" if count else "at once"


def details(rule: LawRule) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a rule, as name and words; nothing that is empty."""
    yield "binds", ", ".join(rule.binds)
    yield "where", "everywhere" if rule.territories == ("*",) else ", ".join(rule.territories)
    yield "when", f"{period(rule)}; {rule.status}"
    yield "may", "deny" if rule.can_block else {"info": "inform"}.get(rule.severity, rule.severity)
    read = f"{rule.reading}, last looked at {rule.reviewed_on}"
    yield "read", read + (f" by {rule.reviewed_by}" if rule.reviewed_by else "")
    yield "source", rule.source or "none named"
    if rule.checks:
        yield "checks", "; ".join(map(check_words, rule.checks))
    demands = [*rule.requires_marks, *(f"addendum {name}" for name in rule.requires_addenda)]
    lists = {"asks for": demands, "evidence": rule.evidence, "not for": rule.unless}
    yield from ((name, ", ".join(words)) for name, words in lists.items() if words)
    if rule.deadline:
        yield "clock", f"{duration_words(rule.deadline)} after {rule.deadline_from}"


def check_words(name: CheckName) -> str:
    """Return a check and what decides it, or that the decision does not look at it."""
    codes = CHECKS[name]
    return f"{name} ({', '.join(codes) if codes else 'not part of the decision'})"


def _rule(rule: LawRule) -> str:
    lines = [f"### {rule.id}", "", f"**{_cell(rule.title)}.** {rule.explain}", ""]
    return "\n".join(lines + [f"* {name}: {words}" for name, words in details(rule)])


def _counts(rules: Iterable[LawRule]) -> str:
    every = tuple(rules)
    found = Counter((rule.reading, rule.severity) for rule in every)
    severities = get_args(Severity)
    rows = [
        (reading, *(str(found[reading, severity]) for severity in severities))
        for reading in ("own rule", *get_args(TextRead))
    ]
    by_status = Counter(rule.status for rule in every)
    statuses = ", ".join(f"{by_status[word]} {word}" for word in get_args(Status))
    blocking = sum(rule.can_block for rule in every)
    law = sum(rule.can_block and not rule.is_floor for rule in every)
    return (
        f"## Counts\n\n{len(every)} rules: {statuses}. {blocking} of them may deny, "
        f"{law} of these in the name of a law.\n\n" + _table(("read", *severities), rows)
    )


def _clocks(rules: Iterable[LawRule]) -> str:
    rows = [
        (rule.deadline_from, duration_words(rule.deadline), rule.id, rule.reading)
        for rule in sorted(rules, key=lambda rule: (rule.deadline_from, rule.id))
        if rule.deadline
    ]
    intro = "## Clocks\n\nThe shortest clock of the rules that apply wins.\n\n"
    return intro + _table(("starts with", "length", "rule", "read"), rows)


def _unread(rules: Iterable[LawRule]) -> str:
    rows = [(rule.id, rule.title, period(rule)) for rule in rules if rule.reading == "none"]
    intro = "## What nobody read\n\nEach of these is a task, not a gap that is silent.\n\n"
    return intro + _table(("rule", "what it would say", "when"), rows)


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(names)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_pages(law: Path = PAGE, policy: Path = POLICY_PAGE) -> None:
    """Write both pages anew; raise Malformed where a mark is missing."""
    law.write_text(describe_law(load_rules()), encoding="utf-8")
    policy.write_text(insert_reasons(policy.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
