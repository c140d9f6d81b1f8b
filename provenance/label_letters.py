"""Letters of a visible label as ink: Pillow's own font, and a few Chinese signs drawn here.

Decides which letters can be shown and how large a font must be for its capitals to reach a height.
No font file is looked for on the machine: the same text gives the same ink wherever Pillow is. The
built-in font (Aileron) has Latin letters only, so the signs that China's label needs are strokes of
our own. Refuses every other letter by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from provenance.errors import LabelRefused

Ink: TypeAlias = npt.NDArray[np.float64]
"""(h, w), 0..1."""
_Stroke: TypeAlias = tuple[tuple[int, int], ...]

_SIGNS: Final[dict[str, tuple[_Stroke, ...]]] = {
    "生": (
        ((27, 6), (21, 24), (10, 44)),
        ((22, 27), (88, 27)),
        ((18, 58), (84, 58)),
        ((52, 4), (52, 93)),
        ((5, 93), (95, 93)),
    ),
    "成": (
        ((14, 25), (94, 25)),
        ((16, 25), (16, 60), (12, 80), (5, 94)),
        ((18, 50), (44, 50), (43, 68), (39, 78), (28, 76)),
        ((56, 4), (58, 36), (65, 63), (77, 84), (89, 94), (94, 74)),
        ((86, 42), (76, 62), (62, 80), (46, 94)),
        ((72, 5), (84, 17)),
    ),
    "合": (
        ((50, 5), (31, 28), (5, 48)),
        ((50, 5), (69, 28), (95, 48)),
        ((31, 46), (69, 46)),
        ((22, 62), (22, 95)),
        ((22, 64), (78, 64), (78, 95)),
        ((22, 90), (78, 90)),
    ),
}
"""Signs on a grid of 100 x 100, y down: each stroke a line through points, drawn by us."""
_SIGN_STROKE = 9
_SIGN_BY_CAPITAL = 1.25
"""Signs are taller than capitals in mixed text; both reach the height that is asked for."""
_FINER = 4
_RUN = re.compile(f"[{''.join(_SIGNS)}]|[^{''.join(_SIGNS)}]+")
_LEADING = 1.9
"""Distance of lines by capital height: room for the letters that go below the line."""


@dataclass(frozen=True, slots=True)
class Letters:
    """A font in one size; `capital_px` is the height of its capitals as drawn."""

    font: ImageFont.FreeTypeFont
    capital_px: int

    def draw(self, lines: Sequence[str]) -> Ink:
        """Return lines of text, left aligned, as ink (h, w), cut to where there is ink."""
        pitch = round(_LEADING * self.capital_px)
        above = round(1.4 * self.capital_px)  # brackets reach 1.2; what is empty is cut off
        width = max(round(sum(self._advance(run) for run in _RUN.findall(line))) for line in lines)
        canvas = Image.new("L", (width + 2, above + pitch * len(lines)))
        for number, line in enumerate(lines):
            self._draw_line(canvas, line, above + number * pitch)
        ink = np.asarray(canvas) / 255.0
        rows, columns = np.nonzero(ink)
        return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    def _draw_line(self, canvas: Image.Image, line: str, base: int) -> None:
        at = 0.0
        for run in _RUN.findall(line):
            if run in _SIGNS:
                side = round(_SIGN_BY_CAPITAL * self.capital_px)
                # A sign stands a little below the line that capitals stand on.
                place = (round(at), base - round(0.92 * side))
                canvas.paste(255, place, _draw_sign(run, side))
            else:
                ImageDraw.Draw(canvas).text((at, base), run, font=self.font, fill=255, anchor="ls")
            at += self._advance(run)

    def _advance(self, run: str) -> float:
        if run in _SIGNS:
            return _SIGN_BY_CAPITAL * self.capital_px * 1.08
        return self.font.getlength(run)


def choose_letters(capital_px: float) -> Letters:
    """Return the smallest size of Pillow's own font whose capitals reach `capital_px` pixels.

    Raises `LabelRefused` where Pillow was built without FreeType.
    """
    size = 8
    while True:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise LabelRefused("no scalable font is available", mend="install Pillow with FreeType")
        _, top, _, bottom = font.getbbox("H")
        if bottom - top >= capital_px:
            return Letters(font, int(bottom - top))
        # A capital is never higher than its size, so no smaller size than this can reach it.
        size = max(size + 1, int(capital_px))


def require_showable(text: str) -> None:
    """Raise `LabelRefused` unless every letter of `text` can be drawn; names the first that cannot.

    Showable are printable ASCII and the signs drawn here: the font lacks some of Latin-1 (measured)
    and draws an empty box instead.
    """
    if not text.strip():
        raise LabelRefused("a visible label needs words")
    for letter in text:
        if letter not in _SIGNS and not (letter.isascii() and letter.isprintable()):
            raise LabelRefused(
                f"a visible label cannot show U+{ord(letter):04X}",
                mend=f"ASCII letters and {''.join(_SIGNS)} can be shown",
            )


def _draw_sign(sign: str, side_px: int) -> Image.Image:
    """Return one sign as a mask; drawn larger and made small, so that its edges are smooth."""
    scale = side_px * _FINER / 100
    canvas = Image.new("L", (side_px * _FINER, side_px * _FINER))
    pen = ImageDraw.Draw(canvas)
    radius = _SIGN_STROKE * scale / 2
    for stroke in _SIGNS[sign]:
        points = [(x * scale, y * scale) for x, y in stroke]
        pen.line(points, fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return canvas.resize((side_px, side_px), Image.Resampling.BOX)
