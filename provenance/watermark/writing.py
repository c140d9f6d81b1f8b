"""How strongly a picture is marked, and how the pattern is added to its pixels.

Decides the strength from the picture itself: the part in the middle is marked at 42 dB and coded as
a poor JPEG, and what is left of the mark there says how much more, or less, it takes. Strength
moves without steps, so that frames of a clip do not flicker. Never below 40 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from provenance.pixels import Frame
from provenance.watermark.pattern import TILE_PX, Plane

REFERENCE_DB: Final = 42.0
LEAST_DB: Final = 40.4
MOST_DB: Final = 44.0
PROOF_PX: Final = 640
"""Side of the part on which strength is tried."""

_PROOF_QUALITY: Final = 20
_FLOOR_MSE: Final = 255.0**2 / 1e4
"""What 40 dB means."""
_SAMPLE: Final = 400_000
"""Pixels on which strength is found; the floor is held whatever they say, by the plane's power."""
_ROUNDING: Final = 1 / 12
_SPARE: Final = 0.02
"""What rounding may cost beyond 1/12 of a grey level squared."""


def lay_tile(tile: Plane, capacity: Plane) -> Plane:
    """Repeat a tile over a picture, each place as strong as it takes: float32 (h, w)."""
    height, width = capacity.shape
    rows, columns = np.arange(height) % TILE_PX, np.arange(width) % TILE_PX
    return np.asarray(tile[rows][:, columns] * capacity, np.float32)


def choose_psnr(
    image: Frame, plane: Plane, *, heard: Callable[[Frame], float], need: float
) -> float:
    """Return the PSNR in dB at which `heard` should give `need` after a poor JPEG copy.

    `heard(part)` is the statistic of the mark in a copy of the middle part, BGR uint8; it is about
    proportional to the strength. 40.4 to 44.
    """
    rows, columns = (_middle(n) for n in plane.shape)
    part = np.ascontiguousarray(image[rows, columns])
    copy = recode_as_jpeg(add_at(part, plane[rows, columns], REFERENCE_DB), _PROOF_QUALITY)
    statistic = heard(copy)
    if not statistic > 0.0:
        return LEAST_DB
    return float(np.clip(REFERENCE_DB + 20 * math.log10(statistic / need), LEAST_DB, MOST_DB))


def add_at(image: Frame, plane: Plane, psnr_db: float) -> Frame:
    """Return BGR uint8 `image` plus the plane, at the strength that costs `psnr_db`.

    Where clipping eats the mark, strength elsewhere is not raised beyond what 40 dB means there.
    """
    target = 255.0**2 / 10 ** (psnr_db / 10)
    power = max(float(np.mean(np.square(plane), dtype=np.float64)), 1e-12)
    gain, cap = (math.sqrt((mse - _ROUNDING) / power) for mse in (target, _FLOOR_MSE - _SPARE))
    rows = _sample_rows(*plane.shape)
    part, pattern = np.ascontiguousarray(image[rows]), plane[rows]
    for _ in range(3):
        error = mean_square(_add(part, pattern, gain), part)
        gain = min(cap, gain * math.sqrt((target - _ROUNDING) / max(error - _ROUNDING, 1e-3)))
    return _add(image, plane, gain)


def recode_as_jpeg(image: Frame, quality: int) -> Frame:
    """Return a JPEG copy (4:2:0) of BGR uint8."""
    coded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def mean_square(a: Frame, b: Frame) -> float:
    """Return the mean squared difference of two pictures, in grey levels squared."""
    difference = cv2.absdiff(a, b).reshape(-1).astype(np.float32)
    return float(np.vdot(difference, difference)) / difference.size


def _sample_rows(height: int, width: int) -> npt.NDArray[np.intp]:
    """Return rows spread by the golden ratio, so that no stripes of a picture fall in step."""
    count = min(height, max(1, _SAMPLE // width))
    return np.unique((np.arange(count) * 0.6180339887 % 1.0 * height).astype(np.intp))


def _middle(length: int) -> slice:
    """Return the middle of a side, at most 640 px, from a whole tile on."""
    start = max(0, (length - PROOF_PX) // 2 // TILE_PX * TILE_PX)
    return slice(start, start + PROOF_PX)


def _add(image: Frame, plane: Plane, gain: float) -> Frame:
    # The change is rounded, not the sum: all three channels move by the same whole step.
    change = np.rint(gain * plane).astype(np.int16)
    return np.asarray(cv2.add(image, cv2.merge([change] * 3), dtype=cv2.CV_8U), np.uint8)
