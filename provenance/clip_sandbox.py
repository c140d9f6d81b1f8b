"""Reading of a foreign clip in a process of its own: what is asked of the worker, what is believed.

Decides the caps on what comes back: sizes before memory is reserved, time in all, and an end. The
worker inherits the clip open for reading, for it can open nothing; one worker a task.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from provenance.clip_exchange import (
    ANSWER,
    COUNTED,
    END,
    FRAME,
    MAX_FORM_BYTES,
    PACKET,
    REASONS,
    REFUSED,
    SURVEYED,
    Request,
    pack_request,
)
from provenance.clip_reading import ClipUnsupported
from provenance.exchange import DecodeCrashed
from provenance.process import Confinement, Deadline, Worker
from provenance.video import REFUSALS, Frame, VideoError, VideoLimits, VideoTooLarge
from provenance.video_sandbox import VIDEO_CONFINEMENT, refusal

MAX_PACKET_BYTES: Final = 1_000_000
"""One packet of sound: a second of lossless sound in eight channels."""
MAX_SOUND_PACKETS_A_SECOND: Final = 400
"""Opus packets of 2.5 ms."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How workers for clips are run; for tests and for operators who require shields."""

    confinement: Confinement = VIDEO_CONFINEMENT
    stopwatch: Callable[[], float] = time.monotonic
    python: str = sys.executable


DEFAULT_SANDBOX: Final = Sandbox()


class Answer(NamedTuple):
    """One answer: its status, two times, a number, and what came with it."""

    status: int
    pts: int
    dts: int
    number: int
    content: bytes | Frame


def ask(path: Path, wanted: Request, limits: VideoLimits, sandbox: Sandbox) -> Iterator[Answer]:
    """Yield the answers to `wanted` about the file at `path` (its number in `wanted` is ours).

    Raises what `video.read_frames` raises, ClipUnsupported, DecodeTimeout, DecodeCrashed and
    DecodeUnavailable. A generator: closing it early ends the worker.
    """
    confinement = replace(sandbox.confinement, cpu_seconds=math.ceil(limits.decode_seconds))
    with _reopened(path) as file:
        number = file.fileno()
        worker = Worker("clip_worker", confinement, sandbox.python, (number,))
        try:
            with Deadline(worker.process, confinement.wall_seconds) as deadline:
                try:
                    request = wanted._replace(file=number)
                    worker.write(pack_request(request, tuple(map(float, astuple(limits)))))
                except OSError as error:
                    raise deadline.blame() from error
            yield from _answers(worker, limits, sandbox)
        finally:
            worker.stop()


def _reopened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise VideoError("the copy of the clip is gone", mend="open the clip again") from error


def _answers(worker: Worker, limits: VideoLimits, sandbox: Sandbox) -> Iterator[Answer]:
    spent = 0.0
    while True:
        began = sandbox.stopwatch()
        with Deadline(worker.process, sandbox.confinement.wall_seconds) as deadline:
            try:
                answer = _read(worker, limits)
            except (OSError, EOFError) as error:
                raise deadline.blame() from error
        spent += sandbox.stopwatch() - began
        if spent > limits.decode_seconds:
            raise VideoTooLarge(f"decoding took more than {limits.decode_seconds:g} s")
        if answer.status == END:
            return
        yield answer


def _read(worker: Worker, limits: VideoLimits) -> Answer:
    """Return the next answer; raise the refusal that the worker names."""
    magic, status, pts, dts, first, second = ANSWER.unpack(worker.read(ANSWER.size))
    if magic != b"FWC1" or status >= REFUSED + len(REFUSALS):
        raise DecodeCrashed("the worker's answer is none")
    if status >= REFUSED:
        raise _refusal(status - REFUSED, first, limits)
    if status == FRAME:
        if min(first, second) < limits.min_side_px or first * second > limits.pixels:
            raise DecodeCrashed("the worker's frame has a size that no frame may have")
        return Answer(status, pts, dts, 0, worker.array(first, second, 3))
    cap = {PACKET: MAX_PACKET_BYTES, SURVEYED: MAX_FORM_BYTES}.get(status, 0)
    if status in (COUNTED, END):
        return Answer(status, pts, dts, first, b"")
    if first > cap:
        raise DecodeCrashed("the worker's answer is longer than it may be")
    return Answer(status, pts, dts, second, worker.read(first))


def _refusal(kind: int, reason: int, limits: VideoLimits) -> VideoError:
    if not reason:
        return refusal(REFUSALS[kind], limits)
    if reason > len(REASONS):
        raise DecodeCrashed("the worker's answer is none")
    return ClipUnsupported(tuple(REASONS)[reason - 1])
