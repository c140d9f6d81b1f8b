"""Pictures without a mark of our key: what a reader might claim too much about.

Photographs and renders, whole and in parts, textures, noise, halftones, text and periodic patterns
(a periodic reader's natural traps), other tools' marks, and our own mark under another key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from benchmarks.watermark.attacks import jpeg, resize, rotate
from benchmarks.watermark.methods import Method, Refused, Rgb, draw_payload
from benchmarks.watermark.ours import OurMark
from benchmarks.watermark.peers import PEERS, PeerMissing, open_peer
from benchmarks.watermark.pictures import ROOT, choose, load

PART_PX: Final = 256
PERIODS: Final = (2, 3, 4, 5, 7, 8, 11, 16, 24, 32, 64, 128)
TILE_SIDES: Final = (64, 96, 128, 256)
OTHER_KEY: Final = bytes(range(1, 33))
OTHER_MARKS: Final = 24
FOREIGN_MARKS: Final = 10

_Plane = npt.NDArray[np.floating] | npt.NDArray[np.integer]


def grey(plane: _Plane) -> Rgb:
    return np.repeat(np.clip(plane, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def whole() -> Iterator[Rgb]:
    for which in ("tuning", "benchmark"):
        for listed in choose(which)[0]:
            yield load(listed)


def recoded() -> Iterator[Rgb]:
    for rgb in whole():
        yield jpeg(rgb, 70)


def parts() -> Iterator[Rgb]:
    """A corner of 256 px of each picture, and the opposite one of large pictures."""
    for rgb in whole():
        h, w = rgb.shape[:2]
        yield np.ascontiguousarray(rgb[:PART_PX, :PART_PX])
        if min(h, w) > 2 * PART_PX:
            yield np.ascontiguousarray(rgb[-PART_PX:, -PART_PX:])


def personas() -> Iterator[Rgb]:
    """Rendered scenes of 176 px, twice their size; none where they are not here."""
    folder = ROOT.parent / "shared" / "data" / "personas" / "images"
    for path in sorted(folder.glob("*.webp"))[::4]:
        yield enlarge(path)


def enlarge(path: Path) -> Rgb:
    with Image.open(path) as image:
        size = (2 * image.width, 2 * image.height)
        return np.array(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def periodic() -> Iterator[Rgb]:
    """Flats, ramps, waves, checks and repeated tiles, among them of our own tile's side."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[0:384, 0:384]
    for value in (0, 1, 77, 128, 254, 255):
        yield grey(np.full((384, 384), value))
    for a, b in ((1, 0), (0, 1), (1, 1), (1, 3)):
        yield grey((x * a + y * b) * 255 / (383 * (a + b)))
    for period in PERIODS:
        for slope in (0, 0.4, 1):
            yield grey(127 + 120 * np.sin(2 * np.pi * (x + slope * y) / period))
        yield grey((x // period + y // period) % 2 * 255)
    for side in TILE_SIDES:
        for _ in range(8):
            yield grey(np.tile(rng.integers(0, 256, (side, side)), (6, 6)))
            yield grey(np.tile(rng.normal(128, 30, (side, side)), (4, 4)))


def noisy() -> Iterator[Rgb]:
    """White noise, and noise whose spectrum falls like that of photographs."""
    rng = np.random.default_rng(8)
    for sigma in (2, 10, 40, 100):
        for _ in range(8):
            yield grey(rng.normal(128, sigma, (384, 384)))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(384), np.fft.fftfreq(384)))
    radius[0, 0] = np.inf
    for power in (0.5, 1.0, 1.5, 2.0):
        for _ in range(10):
            plane = np.fft.ifft2(np.fft.fft2(rng.normal(size=(384, 384))) / radius**power).real
            yield grey(128 + 40 * plane / plane.std())


def textures() -> Iterator[Rgb]:
    """Brick, grass and gravel, turned and resized."""
    for listed in choose("benchmark")[0]:
        if listed.name in {"brick", "grass", "gravel", "coins", "motorcycle_left"}:
            for degrees in (3, 11, 24, 37):
                for scale in (0.7, 1.3):
                    yield resize(rotate(load(listed), degrees), scale)


def halftones() -> Iterator[Rgb]:
    """Prints: dots whose size follows the picture, on screens of several pitches and angles."""
    y, x = np.mgrid[0:512, 0:512]
    for number, listed in enumerate(choose("tuning")[0][:12]):
        plane = cv2.cvtColor(cv2.resize(load(listed), (512, 512)), cv2.COLOR_RGB2GRAY)
        for pitch in (4, 5.3, 8, 12):
            angle = np.radians((0, 15, 45, 75)[number % 4])
            u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            screen = 127.5 + 63.7 * (np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch))
            yield grey((plane > screen) * 255)


def texts() -> Iterator[Rgb]:
    """Pages of letters and tables, as screenshots show them."""
    rng = np.random.default_rng(9)
    for page in range(40):
        image = Image.new("RGB", (480, 400), "white" if page % 2 else (24, 26, 30))
        draw = ImageDraw.Draw(image)
        for row in range(8, 392, 12 + page % 5):
            line = "".join(chr(c) for c in rng.integers(97, 122, 60)).replace("e", " ")
            draw.text((8, row), line, fill="black" if page % 2 else (220, 220, 220))
        for column in range(0, 480, 40 + 8 * (page % 7)):
            draw.line((column, 0, column, 400), fill=(128, 128, 128))
        yield np.array(image)


def other_key() -> Iterator[Rgb]:
    """Our own mark under a key the reader does not have, also turned and recoded."""
    for marked in _mark(OurMark(OTHER_KEY), OTHER_MARKS):
        yield marked
        yield jpeg(marked, 50)
        yield rotate(marked, 5)


def foreign() -> Iterator[Rgb]:
    """Other tools' marks, of those that are installed."""
    for name in PEERS:
        try:
            peer = open_peer(name)
        except PeerMissing:
            continue
        yield from _mark(peer, FOREIGN_MARKS)


def _mark(method: Method, count: int) -> Iterator[Rgb]:
    rng = np.random.default_rng(10)
    for listed in choose("benchmark", count)[0]:
        try:
            yield method.embed(load(listed), draw_payload(method, rng))
        except Refused:
            continue


HOSTS: Final[MappingProxyType[str, Callable[[], Iterator[Rgb]]]] = MappingProxyType(
    {
        "pictures": whole,
        "pictures as JPEG 70": recoded,
        "parts of 256 px": parts,
        "rendered scenes": personas,
        "flat and periodic": periodic,
        "noise": noisy,
        "textures, turned and resized": textures,
        "halftones": halftones,
        "text and tables": texts,
        "our mark, another key": other_key,
        "other tools' marks": foreign,
    }
)
"""The kinds of host, in the order of the report."""
