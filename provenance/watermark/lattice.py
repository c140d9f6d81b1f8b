"""Blind search for the tile's lattice: at which scale and turn a picture repeats itself.

Decides which geometries are worth reading; claims nothing. A tiled mark repeats every 128 px, so
the autocorrelation has peaks on a square lattice, turned and scaled as the picture was. Peaks are
not looked for one by one: every square lattice is scored by the sum over its first points, in six
bands of scale, each with only those frequencies that a mark of that scale can have. Needs no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from provenance.watermark.pattern import TILE_PX, Plane

Grid: TypeAlias = npt.NDArray[np.intp]

SCALES: Final = (0.24, 0.35, 0.5, 0.71, 1.0, 1.42, 2.1)
"""Edges of the bands of scale that are searched."""
MOST_LATTICES: Final = 8

_WINDOW_PX: Final = 1024
_MOST_WINDOWS: Final = 4
_BAND: Final = (0.03, 0.19)
"""Cycles per pixel at scale 1 that take part."""
_AROUND: Final = 31
_LINE_CLIP: Final = 6.0
_PEAK_CLIP: Final = 40.0
_PER_BAND: Final = 4
_NEAR: Final = ((1, 0), (0, 1), (1, 1), (1, -1))
_STEPS: Final = ((0.5, 2.9), (0.2, 4.5), (0.1, 6.5))
"""Refinement: step in pixels, and how many tiles away the lattice points may lie that take part."""
_SAME: Final = 0.01
_SLANT_BLUR: Final = 0.02
"""In tiles: how far peaks spread where the scale changes by some percent over the picture."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """A square lattice: its first vector in pixels (y down, x right), and how well it is seen.

    The second vector is the first one turned by 90 degrees. `score`: height of the autocorrelation
    on its points in local deviations, times the square root of their number; hosts without a
    lattice reach 4.5 (measured), single marked pictures 6 to 70.
    """

    score: float
    y: float
    x: float


def search_lattices(spectrum: Plane, *, slanted: bool = False) -> list[Lattice]:
    """Return up to 8 lattices of what `flatten` returned, clearest first.

    `slanted`: look for blurred peaks, as of pictures whose scale changes from side to side.
    """
    found = [
        _refine(correlation, y, x, slanted=slanted)
        for low, high in pairwise(SCALES)
        for correlation in [_correlate(spectrum, low, high, slanted=slanted)]
        for y, x in _find_combs(correlation, low, high)
    ]
    kept: list[Lattice] = []
    for one in sorted(found, key=lambda lattice: -lattice.score):
        if not any(_are_same(one, other) for other in kept):
            kept.append(one)
    return kept[:MOST_LATTICES]


def _are_same(one: Lattice, other: Lattice) -> bool:
    """Whether two vectors span one lattice: a quarter turn changes nothing."""
    apart = complex(one.x, one.y) / complex(other.x, other.y)
    return min(abs(apart - unit) for unit in (1, -1, 1j, -1j)) <= _SAME


def flatten(planes: Sequence[Plane]) -> Plane:
    """Return the power spectrum over its own surroundings, so that lines stand out everywhere.

    Of whitened planes, float32 (h, w) each: views of one geometry (the frames of a clip), summed.
    Float32 (1024, 513).
    """
    size = (_WINDOW_PX, _WINDOW_PX)
    power = np.zeros((_WINDOW_PX, _WINDOW_PX // 2 + 1), np.float32)
    for plane in planes:
        for window in _windows(plane):
            spectrum = scipy.fft.rfft2(window, s=size)
            power += spectrum.real**2 + spectrum.imag**2
    around = cv2.blur(power, (_AROUND, _AROUND), borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.minimum(power / (around + 1e-9), _LINE_CLIP) - 1.0, np.float32)


def _windows(plane: Plane) -> list[Plane]:
    """Return up to four windows of at most 1024 px that lie evenly over the plane's middle."""
    starts = []
    for length in plane.shape:
        count = min(2, -(-length // _WINDOW_PX))
        first = max(0, (length - count * _WINDOW_PX) // 2)
        last = max(0, length - _WINDOW_PX - first)
        starts.append(sorted({first, last}))
    return [plane[y : y + _WINDOW_PX, x : x + _WINDOW_PX] for y in starts[0] for x in starts[1]][
        :_MOST_WINDOWS
    ]


def _correlate(spectrum: Plane, low: float, high: float, *, slanted: bool) -> Plane:
    """Return the autocorrelation for one band of scale, over its local deviation, origin central.

    Float32 (2 r + 1, 2 r + 1), lags as far as a lattice of that scale is followed.
    """
    radius = _radius()
    inside = (radius >= _BAND[0] / high) & (radius <= min(_BAND[1] / low, 0.5))
    whole = scipy.fft.irfft2(spectrum * inside, s=(_WINDOW_PX, _WINDOW_PX))
    reach = min(_WINDOW_PX // 2 - 1, int(6.5 * TILE_PX * high) + 8)
    rolled = np.roll(whole, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    if slanted:
        rolled = cv2.GaussianBlur(rolled, (0, 0), _SLANT_BLUR * TILE_PX * (low + high) / 2)
    size = np.abs(rolled)
    usual = float(np.median(size[::3, ::3]))
    deviation = 1.25 * cv2.blur(np.minimum(size, 6 * usual), (63, 63)) + 0.05 * usual + 1e-12
    return np.asarray(np.minimum(rolled / deviation, _PEAK_CLIP), np.float32)


def _find_combs(correlation: Plane, low: float, high: float) -> list[tuple[int, int]]:
    """Return whole-pixel first vectors of the lattices that score best in a band of scale."""
    reach = len(correlation) // 2
    near = [cv2.dilate(correlation, np.ones((side, side), np.uint8)) for side in (3, 5)]
    y, x, side = _first_vectors(low, high)
    score = np.zeros(len(y), np.float32)
    for i, j in _NEAR:
        down, right = i * y + j * x, i * x - j * y
        inside = (np.abs(down) <= reach) & (np.abs(right) <= reach)
        rows, columns = np.clip(down, -reach, reach) + reach, np.clip(right, -reach, reach) + reach
        score += np.where(inside, near[(i * i + j * j) - 1][rows, columns], 0.0)
    board = np.full((side, side), -9.0, np.float32)
    board[y, x] = score
    summit = (board == cv2.dilate(board, np.ones((7, 7), np.uint8))) & (board > 0)
    rows, columns = np.nonzero(summit)
    best = np.argsort(-board[rows, columns], kind="stable")[:_PER_BAND]
    return [(int(rows[k]), int(columns[k])) for k in best]


def _refine(correlation: Plane, start_y: int, start_x: int, *, slanted: bool) -> Lattice:
    """Move the first vector to where near and then far lattice points are highest together."""
    y, x, score = float(start_y), float(start_x), 0.0
    reach = len(correlation) // 2
    for step, tiles in _STEPS[:1] if slanted else _STEPS:
        shifts = np.arange(-3, 4) * step
        ys, xs = (np.asarray(v) for v in np.meshgrid(y + shifts, x + shifts, indexing="ij"))
        points = _points(tiles, (reach - 4) / float(np.hypot(y, x)))
        total = np.zeros(ys.shape, np.float32)
        for i, j in points:
            right, down = (i * xs - j * ys + reach), (i * ys + j * xs + reach)
            total += cv2.remap(
                correlation,
                right.astype(np.float32),
                down.astype(np.float32),
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_CONSTANT,
            )
        row, column = np.unravel_index(int(total.argmax()), total.shape)
        y, x = float(ys[row, column]), float(xs[row, column])
        score = float(total[row, column]) / max(1, len(points)) ** 0.5
    return Lattice(score, y, x)


def _points(tiles: float, most: float) -> list[tuple[int, int]]:
    """Return the lattice points of a half plane that are up to `tiles`, and `most`, tiles away."""
    reach = int(tiles)
    return [
        (i, j)
        for i in range(reach + 1)
        for j in range(-reach, reach + 1)
        if (i > 0 or j > 0) and i * i + j * j <= min(tiles, most) ** 2
    ]


@lru_cache(maxsize=1)
def _radius() -> Plane:
    rows, columns = np.fft.fftfreq(_WINDOW_PX)[:, None], np.fft.rfftfreq(_WINDOW_PX)[None, :]
    return np.asarray(np.hypot(rows, columns), np.float32)


@lru_cache(maxsize=len(SCALES))
def _first_vectors(low: float, high: float) -> tuple[Grid, Grid, int]:
    """Return every whole-pixel vector of a quarter plane within a band of scale, and its board."""
    side = int(TILE_PX * high * 1.03) + 2
    y, x = np.mgrid[0:side, 0:side]
    length = np.hypot(y, x)
    inside = (length >= TILE_PX * low * 0.97) & (length < side - 1) & (x > 0)
    return y[inside], x[inside], side
