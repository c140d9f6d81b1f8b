"""Reading of untrusted videos in a process of its own.

Decides what of a worker's answer is believed: frames of one size within the caps, at times that run
forward, and an end. The demuxers and decoders run where there is no key, no file and no network; a
video that breaks one costs its own reading. One worker a video: it is ended with its last frame.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from provenance.exchange import DecodeCrashed
from provenance.process import Confinement, Deadline, Worker
from provenance.video import (
    ENROLMENT_LIMITS,
    REFUSALS,
    Frame,
    VideoChanged,
    VideoDamaged,
    VideoError,
    VideoLimits,
    VideoTooLarge,
    VideoTooShort,
    VideoUnsupported,
    sniff,
)
from provenance.video_worker import ANSWER, END, REFUSED, pack_video

VIDEO_CONFINEMENT: Final = Confinement()
"""As for a picture; `cpu_seconds` is replaced by the decoding time that the limits allow, and
`wall_seconds` holds for every frame."""


def read_apart(
    data: bytes,
    *,
    limits: VideoLimits = ENROLMENT_LIMITS,
    confinement: Confinement = VIDEO_CONFINEMENT,
    stopwatch: Callable[[], float] = time.monotonic,
    python: str = sys.executable,
) -> Iterator[tuple[float, Frame]]:
    """Yield what `video.read_frames` yields, decoded in a worker; raises what it raises.

    Also raises DecodeTimeout, DecodeCrashed (memory that runs out ends the worker) and
    DecodeUnavailable. A generator: closing it early ends the worker.
    """
    if len(data) > limits.file_bytes:
        raise VideoTooLarge(f"the file has {len(data)} bytes, the cap is {limits.file_bytes}")
    sniff(data)
    seconds = math.ceil(limits.decode_seconds)
    worker = Worker("video_worker", replace(confinement, cpu_seconds=seconds), python)
    try:
        with Deadline(worker.process, confinement.wall_seconds) as deadline:
            try:
                worker.write(pack_video(data, limits), data)
            except OSError as error:
                raise deadline.blame() from error
        yield from _frames(worker, limits, confinement.wall_seconds, stopwatch)
    finally:
        worker.stop()


def _frames(
    worker: Worker, limits: VideoLimits, wall_seconds: float, stopwatch: Callable[[], float]
) -> Iterator[tuple[float, Frame]]:
    """Yield frames until the end; raise where the worker refuses, lies or is too slow in all."""
    spent, pixels, last, size = 0.0, 0, -1.0, None
    while True:
        began = stopwatch()
        answer = _next_frame(worker, limits, wall_seconds)
        spent += stopwatch() - began
        if answer is None:
            return
        at, frame = answer
        pixels += frame.size // 3
        if spent > limits.decode_seconds or pixels > limits.total_pixels:
            raise VideoTooLarge("decoding takes more time or gives more pixels than allowed")
        if size not in (None, frame.shape) or not last < at <= limits.max_seconds:
            raise DecodeCrashed("the worker's frames make no sense")
        last, size = at, frame.shape
        yield at, frame


def _next_frame(worker: Worker, limits: VideoLimits, seconds: float) -> tuple[float, Frame] | None:
    """Return the next frame, None at the end; raise the refusal that the worker names."""
    with Deadline(worker.process, seconds) as deadline:
        try:
            magic, status, at, height, width = ANSWER.unpack(worker.read(ANSWER.size))
            if magic != b"FWV1" or status >= REFUSED + len(REFUSALS):
                raise DecodeCrashed("the worker's answer is none")
            if status >= REFUSED:
                raise refusal(REFUSALS[status - REFUSED], limits)
            if status == END:
                return None
            if min(height, width) < limits.min_side_px or height * width > limits.pixels:
                raise DecodeCrashed("the worker's frame has a size that no frame may have")
            return at, worker.array(height, width, 3)
        except (OSError, EOFError) as error:
            raise deadline.blame() from error


def refusal(kind: type[VideoError], limits: VideoLimits) -> VideoError:
    """Return a refusal in our own words: those of the worker are never shown."""
    words = {
        VideoUnsupported: "not a container, a codec, a set of streams or a picture that we read",
        VideoTooLarge: f"over {limits.max_seconds:g} s, {limits.fps} frames a second or"
        f" {limits.pixels} pixels a frame, or too slow to decode",
        VideoTooShort: f"the video shows less than {limits.min_seconds:g} s",
        VideoChanged: "the resolution or the rotation changes within the video",
        VideoDamaged: "the video breaks off, does not decode, or its times do not run forward",
    }
    return kind(words[kind], mend="record the video again, as phones and browsers do")
