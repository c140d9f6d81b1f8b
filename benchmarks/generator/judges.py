"""Who judges a swap: two identity nets, of which one was never a loss, and the face's own measures.

`idnet` is the net the swapper is given and was trained against; `faceres` is another network with
other training data, and its row is the one that counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.generator.temporal import EYE_CORNERS
from generator.faces import Face, FaceAnalyser, Frame
from generator.fit import LEFT_LIDS, LIPS, RIGHT_LIDS, fit_neutral, measure_opening
from generator.second_net import SecondNet, open_second_net

Vector = npt.NDArray[np.float32]
JUDGES = ("faceres", "idnet")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One face as the judges see it: vectors by judge, and the face itself."""

    face: Face
    vectors: dict[str, Vector]


class Judges:
    """Analyses a frame and embeds its main face with both nets."""

    def __init__(self, analyser: FaceAnalyser, threads: int = 1) -> None:
        self._analyser = analyser
        self._second: SecondNet = open_second_net(threads)

    def look(self, frame: Frame) -> Judged | None:
        """Return the largest face of a BGR uint8 frame, or None."""
        faces = self._analyser.analyse(frame)
        if not faces:
            return None
        return Judged(faces[0], self.embed(frame, faces[0]))

    def embed(self, frame: Frame, face: Face) -> dict[str, Vector]:
        """Return the vectors of a face: `idnet` as it is, `faceres` the unit mean of two crops."""
        return {"idnet": face.id_vector, "faceres": self._second.embed(frame, face)}


def distance(judge: str, first: Judged, second: Judged) -> float:
    """Return how far apart two faces are: Euclidean for idnet, cosine distance for faceres."""
    a, b = first.vectors[judge], second.vectors[judge]
    return float(np.linalg.norm(a - b)) if judge == "idnet" else float(1 - a @ b)


def pose_gap(first: Face, second: Face) -> float:
    """Return the angle between two head poses in degrees (geodesic on rotations)."""
    turns = [fit_neutral(face.mesh).rotation for face in (first, second)]
    cosine = (np.trace(turns[0].T @ turns[1]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def turn_gaps(first: Face, second: Face) -> dict[str, float]:
    """Return how far yaw, pitch and roll are apart, each in degrees and without its sign."""
    names = ("yaw_deg", "pitch_deg", "roll_deg")
    return {
        name: abs(float((a - b + 180) % 360 - 180))
        for name, a, b in zip(names, first.pose, second.pose, strict=True)
    }


def landmark_gap(first: Face, truth: Face) -> float:
    """Return the mean distance of the 468 points in the picture, in eye distances of `truth`."""
    one, other = EYE_CORNERS
    unit = max(float(np.linalg.norm(truth.mesh[one] - truth.mesh[other])), 1e-6)
    return float(np.linalg.norm((first.mesh - truth.mesh)[:, :2], axis=1).mean()) / unit


def expression_gap(first: Face, second: Face) -> float:
    """Return the mean difference of both lid openings and the mouth opening (ratios)."""
    gaps = [
        abs(measure_opening(first.mesh, points) - measure_opening(second.mesh, points))
        for points in (RIGHT_LIDS, LEFT_LIDS, LIPS)
    ]
    return float(np.mean(gaps))


def gaze_gap(first: Face, second: Face) -> float:
    """Return how far irises sit elsewhere between the eye corners, in eye widths, mean of both."""
    places = []
    for face in (first, second):
        row = []
        for side, corners in enumerate(((33, 133), (362, 263))):
            a, b = face.mesh[list(corners), :2]
            width = max(float(np.linalg.norm(b - a)), 1e-6)
            row.append((face.iris[side, 0] - (a + b) / 2) / width)
        places.append(np.array(row))
    return float(np.linalg.norm(places[0] - places[1], axis=1).mean())
