"""Where the tile begins is found from the sync alone, and its drift is followed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from provenance.watermark.alignment import (
    Fit,
    Folds,
    fit_drift,
    fit_slanted,
    fold,
    fold_blocks,
    gather,
    measure_sync,
    move,
    straighten,
    summit,
    transform,
)
from provenance.watermark.geometry import Matrix, warp
from provenance.watermark.pattern import TILE_PX, Pattern
from provenance.watermark.payload import VERSION

KEY, ID = bytes(range(32)), "0123456789ab"


@pytest.fixture(scope="module")
def pattern() -> Pattern:
    return Pattern(key=KEY)


def noisy(pattern: Pattern, shape: tuple[int, int], loud: float = 0.5) -> np.ndarray:
    """A whitened plane as a reader sees it: unit noise, and the mark from the corner on."""
    rows, columns = np.arange(shape[0]) % TILE_PX, np.arange(shape[1]) % TILE_PX
    laid = pattern.tile(ID, VERSION)[rows][:, columns]
    return (np.random.default_rng(5).normal(0, 1, shape) + loud * laid).astype(np.float32)


def bent(pattern: Pattern, matrix: Matrix, shape: tuple[int, int]) -> np.ndarray:
    """The same, seen through a matrix from pattern to picture."""
    whole = noisy(pattern, (shape[0] + 200, shape[1] + 200), 0.8)
    return warp(whole, np.linalg.inv(matrix), shape)[0]


@pytest.mark.parametrize("shape", [(128, 128), (1, 1), (127, 300), (400, 257)])
def test_a_fold_is_the_sum_over_all_tiles_of_all_planes(shape: tuple[int, int]) -> None:
    planes = [np.random.default_rng(i).normal(0, 1, shape).astype(np.float32) for i in range(2)]
    slow = np.zeros((TILE_PX, TILE_PX))
    for plane in planes:
        for y, x in product(range(shape[0]), range(shape[1])):
            slow[y % TILE_PX, x % TILE_PX] += plane[y, x]
    assert np.allclose(fold(planes), slow, atol=1e-3)


def test_moving_a_spectrum_is_moving_the_tile(pattern: Pattern) -> None:
    tile = np.random.default_rng(6).normal(0, 1, (TILE_PX, TILE_PX)).astype(np.float32)
    there = transform(np.roll(tile, (9, 30), (0, 1))[None], pattern)[0]
    assert np.allclose(move(there, (30, 9), pattern), transform(tile[None], pattern)[0], atol=1e-2)


@pytest.mark.parametrize("start", [(0, 0), (1, 127), (64, 3)])
def test_the_sync_shows_where_a_tile_begins(pattern: Pattern, start: tuple[int, int]) -> None:
    plane = np.roll(noisy(pattern, (256, 384)), start[::-1], (0, 1))
    surface = measure_sync(fold([plane]), pattern)
    assert (surface.shape, surface.dtype) == ((TILE_PX, TILE_PX), np.float32)
    assert summit(surface) == start
    assert surface[start[1], start[0]] > 10


def test_without_a_mark_the_sync_is_about_standard_normal(pattern: Pattern) -> None:
    tiles = np.random.default_rng(7).normal(0, 1, (20, TILE_PX, TILE_PX)).astype(np.float32)
    surfaces = np.stack([measure_sync(tile, pattern) for tile in tiles])
    assert abs(float(surfaces.std()) - 1) < 0.1
    assert surfaces.max() < 6
    assert np.isfinite(measure_sync(np.zeros((TILE_PX, TILE_PX), np.float32), pattern)).all()


@pytest.mark.parametrize("shape", [(128, 128), (300, 451), (400, 1500)])
def test_blocks_together_are_the_whole_picture(pattern: Pattern, shape: tuple[int, int]) -> None:
    plane = noisy(pattern, shape)
    folds = fold_blocks([plane, plane], pattern)
    assert folds is not None
    assert folds.spectra.shape == (len(folds.centres), len(pattern.rows))
    whole = transform(fold([plane, plane])[None], pattern)[0]
    assert np.allclose(folds.spectra.sum(axis=0), whole, atol=0.02 * np.abs(whole).max())
    assert folds.side == max(shape)
    assert (folds.centres > 0).all()
    assert (folds.centres < shape[::-1]).all()
    level = Fit(np.zeros_like(folds.centres), 0.0)
    assert np.allclose(gather(folds, level, pattern), folds.spectra.sum(axis=0), atol=1e-2)


def test_empty_planes_have_no_blocks_and_empty_parts_are_left_out(pattern: Pattern) -> None:
    assert fold_blocks([np.zeros((300, 300), np.float32)], pattern) is None
    half = noisy(pattern, (512, 512))
    half[:, 200:] = 0
    folds = fold_blocks([half], pattern)
    assert folds is not None
    assert folds.centres[:, 0].max() < 300


@pytest.mark.parametrize("start", [(0, 0), (100, 126), (31, 64)])
def test_a_picture_without_drift_fits_where_its_tiles_begin(
    pattern: Pattern, start: tuple[int, int]
) -> None:
    plane = np.roll(noisy(pattern, (512, 640)), start[::-1], (0, 1))
    folds = fold_blocks([plane], pattern)
    assert folds is not None
    for fit in (fit_drift(folds), fit_drift(folds, start=start), fit_slanted(folds)[1]):
        apart = (fit.starts - start + 64) % TILE_PX - 64
        assert np.abs(apart).max() <= 1.0
        assert fit.drift <= 1.0
    x, y = folds.total.shape[1], folds.total.shape[0]
    assert (y, x) == (TILE_PX, TILE_PX)
    assert summit(folds.total) == start


SLANT = np.array([[0.985, 0.012, 6.0], [-0.008, 1.01, 4.0], [1.2e-5, -1.5e-5, 1.0]])


def test_a_slant_shows_as_drift_and_is_straightened(pattern: Pattern) -> None:
    plane = bent(pattern, SLANT, (768, 768))
    folds = fold_blocks([plane], pattern)
    assert folds is not None
    assert len(folds.centres) == 9
    agreement, fit = fit_slanted(folds)
    assert fit.drift > 3
    assert agreement > 10
    found = straighten(folds, fit)
    points = np.array([[150, 150], [600, 150], [150, 600], [600, 600]])
    columns = np.column_stack([points, np.ones(4)]).T
    want, seen = SLANT @ columns, found @ columns
    apart = seen[:2] / seen[2] - want[:2] / want[2]
    # Both may differ by whole tiles, and alike in all four corners.
    apart = (apart + 64) % TILE_PX - 64
    assert np.hypot(*apart).max() < 2.0


def even(centres: np.ndarray) -> Folds:
    """Blocks of which only the places matter."""
    count = len(centres)
    blank = np.zeros((count, TILE_PX, TILE_PX), np.float32)
    return Folds(np.ones((count, 4), np.complex64), centres, blank, int(centres.max() + 100))


GRIDS = {
    "two": [(100.0, 128.0), (300, 128)],
    "four": [(128.0, 128.0), (384, 128), (128, 384), (384, 384)],
    "six": [(128.0 + 256 * x, 128 + 256 * y) for y in range(2) for x in range(3)],
    "nine": [(128.0 + 256 * x, 128 + 256 * y) for y in range(3) for x in range(3)],
    "row of three": [(128.0 + 256 * x, 128) for x in range(3)],
    "row of ten": [(192.0 + 384 * x, 128) for x in range(10)],
    "column of ten": [(128.0, 192 + 384 * y) for y in range(10)],
}


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("start", [(0.0, 0.0), (3.0, 128.0), (128.0, 3.0), (127.5, 20.25)])
def test_a_small_turn_and_scale_is_straightened_from_any_blocks(
    name: str, start: tuple[float, float]
) -> None:
    # Blocks in one row or column fix no shear: what they do not say must come out as similar.
    truth = np.array([[1.01, -0.004, start[0]], [0.004, 1.01, start[1]], [0, 0, 1.0]])
    centres = np.array(GRIDS[name])
    before = np.linalg.inv(truth) @ np.column_stack([centres, np.ones(len(centres))]).T
    found = straighten(even(centres), Fit(centres - before[:2].T, 9.0))
    assert np.allclose(found / found[2, 2], truth, atol=2e-3, rtol=1e-3)


def test_nine_blocks_fix_a_perspective() -> None:
    centres = np.array(GRIDS["nine"])
    before = np.linalg.inv(SLANT) @ np.column_stack([centres, np.ones(9)]).T
    found = straighten(even(centres), Fit(centres - (before[:2] / before[2]).T, 9.0))
    assert np.allclose(found / found[2, 2], SLANT, atol=1e-5, rtol=1e-4)
