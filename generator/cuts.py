"""Where one shot of a video ends and the next begins.

Compares every frame with the one before it, both small: how much of the colours is other, and what
is left after the first was moved onto the second by its optical flow. At a cut everything that is
known from earlier frames is forgotten, so a false cut costs smoothness, never safety; a missed one
is caught by what a track demands of place and identity.
"""

from __future__ import annotations

import cv2
import numpy as np

from generator.faces import FloatArray, Frame, require_frame

RESIDUAL = 0.5
"""What the flow leaves over (mean absolute grey, in standard deviations of the frame) at a cut.
Measured: .41 at most inside five clips, one of a swinging camera at 24 frames a second (.79 when
only every third is shown); .53 and more between pictures of different people, 1.04 and more between
clips of different places."""
OTHER_COLOURS, OTHER_RESIDUAL = 0.3, 0.2
"""Share of the colours that is other, and what the flow must leave over besides. Measured: .19 at
most inside the five clips, .45 and more between pictures of different people but for two pairs."""

_SIZE = (96, 54)
_LEAST_SPREAD = 8.0
_BINS = 8


class CutFinder:
    """Looks at the frames of one video in their order."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._last: tuple[Frame, FloatArray] | None = None

    def is_cut(self, frame: Frame) -> bool:
        """Return whether a BGR uint8 (h, w, 3) frame begins a new shot; the first one does.

        Raises ShapeError.
        """
        require_frame(frame)
        small = np.asarray(cv2.resize(frame, _SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        now = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8), _colours(small)
        before, self._last = self._last, now
        if before is None:
            return True
        other = float(np.abs(before[1] - now[1]).sum()) / 2
        left = self._residual(before[0], now[0])
        return left >= RESIDUAL or (other >= OTHER_COLOURS and left >= OTHER_RESIDUAL)

    def _residual(self, before: Frame, now: Frame) -> float:
        flow = np.asarray(self._flow.calc(now, before, None), np.float32)  # type: ignore[call-overload]  # None = none yet
        y, x = np.mgrid[: _SIZE[1], : _SIZE[0]].astype(np.float32)
        moved = cv2.remap(
            before,
            x + flow[..., 0],
            y + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        left = np.abs(moved.astype(np.float32) - now).mean()
        return float(left) / max(float(now.std()), _LEAST_SPREAD)


def _colours(small: Frame) -> FloatArray:
    """Return the histogram of a BGR picture, float32 (512,), sum 1."""
    bins, span = [_BINS] * 3, [0.0, 256.0] * 3
    counts = cv2.calcHist([small], [0, 1, 2], None, bins, span).ravel()
    share: FloatArray = (counts / counts.sum()).astype(np.float32)
    return share
