"""Where the tile begins, and how that drifts over the picture.

Decides position by the sync frequencies alone, whose phases no claim rests on: whatever is tried
here costs a claim nothing but the number of readings. A picture is folded block by block, so that
a slant that no square lattice has (mild perspective, a scale that is a little off) shows as blocks
that begin elsewhere, and can be fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from provenance.watermark.geometry import Matrix
from provenance.watermark.pattern import RINGS, TILE_PX, Coefficients, Pattern, Plane

Points: TypeAlias = npt.NDArray[np.float64]

DRIFT_PX: Final = 24
"""How far a block may lie from where the picture as a whole says."""

_BLOCK_PX, _LARGE_BLOCK_PX = 256, 384
_LARGE_PX: Final = 1500
_MIN_ENERGY: Final = 0.02
_LEAST_WEIGHT: Final = 0.15
_STEPS_PX: Final = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
_ROUNDS: Final = 3
_AFFINE_FROM, _PERSPECTIVE_FROM = 6, 9
_BLUR_PX: Final = 17
"""Drift that the first, blurred look at the blocks bridges."""


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
    block = _BLOCK_PX if max(height, width) < _LARGE_PX else _LARGE_BLOCK_PX
    tiles, centres = [], []
    for y in range(0, height, block):
        for x in range(0, width, block):
            parts = [plane[y : y + block, x : x + block] for plane in planes]
            energy = sum(float(np.vdot(part, part)) for part in parts)
            if energy > _MIN_ENERGY * block * block * len(planes):
                tiles.append(fold(parts))
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


def fit_drift(folds: Folds) -> Fit:
    """Fit where the tile begins, from the place where all blocks agree best without drift."""
    return _climb(folds, summit(folds.total))


def fit_blurred(folds: Folds) -> tuple[float, Fit]:
    """Fit from a place that most blocks have near by, and return how far it stands out.

    For slanted pictures, whose blocks agree nowhere. The height is in deviations of the surface.
    """
    spread = float(np.sqrt(np.mean(folds.surfaces**2))) + 1e-9
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_BLUR_PX, _BLUR_PX))
    sums = np.zeros((TILE_PX, TILE_PX), np.float32)
    for surface in folds.surfaces:
        wide = np.pad(surface / spread, _BLUR_PX, mode="wrap")
        sums += cv2.dilate(wide, kernel)[_BLUR_PX:-_BLUR_PX, _BLUR_PX:-_BLUR_PX]
    height = float((sums.max() - np.median(sums)) / (sums.std() + 1e-9))
    return height, _climb(folds, summit(sums))


def straighten(folds: Folds, fit: Fit) -> Matrix:
    """Return the matrix from the pattern to the grid that a fit stands for."""
    pattern_points = folds.centres - fit.starts
    if len(folds.centres) >= _PERSPECTIVE_FROM:
        found, _ = cv2.findHomography(pattern_points, folds.centres, 0)
        if found is not None:
            return np.asarray(found, np.float64)
    known = np.column_stack([pattern_points, np.ones(len(pattern_points))])
    solved, *_ = np.linalg.lstsq(known, folds.centres, rcond=None)
    matrix = np.eye(3)
    matrix[:2] = solved.T
    return matrix


def gather(folds: Folds, fit: Fit, pattern: Pattern) -> Coefficients:
    """Return the sum over blocks of their spectra, each moved to where its tile begins."""
    x, y = fit.starts.T
    rows, columns = pattern.waves
    turns = np.exp(2j * np.pi / TILE_PX * (np.outer(y, rows) + np.outer(x, columns)))
    return np.asarray((folds.spectra * turns).sum(axis=0), np.complex64)


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


def _climb(folds: Folds, start: tuple[int, int]) -> Fit:
    """Move all blocks together, then apart by a smooth law, as long as they agree better."""
    reach = np.arange(-DRIFT_PX, DRIFT_PX + 1)
    columns, rows = (reach + start[0]) % TILE_PX, (reach + start[1]) % TILE_PX
    local = [np.ascontiguousarray(s[rows][:, columns]) for s in folds.surfaces]
    laws = _laws(folds)
    shift = np.zeros((2, len(local)))
    best = _agreement(local, shift[None])[0]
    for step in _STEPS_PX:
        for _ in range(_ROUNDS):
            before = best
            for law in laws:
                tried = shift + (np.arange(-2, 3) * step)[:, None, None] * law
                scores = _agreement(local, tried)
                if scores.max() > best:
                    best, shift = scores.max(), tried[int(scores.argmax())]
            if best <= before:
                break
    starts = shift.T + start
    return Fit(starts, float(np.abs(shift - shift.mean(axis=1, keepdims=True)).max()))


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
