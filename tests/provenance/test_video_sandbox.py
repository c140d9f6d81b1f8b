"""A video can cost its own reading and nothing else, and a worker's frames are not believed."""

from __future__ import annotations

import io
import os
import signal
import stat
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from provenance import video_worker
from provenance.errors import MediaError
from provenance.exchange import HELLO_BYTES, SHIELDS, read_hello
from provenance.process import Confinement, Worker
from provenance.video import Frame, VideoDamaged, VideoLimits, read_frames
from provenance.video_sandbox import read_apart
from provenance.video_worker import ANSWER, END, FRAME, REFUSED, load_decoder, main, pack_video

VECTORS = Path(__file__).parent.parent / "vectors" / "media"
LIMITS = VideoLimits(min_seconds=0.5)
SIZE = (64, 48)


def clip(codec: str = "libx264", container: str = "mp4") -> bytes:
    """Ten frames in two seconds, at times that are not evenly spread."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as made:
        stream: Any = made.add_stream(codec, rate=10)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(10):
            shade = np.full((SIZE[1], SIZE[0], 3), number * 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(shade, format="bgr24")
            frame.pts, frame.time_base = number * number * 25, Fraction(1, 1000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return out.getvalue()


@pytest.fixture(scope="module")
def plain() -> bytes:
    return clip()


def code_of(frames: Iterator[Any]) -> str:
    with pytest.raises(MediaError) as caught:
        list(frames)
    return caught.value.code


@pytest.mark.parametrize(
    ("codec", "container"), [("libx264", "mp4"), ("libvpx-vp9", "webm"), ("libsvtav1", "mp4")]
)
def test_reading_apart_gives_the_same_frames_at_the_same_times(codec: str, container: str) -> None:
    data = clip(codec, container)
    here, apart = list(read_frames(data, limits=LIMITS)), list(read_apart(data, limits=LIMITS))
    assert len(apart) == 10
    for (at, frame), (other_at, other) in zip(here, apart, strict=True):
        assert at == other_at
        assert np.array_equal(frame, other)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (VideoLimits(), "VIDEO-TOO-SHORT"),
        (replace(LIMITS, max_seconds=1.0), "VIDEO-TOO-LARGE"),
        (replace(LIMITS, pixels=1000), "VIDEO-TOO-LARGE"),
        (replace(LIMITS, min_side_px=100), "VIDEO-UNSUPPORTED"),
        (replace(LIMITS, file_bytes=10), "VIDEO-TOO-LARGE"),
    ],
)
def test_a_refusal_keeps_its_name(plain: bytes, limits: VideoLimits, code: str) -> None:
    assert code_of(read_apart(plain, limits=limits)) == code


def test_what_is_no_video_starts_no_worker(tmp_path: Path) -> None:
    assert code_of(read_apart(b"#EXTM3U", python=str(tmp_path / "none"))) == "VIDEO-UNSUPPORTED"


def test_a_header_of_a_million_frames_is_refused_at_once() -> None:
    data = (VECTORS / "million_frames.mp4").read_bytes()
    assert code_of(read_apart(data, limits=LIMITS)) == "VIDEO-DAMAGED"
    assert code_of(read_frames(data, limits=LIMITS)) == "VIDEO-DAMAGED"


def test_a_broken_video_is_damaged(plain: bytes) -> None:
    assert code_of(read_apart(plain[: len(plain) // 2], limits=LIMITS)) == "VIDEO-DAMAGED"


def test_too_little_memory_is_a_named_refusal(plain: bytes) -> None:
    tight = Confinement(memory_bytes=60_000_000)
    refused = code_of(read_apart(plain, limits=LIMITS, confinement=tight))
    assert refused == "DECODE-UNAVAILABLE"


class Stage:
    """Stands in for the interpreter: greets as a worker does, then does what it is told."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "python"
        self._folder = folder

    def saying(self, answer: bytes, then: str = "exit") -> str:
        (self._folder / "answer").write_bytes(answer)
        lines = ["#!/bin/sh", "printf 'FWW1\\000'", f"cat '{self._folder}/answer'", then, ""]
        self._file.write_text("\n".join(lines))
        self._file.chmod(self._file.stat().st_mode | stat.S_IXUSR)
        return str(self._file)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def frame_answer(at: float, height: int = 48, width: int = 64, *, magic: bytes = b"FWV1") -> bytes:
    return ANSWER.pack(magic, FRAME, at, height, width) + bytes(height * width * 3)


END_ANSWER = ANSWER.pack(b"FWV1", END, 0.0, 0, 0)


@pytest.mark.parametrize(
    "lie",
    [
        b"",
        frame_answer(0.0)[:-1],
        frame_answer(0.0, magic=b"FWV2"),
        ANSWER.pack(b"FWV1", REFUSED + 5, 0.0, 0, 0),
        ANSWER.pack(b"FWV1", FRAME, 0.0, 2**31, 2**31),
        frame_answer(0.0, 2, 2),
        frame_answer(0.0) + frame_answer(0.1, 64, 48),
        frame_answer(0.5) + frame_answer(0.5),
        frame_answer(float("nan")),
        frame_answer(31.0),
    ],
)
def test_frames_that_cannot_be_true_end_the_reading(lie: bytes, plain: bytes, stage: Stage) -> None:
    python = stage.saying(lie + END_ANSWER * bool(lie), "cat >/dev/null")
    if lie in (b"", frame_answer(0.0)[:-1]):
        python = stage.saying(lie, "head -c 80 >/dev/null")
    assert code_of(read_apart(plain, limits=LIMITS, python=python)) == "DECODE-CRASHED"


def test_more_pixels_than_all_frames_may_have_are_refused(plain: bytes, stage: Stage) -> None:
    python = stage.saying(frame_answer(0.0) + frame_answer(0.1), "cat >/dev/null")
    limits = replace(LIMITS, total_pixels=48 * 64 * 2 - 1)
    assert code_of(read_apart(plain, limits=limits, python=python)) == "VIDEO-TOO-LARGE"


def test_a_worker_that_is_slow_in_all_is_ended(plain: bytes, stage: Stage) -> None:
    python = stage.saying(frame_answer(0.0) + frame_answer(0.1), "cat >/dev/null")
    ticks = count(0, 50)
    frames = read_apart(plain, limits=LIMITS, python=python, stopwatch=lambda: float(next(ticks)))
    assert next(frames)[0] == 0.0
    assert next(frames)[0] == 0.1
    frames.close()
    ticks = count(0, 70)
    slow = read_apart(plain, limits=LIMITS, python=python, stopwatch=lambda: float(next(ticks)))
    assert code_of(slow) == "VIDEO-TOO-LARGE"


def test_a_worker_that_hangs_is_ended(plain: bytes, stage: Stage) -> None:
    python = stage.saying(frame_answer(0.0), "exec sleep 60")
    brief = Confinement(wall_seconds=0.3)
    assert code_of(read_apart(plain, limits=LIMITS, confinement=brief, python=python)) == (
        "DECODE-TIMEOUT"
    )


def test_a_worker_that_does_not_listen_is_a_crash(stage: Stage) -> None:
    # More than a pipe holds, so that the end of the reader is felt while writing.
    long = b"\x00\x00\x00\x18ftypmp42" + bytes(5_000_000)
    python = stage.saying(b"", "exit")
    assert code_of(read_apart(long, limits=LIMITS, python=python)) == "DECODE-CRASHED"


def test_leaving_early_and_dying_end_the_worker(
    plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    begin = Worker.__init__

    def noting(self: Worker, *words: Any) -> None:
        begin(self, *words)
        started.append(self.process.pid)

    monkeypatch.setattr(Worker, "__init__", noting)
    frames = read_apart(plain, limits=LIMITS)
    next(frames)
    assert Path(f"/proc/{started[0]}").exists()
    frames.close()  # type: ignore[attr-defined]
    assert not Path(f"/proc/{started[0]}").exists()


def test_a_worker_killed_before_its_video_is_a_crash(
    plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Worker.__init__

    def killed(self: Worker, *words: Any) -> None:
        begin(self, *words)
        os.kill(self.process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(Worker, "__init__", killed)
    assert code_of(read_apart(plain, limits=LIMITS)) == "DECODE-CRASHED"


def answers(out: bytes) -> Iterator[tuple[int, float]]:
    at = 0
    while at < len(out):
        magic, status, seconds, height, width = ANSWER.unpack_from(out, at)
        assert magic == b"FWV1"
        at += ANSWER.size + height * width * 3
        yield status, seconds


def test_the_worker_answers_with_frames_and_an_end(
    plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_worker, "limit_next_job", lambda _: None)
    for shut in (True, False):
        out = io.BytesIO()
        source = io.BytesIO(pack_video(plain, LIMITS) + plain)
        main(["1000", "15"], source, out, lambda _, left=shut: left, lambda left=shut: left)
        assert read_hello(out.getvalue()[:HELLO_BYTES]) == (frozenset(SHIELDS) if shut else set())
        got = list(answers(out.getvalue()[HELLO_BYTES:]))
        assert [status for status, _ in got] == [FRAME] * 10 + [END]
        assert [round(at, 3) for _, at in got[:10]] == [n * n * 0.025 for n in range(10)]


def test_the_worker_names_the_kind_of_a_refusal(plain: bytes) -> None:
    def broken(data: bytes, limits: VideoLimits) -> Iterator[tuple[float, Frame]]:
        assert (data, limits) == (plain, LIMITS)
        yield 0.0, np.zeros((4, 4, 3), np.uint8)
        raise VideoDamaged("words that are not passed on")

    out = io.BytesIO()
    video_worker.serve_video(io.BytesIO(pack_video(plain, LIMITS) + plain), out, broken)
    assert [status for status, _ in answers(out.getvalue())] == [FRAME, REFUSED + 4]
    assert b"words" not in out.getvalue()


def test_the_decoder_is_warm_and_honours_the_limits(plain: bytes) -> None:
    read = load_decoder()
    assert len(list(read(plain, LIMITS))) == 10
    assert code_of(read(plain, VideoLimits())) == "VIDEO-TOO-SHORT"


def test_the_limits_travel_whole(plain: bytes) -> None:
    numbers = struct.unpack(">4sQ8d", pack_video(plain, VideoLimits()))
    assert numbers[:2] == (b"FWV1", len(plain))
    assert numbers[2:] == (200e6, 10, 30, 120, 50e6, 16, 20e9, 120)
