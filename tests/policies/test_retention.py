"""Clocks: their forms, their ends to the second, and what happens where one is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.law import LawBook, load_rules
from policies.lawrule import LawRule
from policies.retention import (
    ClockEvent,
    ClockMissing,
    ClockTime,
    Deadline,
    Duration,
    DurationRefused,
    RetentionError,
    due,
    parse_duration,
    require_clocks,
)

BOOK = load_rules()
CLOCKS = [rule for rule in BOOK.rules if rule.deadline]
NOW = 1_795_219_200  # 2026-11-21 00:00 UTC
HOUR, DAY = 3600, 86_400

# What the study lists, and the end each clock has when its event falls on NOW: told by hand.
EXPECTED: dict[str, tuple[ClockEvent, int]] = {
    "FLOOR-ENROLMENT": ("enrolment_failed", NOW + DAY),
    "FLOOR-SOURCE-MEDIA": ("consent_withdrawn", NOW + 30 * DAY),
    "FLOOR-TEMPLATE": ("consent_withdrawn", NOW + 3 * DAY),
    "GDPR-17": ("erasure_request", NOW + 30 * DAY),
    "IN-IT-2026-INTIMATE": ("intimate_image_report", NOW + 2 * HOUR),
    "IN-IT-2026-ORDER": ("official_order", NOW + 3 * HOUR),
    "IN-IT-2026-WARNING": ("users_warned", NOW + 92 * DAY),  # 2027-02-21
    "US-CA-942-LICENCE": ("licence_misuse_known", NOW + 4 * DAY),
    "US-IL-BIPA-15": ("last_interaction", NOW + (3 * 365 + 1) * DAY),  # 2028 is a leap year
    "US-IL-BIPA-15-PURPOSE": ("purpose_satisfied", NOW),
    "US-TIDA": ("removal_request", NOW + 2 * DAY),
    "US-TX-CUBI": ("purpose_satisfied", NOW + 365 * DAY),
}


def seconds(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


def test_the_clocks_are_those_of_the_study() -> None:
    assert {rule.id: rule.deadline_from for rule in CLOCKS} == {
        rule_id: event for rule_id, (event, _) in EXPECTED.items()
    }


@pytest.mark.parametrize("rule", CLOCKS, ids=lambda rule: rule.id)
def test_every_clock_ends_at_its_second(rule: LawRule) -> None:
    event, end = EXPECTED[rule.id]
    [deadline] = due(event, NOW, [rule])
    assert deadline == Deadline(
        end, rule.id, event, rule.text_read != "primary" and not rule.is_floor
    )


def test_the_shortest_clock_comes_first() -> None:
    found = due("purpose_satisfied", NOW, reversed(BOOK.rules))
    assert [d.rule_id for d in found] == ["US-IL-BIPA-15-PURPOSE", "US-TX-CUBI"]
    found = due("consent_withdrawn", NOW, BOOK.rules)
    assert [d.rule_id for d in found] == ["FLOOR-TEMPLATE", "FLOOR-SOURCE-MEDIA"]


def test_clocks_that_end_together_are_told_in_the_order_of_their_ids() -> None:
    twin = BOOK.find("FLOOR-TEMPLATE").model_copy(update={"id": "FLOOR-A"})
    found = due("consent_withdrawn", NOW, [*BOOK.rules, twin])
    assert [d.rule_id for d in found] == ["FLOOR-A", "FLOOR-TEMPLATE", "FLOOR-SOURCE-MEDIA"]


def test_an_unread_rule_may_shorten_a_clock() -> None:
    unread = BOOK.find("US-IL-BIPA-15-PURPOSE")
    assert not unread.can_block
    assert due("purpose_satisfied", NOW, BOOK.rules)[0].rule_id == unread.id


def test_an_event_without_clock_is_an_error() -> None:
    with pytest.raises(ClockMissing, match="'removal_request'") as missing:
        due("removal_request", NOW, [rule for rule in CLOCKS if rule.id != "US-TIDA"])
    assert missing.value.code == "CLOCK-MISSING"
    assert "deadline_from" in missing.value.mend
    with pytest.raises(ClockMissing):
        due("", NOW, BOOK.rules[:0])  # type: ignore[arg-type]


def test_rules_without_a_clock_are_no_clock_for_no_event() -> None:
    silent = [rule for rule in BOOK.rules if not rule.deadline]
    assert silent
    with pytest.raises(ClockMissing):
        due("erasure_request", NOW, silent)


def test_a_book_must_have_a_clock_for_every_event() -> None:
    require_clocks(BOOK)
    for event in get_args(ClockEvent):
        without = tuple(rule for rule in BOOK.rules if rule.deadline_from != event)
        with pytest.raises(ClockMissing, match=event):
            require_clocks(LawBook(without))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT48H", Duration(hours=48)),
        ("PT0H", Duration()),
        ("P30D", Duration(hours=720)),
        ("P365D", Duration(hours=8760)),
        ("P3M", Duration(months=3)),
        ("P3Y", Duration(months=36)),
        ("PT999H", Duration(hours=999)),
    ],
)
def test_the_forms_that_are_read(text: str, duration: Duration) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        *"P P0D P0M P0Y PT PT48 48H T48H P48H PT3D PT30M P2W P1Y6M P1DT1H P1.5D P-1D".split(),
        *"-P1D +P1D p30d pt48h P03D P1000D PT1000H P30D. xP30D P30Dx PT48H,PT1H".split(),
        *("", " P30D", "P30D ", "P30D\n", "P 30D", "1 month", "P3\u0663D", "PT\uff14H"),
    ],
)
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(DurationRefused, match="is not read") as refused:
        parse_duration(text)
    assert refused.value.code == "DURATION-REFUSED"
    assert isinstance(refused.value, RetentionError)


@pytest.mark.parametrize(
    ("start", "text", "end"),
    [
        ((2026, 11, 30, 12), "P3M", (2027, 2, 28, 12)),
        ((2027, 11, 30), "P3M", (2028, 2, 29)),
        ((2026, 1, 31), "P1M", (2026, 2, 28)),
        ((2024, 2, 29, 23, 59, 59), "P3Y", (2027, 2, 28, 23, 59, 59)),
        ((2024, 2, 29), "P4Y", (2028, 2, 29)),
        ((2026, 10, 15), "P3M", (2027, 1, 15)),
        ((2026, 9, 30), "P3M", (2026, 12, 30)),
        ((2026, 1, 31), "P30D", (2026, 3, 2)),  # longer than "one month": GDPR-17 says so
    ],
)
def test_calendar_months_end_on_a_day_that_exists(
    start: tuple[int, ...], text: str, end: tuple[int, ...]
) -> None:
    assert parse_duration(text).after(seconds(*start)) == seconds(*end)


@pytest.mark.parametrize("at", [-1, True, 1.5, "1", None, 2**53, 253_402_300_799])
def test_what_is_no_time_is_refused(at: Any) -> None:
    with pytest.raises(ClockTime) as refused:
        due("users_warned", at, BOOK.rules)
    assert refused.value.code == "CLOCK-TIME"


def test_the_longest_clock_at_the_last_time_ends() -> None:
    last = seconds(9000, 1, 1) - 1
    assert parse_duration("P999Y").after(last) > last
    assert parse_duration("PT0H").after(0) == 0


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.integers(0, 4_102_444_800), st.integers(1, 60))
def test_months_never_end_late_and_never_shrink(at: int, months: int) -> None:
    end = Duration(months=months).after(at)
    start = datetime.fromtimestamp(at, UTC)
    assert end > at
    assert end <= int((start + timedelta(days=31 * months)).timestamp())
    assert datetime.fromtimestamp(end, UTC).time() == start.time()
    assert replace(Duration(months=months), months=months + 1).after(at) > end


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.text(alphabet="PTHDMYWS0123456789.-+ \u0663", max_size=8))
def test_a_hostile_duration_is_refused_or_bounded(text: str) -> None:
    try:
        duration = parse_duration(text)
    except DurationRefused:
        return
    assert 0 <= duration.hours <= 24 * 999
    assert 0 <= duration.months <= 12 * 999
    assert not (duration.hours and duration.months)
