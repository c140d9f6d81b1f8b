"""The eyes of one face in its crop: where iris and white show, and how like the two eyes are.

Irises of a target are tinted here towards a source's: both eyes together, so that they stay a pair,
and only where a pixel looks like iris (`generator.colour`). Works on views; who may be laid over
whom is decided in `generator.laying`. Nothing is refused: an eye that is too small or too far shut
to be read stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from generator import blend, colour, fit, warp
from generator.topology import draw_outlines
from generator.view import MIN_IRIS_PX, Image, View

IRIS_REACH, LID_SOFTNESS = 1.15, 0.2
"""In iris radii: how far from its centre an iris is looked for, and how softly it ends at lids."""
MIN_TINT_OPENING = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class EyeMasks:
    """The visible iris and the white of one eye, float32 (h, w) 0..1, in a window of the crop.

    reach: where iris may lie: somewhat further than measured, soft, and off the lids.
    """

    window: tuple[slice, slice]
    iris: Image
    white: Image
    reach: Image


def eye_masks(view: View, side: int) -> EyeMasks | None:
    """Return where one eye shows its iris and its white; None if the iris is too small."""
    centre, rim = view.iris[side, 0], view.iris[side, 1:]
    radius = float(np.linalg.norm(rim - centre, axis=1).mean())
    lids = draw_outlines(view.mesh).eyes[side]
    x0, y0 = (max(int(low) - 2, 0) for low in lids.min(0))
    x1, y1 = (min(int(high) + 3, n) for high, n in zip(lids.max(0), view.shape[::-1], strict=True))
    if radius < MIN_IRIS_PX or min(x1 - x0, y1 - y0) < 1:
        return None
    opening = blend.fill_polygons((y1 - y0, x1 - x0), [lids - [x0, y0]])
    window = np.s_[y0:y1, x0:x1]
    opening *= 1.0 - view.cover[window]
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    soft = max(0.12 * radius, 0.7)
    iris = blend.smooth_step((radius - distance) / soft + 0.5) * opening
    off_lids = blend.feather(opening > 0.5, 0.25 * LID_SOFTNESS * radius, LID_SOFTNESS * radius)
    reach = blend.smooth_step((IRIS_REACH * radius - distance) / (2 * soft) + 0.5) * off_lids
    return EyeMasks(window, iris, opening * (distance > 1.15 * radius), reach * opening)


def eye_likeness(view: View) -> float:
    """Return how like the two eyes with lids and lashes are in light and dark, -1..1.

    The correlation of lightness in two patches that follow the corners of the eyes, one of them
    mirrored. Hair of whatever colour over one eye makes them unlike.
    """
    patches = []
    for outer, inner in ((33, 133), (263, 362)):
        start = view.mesh[outer, :2]
        along = view.mesh[inner, :2] - start
        across = np.array([-along[1], along[0]]) * (1.0 if outer == 33 else -1.0)
        u, v = np.meshgrid(np.linspace(-0.15, 1.15, 40), np.linspace(-0.5, 0.5, 32))
        places = start + u[..., None] * along + v[..., None] * across
        light = warp.pull(np.ascontiguousarray(view.lab[..., 0]), places.astype(np.float32))
        patches.append(blend.soften(light, 1.5).ravel())
    first, second = (patch - patch.mean() for patch in patches)
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / max(size, 1.0)


def tint_irises(target: View, source: View) -> Image:
    """Return the target's Lab picture with its irises in the source's colour, where measurable."""
    pairs = []
    for side, lids in enumerate((fit.RIGHT_LIDS, fit.LEFT_LIDS)):
        openings = [fit.measure_opening(view.mesh, lids) for view in (target, source)]
        theirs, ours = eye_masks(source, side), eye_masks(target, side)
        if theirs and ours and min(openings) >= MIN_TINT_OPENING:
            pairs.append((theirs, ours))
    other = colour.read_eyes([(source.lab[eye.window], eye.iris, eye.white) for eye, _ in pairs])
    own = colour.read_eyes([(target.lab[eye.window], eye.iris, eye.white) for _, eye in pairs])
    if not other or not own:
        return target.lab
    lab = target.lab.copy()
    for _, eye in pairs:
        lab[eye.window] = colour.tint_iris(lab[eye.window], own, eye.reach, other)
    return lab
