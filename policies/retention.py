"""When something must be gone or answered: clocks that rules of law and of the product start.

A clock is a duration after a named event. Decides the moment each clock ends, the shortest first.
Refused: a duration in any other form than the few below, an event no given rule has a clock for,
a time that is none. It knows nothing of what a clock protects; the rule that holds it says so.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from policies.errors import Error

if TYPE_CHECKING:
    from policies.law import LawBook
    from policies.lawrule import LawRule

ClockEvent = Literal[
    "consent_withdrawn",
    "enrolment_failed",
    "erasure_request",
    "intimate_image_report",
    "last_interaction",
    "licence_misuse_known",
    "official_order",
    "purpose_satisfied",
    "removal_request",
    "users_warned",
]
"""What can start a clock; a word that is not here starts none."""

_FORM = re.compile(r"PT(?P<hours>\d{1,3})H|P(?P<count>[1-9]\d{0,2})(?P<unit>[DMY])", re.ASCII)
_LATEST = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp())
# Later events would end their clocks after the year 9999, which datetime cannot hold.


class RetentionError(Error):
    """A clock cannot be told; whatever waits for it must not be kept meanwhile."""

    code = "RETENTION"


class DurationRefused(RetentionError):
    """A duration is not one of the forms that are read."""

    code = "DURATION-REFUSED"


class ClockMissing(RetentionError):
    """No rule has a clock for an event that has one in law or in the product's floor."""

    code: ClassVar[str] = "CLOCK-MISSING"


class ClockTime(RetentionError):
    """The time of an event is not a unix time."""

    code = "CLOCK-TIME"


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of time: whole calendar months, or hours; one of the two is zero."""

    months: int = 0
    hours: int = 0

    def after(self, at: int) -> int:
        """Return the unix time this long after `at`; raise ClockTime when `at` is no time.

        Months are calendar months in UTC. Where the day does not exist the month's last day
        counts, so a clock never ends later than the calendar says.
        """
        if type(at) is not int or not 0 <= at < _LATEST:
            raise ClockTime("the event's time is not a unix time in seconds")
        start = datetime.fromtimestamp(at, UTC)
        years, month = divmod(start.month - 1 + self.months, 12)
        year = start.year + years
        day = min(start.day, calendar.monthrange(year, month + 1)[1])
        moved = start.replace(year=year, month=month + 1, day=day) + timedelta(hours=self.hours)
        return int(moved.timestamp())


def parse_duration(text: str) -> Duration:
    """Read `PT48H`, `P30D`, `P3M` or `P3Y` (ISO 8601-1, one part, at most three digits).

    `PT0H` means at once. Raises DurationRefused for every other form, also for valid ISO 8601:
    weeks, minutes, fractions and mixed parts are not in any rule and would only invite mistakes.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise DurationRefused(
            f"the duration {text[:32]!r} is not read",
            mend="write hours as PT48H, days as P30D, months as P3M, years as P3Y",
        )
    if found["hours"] is not None:
        return Duration(hours=int(found["hours"]))
    count = int(found["count"])
    if found["unit"] == "D":
        return Duration(hours=24 * count)
    return Duration(months=count * (12 if found["unit"] == "Y" else 1))


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """One running clock: `due_at` in unix seconds, the rule that sets it, the event behind it.

    `unread`: nobody here read the official text of that rule. Its clock counts all the same.
    """

    due_at: int
    rule_id: str
    event: ClockEvent
    unread: bool


def due(event: ClockEvent, at: int, rules: Iterable[LawRule]) -> tuple[Deadline, ...]:
    """Return when each clock of these rules ends for an event at unix time `at`, shortest first.

    Every clock counts whatever its rule's severity: to delete or answer early harms nobody, so an
    unread rule may shorten a clock. Raises ClockMissing where no rule has a clock for the event
    and ClockTime when `at` is no time.
    """
    deadlines = sorted(
        Deadline(parse_duration(rule.deadline).after(at), rule.id, event, rule.is_unread)
        for rule in rules
        if rule.deadline_from == event
    )
    if not deadlines:
        raise _missing([event])
    return tuple(deadlines)


def require_clocks(book: LawBook) -> None:
    """Raise ClockMissing unless every event has a clock somewhere in the book; for start-up."""
    started = {rule.deadline_from for rule in book.rules}
    missing = [event for event in get_args(ClockEvent) if event not in started]
    if missing:
        raise _missing(missing)


def _missing(events: list[str]) -> ClockMissing:
    return ClockMissing(
        f"no rule has a clock for {', '.join(map(repr, events))}",
        mend="give the event a rule with deadline and deadline_from, "
        "and select the rules by every territory and role concerned",
    )
