"""Matrices say where the pattern lies; turning a picture and turning a matrix are the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.watermark.geometry import (
    MOST_CANONICAL_PX,
    TURNS,
    Geometry,
    lay,
    place,
    shift,
    turn,
    turn_back,
    warp,
)
from provenance.watermark.lattice import Lattice
from provenance.watermark.pattern import TILE_PX


def similarity(scale: float, degrees: float, mirrored: bool = False) -> np.ndarray:
    """Mirrored first, then turned counter-clockwise as seen (y points down), then scaled."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
    matrix[:2] *= scale
    return matrix @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    scale=st.floats(0.24, 2.1),
    degrees=st.floats(0, 359.9),
    mirrored=st.booleans(),
    y=st.floats(0, 127),
    x=st.floats(0, 127),
)
def test_a_geometry_reports_what_it_was_made_of(
    scale: float, degrees: float, mirrored: bool, y: float, x: float
) -> None:
    matrix = similarity(scale, degrees, mirrored) @ shift(-x, -y)
    found = Geometry.of(matrix * 3.7)  # the size of a homography means nothing
    assert found.scale == pytest.approx(scale)
    assert found.mirrored is mirrored
    assert abs((found.rotation_deg - degrees + 180) % 360 - 180) < 1e-6
    seen_y, seen_x = found.offset_px
    assert abs((seen_y - y + 64) % TILE_PX - 64) < 1e-6
    assert abs((seen_x - x + 64) % TILE_PX - 64) < 1e-6
    assert np.allclose(found.homography, matrix)


@pytest.mark.parametrize("number", range(TURNS))
@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 7), (6, 6)])
def test_a_turn_and_its_matrix_agree_on_every_pixel(shape: tuple[int, int], number: int) -> None:
    plane = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    turned, matrix = turn(plane, number), turn_back(number, shape)
    for y in range(turned.shape[0]):
        for x in range(turned.shape[1]):
            back_x, back_y, _ = matrix @ (x, y, 1.0)
            assert turned[y, x] == plane[round(back_y), round(back_x)]


def test_the_turns_are_eight_different_views() -> None:
    plane = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert len({turn(plane, number).tobytes() for number in range(TURNS)}) == TURNS == 8
    assert np.array_equal(turn(plane, 0), plane)
    # Counter-clockwise as seen: the right column becomes the upper row.
    assert turn(plane, 1)[0].tolist() == [2, 5, 8]
    assert turn(plane, 4).tolist() == plane[:, ::-1].tolist()


def test_a_lattice_lies_along_its_first_vector() -> None:
    matrix = lay(Lattice(9.0, y=-40.0, x=90.0))
    assert np.allclose(matrix @ (TILE_PX, 0, 1), (90, -40, 1))
    assert np.allclose(matrix @ (0, TILE_PX, 1), (40, 90, 1))
    found = Geometry.of(matrix)
    assert found.scale == pytest.approx(math.hypot(40, 90) / TILE_PX)
    assert found.rotation_deg == pytest.approx(math.degrees(math.atan2(40, 90)))
    assert not found.mirrored


@pytest.mark.parametrize("degrees", [0, 30, 200])
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.9])
@pytest.mark.parametrize("shape", [(60, 60), (700, 500), (4000, 3000)])
def test_a_placed_picture_lies_on_the_grid_from_the_origin_on(
    shape: tuple[int, int], scale: float, degrees: float
) -> None:
    matrix = similarity(scale, degrees)
    placed, moved, (height, width) = place(matrix, shape)
    assert np.allclose(placed, matrix @ shift(*moved))
    assert 1 <= height <= MOST_CANONICAL_PX
    assert 1 <= width <= MOST_CANONICAL_PX
    middle = np.linalg.inv(placed) @ (shape[1] / 2, shape[0] / 2, 1.0)
    assert np.abs(middle[:2] - (width / 2, height / 2)).max() <= 1.0
    whole = max(shape) * 1.5 / scale < MOST_CANONICAL_PX
    corners = np.array([[0, shape[1], 0, shape[1]], [0, 0, shape[0], shape[0]], [1, 1, 1, 1]])
    seen = (np.linalg.inv(placed) @ corners)[:2]
    if whole:
        assert seen.min() >= -1e-6
        assert (seen.max(axis=1) <= (width + 1e-6, height + 1e-6)).all()


def test_warping_by_nothing_changes_nothing_but_the_rim() -> None:
    plane = np.random.default_rng(3).normal(128, 30, (90, 120)).astype(np.float32)
    warped, inside = warp(plane, np.eye(3), (90, 120))
    assert np.allclose(warped, plane, atol=1e-3)
    assert set(np.unique(inside)) == {0.0, 1.0}
    assert inside[4:-4, 4:-4].all()
    assert not inside[0].any()
    assert not inside[:, -1].any()


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.2, 1.3, 2.0])
def test_a_warped_wave_is_the_same_wave_at_its_own_scale(scale: float) -> None:
    # Above 1.25 the picture is shrunk first: its places must not move by that.
    y, x = np.mgrid[0:400, 0:400]

    def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * x / 40) + np.cos(2 * np.pi * y / 56)

    plane = wave(x / scale, y / scale).astype(np.float32)
    side = int(400 / scale)
    warped, inside = warp(plane, similarity(scale, 0), (side, side))
    grid_y, grid_x = np.mgrid[0:side, 0:side]
    error = np.abs(warped - wave(grid_x, grid_y))[inside > 0]
    # 0.05 is a third of a pixel of this wave.
    assert error.max() < 0.05
    assert inside.mean() > 0.8


def test_outside_the_picture_nothing_counts() -> None:
    plane = np.full((100, 100), 50, np.float32)
    warped, inside = warp(plane, shift(-60.0, 0.0), (100, 200))
    assert (warped.shape, inside.shape) == ((100, 200), (100, 200))
    assert not inside[:, :60].any()
    assert inside[20:80, 70:150].all()
    assert not inside[:, 165:].any()
