"""Where the tile begins, and how that drifts over the picture.

Decides position by the sync frequencies alone, whose phases no claim rests on: whatever is tried
here costs a claim nothing but the number of readings. A picture is folded block by block, so that
a slant that no square lattice has (mild perspective, a scale that is a little off) shows as blocks
that begin elsewhere, and can be fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.stats.qmc

from provenance.watermark.geometry import Matrix
from provenance.watermark.pattern import RINGS, TILE_PX, Coefficients, Pattern, Plane

Points: TypeAlias = npt.NDArray[np.float64]

DRIFT_PX: Final = 24
"""How far a block may lie from where the picture as a whole says."""

_BLOCKS: Final = 2.99
"""Blocks along the longer side of a small picture: nine fix a perspective."""
_LEAST_BLOCK_PX, _MOST_BLOCK_PX = 144, 384
_MIN_ENERGY: Final = 0.02
_LEAST_WEIGHT: Final = 0.15
_STEPS_PX: Final = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
_ROUNDS: Final = 12
_AFFINE_FROM, _PERSPECTIVE_FROM = 6, 9
_NEAR_PX: Final = 17
"""Drift that the first, blurred look at the blocks bridges."""
_SLANTS: Final = 16384
_REACH_PX: Final = (6, 6, 12, 8, 10, 10, 6, 6)
"""How far each law is tried: shifts, scale, turn, shear, perspective."""
_CLIMBED: Final = 4


@dataclass(frozen=True, slots=True)
class Folds:
    """Blocks of a picture on the grid, each folded to one tile and transformed.

    `spectra`: complex64 (blocks, frequencies), in the pattern's order. `centres`: (blocks, 2) as
    x, y in pixels of the grid. `surfaces`: float32 (blocks, 128, 128), how well the sync
    frequencies agree when the tile begins at (y, x). `side`: the longer side of the grid.
    """

    spectra: Coefficients
    centres: Points
    surfaces: Plane
    side: int

    @property
    def total(self) -> Plane:
        """The sum over blocks: float32 (128, 128)."""
        return np.asarray(self.surfaces.sum(axis=0), np.float32)


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the tile begins in each block: (blocks, 2) as x, y in pixels; `drift`: the largest
    distance between a block and the mean of all, in pixels."""

    starts: Points
    drift: float


def fold(planes: Sequence[Plane]) -> Plane:
    """Return the sum of all tiles of planes of one size: float32 (128, 128)."""
    return np.asarray(sum(_fold(plane) for plane in planes), np.float32)


def fold_blocks(planes: Sequence[Plane], pattern: Pattern) -> Folds | None:
    """Fold planes of one geometry, float32 (h, w) each; None where they are empty."""
    height, width = planes[0].shape
    block = int(np.clip(max(height, width) / _BLOCKS, _LEAST_BLOCK_PX, _MOST_BLOCK_PX))
    tiles, centres = [], []
    for y in range(0, height, block):
        for x in range(0, width, block):
            parts = [plane[y : y + block, x : x + block] for plane in planes]
            energy = sum(float(np.vdot(part, part)) for part in parts)
            if energy > _MIN_ENERGY * block * block * len(planes):
                # Folded from where the grid's tiles begin, not the block.
                before = ((y % TILE_PX, 0), (x % TILE_PX, 0))
                tiles.append(fold([np.pad(part, before) for part in parts]))
                centres.append(((x + min(x + block, width)) / 2, (y + min(y + block, height)) / 2))
    if not tiles:
        return None
    spectra = transform(np.stack(tiles), pattern)
    surfaces = _correlate(spectra, pattern)
    return Folds(spectra, np.array(centres), surfaces, max(height, width))


def transform(tiles: Plane, pattern: Pattern) -> Coefficients:
    """Return the pattern's frequencies of tiles, float32 (n, 128, 128), as complex64 (n, count)."""
    return np.asarray(scipy.fft.fft2(tiles)[:, pattern.rows, pattern.columns], np.complex64)


def measure_sync(tile: Plane, pattern: Pattern) -> Plane:
    """Return how well the sync agrees for each beginning of one tile, as a statistic: (128, 128).

    For a picture without the mark each entry is about standard normal.
    """
    spectra = transform(tile[None], pattern)
    energy = np.abs(spectra[0, : pattern.sync_count] * _weights(spectra, pattern)) ** 2
    length = float(energy.sum() / 2) ** 0.5 + 1e-9
    return np.asarray(_correlate(spectra, pattern)[0] / length, np.float32)


def summit(surface: Plane) -> tuple[int, int]:
    """Return (x, y) of the highest place."""
    y, x = np.unravel_index(int(surface.argmax()), surface.shape)
    return int(x), int(y)


def move(spectrum: Coefficients, start: tuple[float, float], pattern: Pattern) -> Coefficients:
    """Return the frequencies of a tile as if it began at `start` (x, y)."""
    rows, columns = pattern.waves
    turns = np.exp(2j * np.pi / TILE_PX * (start[1] * rows + start[0] * columns))
    return np.asarray(spectrum * turns, np.complex64)


def fit_drift(folds: Folds, *, start: tuple[int, int] | None = None) -> Fit:
    """Fit where the tile begins in each block, from `start` (x, y) on.

    By default from where all blocks agree best without drift.
    """
    start, laws = start or summit(folds.total), _laws(folds)
    near = _cut(folds.surfaces, start)
    _, shift = _climb(near, np.zeros((2, len(near))), laws, _STEPS_PX)
    return _fit_of(shift, start)


def fit_slanted(folds: Folds) -> tuple[float, Fit]:
    """Fit blocks that agree nowhere without drift; returns how well they agree then, and where.

    A place that most blocks have near by is found on blurred surfaces, many slants around it are
    tried at once, and the best of them climbed. The agreement is in deviations of the surfaces.
    """
    spread = float(np.sqrt(np.mean(folds.surfaces**2))) + 1e-9
    wide = np.sum([_widen(surface, _NEAR_PX) for surface in folds.surfaces], axis=0)
    start = summit(wide)
    near = _cut(folds.surfaces, start)
    laws = _laws(folds)
    tried = np.tensordot(_slants(len(laws)), np.array(laws), axes=1)
    coarse = _agreement([_grow(surface) for surface in near], tried)
    best = np.argsort(-coarse, kind="stable")[:_CLIMBED]
    climbed = [_climb(near, tried[number], laws, _STEPS_PX[1:]) for number in best]
    height, shift = max(climbed, key=lambda one: one[0])
    return height / (spread * len(near) ** 0.5), _fit_of(shift, start)


def straighten(folds: Folds, fit: Fit) -> Matrix:
    """Return the matrix from the pattern to the grid that a fit stands for.

    Few blocks, or blocks in one row, say nothing of shear: turn, scale and shift are taken then.
    """
    before, after = folds.centres - fit.starts, folds.centres
    in_line = np.linalg.matrix_rank(after - after.mean(axis=0)) < 2
    if in_line or len(after) < _AFFINE_FROM:
        return _fit_similarity(before, after)
    if len(after) >= _PERSPECTIVE_FROM:
        return np.asarray(cv2.findHomography(before, after, 0)[0], np.float64)
    known = np.column_stack([before, np.ones(len(before))])
    solved, *_ = np.linalg.lstsq(known, after, rcond=None)
    matrix = np.eye(3)
    matrix[:2] = solved.T
    return matrix


def gather(folds: Folds, fit: Fit, pattern: Pattern) -> Coefficients:
    """Return the sum over blocks of their spectra, each moved to where its tile begins."""
    x, y = fit.starts.T
    rows, columns = pattern.waves
    turns = np.exp(2j * np.pi / TILE_PX * (np.outer(y, rows) + np.outer(x, columns)))
    return np.asarray((folds.spectra * turns).sum(axis=0), np.complex64)


def _fit_similarity(before: Points, after: Points) -> Matrix:
    """Return turn, scale and shift of least error, as a matrix; at least two different points."""
    one, two = (points[:, 0] + 1j * points[:, 1] for points in (before, after))
    spread = one - one.mean()
    turn = np.vdot(spread, two) / np.vdot(spread, spread).real
    move = two.mean() - turn * one.mean()
    return np.array(
        [[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag], [0.0, 0.0, 1.0]]
    )


def _fold(plane: Plane) -> Plane:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % TILE_PX), (0, -width % TILE_PX)))
    tiles = padded.reshape(len(padded) // TILE_PX, TILE_PX, -1, TILE_PX)
    return np.asarray(tiles.sum(axis=(0, 2)), np.float32)


def _weights(spectra: Coefficients, pattern: Pattern) -> Plane:
    """Return one weight for each sync frequency: rings are made equal, but not out of nothing."""
    energy = (np.abs(spectra) ** 2).sum(axis=0)
    usual = np.sqrt(np.bincount(pattern.rings, energy, RINGS) / np.bincount(pattern.rings))
    weights = 1.0 / (usual + _LEAST_WEIGHT * usual.max() + 1e-9)
    return np.asarray(weights[pattern.rings[: pattern.sync_count]], np.float32)


def _correlate(spectra: Coefficients, pattern: Pattern) -> Plane:
    matched = np.zeros((len(spectra), TILE_PX, TILE_PX), np.complex64)
    sync = slice(0, pattern.sync_count)
    agreed = pattern.sync.conj() * spectra[:, sync] * _weights(spectra, pattern)
    matched[:, pattern.rows[sync], pattern.columns[sync]] = agreed
    return np.asarray(scipy.fft.ifft2(matched).real * TILE_PX**2, np.float32)


def _cut(surfaces: Plane, start: tuple[int, int]) -> list[Plane]:
    """Return what lies within reach of a place, of each block's surface: (49, 49)."""
    reach = np.arange(-DRIFT_PX, DRIFT_PX + 1)
    columns, rows = (reach + start[0]) % TILE_PX, (reach + start[1]) % TILE_PX
    return [np.ascontiguousarray(surface[rows][:, columns]) for surface in surfaces]


def _grow(surface: Plane) -> Plane:
    """Let a summit be met from two pixels away."""
    return np.asarray(cv2.dilate(surface, np.ones((5, 5), np.uint8)), np.float32)


def _widen(surface: Plane, side: int) -> Plane:
    """Return the highest value within a disc, round the edges of the tile."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide = cv2.dilate(np.pad(surface, side, mode="wrap"), kernel)
    return np.asarray(wide[side:-side, side:-side], np.float32)


def _fit_of(shift: Points, start: tuple[int, int]) -> Fit:
    drift = float(np.abs(shift - shift.mean(axis=1, keepdims=True)).max())
    return Fit(shift.T + start, drift)


def _climb(
    near: list[Plane], shift: Points, laws: list[Points], steps: Sequence[float]
) -> tuple[float, Points]:
    """Move blocks by whichever law helps most, as long as they agree better."""
    best = float(_agreement(near, shift[None])[0])
    for step in steps:
        moves = np.concatenate([by * step * np.array(laws) for by in (-2, -1, 1, 2)])
        for _ in range(_ROUNDS):
            tried = shift + moves
            scores = _agreement(near, tried)
            if scores.max() <= best:
                break
            best, shift = float(scores.max()), tried[int(scores.argmax())]
    return best, shift


@lru_cache(maxsize=3)
def _slants(laws: int) -> Points:
    """Return ways to combine laws, evenly spread (Halton 1960): (n, laws), in pixels at the rim."""
    even = scipy.stats.qmc.Halton(laws, scramble=False).random(_SLANTS)
    return np.asarray((2 * even - 1) * _REACH_PX[:laws], np.float64)


def _laws(folds: Folds) -> list[Points]:
    """Return the laws by which blocks may drift: (2, blocks) each, at most a pixel at the rim.

    Shifts, turn and scale always; shear where six blocks fix it, perspective where nine do.
    """
    middle = (folds.centres.min(axis=0) + folds.centres.max(axis=0)) / 2
    x, y = ((folds.centres - middle) / folds.side * 2).T
    one, none = np.ones(len(x)), np.zeros(len(x))
    laws = [(one, none), (none, one), (x, y), (-y, x)]
    if len(x) >= _AFFINE_FROM:
        laws += [(x, -y), (y, x)]
    if len(x) >= _PERSPECTIVE_FROM:
        laws += [(x * x, x * y), (x * y, y * y)]
    return [np.array(law) for law in laws]


def _agreement(local: list[Plane], shifts: Points) -> Points:
    """Return the summed surfaces of blocks at shifts (n, 2, blocks), as x, y: float (n,)."""
    total = np.zeros(len(shifts))
    at = (shifts + DRIFT_PX).astype(np.float32)
    for block, surface in enumerate(local):
        x, y = at[None, :, 0, block], at[None, :, 1, block]
        total += cv2.remap(surface, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[0]
    return total
