"""Catchlights in two pictures of one eye: present or not, where, how large, how bright.

The spot is found by a morphological top-hat on the whitest part of the pixels, in a frame that is
fixed to the iris; nothing is shared with the search in `generator.catchlight`, which it judges. A
rate without its exclusion rules means nothing, so `is_counted` states them and `Score` prints how
many eyes they left out [generator reference, section 12].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Points = npt.NDArray[np.floating]

RADIUS: Final = 32
"""Pixels of an iris radius in the fixed frame, whose side is three radii."""
SIDE: Final = 3 * RADIUS
MIN_CORNEA_PX: Final = 12.0
CORNEA_RADIUS: Final = 1.32
"""Of the corneal sphere, in iris radii."""
MIN_OPENING: Final = 0.2
WIDEST: Final = 0.9
"""Iris radii across: what is wider than this is no spot."""
MIN_PEAK: Final = 40.0
"""Levels of the least channel above what surrounds it."""
AREA: Final = (0.003, 0.2)
"""Share of the iris disc at half the peak."""
OUTERMOST: Final = 0.8
LOWEST: Final = 0.6
"""Iris radii below the iris centre: further down it is the tear film on the lid that shines."""
PALEST: Final = 0.6
"""Least over largest channel of a spot; skin in the corner of an eye measured .5 to .6."""


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A catchlight: centre x, y in iris radii from the iris centre, area at half its peak as a
    share of the iris disc, peak in levels, and that area as bool (SIDE, SIDE)."""

    centre: npt.NDArray[np.float64]
    area: float
    peak: float
    mask: Bools


@dataclass(frozen=True, slots=True)
class Pair:
    """One eye in the target and in an output."""

    target: Spot | None
    output: Spot | None


@dataclass(frozen=True, slots=True)
class Score:
    """Presence against the target, and medians over the eyes that have a spot in both.

    `position` and its 95th percentile in iris radii; `area`, `peak`: output over target.
    """

    eyes: int
    excluded: int
    present: int
    f1: float
    precision: float
    recall: float
    position: float
    position_p95: float
    area: float
    peak: float


def is_counted(radius_px: float, opening: float, covered: float) -> bool:
    """Return whether an eye counts: cornea 12 px and more, lids open by .2, not covered.

    radius_px: of the iris; opening: lid gap over eye width; covered: share 0..1 of the opening.
    """
    return CORNEA_RADIUS * radius_px >= MIN_CORNEA_PX and opening > MIN_OPENING and covered < 0.3


def find_spot(
    picture: npt.NDArray[np.floating], centre: Points, radius: float, lids: Points
) -> Spot | None:
    """Return the brightest catchlight of an iris in a BGR picture (h, w, 3) of 0..255, or None.

    centre: x, y, and `radius` in pixels; lids: the opening, polygon (n, 2).
    """
    scale = RADIUS / radius
    begin = SIDE / 2 - scale * np.asarray(centre, np.float64)
    matrix = np.column_stack([np.eye(2) * scale, begin])
    least = np.ascontiguousarray(picture.min(2), np.float32)
    frame = cv2.warpAffine(least, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
    side = round(WIDEST * RADIUS) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hat = cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, kernel)
    inside = _inside(matrix, lids)
    top = np.where(inside, hat, 0)
    peak = float(top.max())
    if peak < MIN_PEAK:
        return None
    _, labels = cv2.connectedComponents((hat > peak / 2).astype(np.uint8))
    mask = labels == labels[np.unravel_index(int(top.argmax()), top.shape)]
    area = float(mask.sum()) / (np.pi * RADIUS**2)
    colour = cv2.warpAffine(picture, matrix, (SIDE, SIDE))[mask].mean(0)
    if not AREA[0] <= area <= AREA[1] or inside[mask].mean() < 0.5:
        return None
    if (
        colour.min() < PALEST * colour.max()
        or (np.nonzero(mask)[0].mean() / SIDE - 0.5) * 3 > LOWEST
    ):
        return None
    y, x = np.nonzero(mask)
    weight = hat[mask]
    middle = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    return Spot((middle - SIDE / 2) / RADIUS, area, peak, mask)


def _inside(matrix: npt.NDArray[np.float64], lids: Points) -> Bools:
    opening = np.zeros((SIDE, SIDE), np.uint8)
    polygon = np.asarray(lids, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    cv2.fillPoly(opening, [np.round(polygon).astype(np.int32)], 1)
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2
    return np.asarray((opening > 0) & (np.hypot(x, y) < OUTERMOST * RADIUS))


def two_eye_overlap(right: Spot | None, left: Spot | None) -> float | None:
    """Return the overlap (IoU) of two eyes' spots, laid iris on iris; None if one has none.

    The measure of Hu, Li and Lyu (arXiv 2009.11924); subtract the target's own.
    """
    if right is None or left is None:
        return None
    return float((right.mask & left.mask).sum() / (right.mask | left.mask).sum())


def score(pairs: Iterable[Pair], *, excluded: int = 0) -> Score:
    """Return presence, position, area and peak over the eyes that count."""
    pairs = list(pairs)
    both = [(p.target, p.output) for p in pairs if p.target is not None and p.output is not None]
    present = sum(p.target is not None for p in pairs)
    claimed = sum(p.output is not None for p in pairs)
    apart = [float(np.linalg.norm(t.centre - o.centre)) for t, o in both]
    return Score(
        eyes=len(pairs),
        excluded=excluded,
        present=present,
        f1=2 * len(both) / max(present + claimed, 1) if present + claimed else 1.0,
        precision=len(both) / claimed if claimed else 1.0,
        recall=len(both) / present if present else 1.0,
        position=_middle(apart),
        position_p95=float(np.percentile(apart, 95)) if apart else float("nan"),
        area=_middle([o.area / t.area for t, o in both]),
        peak=_middle([o.peak / t.peak for t, o in both]),
    )


def _middle(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")
