"""The One-Euro filter: steady points while a face rests, prompt ones while it moves.

Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012, Algorithm 1, for arrays of points and with
real times: a low-pass whose cutoff rises with speed, fc = fc_min + beta |dx/dt|. Causal: what it
returns depends on this sample and earlier ones alone. Refused (ShapeError): points of another
shape than before, numbers that are not finite, times that do not rise.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from generator.errors import ShapeError

Points = npt.NDArray[np.float64]


class OneEuro:
    """Filters one array of points (n, d) over time; a new one for every track.

    `beta`: how far the cutoff (Hz) rises for each unit of length a second. `unit` in `step` says
    how many pixels a unit of length is: for faces the distance of the eyes. Every point has its
    own speed, over all of its d coordinates together: a blink is not held back by a resting brow.
    """

    def __init__(
        self, *, beta: float, min_cutoff_hz: float = 1.0, speed_cutoff_hz: float = 1.0
    ) -> None:
        for name, value in (("cutoff", min_cutoff_hz), ("cutoff of speeds", speed_cutoff_hz)):
            if not 0 < value < math.inf:
                raise ShapeError(name, actual=value, expected="hertz above 0")
        if not 0 <= beta < math.inf:
            raise ShapeError("beta", actual=beta, expected="0 or more")
        self._beta, self._min, self._speed = beta, min_cutoff_hz, speed_cutoff_hz
        self._last: tuple[float, Points, Points] | None = None

    def step(self, points: npt.NDArray[np.floating], *, at: float, unit: float = 1.0) -> Points:
        """Return the filtered points, float64 (n, d), of the sample taken `at` (seconds)."""
        now = np.array(points, np.float64)
        if now.ndim != 2 or not np.isfinite(now).all():
            raise ShapeError("points", actual=now.shape, expected="finite (n, d)")
        if not (math.isfinite(at) and 0 < unit < math.inf):
            raise ShapeError("time and unit", actual=(at, unit), expected="finite, unit above 0")
        if self._last is None:
            self._last = at, now, np.zeros_like(now)
            return now.copy()
        before, value, speed = self._last
        if now.shape != value.shape:
            raise ShapeError("points", actual=now.shape, expected=value.shape)
        if at <= before:
            raise ShapeError("time", actual=at, expected=f"later than {before}")
        seconds = at - before
        speed = _mix((now - value) / seconds, speed, smoothing(seconds, self._speed))
        pace = np.linalg.norm(speed, axis=1, keepdims=True) / unit
        value = _mix(now, value, smoothing(seconds, self._min + self._beta * pace))
        self._last = at, value, speed
        return value.copy()


def smoothing(
    seconds: float, cutoff_hz: float | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return alpha, the share of the new sample: 1 / (1 + tau / Te), tau = 1 / (2 pi fc)."""
    tau = 1.0 / (2.0 * np.pi * np.asarray(cutoff_hz, np.float64))
    return np.asarray(1.0 / (1.0 + tau / seconds), np.float64)


def _mix(new: Points, old: Points, share: npt.NDArray[np.float64]) -> Points:
    out: Points = share * new + (1.0 - share) * old
    return out
