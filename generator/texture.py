"""What the pixels of one face say: is it large, sharp and well lit enough, and is it a screen?

Gives figures, and decides nothing by itself. A screen shows by its grid of lamps, where the camera
resolves it: one frequency then stands out of the face's spectrum. A blurred screen, a print and a
mirror show nothing of the kind, so an even spectrum says nothing. Reflections were looked for and
left out: no data at hand shows a face on glass.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from generator.faces import MESH_POINTS, FloatArray, Frame, require_array, require_frame

CHIP_PX = 128
"""Side of the square on which sharpness and light are read, whatever the size of the face."""

PATCH_PX = 128
"""Side of the square, in pixels of the frame itself, on which a grid is looked for."""

DARK, BRIGHT = 10, 245
"""Luma (0..255) outside of which a pixel holds no shape any more."""

_CORE = slice(CHIP_PX // 8, -CHIP_PX // 8)
# Below 20 cycles per patch lies the face itself, above 62 the corner that has no pixels.
_GRID_CYCLES = (20.0, 62.0)
_GRID_SMOOTH_PX = 3.0
_GRID_NEIGHBOURS = 9
_WINDOW = np.outer(np.hanning(PATCH_PX), np.hanning(PATCH_PX)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """Figures of one face in one frame.

    width_px: width of the mesh in pixels. sharpness: variance of the Laplacian over variance of
    luma, on a chip of one size, so that neither size nor light counts. brightness: mean luma,
    0..255. clipped: share of pixels (0..1) too dark or too bright to hold shape. grid: how far the
    strongest frequency stands out of its neighbours (1 = not at all); over 5 a grid is likely.
    """

    width_px: float
    sharpness: float
    brightness: float
    clipped: float
    grid: float


def quality_of(frame: Frame, mesh: FloatArray) -> FaceQuality:
    """Measure the face with `mesh` float32 (468, 3) in a BGR uint8 frame; raise ShapeError.

    Measured, median (smallest and largest): sharpness .33 (.19 to .85) on 40 studio photographs of
    people and .25 (.12 to .41) on 18 rendered views; .03 (.018 to .063) when those are blurred by
    3 px of 224; .013 to .067 on four filmed clips with faces of 56 to 68 px. Grid 3.0 (2.6 to 4.7)
    on 83 pictures and frames as they are and as JPEG down to quality 25; 4 to 18 on simulated
    screens whose grid the camera resolves, and like no screen on those it does not.
    """
    require_frame(frame)
    require_array(mesh, (MESH_POINTS, 3), "face mesh")
    luma = _chip(frame, mesh)[_CORE, _CORE].astype(np.float32)
    edges = cv2.Laplacian(luma, cv2.CV_32F)
    return FaceQuality(
        width_px=float(np.ptp(mesh[:, 0])),
        sharpness=float(edges.var() / max(float(luma.var()), 1.0)),
        brightness=float(luma.mean()),
        clipped=float(((luma < DARK) | (luma > BRIGHT)).mean()),
        grid=_grid_of(frame, mesh),
    )


def _chip(frame: Frame, mesh: FloatArray) -> Frame:
    """Return the luma of the face on a square of CHIP_PX; outside the frame it is black."""
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    half = max(float((high - low).max()) / 2, 1.0)
    scale = CHIP_PX / (2 * half)
    x0, y0, grey = _cut(frame, (low + high) / 2, half)
    if scale < 0.5:
        # Shrinking without this would turn skin into noise and read as sharp.
        grey = cv2.GaussianBlur(grey, (0, 0), 0.35 / scale).astype(np.uint8, copy=False)
    centre = (low + high) / 2 - (x0, y0)
    shift = CHIP_PX / 2 - scale * centre
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
    return cv2.warpAffine(grey, matrix, (CHIP_PX, CHIP_PX)).astype(np.uint8, copy=False)


def _cut(frame: Frame, centre: FloatArray, half: float) -> tuple[int, int, Frame]:
    """Return left, top and luma of the part of a frame around a point; at least one pixel."""
    height, width = frame.shape[:2]
    x0, x1 = _span(float(centre[0]), half, width)
    y0, y1 = _span(float(centre[1]), half, height)
    return x0, y0, cv2.cvtColor(frame[y0:y1, x0:x1], cv2.COLOR_BGR2GRAY).astype(np.uint8)


def _span(centre: float, half: float, length: int) -> tuple[int, int]:
    start = int(np.clip(centre - half, 0, length - 1))
    return start, int(np.clip(np.ceil(centre + half), start + 1, length))


def _grid_of(frame: Frame, mesh: FloatArray) -> float:
    """Return the prominence of the strongest fine frequency in the middle of the face."""
    _, _, cut = _cut(frame, mesh[:, :2].mean(axis=0), PATCH_PX / 2)
    luma = np.zeros((PATCH_PX, PATCH_PX), np.float32)
    height, width = (min(length, PATCH_PX) for length in cut.shape)
    luma[:height, :width] = cut[:height, :width]
    luma[:height, :width] -= cv2.GaussianBlur(luma[:height, :width], (0, 0), _GRID_SMOOTH_PX)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(luma * _WINDOW))).astype(np.float32)
    around = cv2.blur(spectrum, (_GRID_NEIGHBOURS, _GRID_NEIGHBOURS))
    axis = np.arange(PATCH_PX) - PATCH_PX // 2
    cycles = np.hypot(axis[:, None], axis[None, :])
    fine = (cycles > _GRID_CYCLES[0]) & (cycles < _GRID_CYCLES[1])
    return float((spectrum[fine] / np.maximum(around[fine], 1e-6)).max())
