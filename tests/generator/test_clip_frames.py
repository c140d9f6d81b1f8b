"""Frames of a clip are its frames, in order, bound to its file; nobody else can make one."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.clip_frames import ClipFrame, require_clip_frame, watch
from provenance.clip import Clip
from provenance.errors import MediaError


def test_every_frame_knows_its_place_and_its_file(grey_clip: Clip) -> None:
    shots = list(watch(grey_clip))
    assert [shot.number for shot in shots] == [0, 1, 2, 3, 4, 5]
    assert tuple(shot.pts for shot in shots) == grey_clip.times
    assert {shot.second for shot in shots} == {0}
    assert {shot.sha256 for shot in shots} == {grey_clip.sha256}
    assert [round((float(shot.frame.mean()) - 20) / 30) for shot in shots] == [0, 1, 2, 3, 4, 5]
    assert shots[0].frame.shape == (48, 64, 3)
    assert "array" not in repr(shots[0]), "pixels are not printed"


def test_a_part_has_the_numbers_and_pixels_of_the_whole(grey_clip: Clip) -> None:
    whole, part = list(watch(grey_clip)), list(watch(grey_clip, start=2, stop=4))
    assert [(shot.number, shot.pts) for shot in part] == [(s.number, s.pts) for s in whole[2:4]]
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(part, whole[2:4], strict=True))


def test_pixels_cannot_be_changed_under_their_digest(grey_clip: Clip) -> None:
    shot = next(iter(watch(grey_clip)))
    with pytest.raises(ValueError, match="read-only"):
        shot.frame[0, 0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        shot.frame = np.zeros((48, 64, 3), np.uint8)  # type: ignore[misc]


def test_a_frame_is_not_made_by_hand_copied_or_pickled(grey_clip: Clip) -> None:
    shot = next(iter(watch(grey_clip)))
    with pytest.raises(MediaError, match="by hand"):
        ClipFrame(shot.frame, 0, 0, 0, shot.sha256)
    with pytest.raises((MediaError, TypeError, ValueError)):
        dataclasses.replace(shot, sha256="0" * 64)
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(MediaError, match="pickled"):
            copier(shot)


@pytest.mark.parametrize(
    "value",
    [None, "frame", object.__new__(ClipFrame), SimpleNamespace(sha256="0" * 64)],
    ids=["nothing", "word", "shell", "stand-in"],
)
def test_what_only_looks_like_one_is_refused(value: Any) -> None:
    with pytest.raises(MediaError):
        require_clip_frame(value)
    with pytest.raises(MediaError):
        next(iter(watch(value)))


def test_a_frame_is_one(grey_clip: Clip) -> None:
    shot = next(iter(watch(grey_clip)))
    assert require_clip_frame(shot) is shot
