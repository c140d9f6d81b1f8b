"""The words on the picture: where they go, how large they are, and whether they can be read.

Decides a place that covers no face if there is one, a size no rule calls too small, and says how
much of the faces is covered where no place is free. Refuses a picture too small to hold the words.
The result depends on nothing but size, boxes and text, so one label serves every frame of a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from provenance.errors import LabelRefused, TooSmall
from provenance.label_letters import Ink, choose_letters, require_showable
from provenance.label_rules import Demand, label_demand
from provenance.media import Box, require_frame

Frame: TypeAlias = npt.NDArray[np.uint8]
"""BGR uint8 (h, w, 3)."""
Table: TypeAlias = npt.NDArray[np.int32]

MIN_LETTER_PX: Final = 8
"""Our choice: letters of fewer pixels are drawn but not read, whatever share they are."""
PAD_BY_LETTER: Final = 0.5
MARGIN_SHARE: Final = 0.015
PLATE_OPACITY: Final = 0.78
"""White text over a white picture then has a contrast of 11:1 (measured)."""
MIN_CONTRAST: Final = 4.5
"""WCAG 2.2, success criterion 1.4.3."""
_LUMA = np.array([0.0722, 0.7152, 0.2126])  # WCAG 2.2, relative luminance; blue, green, red


@dataclass(frozen=True, slots=True, eq=False)
class VisibleLabel:
    """A label with its place in pictures of one size.

    `box`: the plate; `letter_px`: height of the capitals; `covered`: share of the faces' pixels
    under the plate, 0..1; `rule_ids`: the rules that asked for it.
    """

    size: tuple[int, int]
    box: Box
    letter_px: int
    covered: float
    text: str
    rule_ids: tuple[str, ...]
    ink: Ink = field(repr=False)

    @property
    def words(self) -> str:
        """Say in words what the label is and whether it keeps off the faces."""
        place = f"letters of {self.letter_px} px at {self.box}"
        if not self.covered:
            return f"{place}, off every face"
        return f"{place}, no place is free: it covers {self.covered:.1%} of the faces"

    def draw(self, frame: Frame) -> Frame:
        """Return a copy of `frame` (BGR uint8 (h, w, 3)) with the label.

        Raises `ShapeError`, and `LabelRefused` for a frame of another size.
        """
        self._require_size(frame)
        out = frame.copy()
        part = self._part(out)
        ink = self.ink[..., None]
        part[...] = np.rint(part * (1 - PLATE_OPACITY) * (1 - ink) + 255 * ink).astype(np.uint8)
        return out

    def contrast(self, frame: Frame) -> float:
        """Return the lowest WCAG contrast (1..21) of letters against the plate in a drawn frame.

        The darkest pixel wholly inside a letter against the brightest wholly beside all letters.
        Raises as `draw`.
        """
        self._require_size(frame)
        light = _luminance(self._part(frame))
        darkest, brightest = light[self.ink > 0.99].min(), light[self.ink < 0.01].max()
        return float((darkest + 0.05) / (brightest + 0.05))

    def require_readable(self, frame: Frame) -> None:
        """Raise `LabelRefused` unless the label reads with 4.5:1 in a frame as it will be kept."""
        ratio = self.contrast(frame)
        if ratio < MIN_CONTRAST:
            raise LabelRefused(
                f"the visible label has a contrast of {ratio:.1f}:1, need {MIN_CONTRAST}:1",
                mend="nothing may change the pixels of the label after it was drawn",
            )

    def _part(self, frame: Frame) -> Frame:
        x0, y0, x1, y1 = self.box
        return frame[y0:y1, x0:x1]

    def _require_size(self, frame: Frame) -> None:
        require_frame(frame)
        if frame.shape[:2] != self.size:
            raise LabelRefused(f"the label is for {self.size}, the frame is {frame.shape[:2]}")


def place_visible_label(
    size: tuple[int, int], *, avoid: Sequence[Box], demand: Demand | None = None
) -> VisibleLabel:
    """Return the label for pictures of `size` (height, width), off the boxes in `avoid`.

    Capitals have the height that `demand` asks (default: the product's own rule) and never under 8
    pixels. Tried in turn, text on one line and then on more: the four corners from the bottom left,
    the middles of the edges, the free place nearest to the bottom left; else where it covers least
    of the boxes. Raises `LabelRefused` for words that cannot be shown, `TooSmall` where no layout
    fits.
    """
    wanted = demand or label_demand()
    require_showable(wanted.text)
    height, width = size
    letters = choose_letters(max(MIN_LETTER_PX, wanted.share * min(size)))
    words = wanted.text.split()
    pad = max(2, round(PAD_BY_LETTER * letters.capital_px))
    inks = [np.pad(letters.draw(lines), pad) for lines in _layouts(words)]
    fitting = [ink for ink in inks if ink.shape[0] <= height and ink.shape[1] <= width]
    if not fitting:
        raise TooSmall(f"the label does not fit into {width} x {height} pixels")
    taken = _sum_taken(height, width, avoid)
    ink, y, x = _place(fitting, taken, round(MARGIN_SHARE * min(size)))
    box = (x, y, x + ink.shape[1], y + ink.shape[0])
    covered = _covered(taken, y, x, ink) / max(1, int(taken[-1, -1]))
    return VisibleLabel(size, box, letters.capital_px, covered, wanted.text, wanted.rule_ids, ink)


def _luminance(pixels: Frame) -> npt.NDArray[np.float64]:
    """Return WCAG 2.2 relative luminance of sRGB pixels, 0..1."""
    level = pixels / 255.0
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    luminance: npt.NDArray[np.float64] = linear @ _LUMA
    return luminance


def _layouts(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words on one line, then on two, up to a word a line."""
    for lines in range(1, len(words) + 1):
        yield _break_lines(words, lines)


def _break_lines(words: Sequence[str], lines: int) -> list[str]:
    """Break words into `lines` lines whose lengths are as even as greedy filling makes them."""
    per_line = len(" ".join(words)) / lines
    broken, used = [""], 0
    for word in words:
        if broken[-1] and used + len(word) / 2 > per_line * len(broken):
            broken.append("")
        broken[-1] = f"{broken[-1]} {word}".strip()
        used += len(word) + 1
    return broken


def _sum_taken(height: int, width: int, avoid: Sequence[Box]) -> Table:
    """Return the summed-area table (h + 1, w + 1) of the pixels inside any box."""
    taken = np.zeros((height + 1, width + 1), np.int32)
    for x0, y0, x1, y1 in avoid:
        taken[1 + max(y0, 0) : 1 + max(y1, 0), 1 + max(x0, 0) : 1 + max(x1, 0)] = 1
    return taken.cumsum(0, np.int32).cumsum(1, np.int32)


def _place(inks: Sequence[Ink], taken: Table, margin: int) -> tuple[Ink, int, int]:
    """Return a layout and its top left corner (y, x): free places first, then least covered."""
    height, width = taken.shape[0] - 1, taken.shape[1] - 1
    for ink in inks:
        for y, x in _edge_places(height - ink.shape[0], width - ink.shape[1], margin):
            if not _covered(taken, y, x, ink):
                return ink, y, x
    best = min(inks, key=lambda ink: int(_cover_everywhere(ink, taken).min()))
    covered = _cover_everywhere(best, taken)
    places = np.argwhere(covered == covered.min())
    distance = (height - places[:, 0] - best.shape[0]) / height + places[:, 1] / width
    y, x = places[int(distance.argmin())]
    return best, int(y), int(x)


def _edge_places(room_y: int, room_x: int, margin: int) -> Iterator[tuple[int, int]]:
    """Yield corners, then middles of edges, as (y, x); `room` is what the plate leaves."""
    top, left = min(margin, room_y), min(margin, room_x)
    bottom, right = room_y - top, room_x - left
    yield from ((bottom, left), (bottom, right), (top, left), (top, right))
    yield from ((bottom, room_x // 2), (top, room_x // 2))
    yield from ((room_y // 2, left), (room_y // 2, right))


def _covered(taken: Table, y: int, x: int, ink: Ink) -> int:
    h, w = ink.shape
    return int(taken[y + h, x + w] - taken[y, x + w] - taken[y + h, x] + taken[y, x])


def _cover_everywhere(ink: Ink, taken: Table) -> Table:
    """Return how many taken pixels the plate covers at every top left corner it can have."""
    h, w = ink.shape
    return taken[h:, w:] - taken[:-h, w:] - taken[h:, :-w] + taken[:-h, :-w]
