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
from policies.errors import Malformed
from policies.facts import Measured
from policies.house import House
from policies.issue import count_uses
from policies.request import Person, Request
from policies.terms import ASSURED_AGES, REQUIRED_MARKS
from policies.territories import covers

_SCOPE = ("roles", "purposes", "media", "audiences", "territories", "prohibited")
_LISTS = (*_SCOPE, "opted_in", "addenda")
_NUMBERS = ("status_since", "not_before", "expires", "uses_left", "max_pixels", "max_seconds")
_ANSWERS = (
    "counterparties_ok",
    "asset_ok",
    "notice_known",
    "adult",
    "age_assured",
    "enrolled_live",
    "template_model_ok",
)
_NO_FACE = {"match": "mismatch", "age": "minor", "registry": "unavailable"}

Absent = Literal["unknown", "broken"]


def gather_facts(
    request: Request,
    measured: Measured,
    *,
    book: ConsentBook,
    house: House,
    now: int,
    within: sa.Connection,
    released_under: str = "",
) -> dict[str, Any]:
    """Return the JSON-like mapping of `Facts` for a request, read inside one transaction.

    Uses taken under the warrant `released_under` are the request's own and count as left.
    """
    faces = _faces(measured)
    named = {(person.record_id, person.role) for person in request.people}
    binding = house.require(request.territories, now=now).binding
    pictures = (measured.source_sha256, measured.target_sha256)
    return {
        "now": now,
        "last_log_time": last_time(within),
        "purpose": request.purpose,
        "medium": request.medium,
        "audience": request.audience,
        "territories": list(request.territories),
        "categories": list(request.categories),
        "bystanders": request.bystanders,
        "purpose_known": house.knows(request.purpose),
        "marks": sorted(REQUIRED_MARKS),
        "required_marks": sorted(binding.marks),
        "required_addenda": sorted(binding.addenda),
        "inputs_match": pictures == (request.source_sha256, request.target_sha256),
        "people_match": set(faces) == named and len(faces) == len(measured.people),
        "source_faces": measured.source_faces,
        "target_faces": measured.target_faces,
        "target_faces_resolved": measured.target_faces_resolved,
        "target_faces_blurred": len(measured.blurred),
        "unnamed_minor": measured.unnamed_minor,
        "source_nudity": measured.source_nudity,
        "target_nudity": measured.target_nudity,
        "pixels": measured.pixels,
        "seconds": measured.seconds,
        "people": _gather_people(request, measured, book, house, now, within, released_under),
    }


def _gather_people(
    request: Request,
    measured: Measured,
    book: ConsentBook,
    house: House,
    now: int,
    within: sa.Connection,
    released_under: str,
) -> list[dict[str, Any]]:
    consents = [_read(book, person, within) for person in request.people]
    pids = {c.record.subject.pid for c in consents if isinstance(c, Consent)}
    faces = _faces(measured)
    people = []
    for person, consent in zip(request.people, consents, strict=True):
        if isinstance(consent, Consent):
            worth = _present(consent, request, measured, pids)
            worth |= _assured(consent, person.role, request, house)
            worth["notice_known"] = consent.record.notice.sha256 in house.notices
            used = count_uses(person.record_id, now=now, besides=released_under, within=within)
            worth["uses_left"] = max(consent.record.limits.max_uses - used, 0)
        else:
            worth = _absent(consent)
        named = (person.record_id, person.role)
        face = faces.get(named, _NO_FACE)
        people.append({"record_id": named[0], "role": named[1], **face, **worth})
    return people


def _faces(measured: Measured) -> dict[tuple[str, str], dict[str, str]]:
    """Return what was measured of each face; without a place there is none the swap could use."""
    return {
        (m.record_id, m.role): {
            "match": m.match if m.box else "mismatch",
            "age": m.age,
            "registry": m.registry,
        }
        for m in measured.people
    }


def _read(book: ConsentBook, person: Person, connection: sa.Connection) -> Consent | Absent:
    try:
        return book.read(person.record_id, within=connection)
    except ConsentUnknown:
        return "unknown"
    except (ConsentBroken, Malformed):
        return "broken"


def _absent(why: Absent) -> dict[str, Any]:
    """Return the facts of a consent that is not there: nothing is permitted."""
    scope: dict[str, list[str]] = {name: [] for name in _LISTS}
    never = dict.fromkeys(_NUMBERS, 0)
    no = dict.fromkeys(_ANSWERS, False)
    return {"status": why, **scope, **never, **no}


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
        "territories": _covered(record.territories, request.territories),
        "opted_in": list(record.opted_in_categories),
        "addenda": list(record.addendum_forms),
        "counterparties_ok": parties.mode == "any_consented" or set(others) <= set(parties.pids),
        "asset_ok": assets.mode == "any" or request.target_sha256 in assets.sha256,
        "adult": record.subject.age_assurance.adult,
        "max_pixels": record.limits.max_pixels,
        "max_seconds": record.limits.max_seconds,
        "template_model_ok": record.binding.model_sha256 == measured.identity_model_sha256,
    }


def _assured(consent: Consent, role: str, request: Request, house: House) -> dict[str, bool]:
    """Return whether age and presence are shown; 'rendered' holds for listed pictures alone."""
    source = role == "source_identity"
    picture = request.source_sha256 if source else request.target_sha256
    listed = picture in house.rendered
    age, live = consent.record.subject.age_assurance.method, consent.record.binding.liveness.method
    return {
        "age_assured": age in ASSURED_AGES or (age == "rendered" and listed),
        "enrolled_live": live in ("video_challenge", "in_person")
        or (live == "rendered" and listed),
    }


def _covered(consented: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return the places consented to, and those of the request that lie within them."""
    return [*consented, *(place for place in dict.fromkeys(asked) if covers(consented, place))]
