"""Films made for a test: every frame shows its number in blocks, times and colours as told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

BLOCK = 16
SIZE = (BLOCK * 8, BLOCK * 3)
MATRICES = {1: 1, 2: 5, 5: 5, 6: 5, 9: 9}


class Studio:
    """Makes films in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.size = folder, SIZE

    def film(
        self,
        name: str = "film.mp4",
        *,
        times: tuple[int, ...] = tuple(range(0, 30_000, 1_000)),
        clock: int = 30_000,
        size: tuple[int, int] = SIZE,
        colour: tuple[int, int, int, int] = (1, 1, 1, 1),
        codec: str = "libx264",
        form: str = "yuv420p",
        options: dict[str, str] | None = None,
        sound: str = "",
        layout: str = "stereo",
        late: int = 0,
        videos: int = 1,
        turned: int = 0,
        tags: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> Path:
        """Make an MP4.

        `colour`: range, matrix, primaries, transfer as libav counts them; `turned`: degrees;
        `late`: when the sound begins, in 1/48000 s; `cut`: where the file breaks off.
        """
        path = self.folder / name
        plain = {"video_track_timescale": str(clock), "movie_timescale": str(clock)}
        with av.open(str(path), "w", format="mp4", container_options=plain | (muxer or {})) as out:
            out.metadata.update(tags or {})
            streams = [
                self._picture(out, codec, form, size, clock, colour, options, turned)
                for _ in range(videos)
            ]
            heard: Any = out.add_stream(sound, rate=48_000) if sound else None
            if heard is not None:
                heard.layout = layout
            for stream in streams:
                for number, pts in enumerate(times):
                    frame = self.frame(number, size, colour, form)
                    frame.pts, frame.time_base = pts, Fraction(1, clock)
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None))
            if heard is not None:
                self._play(out, heard, (times[-1] - times[0]) / clock, late)
        if cut is not None:
            path.write_bytes(path.read_bytes()[:cut])
        return path

    def _picture(  # noqa: PLR0917
        self,
        out: Any,
        codec: str,
        form: str,
        size: tuple[int, int],
        clock: int,
        colour: tuple[int, int, int, int],
        options: dict[str, str] | None,
        turned: int,
    ) -> Any:
        stream = out.add_stream(codec, options=options or {"crf": "10", "preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt = size, form
        context = stream.codec_context
        context.time_base, context.thread_count = Fraction(1, clock), 1
        context.color_range, context.colorspace = colour[:2]
        context.color_primaries, context.color_trc = colour[2:]
        if turned:
            stream.set_display_rotation(turned)
        return stream

    def frame(
        self, number: int, size: tuple[int, int], colour: tuple[int, int, int, int], form: str
    ) -> av.VideoFrame:
        """A frame as an encoder takes it, in the colours told."""
        return av.VideoFrame.from_ndarray(self.draw(number, size), format="bgr24").reformat(
            format=form,
            dst_colorspace=MATRICES[colour[1]],
            src_color_range=2,
            dst_color_range=colour[0],
        )

    @staticmethod
    def draw(number: int, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
        """A grey picture: the bits of a number in blocks along its top, and a coloured foot."""
        made = np.full((size[1], size[0], 3), 90, np.uint8)
        for bit in range(8):
            made[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 220 if number >> bit & 1 else 30
        made[-BLOCK:] = (60, 120, 200)
        return made

    @staticmethod
    def read(frame: npt.NDArray[np.uint8]) -> int:
        """The number that a frame shows."""
        blocks = frame[4 : BLOCK - 4, : 8 * BLOCK].reshape(BLOCK - 8, 8, BLOCK, 3)
        return sum(1 << bit for bit, lit in enumerate(blocks.mean(axis=(0, 2, 3)) > 120) if lit)

    @staticmethod
    def _play(out: Any, stream: Any, seconds: float, at: int) -> None:
        rng = np.random.default_rng(7)
        noise = rng.normal(0, 0.1, (stream.channels, int(seconds * 48_000))).astype(np.float32)
        for start in range(0, noise.shape[1], 960):
            piece = np.ascontiguousarray(noise[:, start : start + 960])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            at += piece.shape[1]
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

    def spliced(self, parts: list[Path], name: str = "spliced.mp4") -> Path:
        """One stream of all parts, parameter sets before every frame that stands alone."""
        path, at = self.folder / name, 0
        with av.open(str(path), "w", format="mp4") as out:
            into: Any = None
            for part in parts:
                with av.open(str(part)) as film:
                    stream: Any = film.streams.video[0]
                    into = into or out.add_stream_from_template(stream, opaque=True)
                    sets = self._parameter_sets(stream.codec_context.extradata)
                    for packet in film.demux(stream):
                        if packet.size:
                            data = bytes(packet)
                            copy: Any = av.Packet(sets + data if packet.is_keyframe else data)
                            copy.pts = copy.dts = at
                            copy.time_base, copy.is_keyframe = stream.time_base, packet.is_keyframe
                            copy.stream, at = into, at + 1_000
                            out.mux(copy)
        return path

    @staticmethod
    def _parameter_sets(setup: bytes) -> bytes:
        """The one SPS and one PPS of a set-up (ISO/IEC 14496-15, 5.3.3.1), lengths in 4 bytes."""
        sps = setup[8 : 8 + int.from_bytes(setup[6:8], "big")]
        rest = setup[8 + len(sps) + 1 :]
        pps = rest[2 : 2 + int.from_bytes(rest[:2], "big")]
        return b"".join(len(unit).to_bytes(4, "big") + unit for unit in (sps, pps))

    @staticmethod
    def sound_of(path: Path) -> list[tuple[Any, ...]]:
        """Times, duration and bytes of every packet of the first sound stream, as libav reads."""
        with av.open(str(path)) as film:
            heard = (p for p in film.demux(film.streams.audio[0]) if p.size)
            return [(p.pts, p.dts, p.duration, bytes(p)) for p in heard]


@pytest.fixture
def films(tmp_path: Path) -> Studio:
    """A studio in this test's folder."""
    return Studio(tmp_path)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty folder for copies."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder
