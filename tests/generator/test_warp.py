"""Warps: identity is identity, near hides far, hidden texture is worth nothing."""

from __future__ import annotations

import numpy as np
import pytest

from generator.errors import ShapeError
from generator.topology import load_topology
from generator.warp import (
    Raster,
    in_front,
    point_normals,
    pull,
    pull_some,
    rasterise,
    smooth_grid_positions,
    smooth_positions,
    texture_quality,
    visibility,
)

SQUARE = np.array([[10, 10, 5], [50, 10, 5], [50, 50, 5], [10, 50, 5]], float)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def face(yaw: float = 0.0, scale: float = 100.0) -> np.ndarray:
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return load_topology().neutral @ turn * scale + [170, 150, 0]


def test_square_is_covered_once_and_nothing_else() -> None:
    raster = rasterise(SQUARE, TWO, (64, 64))
    assert raster.covered[30, 30]
    assert raster.covered.sum() == pytest.approx(41 * 41, rel=0.02)
    assert not raster.covered[:9].any()
    assert np.allclose(raster.weights.sum(2), raster.covered, atol=1e-6)


def test_positions_spread_from_a_mesh_are_the_pixels_themselves() -> None:
    mesh = face()
    raster = rasterise(mesh, load_topology().triangles, (340, 340))
    back = raster.spread(mesh[:, :2])
    y, x = np.nonzero(raster.covered)
    error = np.hypot(back[y, x, 0] - x, back[y, x, 1] - y)
    assert error.mean() < 0.1
    assert np.percentile(error, 99) < 1.0


def test_nearer_triangle_wins() -> None:
    behind, before = (SQUARE + np.array([0, 0, z]) for z in (10, -10))
    for order, winner in (((before, behind), (0, 1)), ((behind, before), (2, 3))):
        mesh = np.concatenate(order)
        raster = rasterise(mesh, np.concatenate([TWO, TWO + 4]), (64, 64))
        assert set(np.unique(raster.index[15:45, 15:45])) == set(winner)


def test_parts_outside_the_picture_are_cut_off() -> None:
    raster = rasterise(SQUARE - [30, 30, 0], TWO, (16, 16))
    assert raster.covered.all()
    assert not rasterise(SQUARE + 500, TWO, (16, 16)).covered.any()


@pytest.mark.parametrize("bad", [SQUARE[:, :2], np.full((4, 3), np.inf)])
def test_bad_mesh_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ShapeError) as caught:
        rasterise(bad, TWO, (16, 16))
    assert caught.value.code == "SHAPE-ERROR"


def test_spread_of_scalars_and_of_a_flat_triangle() -> None:
    raster = rasterise(SQUARE, TWO, (64, 64))
    values = raster.spread(np.array([1.0, 1.0, 1.0, 1.0]))
    assert values.shape == (64, 64)
    assert np.allclose(values[raster.covered], 1.0)
    line = np.array([[5, 5, 0], [20, 20, 0], [40, 40, 0]], float)
    assert np.isfinite(rasterise(line, np.array([[0, 1, 2]]), (64, 64)).weights).all()


def test_pull_through_own_positions_returns_the_picture() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 100, (40, 50, 3)).astype(np.float32)
    x, y = np.meshgrid(np.arange(50), np.arange(40))
    here = np.stack([x, y], 2).astype(np.float32)
    assert np.allclose(pull(picture, here), picture, atol=1e-3)
    assert np.allclose(pull(picture, here + np.float32([1, 0]))[:, :-1], picture[:, 1:], atol=1e-3)
    assert np.allclose(pull(picture, here - 100)[0, 0], picture[0, 0], atol=1e-3)


def test_a_list_of_positions_is_pulled_as_a_picture_of_them_is() -> None:
    rng = np.random.default_rng(3)
    picture = rng.uniform(0, 100, (40, 50, 3)).astype(np.float32)
    places = rng.uniform(-5, 55, (30, 60, 2)).astype(np.float32)
    whole = pull(picture, places).reshape(-1, 3)
    assert np.array_equal(pull_some(picture, places.reshape(-1, 2)), whole)
    assert np.array_equal(pull_some(picture, places.reshape(-1, 2)[:700]), whole[:700])
    assert pull_some(picture[..., 0], places[0]).shape == (60,)


def test_smoothing_positions_keeps_a_plain_shift_and_removes_a_kink() -> None:
    raster = rasterise(SQUARE, TWO, (64, 64))
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    here = np.stack([x, y], 2).astype(np.float32)
    inside = raster.covered
    shifted = smooth_positions(raster, SQUARE + 7.0, 2.0)
    assert np.allclose(shifted[inside], here[inside] + 7.0, atol=1e-3)
    # One corner pulled away: the offset has a kink along the diagonal.
    kinked = SQUARE + np.array([[0, 0, 0], [20, 0, 0], [0, 0, 0], [0, 0, 0]])
    sharp, soft = (smooth_positions(raster, kinked, sigma)[..., 0] for sigma in (0.1, 4.0))
    bends = [np.abs(np.diff(line[30, 14:46], 2)).max() for line in (sharp, soft)]
    assert bends[0] > 0.3
    assert bends[1] < 0.5 * bends[0]


@pytest.mark.parametrize("fine", [0.6, 0.4])
def test_a_coarse_grid_says_the_same_as_a_cell_per_pixel(fine: float) -> None:
    mesh, triangles = face(0.2, 200.0) + np.array([100, 120, 0]), load_topology().triangles
    shape = 560, 540
    whole, coarse = (rasterise(mesh, triangles, shape, cells) for cells in (1.0, fine))
    assert np.array_equal(whole.covered, coarse.covered)
    assert coarse.index.shape == tuple(round(side * fine) for side in shape)
    assert coarse.cells_per_px == pytest.approx((fine, fine), rel=0.01)
    points = face(-0.2, 150.0)
    first, second = (smooth_positions(raster, points, 2.4) for raster in (whole, coarse))
    apart = np.linalg.norm(first - second, axis=2)[whole.covered]
    assert apart.mean() < 0.1
    assert np.percentile(apart, 99) < 1.0
    on_grid = smooth_grid_positions(coarse, points, 2.4)
    assert on_grid.shape == (*coarse.index.shape, 2)
    rim = load_topology().rim
    middle = whole.spread(rim) > 0.1
    assert np.percentile(np.abs(whole.spread(rim) - coarse.spread(rim))[middle], 99) < 0.05


def test_grid_positions_of_the_mesh_itself_are_the_middles_of_the_cells() -> None:
    raster = rasterise(SQUARE * 4, TWO, (256, 256), 0.25)
    found = smooth_grid_positions(raster, SQUARE * 4, 1.0)
    assert np.allclose(found[30, 30], [30.5 * 4 - 0.5] * 2, atol=0.1)


def test_normals_point_at_the_camera_from_the_nose_and_aside_from_the_cheek() -> None:
    normals = point_normals(face(), load_topology().triangles)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert normals[5, 2] > 0.8
    assert normals[234, 2] < 0.5


def test_frontal_face_lends_to_itself_and_not_from_behind_its_nose() -> None:
    triangles = load_topology().triangles
    middle = [5, 50, 280, 151, 199]
    assert texture_quality(face(), face(), triangles)[middle].min() == 1.0
    assert visibility(face(), triangles)[middle].min() == 1.0
    turned = texture_quality(face(0.9), face(), triangles) * visibility(face(0.9), triangles)
    lost = (280, 352) if turned[280] < turned[50] else (50, 123)
    assert turned[list(lost)].max() < 0.3


def test_far_side_is_hidden_on_the_side_that_turns_away() -> None:
    triangles, mirror = load_topology().triangles, load_topology().mirror
    left, right = (visibility(face(yaw), triangles) for yaw in (-0.6, 0.6))
    assert np.abs(left - right[mirror]).mean() < 0.05
    assert not np.allclose(left, right)


def test_depth_test_sees_what_stands_in_front() -> None:
    wall = SQUARE * [1, 1, 0] + [0, 0, 40]
    screen = (SQUARE - [30, 30, 0]) * [0.5, 0.5, 0] + [30, 30, 0]
    mesh = np.concatenate([wall, [[30, 30, 40]], screen])
    triangles = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [5, 6, 7], [5, 7, 8]])
    seen = in_front(mesh, triangles)
    assert not seen[4]
    assert seen[[0, 2, 5, 7]].all()


def test_raster_without_a_face_is_empty() -> None:
    empty = Raster(
        np.full((4, 4), -1, np.int32),
        np.zeros((4, 4, 3), np.float32),
        np.array([[0, 1, 2]]),
        np.zeros((4, 4), bool),
    )
    assert not empty.covered.any()
    assert not empty.spread(np.ones(3)).any()
