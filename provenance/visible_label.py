"""The words on the picture: where they go and how large they are.

Decides a place that covers no face if there is one, and a size no law calls too small. Refuses a
picture too small to hold the words. The result depends on nothing but picture, boxes and text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from provenance.errors import LabelRefused, TooSmall
from provenance.media import Box, Frame, require_frame

Plate: TypeAlias = npt.NDArray[np.float64]
"""(h, w, 2): how far the plate covers the picture and how far ink covers the plate, 0..1."""
Table: TypeAlias = npt.NDArray[np.int32]

DEFAULT_TEXT: Final = "AI-generated face swap"
TEXT_SHARE: Final = 0.05
"""Text height of an image label: at least 5 % of the shortest side (GB 45438-2025). Measured on
capital letters, the strictest reading."""
MARGIN_SHARE: Final = 0.015
PLATE_OPACITY: Final = 0.78
"""White text on a white picture keeps a contrast of 11:1 (WCAG 2.2 AAA asks 7:1)."""


def draw_visible_label(frame: Frame, *, avoid: Sequence[Box], text: str = DEFAULT_TEXT) -> Frame:
    """Return a copy of `frame` (BGR uint8 (h, w, 3)) with `text` on a dark plate.

    Capital letters are at least 5 % of the shortest side high. The plate goes to the first corner
    (bottom left, bottom right, top left, top right; text on one line, then on more) that touches no
    box of `avoid`, else to the free place nearest to the bottom left, else to where it covers least
    of the boxes. Raises `ShapeError`, `LabelRefused` for an empty or unprintable text, `TooSmall`
    where no layout fits.
    """
    require_frame(frame)
    if not text.strip() or not text.isprintable() or not _is_latin(text):
        raise LabelRefused("a visible label needs words in Latin letters, the font has no others")
    height, width = frame.shape[:2]
    taken = _sum_taken(height, width, avoid)
    drawn = _plates(text, min(height, width))
    plates = [plate for plate in drawn if plate.shape[0] <= height and plate.shape[1] <= width]
    if not plates:
        raise TooSmall(f"the label does not fit into {width} x {height} pixels")
    margin = round(MARGIN_SHARE * min(height, width))
    plate, y, x = _place(plates, taken, margin)
    out = frame.copy()
    part = out[y : y + plate.shape[0], x : x + plate.shape[1]]
    cover, ink = plate[..., :1], plate[..., 1:]
    part[...] = np.rint((part * (1 - cover)) * (1 - ink) + 255 * ink).astype(np.uint8)
    return out


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 0x100 for letter in text)


def _plates(text: str, side_px: int) -> Iterator[Plate]:
    """Yield plates (h, w, 2), plate opacity and ink 0..1, for one line and for broken lines."""
    font = _find_font(TEXT_SHARE * side_px)
    words = text.split()
    for lines in range(1, len(words) + 1):
        yield _draw_plate(_break_lines(words, lines), font)


def _find_font(capital_px: float) -> ImageFont.FreeTypeFont:
    """Return the smallest size of Pillow's own font whose capitals reach `capital_px`."""
    size = 8
    while True:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise LabelRefused("no scalable font is available", mend="install Pillow with FreeType")
        _, top, _, bottom = font.getbbox("A")
        if bottom - top >= capital_px:
            return font
        # A capital is never higher than its size, so no smaller size than this can reach it.
        size = max(size + 1, int(capital_px))


def _break_lines(words: Sequence[str], lines: int) -> str:
    """Break words into `lines` lines whose lengths are as even as greedy filling makes them."""
    per_line = len(" ".join(words)) / lines
    broken, used = [""], 0
    for word in words:
        if broken[-1] and used + len(word) / 2 > per_line * len(broken):
            broken.append("")
        broken[-1] = f"{broken[-1]} {word}".strip()
        used += len(word) + 1
    return "\n".join(broken)


def _draw_plate(text: str, font: ImageFont.FreeTypeFont) -> Plate:
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
        (0, 0), text, font=font
    )
    pad = max(2, round(font.size * 0.35))
    size = (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad)
    ink = Image.new("L", size)
    ImageDraw.Draw(ink).multiline_text((pad - left, pad - top), text, font=font, fill=255)
    plate = np.full((size[1], size[0], 2), PLATE_OPACITY)
    plate[..., 1] = np.asarray(ink) / 255.0
    return plate


def _sum_taken(height: int, width: int, avoid: Sequence[Box]) -> Table:
    """Return the summed-area table (h + 1, w + 1) of the pixels inside any box."""
    taken = np.zeros((height + 1, width + 1), np.int32)
    for x0, y0, x1, y1 in avoid:
        taken[1 + max(y0, 0) : 1 + max(y1, 0), 1 + max(x0, 0) : 1 + max(x1, 0)] = 1
    return taken.cumsum(0, np.int32).cumsum(1, np.int32)


def _place(plates: Sequence[Plate], taken: Table, margin: int) -> tuple[Plate, int, int]:
    """Return a plate and its top left corner (y, x): free corners first, then least covered."""
    height, width = taken.shape[0] - 1, taken.shape[1] - 1
    for plate in plates:
        h, w = plate.shape[:2]
        my, mx = min(margin, height - h), min(margin, width - w)
        below, right = height - h - my, width - w - mx
        for y, x in ((below, mx), (below, right), (my, mx), (my, right)):
            if taken[y + h, x + w] - taken[y, x + w] - taken[y + h, x] + taken[y, x] == 0:
                return plate, y, x
    best = min(plates, key=lambda plate: int(_cover_everywhere(plate, taken).min()))
    covered = _cover_everywhere(best, taken)
    places = np.argwhere(covered == covered.min())
    distance = (height - places[:, 0] - best.shape[0]) / height + places[:, 1] / width
    y, x = places[int(distance.argmin())]
    return best, int(y), int(x)


def _cover_everywhere(plate: Plate, taken: Table) -> Table:
    """Return how many taken pixels the plate covers at every top left corner it can have."""
    h, w = plate.shape[:2]
    return taken[h:, w:] - taken[:-h, w:] - taken[h:, :-w] + taken[:-h, :-w]
