"""One face in its own crop: Lab pixels, mesh and irises in crop pixels, and what covers it.

Works on pictures and measurements only; who may be laid over whom is decided in `generator.laying`.
Refused: faces that lie outside the picture (OutOfRange).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator import blend, colour, fit, warp
from generator.faces import Face, Frame
from generator.swapper import OutOfRange
from generator.topology import draw_outlines, load_topology

Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

MIN_FACE_SIDE_PX = 64.0
MARGIN = 0.3
"""How far a crop reaches around the mesh, in eye distances."""
COVER_UNIT_PX = 100.0
"""Covers are looked for at this many pixels per eye distance: fine enough for strands of hair."""
MIN_IRIS_PX = 3.0
"""Radius of an iris in pixels; a smaller one is not read."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One face in its own crop: Lab pixels, mesh and irises in crop pixels, what covers it.

    unit: the eye distance as it would be from the front, in pixels. origin: the crop's corner.
    """

    lab: Image
    mesh: Points
    iris: Points
    cover: Image
    unit: float
    origin: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.lab.shape[0], self.lab.shape[1]


def view_face(frame: Frame, face: Face, scale: float) -> View:
    """Cut one face out of a frame and look for what covers it.

    scale: wanted size over present size; only used to shrink, so that no texture aliases.
    """
    unit = unit_of(face.mesh)
    x0, y0, x1, y1 = _window(face.mesh, frame.shape, MARGIN * unit)
    part = frame[y0:y1, x0:x1]
    factor = np.ones(2)
    if scale < 0.8:
        wide, high = (max(round(side * scale), 8) for side in (x1 - x0, y1 - y0))
        factor = np.array([wide / (x1 - x0), high / (y1 - y0)])
        small = cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA)
        part = np.asarray(small, np.uint8)
    mesh = face.mesh.astype(np.float64)
    mesh[:, :2] = (mesh[:, :2] - [x0, y0] + 0.5) * factor - 0.5
    mesh[:, 2] *= factor.mean()
    iris = (face.iris.astype(np.float64) - [x0, y0] + 0.5) * factor - 0.5
    lab, unit = colour.to_lab(part), unit * float(factor.mean())
    return View(lab, mesh, iris, _cover_of(lab, mesh, unit), unit, (x0, y0))


def mean_inside(mask: Image, polygon: Points) -> float:
    """Return the mean of a mask (h, w) inside a polygon (n, 2)."""
    inside = blend.fill_polygons((mask.shape[0], mask.shape[1]), [polygon])
    return float((mask * inside).sum() / max(float(inside.sum()), 1e-6))


def contrast_inside(lab: Image, polygon: Points) -> float:
    """Return the span of lightness (10th to 90th percentile) inside a polygon, L units."""
    light = lab[..., 0][blend.fill_polygons((lab.shape[0], lab.shape[1]), [polygon]) > 0.5]
    if not len(light):
        return 0.0
    low, high = np.percentile(light, [10, 90])
    return float(high - low)


def unit_of(mesh: npt.NDArray[np.floating]) -> float:
    """Return the eye distance in pixels as it would be from the front (the neutral mesh has 1)."""
    return 1.0 / fit.fit_neutral(mesh).scale


def _cover_of(lab: Image, mesh: Points, unit: float) -> Image:
    """Return what covers a face, found on a small copy and brought back to size."""
    scale = min(1.0, COVER_UNIT_PX / unit)
    height, width = lab.shape[:2]
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    small = np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
    mesh = mesh * [size[0] / width, size[1] / height, scale]
    triangles, lines = load_topology().triangles, draw_outlines(mesh)
    raster = warp.rasterise(mesh, triangles, (size[1], size[0]))

    def within(*polygons: Points) -> Bools:
        return blend.fill_polygons((size[1], size[0]), list(polygons)) > 0.5

    cover = blend.find_cover(
        small,
        raster.spread(warp.point_normals(mesh, triangles)),
        inside=within(lines.oval),
        seeds=within(*lines.bare),
        parts=within(*lines.sockets, _swell(lines.lips, 1.15), lines.nose),
        unit_px=unit * scale,
    )
    back = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(back, np.float32)


def _swell(polygon: Points, factor: float) -> Points:
    centre = polygon.mean(0)
    out: Points = (polygon - centre) * factor + centre
    return out


def _window(
    mesh: npt.NDArray[np.floating], shape: tuple[int, ...], margin: float
) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 around a mesh, cut to the frame; raises OutOfRange when outside it."""
    low, high = mesh[:, :2].min(0) - margin, mesh[:, :2].max(0) + margin
    x0, y0 = (max(int(np.floor(value)), 0) for value in low)
    x1, y1 = (
        min(int(np.ceil(value)) + 1, side)
        for value, side in zip(high, (shape[1], shape[0]), strict=True)
    )
    if min(x1 - x0, y1 - y0) < MIN_FACE_SIDE_PX / 2:
        seen = float(min(x1 - x0, y1 - y0))
        raise OutOfRange(
            "the part of the face inside the picture (pixels)",
            measured=seen,
            limit=MIN_FACE_SIDE_PX / 2,
        )
    return x0, y0, x1, y1
