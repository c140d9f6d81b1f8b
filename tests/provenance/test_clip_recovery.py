"""Which release was a video cut out of? Every look has to be found in the kept output."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import provenance.clip_recovery
from policies.errors import StoreUnavailable
from provenance.budget import Budget, CompareTooLong
from provenance.clip_recovery import (
    NOWHERE,
    Match,
    RecoveredClip,
    compare_clip,
    kept_output,
    recover_clip,
    state_clip,
)
from provenance.fingerprints import MATCH_DISTANCE
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block_of
from provenance.media import decode
from provenance.registry import Candidate
from provenance.sight import Sight, look_through


def seen(film: list[Any], rate: int = 3) -> Sight:
    """What is looked at of frames."""
    timed = ((n / rate, frame) for n, frame in enumerate(film))
    return look_through(timed, None, rng=Random(1))  # noqa: S311 - a test's choice


def plenty() -> Budget:
    """A budget whose time stands still."""
    return Budget(1.0, lambda: 0.0)


@pytest.fixture
def archive(premiere: Any) -> dict[str, Any]:
    studio = premiere[0].studio
    return {"registry": studio.registry, "store": studio.store, "budget": plenty()}


@pytest.fixture
def film(premiere: Any, films: Any) -> list[Any]:
    """The frames of the premiere's release."""
    return list(films.project(premiere[1]))


@pytest.fixture
def row(premiere: Any, archive: dict[str, Any]) -> Any:
    return archive["registry"].by_mark(premiere[2].mark_id)


# ------------------------------------------------------------------------------ comparing


def test_a_release_agrees_with_itself(row: Any, film: list[Any], archive: Any) -> None:
    found = compare_clip(row, seen(film), store=archive["store"], budget=plenty())
    assert found.agrees
    assert [match.bits <= 4 for match in found.matches] == [True, True]
    assert found.worst.levels < 1


@pytest.mark.parametrize(
    ("start", "stop"), [(1, 6), (2, 6), (5, 6), (0, 1)], ids=["cut", "shifted", "last", "first"]
)
def test_a_part_agrees_wherever_it_begins(
    row: Any, film: list[Any], archive: Any, start: int, stop: int
) -> None:
    found = compare_clip(row, seen(film[start:stop]), store=archive["store"], budget=plenty())
    assert found.agrees
    # The very frame, not the one that is looked at in the release.
    assert found.worst.levels < 1


def test_a_second_of_something_else_does_not_agree(
    row: Any, film: list[Any], archive: Any, films: Any, demo_picture: Any
) -> None:
    other = films.shoot(demo_picture("persona6_0"), 3)
    found = compare_clip(row, seen(film[:3] + other), store=archive["store"], budget=plenty())
    assert [match.agrees for match in found.matches] == [True, False]
    assert found.matches[1] == NOWHERE == found.worst
    assert not found.agrees


def test_a_changed_part_of_a_frame_does_not_agree(row: Any, film: list[Any], archive: Any) -> None:
    painted = film[3].copy()
    cv2.rectangle(painted, (130, 120), (180, 160), (128, 128, 128), -1)
    found = compare_clip(row, seen([*film[:3], painted]), store=archive["store"], budget=plenty())
    assert [match.agrees for match in found.matches] == [True, False]
    assert (found.strange, found.agrees) == (0, False)
    assert found.worst.bits <= MATCH_DISTANCE
    assert found.worst.levels > MAX_BLOCK_DIFFERENCE


def test_a_released_picture_is_compared_as_one_frame(archive: Any, gallery: Any) -> None:
    out = gallery[1]["image/png"]
    picture = archive["registry"].by_mark(out.mark_id)
    found = compare_clip(
        picture, seen([decode(out.data).frame] * 6), store=archive["store"], budget=plenty()
    )
    assert found.agrees
    assert len(found.matches) == 2


@pytest.mark.parametrize(
    ("bits", "levels", "agrees"),
    [
        (MATCH_DISTANCE, MAX_BLOCK_DIFFERENCE, True),
        (MATCH_DISTANCE + 1, 0.0, False),
        (0, MAX_BLOCK_DIFFERENCE + 0.01, False),
    ],
)
def test_both_limits_hold(bits: int, levels: float, agrees: bool) -> None:
    assert Match(bits, levels).agrees == agrees


def test_the_worst_look_is_one_that_does_not_agree(row: Any) -> None:
    far, edited, fine = Match(40, 2.0), Match(3, 9.0), Match(3, 5.0)
    assert RecoveredClip(row, (fine, far, Match(2, 1.0)), 0).worst == far
    assert RecoveredClip(row, (far, edited, fine), 0).worst == edited
    assert RecoveredClip(row, (Match(2, 1.0), fine), 0).worst == fine


def test_of_frames_that_are_near_the_one_most_alike_in_its_parts_counts(
    row: Any, film: list[Any], archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = cv2.GaussianBlur(film[0], (0, 0), 3)
    for kept in ([film[0], soft], [soft, film[0]]):
        monkeypatch.setattr(
            provenance.clip_recovery, "_kept_frames", lambda _row, _store, kept=kept: iter(kept)
        )
        found = compare_clip(row, seen(film[:1]), store=archive["store"], budget=plenty())
        [match] = found.matches
        assert match.bits == 0
        assert match.levels < 0.001, "the blurred one differs by more"


def test_how_near_a_file_is_told_by_its_worst_look(row: Any) -> None:
    found = RecoveredClip(row, (Match(64, 9.0), Match(3, 2.0)), 0)
    assert (found.score, found.levels) == (75, 9.0)


# ------------------------------------------------------------------------------ searching


def test_a_copy_without_a_mark_is_found_by_its_seconds(
    row: Any, film: list[Any], archive: Any, sequel: Any
) -> None:
    small = [cv2.resize(frame, (240, 240), interpolation=cv2.INTER_AREA) for frame in film]
    first, *others = recover_clip(seen(small), **archive)
    assert (first.row, first.agrees) == (row, True)
    # They have the first second in common, or a picture of the same person.
    assert sequel[1].mark_id in [one.row.mark_id for one in others]
    assert not any(one.agrees for one in others)


def test_the_one_that_agrees_comes_first(films: Any, archive: Any, row: Any, sequel: Any) -> None:
    file, out = sequel
    first, *others = recover_clip(seen(films.project(file)), **archive)
    assert (first.row.mark_id, first.agrees) == (out.mark_id, True)
    assert row in [one.row for one in others]
    levels = [one.worst.levels for one in others]
    assert levels == sorted(levels)


def test_a_still_near_the_beginning_of_a_second_is_found(
    row: Any, film: list[Any], archive: Any
) -> None:
    first, *_ = recover_clip(seen(film[2:3]), **archive)
    assert (first.row, first.agrees) == (row, True)


def test_a_still_from_between_the_registered_ones_is_never_taken_for_another(
    row: Any, film: list[Any], archive: Any
) -> None:
    """One print a second is registered; what has moved on since may be found by its mark alone."""
    found = recover_clip(seen(film[4:5]), **archive)
    assert {one.row for one in found if one.agrees} <= {row}


def test_what_was_never_released_is_not_found(archive: Any, films: Any, demo_picture: Any) -> None:
    assert recover_clip(seen(films.shoot(demo_picture("persona6_0"))), **archive) == ()


def test_a_video_without_structure_is_not_asked_for(archive: Any) -> None:
    registry = SimpleNamespace(near=lambda asked, limit: () if not asked else pytest.fail("asked"))
    flat = [np.full((64, 64, 3), 90, np.uint8)] * 6
    assert (
        recover_clip(seen(flat), registry=registry, store=archive["store"], budget=plenty()) == ()
    )  # type: ignore[arg-type]


def test_the_word_of_the_register_alone_finds_nothing(
    film: list[Any], archive: Any, gallery: Any
) -> None:
    other = archive["registry"].by_mark(gallery[1]["image/png"].mark_id)
    registry = SimpleNamespace(near=lambda _asked, limit: (Candidate(other, 0, 0),)[:limit])
    assert (
        recover_clip(seen(film), registry=registry, store=archive["store"], budget=plenty()) == ()
    )  # type: ignore[arg-type]


def test_no_more_than_a_few_are_compared(film: list[Any], archive: Any) -> None:
    limits: list[int] = []

    def near(_asked: Any, limit: int) -> tuple[()]:
        limits.append(limit)
        return ()

    recover_clip(
        seen(film), registry=SimpleNamespace(near=near), store=archive["store"], budget=plenty()
    )  # type: ignore[arg-type]
    assert limits == [8]


# ------------------------------------------------------------------------------ the kept output


def test_a_kept_video_lies_on_disk_while_it_is_read(row: Any, archive: Any) -> None:
    with kept_output(row, archive["store"]) as output:
        assert isinstance(output, Path)
        assert output.stat().st_mode & 0o077 == 0
        assert output.read_bytes() == archive["store"].get(row.output_sha256)
    assert not output.parent.exists()


def test_a_kept_picture_is_given_as_bytes(archive: Any, gallery: Any) -> None:
    out = gallery[1]["image/jpeg"]
    with kept_output(archive["registry"].by_mark(out.mark_id), archive["store"]) as output:
        assert output == out.data


@pytest.mark.parametrize("mime", ["video/mp4", "image/png"])
def test_an_output_that_is_not_kept_stops_the_search(
    row: Any, film: list[Any], archive: Any, mime: str
) -> None:
    gone = dataclasses.replace(row, output_sha256="0" * 64, mime=mime)
    with pytest.raises(StoreUnavailable):
        compare_clip(gone, seen(film), store=archive["store"], budget=plenty())
    registry = SimpleNamespace(near=lambda _asked, limit: (Candidate(gone, 0, 0),)[:limit])
    with pytest.raises(StoreUnavailable):
        recover_clip(seen(film), registry=registry, store=archive["store"], budget=plenty())  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ in words


def test_agreement_is_told_in_numbers(row: Any) -> None:
    found = RecoveredClip(row, (Match(3, 1.04), Match(7, 0.5)), 0)
    prints, blocks = state_clip(found, Sight((), 9, prints=bytes(32 * 250), weak=4))
    assert (prints.subject, prints.state) == ("fingerprint", "holds")
    assert "as a whole: 250 of 250 frames, 31 of 256 bits may differ" in prints.words
    assert "; 4 frames have too little structure; " in prints.words
    assert prints.words.endswith("order, length and sound were not compared")
    assert (blocks.subject, blocks.state) == ("likeness", "holds")
    assert "looks alone: 2 of 2 looks, in 9 seconds; the block" in blocks.words
    assert "by 1.0 of 255 levels, 6 may; parts of the other frames were not" in blocks.words


def test_a_part_that_agrees_only_warns(row: Any) -> None:
    sight = Sight((), 2, prints=bytes(32 * 50))
    [line] = state_clip(RecoveredClip(row, (Match(3, 1.0), NOWHERE), 20), sight)
    assert (line.subject, line.state) == ("likeness", "warns")
    assert line.words.endswith("not all: 1 of 2 looks, in 2 seconds; 30 of 50 frames as a whole")


def test_looks_alone_are_not_agreement(row: Any) -> None:
    assert RecoveredClip(row, (Match(3, 1.0),), 0).agrees
    assert not RecoveredClip(row, (Match(3, 1.0),), 1).agrees


# ------------------------------------------------------------------------------ every frame


def test_one_foreign_frame_that_nobody_looks_at_is_found(
    row: Any, film: list[Any], archive: Any, films: Any, demo_picture: Any
) -> None:
    other = films.shoot(demo_picture("persona6_0"), 1)
    sight = seen([*film[:2], *other, *film[3:]])
    # Were the foreign one looked at, this would test the looks.
    assert all(look.frame is not other[0] for look in sight.looks)
    found = compare_clip(row, sight, **store_of(archive))
    assert all(match.agrees for match in found.matches)
    assert (found.strange, found.agrees) == (1, False)


def test_frames_without_structure_are_counted_apart(
    row: Any, film: list[Any], archive: Any
) -> None:
    sight = seen([*film[:2], np.full_like(film[0], 90), *film[3:]])
    assert sight.weak == 1
    found = compare_clip(row, sight, **store_of(archive))
    assert found.strange == 0
    assert found.agrees
    nothing = seen([np.full_like(film[0], 90)])
    assert not compare_clip(row, nothing, **store_of(archive)).agrees


# ------------------------------------------------------------------------------ what it costs


def test_looks_that_are_the_same_and_those_that_agree_are_compared_once(
    film: list[Any], archive: Any, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def count(*planes: Any) -> float:
        asked.append(1)
        return worst_block_of(*planes)

    monkeypatch.setattr(provenance.clip_recovery, "worst_block_of", count)
    shown = [cv2.convertScaleAbs(film[0], beta=n) for n in range(40)]
    kept = iter([*shown, *shown])
    monkeypatch.setattr(provenance.clip_recovery, "_kept_frames", lambda _row, _store: kept)
    found = compare_clip(row, seen([film[0]] * 60, rate=1), **store_of(archive))
    assert found.agrees
    assert len(found.matches) == 60
    assert len(asked) == 1


def test_a_kept_frame_that_is_shown_again_is_compared_once(
    film: list[Any], archive: Any, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def far(*_planes: Any) -> float:
        asked.append(1)
        return 99.0

    monkeypatch.setattr(provenance.clip_recovery, "worst_block_of", far)
    still = iter([film[0]] * 30)
    monkeypatch.setattr(provenance.clip_recovery, "_kept_frames", lambda _row, _store: still)
    assert not compare_clip(row, seen(film[:1]), **store_of(archive)).agrees
    assert len(asked) == 1


def test_a_search_that_takes_too_long_says_nothing(row: Any, film: list[Any], archive: Any) -> None:
    ticks = iter(range(1_000))
    for calls in (2, 5):
        budget = Budget(calls, lambda: float(next(ticks)))
        with pytest.raises(CompareTooLong):
            compare_clip(row, seen(film), store=archive["store"], budget=budget)
    spent = Budget(0.5, lambda: float(next(ticks)))
    with pytest.raises(CompareTooLong):
        recover_clip(seen(film), **archive | {"budget": spent})


def test_the_clock_runs_before_a_kept_output_is_opened(
    row: Any, film: list[Any], archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        provenance.clip_recovery, "_kept_frames", lambda _row, _store: pytest.fail("opened")
    )
    ticks = iter([0.0, 9.0])
    budget = Budget(5.0, lambda: next(ticks))
    budget.spend()
    with pytest.raises(CompareTooLong):
        compare_clip(row, seen(film), store=archive["store"], budget=budget)


def test_a_kept_frame_that_is_worse_changes_nothing(
    row: Any, film: list[Any], archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = film[0].copy()
    again[0, 0] ^= 1
    levels = iter([50.0, 60.0])
    monkeypatch.setattr(provenance.clip_recovery, "worst_block_of", lambda *_: next(levels))
    monkeypatch.setattr(
        provenance.clip_recovery, "_kept_frames", lambda _row, _store: iter([film[0], again])
    )
    [match] = compare_clip(row, seen(film[:1]), **store_of(archive)).matches
    assert match.levels == 50
    assert next(levels, None) is None


def store_of(archive: dict[str, Any]) -> dict[str, Any]:
    return {name: archive[name] for name in ("store", "budget")}
