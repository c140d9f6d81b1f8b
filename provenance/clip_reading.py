"""A target video read from an open file: a survey, frames from any one, sound, digests.

Decides what a clip may be: MP4 or QuickTime with one H.264 stream of 8 bits in 4:2:0, progressive,
not HDR, of even sides, with sound that MP4 carries or none. Runs in the worker alone
(`clip_worker`). Frames are numbered as they are shown. Reading may begin at an IDR picture, before
which no frame looks back, and only where the survey has seen one; the reader holds every time
against the survey's, so a number never slips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import dropwhile, islice
from typing import BinaryIO, ClassVar, Final, NamedTuple, cast

from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from provenance.clip_exchange import (
    LAYOUTS,
    MATRICES,
    MAX_CLOCK,
    MAX_LAST_SECONDS,
    MAX_RATE,
    MAX_SETUP_BYTES,
    MAX_SOUNDS,
    REASONS,
    SOUND_CODECS,
    UNSPECIFIED,
    Colour,
    Found,
    Reason,
    Request,
    Sound,
    swscale_matrix,
)
from provenance.video import (
    Frame,
    VideoChanged,
    VideoDamaged,
    VideoLimits,
    VideoUnsupported,
    checked,
    codec_of,
    open_source,
    prepare,
    quarter_turns,
    timed,
    turned,
)

SCALING: Final = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""How chroma is halved and doubled; rounding is exact, so a machine's fast paths agree."""
FULL: Final = 2  # AVCOL_RANGE_JPEG, which is also what BGR is
_HDR = (16, 18)  # H.273 transfer: PQ and HLG
_FORMATS: Final = ("yuv420p", "yuvj420p")
_MAX_STREAMS = 16  # a phone writes five of its own beside picture and sound
_IDR = 5  # ITU-T H.264, table 7-1
_HOUSEHOLD = frozenset(
    "major_brand minor_version compatible_brands encoder language handler_name vendor_id"
    " creation_time".split()
)
"""Tags that every muxer writes; they tell nothing that is missed."""


class ClipUnsupported(VideoUnsupported):
    """A video of a form that no release is made of; `reason` names it."""

    code: ClassVar[str] = "CLIP-UNSUPPORTED"

    def __init__(self, reason: Reason) -> None:
        message, mend = REASONS[reason]
        super().__init__(message, mend=mend)
        self.reason: Reason = reason


class Seen(NamedTuple):
    """One frame of a survey: its time, and whether reading may begin with it."""

    pts: int
    entry: bool


class SoundPacket(NamedTuple):
    """One packet of sound, times in the stream's units."""

    pts: int
    dts: int
    duration: int
    data: bytes


@dataclass(slots=True)
class _Tally:
    """What the packets of a stream show while they pass."""

    packets: int = 0
    """How many there were; the file's own count is used to refuse, never believed."""
    nal_length: int = 0
    """Bytes of a NAL unit's length (ISO/IEC 14496-15, 5.3.3.1); 0: not known."""


def survey(
    file: BinaryIO, limits: VideoLimits, stopwatch: Callable[[], float] = time.monotonic
) -> Iterator[Seen | Found]:
    """Decode every frame; yield each one's time as it comes, and at the end what was found.

    Raises ClipUnsupported and what `video.read_frames` raises.
    """
    with _opened(file) as container:
        stream = _picture_stream(container, limits)
        sounds = tuple(_sound(heard) for heard in _heard(container))
        entries: set[int | None] = set()
        tally = _Tally(nal_length=_nal_length(stream.codec_context.extradata))

        def note(packet: Packet[VideoStream]) -> None:
            if packet.is_keyframe and _holds_idr(bytes(packet), tally.nal_length):
                entries.add(packet.pts)

        form: tuple[Colour, int] | None = None
        frames = timed(_decoded(container, stream, note), limits, stopwatch)
        pts = last = 0
        for _, frame in checked(frames, limits):
            if form not in (None, now := _look(frame)):
                raise VideoChanged("the colours change within the video")
            form, before, pts = now, pts, cast(int, frame.pts)
            last = frame.duration or pts - before
            yield Seen(pts, pts in entries)
        if form is None:
            raise VideoDamaged("the video has no frame")
        yield _found(container, stream, form, max(1, last), sounds)


def read_part(
    file: BinaryIO,
    limits: VideoLimits,
    wanted: Request,
    stopwatch: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[int, Frame]]:
    """Yield (time, frame) for `wanted.most` frames from the time `wanted.first` on.

    Frames are BGR uint8 (h, w, 3), upright. Raises as `survey` does.
    """
    with _opened(file) as container:
        stream = _picture_stream(container, limits)
        if wanted.at is not None and not _lands(container, stream, wanted.at):
            file.seek(0)
            yield from read_part(file, limits, wanted._replace(at=None), stopwatch)
            return
        decoded = _decoded(container, stream, lambda _: None, whole=wanted.at is None)
        frames = checked(timed(decoded, limits, stopwatch), limits)
        wished = dropwhile(lambda pair: cast(int, pair[1].pts) < wanted.first, frames)
        for _, frame in islice(wished, wanted.most):
            colour, turns = _look(frame)
            stored = frame.to_ndarray(
                format="bgr24",
                src_colorspace=swscale_matrix(colour, frame.width, frame.height),
                src_color_range=FULL if colour.range == "pc" else 1,
                dst_color_range=FULL,
                interpolation=SCALING,
                threads=1,
            )
            yield cast(int, frame.pts), turned(cast(Frame, stored), turns)


def _lands(container: InputContainer, stream: VideoStream, at: int) -> bool:
    """Go to the frame of that time; return whether the file's index leads there."""
    container.seek(at, stream=stream)
    landed = next(container.demux(stream)).pts == at
    container.seek(at, stream=stream)
    return landed


def read_sound(file: BinaryIO, number: int) -> Iterator[SoundPacket]:
    """Yield the packets of stream `number` as they are stored; raises VideoDamaged."""
    with _opened(file) as container:
        stream = container.streams[number]
        for other in container.streams:
            other.discard = Discard.default if other is stream else Discard.all
        for packet in _packets(container, stream):
            if packet.size:
                if packet.pts is None or packet.dts is None:
                    raise VideoDamaged("a packet of sound has no time")
                yield SoundPacket(packet.pts, packet.dts, packet.duration or 0, bytes(packet))


def read_digests(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (stream, SHA-256) of every stream's set-up, then of every packet as it is stored.

    Raises VideoDamaged.
    """
    with _opened(file) as container:
        for stream in container.streams:
            yield stream.index, sha256(_setup(stream.codec_context)).digest()
        for packet in container.demux():
            if packet.is_corrupt:
                raise VideoDamaged("the file breaks off inside a packet")
            if packet.size:
                yield packet.stream_index, sha256(bytes(packet)).digest()


def _setup(context: CodecContext | None) -> bytes:
    # A stream that no decoder of this build reads has no context, whatever PyAV's types say.
    return (context.extradata if context else None) or b""


@contextmanager
def _opened(file: BinaryIO) -> Iterator[InputContainer]:
    try:
        with open_source(file, "mov", _MAX_STREAMS) as container:
            yield container
    except FFmpegError as error:
        raise VideoDamaged(f"the video does not decode: {type(error).__name__}") from error


def _picture_stream(container: InputContainer, limits: VideoLimits) -> VideoStream:
    streams = container.streams.video
    if len(streams) != 1:
        raise ClipUnsupported("many_videos" if streams else "no_video")
    stream = streams[0]
    if codec_of(stream.codec_context) != "h264":
        raise ClipUnsupported("codec")
    _clock(stream, "clock")
    prepare(stream, limits, threads=1)
    return stream


def _heard(container: InputContainer) -> tuple[AudioStream, ...]:
    if len(container.streams.audio) > MAX_SOUNDS:
        raise ClipUnsupported("many_sounds")
    return container.streams.audio


def _sound(stream: AudioStream) -> Sound:
    context, codec = stream.codec_context, codec_of(stream.codec_context)
    if codec not in SOUND_CODECS:
        raise ClipUnsupported("sound")
    setup = context.extradata or b""
    if not 0 < len(setup) <= MAX_SETUP_BYTES or not 0 < context.sample_rate <= MAX_RATE:
        raise ClipUnsupported("sound")
    if context.channels not in LAYOUTS:
        raise ClipUnsupported("sound")
    numbers = (context.sample_rate, _clock(stream, "sound"), context.channels)
    return Sound(stream.index, codec, *numbers, setup)


def _clock(stream: Stream, reason: Reason) -> int:
    base = stream.time_base
    if base is None or base.numerator != 1 or base.denominator > MAX_CLOCK:
        raise ClipUnsupported(reason)
    return base.denominator


def _packets(
    container: InputContainer, stream: Stream, *, whole: bool = True
) -> Iterator[Packet[Stream]]:
    """Yield the packets of one stream; raise VideoDamaged where the file breaks off."""
    count = 0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise VideoDamaged("the file breaks off inside a packet")
        if packet.size:
            count += 1
        elif whole and count < len(stream.index_entries):
            raise VideoDamaged("the file breaks off: its index names more than it holds")
        yield packet


def _decoded(
    container: InputContainer,
    stream: VideoStream,
    note: Callable[[Packet[VideoStream]], None],
    *,
    whole: bool = True,
) -> Iterator[VideoFrame]:
    for packet in cast("Iterator[Packet[VideoStream]]", _packets(container, stream, whole=whole)):
        note(packet)
        yield from packet.decode()


def _nal_length(setup: bytes | None) -> int:
    """Return how long the length of a NAL unit is; 0 where the set-up is not that of MP4."""
    return (setup[4] & 3) + 1 if setup and len(setup) > 4 and setup[0] == 1 else 0


def _holds_idr(data: bytes, length: int) -> bool:
    """Return whether an access unit is an IDR picture: no later frame refers to one before it."""
    at = 0
    while length and at + length < len(data):
        if data[at + length] & 31 == _IDR:
            return True
        at += length + int.from_bytes(data[at : at + length], "big")
    return False


def _look(frame: VideoFrame) -> tuple[Colour, int]:
    """Return a frame's colours and turn; raise ClipUnsupported for what we do not release."""
    full = frame.color_range == FULL or frame.format.name == "yuvj420p"
    colour = Colour(
        "pc" if full else "tv", frame.colorspace, frame.color_primaries, frame.color_trc
    )
    for reason, holds in (
        ("hdr", colour.transfer in _HDR),
        ("pixel_form", frame.format.name not in _FORMATS),
        ("matrix", colour.matrix not in {*MATRICES, UNSPECIFIED}),
        ("odd_side", (frame.width | frame.height) & 1),
        ("interlaced", frame.interlaced_frame),
    ):
        if holds:
            raise ClipUnsupported(cast(Reason, reason))
    return colour, quarter_turns(frame)


def _found(
    container: InputContainer,
    stream: VideoStream,
    form: tuple[Colour, int],
    last: int,
    sounds: tuple[Sound, ...],
) -> Found:
    colour, turns = form
    context, clock = stream.codec_context, _clock(stream, "clock")
    width, height = (context.width, context.height)[:: -1 if turns % 2 else 1]
    tags = [*container.metadata, *(key for one in container.streams for key in one.metadata)]
    foreign = [tag for tag in tags if tag not in _HOUSEHOLD]
    return Found(
        width,
        height,
        clock=clock,
        colour=colour,
        turns=turns,
        last=min(last, clock * MAX_LAST_SECONDS),
        tags=len(foreign),
        located=any("location" in tag for tag in foreign),
        others=len(container.streams) - 1 - len(sounds),
        sounds=sounds,
    )
