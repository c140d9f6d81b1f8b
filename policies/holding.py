"""Whether what a warrant was issued on still holds: its decision in the log, consents and uses.

Called inside the warrant desk's transaction (`warrants`). Refused: a warrant whose decision the log
does not hold, whose people's consents have changed, or whose uses were taken by others meanwhile.
"""

from __future__ import annotations

import sqlalchemy as sa

from policies.audit import AuditLog
from policies.consent import ConsentBroken
from policies.consents import ConsentBook, ConsentUnknown
from policies.issue import count_uses
from policies.warrant import Warrant, WarrantInvalid, WarrantPerson


def require_decision(warrant: Warrant, log: AuditLog, within: sa.Connection) -> None:
    """Raise WarrantInvalid unless the log holds the decision that the warrant was issued on."""
    entry = log.entry(warrant.decision_index, within=within) or {}
    found = (entry.get("kind"), entry.get("decision"), entry.get("allow"))
    if found != ("decision", warrant.decision_sha256, True):
        raise WarrantInvalid(
            "the log does not hold the decision behind the warrant", code="WARRANT-UNLOGGED"
        )


def require_consent(person: WarrantPerson, consents: ConsentBook, within: sa.Connection) -> None:
    """Raise WarrantInvalid unless a person's consent is as it was when the warrant was issued."""
    try:
        state = consents.read(person.record_id, within=within).state
    except (ConsentBroken, ConsentUnknown) as error:
        raise WarrantInvalid(error.message, code="CONSENT-CHANGED") from error
    if state.status != "confirmed" or state.head != person.consent_head:
        raise WarrantInvalid(
            f"the consent of the {person.role} changed: it is '{state.status}' now",
            code="CONSENT-CHANGED",
        )


def require_uses(
    warrant: Warrant, consents: ConsentBook, *, now: int, within: sa.Connection
) -> None:
    """Raise WarrantInvalid when a consent was used up meanwhile, whatever let that happen."""
    for record_id in {person.record_id for person in warrant.people}:
        used = count_uses(record_id, now=now, besides=warrant.warrant_id, within=within)
        if used >= consents.read(record_id, within=within).record.limits.max_uses:
            raise WarrantInvalid("no uses of a consent are left", code="CONSENT-CHANGED")
