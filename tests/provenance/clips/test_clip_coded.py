"""Two files hold the same pictures and sound, or they do not."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import provenance.clip_coded
from provenance import clip_reading
from provenance.clip import Clip, frames, open_clip
from provenance.clip_coded import read_coded
from provenance.clip_exchange import COUNTED, MAX_SOUNDS, PACKET
from provenance.clip_sandbox import Answer
from provenance.exchange import DecodeCrashed
from provenance.video import VideoDamaged
from provenance.video_write import encode_segment, join_segments

SHA256 = b"d" * 32


@pytest.fixture
def clip(films: Any, workspace: Path) -> Clip:
    times = tuple(n * n * 90 + 500 * n + 700 for n in range(12))
    return open_clip(films.film(times=times, sound="aac", clock=90_000), workspace=workspace)


def segments(clip: Clip, change: Callable[[int, Any], Any] = lambda _, frame: frame) -> list[bytes]:
    made = []
    for start in (0, 6):
        part = enumerate(frames(clip, start=start, stop=start + 6), start)
        shown = ((pts, change(number, frame)) for number, (pts, frame) in part)
        made.append(encode_segment(shown, clip.form))
    return made


def test_what_was_joined_is_what_is_read(clip: Clip, films: Any) -> None:
    out = films.folder / "out.mp4"
    coded = join_segments(segments(clip), clip, out)
    assert len(coded) == 2
    assert read_coded(out) == coded
    assert out.stat().st_mode & 0o077 == 0
    with out.open("ab") as file:
        file.write(b"\x00\x00\x00\x0cfreemore")
    assert read_coded(out) == coded, "what is no packet does not count"


def test_one_other_frame_is_another_picture(clip: Clip, films: Any) -> None:
    out, other = films.folder / "out.mp4", films.folder / "other.mp4"
    coded = join_segments(segments(clip), clip, out)
    changed = segments(clip, lambda number, frame: 255 - frame if number == 7 else frame)
    made = join_segments(changed, clip, other)
    assert made[0] != coded[0]
    assert made[1] == coded[1]
    assert read_coded(other) == made


def test_other_sound_is_another_sound(clip: Clip, films: Any, workspace: Path) -> None:
    other = open_clip(
        films.film(times=clip.times, clock=90_000, sound="aac", layout="mono"), workspace=workspace
    )
    pieces, out = segments(clip), films.folder / "out.mp4"
    first = join_segments(pieces, clip, out)
    second = join_segments(pieces, other, out)
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert read_coded(out) == second


def test_a_file_that_breaks_off_is_refused(clip: Clip, films: Any) -> None:
    out = films.folder / "out.mp4"
    coded = join_segments(segments(clip), clip, out)
    out.write_bytes(out.read_bytes()[:-40])
    with pytest.raises(VideoDamaged):
        assert read_coded(out) != coded


def test_packets_without_bytes_do_not_count_and_broken_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Packet(bytes):
        stream_index, is_corrupt = 0, False

        @property
        def size(self) -> int:
            return len(self)

    stream = SimpleNamespace(index=0, codec_context=None)
    broken = Packet(b"b")
    broken.is_corrupt = True
    given = [Packet(b"a"), Packet(b""), broken]
    film = SimpleNamespace(streams=[stream], demux=lambda: iter(given))
    monkeypatch.setattr(clip_reading, "_opened", lambda _: nullcontext(film))
    told = clip_reading.read_digests(io.BytesIO())
    assert [next(told)[0], next(told)[0]] == [0, 0]
    with pytest.raises(VideoDamaged):
        next(told)


@pytest.mark.parametrize(
    "answers",
    [
        (Answer(COUNTED, 0, 0, 0, b""),),
        (Answer(PACKET, 0, 0, 0, SHA256[1:]),),
        (Answer(PACKET, 1, 0, 0, SHA256),),
        (Answer(PACKET, -1, 0, 0, SHA256),),
        tuple(Answer(PACKET, n, 0, 0, SHA256) for n in range(MAX_SOUNDS + 2)),
    ],
    ids=["status", "length", "stream", "negative", "streams"],
)
def test_answers_that_make_no_sense_are_refused(
    answers: tuple[Answer, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.clip_coded, "ask", lambda *_: iter(answers))
    with pytest.raises(DecodeCrashed):
        read_coded(tmp_path / "file.mp4")
