"""Feature distance: how far two pictures of one face are apart to a network that looks at both.

Three early values of `faceres`, which was never a loss and whose card allows comparing swappers:
every position made a unit vector, squared differences summed over channels, mean over positions and
over the three. Not LPIPS: nobody calibrated it on what people say, it only puts blur, noise and
shifts of one picture into their right order [generator reference, section 12].
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx

from generator.age import CROP_DROP, CROPS
from generator.faces import Face, Frame
from generator.landmarks import crop_matrix, crop_points, warp_square
from generator.weights import CPU, WeightSession, read_weight, start_session

NET: Final = "faceres"
TAPS: Final = ("/Relu_2_output_0", "/Relu_6_output_0", "/Relu_10_output_0")
"""64, 128 and 256 channels at a half, a quarter and an eighth of the crop's size."""
LEAST: Final = 1e-6

Values = npt.NDArray[np.float32]


class FeatureNet:
    """The carded network with three of its inner values as outputs."""

    def __init__(self, threads: int = 1) -> None:
        card, content = read_weight(NET)
        graph = onnx.load_from_string(content)
        graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(tap) for tap in TAPS)
        tapped = graph.SerializeToString()
        session = start_session(card, tapped, threads=threads, provider=CPU)
        self._session = WeightSession(card, session)

    def distance(self, first: Frame, second: Frame, face: Face) -> float | None:
        """Return the feature distance of two frames in one square around a face; 0 = the same.

        The square is the same in both frames. None for a face without extent.
        """
        side = self._session.card.picture.side_px
        matrix = crop_matrix(crop_points(face.mesh), side, reach=CROPS[0][0], drop=CROP_DROP)
        if matrix is None:
            return None
        ours, theirs = (self._look(warp_square(frame, matrix, side)) for frame in (first, second))
        apart = [float(((a - b) ** 2).sum(0).mean()) for a, b in zip(ours, theirs, strict=True)]
        return float(np.mean(apart))

    def _look(self, square: Frame) -> list[Values]:
        """Return the inner values, each (channels, h, w), of length 1 along the channels."""
        out = self._session.run(np.ascontiguousarray(square[:, :, ::-1]))
        values = [out[tap][0] for tap in TAPS]
        return [v / np.maximum(np.linalg.norm(v, axis=0), LEAST) for v in values]
