"""The blind search: every place a mark may lie, cheapest first.

Decides in which order geometries are read: upright (crops, quarter turns, flips), then square
lattices (scales and turns), then slanted ones (mild perspective). The number of looks is limited,
and every claim pays for all of them, made or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

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
from provenance.watermark.geometry import TURNS, Matrix, lay, place, shift, turn, turn_back, warp
from provenance.watermark.lattice import MOST_LATTICES, Lattice, flatten, search_lattices
from provenance.watermark.pattern import TILE_PX, Pattern, Plane
from provenance.watermark.reading import Reading, read
from provenance.watermark.whitening import whiten

_UPRIGHT: Final = 3
_UPRIGHT_SCALES: Final = (1.0, 0.975, 0.95, 1.025)
_SLANTED: Final = 2
UPRIGHT_LOOKS: Final = 1 + _UPRIGHT
MOST_LOOKS: Final = UPRIGHT_LOOKS + MOST_LATTICES + len(_UPRIGHT_SCALES) + _SLANTED
"""Looks that one key gets at one picture, at scale 1 and in all."""

_LEAST_SYNC: Final = 4.6
"""The largest of 8 x 16,384 normal values is expected at 4.3: some pictures without a mark pass, so
that weak marks do. What they say is judged by `reading`."""
_STRAIGHT_PX: Final = 1.0
_MOST_STRAIGHTENED: Final = 2
_MOST_SKEWED: Final = 4.0
"""Ratio of the two scales of a matrix beyond which it is a misfit, not a mild slant."""
MIN_READ_PX: Final = 48
"""Smaller pictures have no whole tile at any scale that is searched."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere a mark may lie: whitened planes on the grid, the matrix from grid to picture.

    `start`: where a tile begins on the planes (x, y), if the matrix was right about that.
    """

    planes: list[Plane]
    matrix: Matrix
    start: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Found:
    """A reading and where: tiles begin at `start` (x, y) on the planes of `place`."""

    reading: Reading
    place: Place
    start: tuple[int, int]

    @property
    def matrix(self) -> Matrix:
        """The homography from the pattern to the picture."""
        return self.place.matrix @ shift(*self.start)


class Search:
    """One search of luma planes of one geometry (a picture, or frames of one clip), for any key.

    What needs no key is done once and kept. Each stage yields readings; all stages together at most
    `MOST_LOOKS` for each key. Stop taking when one is enough.
    """

    def __init__(self, lumas: Sequence[Plane]) -> None:
        self._lumas = list(lumas)
        self._base = Place([whiten(plane) for plane in lumas], np.eye(3))
        self._small = min(lumas[0].shape) < MIN_READ_PX
        self._places: dict[tuple[str, int], Place | None] = {}

    @property
    def stages(self) -> tuple[Callable[[Pattern], Iterator[Found]], ...]:
        """The stages, cheapest first: tens of milliseconds, then up to a second each."""
        return self.upright, self.laid, self.slanted

    def upright(self, pattern: Pattern) -> Iterator[Found]:
        """Yield readings at scale 1: as the picture lies, then the best turns and flips."""
        planes = self._base.planes
        tile = fold(planes)
        yield Found(read(transform(tile[None], pattern)[0], pattern), self._base, (0, 0))
        # Turning the tile is turning the picture, filled up to whole tiles.
        height, width = (-(-n // TILE_PX) * TILE_PX for n in planes[0].shape)
        for number, start in _rank_turns(tile, pattern)[:_UPRIGHT]:
            turned = transform(np.ascontiguousarray(turn(tile, number))[None], pattern)[0]
            views = [turn(_fill(plane, height, width), number) for plane in planes]
            at = Place(views, turn_back(number, (height, width)))
            yield Found(read(move(turned, start, pattern), pattern), at, start)

    def laid(self, pattern: Pattern) -> Iterator[Found]:
        """Yield readings on the square lattices that the picture shows."""
        for base in self._bring_all(self._squares, "square"):
            for number, _ in _rank_turns(fold(base.planes), pattern)[:1]:
                turned = _turn_place(base, number)
                folds = fold_blocks(turned.planes, pattern)
                if folds is not None:
                    fit = fit_drift(folds)
                    yield _read_straightened(self._lumas, turned, folds, fit, pattern)

    def slanted(self, pattern: Pattern) -> Iterator[Found]:
        """Yield readings where blocks agree best when each may lie a little elsewhere.

        Nearly upright pictures first, whose peaks a slant may have blurred out of sight.
        """
        if self._small:
            return
        for base in self._bring_all(self._upright_slants, "upright"):
            yield from self._read_slanted(base, range(1), pattern)
        for base in self._bring_all(self._slants, "slanted"):
            yield from self._read_slanted(base, range(TURNS), pattern)

    def _read_slanted(self, base: Place, turns: range, pattern: Pattern) -> Iterator[Found]:
        tried: list[tuple[float, Place, Folds, Fit]] = []
        for number in turns:
            turned = _turn_place(base, number)
            folds = fold_blocks(turned.planes, pattern)
            if folds is not None and len(folds.centres) > 1:
                agreement, fit = fit_slanted(folds)
                tried.append((agreement, turned, folds, fit))
        for _, turned, folds, fit in sorted(tried, key=lambda one: -one[0])[:1]:
            yield _read_straightened(self._lumas, turned, folds, fit, pattern)

    @cached_property
    def _spectrum(self) -> Plane:
        return flatten(self._base.planes)

    @cached_property
    def _squares(self) -> list[Lattice]:
        return [] if self._small else search_lattices(self._spectrum)

    @cached_property
    def _upright_slants(self) -> list[Lattice]:
        return [Lattice(0.0, 0.0, scale * TILE_PX) for scale in _UPRIGHT_SCALES]

    @cached_property
    def _slants(self) -> list[Lattice]:
        return search_lattices(self._spectrum, slanted=True)[:_SLANTED]

    def _bring_all(self, lattices: list[Lattice], kind: str) -> Iterator[Place]:
        """Yield the picture laid on each lattice; once laid it is kept for the next key."""
        for number, lattice in enumerate(lattices):
            if (kind, number) not in self._places:
                self._places[kind, number] = _bring(self._lumas, lay(lattice))
            if (laid := self._places[kind, number]) is not None:
                yield laid


def _rank_turns(tile: Plane, pattern: Pattern) -> list[tuple[int, tuple[int, int]]]:
    """Return turns whose sync stands out, with where the tile begins (x, y), clearest first."""
    ranked = []
    for number in range(TURNS):
        surface = measure_sync(np.ascontiguousarray(turn(tile, number)), pattern)
        x, y = summit(surface)
        ranked.append((float(surface[y, x]), number, (x, y)))
    ranked.sort(key=lambda one: -one[0])
    return [(number, start) for sync, number, start in ranked if sync >= _LEAST_SYNC]


def _read_straightened(
    lumas: Sequence[Plane], at: Place, folds: Folds, fit: Fit, pattern: Pattern
) -> Found:
    """Read where a fit says; where blocks drift apart, bring the picture to the grid anew first."""
    for _ in range(_MOST_STRAIGHTENED):
        if fit.drift <= _STRAIGHT_PX:
            break
        better = _bring(lumas, at.matrix @ straighten(folds, fit))
        anew = fold_blocks(better.planes, pattern) if better is not None else None
        if better is None or anew is None:
            break
        at, folds, fit = better, anew, fit_drift(anew, start=better.start)
    x, y = np.rint(fit.starts.mean(axis=0)).astype(int) % TILE_PX
    return Found(read(gather(folds, fit, pattern), pattern), at, (int(x), int(y)))


def _turn_place(at: Place, number: int) -> Place:
    planes = [np.ascontiguousarray(turn(plane, number)) for plane in at.planes]
    return Place(planes, at.matrix @ turn_back(number, at.planes[0].shape))


def _bring(lumas: Sequence[Plane], matrix: Matrix) -> Place | None:
    """Bring planes to the grid and whiten them there; None where hardly a tile would be left."""
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix[:2, :2]) > _MOST_SKEWED:
        return None
    placed, low, size = place(matrix, lumas[0].shape)
    if min(size) < MIN_READ_PX:
        return None
    planes = []
    for luma in lumas:
        warped, inside = warp(luma, placed, size)
        planes.append(whiten(warped) * inside)
    return Place(planes, placed, (-low[0] % TILE_PX, -low[1] % TILE_PX))


def _fill(plane: Plane, height: int, width: int) -> Plane:
    return np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])))
