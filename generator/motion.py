"""How a head moves through a video: turns, a lifted chin, closed eyes, and whether it has depth.

Decides which of the challenge's movements a row of analysed frames shows, in which order, each
relative to the person's own resting face. A blink of ordinary length is no step: people blink by
themselves. Depth is read from the mesh: a photograph that is turned stays in one plane and grows
narrow, a head that is turned does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from generator.faces import Face, FloatArray
from generator.landmarks import CHIN, FOREHEAD
from generator.texture import FaceQuality
from policies.challenge import Step

# Corner, two on the upper lid, corner, two on the lower lid: the six points of the eye aspect ratio
# (Soukupova and Cech, 2016) in the mesh's numbering; right is the person's own.
RIGHT_LIDS = (33, 160, 158, 133, 153, 144)
LEFT_LIDS = (362, 385, 387, 263, 373, 380)

# Bone and gristle, on which no expression works: eye corners, bridge, tip and wings of the nose.
RIGID = (33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358)

FRONTAL_DEGREES = 12.0
"""How far a resting face may be turned; 72 people asked to look straight: 7.5 at most (measured).
A picture of a face already turned, held askew, can be made to look straight."""

TURN_DEGREES, BACK_DEGREES = 18.0, 12.0
"""A turn begins and ends here, away from rest. Measured: a rendered head swung by 24 degrees reads
as 24. A picture of a face is hard to swing: 24 rendered pictures, flat or bent round by 46 or 80
degrees, held at -55 to 55 degrees, swing by 29 degrees at most between any two places, by 24 where
the face keeps its shape. So none of them turns by 18 to both sides of one rest. To one side some
bent ones do (12 of 48, with depth and shape kept), and none of the 24 flat ones."""

UP_DEGREES, LEVEL_DEGREES = 12.0, 8.0
"""A lifted chin begins and ends here. Measured: between stills of one rendered person (130 pairs)
pitch follows the truth by .9 with a spread of 4.5 degrees; it drifts by up to 7 while a level head
turns (rendered clip). Whoever lifts the chin by 20 degrees is seen."""

CLOSED_SHARE, OPEN_SHARE = 0.5, 0.7
"""Opening of the wider eye, as a share of the same eye at rest. Rendered clip: .27 to .39 in its
two blinks, .90 to 1.28 otherwise, over turns of 24 degrees; three filmed clips without closed eyes:
.62 or more."""

CLOSED_SECONDS = 0.4
"""Blinks last .1 to .4 s; whoever closes the eyes on request stays longer."""

HELD_SAMPLES = 2
"""One sample alone may be a slip of the mesh."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One analysed frame: seconds since the first one, its only face, what its pixels say."""

    at: float
    face: Face
    quality: FaceQuality


@dataclass(frozen=True, slots=True)
class Rest:
    """The person's own face at rest: degrees, eye openings, and the most frontal sample."""

    yaw: float
    pitch: float
    right_open: float
    left_open: float
    sample: Sample


@dataclass(frozen=True, slots=True)
class Seen:
    """One movement: which, from when to when in seconds, and the samples in between."""

    step: Step
    began: float
    ended: float
    samples: tuple[Sample, ...]


def eye_openings(mesh: FloatArray) -> tuple[float, float]:
    """Return the aspect ratios of the right and the left eye of a mesh (468, 3), in 3-D.

    About .3 when open, under .12 when closed; .18 to .39 on 144 photographs with open eyes.
    """
    return _aspect(mesh, RIGHT_LIDS), _aspect(mesh, LEFT_LIDS)


def rest_of(samples: Sequence[Sample]) -> Rest | None:
    """Return the resting face, the median of all nearly frontal samples; None without any."""
    frontal = [sample for sample in samples if abs(sample.face.pose[0]) <= FRONTAL_DEGREES]
    if not frontal:
        return None
    eyes = np.median([eye_openings(sample.face.mesh) for sample in frontal], axis=0)
    yaw, pitch = np.median([sample.face.pose[:2] for sample in frontal], axis=0)
    nearest = min(
        frontal, key=lambda s: float(np.hypot(s.face.pose[0] - yaw, s.face.pose[1] - pitch))
    )
    return Rest(float(yaw), float(pitch), float(eyes[0]), float(eyes[1]), nearest)


def steps_seen(samples: Sequence[Sample], rest: Rest) -> tuple[Seen, ...]:
    """Return every movement that the samples show, in the order in which they begin."""
    channels: tuple[tuple[Step, Callable[[Sample], float], float, float], ...] = (
        ("turn_left", lambda s: s.face.pose[0] - rest.yaw, TURN_DEGREES, BACK_DEGREES),
        ("turn_right", lambda s: rest.yaw - s.face.pose[0], TURN_DEGREES, BACK_DEGREES),
        ("look_up", lambda s: s.face.pose[1] - rest.pitch, UP_DEGREES, LEVEL_DEGREES),
        ("close_eyes", lambda s: -open_share(s, rest), -CLOSED_SHARE, -OPEN_SHARE),
    )
    found = [
        Seen(step, run[0].at, ended, tuple(run))
        for step, value, begins, ends in channels
        for run, ended in _runs(samples, value, begins, ends)
        if _is_meant(step, run, ended)
    ]
    return tuple(sorted(found, key=lambda seen: seen.began))


def open_share(sample: Sample, rest: Rest) -> float:
    """Return how open the wider of the two eyes is, as a share of the same eye at rest."""
    right, left = eye_openings(sample.face.mesh)
    return max(right / max(rest.right_open, 1e-6), left / max(rest.left_open, 1e-6))


def depth_of(frontal: FloatArray, turned: FloatArray) -> float:
    """Return what no plane explains between two meshes (468, 3) of one head: 0 for a plane.

    Root mean square distance between the rigid points of `turned` and the best homography of those
    of `frontal`, over their spread. Measured at turns over 18 degrees: .103 or more on rendered
    people and one filmed person (360 pairs). It says the same as the yaw, more directly: pictures
    bent round, held askew for the rest, reach .09 to .19 as well.
    """
    a = frontal[list(RIGID), :2].astype(np.float64)
    b = turned[list(RIGID), :2].astype(np.float64)
    plane = np.asarray(cv2.findHomography(a, b, 0)[0], np.float64)
    if plane.shape != (3, 3):  # nothing was found: points on one line or in one place
        return 0.0
    mapped = cv2.perspectiveTransform(a[None], plane)[0]
    spread = float(np.sqrt(((b - b.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return float(np.sqrt(((mapped - b) ** 2).sum(axis=1).mean())) / max(spread, 1e-6)


def shape_of(mesh: FloatArray) -> float:
    """Return width over height of a mesh (468, 3), along its own axis from forehead to chin.

    A head keeps it while it turns: largest over smallest 1.06 over a rendered clip, 1.03 to 1.07 in
    four filmed ones, turns up to 36 degrees. A plane shrinks with the cosine of its turn.
    """
    points = mesh[:, :2].astype(np.float64)
    down = points[CHIN] - points[FOREHEAD]
    down /= max(float(np.linalg.norm(down)), 1e-6)
    across = np.array([-down[1], down[0]])
    return float(np.ptp(points @ across)) / max(float(np.ptp(points @ down)), 1e-6)


def _runs(
    samples: Sequence[Sample], value: Callable[[Sample], float], begins: float, ends: float
) -> list[tuple[list[Sample], float]]:
    """Return the stretches in which a value has reached `begins` and not fallen below `ends`."""
    runs: list[tuple[list[Sample], float]] = []
    run: list[Sample] = []
    for sample in samples:
        if value(sample) >= (ends if run else begins):
            run.append(sample)
        elif run:
            runs.append((run, sample.at))
            run = []
    # What is not ended when the video ends is no whole movement.
    return runs


def _is_meant(step: Step, run: Sequence[Sample], ended: float) -> bool:
    if step == "close_eyes":
        return ended - run[0].at >= CLOSED_SECONDS
    return len(run) >= HELD_SAMPLES


def _aspect(mesh: FloatArray, lids: tuple[int, ...]) -> float:
    p = mesh[list(lids)].astype(np.float64)
    across = float(np.linalg.norm(p[0] - p[3]))
    down = float(np.linalg.norm(p[1] - p[5]) + np.linalg.norm(p[2] - p[4]))
    return down / max(2 * across, 1e-6)
