"""Videos: what we record is read, and nothing a file says makes us open another one."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import video
from provenance.video import (
    VideoChanged,
    VideoDamaged,
    VideoError,
    VideoLimits,
    VideoTooLarge,
    VideoTooShort,
    VideoUnsupported,
    read_frames,
    sniff,
)

LIMITS = VideoLimits(min_seconds=1.0)
SIZE = (64, 48)


def picture(shade: int, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """A flat picture with a bright top left quarter."""
    made = np.full((size[1], size[0], 3), shade % 200, np.uint8)
    made[: size[1] // 2, : size[0] // 2] = 255
    return made


def packets(encoder: Any, times: Any, size: tuple[int, int]) -> list[Any]:
    made: list[Any] = []
    for number, pts in enumerate(times):
        frame = av.VideoFrame.from_ndarray(picture(number * 5, size), format="bgr24")
        frame.pts, frame.time_base = pts, Fraction(1, 1000)
        made += encoder.encode(frame)
    made += encoder.encode(None)
    return made


def clip(
    codec: str = "libx264",
    container: str = "mp4",
    *,
    frames: int = 20,
    step_ms: float = 100,
    sizes: tuple[tuple[int, int], ...] = (SIZE,),
    streams: int = 1,
    rate: int = 10,
) -> bytes:
    """A clip made in memory; more `sizes` follow one another in the same stream."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        made: list[Any] = [out.add_stream(codec, rate=rate) for _ in range(streams)]
        for first in made:
            prepare(first, sizes[0])
        for first in made:
            out.mux(packets(first, times(0, frames, step_ms), sizes[0]))
        for number, size in enumerate(sizes[1:], 1):
            more: Any = av.CodecContext.create(codec, "w")
            prepare(more, size)
            more.framerate = Fraction(10, 1)
            for packet in packets(more, times(number, frames, step_ms), size):
                packet.stream = first
                out.mux(packet)
    return buffer.getvalue()


def prepare(encoder: Any, size: tuple[int, int]) -> None:
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 1000)


def times(part: int, frames: int, step_ms: float) -> list[int]:
    return [round((part * frames + i) * step_ms) for i in range(frames)]


def with_matrix(data: bytes, *matrix: int) -> bytes:
    """The same MP4 with another display matrix (ISO/IEC 14496-12, section 8.3.2)."""
    at = data.index(b"tkhd") + 44
    return data[:at] + struct.pack(">9i", *matrix) + data[at + 36 :]


@pytest.fixture(scope="module")
def plain() -> bytes:
    return clip()


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("libx264", "mp4"),
        ("libx264", "mov"),
        ("libx264", "matroska"),
        ("libx265", "mp4"),
        ("libvpx-vp9", "webm"),
        ("libvpx-vp9", "mp4"),
        ("libsvtav1", "mp4"),
    ],
)
def test_what_phones_and_browsers_record_is_read(codec: str, container: str) -> None:
    read = list(read_frames(clip(codec, container), limits=LIMITS))
    assert [round(at, 3) for at, _ in read] == [round(i * 0.1, 3) for i in range(20)]
    for number, (_, frame) in enumerate(read):
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8
        off = np.abs(frame.astype(int) - picture(number * 5))
        assert np.median(off) <= 6


@pytest.mark.parametrize(
    ("codec", "container"), [("mpeg4", "mp4"), ("libvpx", "webm"), ("mjpeg", "matroska")]
)
def test_other_codecs_are_refused(codec: str, container: str) -> None:
    if codec == "mjpeg":
        data = with_motion_jpeg()
    else:
        data = clip(codec, container)
    with pytest.raises(VideoUnsupported, match="codec"):
        list(read_frames(data, limits=LIMITS))


def with_motion_jpeg() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def test_a_codec_that_nobody_knows_is_refused(plain: bytes) -> None:
    with pytest.raises(VideoUnsupported, match="unknown"):
        list(read_frames(plain.replace(b"avc1", b"zzzz"), limits=LIMITS))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ftyp",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"\x1a\x45\xdf\xa3" + bytes(60),
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"\x00\x00\x01\xba" + bytes(60),
        b"\xff\xd8\xff\xe0" + bytes(60),
    ],
)
def test_other_files_are_refused_before_any_demuxer_sees_them(data: bytes) -> None:
    with pytest.raises(VideoUnsupported) as caught:
        sniff(data)
    assert caught.value.code == "VIDEO-UNSUPPORTED"
    with pytest.raises(VideoUnsupported):
        list(read_frames(data, limits=LIMITS))


def scripts(address: str) -> dict[str, bytes]:
    """A playlist and a concat script that name another file or address."""
    return {
        "hls": (
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n"
            f"{address}\n#EXT-X-ENDLIST\n"
        ).encode(),
        "concat": f"ffconcat version 1.0\nfile '{address}'\n".encode(),
    }


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_script_that_names_a_local_file_is_never_followed(
    kind: str, plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "segment.mp4").write_bytes(plain)
    data = scripts(f"file:{tmp_path / 'segment.mp4'}")[kind]
    options = {"safe": "0", "protocol_whitelist": "file", "allowed_extensions": "ALL"}
    with av.open(io.BytesIO(data), "r", format=kind, options=options) as followed:
        assert len(list(followed.decode(video=0))) == 20  # what would happen without our rules
    branded = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42" + data
    for attempt in (data, branded):
        with pytest.raises((VideoUnsupported, VideoDamaged)):
            list(read_frames(attempt, limits=LIMITS))
    # Even a demuxer that follows scripts would get nothing to open.
    monkeypatch.setattr(video, "sniff", lambda _: kind)
    with pytest.raises((VideoUnsupported, VideoDamaged)):
        list(read_frames(data, limits=LIMITS))


@contextmanager
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback interface that notes what is asked of it."""
    asked: list[str] = []

    class Notes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Notes) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/segment.mp4", asked
        finally:
            running.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_no_address_is_ever_asked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as (address, asked):
        data = scripts(address)[kind]
        with pytest.raises(VideoUnsupported):
            list(read_frames(data, limits=LIMITS))
        monkeypatch.setattr(video, "sniff", lambda _: kind)
        with pytest.raises((VideoUnsupported, VideoDamaged)):
            list(read_frames(data, limits=LIMITS))
    assert asked == []


def test_a_file_over_the_byte_cap_is_not_opened(plain: bytes) -> None:
    with pytest.raises(VideoTooLarge) as caught:
        next(read_frames(plain, limits=VideoLimits(file_bytes=len(plain) - 1)))
    assert caught.value.code == "VIDEO-TOO-LARGE"


@pytest.mark.parametrize(
    "limits",
    [
        VideoLimits(min_seconds=1, pixels=64 * 48 - 1),
        VideoLimits(min_seconds=1, total_pixels=64 * 48 * 20 - 1),
        VideoLimits(min_seconds=1, max_seconds=1.89),
        VideoLimits(min_seconds=1, fps=9),
    ],
)
def test_every_cap_holds(plain: bytes, limits: VideoLimits) -> None:
    with pytest.raises(VideoTooLarge):
        list(read_frames(plain, limits=limits))


def test_the_caps_themselves_are_allowed(plain: bytes) -> None:
    limits = VideoLimits(
        min_seconds=1.9, max_seconds=1.9, fps=10, pixels=64 * 48, total_pixels=64 * 48 * 20
    )
    assert len(list(read_frames(plain, limits=limits))) == 20


def test_a_burst_in_a_slow_video_is_seen() -> None:
    assert len(list(read_frames(clip(frames=30, step_ms=84, rate=12), limits=LIMITS))) == 30
    with pytest.raises(VideoTooLarge, match="frames in a second"):
        list(read_frames(clip(frames=200, step_ms=8, rate=125), limits=LIMITS))


def test_a_short_video_is_refused_after_its_last_frame(plain: bytes) -> None:
    frames = read_frames(plain, limits=VideoLimits(min_seconds=2.0))
    assert len([next(frames) for _ in range(20)]) == 20
    with pytest.raises(VideoTooShort) as caught:
        next(frames)
    assert caught.value.code == "VIDEO-TOO-SHORT"


def test_the_defaults_want_ten_to_thirty_seconds(plain: bytes) -> None:
    with pytest.raises(VideoTooShort):
        list(read_frames(plain))
    with pytest.raises(VideoTooLarge):
        list(read_frames(clip(frames=32, step_ms=1000)))
    assert len(list(read_frames(clip(frames=12, step_ms=1000)))) == 12


def test_frames_too_small_for_anything_are_refused() -> None:
    with pytest.raises(VideoUnsupported):
        list(read_frames(clip(sizes=((64, 14),)), limits=LIMITS))


def test_a_change_of_resolution_is_refused() -> None:
    vp9 = ("libvpx-vp9", "webm")
    same = clip(*vp9, sizes=(SIZE, SIZE), frames=10)
    assert len(list(read_frames(same, limits=LIMITS))) == 20
    with pytest.raises(VideoChanged) as caught:
        list(read_frames(clip(*vp9, sizes=(SIZE, (96, 48)), frames=10), limits=LIMITS))
    assert caught.value.code == "VIDEO-CHANGED"


def test_a_frame_that_grows_over_the_cap_is_stopped_by_the_decoder() -> None:
    grown = clip("libvpx-vp9", "webm", sizes=(SIZE, (640, 480)), frames=10)
    limits = VideoLimits(min_seconds=1, pixels=10_000)
    with pytest.raises(VideoDamaged) as caught:
        list(read_frames(grown, limits=limits))
    assert caught.value.code == "VIDEO-DAMAGED"


def test_several_video_streams_are_refused() -> None:
    with pytest.raises(VideoUnsupported, match="2 video streams"):
        list(read_frames(clip(streams=2), limits=LIMITS))


def test_sound_beside_the_picture_is_tolerated_and_not_read() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        seen = out.add_stream("libx264", rate=10)
        seen.width, seen.height, seen.pix_fmt = 64, 48, "yuv420p"
        heard = out.add_stream("aac", rate=16_000)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 16_000
        out.mux(heard.encode(silence))
        out.mux(heard.encode(None))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            out.mux(seen.encode(frame))
        out.mux(seen.encode(None))
    assert len(list(read_frames(buffer.getvalue(), limits=LIMITS))) == 20


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        ((0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30), (0, 1)),  # a quarter clockwise
        ((-65536, 0, 0, 0, -65536, 0, 64 << 16, 48 << 16, 1 << 30), (1, 1)),
        ((0, -65536, 0, 65536, 0, 0, 0, 64 << 16, 1 << 30), (1, 0)),
    ],
)
def test_a_video_recorded_sideways_is_turned_upright(
    plain: bytes, matrix: tuple[int, ...], bright: tuple[int, int]
) -> None:
    _, frame = next(read_frames(with_matrix(plain, *matrix), limits=LIMITS))
    height, width = frame.shape[:2]
    halves = frame.reshape(2, height // 2, 2, width // 2, 3).mean(axis=(1, 3, 4))
    assert np.unravel_index(halves.argmax(), (2, 2)) == bright
    assert frame.flags.c_contiguous


@pytest.mark.parametrize(
    "matrix",
    [
        (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30),  # half a quarter
        (131072, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),  # twice as wide
    ],
)
def test_odd_angles_and_stretched_pixels_are_refused(plain: bytes, matrix: Any) -> None:
    with pytest.raises(VideoUnsupported):
        list(read_frames(with_matrix(plain, *matrix), limits=LIMITS))


def test_a_decoder_that_works_too_long_is_stopped(plain: bytes) -> None:
    ticks = count(0, 7.0)
    with pytest.raises(VideoTooLarge, match="decoding"):
        list(read_frames(plain, limits=LIMITS, stopwatch=lambda: next(ticks)))
    # What the caller does between frames does not count.
    slow = iter(float(second) for i in range(50) for second in (i * 100, i * 100 + 1))
    assert len(list(read_frames(plain, limits=LIMITS, stopwatch=lambda: next(slow)))) == 20


class Timed:
    """A decoded frame as the library gives it, with a time of our choice."""

    width, height, rotation = 64, 48, 0

    def __init__(self, pts: int | None, time_base: Fraction | None = Fraction(1, 10)) -> None:
        self.pts, self.time_base = pts, time_base

    def to_ndarray(self, format: str, threads: int) -> npt.NDArray[np.uint8]:
        return picture(0)


@pytest.mark.parametrize(
    "frames",
    [
        [Timed(None)],
        [Timed(0), Timed(1, None)],
        [Timed(0), Timed(0)],
        [Timed(5), Timed(4)],
    ],
)
def test_times_that_are_missing_or_run_backwards_are_refused(
    plain: bytes, frames: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No muxer of the library writes such times, so they are put in where it hands frames over.
    monkeypatch.setattr(video, "timed", lambda *_: iter(frames))
    with pytest.raises(VideoDamaged):
        list(read_frames(plain, limits=LIMITS))


def test_a_file_that_breaks_off_is_refused(plain: bytes) -> None:
    for length in (40, len(plain) // 2, len(plain) - 100):
        with pytest.raises(VideoError):
            list(read_frames(plain[:length], limits=LIMITS))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_gives_frames_or_a_named_error(
    plain: bytes, edits: list[tuple[int, int]]
) -> None:
    data = bytearray(plain)
    for at, value in edits:
        data[at % len(data)] = value
    try:
        frames = list(read_frames(bytes(data), limits=VideoLimits(min_seconds=0, pixels=100_000)))
    except VideoError:
        return
    assert all(frame.dtype == np.uint8 for _, frame in frames)
