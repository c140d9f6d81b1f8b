"""What a swapped video does over time that its target does not: jitter, shimmer, drift, flicker.

Pure functions on frames and landmarks; nothing is swapped or loaded here. Frames are BGR uint8
(h, w, 3), all of one size, in order; a caller compares a figure of the output with the same figure
of the target. Refused (ValueError): rows too short or of different lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]

EYE_CORNERS = (33, 263)
"""Outer eye corners in the mesh of 468 points: their distance in space is the unit of length."""

CELLS = 8
"""Colour flicker is read on so many by so many cells of a face: lighting, not texture."""


def second_difference(meshes: Floats, unit: Floats | float | None = None) -> float:
    """Return the mean length of the second difference in time of points (t, n, 2 or 3).

    Of x and y alone, over `unit` (pixels); left out, the median distance of the outer eye corners
    of meshes (t, 468, 3). 0 for points that rest or move evenly.
    """
    points = np.asarray(meshes, np.float64)
    if points.ndim != 3 or len(points) < 3:
        raise ValueError("a second difference needs three frames of points")
    if unit is None:
        one, other = EYE_CORNERS
        unit = float(np.median(np.linalg.norm(points[:, one] - points[:, other], axis=1)))
    bend = np.diff(points[..., :2], n=2, axis=0)
    return float(np.linalg.norm(bend, axis=-1).mean() / np.mean(unit))


def extra_jitter(output: Floats, target: Floats) -> float:
    """Return the second difference of an output's meshes (t, 468, 3) minus the target's.

    In eye distances of the target; below 0 the output is calmer than its target.
    """
    if np.shape(output) != np.shape(target):
        raise ValueError("output and target need the same frames")
    one, other = EYE_CORNERS
    points = np.asarray(target, np.float64)
    unit = float(np.median(np.linalg.norm(points[:, one] - points[:, other], axis=1)))
    return second_difference(output, unit) - second_difference(target, unit)


def flow_between(before: Frame, now: Frame) -> tuple[Floats, Bools]:
    """Return where each pixel of `now` was `before`, float32 (h, w, 2), and where that is known.

    Dense inverse search (DIS, medium); known = forward and backward flow agree,
    |f + b|^2 <= .01 (|f|^2 + |b|^2) + .5 [generator reference, section 9], and inside of the frame.
    """
    grey = [
        np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8) for frame in (before, now)
    ]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    none = np.zeros((*grey[0].shape, 2), np.float32)
    back = np.asarray(search.calc(grey[1], grey[0], none.copy()), np.float32)
    forth = np.asarray(search.calc(grey[0], grey[1], none.copy()), np.float32)
    x, y = _places(back)
    met = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    apart = ((back + met) ** 2).sum(axis=-1)
    size = (back**2).sum(axis=-1) + (met**2).sum(axis=-1)
    height, width = back.shape[:2]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return back, np.asarray((apart <= 0.01 * size + 0.5) & inside)


def warped_l1(
    frames: Sequence[Frame], target: Sequence[Frame], masks: Sequence[Floats] | None = None
) -> float:
    """Return the mean absolute difference of each frame to the one before moved onto it, 0..255.

    The flow is the target's, so that what the swap makes shimmer counts; only where the flow is
    known, and where `masks` (h, w), 0..1, of the later frame are above 0. 0 where nothing is left.
    """
    if len(frames) < 2 or len(frames) != len(target) or len(masks or target) != len(frames):
        raise ValueError("a warped difference needs two frames, and as many of the target")
    total = weight = 0.0
    for n in range(1, len(frames)):
        flow, known = flow_between(target[n - 1], target[n])
        x, y = _places(flow)
        moved = cv2.remap(frames[n - 1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        apart = np.abs(frames[n].astype(np.float32) - moved.astype(np.float32)).mean(axis=-1)
        share = known.astype(np.float64) * (1.0 if masks is None else masks[n])
        total += float((apart * share).sum())
        weight += float(share.sum())
    return total / weight if weight else 0.0


def identity_spread(vectors: Floats) -> float:
    """Return the standard deviation of identity vectors (t, d): the rms distance to their mean."""
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError("a spread needs two vectors")
    return float(np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean()))


def colour_flicker(frames: Sequence[Frame], boxes: Sequence[Box]) -> float:
    """Return the rms second difference in time of a face's coarse colours, in CIELAB units.

    `boxes`: where the face is, x0, y0, x1, y1 in pixels, cut to the frame; each is averaged to
    CELLS x CELLS colours, so that moving texture does not count. 0 for light that changes evenly.
    """
    if len(frames) < 3 or len(frames) != len(boxes):
        raise ValueError("flicker needs three frames, and a box for each")
    cells = np.stack([_cells(frame, box) for frame, box in zip(frames, boxes, strict=True)])
    return float(np.sqrt((np.diff(cells, n=2, axis=0) ** 2).sum(axis=-1).mean()))


def _cells(frame: Frame, box: Box) -> Floats:
    height, width = frame.shape[:2]
    x0, x1 = (int(np.clip(round(value), 0, width)) for value in (box[0], box[2]))
    y0, y1 = (int(np.clip(round(value), 0, height)) for value in (box[1], box[3]))
    if x1 - x0 < CELLS or y1 - y0 < CELLS:
        raise ValueError(f"a face of {x1 - x0} x {y1 - y0} pixels is too small for {CELLS} cells")
    part = frame[y0:y1, x0:x1].astype(np.float32) / 255
    small = cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2LAB), np.float64)


def _places(flow: Floats) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(x + flow[..., 0], np.float32), np.asarray(y + flow[..., 1], np.float32)
