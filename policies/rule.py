"""What a rule is: a condition over the facts that either holds or yields findings, with words.

`holds is True` and nothing else counts as holding, so a condition that returns anything odd denies.
Which rules there are is said in `rules_request.py`, `rules_consent.py` and `rules_face.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from policies.facts import ConsentFacts, Facts
from policies.terms import Document


class Finding(Document):
    """One reason against a request: machine code, cited rules, explanation and mend.

    `subject` is the role and consent it concerns, or empty for the request as a whole.
    """

    code: str
    cites: tuple[str, ...]
    subject: str
    explain: str
    mend: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition with its citation; `broken_by` yields (subject, explanation) per breach."""

    code: str
    cites: tuple[str, ...]
    mend: str
    broken_by: Callable[[Facts], Iterator[tuple[str, str]]]

    def findings(self, facts: Facts) -> list[Finding]:
        """Return what speaks against the request under this rule; empty when it holds."""
        return [
            Finding(
                code=self.code, cites=self.cites, subject=subject, explain=explain, mend=self.mend
            )
            for subject, explain in self.broken_by(facts)
        ]


def date_of(at: int) -> str:
    """Return a unix time in words, UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def people(
    holds: Callable[[Facts, ConsentFacts], bool], explain: Callable[[Facts, ConsentFacts], str]
) -> Callable[[Facts], Iterator[tuple[str, str]]]:
    """Make a per-person condition; `holds is True` and nothing else counts as holding."""

    def broken_by(facts: Facts) -> Iterator[tuple[str, str]]:
        for person in facts.people:
            if holds(facts, person) is not True:
                yield person.subject, explain(facts, person)

    return broken_by


def whole(
    holds: Callable[[Facts], bool], explain: Callable[[Facts], str]
) -> Callable[[Facts], Iterator[tuple[str, str]]]:
    """Make a condition on the request as a whole."""

    def broken_by(facts: Facts) -> Iterator[tuple[str, str]]:
        if holds(facts) is not True:
            yield "", explain(facts)

    return broken_by
