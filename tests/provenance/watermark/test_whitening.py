"""No corner of a picture outvotes the rest, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from provenance.pixels import Frame
from provenance.watermark.whitening import luma, measure_capacity, whiten

SHAPES = [(1, 1), (1, 300), (300, 1), (3, 5), (48, 48), (301, 457)]


def noise(shape: tuple[int, int], sigma: float = 30.0) -> np.ndarray:
    return np.random.default_rng(1).normal(128, sigma, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("bgr", "level"), [((255, 0, 0), 29), ((0, 255, 0), 150), ((0, 0, 255), 76), ((7, 7, 7), 7)]
)
def test_luma_is_bt_601(bgr: tuple[int, int, int], level: int) -> None:
    plane = luma(np.full((4, 6, 3), bgr, np.uint8))
    assert (plane.shape, plane.dtype) == ((4, 6), np.float32)
    assert (plane == level).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_detail_stays_within_the_clip_and_the_shape(shape: tuple[int, int]) -> None:
    for sigma in (0.5, 30.0, 3000.0):
        white = whiten(noise(shape, sigma))
        assert (white.shape, white.dtype) == (shape, np.float32)
        assert np.isfinite(white).all()
        assert np.abs(white).max() <= np.float32(1.7)


@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_a_flat_plane_has_no_detail_and_takes_least(level: float) -> None:
    plane = np.full((300, 400), level, np.float32)
    assert np.abs(whiten(plane)).max() < 1e-3
    assert np.allclose(measure_capacity(plane), 3.0, atol=1e-3)


def test_brightness_and_contrast_hardly_change_what_is_seen(host: Callable[[str], Frame]) -> None:
    plane = luma(host("coffee"))
    one, two = whiten(plane), whiten(0.7 * plane + 40)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.97


def test_loud_places_count_little_more_than_quiet_ones() -> None:
    plane = noise((256, 512), 3.0)
    plane[:, 256:] = noise((256, 256), 60.0)
    white = whiten(plane)
    quiet, loud = white[20:-20, 20:230].std(), white[20:-20, 280:-20].std()
    assert 1.0 < loud / quiet < 1.6


@pytest.mark.parametrize("shape", SHAPES)
def test_capacity_lies_between_its_floor_and_its_cap(shape: tuple[int, int]) -> None:
    for sigma in (0.0, 5.0, 90.0):
        capacity = measure_capacity(noise(shape, sigma))
        assert capacity.shape == shape
        assert capacity.min() >= 3.0 - 1e-3
        assert capacity.max() <= 12.0 + 1e-3


def test_busy_places_take_more_of_the_mark() -> None:
    plane = np.full((256, 512), 128, np.float32)
    plane[:, 256:] = noise((256, 256), 25.0)
    capacity = measure_capacity(plane)
    assert capacity[:, :200].max() < 3.5
    assert capacity[:, 300:].min() > 11.5
