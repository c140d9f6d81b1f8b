"""The process that reads one clip, started by `provenance.clip_sandbox` and by nobody else.

Decides nothing: it limits itself as the picture worker does, then does one task on one file that it
inherited open, for it can open none: it surveys the clip, gives frames, packets of sound or the
digests of all packets. Then it ends.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from provenance.clip_exchange import (
    ANSWER,
    COUNTED,
    END,
    FRAME,
    PACKET,
    REASONS,
    REFUSED,
    REQUEST,
    SURVEYED,
    Request,
    pack_found,
    read_request,
)
from provenance.confinement import limit_next_job
from provenance.decode_worker import Sink, Source, confine, fall_silent, get_ready

if TYPE_CHECKING:
    from provenance.video import VideoLimits

Part: TypeAlias = bytes | memoryview
Reader: TypeAlias = "Callable[[BinaryIO, VideoLimits, Request], Iterator[tuple[Part, ...]]]"
"""Gives the answers to a request, each in parts."""


def pack_answer(status: int, pts: int = 0, dts: int = 0, first: int = 0, second: int = 0) -> bytes:
    """Return the header of an answer."""
    return ANSWER.pack(b"FWC1", status, pts, dts, first, second)


def serve_clip(source: Source, sink: Sink, read: Reader) -> None:
    """Answer the one request, then tell the end or the kind of the refusal."""
    from provenance.clip_reading import ClipUnsupported  # noqa: PLC0415 - loads a codec
    from provenance.video import REFUSALS, VideoLimits, VideoUnsupported  # noqa: PLC0415

    wanted, numbers = read_request(source.read(REQUEST.size))
    kinds = (type(value) for value in astuple(VideoLimits()))
    limits = VideoLimits(*(kind(number) for kind, number in zip(kinds, numbers, strict=True)))
    end = pack_answer(END)
    try:
        with open(wanted.file, "rb", buffering=0) as file:
            for parts in read(file, limits, wanted):
                for part in parts:
                    sink.write(part)
                sink.flush()
    except ClipUnsupported as error:
        reason = 1 + tuple(REASONS).index(error.reason)
        end = pack_answer(REFUSED + REFUSALS.index(VideoUnsupported), first=reason)
    except REFUSALS as error:
        end = pack_answer(REFUSED + REFUSALS.index(type(error)))
    sink.write(end)
    sink.flush()


def load_reader() -> Reader:
    """Return what answers, after it has surveyed and read a small video of our own.

    What PyAV imports on first use is thereby there before files are out of reach.
    """
    from provenance.video import RELEASE_LIMITS, make_sample  # noqa: PLC0415

    for task in (Request("survey", 0), Request("frames", 0, None, 0, 2), Request("coded", 0)):
        for _ in answer(io.BytesIO(make_sample()), RELEASE_LIMITS, task):
            pass
    return answer


def answer(file: BinaryIO, limits: VideoLimits, wanted: Request) -> Iterator[tuple[Part, ...]]:
    """Yield the answers to one request, each in parts; raises what `clip_reading` raises."""
    from provenance import clip_reading  # noqa: PLC0415

    if wanted.task == "survey":
        for seen in clip_reading.survey(file, limits):
            if isinstance(seen, clip_reading.Seen):
                yield (pack_answer(COUNTED, seen.pts, first=seen.entry),)
            else:
                words = pack_found(seen)
                yield pack_answer(SURVEYED, first=len(words)), words
    elif wanted.task == "frames":
        for pts, frame in clip_reading.read_part(file, limits, wanted):
            yield pack_answer(FRAME, pts, 0, *frame.shape[:2]), frame.data
    elif wanted.task == "coded":
        for stream, digest in clip_reading.read_digests(file):
            yield pack_answer(PACKET, stream, first=len(digest)), digest
    else:
        for packet in clip_reading.read_sound(file, wanted.first):
            sizes = (len(packet.data), packet.duration)
            yield pack_answer(PACKET, packet.pts, packet.dts, *sizes), packet.data


def main(
    arguments: Sequence[str],
    source: Source,
    sink: Sink,
    limit: Callable[[int], bool] = confine,
    close: Callable[[], bool] = fall_silent,
) -> None:
    """Run the worker; `arguments`: memory in bytes and processor seconds for the whole clip."""
    read, cpu = get_ready(arguments, sink, load_reader, limit, close)
    limit_next_job(cpu)
    serve_clip(source, sink, read)
