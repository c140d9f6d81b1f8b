"""Warrants for videos: they last as long as the work, and go on after their process was killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policies.warrant import Warrant, WarrantInvalid


def admit(office: Any, *, medium: str = "video", seconds: int = 10) -> Warrant:
    roles = ("source_identity", "target_body")
    people = [(office.enrol(media=["image", "video"]), role) for role in roles]
    request = office.request(people, medium=medium)
    warrant: Warrant = office.desk.admit(request, office.measured(request, seconds=seconds))
    return warrant


def invalid(code: str, call: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        call(*args, **options)
    assert caught.value.code == code


def test_a_warrant_says_what_it_is_for_and_where(office: Any) -> None:
    warrant = admit(office)
    said = (warrant.purpose, warrant.medium, warrant.audience, warrant.territories)
    assert said == ("film_vfx", "video", "internal", ("DE",))


@pytest.mark.parametrize(("seconds", "lasts"), [(0, 600), (1, 720), (600, 72_600)])
def test_a_warrant_lasts_longer_for_a_longer_video(office: Any, seconds: int, lasts: int) -> None:
    warrant = admit(office, seconds=seconds)
    assert warrant.expires_at - warrant.not_before == lasts


def test_a_killed_video_goes_on_under_its_warrant(office: Any) -> None:
    warrant = admit(office)
    office.desk.start(warrant)
    [left] = office.desk.abandoned(warrant.request_id)
    assert office.desk.running() == [left]
    active = office.desk.resume(left)
    active.require(medium="video")
    office.desk.finish(active, {}, record=lambda *_: None)
    invalid("WARRANT-SPENT", office.desk.resume, warrant)
    assert office.desk.running() == []


def test_two_processes_may_go_on_and_one_of_them_ends_it(office: Any) -> None:
    warrant = admit(office)
    first = office.desk.start(warrant)
    second = office.desk.resume(warrant)
    office.desk.finish(second, {}, record=lambda *_: None)
    invalid("WARRANT-SPENT", office.desk.finish, first, {}, record=lambda *_: None)


def test_what_was_never_started_is_not_resumed(office: Any) -> None:
    invalid("WARRANT-SPENT", office.desk.resume, admit(office))


def test_a_picture_is_made_anew(office: Any) -> None:
    warrant = admit(office, medium="image", seconds=0)
    office.desk.start(warrant)
    invalid("WARRANT-OTHER-MEDIUM", office.desk.resume, warrant)


def test_nothing_goes_on_after_a_withdrawal(office: Any) -> None:
    warrant = admit(office)
    office.desk.start(warrant)
    office.withdraw(warrant.people[0].record_id)
    invalid("CONSENT-CHANGED", office.desk.resume, warrant)


def test_nothing_goes_on_after_the_time(office: Any) -> None:
    warrant = admit(office)
    office.desk.start(warrant)
    office.clock.now = warrant.expires_at
    invalid("WARRANT-EXPIRED", office.desk.resume, warrant)
