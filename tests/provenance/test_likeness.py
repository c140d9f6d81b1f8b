"""Local comparison: codecs and resizing stay below the limit, edits do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from provenance.errors import ShapeError
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block, worst_covered_block
from provenance.media import decode


@pytest.fixture
def frame(demo_picture: Callable[[str], bytes]) -> Any:
    return decode(demo_picture("persona1_0")).frame


def recode(frame: Any, quality: int) -> Any:
    return cv2.imdecode(
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


HARMLESS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda f: f,
    "JPEG 30": lambda f: recode(f, 30),
    "half size": lambda f: cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blur": lambda f: cv2.GaussianBlur(f, (0, 0), 2.0),
    "darker": lambda f: (f * 0.8).astype(np.uint8),
}


@pytest.mark.parametrize("how", HARMLESS)
def test_harmless_copies_stay_below_the_limit(frame: Any, how: str) -> None:
    assert worst_block(frame, HARMLESS[how](frame)) <= MAX_BLOCK_DIFFERENCE


def test_the_same_picture_does_not_differ(frame: Any) -> None:
    assert worst_block(frame, frame) < 0.01


def test_a_changed_eye_is_seen(frame: Any) -> None:
    changed = frame.copy()
    h, w = frame.shape[:2]
    changed[h * 2 // 5 : h // 2, w // 3 : w // 2] = 128
    assert worst_block(frame, changed) > MAX_BLOCK_DIFFERENCE


def test_another_person_is_seen(frame: Any, demo_picture: Callable[[str], bytes]) -> None:
    other = decode(demo_picture("persona2_0")).frame
    assert worst_block(frame, other) > 3 * MAX_BLOCK_DIFFERENCE


def test_a_flat_copy_does_not_fit(frame: Any) -> None:
    assert worst_block(frame, np.full_like(frame, 90)) > MAX_BLOCK_DIFFERENCE


@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_only_frames_are_compared(frame: Any, bad: Any) -> None:
    for pair in ((frame, bad), (bad, frame)):
        with pytest.raises(ShapeError):
            worst_block(*pair)


def test_only_what_is_covered_is_compared(frame: Any) -> None:
    changed = frame.copy()
    h, w = frame.shape[:2]
    changed[: h // 2] = 128
    covered = np.zeros((h, w), np.bool_)
    covered[h // 2 :] = True
    assert worst_covered_block(frame, changed, covered) < MAX_BLOCK_DIFFERENCE
    changed[h * 3 // 4 : h * 7 // 8, w // 3 : w // 2] = 128
    assert worst_covered_block(frame, changed, covered) > MAX_BLOCK_DIFFERENCE


def test_all_that_is_covered_is_the_whole(frame: Any) -> None:
    copy = recode(frame, 50)
    covered = np.ones(frame.shape[:2], np.bool_)
    assert worst_covered_block(frame, copy, covered) == worst_block(frame, copy)


@pytest.mark.parametrize("rows", [0, 7])
def test_what_is_hardly_covered_agrees_with_nothing(frame: Any, rows: int) -> None:
    """Seven of 512 rows are less than a quarter of a block, which has 32 of them."""
    covered = np.zeros(frame.shape[:2], np.bool_)
    covered[:rows] = True
    assert worst_covered_block(frame, frame, covered) == 255
