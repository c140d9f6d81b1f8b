"""Is this face the enrolled person? Three answers, and never "match" on anything malformed.

Decides by Euclidean distance between identity vectors, against the two thresholds that belong to
the net. Refused by raising: vectors of another length, NaN, infinity, empty vectors, and an
enrolment whose pictures do not show one person. There is no search here: one face is compared
with one template.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from generator.errors import EnrolmentRefused, NoFace, ShapeError
from generator.faces import Face, FloatArray, IdThresholds, require_array

Answer = Literal["match", "ambiguous", "mismatch"]

# The default net's vectors have length 1.2 to 1.6, unit vectors 1: below this, nothing was seen.
MIN_LENGTH = 0.1


class Match(NamedTuple):
    """The answer and the Euclidean distance behind it."""

    answer: Answer
    distance: float


def template_of(faces: Sequence[Face], *, thresholds: IdThresholds) -> FloatArray:
    """Return the mean identity vector, float32 (d,), of one person's enrolment faces.

    Several views make the template steadier than any of them. Raises NoFace for an empty list,
    ShapeError for malformed vectors, EnrolmentRefused when two of the faces are further apart
    than `thresholds.mismatch`: a mean of two people would lie near both.
    """
    if not faces:
        raise NoFace("an enrolment needs at least one face")
    vectors = [_checked(face.id_vector, len(faces[0].id_vector)) for face in faces]
    for a, b in combinations(vectors, 2):
        apart = float(np.linalg.norm(a - b))
        if not apart <= thresholds.mismatch:
            raise EnrolmentRefused(
                f"two enrolment faces are {apart:.2f} apart, more than {thresholds.mismatch:g}",
                mend="enrol pictures of one person only, well lit and not too far turned",
            )
    mean: FloatArray = np.stack(vectors).mean(axis=0).astype(np.float32)
    return mean


def match(face: Face, template: FloatArray, thresholds: IdThresholds) -> Match:
    """Compare a face with a template; both vectors must come from the net of the thresholds.

    distance <= match: "match"; > mismatch: "mismatch"; between: "ambiguous". Raises ShapeError on
    anything that is not two finite, non-empty float32 vectors of one length.
    """
    if not isinstance(thresholds, IdThresholds):
        raise ShapeError("thresholds", actual=type(thresholds).__name__, expected="IdThresholds")
    require_array(template, (None,), "identity template")
    known = _checked(template, len(template))
    seen = _checked(face.id_vector, len(template))
    distance = float(np.linalg.norm(seen - known))
    return Match(answer_for(distance, thresholds), distance)


def answer_for(distance: float, thresholds: IdThresholds) -> Answer:
    """Return the answer for a distance; anything that is not a finite distance is a mismatch."""
    if 0 <= distance <= thresholds.match:
        return "match"
    if thresholds.match < distance <= thresholds.mismatch:
        return "ambiguous"
    return "mismatch"


def _checked(vector: FloatArray, length: int) -> npt.NDArray[np.float64]:
    """Return a usable vector in float64, in which no sum of float32 squares overflows."""
    require_array(vector, (length,), "identity vector")
    wide = vector.astype(np.float64)
    if float(np.linalg.norm(wide)) < MIN_LENGTH:
        raise ShapeError("identity vector", actual="an empty vector", expected="a face's vector")
    return wide
