"""Piecewise-affine warps over the mesh triangles, with a depth test on both sides.

Works on arrays and points only; who may be warped onto whom is decided in `generator.swapper`.
The nearest triangle wins a pixel (painter's order), so folded meshes do not scribble; how well a
surface point is seen comes from its normal and from the nearest surface in front of it.
Refused: meshes and pictures of the wrong shape (ShapeError).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator.errors import ShapeError

Image = npt.NDArray[np.float32]
"""float32 (h, w) or (h, w, 3)."""
Points = npt.NDArray[np.floating]

SUBPIXEL_BITS = 4
# Surfaces seen at less than the first cosine are streaks, and meshes overshoot the far outline by
# about as much; from the second cosine on a surface is trusted (measured on turned renders).
GRAZING = (0.12, 0.34)
# Texture stretched more than 1 / .45 is dropped, less than 1 / .75 is kept whole (measured).
STRETCH = (0.45, 0.75)
# A point lies behind another surface when it is this much of the mesh width deeper.
DEPTH_SLACK = 0.035
# A list of pixels is pulled as a picture of so many columns.
_LIST_COLUMNS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Which triangle covers each cell of a grid over a picture, and which pixels are covered.

    index: int32 (rows, columns), -1 outside. weights: float32 (rows, columns, 3), the corners'
    shares, which sum to 1 where a triangle is and are 0 elsewhere. covered: bool (h, w), the
    picture's pixels that lie on the mesh. The grid has a cell per pixel or is coarser.
    """

    index: npt.NDArray[np.int32]
    weights: Image
    triangles: npt.NDArray[np.int64]
    covered: npt.NDArray[np.bool_]

    @property
    def cells_per_px(self) -> tuple[float, float]:
        """How fine the grid is, along x and along y; 1 = a cell per pixel."""
        (rows, columns), (height, width) = self.index.shape, self.covered.shape
        return columns / width, rows / height

    def spread(self, values: npt.NDArray[np.floating]) -> Image:
        """Interpolate one value per point, (n,) or (n, c), over the pixels: (h, w) or (h, w, c)."""
        return self.enlarge(self.spread_over_grid(values))

    def spread_over_grid(self, values: npt.NDArray[np.floating]) -> Image:
        """Interpolate one value per point over the grid: (rows, columns) or (rows, columns, c)."""
        flat = values.reshape(len(values), -1).astype(np.float32)
        on = self.index >= 0
        corners = flat[self.triangles[self.index[on]]]
        out = np.zeros((*self.index.shape, flat.shape[1]), np.float32)
        out[on] = np.einsum("nk,nkc->nc", self.weights[on], corners)
        return out if values.ndim > 1 else out[..., 0]

    def enlarge(self, field: Image) -> Image:
        """Return a field over the grid, (rows, columns) or with channels, over the pixels."""
        height, width = self.covered.shape
        if field.shape[:2] == (height, width):
            return field
        big = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(big, np.float32)


def rasterise(
    mesh: Points,
    triangles: npt.NDArray[np.int64],
    shape: tuple[int, int],
    cells_per_px: float = 1.0,
) -> Raster:
    """Paint the triangles (t, 3) of a mesh (n, 3) far to near into a picture of `shape` (h, w).

    x, y in pixels, smaller z = nearer; parts outside the picture are cut off. cells_per_px (0..1):
    how fine the grid is; what varies slowly over a large face needs no cell per pixel. Raises
    ShapeError.
    """
    if mesh.ndim != 2 or mesh.shape[1] != 3 or not np.isfinite(mesh).all():
        raise ShapeError("mesh", actual=mesh.shape, expected="finite (n, 3)")
    if cells_per_px >= 1.0:
        index = _paint(mesh, triangles, np.full(shape, -1, np.int32))
        return Raster(index, _corner_weights(index, mesh, triangles), triangles, index >= 0)
    rows, columns = (max(round(side * cells_per_px), 2) for side in shape)
    small = mesh.astype(np.float64)
    small[:, :2] = (mesh[:, :2] + 0.5) * [columns / shape[1], rows / shape[0]] - 0.5
    index = _paint(small, triangles, np.full((rows, columns), -1, np.int32))
    covered = _paint(mesh, triangles, np.full(shape, -1, np.int32)) >= 0
    return Raster(index, _corner_weights(index, small, triangles), triangles, covered)


def _paint(
    mesh: Points, triangles: npt.NDArray[np.int64], index: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Return the picture of numbers (h, w) with the triangles painted in, far to near."""
    order = np.argsort(-mesh[triangles, 2].mean(1), kind="stable")
    corners = np.round(mesh[:, :2] * (1 << SUBPIXEL_BITS)).astype(np.int32)[triangles]
    for number in order.tolist():
        cv2.fillConvexPoly(index, corners[number], number, cv2.LINE_8, SUBPIXEL_BITS)
    return index


def _corner_weights(
    index: npt.NDArray[np.int32], mesh: Points, triangles: npt.NDArray[np.int64]
) -> Image:
    """Return barycentric weights; clipped to the triangle, as painted edges reach past it."""
    xy = mesh[:, :2].astype(np.float64)
    a, b, c = (xy[triangles[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    v, u = np.nonzero(index >= 0)
    k = index[v, u]
    px, py = u - a[k, 0], v - a[k, 1]
    wb = (px * ac[k, 1] - py * ac[k, 0]) / area[k]
    wc = (ab[k, 0] * py - ab[k, 1] * px) / area[k]
    part = np.clip(np.stack([1 - wb - wc, wb, wc], 1), 0.0, 1.0)
    weights = np.zeros((*index.shape, 3), np.float32)
    weights[v, u] = part / part.sum(1, keepdims=True)
    return weights


def pull(picture: Image, positions: Image) -> Image:
    """Return the picture seen through `positions` (h, w, 2): x, y in the picture for each pixel.

    Cubic; pixels that fall outside repeat the border.
    """
    x, y = (np.ascontiguousarray(positions[..., k], np.float32) for k in (0, 1))
    out = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def pull_some(picture: Image, positions: Image) -> Image:
    """Return what `pull` does for a list of positions (n, 2): (n,) or (n, c)."""
    count = len(positions)
    rows = -(-count // _LIST_COLUMNS)
    table = np.zeros((rows * _LIST_COLUMNS, 2), np.float32)
    table[:count] = positions
    pulled = pull(picture, table.reshape(rows, _LIST_COLUMNS, 2))
    return pulled.reshape(rows * _LIST_COLUMNS, *picture.shape[2:])[:count]


def smooth_positions(raster: Raster, points: Points, sigma_px: float) -> Image:
    """Return where each pixel finds its place among `points` (n, 2), one per mesh point: (h, w, 2).

    As `smooth_grid_positions`, over the pixels.
    """
    offset = raster.enlarge(_smooth_offsets(raster, points, sigma_px))
    return _add_places(offset, raster.covered.shape, (1.0, 1.0))


def smooth_grid_positions(raster: Raster, points: Points, sigma_px: float) -> Image:
    """Return where each cell of the grid finds its place among `points`: (rows, columns, 2).

    Blurred by a Gaussian inside the mesh, which takes the kinks at triangle edges out. What is
    blurred is the offset from the cell itself, over mesh cells only, so that the rim does not
    drift. Off the mesh they have no meaning. points and sigma_px are in pixels of the pictures.
    """
    offset = _smooth_offsets(raster, points, sigma_px)
    return _add_places(offset, raster.index.shape, raster.cells_per_px)


def _smooth_offsets(raster: Raster, points: Points, sigma_px: float) -> Image:
    """Return how far away each cell's place is, in pixels, float32 (rows, columns, 2)."""
    per_px = raster.cells_per_px
    offset = -_add_places(
        -raster.spread_over_grid(points[:, :2].astype(np.float32)), raster.index.shape, per_px
    )
    inside = (raster.index >= 0).astype(np.float32)
    offset *= inside[..., None]
    sigmas = sigma_px * per_px[0], sigma_px * per_px[1]
    weight = cv2.GaussianBlur(inside, (0, 0), sigmas[0], sigmaY=sigmas[1])
    total = cv2.GaussianBlur(offset, (0, 0), sigmas[0], sigmaY=sigmas[1])
    return np.asarray(total / np.maximum(weight, 1e-6)[..., None], np.float32)


def _add_places(offset: Image, shape: tuple[int, ...], per_px: tuple[float, float]) -> Image:
    """Add to (rows, columns, 2), in place, where in the picture each cell has its middle."""
    offset[..., 0] += (np.arange(shape[1], dtype=np.float32) + 0.5) / per_px[0] - 0.5
    offset[..., 1] += ((np.arange(shape[0], dtype=np.float32) + 0.5) / per_px[1] - 0.5)[:, None]
    return offset


def point_normals(mesh: Points, triangles: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the unit normal at each point, (n, 3); the third is the cosine to the view.

    1 = turned to the camera, below 0 = turned away.
    """
    a, b, c = (mesh[triangles[:, k]].astype(np.float64) for k in range(3))
    normal = np.cross(b - a, c - a)
    total = np.zeros((len(mesh), 3))
    for k in range(3):
        np.add.at(total, triangles[:, k], normal)
    out: npt.NDArray[np.float64] = total / np.maximum(
        np.linalg.norm(total, axis=1, keepdims=True), 1e-9
    )
    return out


def visibility(mesh: Points, triangles: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return how well each point of a mesh (n, 3) is seen, float32 (n,), 0..1.

    0: hidden behind another surface or turned away (GRAZING).
    """
    facing = _ramp(point_normals(mesh, triangles)[:, 2], GRAZING)
    return (facing * in_front(mesh, triangles)).astype(np.float32)


def texture_quality(
    source: Points, destination: Points, triangles: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return how well texture bears the way to the destination, float32 (n,), 0..1.

    0: stretched too far (STRETCH); both meshes (n, 3) in their own pictures.
    """
    have, need = (point_normals(mesh, triangles)[:, 2] for mesh in (source, destination))
    return _ramp(have / np.maximum(need, GRAZING[0]), STRETCH).astype(np.float32)


def _ramp(values: npt.NDArray[np.float64], limits: tuple[float, float]) -> npt.NDArray[np.float64]:
    low, high = limits
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def in_front(mesh: Points, triangles: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Depth test at 128 px: is each point (nearly) the nearest surface at its place? bool (n,)."""
    origin, width = mesh[:, :2].min(0), float(np.ptp(mesh[:, 0])) or 1.0
    scale = 128.0 / max(width, float(np.ptp(mesh[:, 1])))
    small = mesh.astype(np.float64)
    small[:, :2] = (mesh[:, :2] - origin) * scale
    raster = rasterise(small, triangles, (130, 130))
    depth = np.where(raster.covered, raster.spread(mesh[:, 2]), np.inf)
    x, y = np.clip(np.round(small[:, :2]).astype(np.int64), 0, 129).T
    return np.asarray(mesh[:, 2] <= depth[y, x] + DEPTH_SLACK * width)
