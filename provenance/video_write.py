"""Frames to a released video: H.264 in pieces, and the pieces with the clip's own sound as one MP4.

Decides how a released video is coded: every frame at its own time, in the clip's size, colours and
range, the same frames to the same bytes, so that a job that was killed goes on piece by piece.
Nothing of the source's file is carried on but its sound, packet by packet; those packets come from
the worker and are not looked into here. Refuses pieces that are not the frames of the clip.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from functools import cache
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import ClassVar, Final, TypeAlias, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from provenance.clip import Clip, Form, sound_packets
from provenance.clip_coded import Coded
from provenance.clip_exchange import LAYOUTS, Sound, SoundCodec, swscale_matrix
from provenance.clip_reading import FULL, SCALING, SoundPacket
from provenance.clip_sandbox import DEFAULT_SANDBOX, Sandbox
from provenance.errors import ShapeError
from provenance.video import Frame, VideoError, open_source

CRF: Final = 16
PRESET: Final = "veryfast"
GROUP: Final = 60
"""Frames from one that stands alone to the next: two seconds; a cut loses no more."""
_THREADS = 2
"""Fixed: the number of threads is part of what decides the bytes."""
_SOUND_ENCODERS: Final[dict[SoundCodec, str]] = {"aac": "aac", "opus": "libopus", "alac": "alac"}

_Timed: TypeAlias = "tuple[Fraction, int, Packet[Stream]]"


class SegmentsRefused(VideoError):
    """What is to be joined is not the clip's frames in order, each at its time."""

    code: ClassVar[str] = "VIDEO-SEGMENTS"


def encode_segment(frames: Iterable[tuple[int, Frame]], form: Form) -> bytes:
    """Return one piece as an MP4 of its own that begins anew; the same frames give the same bytes.

    `frames`: (time in units of the form's time base, strictly rising; BGR uint8 (h, w, 3), upright)
    as `clip.frames` gives them. Without B-frames, so that pieces follow on one another. Raises
    ShapeError, and SegmentsRefused for times that do not run forward or no frame at all.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", container_options=_plain(form)) as out:
        options = {"crf": str(CRF), "preset": PRESET, "bf": "0"}
        stream = out.add_stream("libx264", options=options)
        stream.width, stream.height, stream.pix_fmt = form.width, form.height, "yuv420p"
        context, colour = stream.codec_context, form.colour
        context.time_base = Fraction(*form.time_base)
        context.framerate = Fraction(max(1, form.frames), max(1, form.seconds))
        context.gop_size, context.thread_count = GROUP, _THREADS
        context.color_range = FULL if colour.range == "pc" else 1
        context.colorspace, context.color_trc = colour.matrix, colour.transfer
        context.color_primaries = colour.primaries
        for pts, frame in _in_order(frames, form):
            out.mux(stream.encode(_stored(pts, frame, form)))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def join_segments(
    segments: Iterable[bytes], clip: Clip, out: Path, *, sandbox: Sandbox = DEFAULT_SANDBOX
) -> tuple[str, ...]:
    """Write the pieces in order and the clip's sound to `out`, an MP4 with its index first.

    Video and sound are copied packet by packet, each at its own time. Returns what `read_coded`
    must find in `out`: digests of what was given, not of what lies on disk. `out` has mode 0600.
    Every frame of the clip has to be there: SegmentsRefused otherwise. Raises also what reading
    the clip raises; then there is no `out`.
    """
    part, coded = out.with_name(f"{out.name}.part"), [Coded() for _ in (None, *clip.sounds)]
    options = {**_plain(clip.form), "movflags": "faststart"}
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with (
            av.open(str(part), "w", format="mp4", container_options=options) as made,
            ExitStack() as stack,
        ):
            pieces = iter(segments)
            first = next(pieces, None)
            if first is None:
                raise SegmentsRefused("there is no piece")
            into = _add_picture(made, first)
            tracks = [_picture(chain((first,), pieces), clip, into, coded[0])]
            for number, sound in enumerate(clip.sounds, 1):
                packets = stack.enter_context(closing(sound_packets(clip, sound, sandbox=sandbox)))
                into = _add_sound(made, sound)
                tracks.append(_heard(packets, sound, number, into, coded[number]))
            for track in tracks:
                stack.enter_context(closing(track))
            for _, _, packet in merge(*tracks, key=lambda timed: timed[:2]):
                made.mux(packet)
        part.replace(out)
    except (FFmpegError, OSError) as error:
        raise SegmentsRefused(f"the pieces cannot be joined: {type(error).__name__}") from error
    finally:
        part.unlink(missing_ok=True)
    return tuple(stream.hexdigest() for stream in coded)


def _plain(form: Form) -> dict[str, str]:
    """Return options of the muxer: no name or time of making, and times in the clip's own units."""
    clock = str(form.time_base[1])
    return {"fflags": "+bitexact", "video_track_timescale": clock, "movie_timescale": clock}


def _in_order(frames: Iterable[tuple[int, Frame]], form: Form) -> Iterator[tuple[int, Frame]]:
    last: int | None = None
    for pts, frame in frames:
        if frame.shape != (form.height, form.width, 3) or frame.dtype != np.uint8:
            raise ShapeError(
                actual=(frame.shape, frame.dtype), expected=f"uint8 {(form.height, form.width, 3)}"
            )
        if last is not None and pts <= last:
            raise SegmentsRefused("the times of the frames do not run forward")
        last = pts
        yield pts, frame
    if last is None:
        raise SegmentsRefused("a piece has no frame")


def _stored(pts: int, frame: Frame, form: Form) -> VideoFrame:
    """Return a frame in the colours that the clip stores."""
    full = form.colour.range == "pc"
    made = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24").reformat(
        format="yuv420p",
        dst_colorspace=swscale_matrix(form.colour, form.width, form.height),
        src_color_range=FULL,
        dst_color_range=FULL if full else 1,
        interpolation=SCALING,
        threads=1,
    )
    made.pts, made.time_base = pts, Fraction(*form.time_base)
    return made


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Give a piece that our own encoder wrote, and its one stream."""
    with open_source(io.BytesIO(data), "mov") as piece:
        if len(piece.streams.video) != 1:
            raise SegmentsRefused("a piece is no video")
        yield piece, piece.streams.video[0]


def _add_picture(made: OutputContainer, first: bytes) -> Stream:
    with _opened(first) as (_, stream):
        return made.add_stream_from_template(stream, opaque=True)


def _picture(pieces: Iterable[bytes], clip: Clip, into: Stream, coded: Coded) -> Generator[_Timed]:
    """Yield the packets of all pieces; raise SegmentsRefused unless they are the clip's frames."""
    unit, number = Fraction(*clip.form.time_base), 0
    ends = (*clip.times[1:], clip.times[-1] + clip.form.last)
    coded.add(into.codec_context.extradata or b"")
    for data in pieces:
        with _opened(data) as (piece, stream):
            if not _is_like(stream, into, clip.form):
                raise SegmentsRefused("a piece is not coded as the others, or of another clip")
            for packet in piece.demux(stream):
                if not packet.size:
                    continue
                if number >= clip.form.frames or packet.pts != clip.times[number]:
                    raise SegmentsRefused("a piece has other frames than the clip at its place")
                coded.add(bytes(packet))
                copied = cast("Packet[Stream]", packet)
                copied.duration, copied.stream = ends[number] - clip.times[number], into
                yield clip.times[number] * unit, 0, copied
                number += 1
    if number != clip.form.frames:
        raise SegmentsRefused(f"the pieces have {number} frames, the clip {clip.form.frames}")


def _is_like(stream: VideoStream, into: Stream, form: Form) -> bool:
    context = stream.codec_context
    alike = context.extradata == into.codec_context.extradata
    return alike and (context.width, context.height) == form.size


def _add_sound(made: OutputContainer, sound: Sound) -> Stream:
    """Add a stream that takes packets as they are: the set-up is the source's, unread."""
    with av.open(io.BytesIO(_silence(sound.codec)), "r", format="mov") as template:
        stream = made.add_stream_from_template(template.streams.audio[0], opaque=True)
    context = stream.codec_context
    context.layout, context.sample_rate = LAYOUTS[sound.channels], sound.rate
    context.extradata, stream.time_base = sound.setup, Fraction(1, sound.clock)
    return stream


@cache
def _silence(codec: SoundCodec) -> bytes:
    """Return a moment of silence in that codec, our own: a stream to take the form from.

    The library makes a stream for copied packets only after the model of another stream.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = cast(AudioStream, out.add_stream(_SOUND_ENCODERS[codec], rate=48_000))
        frame = AudioFrame(format=stream.format.name, layout="stereo", samples=4_096)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = 48_000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def _heard(
    packets: Iterator[SoundPacket], sound: Sound, number: int, into: Stream, coded: Coded
) -> Generator[_Timed]:
    unit = Fraction(1, sound.clock)
    coded.add(sound.setup)
    for told in packets:
        coded.add(told.data)
        packet = Packet(told.data)
        packet.pts, packet.dts, packet.duration = told.pts, told.dts, told.duration
        packet.time_base, packet.is_keyframe, packet.stream = unit, True, into
        yield told.dts * unit, number, packet
