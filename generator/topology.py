"""The fixed layout of the 468-point face mesh: triangles, mirror pairs and named regions.

Decides nothing about pictures; everything here is constant. The point numbers of the named regions
are the published ones of the MediaPipe face mesh. Triangles and the neutral shape are our own:
the neutral shape is the mean of the frontal meshes of six rendered demo people, made symmetric;
`derive_triangles` triangulates it, and `topology.json` keeps both. Remake the file with

    python -m generator.topology MESHES.npy

where MESHES.npy holds frontal meshes, float (n, 468, 3), of people who do not exist.
Refused: a data file that does not fit its own derivation (ShapeError).
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay

from generator.errors import ShapeError

Points = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

POINTS = 468
DATA_FILE = Path(__file__).with_name("topology.json")

# Rings are closed polygons in drawing order. "right" is the subject's right, left in the image.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
# Four nested lip rings, outer to inner: image-left corner, lower lip, image-right corner, upper.
LIP_RINGS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 408, 304, 303, 302, 11, 72, 73, 74, 184),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268, 12, 38, 41, 42, 183),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
LIPS_OUTER = LIP_RINGS[0]
LIPS_INNER = LIP_RINGS[-1]
# Points that move little with expression: forehead, nose bridge, eye corners, temples.
RIGID = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 109, 338, 67, 297, 103, 332, 54, 284, 108, 337,
         69, 299, 104, 333, 68, 298, 33, 133, 362, 263, 127, 356, 34, 264, 143, 372, 234, 454,
         227, 447, 116, 345)  # fmt: skip

NOSTRILS = (97, 98, 64, 48, 115, 220, 45, 4, 275, 440, 344, 278, 294, 327, 326, 2)
# Patches of skin that hair and glasses seldom cover: nose bridge, nose tip, inner cheeks.
BARE_PATCHES = (
    (6, 197, 195, 5, 4, 45, 220, 115, 131, 198, 174),
    (4, 275, 440, 344, 360, 420, 399, 195),
    (50, 101, 36, 205),
    (280, 330, 266, 425),
)

SURFACE, RIGHT_EYE_PART, LEFT_EYE_PART, MOUTH_PART = range(4)
"""What a triangle covers: skin and lips, an eye opening, or the inside of the mouth."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """The loaded mesh layout.

    neutral: float64 (468, 3), unit = distance between the eye centres, x right, y down in the
    image, z away from the camera, symmetric about x = 0. triangles: int64 (t, 3), corners in
    clockwise image order when frontal. part: int64 (t,), one of the four *_PART numbers.
    mirror: int64 (468,), the point on the other side of the face. rim: float64 (468,), distance
    of each neutral point from the face oval.
    """

    neutral: Points
    triangles: Indices
    part: Indices
    mirror: Indices
    rim: Points


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Polygons (n, 2) of one mesh in its picture: what lies where, in pixels.

    eyes: both lid openings. sockets: each eye with its brow and lashes. nose: the underside with
    the nostrils. bare: BARE_PATCHES.
    """

    eyes: tuple[Points, Points]
    brows: tuple[Points, Points]
    sockets: tuple[Points, Points]
    lips: Points
    mouth: Points
    nose: Points
    oval: Points
    bare: tuple[Points, ...]


def draw_outlines(mesh: npt.NDArray[np.floating]) -> Outlines:
    """Return the polygons of a mesh (468, 2 or 3) in pixels; brows and sockets with a margin.

    The mesh follows the hairs of a brow too tightly and knows no lashes: brows are drawn 1.6 times
    as high, eyes within their sockets 1.5 times as large (measured on renders and photographs).
    """
    xy = mesh[:, :2].astype(np.float64)
    eyes = xy[list(RIGHT_EYE)], xy[list(LEFT_EYE)]
    brows = xy[list(RIGHT_BROW)], xy[list(LEFT_BROW)]
    first, second = (
        cv2.convexHull(np.concatenate([_grow(eye, 1.5), _grow(brow, 1.1)]).astype(np.float32))
        for eye, brow in zip(eyes, brows, strict=True)
    )
    return Outlines(
        eyes=eyes,
        brows=(_grow(brows[0], (1.15, 1.6)), _grow(brows[1], (1.15, 1.6))),
        sockets=(first[:, 0].astype(np.float64), second[:, 0].astype(np.float64)),
        lips=xy[list(LIPS_OUTER)],
        mouth=xy[list(LIPS_INNER)],
        nose=_grow(xy[list(NOSTRILS)], 1.05),
        oval=xy[list(FACE_OVAL)],
        bare=tuple(xy[list(patch)] for patch in BARE_PATCHES),
    )


def _grow(polygon: Points, factor: float | tuple[float, float]) -> Points:
    centre = polygon.mean(0)
    out: Points = (polygon - centre) * np.asarray(factor) + centre
    return out


@cache
def load_topology() -> Topology:
    """Return the shipped layout; raise ShapeError when the data file is not what it should be."""
    text = json.loads(DATA_FILE.read_text(encoding="ascii"))
    neutral = np.asarray(text["neutral"], np.float64)
    triangles = np.asarray(text["triangles"], np.int64)
    if neutral.shape != (POINTS, 3) or triangles.shape[1:] != (3,):
        raise ShapeError(
            "face topology", actual=(neutral.shape, triangles.shape), expected="(468, 3), (t, 3)"
        )
    for array in (neutral, triangles):
        array.setflags(write=False)
    oval = neutral[list(FACE_OVAL)]
    rim = _distance_to_ring(neutral, oval)
    return Topology(neutral, triangles, parts_of(triangles), mirror_pairs(neutral), rim)


def _distance_to_ring(points: Points, ring: Points) -> Points:
    """Return the distance of points (n, 3) from a closed polyline (k, 3), float64 (n,)."""
    step = np.roll(ring, -1, axis=0) - ring
    offset = points[:, None] - ring[None]
    along = np.clip((offset * step).sum(2) / (step**2).sum(1), 0.0, 1.0)
    nearest = np.linalg.norm(offset - along[..., None] * step, axis=2)
    return np.asarray(nearest.min(1), np.float64)


def mirror_pairs(neutral: Points) -> Indices:
    """Return for every point of a symmetric mesh (468, 3) its partner on the other side (468,)."""
    flipped = neutral * [-1.0, 1.0, 1.0]
    distance = np.linalg.norm(neutral[:, None] - flipped[None], axis=2)
    return np.asarray(linear_sum_assignment(distance)[1], np.int64)


def parts_of(triangles: Indices) -> Indices:
    """Return what each triangle (t, 3) covers: an opening when all its corners lie on one ring."""
    part = np.full(len(triangles), SURFACE, np.int64)
    for ring, number in (
        (RIGHT_EYE, RIGHT_EYE_PART),
        (LEFT_EYE, LEFT_EYE_PART),
        (LIPS_INNER, MOUTH_PART),
    ):
        part[np.isin(triangles, ring).all(1)] = number
    return part


def derive_triangles(neutral: Points) -> Indices:
    """Triangulate a symmetric neutral mesh (468, 3): Delaunay on the unrolled face, lips by rings.

    Lips are cut into strips between their four rings and the mouth opening between upper and lower
    lip, because closed lips lie on top of each other and no planar rule separates them.
    """
    flat = _unroll(neutral)
    inner_lips = {point for ring in LIP_RINGS[1:] for point in ring}
    keep = np.array([point for point in range(POINTS) if point not in inner_lips])
    found = keep[Delaunay(flat[keep]).simplices]
    middle = flat[found].mean(1)
    found = found[_within(flat, FACE_OVAL, middle) & ~_within(flat, LIPS_OUTER, middle)]
    ab, ac = (flat[found[:, k]] - flat[found[:, 0]] for k in (1, 2))
    turned = ab[:, 0] * ac[:, 1] < ab[:, 1] * ac[:, 0]
    found[turned] = found[turned][:, ::-1]
    strips = [_strip(o, i) for o, i in itertools.pairwise(LIP_RINGS)]
    return np.concatenate([found, *strips, _opening(LIPS_INNER)])


def _unroll(neutral: Points) -> Points:
    """Project (468, 3) onto a sphere behind the face -> (468, 2): sides and nostrils unfold."""
    eyes = neutral[[33, 263, 1]].mean(0)
    ear_z, tip_z = neutral[234, 2], neutral[1, 2]
    beam = neutral - [0.0, eyes[1], ear_z + 0.3 * (ear_z - tip_z)]
    depth = np.hypot(beam[:, 0], beam[:, 2])
    return np.stack([np.arctan2(beam[:, 0], -beam[:, 2]), np.arctan2(beam[:, 1], depth)], 1)


def _within(flat: Points, ring: Sequence[int], points: Points) -> npt.NDArray[np.bool_]:
    polygon = flat[list(ring)].astype(np.float32)[:, None]
    return np.array(
        [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) > 0 for x, y in points]
    )


def _strip(outer: Sequence[int], inner: Sequence[int]) -> Indices:
    """Cut the band between two rings of 20 points into 40 triangles, left and right alike.

    Ring order is counter-clockwise in the image; point 0 is the left corner, 10 the right one.
    """
    rows = []
    for k in range(20):
        n = (k + 1) % 20
        if k % 10 < 5:
            rows += [(outer[k], inner[k], inner[n]), (outer[k], inner[n], outer[n])]
        else:
            rows += [(outer[k], inner[k], outer[n]), (outer[n], inner[k], inner[n])]
    return np.array(rows)


def _opening(ring: Sequence[int]) -> Indices:
    """Cut the mouth opening inside a ring of 20 points into 18 triangles."""
    lower, upper = ring[1:10], ring[:10:-1]
    rows = [(ring[0], upper[0], lower[0]), (ring[10], lower[8], upper[8])]
    for k in range(8):
        a, b, c, d = upper[k], upper[k + 1], lower[k + 1], lower[k]
        rows += [(a, b, d), (b, c, d)] if k < 4 else [(a, b, c), (a, c, d)]
    return np.array(rows)


def average_neutral(meshes: Points) -> Points:
    """Return the symmetric mean (468, 3) of frontal meshes (n, 468, 3), eye distance 1."""
    mean = meshes[0]
    for _ in range(5):
        mean = np.mean([_fit(mesh, mean) for mesh in meshes], 0)
    mean = mean - mean.mean(0)
    for _ in range(5):
        pairs = mirror_pairs(mean)
        mean = (mean + _fit((mean * [-1.0, 1.0, 1.0])[pairs], mean)) / 2
        mean = _stand_upright(mean, pairs)
    eyes = mean[[33, 133]].mean(0), mean[[362, 263]].mean(0)
    mean = (mean - mean[168]) / np.linalg.norm(eyes[1] - eyes[0])
    mean[:, 0] = (mean[:, 0] - mean[mirror_pairs(mean), 0]) / 2
    return np.asarray(np.round(mean, 4), np.float64)


def _stand_upright(mesh: Points, pairs: Indices) -> Points:
    across = mesh - mesh[pairs]
    x = np.linalg.svd(across.T @ across)[0][:, 0]
    x = x * np.sign(x[0])
    y = np.array([0.0, 1.0, 0.0]) - x * x[1]
    y /= np.linalg.norm(y)
    turned = mesh @ np.stack([x, y, np.cross(x, y)]).T
    return np.asarray(turned - turned.mean(0), np.float64)


def _fit(mesh: Points, to: Points) -> Points:
    """Move `mesh` onto `to` by the least-squares similarity (Umeyama 1991)."""
    a, b = mesh - mesh.mean(0), to - to.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    fix = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    moved = a @ ((u * fix) @ vt) * float((s * fix).sum() / (a**2).sum()) + to.mean(0)
    return np.asarray(moved, np.float64)


def main(arguments: Sequence[str]) -> None:
    """Remake `topology.json` from a .npy file of frontal meshes (n, 468, 3)."""
    neutral = average_neutral(np.load(arguments[0]).astype(np.float64))
    data = {"neutral": neutral.tolist(), "triangles": derive_triangles(neutral).tolist()}
    DATA_FILE.write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
