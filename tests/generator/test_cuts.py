"""Where shots end: cuts, flashes and fades; a moving camera is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from generator.cuts import CutFinder
from generator.errors import ShapeError
from provenance.media import decode

ROOT = Path(__file__).parents[2]


def persona(name: str) -> Any:
    return decode((ROOT / "docs" / "demo" / f"{name}.webp").read_bytes()).frame


def cuts(*frames: Any) -> list[bool]:
    finder = CutFinder()
    return [finder.is_cut(frame) for frame in frames]


def test_the_first_frame_begins_a_shot() -> None:
    frame = persona("persona1_0")
    assert cuts(frame, frame, frame) == [True, False, False]


@pytest.mark.parametrize("other", ["persona2_0", "persona3_0", "persona4_0", "persona1_1"])
def test_another_picture_is_a_cut_and_so_is_the_way_back(other: str) -> None:
    first, second = persona("persona1_0"), persona(other)
    assert cuts(first, first, second, second, first) == [True, False, True, False, True]


def test_a_moving_camera_is_none() -> None:
    frame = persona("persona2_0")
    height, width = frame.shape[:2]
    moved = [
        cv2.warpAffine(
            frame,
            np.add(cv2.getRotationMatrix2D((256, 256), n, 1 + 0.02 * n), [[0, 0, 6 * n]]),
            (width, height),
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.uint8)
        for n in range(8)
    ]
    assert cuts(*moved) == [True] + [False] * 7


def test_light_that_changes_slowly_is_none() -> None:
    frame = persona("persona3_0").astype(np.float32)
    dimmed = [np.clip(frame * (1 - 0.03 * n), 0, 255).astype(np.uint8) for n in range(8)]
    assert cuts(*dimmed) == [True] + [False] * 7


def test_a_flash_is_two() -> None:
    frame = persona("persona1_0")
    assert cuts(frame, np.full_like(frame, 255), frame) == [True, True, True]


def test_flat_frames_of_other_shades_are_cuts() -> None:
    black, grey = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 90, np.uint8)
    assert cuts(black, black, grey) == [True, False, True]


def test_only_frames_are_looked_at() -> None:
    with pytest.raises(ShapeError):
        cuts(np.zeros((48, 64), np.uint8))


@pytest.mark.shared
def test_the_rendered_clip_is_one_shot(shared_data: Path) -> None:
    paths = sorted((shared_data / "demo" / "clip1").glob("f*.webp"))
    frames = [decode(path.read_bytes()).frame for path in paths]
    assert len(frames) == 60
    assert cuts(*frames) == [True] + [False] * 59
