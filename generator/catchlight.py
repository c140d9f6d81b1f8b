"""The catchlight of an eye: where it is, what it adds to the iris, and the light it tells of.

A catchlight is what lies above Yen's threshold of the light that an iris shows beyond its own
(`cornea.bare_iris`): small, compact, clearly brighter, and not the white of the eye. The cornea is
a sphere, so the place of a catchlight gives the direction of the light and the other way round
[generator reference, section 7]. Refused, by returning None: everything that is no such spot.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator.cornea import Cornea, bare_iris, luminance
from generator.view import Bools, Image, Points

CORNEA_RADIUS = 1.32
"""In iris radii: 7.8 mm over 5.9 mm, anatomical means."""
AREA = (0.005, 0.15)
"""Share of the seen cornea; more is a veil and less is noise."""
MIN_CONTRAST = 30.0
"""Levels that the mean of a spot lies above the bare iris."""
MIN_FILL, MAX_LENGTH = 0.55, 3.5
"""A spot fills this much of the ellipse with its moments, and is at most so many times as long
as wide."""
OUTERMOST = 0.9
"""Iris radii: a spot whose middle lies further out is the white of the eye or the tear film."""
LOWEST = 0.85
"""Sine of 58 degrees: no light shines up so steeply, the lower lid's tear film does."""
EDGE = 0.1
"""A spot reaches out to this share of its peak."""
HALF, MAX_OUTSIDE = 0.5, 0.35
"""Of what is at least half as bright as a spot and joined to it, at most so much lies outside."""
SPREAD = 0.3
"""Iris radii around a spot in which weaker light that is joined to it belongs to it."""
STEPS = (0.0, 0.35, 0.6)
PALE, ADDED = 0.6, 0.25
"""Least over largest channel: a light patch of a blue iris measured .45 to .55, spots .66 to
.98."""
DEPTH = 0.2
"""Iris radii that a spot lies, on average, inside the seen cornea: the tear film on a lid
does not."""
TO_CAMERA = np.array([0.0, 0.0, 1.0])
MIN_SHARE = 0.2
"""Further spots count if they carry this share of the brightest one's light."""


@dataclass(frozen=True, slots=True, eq=False)
class Catchlight:
    """The catchlight of one cornea, in that cornea's crop.

    alpha: float32 (h, w), 0..1, how far it hides the iris; 1 where it is white. light: float32
    (h, w, 3), BGR levels premultiplied by alpha: `(1 - alpha) * bare iris + light` is the picture.
    centre: x, y of the main spot, pixels of the crop. area: of all spots, share of the seen cornea.
    peak: levels above the bare iris.
    """

    alpha: Image
    light: Image
    centre: Points
    area: float
    peak: float


def find_catchlight(crop: Image, cornea: Cornea) -> Catchlight | None:
    """Return the catchlight seen in a crop (BGR float32 (h, w, 3)) of a cornea, or None."""
    bare = bare_iris(crop, cornea, np.zeros(cornea.seen.shape, np.bool_))
    spots = find_spots(crop, bare, cornea)
    return _measure(crop, cornea, spots) if spots.any() else None


def yen_threshold(values: npt.NDArray[np.floating], bins: int = 64) -> float:
    """Return the threshold that parts values best by the correlation criterion of Yen (1995)."""
    counts, edges = np.histogram(values, bins)
    share = counts / max(int(counts.sum()), 1)
    below, squares = np.cumsum(share)[:-1], np.cumsum(share**2)[:-1]
    above = np.cumsum(share[::-1] ** 2)[::-1][1:]
    product = np.maximum(squares * above, 1e-12)
    score = 2 * np.log(np.maximum(below * (1 - below), 1e-12)) - np.log(product)
    return float(edges[int(np.argmax(score)) + 1])


def light_at(centre: Points, cornea: Cornea) -> Points:
    """Return the unit vector to the light that a catchlight at `centre` (x, y) tells of.

    x right, y down, z to the camera. Mirror law on the sphere: l = 2 (n.v) n - v, v = (0, 0, 1).
    """
    across = (centre - cornea.sphere) / (CORNEA_RADIUS * cornea.radius)
    length = float(np.hypot(*across))
    across = across * min(1.0, 0.98 / max(length, 1e-9))
    normal = np.array([*across, np.sqrt(1.0 - float(across @ across))])
    return np.asarray(2.0 * normal[2] * normal - TO_CAMERA, np.float64)


def place_of(light: Points, cornea: Cornea) -> Points:
    """Return where (x, y in the crop) a light (unit vector (3,)) is mirrored: normal ~ l + v."""
    half = light + TO_CAMERA
    normal = half / max(float(np.linalg.norm(half)), 1e-9)
    place: Points = cornea.sphere + CORNEA_RADIUS * cornea.radius * normal[:2]
    return place


def find_spots(crop: Image, bare: Image, cornea: Cornea, *, tinted: bool = False) -> Bools:
    """Return the pixels of the spots that count, bool (h, w).

    crop, bare: BGR float32 (h, w, 3), as it is and without highlights. tinted: a spot may have a
    colour, as in pictures whose irises were tinted. A lump that is no spot at Yen's threshold is
    looked at again nearer to its peak: two panes of a window run into each other further down.
    """
    inside = (cornea.seen > 0.5) & (cornea.away < 1.0)
    excess = luminance(crop) - luminance(bare)
    level = max(yen_threshold(excess[inside]), MIN_CONTRAST / 2)
    deep = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    top = float(excess[inside].max())
    good: list[Bools] = []
    left = inside.copy()
    for step in STEPS:
        bright = excess > level + step * max(top - level, 0.0)
        for spot in _lumps(bright & left, float(inside.sum())):
            if (
                _is_spot(spot, excess, cornea)
                and deep[spot].mean() > DEPTH * cornea.radius
                and (tinted or is_white(crop[spot], bare[spot]))
                and not _runs_out(spot, bright & (excess > HALF * excess[spot].mean()), inside)
            ):
                good.append(spot)
                left &= ~_widened(spot, 1)
    found = np.zeros(inside.shape, np.bool_)
    light = [float(excess[spot].sum()) for spot in good]
    for spot, amount in zip(good, light, strict=True):
        if amount >= MIN_SHARE * max(light):
            found |= spot
    return found


def is_white(seen: Image, bare: Image) -> bool:
    """Return whether a spot's pixels (n, 3) are pale, and so is what they add to the bare iris."""
    seen_bgr, added_bgr = seen.mean(0), (seen - bare).mean(0)
    pale = seen_bgr.min() > PALE * seen_bgr.max()
    return bool(pale and added_bgr.min() > ADDED * added_bgr.max())


def _lumps(bright: Bools, seen_px: float) -> list[Bools]:
    """Return the joined pixels that are as large as a spot may be."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA] / seen_px
    return [labels == k for k in range(1, count) if AREA[0] <= areas[k] <= AREA[1]]


def _widened(spot: Bools, by_px: int) -> Bools:
    side = 2 * by_px + 1
    return cv2.dilate(spot.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _is_spot(spot: Bools, excess: Image, cornea: Cornea) -> bool:
    """Return whether a lump is bright, compact, and where a light can be mirrored."""
    if excess[spot].mean() < MIN_CONTRAST:
        return False
    y, x = np.nonzero(spot)
    middle = np.array([x.mean(), y.mean()])
    if cornea.away[spot].mean() > OUTERMOST or light_at(middle, cornea)[1] > LOWEST:
        return False
    # Each pixel is a square of its own: 1/12 keeps the moments of one or two pixels finite.
    spread = np.cov(np.stack([x, y]), bias=True) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(spread)
    filled = len(x) / (4 * np.pi * np.sqrt(small * large))
    return bool(filled >= MIN_FILL and large <= MAX_LENGTH**2 * small)


def _runs_out(spot: Bools, bright: Bools, inside: Bools) -> bool:
    """Return whether a bright spot goes on beyond the cornea: it is white of the eye, or lid."""
    _, labels = cv2.connectedComponents((bright | spot).astype(np.uint8))
    whole = labels == labels[spot][0]
    return bool((whole & ~inside).sum() > MAX_OUTSIDE * whole.sum())


def _measure(crop: Image, cornea: Cornea, spots: Bools) -> Catchlight | None:
    """Return what the spots add to the iris beneath them, out to the foot of their light."""
    bare = bare_iris(crop, cornea, _widened(spots, 2))
    excess = luminance(crop) - luminance(bare)
    peak = float(excess[spots].max())
    if peak < MIN_CONTRAST:
        return None
    near = _widened(spots, round(max(SPREAD * cornea.radius, 1.0)))
    lit = near & (excess > EDGE * peak) & (cornea.seen > 0)
    _, labels = cv2.connectedComponents((lit | spots).astype(np.uint8))
    core = np.isin(labels, np.unique(labels[spots]))
    soft = cv2.GaussianBlur(core.astype(np.float32), (0, 0), 0.7)
    soft = np.where(core, 1.0, np.clip(2 * soft, 0.0, 1.0)) * (cornea.away < 1.1)
    room = np.maximum(255.0 - luminance(bare), 1.0)
    alpha = np.asarray(np.clip(excess / room, 0.0, 1.0) * soft, np.float32)
    light = alpha[..., None] * bare + soft[..., None] * (crop - bare) * (alpha > 0)[..., None]
    return Catchlight(
        alpha=alpha,
        light=np.asarray(light, np.float32),
        centre=_main_centre(spots, excess),
        area=float(spots.sum() / max(float(cornea.seen.sum()), 1e-6)),
        peak=peak,
    )


def _main_centre(spots: Bools, excess: Image) -> Points:
    """Return x, y of the spot that carries most light."""
    count, labels = cv2.connectedComponents(spots.astype(np.uint8))
    weights = [np.where(labels == number, np.maximum(excess, 0), 0) for number in range(1, count)]
    weight = max(weights, key=lambda each: float(each.sum()))
    y, x = np.indices(spots.shape)
    total = float(weight.sum())
    return np.array([(x * weight).sum() / total, (y * weight).sum() / total])
