"""The eyes of one result beside the target's: which of them count, and their catchlights.

Irises and lids are those the analyser finds in each picture by itself: nothing is taken over from
the swapper that is judged. An eye counts or not by the target alone, so every row has the same.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.generator.catchlight import Pair, Spot, find_spot, is_counted, two_eye_overlap
from generator import fit
from generator.faces import Face, Frame
from generator.laying import Layers
from generator.topology import LEFT_EYE, RIGHT_EYE, draw_outlines
from generator.view import mean_inside

LIDS: Final = (fit.RIGHT_LIDS, fit.LEFT_LIDS)
RINGS: Final = (list(RIGHT_EYE), list(LEFT_EYE))
NEAR_FRONTAL_DEG: Final = 15.0
"""Yaw beyond which two corneas do not mirror one light at one place."""

Spots = tuple[Spot | None, Spot | None]


def find_spots(frame: Frame, face: Face) -> Spots:
    """Return the catchlights of the right and the left eye of a face, None where there is none."""
    picture = frame.astype(np.float32)
    right, left = (
        find_spot(picture, face.iris[side, 0], iris_radius(face, side), face.mesh[RINGS[side], :2])
        for side in (0, 1)
    )
    return right, left


def iris_radius(face: Face, side: int) -> float:
    """Return the radius of an iris in pixels, at least a hundredth."""
    rim = face.iris[side, 1:] - face.iris[side, 0]
    return max(float(np.linalg.norm(rim, axis=1).mean()), 0.01)


def counted_eyes(target: Face, layers: Layers) -> tuple[bool, bool]:
    """Return of both eyes of a target whether they count; `layers` know what covers them."""
    openings = draw_outlines(layers.own_mesh).eyes
    right, left = (
        is_counted(
            iris_radius(target, side),
            fit.measure_opening(target.mesh, LIDS[side]),
            mean_inside(layers.cover, openings[side]),
        )
        for side in (0, 1)
    )
    return right, left


def eye_figures(
    output: Spots, target: Spots, counted: tuple[bool, bool], yaw_deg: float
) -> dict[str, Any]:
    """Return `eyes`, those that count; `excluded_eyes`, how many do not; `two_eyes`, where known.

    two_eyes: overlap of both eyes' spots minus the target's own, near-frontal heads alone.
    """
    pairs = [
        Pair(theirs, ours)
        for theirs, ours, counts in zip(target, output, counted, strict=True)
        if counts
    ]
    found: dict[str, Any] = {"eyes": pairs, "excluded_eyes": len(counted) - len(pairs)}
    own, made = two_eye_overlap(*target), two_eye_overlap(*output)
    frontal = all(counted) and abs(yaw_deg) <= NEAR_FRONTAL_DEG
    if frontal and own is not None and made is not None:
        found["two_eyes"] = made - own
    return found
