"""A second opinion on who a face is: the embedding of the shipped `faceres` net.

Another network with other training data than the identity net, asked where one net's word is not
enough: whether a stranger whose face was replaced could still be known, and how good a swapper is.
It names nobody and no consent rests on it. Refused: a card without thresholds (WeightRefused),
faces without extent (MeasurementFailed).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from generator.age import crops_of
from generator.errors import WeightRefused
from generator.faces import Face, FloatArray, Frame, IdThresholds
from generator.weights import WeightSession, load_card, open_session

SECOND_NET = "faceres"
VIEWS = 2
"""The first crops of the age gate: one plain and one mirrored, of the same reach."""


class SecondNet:
    """Identity vectors of unit length from two crops of a face."""

    def __init__(self, session: WeightSession) -> None:
        card = session.card
        if card.thresholds is None or "embedding" not in card.outputs:
            raise WeightRefused(f"the card of {card.name} states no thresholds or no embedding")
        self._session = session
        self.thresholds = IdThresholds(card.thresholds.match, card.thresholds.mismatch)

    def embed(self, frame: Frame, face: Face) -> FloatArray:
        """Return the vector of a face, float32 (1024,), of length 1; raises MeasurementFailed."""
        side = self._session.card.picture.side_px
        crops = [crop for _, crop in crops_of(frame, face, side)][:VIEWS]
        seen = [self._session.run(np.ascontiguousarray(c[:, :, ::-1]))["embedding"] for c in crops]
        mean = np.mean([value.ravel() for value in seen], axis=0)
        unit: FloatArray = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
        return unit


def second_models() -> dict[str, str]:
    """Return the net's name and the sha256 of its weight file; raises WeightRefused."""
    return {SECOND_NET: load_card(SECOND_NET).sha256}


@cache
def open_second_net(threads: int = 1) -> SecondNet:
    """Load the shipped net on `threads` CPUs, once; raises WeightRefused."""
    return SecondNet(open_session(SECOND_NET, threads=threads))
