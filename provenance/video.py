"""Bytes of a short video to frames, with limits against hostile input; what reads by PyAV.

Decides what counts as a video: MP4 or QuickTime (ISO BMFF with `ftyp`), Matroska or WebM, one video
stream of an allow-listed codec, read in full within named limits or not at all. The container is
told by its first bytes and its demuxer is forced, so that a playlist or a concat script under a
video's name is never interpreted. Only what is handed in is read; every further file or address
that a container asks for is refused before it is opened. Times, counts and durations that the file
claims are not believed: frames are counted as they arrive. Sound is not read here.

The decoders are C code: `video_sandbox.read_apart` runs them in a process of their own, and every
video that others made belongs there.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Final, Literal, NoReturn, TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from provenance.errors import MediaError

Frame: TypeAlias = npt.NDArray[np.uint8]
"""BGR uint8 (h, w, 3)."""

Demuxer = Literal["mov", "matroska"]

CODECS: Final = ("h264", "hevc", "vp9", "av1")
"""The threat model's list (section 3): what phones and browsers record."""

_EBML = bytes.fromhex("1a45dfa3")  # RFC 8794, section 8.1
_DOC_TYPES = (b"\x42\x82\x84webm", b"\x42\x82\x88matroska")  # RFC 8794, section 11.2.4; RFC 9559
_HEADER_BYTES = 64  # the EBML header of a real file is under 50 bytes
_MAX_STREAMS = 4
_THREADS = 2


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Caps on what is decoded; the defaults are for an enrolment video (threat model T17)."""

    file_bytes: int = 200_000_000
    """Thirty seconds at 50 Mbit/s, the most that phones record."""
    min_seconds: float = 10.0
    """Five movements of two seconds; nothing shorter can hold them."""
    max_seconds: float = 30.0
    fps: int = 120
    pixels: int = 50_000_000
    """Per frame, as for pictures."""
    min_side_px: int = 16
    total_pixels: int = 20_000_000_000
    """Width x height x frames: thirty seconds of 4K at 60 frames a second are 15e9."""
    decode_seconds: float = 120.0
    """Time spent inside the decoder, not in what the caller does with the frames."""


ENROLMENT_LIMITS: Final = VideoLimits()
RELEASE_LIMITS: Final = VideoLimits(
    file_bytes=2_000_000_000,
    min_seconds=0.0,
    max_seconds=600.0,
    total_pixels=300_000_000_000,  # ten minutes of 4K at 60 frames a second
    decode_seconds=1_800.0,  # the same at a third of its speed in one thread
)
"""For a target of a release; it is read from a file, never held in memory as a whole."""


class VideoError(MediaError):
    """A video cannot be taken in; the base of this family."""

    code: ClassVar[str] = "VIDEO"


class VideoUnsupported(VideoError):
    """Not a container, a codec, a set of streams or a picture form that we read."""

    code = "VIDEO-UNSUPPORTED"


class VideoTooLarge(VideoError):
    """A cap on bytes, pixels, frames, seconds or decoding time is exceeded."""

    code = "VIDEO-TOO-LARGE"


class VideoTooShort(VideoError):
    """The video ends before the shortest time that is of use."""

    code = "VIDEO-TOO-SHORT"


class VideoChanged(VideoError):
    """The resolution or the rotation changes within the video."""

    code = "VIDEO-CHANGED"


class VideoDamaged(VideoError):
    """The video breaks off, does not decode, or its times do not run forward."""

    code = "VIDEO-DAMAGED"


REFUSALS: Final = (VideoUnsupported, VideoTooLarge, VideoTooShort, VideoChanged, VideoDamaged)
"""Everything that reading a video raises."""


def read_frames(
    data: bytes,
    *,
    limits: VideoLimits = ENROLMENT_LIMITS,
    stopwatch: Callable[[], float] = time.monotonic,
    threads: int = _THREADS,
) -> Iterator[tuple[float, Frame]]:
    """Yield every frame as (seconds since the first frame, BGR uint8 (h, w, 3)), upright.

    A generator: nothing is read before the first frame is asked for, and that a video is too short
    is known only after its last one, so a caller must read to the end before it believes anything.
    Raises VideoUnsupported, VideoTooLarge, VideoTooShort, VideoChanged and VideoDamaged.
    """
    if len(data) > limits.file_bytes:
        raise VideoTooLarge(f"the file has {len(data)} bytes, the cap is {limits.file_bytes}")
    demuxer = sniff(data)
    try:
        with open_source(io.BytesIO(data), demuxer) as container:
            stream = _only_video(container)
            prepare(stream, limits, threads)
            decoded = timed(container.decode(stream), limits, stopwatch)
            for at, frame in checked(decoded, limits):
                turns = quarter_turns(frame)
                stored = frame.to_ndarray(format="bgr24", threads=threads)
                yield at, turned(cast(Frame, stored), turns)
    except FFmpegError as error:
        raise VideoDamaged(
            f"the video does not decode: {type(error).__name__}", mend="record the video again"
        ) from error


def make_sample() -> bytes:
    """Return an MP4 of two grey frames, made in one thread: what a decoder warms up with."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.thread_count = 1
        for number in range(2):
            grey = np.full((32, 32, 3), 100 + number, np.uint8)
            container.mux(stream.encode(VideoFrame.from_ndarray(grey, format="bgr24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def sniff(data: bytes) -> Demuxer:
    """Return the demuxer for a file's first bytes; raise VideoUnsupported for any other file."""
    if data[4:8] == b"ftyp":
        return "mov"
    head = data[:_HEADER_BYTES]
    if head.startswith(_EBML) and any(doc_type in head for doc_type in _DOC_TYPES):
        return "matroska"
    raise VideoUnsupported(
        "the file is neither MP4, QuickTime, Matroska nor WebM",
        mend="record with a phone or browser and send the file as it is",
    )


def open_source(
    source: BinaryIO, demuxer: Demuxer, max_streams: int = _MAX_STREAMS
) -> InputContainer:
    """Open a container that nothing but `source` is read for; raises FFmpegError, VideoUnsupported.

    Not for use outside a worker on what others made.
    """
    return av.open(
        source,
        "r",
        format=demuxer,
        # An empty protocol list is read as "all"; no protocol is called none.
        container_options={"max_streams": str(max_streams), "protocol_whitelist": "none"},
        # Text that is not UTF-8 in a title is no reason for a foreign error; titles are not read.
        metadata_errors="replace",
        io_open=_refuse_to_open,
    )


def _refuse_to_open(url: str, *_: Any) -> NoReturn:
    raise VideoUnsupported("the file refers to another file or address; none is ever opened")


def _only_video(container: InputContainer) -> VideoStream:
    """Return the one video stream, of an allowed codec."""
    streams = container.streams.video
    if len(streams) != 1:
        raise VideoUnsupported(f"the file has {len(streams)} video streams, need exactly one")
    stream = streams[0]
    codec = codec_of(stream.codec_context)
    if codec not in CODECS:
        raise VideoUnsupported(f"the codec is {codec}", mend=f"one of {', '.join(CODECS)}")
    return stream


def codec_of(context: CodecContext | None) -> str:
    """Return the name of a codec, "unknown" where this build has no decoder for it."""
    # PyAV gives a stream that no decoder of this build reads no context, whatever its types say.
    return context.codec.canonical_name if context else "unknown"


def _check_size(width: int, height: int, limits: VideoLimits) -> None:
    if width * height > limits.pixels:
        raise VideoTooLarge(f"a frame has {width} x {height} pixels, the cap is {limits.pixels}")
    if min(width, height) < limits.min_side_px:
        raise VideoUnsupported(
            f"a frame has {width} x {height} pixels, a side has at least {limits.min_side_px}"
        )


def prepare(stream: VideoStream, limits: VideoLimits, threads: int) -> None:
    """Tell the decoder to stop at damage and at frames over the cap, before it allocates them.

    Raises VideoTooLarge and VideoUnsupported for a size out of the caps and stretched pixels.
    """
    context = stream.codec_context
    _check_size(context.width, context.height, limits)
    if stream.sample_aspect_ratio not in (None, 0, 1):
        raise VideoUnsupported("the pixels are not square", mend="record without stretching")
    context.options = {"max_pixels": str(limits.pixels), "err_detect": "explode"}
    context.thread_count = threads


def timed(
    frames: Iterator[VideoFrame], limits: VideoLimits, stopwatch: Callable[[], float]
) -> Iterator[VideoFrame]:
    """Pass frames on; raise VideoTooLarge when the decoder has worked for too long in all."""
    spent = 0.0
    while True:
        began = stopwatch()
        frame = next(frames, None)
        spent += stopwatch() - began
        if spent > limits.decode_seconds:
            raise VideoTooLarge(f"decoding took more than {limits.decode_seconds:g} s")
        if frame is None:
            return
        yield frame


def checked(
    frames: Iterator[VideoFrame], limits: VideoLimits
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield times and frames, each frame held against the caps and against the first frame."""
    form: tuple[int, int, int] | None = None
    start = at = 0.0
    pixels = 0
    # The times of the last `fps` frames: the next one has to lie a whole second after the oldest.
    recent: deque[float] = deque(maxlen=limits.fps)
    for frame in frames:
        if form is None:
            form, start = _form(frame), _time(frame)
        elif _form(frame) != form:
            raise VideoChanged("the resolution or rotation changes within the video")
        at = _time(frame) - start
        pixels += frame.width * frame.height
        _check_pace(at, recent, limits)
        if pixels > limits.total_pixels:
            raise VideoTooLarge(f"the video has more than {limits.total_pixels} pixels in all")
        recent.append(at)
        yield at, frame
    if at < limits.min_seconds:
        raise VideoTooShort(
            f"the video shows {at:.1f} s, need at least {limits.min_seconds:g} s",
            mend="record a longer video",
        )


def _check_pace(at: float, recent: deque[float], limits: VideoLimits) -> None:
    """Raise unless a frame's time comes after the last one's and within the caps."""
    if recent and at <= recent[-1]:
        raise VideoDamaged("the times of the frames do not run forward")
    if at > limits.max_seconds:
        raise VideoTooLarge(f"the video is longer than {limits.max_seconds:g} s")
    if len(recent) == limits.fps and at - recent[0] < 1.0 - 1e-6:
        raise VideoTooLarge(f"the video has more than {limits.fps} frames in a second")


def _form(frame: VideoFrame) -> tuple[int, int, int]:
    return frame.width, frame.height, frame.rotation % 360


def _time(frame: VideoFrame) -> float:
    if frame.pts is None or frame.time_base is None:
        raise VideoDamaged("a frame has no time", mend="record the video again")
    return float(frame.pts * frame.time_base)


def quarter_turns(frame: VideoFrame) -> int:
    """Return the turn, 0 to 3 quarters against the clock: phones store it beside the pixels."""
    turns, rest = divmod(frame.rotation % 360, 90)
    if rest:
        raise VideoUnsupported("the video is turned by an angle that is not a quarter")
    return turns


def turned(stored: Frame, turns: int) -> Frame:
    """Return stored pixels as they are to be seen."""
    return np.ascontiguousarray(np.rot90(stored, turns))
