"""Fine detail in two pictures of one face: how much of it there is, and whether it is the same.

Haar bands of the luminance at three levels, on skin only. Energy alone rewards noise and halos, so
the coherence, the correlation of the bands, stands beside it, and unsharp masking as the rival that
any network has to beat [generator reference, section 12]. Nothing is shared with the losses that
`generator.train_detail` trains by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Bands = npt.NDArray[np.float64]

LEVELS: Final = 3
ERODED_PX: Final = 5
FEWEST: Final = 30
"""Coefficients of a level below which nothing is said about it."""
SILENT: Final = 1e-9
UNSHARP_PX, UNSHARP_AMOUNT = 1.0, 0.7


@dataclass(frozen=True, slots=True)
class Detail:
    """Per level, finest first: energy over the reference's, |log2| of that, band correlation.

    NaN where a level has too few coefficients, or its reference none at all.
    """

    ratio: tuple[float, ...]
    octaves: tuple[float, ...]
    coherence: tuple[float, ...]


def skin_mask(mask: Image, others: Sequence[npt.NDArray[np.floating]] = ()) -> Bools:
    """Return the mask (h, w), 0..1, without `others`, polygons (n, 2) of what is no skin, eroded.

    Eroded by 5 px, so that no band reaches over the edge of what was swapped.
    """
    skin = (mask > 0.99).astype(np.uint8)
    for polygon in others:
        cv2.fillPoly(skin, [np.round(polygon[:, :2]).astype(np.int32)], 0)
    reach = 2 * ERODED_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    eroded = cv2.erode(skin, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded > 0)


def compare_detail(output: Image, reference: Image, skin: Bools) -> Detail:
    """Return how the fine detail of a BGR picture (h, w, 3), 0..255, compares on skin (h, w)."""
    ratio, coherence = [], []
    ours, theirs, where = _luminance(output), _luminance(reference), skin
    for _ in range(LEVELS):
        (ours, mine), (theirs, wanted) = _haar(ours), _haar(theirs)
        where = _halve(where)
        a, b = mine[:, where], wanted[:, where]
        energy, wanted_energy = float((a * a).sum()), float((b * b).sum())
        known = where.sum() >= FEWEST and wanted_energy > SILENT
        ratio.append(energy / wanted_energy if known else float("nan"))
        both = float((a * b).sum()) / max(np.sqrt(energy * wanted_energy), SILENT)
        coherence.append(both if known else float("nan"))
    octaves = [abs(float(np.log2(max(r, SILENT)))) for r in ratio]
    return Detail(tuple(ratio), tuple(octaves), tuple(coherence))


def sharpen(
    picture: Image, mask: Image, amount: float = UNSHARP_AMOUNT, radius_px: float = UNSHARP_PX
) -> Image:
    """Return the picture (h, w, 3) after unsharp masking where the mask (h, w) is: the rival."""
    soft = cv2.GaussianBlur(picture, (0, 0), radius_px)
    sharp = picture + np.float32(amount) * mask[..., None] * (picture - soft)
    return np.asarray(np.clip(sharp, 0, 255), np.float32)


def _luminance(picture: Image) -> Bands:
    """Return the luma of BT.601 (h, w), as JPEG has it."""
    luma = picture.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
    return np.asarray(luma, np.float64)


def _haar(plane: Bands) -> tuple[Bands, Bands]:
    """Return the mean (h / 2, w / 2) and the three details (3, h / 2, w / 2); odd edges are cut."""
    height, width = (side // 2 * 2 for side in plane.shape)
    a, b = plane[0:height:2, 0:width:2], plane[0:height:2, 1:width:2]
    c, d = plane[1:height:2, 0:width:2], plane[1:height:2, 1:width:2]
    details = np.stack([a - b + c - d, a + b - c - d, a - b - c + d]) / 2
    return (a + b + c + d) / 2, details


def _halve(where: Bools) -> Bools:
    """Return which coefficients of the next level rest on skin alone."""
    height, width = (side // 2 * 2 for side in where.shape)
    quarters = where[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.asarray(quarters.all((1, 3)))
