"""Where the points of the swapped face go: the target's pose and expression, some source shape.

Both meshes are laid over the neutral frame of `generator.topology` by a similarity on points that
hardly move with expression. Their difference there is shape plus expression; expression is taken
out region by region (eyes and mouth may move and grow as a whole, but open and bend only as the
target's do), noise is taken out by symmetry and by smoothing over the mesh, and at the face oval
the difference is held at zero so that the outline stays the target's and nothing tears.
Refused: meshes that are not finite float (468, 3) or are too small to fit (ShapeError).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from generator.errors import ShapeError
from generator.topology import (
    FACE_OVAL,
    LEFT_EYE,
    LIP_RINGS,
    POINTS,
    RIGHT_EYE,
    RIGID,
    load_topology,
)

Mesh = npt.NDArray[np.float64]
"""float64 (468, 3): x, y and z in one scale, smaller z = nearer."""

# Point pairs that measure an opening: upper and lower lid (or lip), then the two corners.
RIGHT_LIDS = ((159, 145), (33, 133))
LEFT_LIDS = ((386, 374), (362, 263))
LIPS = ((13, 14), (78, 308))

# How far eyes and mouth may grow or shrink as a whole; beyond it the fit, not the face, is odd.
GROWTH = (0.85, 1.18)
# Smoothing weight of a mesh edge against a point's own measurement. Measured: from 2 to .25 the
# margin on 40 photograph pairs rises from .323 to .348; below that single points jitter.
EDGE_WEIGHT = 0.3
HELD = 1e4
"""Weight of a point whose movement is prescribed."""
# A difference in mouth opening of this many mouth widths halves the trust in lower-face shape.
OPENING_HALF = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """x -> scale * x @ rotation + shift, with rotation (3, 3) and shift (3,)."""

    scale: float
    rotation: Mesh
    shift: Mesh

    def apply(self, points: Mesh) -> Mesh:
        """Return the moved points (n, 3)."""
        return self.scale * points @ self.rotation + self.shift

    def turn_back(self, vectors: Mesh) -> Mesh:
        """Return differences (n, 3) of moved points as differences before the move."""
        return vectors @ self.rotation.T / self.scale


def fit_similarity(points: Mesh, to: Mesh) -> Similarity:
    """Return the least-squares similarity of (n, 3) onto (n, 3) (Umeyama, IEEE PAMI 13, 1991).

    Raises ShapeError when the points are not finite or lie in one spot.
    """
    a, b = points - points.mean(0), to - to.mean(0)
    spread = float((a**2).sum())
    if not np.isfinite(spread) or spread < 1e-9:
        raise ShapeError("face mesh", actual="a single spot or NaN", expected="a spread of points")
    u, s, vt = np.linalg.svd(a.T @ b)
    fix = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation, scale = (u * fix) @ vt, float((s * fix).sum() / spread)
    return Similarity(scale, rotation, to.mean(0) - scale * points.mean(0) @ rotation)


def fit_similarity_2d(
    source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return turn (2, 2) and shift (2,) with target ~ source @ turn.T + shift, least squares.

    Rotation, uniform scale and shift only. Raises ShapeError when the points coincide or
    have nothing of the target's form.
    """
    centred, wanted = source - source.mean(axis=0), target - target.mean(axis=0)
    spread = float((centred**2).sum())
    if not spread > 1e-6:
        raise ShapeError("alignment points", actual="one point", expected="a face of some size")
    a = float((centred * wanted).sum()) / spread
    b = float((centred[:, 0] * wanted[:, 1] - centred[:, 1] * wanted[:, 0]).sum()) / spread
    if not np.hypot(a, b) > 1e-6:
        raise ShapeError("alignment points", actual="no likeness", expected="the form of a face")
    turn = np.array([[a, -b], [b, a]])
    return turn, target.mean(axis=0) - turn @ source.mean(axis=0)


def fit_neutral(mesh: npt.NDArray[np.floating]) -> Similarity:
    """Return the similarity that lays a picture's mesh (468, 3) over the neutral one."""
    if mesh.shape != (POINTS, 3):
        raise ShapeError("face mesh", actual=mesh.shape, expected=(POINTS, 3))
    rigid = list(RIGID)
    return fit_similarity(mesh[rigid].astype(np.float64), load_topology().neutral[rigid])


def measure_opening(mesh: npt.NDArray[np.floating], gap: Sequence[Sequence[int]]) -> float:
    """Return the distance of the first point pair over that of the second: 0 = shut.

    gap: RIGHT_LIDS, LEFT_LIDS or LIPS. Open eyes measure .2 to .45, a shut one below .1.
    """
    (a, b), (c, d) = gap
    width = float(np.linalg.norm(mesh[c] - mesh[d]))
    return float(np.linalg.norm(mesh[a] - mesh[b])) / max(width, 1e-6)


def blend_shape(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating], amount: float
) -> Mesh:
    """Return the target's mesh (468, 3) moved by `amount` (0..1) of the source's face shape.

    source, target: meshes in pixels of their own pictures; the result is in the target's pixels.
    amount 0 returns the target's mesh. Raises ShapeError.
    """
    pose = fit_neutral(target)
    own = pose.apply(target.astype(np.float64))
    other = fit_neutral(source).apply(source.astype(np.float64))
    return target + pose.turn_back(amount * shape_difference(other, own))


def shape_difference(source: Mesh, target: Mesh) -> Mesh:
    """Return what makes the source's shape out of the target's, both neutral-framed (468, 3).

    Symmetric, smooth, zero on the face oval, free of lid and lip opening.
    """
    mirror = load_topology().mirror
    raw = source - target
    raw = (raw + raw[mirror] * [-1.0, 1.0, 1.0]) / 2
    opening = abs(measure_opening(source, LIPS) - measure_opening(target, LIPS))
    trust = np.ones(POINTS)
    trust[_lower_face()] = 0.5 ** (opening / OPENING_HALF)
    wanted, held = raw.copy(), np.zeros(POINTS, bool)
    for points, corners in _carried_parts():
        index = list(points)
        wanted[index] = _whole_move(source, target, index, corners)
        held[index] = True
    wanted = (wanted + wanted[mirror] * [-1.0, 1.0, 1.0]) / 2
    oval = list(FACE_OVAL)
    wanted[oval], held[oval] = 0.0, True
    weight = np.where(held, HELD, trust)
    system = EDGE_WEIGHT * _mesh_laplacian() + np.diag(weight)
    return np.asarray(np.linalg.solve(system, weight[:, None] * wanted))


def _whole_move(source: Mesh, target: Mesh, points: list[int], corners: tuple[int, int]) -> Mesh:
    """Return the difference that moves and scales a part as a whole, keeping its own form."""
    a, b = corners
    widths = (float(np.linalg.norm(mesh[a] - mesh[b])) for mesh in (source, target))
    growth = float(np.clip(next(widths) / max(next(widths), 1e-6), *GROWTH))
    centre = (target[a] + target[b]) / 2
    moved = (source[a] + source[b]) / 2 - centre
    difference: Mesh = moved + (growth - 1) * (target[points] - centre)
    return difference


@cache
def _carried_parts() -> tuple[tuple[tuple[int, ...], tuple[int, int]], ...]:
    lips = tuple(point for ring in LIP_RINGS for point in ring)
    return ((RIGHT_EYE, (33, 133)), (LEFT_EYE, (362, 263)), (lips, (61, 291)))


@cache
def _lower_face() -> npt.NDArray[np.bool_]:
    neutral = load_topology().neutral
    return np.asarray(neutral[:, 1] > neutral[LIP_RINGS[0][0], 1] - 0.1)


@cache
def _mesh_laplacian() -> Mesh:
    """Return the uniform graph Laplacian of the mesh (468, 468), read-only."""
    matrix = np.zeros((POINTS, POINTS))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        corner = load_topology().triangles[:, [a, b]]
        matrix[corner[:, 0], corner[:, 1]] = matrix[corner[:, 1], corner[:, 0]] = -1.0
    np.fill_diagonal(matrix, -matrix.sum(1))
    matrix.setflags(write=False)
    return matrix
