"""Writing down a decision, for the log and for good, and a warrant: document, row and uses.

The warrant desk (`warrants.py`) decides who gets one; this decides nothing and is called inside the
desk's transaction. A use is taken with the warrant and given back with its end without a release; a
warrant that expired unended holds no use any more.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from policies.canonical import canonical
from policies.decide import Decision
from policies.facts import Measured
from policies.keys import SigningKey
from policies.request import Request
from policies.tables import DECISION, RELEASE, RELEASE_PERSON, RESERVATION, WARRANT
from policies.warrant import SECONDS_PER_CLIP_SECOND, WARRANT_SECONDS, Warrant, read_warrant


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the log holds a decision: the log's name, the entry's index, the size after it."""

    origin: str
    index: int
    size: int


def describe_decision(decision: Decision, subjects: Sequence[str]) -> dict[str, Any]:
    """Return what the log says of a decision; `subjects` are commitments, never ids."""
    return {
        "request": decision.request_sha256,
        "decision": decision.sha256,
        "allow": decision.allow,
        "reasons": _fit(decision.codes, 1_000),
        "facts": decision.facts_sha256,
        "policy": decision.policy_sha256,
        "notes": _fit(sorted({note.rule_id for note in decision.notes}), 400),
        "subjects": sorted(subjects),
    }


def _fit(names: Sequence[str], room: int) -> list[str]:
    """Return the names that fit into `room` bytes of a log entry, and how many more there are.

    A house may add reasons and rules without end; what it adds must not keep a decision from being
    logged. The digest of the decision is over all of them.
    """
    ends = itertools.accumulate(len(name.encode()) + 3 for name in names)
    fitting = sum(end <= room for end in ends)
    more = len(names) - fitting
    return [*names[:fitting], *([f"and {more} more"] if more else [])]


def sign_warrant(
    request: Request,
    measured: Measured,
    decision: Decision,
    *,
    heads: Mapping[str, str],
    place: LogPlace,
    warrant_id: str,
    key: SigningKey,
) -> Warrant:
    """Return the signed warrant of an allowed decision.

    `heads`: record id -> hash of the consent's newest step. The warrant runs from the moment of the
    decision for `WARRANT_SECONDS`, and longer for a video.
    """
    body = {
        "schema": "facewarrant/warrant/1",
        "warrant_id": warrant_id,
        "request_id": request.request_id,
        "request_sha256": request.sha256,
        "decision_id": decision.decision_id,
        "decision_sha256": decision.sha256,
        "decision_index": place.index,
        "log_origin": place.origin,
        "log_size": place.size,
        "source_sha256": request.source_sha256,
        "target_sha256": request.target_sha256,
        "purpose": request.purpose,
        "medium": request.medium,
        "audience": request.audience,
        "territories": list(request.territories),
        "people": _name_people(request, measured, heads),
        "blurred": [list(box) for box in measured.blurred],
        "bystanders": request.bystanders,
        "models": dict(measured.models),
        "policy_sha256": decision.policy_sha256,
        "not_before": decision.evaluated_at,
        "expires_at": decision.evaluated_at
        + WARRANT_SECONDS
        + SECONDS_PER_CLIP_SECOND * measured.seconds,
        "kid": key.public.kid,
    }
    return read_warrant(canonical(body | {"sig": key.sign("warrant", body)}))


def _name_people(
    request: Request, measured: Measured, heads: Mapping[str, str]
) -> list[dict[str, Any]]:
    boxes = {(m.record_id, m.role): m.box for m in measured.people}
    return [
        {
            "record_id": person.record_id,
            "role": person.role,
            "box": boxes[person.record_id, person.role],
            "consent_head": heads[person.record_id],
        }
        for person in request.people
    ]


def keep_warrant(warrant: Warrant, *, within: sa.Connection) -> None:
    """Store an issued warrant and take one use of every consent that it names."""
    within.execute(
        sa.insert(WARRANT),
        {
            "warrant_id": warrant.warrant_id,
            "request_id": warrant.request_id,
            "document": warrant.encode(),
            "state": "issued",
            "expires_at": warrant.expires_at,
            "changed_at": warrant.not_before,
        },
    )
    for record_id in sorted({person.record_id for person in warrant.people}):
        _take_use(record_id, warrant.warrant_id, within)


def keep_decision(decision: Decision, facts: Mapping[str, Any], *, within: sa.Connection) -> None:
    """Store why a warrant was issued, so that an auditor can decide again on the same facts.

    `facts` are what the decision was made of; they name people by their record's id alone.
    """
    within.execute(
        sa.insert(DECISION),
        {
            "decision_id": decision.decision_id,
            "document": canonical(decision.model_dump(mode="json")),
            "facts": canonical(facts),
        },
    )


def give_back(warrant_id: str, *, within: sa.Connection) -> None:
    """Give back the uses that a warrant took."""
    within.execute(sa.delete(RESERVATION).where(RESERVATION.c.warrant_id == warrant_id))


def count_uses(record_id: str, *, now: int, besides: str, within: sa.Connection) -> int:
    """Return how many uses of a consent are taken at unix time `now`, those of a warrant apart.

    A release counts for good, by its own row, which nothing deletes; whatever the rows of warrant
    and reservation say since. A running warrant holds its use until it ends or expires.
    """
    released = (
        sa.select(RELEASE.c.warrant_id)
        .select_from(RELEASE_PERSON.join(RELEASE, RELEASE.c.mark_id == RELEASE_PERSON.c.mark_id))
        .where(RELEASE_PERSON.c.record_id == record_id)
    )
    held = (
        sa.select(RESERVATION.c.warrant_id)
        .select_from(RESERVATION.join(WARRANT))
        .where(
            RESERVATION.c.record_id == record_id,
            sa.or_(WARRANT.c.state == "released", WARRANT.c.expires_at > now),
        )
    )
    taken = sa.union(released, held).subquery()
    others = sa.select(sa.func.count()).where(taken.c.warrant_id != besides)
    return int(within.scalar(others) or 0)


def _take_use(record_id: str, warrant_id: str, connection: sa.Connection) -> None:
    """Take the next use of a consent; the primary key is the second lock behind the database's."""
    last = connection.scalar(
        sa.select(sa.func.max(RESERVATION.c.seq)).where(RESERVATION.c.record_id == record_id)
    )
    seq = 0 if last is None else int(last) + 1
    connection.execute(
        sa.insert(RESERVATION), {"record_id": record_id, "seq": seq, "warrant_id": warrant_id}
    )
