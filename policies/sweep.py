"""What has to go, by the clocks of law and product, and the sweep that lets it go.

Every clock of the table counts, whatever its place, day or severity: a record does not say where a
person lives, and to delete early harms nobody. The shortest wins. What goes: the template of a
consent that ended, was never finished, or whose person was not heard of for years; challenges that
nobody answered; warrants that expired; a record whose own time to be kept is over, and with a
person's last record their key. Listed and never touched: an erasure that is waiting (it has its own
command) and a consent that is broken (it is evidence). A clock that is missing raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import sqlalchemy as sa

from policies.consent import CONFIRM_WITHIN_SECONDS, FINAL, ConsentBroken, EventKind
from policies.consents import Consent
from policies.errors import Malformed
from policies.keys import SigningKey
from policies.lawrule import FLOOR, LawRule
from policies.record import Signer
from policies.retention import ClockEvent, Deadline, due, parse_duration
from policies.subjectkeys import KeyUnknown
from policies.tables import (
    CHALLENGE,
    CONSENT,
    CONSENT_EVENT,
    DISPOSAL,
    ERASURE,
    OPT_OUT,
    TEMPLATE,
    WARRANT,
)
from policies.warrants import WarrantDesk

What = Literal[
    "expired",
    "unfinished",
    "unused",
    "ended",
    "challenge",
    "warrant",
    "record",
    "erasure",
    "broken",
]

MEANS: Mapping[What, str] = MappingProxyType(
    {
        "expired": "the consent is past its date: it ends, and its template is erased",
        "unfinished": "nobody confirmed the consent: it ends, and its template is erased",
        "unused": "nobody heard of the person for long: the template is erased",
        "ended": "the consent has ended: the template that is left is erased",
        "challenge": "nothing came of the enrolment: the challenge is deleted",
        "warrant": "the warrant expired: it ends, and its uses are given back",
        "record": "the record's own time is over: it is deleted with its events",
        "erasure": "somebody asked to be erased: run 'facewarrant subject erase'",
        "broken": "the consent is broken: restore the database from its backup",
    }
)
"""What becomes of each thing that is due."""

BY_RECORD = "storage.retention"
"""In place of a rule's id: the time that the person signed in their own record."""

UNTOUCHED: frozenset[What] = frozenset({"erasure", "broken"})
"""What a sweep lists and leaves to a person."""

_OPEN = ("requested", "given")
_HEARD = ("given", "confirmed", "withdrawn")
# Steps that the person signed; one by the controller shows nothing of them.
_NOT_CONFIRMED = "not confirmed in time"


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """One thing that a clock runs for: until `due_at` (unix seconds), by the shortest clock.

    `item` is an id: of a consent, a challenge, a warrant, or the pseudonym of an erasure. `clocks`
    are all of them, shortest first; empty where the product or the record sets the time.
    """

    due_at: int
    what: What
    item: str
    rule_id: str
    unread: bool = False
    clocks: tuple[Deadline, ...] = ()
    pid: str = ""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did, and what was due and is left for a person or for the next sweep."""

    done: tuple[Due, ...]
    left: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the clocks need to know of a consent; a record itself is too large to keep them all."""

    record_id: str
    pid: str
    status: str
    since: int
    closed: bool
    """Its last step is a final one; a consent can be past its date without."""
    signed_at: int
    expires: int
    retention: str


def due_work(desk: WarrantDesk) -> list[Due]:
    """Return everything a clock runs for, what is due first; also what is due later.

    Raises ClockMissing for an event that no rule has a clock for, and StoreUnavailable.
    """
    return _survey(desk, now=desk.clock())


def _survey(desk: WarrantDesk, *, now: int) -> list[Due]:
    rules = desk.house.law.rules
    standings, broken = _read_consents(desk, now=now)
    heard: dict[str, int] = {}
    for one in standings:
        if one.status in _HEARD:
            heard[one.pid] = max(one.since, heard.get(one.pid, 0))
    with desk.database.transaction() as connection:
        templates = set(connection.execute(sa.select(TEMPLATE.c.record_id)).scalars())
        found = [
            *broken,
            *_challenges(connection, rules),
            *_warrants(connection),
            *_erasures(connection, rules),
        ]
    for one in standings:
        found += _of_consent(one, one.record_id in templates, heard.get(one.pid, 0), rules)
    return sorted(found)


def sweep(desk: WarrantDesk, *, controller: SigningKey, dry_run: bool = False) -> Swept:
    """Let go what is due now, and log it: one entry for each kind of thing.

    `controller` signs the end of consents. With `dry_run` nothing is changed or logged. A consent
    that changed since it was looked at is left for the next sweep. Raises ClockMissing,
    ClockRollback and StoreUnavailable; what was done until then is done and logged.
    """
    now = desk.clock()
    with desk.database.transaction() as connection:
        desk.log.refuse_rollback(now, within=connection)
    found = [one for one in _survey(desk, now=now) if one.due_at <= now]
    ours = [one for one in found if one.what not in UNTOUCHED]
    if dry_run:
        return Swept(tuple(ours), tuple(one for one in found if one.what in UNTOUCHED))
    done: list[Due] = []
    for what in MEANS:
        if some := [one for one in ours if one.what == what]:
            done += _carry_out(what, some, desk, controller)
    gone = set(done)
    return Swept(tuple(done), tuple(one for one in found if one not in gone))


def _carry_out(
    what: What, some: Sequence[Due], desk: WarrantDesk, controller: SigningKey
) -> Sequence[Due]:
    """Do what is due of one kind and log it; return what was done."""
    if what in ("expired", "unfinished"):
        return _end_consents(what, some, desk, controller)
    if what == "warrant":
        ended = set(desk.sweep())
        return _log(what, [one for one in some if one.item in ended], desk)
    with desk.database.transaction() as connection:
        if what == "record":
            _dispose(some, desk, connection)
        else:
            column = CHALLENGE.c.nonce if what == "challenge" else TEMPLATE.c.record_id
            _delete(column, some, connection)
        desk.log.append("sweep", _entry(what, some), within=connection)
    return some


def _end_consents(
    what: What, some: Sequence[Due], desk: WarrantDesk, controller: SigningKey
) -> Sequence[Due]:
    """Sign the end of consents; the book erases each template in the same transaction."""
    keys: Mapping[Signer, SigningKey] = {"controller": controller}
    kind: EventKind = "expired" if what == "expired" else "invalidated"
    reason = "" if what == "expired" else _NOT_CONFIRMED
    done = []
    for one in some:
        with suppress(ConsentBroken):  # withdrawn or confirmed since it was looked at
            desk.consents.append(one.item, kind, keys=keys, reason=reason)
            done.append(one)
    return _log(what, done, desk)


def _dispose(some: Sequence[Due], desk: WarrantDesk, connection: sa.Connection) -> None:
    """Delete records with their events, and first the key of everybody who has no other record.

    First, so that a sweep that is interrupted leaves no key behind that nothing leads to.
    """
    going = {one.item for one in some}
    rows = connection.execute(sa.select(CONSENT.c.record_id, CONSENT.c.pid)).all()
    others = {row.pid for row in rows if row.record_id not in going}
    for column in (OPT_OUT.c.pid, ERASURE.c.pid):  # an erasure destroys the key itself
        others |= set(connection.execute(sa.select(column)).scalars())
    for pid in sorted({one.pid for one in some} - others):
        with suppress(KeyUnknown):
            desk.consents.keys.destroy(pid)
    at = desk.clock()
    names = [{"record_id": one.item, "due_at": one.due_at, "at": at} for one in some]
    connection.execute(sa.insert(DISPOSAL), names)
    for table in (CONSENT_EVENT, TEMPLATE, CONSENT):
        _delete(table.c.record_id, some, connection)


def _delete(column: sa.Column[str], some: Sequence[Due], connection: sa.Connection) -> None:
    gone = sa.delete(column.table).where(column == sa.bindparam("item"))
    connection.execute(gone, [{"item": one.item} for one in some])


def _log(what: What, done: Sequence[Due], desk: WarrantDesk) -> Sequence[Due]:
    if done:
        with desk.database.transaction() as connection:
            desk.log.append("sweep", _entry(what, done), within=connection)
    return done


def _entry(what: What, done: Sequence[Due]) -> dict[str, str | int]:
    """Return what the log says: which kind, how many, and since when the oldest was due."""
    return {"what": what, "count": len(done), "due": min(one.due_at for one in done)}


def _read_consents(desk: WarrantDesk, *, now: int) -> tuple[list[_Standing], list[Due]]:
    """Return how every consent stands, and those that do not hold."""
    standings, broken = [], []
    for record_id in desk.consents.record_ids():
        try:
            standings.append(_stand(desk, desk.consents.read(record_id)))
        except (ConsentBroken, Malformed):
            broken.append(Due(now, "broken", record_id, FLOOR))
    return standings, broken


def _stand(desk: WarrantDesk, consent: Consent) -> _Standing:
    record, state = consent.record, consent.state
    closed = state.status in FINAL
    if state.status == "expired":
        steps = desk.consents.history(record.record_id)
        closed = bool(steps) and steps[-1].kind in FINAL
    return _Standing(
        record_id=record.record_id,
        pid=record.subject.pid,
        status=state.status,
        since=state.since,
        closed=closed,
        signed_at=max(block.at for block in record.signatures),
        expires=record.validity.expires,
        retention=record.storage.retention,
    )


def _of_consent(
    one: _Standing, has_template: bool, heard_at: int, rules: Sequence[LawRule]
) -> Iterator[Due]:
    """Yield what the clocks say of one consent and of its template."""
    if not one.closed:
        yield _shortest("expired", one.record_id, {"purpose_satisfied": one.expires}, rules)
    if one.status in _OPEN:
        late = one.signed_at if one.status == "requested" else one.since + CONFIRM_WITHIN_SECONDS
        yield _shortest("unfinished", one.record_id, {"enrolment_failed": late}, rules)
    if one.status == "confirmed" and has_template:
        yield _shortest("unused", one.record_id, {"last_interaction": heard_at}, rules)
    if one.closed and has_template:
        ended: dict[ClockEvent, int] = {"purpose_satisfied": one.since}
        if one.status == "withdrawn":
            ended["consent_withdrawn"] = one.since
        yield _shortest("ended", one.record_id, ended, rules)
    if one.closed:  # the log's last word on a record that goes is that its consent ended
        due_at = parse_duration(one.retention).after(min(one.since, one.expires))
        yield Due(due_at, "record", one.record_id, BY_RECORD, pid=one.pid)


def _shortest(
    what: What, item: str, events: Mapping[ClockEvent, int], rules: Sequence[LawRule]
) -> Due:
    """Return what is due by the shortest clock of these events (event -> unix time)."""
    clocks = sorted(clock for event, at in events.items() for clock in due(event, at, rules))
    first = clocks[0]
    return Due(first.due_at, what, item, first.rule_id, first.unread, tuple(clocks))


def _challenges(connection: sa.Connection, rules: Sequence[LawRule]) -> Iterable[Due]:
    """Return every challenge: after its time it shows nothing but that somebody tried."""
    rows = connection.execute(sa.select(CHALLENGE.c.nonce, CHALLENGE.c.expires_at)).all()
    return [
        _shortest("challenge", row.nonce, {"enrolment_failed": row.expires_at}, rules)
        for row in rows
    ]


def _warrants(connection: sa.Connection) -> Iterable[Due]:
    """Return every warrant without an end; its time is the product's, no law's."""
    rows = connection.execute(
        sa.select(WARRANT.c.warrant_id, WARRANT.c.expires_at).where(
            WARRANT.c.state.in_(("issued", "started"))
        )
    ).all()
    return [Due(row.expires_at, "warrant", row.warrant_id, FLOOR) for row in rows]


def _erasures(connection: sa.Connection, rules: Sequence[LawRule]) -> Iterable[Due]:
    rows = connection.execute(
        sa.select(ERASURE.c.pid, ERASURE.c.requested_at).where(ERASURE.c.state != "receipted")
    ).all()
    return [
        _shortest("erasure", row.pid, {"erasure_request": row.requested_at}, rules) for row in rows
    ]
