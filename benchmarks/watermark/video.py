"""The mark in a video: every frame under one payload, then codecs, frame rates, sizes and cuts.

Two clips: a rendered head that talks (where `../shared/data` is), and a camera that pans over
photographs. Frames are read one by one, a few of each copy, and together with the keyframes before
them. Flicker is the mean absolute change of the residual (marked minus original) from frame to
frame over its mean absolute value: 0 for a pattern that stands still, about 1.4 for noise that is
new in every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from benchmarks.watermark.attacks import resize
from benchmarks.watermark.measure import psnr, wilson
from benchmarks.watermark.methods import Refused, Rgb, draw_payload
from benchmarks.watermark.ours import OurMark, read_id
from benchmarks.watermark.pictures import ROOT
from benchmarks.watermark.timing import photograph
from benchmarks.watermark.video_codec import FPS, Coded, recode_frames

SECONDS: Final = 4
CUT_SECONDS: Final = 2
SIZE: Final = (1280, 720)
READ_FRAMES: Final = 12
"""Frames of each copy that are read one by one, evenly spaced."""

Copy = Callable[[list[Rgb]], Coded]


def _faster(frames: list[Rgb]) -> Coded:
    """25 to 30 frames a second: some frames are shown twice."""
    shown = [frames[number * FPS // 30] for number in range(len(frames) * 30 // FPS)]
    return recode_frames(shown, crf=23, fps=30)


def _cut(frames: list[Rgb]) -> Coded:
    """Two seconds out of the middle of the coded clip, coded again."""
    first = (len(frames) - CUT_SECONDS * FPS) // 2 + 7
    coded = recode_frames(frames, crf=23).frames
    return recode_frames(coded[first : first + CUT_SECONDS * FPS], crf=23)


COPIES: Final[Mapping[str, Copy]] = MappingProxyType(
    {
        "H.264 crf 23": lambda frames: recode_frames(frames, crf=23),
        "H.264 crf 28": lambda frames: recode_frames(frames, crf=28),
        "H.264 crf 35": lambda frames: recode_frames(frames, crf=35),
        "HEVC crf 28": lambda frames: recode_frames(frames, crf=28, codec="libx265"),
        "25 to 30 frames a second, H.264 crf 23": _faster,
        "half size, H.264 crf 23": lambda frames: recode_frames(
            [resize(frame, 0.5) for frame in frames], crf=23
        ),
        "2-second cut, H.264 crf 23 twice": _cut,
    }
)


def pan(seconds: int = SECONDS) -> list[Rgb]:
    """A window of 720p that moves 3 px a frame over a larger wall of photographs."""
    width, height = SIZE
    wall = photograph(width * 3 // 2, height * 3 // 2)
    return [
        np.ascontiguousarray(wall[n : n + height, 3 * n : 3 * n + width])
        for n in range(seconds * FPS)
    ]


def talk() -> list[Rgb]:
    """The rendered head at twice its size; empty where the frames are not here."""
    folder = ROOT.parent / "shared" / "data" / "demo" / "clip1"
    frames = []
    for path in sorted(folder.glob("*.webp")):
        with Image.open(path) as image:
            frames.append(np.array(image.convert("RGB")))
    return [
        np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
        for frame in frames
    ]


def measure_video(*, quick: bool) -> dict[str, Any]:
    """Return, for each clip: fidelity, flicker, and what is read from each copy."""
    clips = {"pan over photographs, 1280x720": pan(3 if quick else SECONDS)}
    head = talk()
    if head and not quick:
        clips["rendered head, 640x640"] = head
    return {name: _measure_clip(frames) for name, frames in clips.items()}


def _measure_clip(frames: list[Rgb]) -> dict[str, Any]:
    mark = OurMark()
    payload = draw_payload(mark, np.random.default_rng(12))
    try:
        marked = [mark.embed(frame, payload) for frame in frames]
    except Refused as refused:
        return {"frames": len(frames), "refused": str(refused)}
    return {
        "frames": len(frames),
        "psnr": round(float(np.mean([psnr(a, b) for a, b in zip(frames, marked, strict=True)])), 2),
        "flicker": round(measure_flicker(frames, marked), 4),
        "copies": {name: _read_copy(mark, copy(marked), payload) for name, copy in COPIES.items()},
    }


def measure_flicker(frames: list[Rgb], marked: list[Rgb]) -> float:
    """Return how much the residual changes between frames, as a share of the residual."""
    residuals = [b.astype(np.int16) - a for a, b in zip(frames, marked, strict=True)]
    changes = [np.abs(b - a).mean() for a, b in pairwise(residuals)]
    return float(np.mean(changes) / np.mean([np.abs(residual).mean() for residual in residuals]))


def _read_copy(mark: OurMark, copy: Coded, payload: Any) -> dict[str, Any]:
    picked = _space_evenly(copy.frames, READ_FRAMES)
    read = [mark.decode(frame) for frame in picked]
    right = sum(bits is not None and np.array_equal(bits, payload) for bits in read)
    wrong = sum(bits is not None and not np.array_equal(bits, payload) for bits in read)
    keyframes = [copy.frames[number] for number in copy.keyframes]
    together = read_id(mark.detect_clip([*keyframes, *picked]))
    return {
        "frames_read": right,
        "n": len(picked),
        "interval": [round(bound, 4) for bound in wilson(right, len(picked))],
        "wrong": wrong,
        "clip": "not read"
        if together is None
        else ("read" if np.array_equal(together, payload) else "WRONG ID"),
    }


def _space_evenly(frames: list[Rgb], count: int) -> list[Rgb]:
    """Return about `count` frames, none of them the first."""
    step = max(1, len(frames) // count)
    return frames[step // 2 :: step][:count]
