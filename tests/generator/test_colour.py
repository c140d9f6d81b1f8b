"""Colour matching: skin follows the target, dark stays dark, eyes keep pupil and highlight."""

from __future__ import annotations

import numpy as np
import pytest

from generator.colour import (
    CONTRAST,
    LIP_STRENGTH,
    Eye,
    Regions,
    match_lips,
    measure_toning,
    read_eyes,
    slow_part,
    tint_iris,
    to_bgr,
    to_lab,
)

SHAPE = (60, 60)
PALE, DARK = np.array([75.0, 9.0, 13.0]), np.array([40.0, 14.0, 16.0])


def skin(mean: np.ndarray, seed: int, contrast: float = 3.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, contrast, (*SHAPE, 3))
    return (mean + noise).astype(np.float32)


def regions(*, lips: slice | None = None, brows: slice | None = None) -> Regions:
    masks = [np.zeros(SHAPE, np.float32) for _ in range(2)]
    for mask, rows in zip(masks, (lips, brows), strict=True):
        if rows is not None:
            mask[rows] = 1.0
    weight = (1.0 - masks[0]) * (1.0 - masks[1])
    return Regions(weight.astype(np.float32), *masks)


def match_skin(moved: np.ndarray, own: np.ndarray, where: Regions) -> np.ndarray:
    """The skin's tone alone, without the shading."""
    toning = measure_toning(moved, own, where, 20.0)
    assert toning is not None
    return toning.apply(moved, where.marks, np.zeros_like(moved))


def match_shading(moved: np.ndarray, own: np.ndarray, unit: float) -> np.ndarray:
    toning = measure_toning(moved, own, regions(), unit)
    assert toning is not None
    return toning.apply(moved, regions().marks, toning.shading_over(SHAPE))


def test_lab_and_back_is_the_picture() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    assert np.abs(to_bgr(to_lab(frame)) - frame).max() < 1.0


@pytest.mark.parametrize(("have", "want"), [(PALE, DARK), (DARK, PALE), (PALE, PALE)])
def test_skin_gets_the_targets_mean(have: np.ndarray, want: np.ndarray) -> None:
    out = match_skin(skin(have, 2), skin(want, 3), regions())
    assert np.abs(out.mean((0, 1)) - want).max() < 1.2


@pytest.mark.parametrize(("own", "limit"), [(30.0, CONTRAST[1]), (0.3, CONTRAST[0])])
def test_contrast_is_clipped(own: float, limit: float) -> None:
    moved = skin(PALE, 4, contrast=2.0)
    out = match_skin(moved, skin(PALE, 5, contrast=own), regions())
    assert out[..., 0].std() / moved[..., 0].std() == pytest.approx(limit, rel=0.1)


@pytest.mark.parametrize(("have", "want"), [(PALE, DARK), (DARK, PALE)])
def test_black_hair_stays_black_and_colourless(have: np.ndarray, want: np.ndarray) -> None:
    moved = skin(have, 6)
    moved[10, 10] = [3.0, 0.5, 0.5]
    out = match_skin(moved, skin(want, 7), regions())[10, 10]
    assert out[0] < 12
    assert np.hypot(*out[1:]) < 4


def test_shade_on_dark_skin_does_not_turn_blue_on_pale_skin() -> None:
    moved = skin(DARK, 8)
    moved[20:24, 20:24] = [16.0, 7.0, 7.0]
    out = match_skin(moved, skin(PALE, 9), regions())
    assert out[21, 21, 2] > 2
    assert out[21, 21, 1] > 0


def test_brows_and_lips_get_no_contrast() -> None:
    moved, own = skin(PALE, 10, 2.0), skin(PALE, 11, 6.0)
    out = match_skin(moved, own, regions(brows=np.s_[:20]))
    assert out[:20, :, 0].std() == pytest.approx(moved[:20, :, 0].std(), rel=0.15)
    assert out[30:, :, 0].std() > 1.25 * moved[30:, :, 0].std()


def test_without_common_skin_nothing_changes() -> None:
    nothing = Regions(*(np.zeros(SHAPE, np.float32) for _ in range(3)))
    moved, own = skin(PALE, 12), skin(DARK, 13)
    assert measure_toning(moved, own, nothing, 20.0) is None
    assert match_lips(moved, own, nothing) is moved


def test_slow_shading_comes_from_the_target_and_detail_stays() -> None:
    ramp = np.linspace(-20, 20, SHAPE[1], dtype=np.float32)
    own = skin(PALE, 14, 0.5)
    own[..., 0] += ramp
    moved = skin(PALE, 15, 0.5)
    moved[30, 30, 0] -= 30
    out = match_shading(moved, own, 40.0)
    assert out[:, -10:, 0].mean() - out[:, :10, 0].mean() > 15
    assert out[30, 30, 0] < out[30, 34, 0] - 20


def test_lips_go_most_of_the_way_and_only_lips() -> None:
    where = regions(lips=np.s_[40:50])
    moved, own = skin(PALE, 16), skin(PALE, 17)
    moved[40:50] += [-20, 30, 5]
    out = match_lips(moved, own, where)
    assert 0.5 < LIP_STRENGTH <= 1
    gap = own[40:50].mean((0, 1)) - moved[40:50].mean((0, 1))
    assert np.allclose(
        out[40:50].mean((0, 1)) - moved[40:50].mean((0, 1)), gap * LIP_STRENGTH, atol=0.1
    )
    assert np.array_equal(out[:40], moved[:40])


def test_slow_part_ignores_what_has_no_weight() -> None:
    values = np.full((*SHAPE, 3), 5.0, np.float32)
    values[:, 30:] = 1000.0
    weight = np.zeros(SHAPE, np.float32)
    weight[:, :25] = 1.0
    slow = slow_part(values, weight, 8.0)
    assert slow.shape == (45, 45, 3)
    assert np.abs(slow - 5.0).max() < 1.0


def test_a_list_of_pixels_is_toned_as_the_picture_is() -> None:
    where = regions(lips=np.s_[40:50], brows=np.s_[5:8])
    moved, own = skin(DARK, 20), skin(PALE, 21)
    toning = measure_toning(moved, own, where, 20.0)
    assert toning is not None
    shading, some = toning.shading_over(SHAPE), np.random.default_rng(22).random(SHAPE) < 0.3
    whole = toning.apply(moved, where.marks, shading)
    listed = toning.apply(moved[some], where.marks[some], shading[some])
    assert np.array_equal(whole[some], listed)


def test_every_third_pixel_measures_the_same_toning() -> None:
    rng = np.random.default_rng(23)
    moved, own = (
        (mean + rng.normal(0, 3, (240, 240, 3))).astype(np.float32) for mean in (DARK, PALE)
    )
    ones, none = np.ones((240, 240), np.float32), np.zeros((240, 240), np.float32)
    third = np.s_[1::3, 1::3]
    where = Regions(ones, none, none)
    whole = measure_toning(moved, own, where, 90.0)
    part = measure_toning(moved[third], own[third], where.at(third), 30.0)
    assert whole is not None
    assert part is not None
    shapes = [
        toning.apply(moved, none, toning.shading_over((240, 240))) for toning in (whole, part)
    ]
    assert np.abs(shapes[0] - shapes[1]).mean() < 0.3


def test_seen_regions_are_cut_for_skin_only() -> None:
    where = regions(lips=np.s_[40:50])
    seen = where.seen_in(np.zeros(SHAPE, bool))
    assert not seen.skin.any()
    assert seen.lips.any()


def eye() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A brown eye in Lab with pupil and highlight; masks of iris and white."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(x - 30, y - 30)
    lab = np.full((*SHAPE, 3), [85.0, 0.0, 2.0], np.float32)
    lab[distance < 15] = [30.0, 8.0, 15.0]
    lab[distance < 5] = [3.0, 0.0, 0.0]
    lab[24:27, 34:37] = [99.0, 0.0, 0.0]
    return lab, (distance < 15).astype(np.float32), (distance > 17).astype(np.float32)


def test_iris_is_tinted_and_pupil_highlight_and_white_are_kept() -> None:
    lab, iris, white = eye()
    own, blue = read_eyes([(lab, iris, white)]), Eye(np.array([40.0, -3.0, -25.0]), 85.0)
    assert own is not None
    out = tint_iris(lab, own, np.ones(SHAPE, np.float32), blue)
    assert out[30, 40, 2] < 0 < lab[30, 40, 2]
    assert np.allclose(out[30, 30], lab[30, 30], atol=0.5)
    assert np.allclose(out[25, 35], lab[25, 35], atol=1.0)
    # The white lies within reach here, and is none of the iris.
    assert np.array_equal(out[white > 0], lab[white > 0])


def test_lids_within_reach_are_not_tinted() -> None:
    lab, iris, white = eye()
    lab[15:22] = [60.0, 16.0, 20.0]
    own = read_eyes([(lab, iris, white)])
    assert own is not None
    out = tint_iris(lab, own, np.ones(SHAPE, np.float32), Eye(np.array([40.0, -3, -25]), 85.0))
    assert np.array_equal(out[15:22], lab[15:22])
    assert not np.array_equal(out[35:40], lab[35:40])


def test_the_iris_is_the_commonest_colour_and_not_the_mean_of_iris_and_lashes() -> None:
    lab, iris, white = eye()
    rng = np.random.default_rng(24)
    lashes = (rng.random(SHAPE) < 0.4) & (iris > 0)
    lab[lashes] = rng.uniform([12, -5, -5], [60, 20, 40], (int(lashes.sum()), 3))
    own = read_eyes([(lab, iris, white)])
    assert own is not None
    assert np.abs(own.iris - [30, 8, 15]).max() < 2


def test_two_eyes_are_read_as_one_colour() -> None:
    lab, iris, white = eye()
    hidden = np.zeros(SHAPE, np.float32)
    both = read_eyes([(lab, iris, white), (lab + 50, hidden, hidden)])
    one = read_eyes([(lab, iris, white)])
    assert both is not None
    assert one is not None
    assert np.array_equal(both.iris, one.iris)
    assert both.white == one.white


def test_own_iris_colour_changes_nothing() -> None:
    lab, iris, white = eye()
    own = read_eyes([(lab, iris, white)])
    assert own is not None
    assert np.allclose(own.iris, [30, 8, 15])
    assert np.abs(tint_iris(lab, own, iris, own) - lab).max() < 0.1


def test_eyes_too_small_to_read_say_nothing() -> None:
    lab, iris, _ = eye()
    assert read_eyes([(lab, iris, np.zeros(SHAPE, np.float32))]) is None
    assert read_eyes([]) is None
