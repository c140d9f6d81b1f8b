"""Rules about what each person agreed to: standing, scope, limits, addenda.

Each is stated once more in `gate.cedar`, without shared code; see `rules.py`.
"""

from __future__ import annotations

from collections.abc import Collection

from policies.facts import ConsentFacts
from policies.rule import Rule, date_of, people
from policies.terms import NEVER_OPTED_IN


def _list(words: Collection[str]) -> str:
    return ", ".join(words) or "nothing"


def _since(person: ConsentFacts) -> str:
    """Return since when a status holds, in words; nothing for one that never began."""
    return f" since {date_of(person.status_since)}" if person.status_since else ""


CONSENT_RULES: tuple[Rule, ...] = (
    Rule(
        "CONSENT-BROKEN",
        ("FLOOR", "GDPR-6-7-9"),
        "Have the person and the controller sign a new record; this one proves nothing.",
        people(
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
        people(
            lambda f, p: p.status == "confirmed",
            lambda f, p: f"The consent is '{p.status}'{_since(p)}, not 'confirmed'.",
        ),
    ),
    Rule(
        "SECOND-CONFIRMATION",
        ("FLOOR", "US-SAG-AFTRA"),
        "Have the person confirm, in a separate act within ten minutes of signing.",
        people(
            lambda f, p: p.status != "given",
            lambda f, p: f"Given at {date_of(p.status_since)}, and not confirmed a second time.",
        ),
    ),
    Rule(
        "CONSENT-WINDOW",
        ("FLOOR", "US-IL-BIPA-15"),
        "Ask the person for a new consent with a validity that covers today.",
        people(
            lambda f, p: p.not_before <= f.now < p.expires,
            lambda f, p: (
                f"The consent runs from {date_of(p.not_before)} until {date_of(p.expires)}, "
                "not now."
                if p.expires
                else "There is no time for which they consented."
            ),
        ),
    ),
    Rule(
        "NOTICE-UNKNOWN",
        ("FLOOR", "GDPR-13-14"),
        "Show the person a notice this deployment has published, and have them sign anew.",
        people(
            lambda f, p: p.notice_known,
            lambda f, p: "No notice is known that this deployment published and they were shown.",
        ),
    ),
    Rule(
        "ROLE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this role, or use them only in a role they agreed to.",
        people(
            lambda f, p: p.role in p.roles,
            lambda f, p: f"They agreed to {_list(p.roles)}, not to {p.role}.",
        ),
    ),
    Rule(
        "PURPOSE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this purpose; one purpose never covers another.",
        people(
            lambda f, p: f.purpose in p.purposes,
            lambda f, p: f"They agreed to {_list(p.purposes)}, not to {f.purpose}.",
        ),
    ),
    Rule(
        "MEDIA-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this kind of media.",
        people(
            lambda f, p: f.medium in p.media,
            lambda f, p: f"They agreed to {_list(p.media)}, not to {f.medium}.",
        ),
    ),
    Rule(
        "AUDIENCE-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to this audience.",
        people(
            lambda f, p: f.audience in p.audiences,
            lambda f, p: f"They agreed to {_list(p.audiences)}, not to {f.audience}.",
        ),
    ),
    Rule(
        "TERRITORY-SCOPE",
        ("GDPR-6-7-9",),
        "Ask the person to consent to every territory of the request, or narrow the request.",
        people(
            lambda f, p: bool(f.territories) and set(f.territories) <= set(p.territories),
            lambda f, p: (
                f"They agreed to {_list(p.territories)}; the request is for {_list(f.territories)}."
            ),
        ),
    ),
    Rule(
        "PROHIBITED-USE",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Nothing: the person has barred this use, or nobody can permit it.",
        people(
            lambda f, p: not set(f.categories) & (NEVER_OPTED_IN | set(p.prohibited)),
            lambda f, p: (
                "Barred whatever else is agreed: "
                f"{', '.join(sorted(set(f.categories) & (NEVER_OPTED_IN | set(p.prohibited))))}."
            ),
        ),
    ),
    Rule(
        "SENSITIVE-CATEGORY",
        ("FLOOR", "EU-AIA-5-NCII", "GDPR-6-7-9"),
        "Nothing sensitive is made without a separate opt-in by the person shown.",
        people(
            lambda f, p: set(f.categories) <= set(p.opted_in),
            lambda f, p: (
                f"They did not opt in to {_list(sorted(set(f.categories) - set(p.opted_in)))}."
            ),
        ),
    ),
    Rule(
        "ADDENDUM-MISSING",
        ("FLOOR", "US-IL-BIPA-15", "CN-PIPL-29", "US-TX-CUBI"),
        "Have the person sign the missing addendum in a new consent, or leave the territory out.",
        people(
            lambda f, p: set(f.required_addenda) <= set(p.addenda),
            lambda f, p: (
                "Their consent lacks "
                f"{', '.join(sorted(set(f.required_addenda) - set(p.addenda)))}."
            ),
        ),
    ),
    Rule(
        "COUNTERPARTY-SCOPE",
        ("FLOOR",),
        "Ask the person to agree to everyone they are combined with.",
        people(
            lambda f, p: p.counterparties_ok,
            lambda f, p: "Someone else in the request is not on this person's list.",
        ),
    ),
    Rule(
        "ASSET-SCOPE",
        ("FLOOR", "US-SAG-AFTRA"),
        "Ask the person to list this very picture, by its digest.",
        people(
            lambda f, p: p.asset_ok,
            lambda f, p: "The target picture is not one this person listed.",
        ),
    ),
    Rule(
        "LIMIT-EXHAUSTED",
        ("FLOOR",),
        "Ask the person for a new consent; this one has been used up.",
        people(lambda f, p: p.uses_left > 0, lambda f, p: "No uses of this consent are left."),
    ),
    Rule(
        "LIMIT-SIZE",
        ("FLOOR", "US-SAG-AFTRA"),
        "Use a smaller or shorter target, or ask the person for a larger limit.",
        people(
            lambda f, p: f.pixels <= p.max_pixels and f.seconds <= p.max_seconds,
            lambda f, p: (
                f"The target has {f.pixels} pixels and {f.seconds} seconds; they agreed to "
                f"{p.max_pixels} and {p.max_seconds}."
            ),
        ),
    ),
)
