"""Where a cornea is seen in a picture, and what its iris looks like without the light on it.

The visible cornea is the iris disc within the lids, less what covers it. `bare_iris` gives the
iris as it would be without a highlight: the median of each ring around the centre, with the slow
shading of what is seen around the gap. Refused, by returning None: eyes that are shut, covered,
cut off by the picture's edge, or too small to tell a highlight from a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from generator import blend
from generator.view import MIN_IRIS_PX, Bools, Image, Points

BEHIND = 0.71
"""Iris radii from the iris back to the centre of the cornea: (7.8 - 3.6) mm over 5.9 mm."""
REACH = 1.25
"""Half a side of the crop around an eye, in iris radii."""
MIN_SEEN = 0.3
"""Share of the iris disc that must be seen; an eye looking straight ahead shows .6 to .9."""
RING_PX = 1.5
MAX_RINGS = 10
FINE_PX = 8.0
"""An iris of this radius is measured at every pixel, a larger one at fewer."""
INNERMOST = 0.35
"""Iris radii: one ring up to here, so that no catchlight in the middle can fill it."""
SHADING = 0.3
"""Width (sigma) of the shading that is carried into a gap, in iris radii."""


@dataclass(frozen=True, slots=True, eq=False)
class Cornea:
    """One visible cornea in its own crop of a picture.

    centre: x, y of the iris centre in pixels of the crop, float64 (2,). radius: of the iris,
    pixels. sphere: x, y of the centre of the corneal sphere, which lies behind the iris. seen:
    float32 (h, w), 0..1, how much of each pixel is cornea that is seen. away: float32 (h, w),
    distance from the centre in iris radii. origin: x, y of the crop in the picture.
    """

    centre: Points
    radius: float
    sphere: Points
    seen: Image
    away: Image
    origin: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the crop in its picture."""
        (x0, y0), (height, width) = self.origin, self.seen.shape
        return slice(y0, y0 + height), slice(x0, x0 + width)


def cut_cornea(
    centre: Points, radius: float, lids: Points, cover: Image, *, facing: Points
) -> Cornea | None:
    """Return the cornea around an iris, or None if too little of it is seen.

    centre: x, y of the iris, `radius` in pixels; lids: the opening, polygon (n, 2); cover: float32
    (h, w) of the whole picture, 1 = covered. facing: x, y of the unit vector along which the eye
    looks; (0, 0) = into the camera.
    """
    if not (np.isfinite(centre).all() and np.isfinite(lids).all() and radius >= MIN_IRIS_PX):
        return None
    height, width = cover.shape
    low = np.maximum(np.floor(centre - REACH * radius), 0).astype(np.int64)
    high = np.minimum(np.ceil(centre + REACH * radius) + 1, [width, height]).astype(np.int64)
    if (high - low < 2).any():
        return None
    (x0, y0), (x1, y1) = low.tolist(), high.tolist()
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    away = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    opening = blend.fill_polygons((y1 - y0, x1 - x0), [lids - low])
    disc = np.clip(radius + 0.5 - away, 0.0, 1.0)
    seen = np.asarray(disc * opening * (1.0 - cover[y0:y1, x0:x1]), np.float32)
    if float(seen.sum()) < MIN_SEEN * np.pi * radius**2:
        return None
    sphere = centre - low - BEHIND * radius * facing
    return Cornea(
        centre - low, radius, sphere, seen, np.asarray(away / radius, np.float32), (x0, y0)
    )


def bare_iris(crop: Image, cornea: Cornea, lit: Bools) -> Image:
    """Return the iris (h, w, 3) as it would be without its highlights, in the levels of `crop`.

    crop: BGR float32 (h, w, 3), the window of `cornea`; lit: pixels that must not be believed.
    """
    plain = (cornea.seen > 0.5) & ~lit
    rings = int(np.clip(cornea.radius / RING_PX, 2, MAX_RINGS))
    step = max(int(cornea.radius / FINE_PX), 1)
    few = np.s_[::step, ::step]
    pixels, away = crop[few][plain[few]], cornea.away[few][plain[few]]
    ring = np.clip((away * rings).astype(np.int64), int(INNERMOST * rings), rings - 1)
    middles, medians = [], []
    for number in range(rings):
        here = pixels[ring == number]
        if len(here) >= 3:
            middles.append((number + 0.5) / rings)
            ranked = np.sort(here, axis=0)
            medians.append((ranked[(len(here) - 1) // 2] + ranked[len(here) // 2]) / 2)
    if not middles:
        return crop.copy()
    levels = np.asarray(medians, np.float64)
    radial = np.stack([np.interp(cornea.away, middles, levels[:, k]) for k in range(3)], 2)
    weight = plain.astype(np.float32)
    rest = np.asarray((crop - radial) * weight[..., None], np.float32)
    sigma = SHADING * cornea.radius
    slow = blend.soften(rest, sigma) / (blend.soften(weight, sigma) + 0.02)[..., None]
    return np.asarray(np.clip(radial + slow, 0.0, 255.0), np.float32)


def luminance(picture: Image) -> Image:
    """Return the luma (BT.601) of BGR levels (h, w, 3), float32 (h, w)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.float32)
