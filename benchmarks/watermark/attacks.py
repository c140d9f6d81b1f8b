"""What is done to a marked picture before it is read: RGB uint8 in, RGB uint8 out.

The first 28 are those of the peer table; the others are harder, or fill its gaps. Definitions are
exact, with fixed seeds, so that two runs attack alike; `digest_attacks` tells whether they did.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from PIL import Image

from benchmarks.watermark.methods import Rgb
from benchmarks.watermark.video_codec import recode_still

Attack: TypeAlias = Callable[[Rgb], Rgb]

LANCZOS, BICUBIC = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC
HALF_AREA: Final = math.sqrt(0.5)
CHROMA_HALVED: Final = 2
"""Pillow's number for 4:2:0."""


def recode(rgb: Rgb, kind: str, **options: Any) -> Rgb:
    """Return the picture after one trip through a Pillow codec."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, kind, **options)
    with Image.open(io.BytesIO(out.getvalue())) as image:
        return np.array(image.convert("RGB"))


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    return recode(rgb, "JPEG", quality=quality, subsampling=CHROMA_HALVED)


def webp(rgb: Rgb, quality: int) -> Rgb:
    return recode(rgb, "WEBP", quality=quality)


def resize(rgb: Rgb, scale: float) -> Rgb:
    """Lanczos to `scale` of both sides; the size is not restored."""
    h, w = rgb.shape[:2]
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return np.array(Image.fromarray(rgb).resize(size, LANCZOS))


def restore(rgb: Rgb, like: Rgb) -> Rgb:
    """Bicubic to the size of `like`."""
    return np.array(Image.fromarray(rgb).resize((like.shape[1], like.shape[0]), BICUBIC))


def crop(rgb: Rgb, side: float) -> Rgb:
    """The middle part with `side` of the width and of the height (0.5: a quarter of the area)."""
    h, w = rgb.shape[:2]
    y, x = int(h * (1 - side) / 2), int(w * (1 - side) / 2)
    return np.ascontiguousarray(rgb[y : h - y, x : w - x])


def rotate(rgb: Rgb, degrees: float) -> Rgb:
    """Counter-clockwise, bicubic, same canvas, black corners."""
    return np.array(Image.fromarray(rgb).rotate(degrees, BICUBIC))


def turn(rgb: Rgb, quarters: int) -> Rgb:
    return np.ascontiguousarray(np.rot90(rgb, quarters))


def noise(rgb: Rgb, sigma: float) -> Rgb:
    added = rgb + np.random.default_rng(1).normal(0, sigma, rgb.shape)
    return np.clip(added, 0, 255).astype(np.uint8)


def blur(rgb: Rgb, sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), np.uint8)


def light(rgb: Rgb, *, gain: float = 1.0, contrast: float = 1.0) -> Rgb:
    """Multiply by `gain`, then spread around 128 by `contrast`; clipped."""
    changed = (rgb.astype(np.float32) * gain - 128) * contrast + 128
    return np.asarray(np.clip(changed, 0, 255), np.uint8)


def screenshot(rgb: Rgb) -> Rgb:
    seen = jpeg(resize(rgb, 0.73), 75)
    return np.clip(255 * (seen / 255.0) ** 0.9, 0, 255).astype(np.uint8)


def print_perspective(rgb: Rgb) -> Rgb:
    """A print photographed from a little aside."""
    h, w = rgb.shape[:2]
    d = 0.03
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    seen = np.array(
        [[w * d, h * d * 0.6], [w * (1 - d * 0.5), 0], [w, h * (1 - d)], [0, h * (1 - d * 0.3)]],
        np.float32,
    )
    plane = cv2.getPerspectiveTransform(corners, seen)
    flat = cv2.warpPerspective(rgb, plane, (w, h), borderMode=cv2.BORDER_REFLECT)
    return jpeg(noise(np.asarray(cv2.GaussianBlur(flat, (3, 3), 0.8), np.uint8), 3), 80)


PEER_ATTACKS: Final[MappingProxyType[str, Attack]] = MappingProxyType(
    {
        "none": lambda x: x,
        "jpeg90": lambda x: jpeg(x, 90),
        "jpeg70": lambda x: jpeg(x, 70),
        "jpeg50": lambda x: jpeg(x, 50),
        "jpeg30": lambda x: jpeg(x, 30),
        "webp50": lambda x: webp(x, 50),
        "resize.5back": lambda x: restore(resize(x, 0.5), x),
        "resize.25back": lambda x: restore(resize(x, 0.25), x),
        "resize.5": lambda x: resize(x, 0.5),
        "crop80": lambda x: crop(x, 0.8),
        "crop50": lambda x: crop(x, 0.5),
        "rot2": lambda x: rotate(x, 2),
        "rot5": lambda x: rotate(x, 5),
        "rot90": lambda x: turn(x, 1),
        "hflip": lambda x: np.ascontiguousarray(x[:, ::-1]),
        "noise10": lambda x: noise(x, 10),
        "blur1": lambda x: blur(x, 1.0),
        "blur2": lambda x: blur(x, 2.0),
        "bright+20": lambda x: light(x, gain=1.2),
        "contr+20": lambda x: light(x, contrast=1.2),
        "screenshot": screenshot,
        "print-persp": print_perspective,
        "h264_23": lambda x: recode_still(x, crf=23),
        "h264_28": lambda x: recode_still(x, crf=28),
        "h264_35": lambda x: recode_still(x, crf=35),
        "jpg70+webp50": lambda x: webp(jpeg(x, 70), 50),
        "jpg50+rs.5+crop90": lambda x: crop(jpeg(restore(resize(x, 0.5), x), 50), 0.9),
        "bilateral": lambda x: np.asarray(cv2.bilateralFilter(x, 9, 40, 5), np.uint8),
    }
)
"""The rows of the peer table, in its order."""

EXTRA_ATTACKS: Final[MappingProxyType[str, Attack]] = MappingProxyType(
    {
        "bright-20": lambda x: light(x, gain=0.8),
        "contr-20": lambda x: light(x, contrast=0.8),
        "noise5": lambda x: noise(x, 5),
        "crop80back": lambda x: restore(crop(x, 0.8), x),
        "crop71": lambda x: crop(x, HALF_AREA),
        "rot180": lambda x: turn(x, 2),
        "rot270": lambda x: turn(x, 3),
        "vflip": lambda x: np.ascontiguousarray(x[::-1]),
        "rot5+jpeg50": lambda x: jpeg(rotate(x, 5), 50),
        "rot30": lambda x: rotate(x, 30),
        "rot30+jpeg50": lambda x: jpeg(rotate(x, 30), 50),
        "nlm": lambda x: np.asarray(
            cv2.fastNlMeansDenoisingColored(x, None, 6, 6, 5, 11), np.uint8
        ),
        "jpg50+rs.5nb+crop90": lambda x: crop(jpeg(resize(x, 0.5), 50), 0.9),
    }
)
"""Harder, or missing from the peer table."""

ATTACKS: Final[MappingProxyType[str, Attack]] = MappingProxyType({**PEER_ATTACKS, **EXTRA_ATTACKS})

WORDS: Final[MappingProxyType[str, str]] = MappingProxyType(
    {
        "none": "no attack",
        **{f"jpeg{quality}": f"JPEG quality {quality}, 4:2:0" for quality in (90, 70, 50, 30)},
        "webp50": "WebP quality 50",
        "resize.5back": "half size and back",
        "resize.25back": "quarter size and back",
        "resize.5": "half size, not restored",
        "crop80": "middle 80 % of each side",
        "crop71": "middle 71 % of each side: half the area",
        "crop50": "middle 50 % of each side: a quarter of the area",
        "crop80back": "middle 80 % of each side, size restored",
        **{f"rot{angle}": f"turned by {angle} degrees" for angle in (2, 5, 30, 90, 180, 270)},
        "hflip": "mirrored left to right",
        "vflip": "mirrored top to bottom",
        **{f"noise{sigma}": f"Gaussian noise, sigma {sigma}" for sigma in (5, 10)},
        **{f"blur{sigma}": f"Gaussian blur, sigma {sigma} px" for sigma in (1, 2)},
        **{f"bright{sign}20": f"brightness {sign}20 %" for sign in "+-"},
        **{f"contr{sign}20": f"contrast {sign}20 %" for sign in "+-"},
        "screenshot": "0.73 x size, JPEG 75, gamma 0.9",
        "print-persp": "mild perspective, blur, noise, JPEG 80",
        **{f"h264_{crf}": f"H.264 crf {crf}, third of five frames" for crf in (23, 28, 35)},
        "jpg70+webp50": "JPEG 70, then WebP 50",
        "jpg50+rs.5+crop90": "half size and back, JPEG 50, middle 90 %",
        "jpg50+rs.5nb+crop90": "half size, JPEG 50, middle 90 %",
        "bilateral": "bilateral filter",
        "nlm": "non-local means",
        "rot5+jpeg50": "turned by 5 degrees, JPEG 50",
        "rot30+jpeg50": "turned by 30 degrees, JPEG 50",
    }
)
"""What the ids mean, for the table."""


@cache
def digest_attacks() -> str:
    """Return what tells this set of attacks and codecs from another: 16 hex digits.

    Taken from what they make of a small picture, so that rewording the code changes nothing and a
    codec that changed its output does.
    """
    y, x = np.mgrid[0:192, 0:256]
    plane = 128 + 90 * np.sin(x / 17.0) * np.cos(y / 23.0)
    speckle = np.random.default_rng(5).normal(0, 12, (192, 256, 3))
    rgb = np.clip(plane[..., None] + speckle, 0, 255).astype(np.uint8)
    seen = hashlib.sha256()
    for name, attack in ATTACKS.items():
        seen.update(name.encode() + np.ascontiguousarray(attack(rgb)).tobytes())
    return seen.hexdigest()[:16]
