"""What tests of the mark share: pictures that show nobody real, marked copies of them, and copies
whose exact geometry is known."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data as textures

from policies.warrants import ActiveWarrant
from provenance.pixels import Frame
from provenance.watermark.payload import Payload, issue_payload
from provenance.watermark.spread import SpreadMark

KEY = bytes(range(32))
ID = "0123456789ab"
DEMO = Path(__file__).parents[3] / "docs" / "demo"


@lru_cache(maxsize=64)
def open_host(name: str) -> Frame:
    """A rendered person by name (`persona1_0`), a picture of scikit-image, or a synthetic one."""
    if name in _SYNTHETIC:
        frame = _SYNTHETIC[name]()
    elif name.startswith("persona"):
        frame = np.asarray(Image.open(DEMO / f"{name}.webp").convert("RGB"))[..., ::-1]
    else:
        plane = np.asarray(getattr(textures, name)())
        frame = plane[..., ::-1] if plane.ndim == 3 else np.repeat(plane[..., None], 3, axis=2)
    frame = np.ascontiguousarray(frame)
    frame.setflags(write=False)
    return frame


def _cloud() -> Frame:
    """Smooth noise of every size, as skies, skin and walls have it, in colour."""
    rng = np.random.default_rng(11)
    total = np.full((640, 640, 3), 128.0)
    for side in (5, 20, 80, 320):
        small = rng.normal(0, 220 / side**0.6, (side, side, 3))
        total += cv2.resize(small, (640, 640), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 16, 239).astype(np.uint8)


def _dark() -> Frame:
    return (open_host("persona4_0") * 0.15).astype(np.uint8)


def _flat() -> Frame:
    return np.full((512, 512, 3), 128, np.uint8)


def _ramp() -> Frame:
    line = np.linspace(0, 255, 512).astype(np.uint8)
    return np.repeat(np.tile(line, (512, 1))[..., None], 3, axis=2)


def _half_clipped() -> Frame:
    frame = open_host("cloud").copy()
    frame[:, :320] = 255
    return frame


def _wide() -> Frame:
    """Three times as wide as high; more than two search windows."""
    return np.ascontiguousarray(
        np.hstack([open_host("cloud")[:512], open_host("cloud")[128:, ::-1]])
    )


_SYNTHETIC: dict[str, Callable[[], Frame]] = {
    "cloud": _cloud,
    "dark": _dark,
    "flat": _flat,
    "ramp": _ramp,
    "half clipped": _half_clipped,
    "wide": _wide,
}


@pytest.fixture(scope="session")
def host() -> Callable[[str], Frame]:
    """`host(name)`: an unmarked picture, read-only."""
    return open_host


@pytest.fixture(scope="session")
def mark() -> SpreadMark:
    """The mark under the key of bytes 0 to 31."""
    return SpreadMark(keys=[KEY])


@pytest.fixture
def payload_of(active_warrant: Callable[..., ActiveWarrant]) -> Callable[[str], Payload]:
    """`payload_of(mark_id)`: a payload with that id, under one warrant for the whole test."""
    held: list[ActiveWarrant] = []

    def issue(mark_id: str) -> Payload:
        if not held:
            held.append(active_warrant())
        return issue_payload(held[0], rng=lambda _: bytes.fromhex(mark_id))

    return issue


_MARKED: dict[tuple[str, str, bytes], Frame] = {}


@pytest.fixture
def marked(payload_of: Callable[[str], Payload]) -> Callable[..., Frame]:
    """`marked(name, mark_id=, key=)`: a marked picture, read-only; marked once in a test run."""

    def make(name: str, mark_id: str = ID, key: bytes = KEY) -> Frame:
        asked = (name, mark_id, key)
        if asked not in _MARKED:
            frame = SpreadMark(keys=[key]).embed(open_host(name), payload_of(mark_id))
            frame.setflags(write=False)
            _MARKED[asked] = frame
        return _MARKED[asked]

    return make


# --- copies, each with the 3 x 3 matrix from places (x, y) of the picture to places of the copy ---


def rotate(frame: Frame, degrees: float) -> tuple[Frame, np.ndarray]:
    """Counter-clockwise about the middle, same canvas, black corners."""
    height, width = frame.shape[:2]
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return _warp(frame, matrix), matrix


def slant(frame: Frame, depth: float) -> tuple[Frame, np.ndarray]:
    """As a photograph of a print that is held a little askew."""
    h, w = frame.shape[:2]
    before = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    after = [[depth * w, 0.6 * depth * h], [(1 - 0.5 * depth) * w, 0]]
    after += [[w, (1 - depth) * h], [0, (1 - 0.3 * depth) * h]]
    matrix = cv2.getPerspectiveTransform(before, np.array(after, np.float32))
    return _warp(frame, matrix), matrix


def scale(frame: Frame, factor: float) -> tuple[Frame, np.ndarray]:
    """Another size, as any program makes it."""
    height, width = frame.shape[:2]
    size = (round(width * factor), round(height * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    x, y = size[0] / width, size[1] / height
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])
    return np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8), matrix


def crop(frame: Frame, y: int, x: int, height: int = 10**6, width: int = 10**6) -> Frame:
    return np.ascontiguousarray(frame[y : y + height, x : x + width])


def turn(frame: Frame, quarters: int, mirror: bool = False) -> tuple[Frame, np.ndarray]:
    """A mirror image first, where asked; then counter-clockwise quarter turns."""
    matrix, (height, width) = np.eye(3), frame.shape[:2]
    if mirror:
        frame, matrix = frame[:, ::-1], np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]])
    for _ in range(quarters):
        matrix = np.array([[0, 1, 0], [-1, 0, width - 1], [0, 0, 1.0]]) @ matrix
        height, width = width, height
    return np.ascontiguousarray(np.rot90(frame, quarters)), matrix


def recode(frame: Frame, kind: str, quality: int) -> Frame:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame[..., ::-1])).save(out, kind, quality=quality)
    return np.asarray(Image.open(out).convert("RGB"))[..., ::-1].copy()


def _warp(frame: Frame, matrix: np.ndarray) -> Frame:
    size = (frame.shape[1], frame.shape[0])
    return np.asarray(cv2.warpPerspective(frame, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)


def psnr(a: Frame, b: Frame) -> float:
    return 10 * math.log10(255**2 / float(np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="session")
def copies() -> SimpleNamespace:
    """Functions that make copies, and the PSNR in dB between two pictures."""
    return SimpleNamespace(
        rotate=rotate, slant=slant, scale=scale, crop=crop, turn=turn, recode=recode, psnr=psnr
    )
