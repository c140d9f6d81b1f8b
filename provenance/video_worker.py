"""The process that decodes one video, started by `provenance.video_sandbox` and by nobody else.

Decides nothing: it limits itself as the picture worker does, reads one video from its standard
input and answers with its frames, as fast as they are taken. Then it ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from provenance.confinement import limit_next_job
from provenance.decode_worker import Sink, Source, confine, fall_silent, get_ready

if TYPE_CHECKING:
    from provenance.video import Frame, VideoLimits

REQUEST: Final = struct.Struct(">4sQ8d")
"""What it is, the file's length, then the fields of VideoLimits in their order; then the file."""
ANSWER: Final = struct.Struct(">4sBdII")
"""What it is, its status, and of a frame seconds, height and width; then BGR bytes."""
FRAME, END, REFUSED = 0, 1, 2
"""The status of a frame, of the end, and of the first of `video.REFUSALS`."""

Reader: TypeAlias = "Callable[[bytes, VideoLimits], Iterator[tuple[float, Frame]]]"


def pack_video(data: bytes, limits: VideoLimits) -> bytes:
    """Return the header of a request."""
    return REQUEST.pack(b"FWV1", len(data), *map(float, astuple(limits)))


def serve_video(source: Source, sink: Sink, read: Reader) -> None:
    """Answer the one request with frames, then with the end or the kind of the refusal."""
    from provenance.video import REFUSALS, VideoLimits  # noqa: PLC0415 - loads a codec

    _, length, *numbers = REQUEST.unpack(source.read(REQUEST.size))
    kinds = (type(value) for value in astuple(VideoLimits()))
    limits = VideoLimits(*(kind(number) for kind, number in zip(kinds, numbers, strict=True)))
    status = END
    try:
        for at, frame in read(source.read(length), limits):
            sink.write(ANSWER.pack(b"FWV1", FRAME, at, *frame.shape[:2]))
            sink.write(frame.data)
            sink.flush()
    except REFUSALS as error:
        status = REFUSED + REFUSALS.index(type(error))
    sink.write(ANSWER.pack(b"FWV1", status, 0.0, 0, 0))
    sink.flush()


def load_decoder() -> Reader:
    """Return `video.read_frames` in one thread, after it has read a small video of our own.

    What PyAV imports on first use is thereby there before files are out of reach.
    """
    from provenance.video import VideoLimits, make_sample, read_frames  # noqa: PLC0415

    read = partial(read_frames, threads=1)
    for _ in read(make_sample(), limits=VideoLimits(min_seconds=0)):
        pass
    return lambda data, limits: read(data, limits=limits)


def main(
    arguments: Sequence[str],
    source: Source,
    sink: Sink,
    limit: Callable[[int], bool] = confine,
    close: Callable[[], bool] = fall_silent,
) -> None:
    """Run the worker; `arguments`: memory in bytes and processor seconds for the whole video."""
    read, cpu = get_ready(arguments, sink, load_decoder, limit, close)
    limit_next_job(cpu)
    serve_video(source, sink, read)
