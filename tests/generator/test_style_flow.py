"""A drawing is moved along where the flow is sure, and drawn anew where something was uncovered."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.errors import ShapeError
from generator.style_flow import KEPT, Drawing, Motion, carry, find_motion, flicker, follow

Image = npt.NDArray[np.float32]


def scene(shift: int = 0) -> Image:
    noise = np.random.default_rng(0).uniform(0, 255, (96, 128, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    return np.ascontiguousarray(np.roll(smooth, shift, 1), np.float32)


def drawing(content: Image, value: float) -> Drawing:
    return Drawing(content, np.full_like(content, value), np.full(content.shape[:2], value / 255))


def test_motion_finds_where_pixels_were() -> None:
    motion = find_motion(scene(3), scene())
    inner = np.s_[16:-16, 24:-24]
    assert np.median(motion.flow[inner][..., 0]) == pytest.approx(-3, abs=0.3)
    assert motion.seen[inner].mean() > 0.95
    moved = carry(scene(), motion.flow)
    assert np.abs(moved - scene(3))[inner].mean() < 0.3 * np.abs(scene() - scene(3))[inner].mean()


def test_what_was_not_seen_before_is_not_carried() -> None:
    now = scene()
    now[30:70, 40:90] = np.random.default_rng(1).uniform(0, 255, (40, 50, 3))
    seen = find_motion(now, scene()).seen
    assert seen[34:66, 44:86].mean() < 0.6
    assert seen[:20].mean() > 0.95


def test_the_drawing_before_lies_under_where_it_is_still_seen() -> None:
    still = scene()
    made = follow([drawing(still, 100.0), drawing(still, 200.0)])
    assert np.allclose(made.image[8:-8, 8:-8], 200 - KEPT * 100, atol=2)
    assert np.allclose(made.alpha[8:-8, 8:-8], (200 - KEPT * 100) / 255, atol=0.01)
    assert made.content is not None
    again = follow([drawing(still, 100.0), drawing(still, 200.0)])
    assert np.array_equal(made.image, again.image)


def test_one_drawing_alone_is_left_as_it_is() -> None:
    alone = drawing(scene(), 7.0)
    assert follow([alone]) is alone


def test_nothing_and_squares_of_two_sizes_are_refused() -> None:
    for drawings in ([], [drawing(scene(), 1.0), drawing(scene()[:50], 1.0)]):
        with pytest.raises(ShapeError):
            follow(drawings)


def test_flicker_counts_only_what_is_seen_inside_the_mask() -> None:
    still, mask = scene(), np.zeros((96, 128), np.float32)
    flow = np.zeros((96, 128, 2), np.float32)
    seen = Motion(flow, np.ones((96, 128), np.float32))
    assert flicker(still + 5, still, seen, mask) == 0.0
    mask[10:20] = 1
    assert flicker(still + 5, still, seen, mask) == pytest.approx(5, abs=1e-3)
    blind = Motion(flow, np.zeros((96, 128), np.float32))
    assert flicker(still + 5, still, blind, mask) == 0.0
