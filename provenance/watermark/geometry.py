"""Where a picture lies on the pattern's grid: turns, warps, and what a reader reports of them.

Decides how pixels are brought to the grid on which the mark was written. Matrices are 3 x 3 and
act on (x, y, 1) columns; they map places of the pattern to places of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from provenance.watermark.lattice import Lattice
from provenance.watermark.pattern import TILE_PX, Plane

Matrix: TypeAlias = npt.NDArray[np.float64]

TURNS: Final = 8
"""Four quarter turns, with and without a mirror."""
MOST_CANONICAL_PX: Final = 1280
"""Side of the part that is brought to the grid: 100 tiles say enough, and time stays bounded."""

_SMOOTH_FROM: Final = 1.25
_EDGE_PX: Final = 9


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the pattern lies in the picture, as a homography from pattern to picture in pixels.

    The pattern is mirrored first, then turned. Of a crop only `offset_px` can be known, as every
    tile is alike.
    """

    homography: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, matrix: Matrix) -> Geometry:
        """Return the geometry of a 3 x 3 matrix."""
        rows = matrix / matrix[2, 2]
        return cls(tuple((float(a), float(b), float(c)) for a, b, c in rows))

    @property
    def scale(self) -> float:
        """Of lengths, by the linear part of the homography: 0.5 after halving."""
        return math.sqrt(abs(self._turn))

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return self._turn < 0

    @property
    def rotation_deg(self) -> float:
        """Counter-clockwise as seen, 0 to 360, by the linear part."""
        (a, _, _), (d, _, _), _ = self.homography
        if self.mirrored:
            a, d = -a, -d
        return math.degrees(math.atan2(-d, a)) % 360.0

    @property
    def offset_px(self) -> tuple[float, float]:
        """Where in its tile the picture's corner lies: (y, x), 0 to 128."""
        x, y, w = np.linalg.inv(np.array(self.homography)) @ (0.0, 0.0, 1.0)
        return float(y / w) % TILE_PX, float(x / w) % TILE_PX

    @property
    def _turn(self) -> float:
        (a, b, _), (d, e, _), _ = self.homography
        return a * e - b * d


def turn(plane: Plane, number: int) -> Plane:
    """Return turn 0 to 7 of a plane: a mirror image from 4 on, then quarter turns; a view."""
    return np.rot90(plane[:, ::-1] if number >= TURNS // 2 else plane, number % 4)


def turn_back(number: int, shape: tuple[int, int]) -> Matrix:
    """Return the matrix from a turned plane to the plane of `shape` (height, width) it was."""
    height, width = shape
    matrix = np.eye(3)
    if number >= TURNS // 2:
        matrix[0] = (-1.0, 0.0, width - 1.0)
    for _ in range(number % 4):
        matrix = matrix @ np.array([[0.0, -1.0, width - 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        height, width = width, height
    return matrix


def shift(x: float, y: float) -> Matrix:
    """Return the matrix that moves by (x, y) pixels."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def lay(lattice: Lattice) -> Matrix:
    """Return the matrix of a lattice: its first vector is the pattern's step of a tile in x."""
    x, y = lattice.x / TILE_PX, lattice.y / TILE_PX
    return np.array([[x, -y, 0.0], [y, x, 0.0], [0.0, 0.0, 1.0]])


def place(
    matrix: Matrix, shape: tuple[int, int]
) -> tuple[Matrix, tuple[int, int], tuple[int, int]]:
    """Move the pattern's origin so that the picture's middle part starts there.

    Returns the moved matrix, by how much (x, y) it was moved, and (height, width) of that part on
    the grid, at most 1280 px a side.
    """
    height, width = shape
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1.0]])
    seen = np.linalg.inv(matrix) @ corners
    seen = seen[:2] / seen[2]
    low, high = np.floor(seen.min(axis=1)), np.ceil(seen.max(axis=1))
    spare = np.maximum(0, np.floor((high - low - MOST_CANONICAL_PX) / 2))
    low, high = low + spare, np.minimum(high - spare, low + spare + MOST_CANONICAL_PX)
    size = high - low
    moved = int(low[0]), int(low[1])
    return matrix @ shift(*moved), moved, (max(1, int(size[1])), max(1, int(size[0])))


def warp(plane: Plane, matrix: Matrix, size: tuple[int, int]) -> tuple[Plane, Plane]:
    """Bring a luma plane to the grid; returns it and 1 where the picture is, 0 elsewhere."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))
    if scale > _SMOOTH_FROM:
        height, width = plane.shape
        small = (max(1, round(width / scale)), max(1, round(height / scale)))
        plane = np.asarray(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), np.float32)
        shrink = np.diag([small[0] / width, small[1] / height, 1.0])
        shrink[:2, 2] = [(shrink[0, 0] - 1) / 2, (shrink[1, 1] - 1) / 2]
        matrix = shrink @ matrix
    target, inverse = (size[1], size[0]), cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(
        plane, matrix, target, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    whole = np.ones(plane.shape, np.float32)
    inside = cv2.warpPerspective(whole, matrix, target, flags=cv2.INTER_NEAREST | inverse)
    # The border itself is an edge, which whitening would not tell from detail.
    inside = cv2.erode(inside, np.ones((_EDGE_PX, _EDGE_PX), np.uint8), borderValue=0)
    return np.asarray(warped, np.float32), np.asarray(inside, np.float32)
