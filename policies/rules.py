"""The rules: the policy of `gate.cedar` once more, in Python, with words that name what was found.

A rule looks at the facts and either holds or yields findings. Every rule is a floor of the product:
none depends on a setting, none can be switched off. Citations are ids of the rule table of laws;
`FLOOR` marks the product's own floor where no law is claimed as the reason.

Nothing here permits: the gate does, and the rules must agree with it. They share no code with it
and no engine, so that one mistake in either is a denial and not a permission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from policies.canonical import digest
from policies.digest import sha256_hex
from policies.facts import ConsentFacts, Facts
from policies.terms import REQUIRED_MARKS, Document


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


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _people(
    holds: Callable[[Facts, ConsentFacts], bool], explain: Callable[[Facts, ConsentFacts], str]
) -> Callable[[Facts], Iterator[tuple[str, str]]]:
    """Make a per-person condition; `holds is True` and nothing else counts as holding."""

    def broken_by(facts: Facts) -> Iterator[tuple[str, str]]:
        for person in facts.people:
            if holds(facts, person) is not True:
                yield person.subject, explain(facts, person)

    return broken_by


def _whole(
    holds: Callable[[Facts], bool], explain: Callable[[Facts], str]
) -> Callable[[Facts], Iterator[tuple[str, str]]]:
    """Make a condition on the request as a whole."""

    def broken_by(facts: Facts) -> Iterator[tuple[str, str]]:
        if holds(facts) is not True:
            yield "", explain(facts)

    return broken_by


def _shown(facts: Facts) -> int:
    return sum(person.role != "source_identity" for person in facts.people)


def _one_of_each(facts: Facts) -> bool:
    roles = [person.role for person in facts.people]
    named_once = len({person.subject for person in facts.people}) == len(roles)
    return named_once and roles.count("source_identity") == 1 == roles.count("target_body")


RULES: tuple[Rule, ...] = (
    Rule(
        "CLOCK-ROLLBACK",
        ("FLOOR",),
        "Set the clock right; nothing is decided while it is behind the log.",
        _whole(
            lambda f: f.now >= f.last_log_time,
            lambda f: f"The clock says {f.now}, the newest log entry {f.last_log_time}.",
        ),
    ),
    Rule(
        "INPUTS-MISMATCH",
        ("FLOOR",),
        "Ask again with the digests of the pictures that are handed in.",
        _whole(
            lambda f: f.inputs_match,
            lambda f: "The measured pictures are not the ones the request names.",
        ),
    ),
    Rule(
        "PEOPLE-MISMATCH",
        ("FLOOR",),
        "Name every depicted person once, with the consent they gave for that role.",
        _whole(
            lambda f: f.people_match and _one_of_each(f),
            lambda f: "The measured people are not exactly the ones the request names.",
        ),
    ),
    Rule(
        "SOURCE-FACES",
        ("FLOOR",),
        "Use a source picture that shows the consenting person alone.",
        _whole(
            lambda f: f.source_faces == 1,
            lambda f: f"The source picture shows {f.source_faces} faces; exactly one is needed.",
        ),
    ),
    Rule(
        "BYSTANDER",
        ("FLOOR", "GDPR-6-7-9", "CN-DS"),
        "Get the signed consent of everyone shown (name them as bystander), or crop them out.",
        _whole(
            lambda f: 0 < f.target_faces == f.target_faces_resolved == _shown(f),
            lambda f: (
                f"The target picture shows {f.target_faces} face(s), {f.target_faces_resolved} of "
                f"them matched a consent; the request names {_shown(f)} people in it."
            ),
        ),
    ),
    Rule(
        "CONSENT-BROKEN",
        ("FLOOR", "GDPR-6-7-9"),
        "Have the person and the controller sign a new record; this one proves nothing.",
        _people(
            lambda f, p: p.status not in ("broken", "unknown"),
            lambda f, p: (
                "There is no such consent record."
                if p.status == "unknown"
                else "The consent record or its events were edited, forged or cut."
            ),
        ),
    ),
    Rule(
        "CONSENT-STATUS",
        ("FLOOR", "GDPR-6-7-9"),
        "Only the person can change this: they may sign a new consent and confirm it.",
        _people(
            lambda f, p: p.status == "confirmed",
            lambda f, p: (
                f"The consent is '{p.status}' since {_date(p.status_since)}, not 'confirmed'."
            ),
        ),
    ),
    Rule(
        "CONSENT-WINDOW",
        ("FLOOR", "US-IL-BIPA-15"),
        "Ask the person for a new consent with a validity that covers today.",
        _people(
            lambda f, p: p.not_before <= f.now < p.expires,
            lambda f, p: (
                f"The consent runs from {_date(p.not_before)} until {_date(p.expires)}, not now."
            ),
        ),
    ),
    Rule(
        "ROLE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this role, or use them only in a role they agreed to.",
        _people(
            lambda f, p: p.role in p.roles,
            lambda f, p: f"They agreed to {', '.join(p.roles)}, not to {p.role}.",
        ),
    ),
    Rule(
        "PURPOSE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this purpose; one purpose never covers another.",
        _people(
            lambda f, p: f.purpose in p.purposes,
            lambda f, p: f"They agreed to {', '.join(p.purposes)}, not to {f.purpose}.",
        ),
    ),
    Rule(
        "MEDIA-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this kind of media.",
        _people(
            lambda f, p: f.medium in p.media,
            lambda f, p: f"They agreed to {', '.join(p.media)}, not to {f.medium}.",
        ),
    ),
    Rule(
        "AUDIENCE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this audience.",
        _people(
            lambda f, p: f.audience in p.audiences,
            lambda f, p: f"They agreed to {', '.join(p.audiences)}, not to {f.audience}.",
        ),
    ),
    Rule(
        "TERRITORY-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to every territory of the request, or narrow the request.",
        _people(
            lambda f, p: bool(f.territories) and set(f.territories) <= set(p.territories),
            lambda f, p: (
                f"They agreed to {', '.join(p.territories)}; "
                f"the request is for {', '.join(f.territories) or 'no territory at all'}."
            ),
        ),
    ),
    Rule(
        "SENSITIVE-CATEGORY",
        ("FLOOR", "EU-AIA-5-NCII", "GDPR-6-7-9"),
        "Nothing sensitive is made without a separate opt-in by the person shown.",
        _people(
            lambda f, p: set(f.categories) <= set(p.opted_in),
            lambda f, p: f"They did not opt in to {', '.join(sorted(set(f.categories)))}.",
        ),
    ),
    Rule(
        "COUNTERPARTY-SCOPE",
        ("FLOOR",),
        "Ask the person to agree to everyone they are combined with.",
        _people(
            lambda f, p: p.counterparties_ok,
            lambda f, p: "Someone else in the request is not on this person's list.",
        ),
    ),
    Rule(
        "ASSET-SCOPE",
        ("FLOOR", "US-SAG-AFTRA"),
        "Ask the person to list this very picture, by its digest.",
        _people(
            lambda f, p: p.asset_ok,
            lambda f, p: "The target picture is not one this person listed.",
        ),
    ),
    Rule(
        "LIMIT-EXHAUSTED",
        ("FLOOR",),
        "Ask the person for a new consent; this one has been used up.",
        _people(lambda f, p: p.uses_left > 0, lambda f, p: "No uses of this consent are left."),
    ),
    Rule(
        "ADULT-ONLY",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Nothing: no role, flag or setting permits this.",
        _people(lambda f, p: p.adult, lambda f, p: "The record does not assure an adult."),
    ),
    Rule(
        "TEMPLATE-MODEL",
        ("FLOOR",),
        "Enrol the person again with the identity model that is in use.",
        _people(
            lambda f, p: p.template_model_ok,
            lambda f, p: "The face template was made by another identity model.",
        ),
    ),
    Rule(
        "FACE-MISMATCH",
        ("FLOOR", "GDPR-6-7-9"),
        "Use a picture of the person who consented, or get the consent of the person shown.",
        _people(
            lambda f, p: p.match == "match",
            lambda f, p: (
                "The face cannot be told apart from other people's well enough."
                if p.match == "ambiguous"
                else "No face in the picture is this person's."
            ),
        ),
    ),
    Rule(
        "OUTPUT-MARKED",
        ("FLOOR", "EU-AIA-50-2", "CN-LABEL", "US-CA-942"),
        "Release with watermark, C2PA manifest and label; there is no unmarked release.",
        _whole(
            lambda f: set(f.marks) >= REQUIRED_MARKS,
            lambda f: "The release would lack a required mark.",
        ),
    ),
)

_DECIDING = (
    "gate.cedar",
    "gate.cedarschema",
    "cedar.py",
    "rules.py",
    "decide.py",
    "gather.py",
    "facts.py",
    "terms.py",
)

POLICY_SHA256 = digest(
    {name: sha256_hex(Path(__file__).with_name(name).read_bytes()) for name in _DECIDING}
)
"""Digest of the digests of every file a decision is made by, as canonical JSON `{file: SHA-256}`.

Every decision and warrant names it: the rules under which it was made.
"""
