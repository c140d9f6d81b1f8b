"""Is this face near anybody who asked never to be swapped? Exact search, never approximate.

Gives facts for the do-not-swap rule: nothing under the net's mismatch distance is ever "clear".
A coarse pass throws out only entries that are proved to lie further away, by an inequality with
room for rounding; the rest are compared in double precision. Refused by raising: NaN, vectors of
another length, vectors of another net, and a registry that is not there. Approximate indexes are
not offered: in our study they lost up to three of four planted entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from generator.errors import RegistryUnavailable, ShapeError
from generator.faces import FloatArray, IdThresholds, require_array
from generator.matching import MIN_LENGTH, answer_for

RegistryState = Literal["clear", "hit", "ambiguous"]

# Directions of the coarse pass; with a remainder and a square they make 32 columns.
COARSE_AXES = 30

# Rows handled at a time: a block of the coarse pass stays in a processor's cache.
BLOCK_ROWS = 65_536

# Rows from which the directions are learned; any directions are right, good ones are fast.
LEARNED_FROM = 20_000

# Share of the squared lengths allowed for rounding. The coarse sum has 32 float32 terms of
# relative error 2**-24 each, the full one 128; their errors stay below 1e-5 of the squares.
ROUNDING = 1e-4

# From this share of a block on, what passed the coarse pass is compared in single precision first;
# below, fetching the few rows is cheaper. Matters only for vectors without directions in common.
CROWDED = 1 / 16

# Longer vectors are no face's (the default net's are 1.2 to 1.6 long) and could overflow.
MAX_LENGTH = 1e4

# The nearest entries that a reading names; a reading states how many more there are.
MAX_LISTED = 16

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """An entry near the face: its id and the Euclidean distance to it."""

    entry_id: str
    distance: float


@dataclass(frozen=True, slots=True)
class RegistryReading:
    """The state, the nearest entries within the mismatch distance, their number, all entries."""

    state: RegistryState
    near: tuple[RegistryEntry, ...]
    near_count: int
    entries: int


class Registry:
    """The vectors of people who opted out, all of one identity net, unchangeable once open."""

    def __init__(self, vectors: FloatArray, ids: tuple[str, ...], model_sha256: str) -> None:
        self._vectors, self._ids, self._model = vectors, ids, model_sha256
        self._centre, self._axes = _learn_axes(vectors)
        self._squares = np.empty(len(vectors), np.float32)
        columns = self._axes.shape[1] + 2
        self._coarse = np.empty((len(vectors), columns), np.float32)
        for rows in _blocks(len(vectors)):
            self._squares[rows] = (1 - ROUNDING) * _squared(vectors[rows])
            heads, rests, squares = self._split(vectors[rows])
            self._coarse[rows] = np.column_stack([heads, rests, (1 - ROUNDING) * squares])

    @classmethod
    def open(
        cls, vectors: FloatArray | None, ids: Sequence[str] | None, *, model_sha256: str
    ) -> Registry:
        """Return a registry of float32 (n, d) vectors; `ids` name the rows, without duplicates.

        n may be 0: a registry in which nobody is yet. `model_sha256` names the net that made the
        vectors. Raises ShapeError for NaN, empty or overlong vectors and for wrong ids,
        RegistryUnavailable where nothing could be read (None).
        """
        if vectors is None or ids is None:
            raise RegistryUnavailable("the do-not-swap registry could not be read")
        _require_vectors(vectors)
        names = tuple(ids)
        if len(names) != len(vectors) or len(set(names)) != len(names) or not all(names):
            raise ShapeError(
                "registry ids", actual=f"{len(names)} ids", expected=f"{len(vectors)} distinct ids"
            )
        return cls(np.array(vectors, order="C"), names, model_sha256)

    def __len__(self) -> int:
        return len(self._ids)

    def search(
        self, vector: FloatArray, *, thresholds: IdThresholds, model_sha256: str
    ) -> RegistryReading:
        """Return what lies near one identity vector, float32 (d,), of the net `model_sha256`.

        distance <= thresholds.match: "hit"; <= thresholds.mismatch: "ambiguous"; none: "clear".
        Raises RegistryUnavailable when the registry holds vectors of another net, ShapeError on
        NaN, infinity, another length or an empty vector.
        """
        if not isinstance(thresholds, IdThresholds):
            raise ShapeError(
                "thresholds", actual=type(thresholds).__name__, expected="IdThresholds"
            )
        if model_sha256 != self._model:
            raise RegistryUnavailable(
                "the do-not-swap registry was made with another identity net",
                mend="enrol its entries again with the net that is in use",
            )
        require_array(vector, (self._vectors.shape[1],), "identity vector")
        _require_lengths(vector[None])
        rows, distances = self._within(vector, thresholds.mismatch)
        order = np.lexsort((rows, distances))
        near = tuple(
            RegistryEntry(self._ids[rows[i]], float(distances[i])) for i in order[:MAX_LISTED]
        )
        return RegistryReading(_state(near, thresholds), near, len(rows), len(self))

    def _within(self, vector: FloatArray, radius: float) -> tuple[npt.NDArray[np.intp], Wide]:
        """Return the rows not further than a radius, and their distances in double precision."""
        query = vector.astype(np.float64)
        weights, limit = self._coarse_query(query, radius)
        kept, measured = [], []
        for rows in _blocks(len(self)):
            passed = np.flatnonzero(self._coarse[rows] @ weights >= limit)
            if len(passed) > CROWDED * (rows.stop - rows.start):
                passed = self._pass_single(rows, query, radius)
            found = passed + rows.start
            distances = np.linalg.norm(self._vectors[found].astype(np.float64) - query, axis=1)
            kept.append(found[distances <= radius])
            measured.append(distances[distances <= radius])
        if not kept:
            return np.empty(0, np.intp), np.empty(0)
        return np.concatenate(kept), np.concatenate(measured)

    def _pass_single(self, rows: slice, query: Wide, radius: float) -> npt.NDArray[np.intp]:
        """Return the places in a block that single precision cannot prove to be further away."""
        limit = radius**2 - (1 - ROUNDING) * float(query @ query)
        lower = self._squares[rows] - self._vectors[rows] @ (2 * query).astype(np.float32)
        return np.flatnonzero(lower <= np.nextafter(np.float32(limit), np.float32(np.inf)))

    def _coarse_query(self, query: Wide, radius: float) -> tuple[FloatArray, np.float32]:
        """Return weights and limit with: coarse row @ weights < limit proves distance > radius.

        With x and q relative to the centre, h their parts along the axes and r the length of
        what remains, Cauchy-Schwarz gives |x - q|^2 >= |x|^2 + |q|^2 - 2 (hx . hq + rx rq).
        """
        heads, rests, squares = self._split(query[None])
        weights = np.concatenate([2 * heads[0], 2 * rests, [-1.0]]).astype(np.float32)
        limit = (1 - ROUNDING) * float(squares[0]) - radius**2
        return weights, np.nextafter(np.float32(limit), np.float32(-np.inf))

    def _split(self, vectors: npt.NDArray[np.floating]) -> tuple[Wide, Wide, Wide]:
        """Return parts along the axes (n, k), lengths of the rest (n,), squared lengths (n,)."""
        centred = vectors.astype(np.float64) - self._centre
        heads = centred @ self._axes
        squares = _squared(centred)
        rests = np.sqrt(np.maximum(squares - _squared(heads), 0))
        return heads, rests, squares


def _state(near: Sequence[RegistryEntry], thresholds: IdThresholds) -> RegistryState:
    if not near:
        return "clear"
    return "hit" if answer_for(near[0].distance, thresholds) == "match" else "ambiguous"


def _squared(vectors: npt.NDArray[np.floating]) -> Wide:
    wide = vectors.astype(np.float64, copy=False)
    squares: Wide = np.einsum("ij,ij->i", wide, wide)
    return squares


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def _learn_axes(vectors: FloatArray) -> tuple[Wide, Wide]:
    """Return the centre (d,) and the orthonormal axes (d, k) along which the vectors differ most.

    The centre is 0 and the axes are the first coordinates where there is nothing to learn from.
    """
    width = vectors.shape[1]
    count = min(COARSE_AXES, width)
    sample = vectors[:: max(1, len(vectors) // LEARNED_FROM)].astype(np.float64)
    if len(sample) < 2:
        return np.zeros(width), np.eye(width)[:, :count]
    centre = sample.mean(axis=0)
    centred = sample - centre
    _, axes = np.linalg.eigh(centred.T @ centred)
    return centre, np.ascontiguousarray(axes[:, ::-1][:, :count])


def _require_vectors(vectors: FloatArray) -> None:
    """Raise ShapeError unless these are finite float32 rows of a usable length; no rows pass."""
    if np.ndim(vectors) == 2 and len(vectors) == 0:
        require_array(np.ones((1, vectors.shape[1]), vectors.dtype), (1, None), "registry vectors")
        return
    require_array(vectors, (None, None), "registry vectors")
    for rows in _blocks(len(vectors)):
        _require_lengths(vectors[rows])


def _require_lengths(vectors: FloatArray) -> None:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not (MIN_LENGTH <= lengths.min() and lengths.max() <= MAX_LENGTH):
        raise ShapeError(
            "identity vectors",
            actual=f"lengths {lengths.min():g} to {lengths.max():g}",
            expected=f"{MIN_LENGTH:g} to {MAX_LENGTH:g}",
        )
