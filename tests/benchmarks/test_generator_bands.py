"""Band energy rewards noise and coherence does not: the two must be told apart."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.generator.bands import ERODED_PX, LEVELS, compare_detail, sharpen, skin_mask

Image = npt.NDArray[np.float32]
EVERYWHERE = np.ones((64, 64), np.bool_)


@pytest.fixture
def texture() -> Image:
    noise = np.random.default_rng(0).normal(0, 20, (64, 64, 1))
    return (128 + np.repeat(noise, 3, 2)).astype(np.float32)


def test_a_picture_is_like_itself(texture: Image) -> None:
    seen = compare_detail(texture, texture, EVERYWHERE)
    assert seen.ratio == pytest.approx((1,) * LEVELS)
    assert seen.octaves == pytest.approx((0,) * LEVELS, abs=1e-9)
    assert seen.coherence == pytest.approx((1,) * LEVELS)


def test_twice_the_contrast_is_four_times_the_energy_and_as_coherent(texture: Image) -> None:
    seen = compare_detail(128 + 2 * (texture - 128), texture, EVERYWHERE)
    assert seen.ratio == pytest.approx((4,) * LEVELS, rel=1e-5)
    assert seen.octaves == pytest.approx((2,) * LEVELS, rel=1e-5)
    assert seen.coherence == pytest.approx((1,) * LEVELS)


def test_other_noise_of_the_same_strength_is_not_coherent(texture: Image) -> None:
    other = texture[::-1, ::-1].copy()
    seen = compare_detail(other, texture, EVERYWHERE)
    assert all(0.5 < ratio < 2 for ratio in seen.ratio)
    assert all(abs(value) < 0.25 for value in seen.coherence)


def test_a_negative_is_incoherent(texture: Image) -> None:
    assert compare_detail(255 - texture, texture, EVERYWHERE).coherence[0] == pytest.approx(-1)


def test_blur_takes_the_finest_level_first(texture: Image) -> None:
    soft = cv2.GaussianBlur(texture, (0, 0), 1.2)
    ratio = compare_detail(soft, texture, EVERYWHERE).ratio
    assert ratio[0] < ratio[1] < ratio[2] < 1


def test_only_skin_counts(texture: Image) -> None:
    spoilt, skin = texture.copy(), EVERYWHERE.copy()
    spoilt[:, 32:], skin[:, 32:] = 0, False
    assert compare_detail(spoilt, texture, skin).ratio == pytest.approx((1,) * LEVELS)


def test_nothing_is_said_without_enough_skin_or_reference(texture: Image) -> None:
    few = np.zeros((64, 64), np.bool_)
    few[:16, :16] = True
    seen = compare_detail(texture, texture, few)
    assert seen.coherence[0] == pytest.approx(1)
    assert math.isnan(seen.coherence[2])
    assert math.isnan(seen.ratio[2])
    flat = compare_detail(texture, np.full_like(texture, 9), EVERYWHERE)
    assert all(math.isnan(value) for value in (*flat.ratio, *flat.octaves, *flat.coherence))


def test_odd_sides_are_cut(texture: Image) -> None:
    part, skin = texture[:61, :59], EVERYWHERE[:61, :59]
    assert compare_detail(part, part, skin).coherence == pytest.approx((1,) * LEVELS)


def test_skin_is_inside_the_mask_without_other_parts_and_eroded() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[8:56, 8:56] = 1
    mask[8:56, 8:10] = 0.5
    eye = np.array([[30, 30], [34, 30], [34, 34], [30, 34]])
    skin = skin_mask(mask, [eye])
    assert not skin[32, 9 + ERODED_PX]
    assert skin[32, 10 + ERODED_PX]
    assert not skin[32, 30 - ERODED_PX]
    assert skin[32, 29 - ERODED_PX]
    assert not skin_mask(np.ones((64, 64), np.float32))[:ERODED_PX].any()


def test_unsharp_masking_raises_energy_inside_the_mask_only(texture: Image) -> None:
    soft = cv2.GaussianBlur(texture, (0, 0), 0.8)
    mask = np.zeros((64, 64), np.float32)
    mask[:, 32:] = 1
    made = sharpen(soft, mask)
    assert np.array_equal(made[:, :32], soft[:, :32])
    inside = mask > 0
    before, after = (compare_detail(p, texture, inside).ratio[1] for p in (soft, made))
    assert after > before
    assert made.dtype == np.float32
