"""Masks, covers and the multi-band blend."""

from __future__ import annotations

import numpy as np
import pytest

from generator.blend import (
    blend_bands,
    extend,
    feather,
    fill_holes,
    fill_polygons,
    find_cover,
    lay_over,
    smooth_step,
    soften,
    widen,
)

SHAPE = (120, 100)


def disc(radius: float, centre: tuple[int, int] = (50, 60)) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(x - centre[0], y - centre[1]) < radius


def test_feather_is_zero_outside_and_one_deep_inside() -> None:
    mask = feather(disc(40), 4, 10)
    assert not mask[~disc(40)].any()
    assert mask[disc(24)].min() == 1.0
    assert 0 < mask[60, 50 - 31] < 1


def test_feather_does_not_fade_along_the_frame() -> None:
    inside = np.zeros(SHAPE, bool)
    inside[60:] = True
    mask = feather(inside, 2, 8)
    assert mask[-1].min() == 1.0
    assert mask[60].max() == 0.0


def test_smooth_step_is_clipped_and_monotone() -> None:
    steps = smooth_step(np.linspace(-1, 2, 50))
    assert steps[0] == 0
    assert steps[-1] == 1
    assert (np.diff(steps) >= 0).all()


def test_polygon_covers_its_area() -> None:
    square = np.array([[10.0, 10], [40, 10], [40, 40], [10, 40]])
    mask = fill_polygons(SHAPE, [square])
    assert mask.sum() == pytest.approx(31 * 31, rel=0.07)
    assert mask.min() == 0
    assert mask.max() == 1
    assert not fill_polygons(SHAPE, []).any()


def test_small_holes_are_filled_and_rim_holes_stay() -> None:
    inside = disc(40)
    small, large, rim = disc(3), disc(12, (50, 80)), disc(3, (50, 22))
    out = fill_holes(inside & ~small & ~large & ~rim, inside, area_px=100)
    assert out[small].all()
    assert not out[large].any()
    assert not out[rim & inside].any()
    assert not out[~inside].any()


def test_extend_keeps_the_inside_and_continues_it() -> None:
    picture = np.zeros((*SHAPE, 3), np.float32)
    picture[:, :50] = [10, 20, 30]
    picture[:, 50:] = 255
    known = np.zeros(SHAPE, bool)
    known[:, :50] = True
    out = extend(picture, known)
    assert np.array_equal(out[known], picture[known])
    assert np.allclose(out[:, 90], [10, 20, 30], atol=1e-3)


def test_extend_of_everything_and_of_nothing_returns_the_picture() -> None:
    picture = np.ones((*SHAPE, 3), np.float32)
    assert extend(picture, np.ones(SHAPE, bool)) is picture
    assert extend(picture, np.zeros(SHAPE, bool)) is picture


@pytest.mark.parametrize("shape", [(97, 61), (2, 300), (1, 1), (64, 64)])
def test_blend_with_a_constant_mask_is_one_of_the_pictures(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    top, bottom = rng.uniform(0, 100, (2, *shape, 3)).astype(np.float32)
    assert np.allclose(blend_bands(top, bottom, np.ones(shape, np.float32)), top, atol=1e-3)
    assert np.allclose(blend_bands(top, bottom, np.zeros(shape, np.float32)), bottom, atol=1e-3)


def test_blend_hides_a_step_and_keeps_fine_detail_sharp() -> None:
    bottom = np.full((*SHAPE, 3), 40, np.float32)
    top = np.full((*SHAPE, 3), 60, np.float32)
    top[:, ::2] += 10
    mask = np.zeros(SHAPE, np.float32)
    mask[:, 50:] = 1
    out = blend_bands(top, bottom, mask)
    slow = soften(out[..., :1], 2.0)[60, :, 0] if out.ndim == 2 else soften(out[..., 0], 2.0)[60]
    assert np.abs(np.diff(slow)).max() < 4, "a hard cut steps by about 5 after this blur"
    assert np.abs(np.diff(out[60, 80:90, 0])).min() > 8


def test_lay_over_is_a_plain_mix() -> None:
    a, b = np.zeros((*SHAPE, 3), np.float32), np.full((*SHAPE, 3), 8, np.float32)
    assert np.allclose(lay_over(a, b, np.full(SHAPE, 0.25, np.float32)), 2)


def test_widen_spreads_by_half_its_width() -> None:
    dot = np.zeros(SHAPE, np.float32)
    dot[60, 50] = 1
    assert widen(dot, 9)[60].sum() == 9
    assert widen(dot, 9, times=2)[60].sum() == 17


SKIN, HAIR = np.array([65.0, 12.0, 15.0]), np.array([12.0, 2.0, 3.0])


def scene() -> dict[str, np.ndarray]:
    """A face-like disc of shaded skin with a dark eye that covers nothing."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    inside, eye = disc(45), disc(6, (35, 50))
    normals = np.stack([(x - 50) / 45, (y - 60) / 45, np.zeros(SHAPE, np.float32)], 2)
    normals[..., 2] = np.sqrt(np.clip(1 - (normals**2).sum(2), 0, 1))
    lab = np.broadcast_to(SKIN, (*SHAPE, 3)).astype(np.float32).copy()
    lab[..., 0] += 14 * normals[..., 0] - 5
    lab[eye] = HAIR
    return {
        "lab": lab,
        "normals": normals.astype(np.float32),
        "inside": inside,
        "seeds": disc(10),
        "parts": eye,
    }


def test_bare_face_under_side_light_is_not_covered() -> None:
    assert find_cover(**scene(), unit_px=40.0).max() == 0


def test_hair_over_the_forehead_is_found_and_the_eye_below_is_not() -> None:
    parts = scene()
    fringe = np.zeros(SHAPE, bool)
    fringe[:38] = True
    parts["lab"][fringe] = HAIR
    cover = find_cover(**parts, unit_px=40.0)
    assert cover[20:34, 40:60].min() > 0.95
    assert cover[46:, :].max() < 0.5
    assert cover[10, 50] > 0.95, "runs on past the outline"


def test_eye_under_hair_is_covered_too() -> None:
    parts = scene()
    parts["lab"][:, :47] = HAIR
    cover = find_cover(**parts, unit_px=40.0)
    assert cover[disc(5, (35, 50))].min() > 0.9
    assert cover[60, 70] == 0


def test_dark_spot_inside_the_face_is_no_cover() -> None:
    parts = scene()
    parts["lab"][disc(5, (70, 75))] = HAIR
    assert find_cover(**parts, unit_px=40.0).max() == 0


def test_background_behind_a_brow_is_cover_and_the_brow_is_not() -> None:
    parts = scene()
    parts["parts"] = disc(6, (13, 60))
    parts["lab"][:, :14] = [50.0, -25.0, 30.0]
    parts["lab"][56:64, 16:20] = HAIR
    cover = find_cover(**parts, unit_px=40.0)
    assert cover[60, 9] > 0.9
    assert cover[60, 22] < 0.5


def test_without_seeds_nothing_is_called_cover() -> None:
    parts = scene()
    parts["seeds"] = np.zeros(SHAPE, bool)
    assert find_cover(**parts, unit_px=40.0).max() == 0
