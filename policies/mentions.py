"""What names a person beside their consents: warrants, decisions, uses, and who a release shows.

Found by the ids of the person's consent records, which stand there in place of a name. Nothing is
judged or changed here: a document counts by the id in its bytes, also one that does not read. Not
found: what names a record that was disposed of, since nothing leads there from a person any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from policies.tables import DECISION, RELEASE_PERSON, RESERVATION, WARRANT

_PAGE = 256
"""Rows held at once: a document has a few kilobytes, and every one there is must be looked at."""


@dataclass(frozen=True, slots=True)
class Mentions:
    """What names any of some consent records.

    `warrants`: id -> state and signed bytes; `decisions`: id -> the decision's bytes and those of
    its facts; `uses`: reservations that are still held; `shown`: rows that say who a release shows.
    """

    warrants: dict[str, tuple[str, bytes]]
    decisions: dict[str, tuple[bytes, bytes]]
    uses: int
    shown: int


def find_mentions(record_ids: Collection[str], *, within: sa.Connection) -> Mentions:
    """Return what names one of these records; raises StoreUnavailable with the transaction."""
    names = [record_id.encode() for record_id in record_ids]
    warrants = sa.select(WARRANT.c.warrant_id, WARRANT.c.state, WARRANT.c.document)
    decisions = sa.select(DECISION.c.decision_id, DECISION.c.document, DECISION.c.facts)
    return Mentions(
        warrants={
            warrant_id: (state, data)
            for warrant_id, state, data in _pages(warrants.order_by("warrant_id"), within)
            if _has(data, names)
        },
        decisions={
            decision_id: (data, facts)
            for decision_id, data, facts in _pages(decisions.order_by("decision_id"), within)
            if _has(facts, names)
        },
        uses=_count(RESERVATION.c.record_id, record_ids, within),
        shown=_count(RELEASE_PERSON.c.record_id, record_ids, within),
    )


def _pages(query: sa.Select[Any], connection: sa.Connection) -> Iterable[Any]:
    return connection.execute(query, execution_options={"yield_per": _PAGE})


def _has(data: bytes, names: Collection[bytes]) -> bool:
    return any(name in data for name in names)


def _count(column: sa.Column[str], record_ids: Collection[str], connection: sa.Connection) -> int:
    query = sa.select(sa.func.count()).where(column.in_(record_ids))
    return int(connection.scalar(query) or 0)
