"""Gathering the facts of one decision: consents as they stand, pictures as measured, the clock.

Reads every consent anew and re-verifies it. A consent that is missing or broken becomes a fact that
denies; it never stops the other reasons from being found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa

from policies.audit import last_time
from policies.consent import ConsentBroken
from policies.consents import Consent, ConsentBook, ConsentUnknown
from policies.database import RESERVATION
from policies.errors import Malformed
from policies.facts import Measured
from policies.request import Person, Request
from policies.terms import REQUIRED_MARKS

_SCOPE = ("roles", "purposes", "media", "audiences", "territories", "opted_in")

Absent = Literal["unknown", "broken"]


def gather_facts(
    request: Request,
    measured: Measured,
    *,
    book: ConsentBook,
    now: int,
    within: sa.Connection,
    released_under: str = "",
) -> dict[str, Any]:
    """Return the JSON-like mapping of `Facts` for a request, read inside one transaction.

    Uses taken under the warrant `released_under` are the request's own and count as left.
    """
    matches = _matches(measured)
    named = {(person.record_id, person.role) for person in request.people}
    pictures = (measured.source_sha256, measured.target_sha256)
    return {
        "now": now,
        "last_log_time": last_time(within),
        "purpose": request.purpose,
        "medium": request.medium,
        "audience": request.audience,
        "territories": list(request.territories),
        "categories": list(request.categories),
        "marks": sorted(REQUIRED_MARKS),
        "inputs_match": pictures == (request.source_sha256, request.target_sha256),
        "people_match": set(matches) == named and len(matches) == len(measured.people),
        "source_faces": measured.source_faces,
        "target_faces": measured.target_faces,
        "target_faces_resolved": measured.target_faces_resolved,
        "people": _gather_people(request, measured, book, within, released_under),
    }


def _gather_people(
    request: Request,
    measured: Measured,
    book: ConsentBook,
    within: sa.Connection,
    released_under: str,
) -> list[dict[str, Any]]:
    consents = [_read(book, person, within) for person in request.people]
    pids = {c.record.subject.pid for c in consents if isinstance(c, Consent)}
    matches = _matches(measured)
    people = []
    for person, consent in zip(request.people, consents, strict=True):
        if isinstance(consent, Consent):
            worth = _present(consent, request, measured, pids)
            worth["uses_left"] = _uses_left(consent, within, released_under)
        else:
            worth = _absent(consent)
        named = (person.record_id, person.role)
        match = matches.get(named, "mismatch")
        people.append({"record_id": named[0], "role": named[1], "match": match, **worth})
    return people


def _matches(measured: Measured) -> dict[tuple[str, str], str]:
    """Return who matched; a match without a place is none, the swap must know the face."""
    return {(m.record_id, m.role): m.match if m.box else "mismatch" for m in measured.people}


def _read(book: ConsentBook, person: Person, connection: sa.Connection) -> Consent | Absent:
    try:
        return book.read(person.record_id, within=connection)
    except ConsentUnknown:
        return "unknown"
    except (ConsentBroken, Malformed):
        return "broken"


def _absent(why: Absent) -> dict[str, Any]:
    """Return the facts of a consent that is not there: nothing is permitted."""
    scope: dict[str, list[str]] = {name: [] for name in _SCOPE}
    never = dict.fromkeys(("status_since", "not_before", "expires"), 0)
    no = dict.fromkeys(("counterparties_ok", "asset_ok", "adult", "template_model_ok"), False)
    return {"status": why, "uses_left": 0, **scope, **never, **no}


def _present(
    consent: Consent, request: Request, measured: Measured, pids: set[str]
) -> dict[str, Any]:
    record, state = consent.record, consent.state
    others: Sequence[str] = sorted(pids - {record.subject.pid})
    parties, assets = record.counterparties, record.assets
    return {
        "status": state.status,
        "status_since": state.since,
        "not_before": record.validity.not_before,
        "expires": record.validity.expires,
        **{name: list(getattr(record, name)) for name in _SCOPE},
        "counterparties_ok": parties.mode == "any_consented" or set(others) <= set(parties.pids),
        "asset_ok": assets.mode == "any" or request.target_sha256 in assets.sha256,
        "adult": record.subject.age_assurance.adult,
        "template_model_ok": record.binding.model_sha256 == measured.identity_model_sha256,
    }


def _uses_left(consent: Consent, connection: sa.Connection, released_under: str) -> int:
    record = consent.record
    taken = sa.select(sa.func.count()).where(
        RESERVATION.c.record_id == record.record_id, RESERVATION.c.warrant_id != released_under
    )
    return max(record.max_uses - int(connection.scalar(taken) or 0), 0)
