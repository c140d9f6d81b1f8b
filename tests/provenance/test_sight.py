"""What stands for a video: which frames are looked at, and when their marks are one mark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.fingerprints import Fingerprint, fingerprint
from provenance.sight import MOST_LOOKS, MOST_TOGETHER, Look, Sight, look_at, look_through
from provenance.watermark import Detection, Geometry

SMALL = np.zeros((64, 64, 3), np.uint8)


class Reader:
    """A watermark that finds what it is told, and counts how often it is asked."""

    alg = "org.facewarrant.test.1"

    def __init__(self, *found: Detection | None, together: Detection | None = None) -> None:
        self.found, self.asked = found, 0
        self.together = together
        self.clips: list[list[int]] = []

    def embed(self, image: Any, _payload: Any) -> Any:
        return image

    def detect(self, _image: Any, *, thorough: bool = True) -> Detection | None:
        assert not thorough, "sixty thorough searches would take a minute"
        self.asked += 1
        return self.found[(self.asked - 1) % len(self.found)]

    def detect_clip(self, frames: Iterable[Any]) -> Detection | None:
        self.clips.append([int(frame[0, 0, 0]) for frame in frames])
        return self.together


def mark(mark_id: str | None, p_value: float = 1e-9) -> Detection:
    if mark_id is None:
        return Detection(None, None, "present_unreadable", p_value, 5.0, 7)
    return Detection(mark_id, 1, "read", p_value, 9.0, 7)


def sight(*found: Detection | None) -> Sight:
    looks = [Look(n, SMALL, Fingerprint("0" * 64, 100), one) for n, one in enumerate(found)]
    return Sight(tuple(looks), len(looks))


# ------------------------------------------------------------------------------ one mark of many


def test_no_look_no_mark() -> None:
    for one in (sight(), sight(None), sight(None, None)):
        assert (one.mark, one.ids, one.marked) == (None, (), ())


def test_one_id_in_some_looks_is_that_of_the_whole_and_less_sure() -> None:
    one = sight(None, mark("a" * 12, 1e-6), mark("a" * 12, 1e-9), mark(None, 1e-20))
    assert one.ids == ("a" * 12,)
    assert len(one.marked) == 3
    found = one.mark
    assert found is not None
    assert (found.mark_id, found.version, found.state) == ("a" * 12, 1, "read")
    assert (found.p_value, found.statistic, found.searched) == (5e-9, 9.0, 35)


def test_two_ids_are_no_id() -> None:
    one = sight(mark("b" * 12), mark("a" * 12, 1e-12))
    assert one.ids == ("a" * 12, "b" * 12)
    found = one.mark
    assert found is not None
    assert (found.mark_id, found.version, found.state) == (None, None, "present_unreadable")
    assert found.p_value == pytest.approx(3e-12)


def test_an_unreadable_mark_has_no_id() -> None:
    found = sight(None, mark(None, 1e-3)).mark
    assert found is not None
    assert (found.mark_id, found.state, found.p_value) == (None, "present_unreadable", 3e-3)


FOUND = st.one_of(
    st.none(),
    st.builds(
        mark,
        st.sampled_from([None, "a" * 12, "b" * 12]),
        st.floats(min_value=0, max_value=1),
    ),
)


@given(st.lists(FOUND, max_size=70))
def test_a_mark_of_the_whole_is_never_surer_than_its_looks_and_never_a_choice(
    found: list[Detection | None],
) -> None:
    one = sight(*found)
    there = [each for each in found if each is not None]
    ids = {each.mark_id for each in there if each.mark_id}
    whole = one.mark
    assert set(one.ids) == ids
    assert list(one.ids) == sorted(one.ids)
    assert (whole is None) == (not there)
    if whole is None:
        return
    assert (whole.mark_id is not None) == (len(ids) == 1)
    assert (whole.state == "read") == (whole.mark_id is not None) == (whole.version is not None)
    assert whole.mark_id is None or ids == {whole.mark_id}
    assert min(each.p_value for each in there) <= whole.p_value <= 1
    supporting = [each.p_value for each in there if len(ids) != 1 or each.mark_id]
    assert whole.p_value == min(1.0, min(supporting) * (len(found) + 1))


def test_looks_together_count_as_one_more_question() -> None:
    one = replace(sight(None, None, None), together=mark("a" * 12, 1e-9))
    assert (one.ids, one.marked) == (("a" * 12,), ())
    found = one.mark
    assert found is not None
    assert (found.mark_id, found.state, found.searched) == ("a" * 12, "read", 28)
    assert found.p_value == pytest.approx(4e-9)


def test_a_mark_of_the_whole_keeps_how_it_lies_and_its_key() -> None:
    lies = Geometry(((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 1.0)))
    small = replace(mark("a" * 12), geometry=lies, key_index=2)
    found = sight(None, small).mark
    assert found is not None
    assert (found.geometry, found.key_index) == (lies, 2)


# ------------------------------------------------------------------------------ looks together


def test_looks_that_give_an_id_are_not_searched_together() -> None:
    reader = Reader(None, None, mark("a" * 12), None, together=mark("b" * 12))
    one = look_through(shown(*range(4)), reader, rng=First())
    assert (reader.clips, one.ids, one.together) == ([], ("a" * 12,), None)


@pytest.mark.parametrize("each", [None, mark(None)], ids=["nothing", "unreadable"])
def test_looks_without_an_id_are_searched_together(each: Detection | None) -> None:
    reader = Reader(each, together=mark("a" * 12))
    one = look_through(shown(*range(3)), reader, rng=First())
    assert reader.clips == [[0, 2, 1]]
    assert (one.ids, one.together) == (("a" * 12,), reader.together)
    assert len(one.marked) == (0 if each is None else 3)
    assert one.mark is not None
    assert (one.mark.mark_id, one.mark.state) == ("a" * 12, "read")


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (8, [0, 2, 4, 6, 1, 3, 5, 7]),
        (9, [0, 4, 8, 2, 6]),
        (16, [0, 4, 8, 12, 2, 6, 10, 14]),
        (240, [0, 64, 128, 192, 32, 96, 160, 224]),
    ],
)
def test_at_most_eight_whole_frames_are_kept_spread_over_the_video(
    seconds: int, kept: list[int]
) -> None:
    reader = Reader(None)
    one = look_through(shown(*range(seconds)), reader, rng=First())
    [asked] = reader.clips
    assert len(asked) <= MOST_TOGETHER
    assert (asked, one.mark) == (kept, None)


def test_frames_between_the_looks_are_searched_too_but_none_twice() -> None:
    film = [(0.1 * n, np.full((64, 64, 3), n // 2, np.uint8)) for n in range(10)]
    reader = Reader(None, together=mark("a" * 12))
    one = look_through(film, reader, rng=First())
    assert reader.clips == [[0, 2, 4, 1, 3]]
    assert ([look.mark for look in one.looks], one.together) == ([None], reader.together)


def test_without_a_key_nothing_is_searched_together() -> None:
    assert look_through(shown(0, 1), None, rng=First()).together is None


# ------------------------------------------------------------------------------ which frames


def shown(*times: float) -> list[tuple[float, Any]]:
    return [(at, np.full((64, 64, 3), int(at) % 256, np.uint8)) for at in times]


def chance(seed: int) -> Random:
    """The same choices again."""
    return Random(seed)  # noqa: S311 - nothing is hidden from a test


class First(Random):
    """Always keeps what came first."""

    def randrange(self, *_: Any) -> int:
        return 1

    def choice(self, seq: Any) -> Any:
        return seq[0]


def test_one_frame_of_every_second_is_looked_at() -> None:
    reader = Reader(mark("a" * 12), None)
    one = look_through(shown(0, 0.5, 0.999, 1.0, 1.5, 2.25, 5.5, 5.9, 6.0), reader, rng=First())
    assert [look.second for look in one.looks] == [0, 1, 2, 5, 6]
    assert [int(look.frame[0, 0, 0]) for look in one.looks] == [0, 1, 2, 5, 6]
    assert (one.seconds, reader.asked) == (7, 5)
    assert [look.mark is None for look in one.looks] == [False, True, False, True, False]


def grain(number: int) -> Any:
    """A frame of its own, with structure."""
    return np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)


def test_which_frame_of_a_second_is_looked_at_cannot_be_foreseen() -> None:
    film = [grain(n) for n in range(10)]
    timed = [(n / 10, frame) for n, frame in enumerate(film)]
    chosen = [0] * 10
    for seed in range(300):
        [look] = look_through(timed, None, rng=chance(seed)).looks
        [place] = [n for n, frame in enumerate(film) if frame is look.frame]
        assert look.print == fingerprint(film[place])
        chosen[place] += 1
    # Each of ten about 30 times of 300.
    assert all(12 <= count <= 52 for count in chosen)


def test_the_register_is_asked_with_what_it_knows_the_first_frame_of_a_second() -> None:
    film = [cv2.resize(grain(n), (1280, 720)) for n in range(4)]
    one = look_through([(n / 2, frame) for n, frame in enumerate(film)], None, rng=chance(3))
    assert one.asked == (fingerprint(film[0]), fingerprint(film[2]))


def test_every_frame_has_a_print_but_those_without_structure() -> None:
    film = [grain(0), np.full((64, 64, 3), 9, np.uint8), grain(1), grain(1), grain(2)]
    one = look_through([(n / 5, frame) for n, frame in enumerate(film)], None, rng=chance(1))
    expected = [fingerprint(film[n]).bits for n in (0, 2, 3, 4)]
    assert (one.prints.hex(), one.weak) == ("".join(expected), 1)


@pytest.mark.parametrize(
    ("seconds", "step", "looks"),
    [(1, 1, 1), (60, 1, 60), (61, 2, 31), (120, 2, 60), (121, 4, 31), (600, 16, 38)],
)
def test_a_long_video_is_thinned_out_evenly(seconds: int, step: int, looks: int) -> None:
    one = look_through(shown(*range(seconds)), None, rng=First())
    assert [look.second for look in one.looks] == list(range(0, seconds, step))
    assert len(one.looks) == len(one.asked) == looks <= MOST_LOOKS
    assert one.seconds == seconds


def test_which_seconds_of_a_long_video_stay_cannot_be_foreseen() -> None:
    seconds = [
        {look.second for look in look_through(shown(*range(240)), None, rng=chance(n)).looks}
        for n in range(12)
    ]
    for one in seconds:
        assert [second // 4 for second in sorted(one)] == list(range(60))
    assert {second % 4 for one in seconds for second in one} == {0, 1, 2, 3}


def test_every_frame_is_taken_so_that_a_broken_one_is_found() -> None:
    def break_off() -> Any:
        yield from shown(0, 0.1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        look_through(break_off(), None, rng=First())


def test_nothing_shown_nothing_seen() -> None:
    assert look_through([], None, rng=First()) == Sight((), 0)


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((64, 64), (64, 64)),
        ((512, 300), (512, 300)),
        ((1024, 512), (512, 256)),
        ((100, 2048), (25, 512)),
        ((8, 9_000), (1, 512)),
    ],
)
def test_a_look_is_kept_small(size: tuple[int, int], kept: tuple[int, int]) -> None:
    frame = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    one = look_at(frame)
    [look] = one.looks
    assert look.frame.shape == (*kept, 3)
    assert (look.second, look.mark, look.print) == (0, None, fingerprint(look.frame))
    assert "frame" not in repr(look)
    assert (one.seconds, one.asked) == (1, (fingerprint(frame),))
    # A line one pixel wide has no structure.
    assert one.prints.hex() == (look.print.bits if kept[0] > 1 else "")


def test_a_picture_without_structure_has_no_print() -> None:
    one = look_at(SMALL)
    assert (one.prints, one.weak, len(one.looks)) == (b"", 1, 1)
