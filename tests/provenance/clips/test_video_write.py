"""What is written is what was given: every frame, its time, its colours, the sound untouched."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import provenance.video_write
from policies.warrants import ActiveWarrant
from provenance.clip import Clip, Form, frames, open_clip, sound_packets
from provenance.clip_exchange import Colour
from provenance.errors import MediaError, ShapeError
from provenance.exchange import DecodeCrashed
from provenance.media import decode
from provenance.video import VideoLimits, read_frames
from provenance.video_write import SegmentsRefused, encode_segment, join_segments
from provenance.watermark.payload import issue_payload
from provenance.watermark.spread import SpreadMark

UNEVEN = tuple(number * number * 90 + 500 * number + 700 for number in range(30))
FORM = Form(128, 48, (1, 1_000), Colour("tv", 1, 1, 1), 0, (), 4, 1, 0, 40)
MARK_ID = "0123456789ab"


def pieces(clip: Clip, length: int, folder: Path) -> list[Path]:
    paths = []
    for start in range(0, clip.form.frames, length):
        path = folder / f"piece{start}.mp4"
        path.write_bytes(encode_segment(frames(clip, start=start, stop=start + length), clip.form))
        paths.append(path)
    return paths


def read(paths: list[Path]) -> Iterator[bytes]:
    return (path.read_bytes() for path in paths)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def clip(films: Any, workspace: Path) -> Clip:
    path = films.film(times=UNEVEN, sound="aac", options={"crf": "8", "bf": "2"}, clock=90_000)
    return open_clip(path, workspace=workspace)


def test_a_round_trip_keeps_every_frame_its_time_and_the_sound(
    clip: Clip, films: Any, workspace: Path
) -> None:
    out = films.folder / "out.mp4"
    join_segments(read(pieces(clip, 11, films.folder)), clip, out)
    made = open_clip(out, workspace=workspace)
    assert made.times == clip.times
    assert made.form == clip.form
    assert made.sounds == clip.sounds
    for (pts, before), (at, after) in zip(frames(clip), frames(made), strict=True):
        assert pts == at
        assert films.read(before) == films.read(after)
        assert psnr(before, after) > 40
    assert [films.read(frame) for _, frame in frames(made)] == list(range(30))
    assert films.sound_of(out) == films.sound_of(clip.path)


def test_a_resumed_job_writes_the_same_file(clip: Clip, films: Any) -> None:
    out, again = films.folder / "out.mp4", films.folder / "again.mp4"
    paths = pieces(clip, 7, films.folder)
    join_segments(read(paths), clip, out)
    first = digest(out)
    for path in paths[2:]:
        path.unlink()  # killed before the third piece
    assert pieces(clip, 7, films.folder) == paths
    join_segments(read(paths), clip, again)
    assert digest(again) == first
    join_segments(read(paths), clip, out)
    assert digest(out) == first


def test_the_index_comes_first_and_nothing_of_the_source_is_named(
    films: Any, workspace: Path
) -> None:
    tags = {"location": "+12.0+013.0/", "title": "a day"}
    path = films.film(tags=tags, muxer={"movflags": "use_metadata_tags"}, sound="aac")
    clip, out = open_clip(path, workspace=workspace), films.folder / "out.mp4"
    join_segments(read(pieces(clip, 30, films.folder)), clip, out)
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"a day" not in data
    assert b"12.0" not in data
    assert b"Lavf" not in data
    assert open_clip(out, workspace=workspace).notes == ()
    with av.open(io.BytesIO(data)) as made:
        assert set(made.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
        assert [stream.type for stream in made.streams] == ["video", "audio"]


@pytest.mark.parametrize(
    ("codec", "layout", "late"),
    [
        ("aac", "mono", 0),
        ("aac", "stereo", 12_345),
        ("aac", "5.1", 0),
        ("libopus", "mono", 12_345),
        ("alac", "mono", 12_345),
        ("alac", "stereo", 0),
    ],
)
def test_sound_is_the_same_packets_at_the_same_times(
    codec: str, layout: str, late: int, films: Any, workspace: Path
) -> None:
    path, out = films.film(sound=codec, layout=layout, late=late), films.folder / "out.mp4"
    clip = open_clip(path, workspace=workspace)
    assert clip.sounds[0].channels == {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    join_segments(read(pieces(clip, 30, films.folder)), clip, out)
    made = open_clip(out, workspace=workspace)
    assert made.sounds == clip.sounds
    before, after = (list(sound_packets(c, c.sounds[0])) for c in (clip, made))
    assert [packet.data for packet in before] == [packet.data for packet in after]
    frame = Fraction(1_024, 48_000)
    for one, other in zip(before, after, strict=True):
        assert abs(Fraction(one.pts - other.pts, 48_000)) < (frame if late else Fraction(1, 48_000))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_clip_is_written_upright(degrees: int, films: Any, workspace: Path) -> None:
    clip = open_clip(films.film(turned=degrees), workspace=workspace)
    out = films.folder / "out.mp4"
    join_segments(read(pieces(clip, 30, films.folder)), clip, out)
    made = open_clip(out, workspace=workspace)
    assert (made.form.rotation, made.form.size) == (0, clip.form.size)
    for (_, before), (_, after) in zip(frames(clip), frames(made), strict=True):
        assert psnr(before, after) > 37


@pytest.mark.parametrize(
    "numbers",
    [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (2, 5, 5, 6), (1, 2, 2, 2), (1, 1, 12, 13)],
)
def test_colours_come_back_and_stay_told(
    numbers: tuple[int, ...], films: Any, workspace: Path
) -> None:
    clip = open_clip(films.film(colour=numbers), workspace=workspace)
    out = films.folder / "out.mp4"
    join_segments(read(pieces(clip, 30, films.folder)), clip, out)
    made = open_clip(out, workspace=workspace)
    assert made.form.colour == clip.form.colour
    assert made.form.colour == Colour("pc" if numbers[0] == 2 else "tv", *numbers[1:])
    for (_, before), (_, after) in zip(frames(clip), frames(made), strict=True):
        assert np.abs(before[-6, 8:-8].astype(int) - after[-6, 8:-8]).max() <= 3


def test_a_piece_is_a_video_of_its_own_that_begins_anew(clip: Clip) -> None:
    data = encode_segment(frames(clip, start=10, stop=20), clip.form)
    assert len(list(read_frames(data, limits=VideoLimits(min_seconds=0)))) == 10
    with av.open(io.BytesIO(data)) as piece:
        told = [p for p in piece.demux(piece.streams.video[0]) if p.size]
    assert [packet.pts for packet in told] == [packet.dts for packet in told]
    assert [packet.pts for packet in told] == list(clip.times[10:20])
    assert told[0].is_keyframe


def shades(*times: int) -> Iterator[tuple[int, np.ndarray]]:
    for number, pts in enumerate(times):
        yield pts, np.full((48, 128, 3), number * 9, np.uint8)


def test_the_same_frames_give_the_same_bytes() -> None:
    assert encode_segment(shades(0, 5, 90), FORM) == encode_segment(shades(0, 5, 90), FORM)


@pytest.mark.parametrize("times", [(), (0, 0), (5, 4)])
def test_a_piece_has_frames_whose_times_run_forward(times: tuple[int, ...]) -> None:
    with pytest.raises(SegmentsRefused) as caught:
        encode_segment(shades(*times), FORM)
    assert caught.value.code == "VIDEO-SEGMENTS"


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((48, 126, 3), np.uint8),
        np.zeros((48, 128), np.uint8),
        np.zeros((48, 128, 3), np.float32),
    ],
)
def test_frames_of_another_shape_are_refused(frame: Any) -> None:
    with pytest.raises(ShapeError):
        encode_segment(iter([(0, frame)]), FORM)


def other_pieces(kind: str, clip: Clip, paths: list[Path]) -> list[Path]:
    """Pieces that are not the clip."""
    extra = paths[0].with_name("extra.mp4")
    if kind == "another size":
        form = replace(clip.form, width=64)
        small = ((pts, frame[:, :64]) for pts, frame in frames(clip, start=20))
        extra.write_bytes(encode_segment(small, form))
    elif kind == "broken":
        extra.write_bytes(paths[1].read_bytes()[:-600])
    elif kind == "later":
        moved = ((pts + 1, frame) for pts, frame in frames(clip, start=20))
        extra.write_bytes(encode_segment(moved, clip.form))
    elif kind == "more":
        after = clip.times[-1] + 50
        extra.write_bytes(encode_segment(iter([(after, next(frames(clip))[1])]), clip.form))
    return {
        "none": [],
        "one missing": paths[:1],
        "swapped": paths[::-1],
        "twice": [paths[0], *paths],
        "another size": [paths[0], extra],
        "broken": [paths[0], extra],
        "later": [paths[0], extra],
        "more": [*paths, extra],
        "lost": [paths[0], extra],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["none", "one missing", "swapped", "twice", "another size", "broken", "later", "more", "lost"],
)
def test_pieces_that_are_not_the_clip_are_refused_and_nothing_is_left(
    kind: str, clip: Clip, films: Any
) -> None:
    paths = other_pieces(kind, clip, pieces(clip, 20, films.folder))
    before = sorted(films.folder.iterdir())
    with pytest.raises(SegmentsRefused):
        join_segments(read(paths), clip, films.folder / "out.mp4")
    assert sorted(films.folder.iterdir()) == before


def test_sound_that_breaks_off_leaves_nothing(
    clip: Clip, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = pieces(clip, 30, films.folder)
    before = sorted(films.folder.iterdir())

    def broken(*given: Any, **named: Any) -> Iterator[Any]:
        told = sound_packets(*given, **named)
        yield next(told)
        raise DecodeCrashed("the worker died")

    monkeypatch.setattr(provenance.video_write, "sound_packets", broken)
    with pytest.raises(MediaError):
        join_segments(read(paths), clip, films.folder / "out.mp4")
    assert sorted(films.folder.iterdir()) == before


@pytest.mark.parametrize("name", ["persona1_0", "persona3_2"])
def test_the_mark_is_read_in_every_frame(
    name: str,
    demo_picture: Callable[[str], bytes],
    active_warrant: Callable[..., ActiveWarrant],
    films: Any,
) -> None:
    picture = decode(demo_picture(name)).frame
    mark = SpreadMark(keys=(bytes(range(32)),))
    payload = issue_payload(active_warrant(), rng=lambda _: bytes.fromhex(MARK_ID))
    # The picture moves, the mark does not: an encoder that follows motion would smear it.
    marked = [mark.embed(np.roll(picture, step * 3, axis=1), payload) for step in range(6)]
    form = replace(FORM, width=512, height=512, frames=6)
    path = films.folder / "marked.mp4"
    path.write_bytes(encode_segment(((n * 40, frame) for n, frame in enumerate(marked)), form))
    clip = open_clip(path, workspace=films.folder)
    luma = np.array([0.0722, 0.7152, 0.2126])
    for before, (_, after) in zip(marked, frames(clip), strict=True):
        found = mark.detect(after)
        assert found is not None
        assert found.mark_id == MARK_ID
        assert psnr(before @ luma, after @ luma) > 42
