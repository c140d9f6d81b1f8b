"""Frames through a video codec and back; the only module of the benchmark that touches PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.video.reformatter import Interpolation

from benchmarks.watermark.methods import Rgb

FPS = 25


@dataclass(frozen=True, slots=True)
class Coded:
    """Decoded frames in the order shown, and the numbers of those that are keyframes."""

    frames: list[Rgb]
    keyframes: list[int]


def recode_frames(
    frames: Sequence[Rgb], *, crf: int, codec: str = "libx264", fps: int = FPS
) -> Coded:
    """Return `frames` after `codec` (preset medium, yuv420p, one thread) in an MP4.

    Sides are cut to even numbers, as 4:2:0 asks. Colours go both ways with bicubic filters, which
    is what the ffmpeg command does.
    """
    height, width = (n // 2 * 2 for n in frames[0].shape[:2])
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = cast(av.VideoStream, out.add_stream(codec, rate=fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        quiet = {"x265-params": "log-level=none:pools=none"} if codec == "libx265" else {}
        stream.options = {"crf": str(crf), "preset": "medium", **quiet}
        stream.thread_count = 1
        for frame in frames:
            rgb = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame[:height, :width]), format="rgb24"
            )
            planes = rgb.reformat(format="yuv420p", interpolation=Interpolation.BICUBIC)
            out.mux(stream.encode(planes))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as coded:
        coded.streams.video[0].thread_count = 1
        decoded = list(coded.decode(video=0))
    return Coded(
        [
            np.ascontiguousarray(
                frame.reformat(format="rgb24", interpolation=Interpolation.BICUBIC).to_ndarray(),
                np.uint8,
            )
            for frame in decoded
        ],
        [number for number, frame in enumerate(decoded) if frame.key_frame],
    )


def recode_still(rgb: Rgb, *, crf: int) -> Rgb:
    """Return the third of five equal frames after H.264 at 25 frames a second."""
    return recode_frames([rgb] * 5, crf=crf).frames[2]
