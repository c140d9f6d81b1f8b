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


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Which triangle covers each pixel: index int32 (h, w), -1 outside; corner weights (h, w, 3).

    Weights are float32, sum to 1 where a triangle is, and are 0 elsewhere.
    """

    index: npt.NDArray[np.int32]
    weights: Image
    triangles: npt.NDArray[np.int64]

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """Pixels that lie on the mesh, bool (h, w)."""
        return self.index >= 0

    def spread(self, values: npt.NDArray[np.floating]) -> Image:
        """Interpolate one value per point, (n,) or (n, c), over the pixels: (h, w) or (h, w, c)."""
        flat = values.reshape(len(values), -1).astype(np.float32)
        corners = flat[self.triangles[np.maximum(self.index, 0)]]
        out = np.einsum("hwk,hwkc->hwc", self.weights, corners)
        return np.asarray(out if values.ndim > 1 else out[..., 0], np.float32)


def rasterise(mesh: Points, triangles: npt.NDArray[np.int64], shape: tuple[int, int]) -> Raster:
    """Paint the triangles (t, 3) of a mesh (n, 3) far to near into a picture of `shape` (h, w).

    x, y in pixels, smaller z = nearer; parts outside the picture are cut off. Raises ShapeError.
    """
    if mesh.ndim != 2 or mesh.shape[1] != 3 or not np.isfinite(mesh).all():
        raise ShapeError("mesh", actual=mesh.shape, expected="finite (n, 3)")
    index = np.full(shape, -1, np.int32)
    order = np.argsort(-mesh[triangles, 2].mean(1), kind="stable")
    corners = np.round(mesh[:, :2] * (1 << SUBPIXEL_BITS)).astype(np.int32)[triangles]
    for number in order.tolist():
        cv2.fillConvexPoly(index, corners[number], number, cv2.LINE_8, SUBPIXEL_BITS)
    return Raster(index, _corner_weights(index, mesh, triangles), triangles)


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


def smooth_positions(raster: Raster, positions: Image, sigma_px: float) -> Image:
    """Blur positions (h, w, 2) inside the mesh: takes the kinks at triangle edges out.

    What is blurred is the offset from the pixel itself, over mesh pixels only, so that the rim
    does not drift.
    """
    height, width = raster.index.shape
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32)
    inside = raster.covered.astype(np.float32)
    offset = (positions - here) * inside[..., None]
    weight = cv2.GaussianBlur(inside, (0, 0), sigma_px)
    total = cv2.GaussianBlur(offset, (0, 0), sigma_px)
    smooth = here + total / np.maximum(weight, 1e-6)[..., None]
    out: Image = np.where(inside[..., None] > 0, smooth, positions).astype(np.float32)
    return out


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


def texture_quality(
    source: Points, destination: Points, triangles: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return how well each point of the source mesh can lend texture, float32 (n,), 0 .. 1.

    0: hidden behind another surface, turned away, or stretched too far (STRETCH) on its way to the
    destination mesh; both meshes (n, 3) in their own pictures.
    """
    have, need = (point_normals(mesh, triangles)[:, 2] for mesh in (source, destination))
    kept = _ramp(have / np.maximum(need, GRAZING[0]), STRETCH) * _ramp(have, GRAZING)
    return (kept * in_front(source, triangles)).astype(np.float32)


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
