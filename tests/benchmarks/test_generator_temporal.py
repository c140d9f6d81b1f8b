"""Figures over time: each is zero where nothing shakes, and grows with what it is about."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator.temporal import (
    colour_flicker,
    extra_jitter,
    flow_between,
    identity_spread,
    second_difference,
    warped_l1,
)

COUNT = 6


def texture(height: int = 120, width: int = 160) -> Any:
    noise = np.random.default_rng(2).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8) * 3 // 2


def moved(frame: Any, x: float) -> Any:
    matrix = np.array([[1, 0, x], [0, 1, 0]], np.float64)
    height, width = frame.shape[:2]
    out = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return out.astype(np.uint8)


def meshes(unit: float = 50.0) -> Any:
    """Points that move evenly; the outer eye corners are `unit` apart."""
    points = np.random.default_rng(4).normal(0, 30, (468, 3))
    points[33], points[263] = (0, 0, 0), (unit, 0, 0)
    return np.stack([np.add(points, [3 * n, 2 * n, 0]) for n in range(COUNT)])


def test_points_that_move_evenly_do_not_jitter() -> None:
    assert second_difference(meshes()) == pytest.approx(0, abs=1e-9)


def test_the_second_difference_by_hand() -> None:
    """A point at 0, 1, 0, 1: second differences -2 and 2, over a unit of four pixels."""
    points = np.zeros((4, 1, 2))
    points[[1, 3], 0, 1] = 1
    assert second_difference(points, 4.0) == pytest.approx(0.5)
    assert second_difference(np.concatenate([points, points], axis=2), 4.0) == pytest.approx(0.5)


def test_depth_and_size_do_not_count() -> None:
    shaken = meshes() + np.random.default_rng(1).normal(0, 1, (COUNT, 468, 3)) * [0, 0, 1]
    shaken[:, [33, 263]] = meshes()[:, [33, 263]]
    assert second_difference(shaken) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(1).normal(0, 1, (COUNT, 468, 3)) * [1, 1, 0]
    noise[:, [33, 263]] = 0
    small = second_difference(meshes() + noise)
    large = second_difference(3 * (meshes() + noise))
    assert small == pytest.approx(large)


def test_jitter_is_the_outputs_less_the_targets() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (COUNT, 468, 3))
    target = meshes() + noise
    assert extra_jitter(target, target) == 0
    assert extra_jitter(meshes() + 3 * noise, target) > 0
    assert extra_jitter(meshes(), target) < 0


def test_the_flow_finds_a_shift_and_what_is_hidden() -> None:
    frame = texture()
    flow, known = flow_between(frame, moved(frame, 4))
    middle = np.s_[20:-20, 30:-30]
    assert np.median(flow[middle][..., 0]) == pytest.approx(-4, abs=0.3)
    assert known[middle].mean() > 0.9
    other = moved(frame, 4)
    other[40:80, 60:100] = 255 - other[40:80, 60:100][::-1, ::-1]
    _, seen = flow_between(frame, other)
    assert seen[45:75, 65:95].mean() < known[45:75, 65:95].mean()


def test_what_moves_with_the_target_does_not_shimmer() -> None:
    frames = [moved(texture(), 3 * n) for n in range(COUNT)]
    middle = np.zeros(frames[0].shape[:2], np.float32)
    middle[20:-20, 30:-30] = 1
    masks = [middle] * COUNT
    still = warped_l1(frames, frames, masks)
    rng = np.random.default_rng(6)
    noisy = [np.clip(f + rng.normal(0, 12, f.shape), 0, 255).astype(np.uint8) for f in frames]
    assert still < 3
    assert warped_l1(noisy, frames, masks) > 3 * still
    stuck = [frames[0]] * COUNT
    assert warped_l1(stuck, frames, masks) > 3 * still, "a face that is left behind"


def test_only_what_the_masks_show_counts() -> None:
    frames = [texture()] * 3
    dark = [frames[0], frames[0].copy(), frames[0]]
    dark[1][:60] = 0
    low, high = (np.zeros(frames[0].shape[:2], np.float32) for _ in range(2))
    low[60:], high[:60] = 1, 1
    assert warped_l1(dark, frames, [low] * 3) == 0
    assert warped_l1(dark, frames, [high] * 3) > 50
    assert warped_l1(dark, frames) == pytest.approx(warped_l1(dark, frames, [high] * 3) / 2)
    assert warped_l1(dark, frames, [np.zeros_like(low)] * 3) == 0


def test_the_spread_of_identity() -> None:
    assert identity_spread(np.ones((5, 8))) == 0
    assert identity_spread(np.array([[0.0, 0.0], [6.0, 8.0]])) == pytest.approx(5)


def test_light_that_changes_evenly_does_not_flicker() -> None:
    box = (20.0, 10.0, 120.0, 110.0)
    same = [texture()] * COUNT
    assert colour_flicker(same, [box] * COUNT) == 0
    blinking = [np.clip(f + 12.0 * (n % 2), 0, 255).astype(np.uint8) for n, f in enumerate(same)]
    assert colour_flicker(blinking, [box] * COUNT) > 4
    rng = np.random.default_rng(6)
    grain = [np.clip(f + rng.normal(0, 12, f.shape), 0, 255).astype(np.uint8) for f in same]
    assert colour_flicker(grain, [box] * COUNT) < colour_flicker(blinking, [box] * COUNT) / 3


def test_the_box_goes_with_the_face() -> None:
    frames = [moved(texture(), 5 * n) for n in range(COUNT)]
    fixed = [(40.0, 20.0, 100.0, 100.0)] * COUNT
    along = [(40.0 + 5 * n, 20.0, 100.0 + 5 * n, 100.0) for n in range(COUNT)]
    assert colour_flicker(frames, along) < 0.2 * colour_flicker(frames, fixed)


@pytest.mark.parametrize(
    "call",
    [
        lambda: second_difference(np.zeros((2, 468, 3))),
        lambda: second_difference(np.zeros((5, 3))),
        lambda: extra_jitter(meshes(), meshes()[1:]),
        lambda: warped_l1([texture()], [texture()]),
        lambda: warped_l1([texture()] * 3, [texture()] * 2),
        lambda: warped_l1([texture()] * 2, [texture()] * 2, [np.ones((120, 160))]),
        lambda: identity_spread(np.zeros((1, 8))),
        lambda: identity_spread(np.zeros(8)),
        lambda: colour_flicker([texture()] * 2, [(0, 0, 50, 50)] * 2),
        lambda: colour_flicker([texture()] * 3, [(0, 0, 50, 50)] * 2),
        lambda: colour_flicker([texture()] * 3, [(0, 0, 7, 50)] * 3),
        lambda: colour_flicker([texture()] * 3, [(0, 118, 50, 190)] * 3),
    ],
    ids=range(12),
)
def test_rows_that_say_nothing_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"needs?|small"):
        call()
