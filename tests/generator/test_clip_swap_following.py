"""A swapper that follows is shown the frames just before, of one track and without a gap."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator import clip_swap
from generator.clip_swap import _Work
from generator.swapper import FollowingSwapper, Rendering

FACE = object()


class Follower:
    """Notes which frames it was shown before each one; changes nothing."""

    name, version, models, looks_back = "follower", "1", {}, 2

    def __init__(self) -> None:
        self.shown: dict[int, list[int]] = {}

    def render(self, task: Any) -> Rendering:
        raise AssertionError("one that follows is asked to render after")

    def render_after(self, task: Any, before: Any) -> Rendering:
        self.shown[task.target.number] = [one.target.number for one in before]
        return Rendering(task.target.frame, np.zeros((4, 4), np.float32))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, grey_clip: Any) -> Any:
    """`make(tracks, spans)`: what a follower was shown, where each frame's track is as given."""

    def task(warrant: Any, **given: Any) -> Any:
        return SimpleNamespace(**given)

    monkeypatch.setattr(clip_swap, "SwapTask", task)
    monkeypatch.setattr(clip_swap, "require_untouched", lambda *_given: None)
    monkeypatch.setattr(clip_swap, "require_clear_output", lambda *_given: None)
    monkeypatch.setattr(clip_swap, "refuse_opted_out", list)
    gates: Any = SimpleNamespace(ask_registry=lambda *_given, **_named: None)
    source: Any = SimpleNamespace(id_vector=np.zeros(8, np.float32))

    def run(tracks: dict[int, Any], *spans: tuple[int, int], swapper: Any = None) -> Any:
        chosen = swapper or Follower()
        cues = {
            n: SimpleNamespace(face=FACE if t else None, track=t, vectors=())
            for n, t in tracks.items()
        }
        cast: Any = SimpleNamespace(cue=lambda shot: cues[shot.number])
        nothing: Any = None
        for start, stop in spans:
            work = _Work(
                nothing, nothing, source, grey_clip, (), nothing, nothing, chosen, gates, cast
            )
            assert len(list(work.render(start, stop))) == stop - start
        return chosen.shown

    return run


def test_it_is_shown_two_frames_at_most(make: Any) -> None:
    track = tuple(range(6))
    shown = make(dict.fromkeys(range(6), track), (0, 6))
    assert shown == {0: [], 1: [0], 2: [0, 1], 3: [1, 2], 4: [2, 3], 5: [3, 4]}


def test_a_piece_by_itself_is_shown_what_the_whole_is(make: Any) -> None:
    tracks = dict.fromkeys(range(6), tuple(range(6)))
    assert make(tracks, (4, 6), (0, 4)) == make(tracks, (0, 6))


def test_nothing_of_another_track_is_shown(make: Any) -> None:
    """As after a cut, where tracks end."""
    tracks: dict[int, Any] = dict.fromkeys(range(3), (0, 1, 2)) | dict.fromkeys(
        range(3, 6), (3, 4, 5)
    )
    assert make(tracks, (0, 6)) == {0: [], 1: [0], 2: [0, 1], 3: [], 4: [3], 5: [3, 4]}


def test_a_gap_ends_what_is_shown(make: Any) -> None:
    track = (0, 1, 3, 4, 5)
    shown = make(dict.fromkeys(track, track) | {2: ()}, (0, 6))
    assert shown == {0: [], 1: [0], 3: [], 4: [3], 5: [3, 4]}


def test_a_frame_of_the_track_without_a_face_to_draw_ends_it_too(make: Any) -> None:
    track = tuple(range(6))
    tracks: dict[int, Any] = dict.fromkeys(track, track)
    tracks[2] = ()
    assert make(tracks, (0, 6))[4] == [3]


def test_a_swapper_that_does_not_follow_is_asked_to_render(make: Any) -> None:
    rendered = []

    def render(task: Any) -> Rendering:
        rendered.append(task.target.number)
        return Rendering(task.target.frame, np.zeros((4, 4), np.float32))

    plain = SimpleNamespace(render=render, shown={})
    assert not isinstance(plain, FollowingSwapper)
    make(dict.fromkeys(range(6), tuple(range(6))), (2, 4), swapper=plain)
    assert rendered == [2, 3]
