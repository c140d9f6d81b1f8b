"""Does a picture look like nudity? A measured score over several views of it, never a decision.

Gives facts for the rule that nothing sexual passes: the class sums "Porn" and "Hentai" of one net,
looked at whole, averaged, mirrored and in overlapping windows, worst view counts. "Drawing" and
"Sexy" are not used: the net calls photographs drawings. Averaged views are sharpened again: the net
was made on small sharp pictures and takes softness for skin. Refused by raising: frames that are no
pictures, cards with laxer limits than measured, and a net that answers with anything but
probabilities. Whoever cannot measure must deny; there is no gate here that says "clear" without
having looked, and no setting that turns one off. The recall is unknown (see the card).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from generator.errors import MeasurementFailed, WeightRefused
from generator.faces import FloatArray, Frame, require_frame
from generator.weights import WeightSession, open_session

NUDITY_NET = "nsfwjs-mid"

NudityState = Literal["clear", "review", "found"]

# Columns of the net's answer (nsfw_classes.js of the package).
CLASSES = ("Drawing", "Hentai", "Neutral", "Porn", "Sexy")

# A card may be stricter than these, never laxer: 0 < review <= found.
LAXEST_REVIEW = 0.3
LAXEST_FOUND = 0.6

# Side of a window in shares of the picture. Measured: at .5 and .6 clothed portraits are called
# porn (a neck and a chin alone), at .7 and above none of 144 photographs and 24 demo renders is.
WINDOW = 0.75

# From this aspect ratio on, windows also run along the picture, each about as long as it is wide;
# never more than eight, so that a ribbon costs no more than a picture.
ELONGATED = 1.5
MAX_ALONG = 8

# Unsharp masking of the averaged views: what a blur of one pixel takes away is added once more.
# Measured: of 23 half-body frames of clothed people 9 are not clear without it, 4 at half of it, 3
# at once and 2 at one and a half times; of 48 crops of bare neck and chin alone 42, 44, 43 and 43
# are not clear, so what reacts to skin stays.
SHARPEN_PX = 1.0
SHARPEN_BY = 1.0

# How far a sum of five float32 probabilities may lie from one.
_SUM_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class NudityReading:
    """What one frame gave: the state, Porn + Hentai of the worst view (0..1), and of every view.

    Views that disagree are on record for whoever reviews; the worst one alone sets the state.
    """

    state: NudityState
    porn_hentai: float
    scores: Mapping[str, float]


class NudityGate(Protocol):
    """Measures how much a frame looks like nudity; what it loaded is on record in `models`."""

    @property
    def models(self) -> Mapping[str, str]:
        """Model name -> sha256 (hex) of its weight file."""
        ...

    def measure(self, frame: Frame) -> NudityReading:
        """Return the reading of a BGR uint8 frame.

        Raises an error of `policies.errors.Error` when nothing could be measured; the caller must
        treat that as "unavailable" and deny.
        """
        ...


class NsfwNet:
    """The gate over nsfwjs `mobilenet_v2_mid`, with the package's own preprocessing."""

    def __init__(self, session: WeightSession) -> None:
        card = session.card
        self._session = session
        self._side = card.picture.side_px
        self._review, self._found = card.number("review"), card.number("found")
        within = self._review <= LAXEST_REVIEW and self._found <= LAXEST_FOUND
        if card.task != "nudity" or not (within and 0 < self._review <= self._found):
            raise WeightRefused(f"the card of {card.name} does not state usable nudity limits")
        self.models: Mapping[str, str] = {card.name: card.sha256}

    def measure(self, frame: Frame) -> NudityReading:
        """Return the reading of a BGR uint8 frame; raises ShapeError, MeasurementFailed."""
        require_frame(frame)
        scores = {name: self._score(view) for name, view in views_of(frame, self._side)}
        worst = max(scores.values())
        return NudityReading(self._state(worst), worst, MappingProxyType(scores))

    def classify(self, frame: Frame) -> dict[str, float]:
        """Return class -> probability of one view, as the package itself computes it."""
        return dict(zip(CLASSES, (float(p) for p in self._probabilities(frame)), strict=True))

    def _state(self, score: float) -> NudityState:
        if score >= self._found:
            return "found"
        return "review" if score >= self._review else "clear"

    def _score(self, view: Frame) -> float:
        classes = self.classify(view)
        return classes["Porn"] + classes["Hentai"]

    def _probabilities(self, view: Frame) -> FloatArray:
        square = squash(view, self._side)
        outputs = self._session.run(np.ascontiguousarray(square[:, :, ::-1]))
        values = outputs["classes"].reshape(-1)
        if values.shape != (len(CLASSES),) or not _is_distribution(values):
            raise MeasurementFailed(f"the nudity net answered {values.tolist()}")
        return values


def open_nudity_gate(threads: int = 1) -> NudityGate:
    """Load the shipped nudity net on `threads` CPUs; raises WeightRefused."""
    return NsfwNet(open_session(NUDITY_NET, threads=threads))


def squash(frame: Frame, side_px: int) -> FloatArray:
    """Return a frame as float32 (side, side, 3), bilinear with aligned corners, not smoothed.

    What tf.image.resizeBilinear(..., alignCorners = true) does: the corner samples of input and
    output coincide, and each output pixel reads two lines and two columns, whatever the scale.
    """
    low, high, share = _sample_places(frame.shape[0], side_px)
    top, bottom = frame[low].astype(np.float32), frame[high].astype(np.float32)
    lines = top + (bottom - top) * share[:, None, None]
    low, high, share = _sample_places(frame.shape[1], side_px)
    left, right = lines[:, low], lines[:, high]
    return left + (right - left) * share[None, :, None]


def _sample_places(
    length: int, side_px: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Return the two indices and the second one's share for every output sample of one axis."""
    places = np.arange(side_px) * ((length - 1) / (side_px - 1))
    low = np.minimum(places.astype(np.intp), length - 1)
    return low, np.minimum(low + 1, length - 1), (places - low).astype(np.float32)


def views_of(frame: Frame, side_px: int) -> Iterator[tuple[str, Frame]]:
    """Yield the named views of a frame, the package's own view first.

    The others are averaged down first, so that nothing hides between the samples of the plain
    resize. Mirror and windows move every pixel to another place of the net's grid, so that a
    perturbation made for one view meets others.
    """
    yield "whole", frame
    even = average(frame, side_px)
    yield "even", even
    yield "mirror", even[:, ::-1]
    height, width = frame.shape[:2]
    tall, wide = round(height * WINDOW), round(width * WINDOW)
    for name, (x, y) in _PLACES.items():
        top, left = round((height - tall) * y), round((width - wide) * x)
        yield name, average(frame[top : top + tall, left : left + wide], side_px)
    for index, (start, stop) in enumerate(spans_along(max(height, width), min(height, width))):
        part = frame[start:stop] if height > width else frame[:, start:stop]
        yield f"part {index + 1}", average(part, side_px)


_PLACES = {
    "centre": (0.5, 0.5),
    "top left": (0.0, 0.0),
    "top right": (1.0, 0.0),
    "bottom left": (0.0, 1.0),
    "bottom right": (1.0, 1.0),
}


def spans_along(long_px: int, short_px: int) -> list[tuple[int, int]]:
    """Return half-overlapping spans (start, stop) that cover the long side of a long picture.

    [] below the aspect ratio `ELONGATED`.
    """
    if long_px < ELONGATED * short_px:
        return []
    count = min(int(2 * long_px / short_px) - 1, MAX_ALONG)
    step = long_px / (count + 1)
    return [(round(i * step), round((i + 2) * step)) for i in range(count)]


def average(frame: Frame, side_px: int) -> Frame:
    """Return a frame of at most side_px per side, made of area means and sharpened again."""
    height, width = (min(length, side_px) for length in frame.shape[:2])
    # At its own size, the resize is a copy.
    means = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(means, (0, 0), SHARPEN_PX)
    sharp = cv2.addWeighted(means, 1 + SHARPEN_BY, soft, -SHARPEN_BY, 0)
    return sharp.astype(np.uint8, copy=False)


def _is_distribution(values: FloatArray) -> bool:
    """Return whether values are probabilities; NaN and infinity fail both comparisons."""
    return bool((values >= 0).all()) and abs(float(values.sum()) - 1) <= _SUM_SLACK
