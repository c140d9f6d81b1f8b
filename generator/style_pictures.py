"""Draw the shipped style pictures: `python -m generator.style_pictures --out generator/styles`.

Eight ways of putting tones and colours on paper, each drawn from a seed by numpy and OpenCV alone:
no picture of anybody's was looked at, copied or learned from, so they are ours to give away (CC0).
They are abstract fields of light and shade, because a style here is strokes, dots, edges and
colours at every tone, not a scene. Beside them goes a card with their digests (`generator.styles`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from generator.styles import CARD, SIDE_PX, render_card
from policies.errors import Error
from policies.files import replace_file

Image = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

FINE: Final = 2
"""Drawn this many times as large, then shrunk: strokes get soft edges."""
DRAWN_PX: Final = SIDE_PX * FINE
QUALITY: Final = 80

PAPER: Final[Colour] = (226, 238, 243)
"""Colours are BGR."""


def draw_ink(rng: np.random.Generator) -> Image:
    """Pen and ink: up to four directions of hatching, closer and heavier where it is darker."""
    tone, wobble = _field(rng, 48), _field(rng, 24) - 0.5
    y, x = _grid()
    paper = np.ones_like(tone)
    for layer, degrees in enumerate((38, 128, 82, 8)):
        angle = np.deg2rad(degrees)
        across = x * np.cos(angle) + y * np.sin(angle) + 26 * wobble
        wave = 0.5 + 0.5 * np.cos(across * (2 * np.pi / 15))
        dark = np.clip((0.74 - 0.21 * layer - tone) * 1.7, 0, 0.62)
        broken = 0.25 * (_field(rng, 5) - 0.5)
        paper *= 1 - 0.92 * _step(wave - (1 - dark) - broken * (dark > 0), 0.18)
    outline = _edges(tone, (0.28, 0.55, 0.8), 2.2)
    return _between(PAPER, (58, 38, 30), np.maximum(1 - paper, outline))


def draw_watercolour(rng: np.random.Generator) -> Image:
    """Watercolour: transparent washes with dark rims where the pigment dried, on rough paper."""
    washes: Sequence[Colour] = (
        (214, 168, 92), (120, 152, 236), (150, 200, 120), (88, 190, 240), (196, 120, 150),
    )  # fmt: skip
    out = np.full((DRAWN_PX, DRAWN_PX, 3), 250, np.float32) / 255
    grain = _field(rng, 1.6) - 0.5
    for wash in (*washes, *washes[:2]):
        pool = _field(rng, 42) + 0.1 * (_field(rng, 7) - 0.5)
        inside = _step(pool - 0.52, 0.02)
        rim = np.exp(-(((pool - 0.54) / 0.02) ** 2))
        load = inside * (0.35 + 0.55 * _field(rng, 30)) + 0.45 * rim + 0.1 * grain * inside
        light = np.array(wash, np.float32) / 255
        out *= 1 - np.clip(load, 0, 1)[..., None] * (1 - light)
    out *= 1 + 0.07 * grain[..., None]
    return np.clip(out * 255, 0, 255)


def draw_oil(rng: np.random.Generator) -> Image:
    """Oil: short loaded strokes along a turning direction, large ones first, lit from the side."""
    palette = ((62, 52, 120), (58, 128, 214), (120, 190, 232), (140, 96, 46), (176, 152, 84),
               (46, 60, 42), (208, 220, 234))  # fmt: skip
    tone, turn = _field(rng, 60), _field(rng, 70)
    colours = _ramp(tone, palette)
    out = np.ascontiguousarray(colours.astype(np.uint8))
    height = np.zeros((DRAWN_PX, DRAWN_PX), np.uint8)
    for count, length, width in ((900, 60, 20), (2200, 40, 12), (2600, 26, 7)):
        for x, y in rng.integers(0, DRAWN_PX, (count, 2)):
            angle = turn[y, x] * 2.6 * np.pi + rng.normal(0, 0.2)
            bend = angle + rng.normal(0, 0.35)
            steps = np.linspace(-0.5, 0.5, 9)[:, None] * length
            turned = angle + steps[:, 0] / length * (bend - angle)
            ways = np.stack([np.cos(turned), np.sin(turned)], -1)
            points = (steps * ways + (x, y)).astype(np.int32)
            paint = np.clip(colours[y, x] + rng.normal(0, 16, 3), 0, 255)
            cv2.polylines(out, [points], False, paint.tolist(), width, cv2.LINE_AA)
            for k in range(-width // 2 + 1, width // 2, 3):
                shift = np.array([-np.sin(angle), np.cos(angle)]) * k
                bristle = int(rng.integers(70, 255))
                moved = (points + shift).astype(np.int32)
                cv2.polylines(height, [moved], False, bristle, 2, cv2.LINE_AA)
    lit = cv2.Sobel(cv2.GaussianBlur(height, (0, 0), 1.0).astype(np.float32), -1, 1, 1)
    painted: Image = np.clip(out + np.clip(lit * 0.35, -38, 46)[..., None], 0, 255).astype(
        np.float32
    )
    return painted


def draw_halftone(rng: np.random.Generator) -> Image:
    """Halftone: four screens of dots, each at its angle, whose size is the tone."""
    screens = (((224, 150, 20), 15), ((120, 30, 222), 75), ((20, 214, 250), 0), ((30, 26, 30), 45))
    out = np.full((DRAWN_PX, DRAWN_PX, 3), PAPER, np.float32) / 255
    y, x = _grid()
    for number, (ink, degrees) in enumerate(screens):
        angle, pitch = np.deg2rad(degrees), 18.0
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        dots = (np.cos(u * 2 * np.pi / pitch) + np.cos(v * 2 * np.pi / pitch)) / 4 + 0.5
        load = _field(rng, 64) * (0.8 if number < 3 else 0.62)
        drawn = _step(dots - (1 - load), 0.08)
        out *= 1 - drawn[..., None] * (1 - np.array(ink, np.float32) / 255)
    return np.clip(out * 255, 0, 255)


def draw_woodcut(rng: np.random.Generator) -> Image:
    """Woodcut: gouges that follow the form, black over one colour, with the grain of the block."""
    form = cv2.GaussianBlur(_field(rng, 56), (0, 0), 6)
    tone, rough = _field(rng, 44), _field(rng, 6) - 0.5
    wave = 0.5 + 0.5 * np.sin(form * 150 + rough * 1.6)
    y, _ = _grid()
    carved = _step(wave - (1.02 - 1.04 * tone) + 0.12 * rough, 0.07)
    grain = np.clip(_field(rng, 22, 1.2) - 0.62, 0, 1) * 1.4 + 0.02 * np.sin(y / 3)
    block = np.clip((1 - carved) * (1 - grain), 0, 1)
    under = _between((206, 226, 236), (62, 96, 206), _step(_field(rng, 60) - 0.55, 0.02))
    printed: Image = (
        under * (1 - block[..., None]) + np.array((34, 28, 26), np.float32) * block[..., None]
    )
    return printed


def draw_glass(rng: np.random.Generator) -> Image:
    """Stained glass: panes of one colour between dark leads, brighter towards their middle."""
    palette = np.array(((150, 60, 20), (40, 40, 190), (30, 150, 240), (90, 150, 40), (190, 150, 70),
                        (120, 40, 110), (190, 225, 240)), np.float32)  # fmt: skip
    seeds = rng.uniform(0, DRAWN_PX, (120, 2)).astype(np.float32)
    y, x = _grid()
    warp = 16 * (_field(rng, 30) - 0.5)
    apart = np.hypot(x[..., None] + warp[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1])
    nearest = np.argpartition(apart, 1, axis=-1)[..., :2]
    two = np.sort(np.take_along_axis(apart, nearest, -1), -1)
    owner = np.argmin(apart, -1)
    pane = palette[rng.integers(0, len(palette), len(seeds))][owner]
    gap = two[..., 1] - two[..., 0]
    lead = 1 - _step(gap - 8, 2.5)
    glow = 0.62 + 0.5 * np.clip(gap / 34, 0, 1) + 0.22 * (_field(rng, 5) - 0.5)
    lit = np.clip(pane * glow[..., None] + 14 * (_field(rng, 60) - 0.5)[..., None], 0, 255)
    dark = np.array((32, 28, 28), np.float32) * lead[..., None]
    leaded: Image = lit * (1 - lead[..., None]) + dark
    return leaded


def draw_pastel(rng: np.random.Generator) -> Image:
    """Chalk pastel: soft strokes one way that the grain of a toned paper breaks up."""
    palette = ((88, 62, 58), (150, 104, 92), (156, 130, 214), (140, 190, 246), (206, 214, 170),
               (236, 238, 248))  # fmt: skip
    paper = np.array((136, 150, 164), np.float32)
    out = np.full((DRAWN_PX, DRAWN_PX, 3), paper, np.float32)
    tone, tooth = _field(rng, 56), _field(rng, 1.8)
    for part in range(3):
        colours = _ramp(np.clip(tone + 0.22 * (_field(rng, 40) - 0.5), 0, 1), palette)
        turn = cv2.getRotationMatrix2D((DRAWN_PX / 2, DRAWN_PX / 2), 52 + 14 * part, 1.45)
        strokes = cv2.warpAffine(
            _field(rng, 30, 2.2), turn, (DRAWN_PX, DRAWN_PX), borderMode=cv2.BORDER_REFLECT
        )
        pressed = np.clip(1.5 * strokes + 0.9 * tooth - 0.85, 0, 1) * 0.85
        out += pressed[..., None] * (colours - out)
    return np.clip(out, 0, 255)


def draw_riso(rng: np.random.Generator) -> Image:
    """Risograph: three spot colours in grains, laid a little beside one another."""
    inks: Sequence[Colour] = ((170, 80, 255), (190, 110, 10), (60, 220, 255))
    out = np.full((DRAWN_PX, DRAWN_PX, 3), (236, 244, 248), np.float32) / 255
    for number, ink in enumerate(inks):
        shape = np.roll(_field(rng, 50), (5 * number, -4 * number), (0, 1))
        flat = _step(shape - 0.62, 0.01) * 0.9
        load = np.maximum(flat, np.clip(shape * 1.1 - 0.12, 0, 0.78))
        drawn = _step(load - _field(rng, 2.6), 0.12) * (0.9 + 0.1 * _field(rng, 3))
        out *= 1 - drawn[..., None] * (1 - np.array(ink, np.float32) / 255)
    return np.clip(out * 255, 0, 255)


DRAWERS: Final[Mapping[str, tuple[Callable[[np.random.Generator], Image], int]]] = MappingProxyType(
    {
        "ink": (draw_ink, 11),
        "watercolour": (draw_watercolour, 23),
        "oil": (draw_oil, 35),
        "halftone": (draw_halftone, 47),
        "woodcut": (draw_woodcut, 59),
        "glass": (draw_glass, 61),
        "pastel": (draw_pastel, 73),
        "riso": (draw_riso, 85),
    }
)
"""Style name -> how it is drawn, and the seed."""


def draw(name: str) -> npt.NDArray[np.uint8]:
    """Return the style picture of that name, BGR uint8 (256, 256, 3); always the same one."""
    drawer, seed = DRAWERS[name]
    large = np.asarray(drawer(np.random.default_rng(seed)), np.float32)
    small = cv2.resize(large, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(small), 0, 255).astype(np.uint8)


def draw_all(folder: Path) -> None:
    """Write every style picture as WebP, and the card of the set; raises StoreUnavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, (_, seed) in DRAWERS.items():
        coded = cv2.imencode(".webp", draw(name), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
        replace_file(folder / f"{name}.webp", coded)
        written[name] = (seed, coded)
    replace_file(folder / CARD, render_card(written).encode())


def _grid() -> tuple[Image, Image]:
    y, x = np.mgrid[:DRAWN_PX, :DRAWN_PX].astype(np.float32)
    return y, x


def _field(rng: np.random.Generator, x_px: float, y_px: float | None = None) -> Image:
    """Return smooth noise (h, w) in which every value of 0..1 is as frequent as any other."""
    noise = rng.standard_normal((DRAWN_PX, DRAWN_PX)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), x_px, sigmaY=y_px or x_px)
    ranks = np.argsort(np.argsort(smooth, axis=None, kind="stable"), kind="stable")
    share: Image = (ranks.reshape(smooth.shape) / (smooth.size - 1)).astype(np.float32)
    return share


def _step(x: npt.NDArray[np.floating], width: float) -> Image:
    """Return 0 below, 1 above zero, over a soft edge of this width."""
    share: Image = np.clip(x / width + 0.5, 0, 1).astype(np.float32)
    return share


def _edges(tone: Image, levels: Sequence[float], width_px: float) -> Image:
    """Return lines (h, w) of 0..1 where the tone crosses a level."""
    steep = np.hypot(cv2.Sobel(tone, -1, 1, 0), cv2.Sobel(tone, -1, 0, 1)) / 8 + 1e-5
    away = np.min([np.abs(tone - level) / steep for level in levels], 0)
    lines: Image = _step(width_px - away, 1.5) * np.float32(0.9)
    return lines


def _between(paper: Colour, ink: Colour, share: Image) -> Image:
    first, second = np.array(paper, np.float32), np.array(ink, np.float32)
    mixed: Image = first + share[..., None] * (second - first)
    return mixed


def _ramp(tone: Image, palette: Sequence[Colour]) -> Image:
    """Return colours (h, w, 3): tone 0..1 along the palette."""
    places = np.linspace(0, 1, len(palette))
    table = np.array(palette, np.float32)
    return np.stack([np.interp(tone, places, table[:, k]) for k in range(3)], -1).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after saying on stderr what was refused."""
    parser = argparse.ArgumentParser(prog="python -m generator.style_pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of the style set")
    options = parser.parse_args(arguments)
    try:
        draw_all(options.out)
    except Error as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
