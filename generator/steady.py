"""One face's landmarks held steady over the frames of its track.

The head's turn, size and place are filtered apart from the mesh in the head's own frame, as a head
in motion is in motion with all of its points: a filter over picture coordinates that calms the
points lags behind every turn. The irises are filtered about the middle of their eyes. All three by
the One-Euro filter; causal, so a frame never depends on later ones. A mesh that no head fits is
left as it is, and everything begins anew after it.

Measured, jitter (mean length of the second difference minus that of the mesh smoothed over seven
frames both ways) and lag (how far points are behind that mesh, along their motion, in the fastest
fifth), thousandths of the distance of the outer eye corners: rendered clip at 24 frames a second,
jitter 8.4 raw and 4.3 here, lag 4.8; four filmed clips, jitter 7.6 to 9.6 raw and 3.6 to 7.2 here,
lag 4.1 to 6.3. A filter over picture coordinates needs beta 20 for jitter 4.8, with lag 8.3 in the
first; beta .05, a usual start, lags by 83. In the swapped picture (`geo`, mean difference to the
frame before along the target's flow, grey levels above the target's own): .98 raw and .68 here on
the rendered clip; .46 raw and .57 here on a filmed nod, where the lag costs more than it calms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generator import fit
from generator.errors import ShapeError
from generator.faces import IRIS_POINTS, FloatArray
from generator.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from generator.one_euro import OneEuro
from generator.topology import load_topology

VERSION = "steady1"
"""Names this way of holding landmarks steady; another number for every change of what comes out."""

MESH_BETA, HEAD_BETA = 20.0, 40.0
"""Hertz for each eye distance a second; found on the rendered clip, see above."""

_AXES = np.vstack([np.zeros(3), np.eye(3)])
_EYES = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)

Points = npt.NDArray[np.float64]


class SteadyFace:
    """Filters the landmarks of one track; make a new one for every track."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._mesh, self._iris = OneEuro(beta=MESH_BETA), OneEuro(beta=MESH_BETA)
        self._head = OneEuro(beta=HEAD_BETA)

    def step(
        self, mesh: FloatArray, iris: FloatArray, *, at: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return mesh float32 (468, 3) and irises (2, 5, 2) held steady, in the frame's pixels.

        `at`: when the frame is shown, in seconds, later than the one before (ShapeError).
        """
        try:
            head = fit.fit_similarity(mesh.astype(np.float64), load_topology().neutral)
        except ShapeError:
            self._begin()
            return mesh, iris
        unit = 1.0 / head.scale
        own = self._mesh.step(head.apply(mesh.astype(np.float64)), at=at)
        # The inverse of the fit, as where it puts the origin and the three axes.
        places = head.turn_back(_AXES - head.shift)
        axes = self._head.step(places, at=at, unit=unit)
        calm = axes[0] + own @ (axes[1:] - axes[0])
        return calm.astype(np.float32), self._follow(mesh, iris, calm, at=at, unit=unit)

    def _follow(
        self, mesh: FloatArray, iris: FloatArray, calm: Points, *, at: float, unit: float
    ) -> FloatArray:
        """Return the irises about the steady middles of their eyes."""
        offsets = iris.astype(np.float64) - _middles(mesh)
        held = self._iris.step(offsets.reshape(-1, 2), at=at, unit=unit)
        moved = held.reshape(2, IRIS_POINTS, 2) + _middles(calm)
        return moved.astype(np.float32)


def _middles(mesh: npt.NDArray[np.floating]) -> Points:
    """Return the middles between the corners of right and left eye, (2, 1, 2)."""
    middles: Points = np.stack(
        [mesh[list(eye), :2].mean(axis=0, keepdims=True, dtype=np.float64) for eye in _EYES]
    )
    return middles
