"""A clip is what was counted in the worker; what we do not release is refused by name."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import provenance.clip
from provenance.clip import Clip, frames, open_clip, require_clip, sound_packets
from provenance.clip_exchange import (
    COUNTED,
    FRAME,
    PACKET,
    SURVEYED,
    Colour,
    Found,
    Sound,
    pack_found,
)
from provenance.clip_sandbox import Answer, Sandbox
from provenance.errors import MediaError
from provenance.exchange import DecodeCrashed
from provenance.process import Confinement
from provenance.video import RELEASE_LIMITS, VideoError, VideoLimits, VideoTooLarge

VECTORS = Path(__file__).parents[2] / "vectors" / "media"
UNEVEN = tuple(number * number * 90 + 500 * number + 700 for number in range(40))
B_FRAMES = {"crf": "10", "bf": "3", "g": "7", "x264-params": "b-adapt=0:scenecut=0"}


def code_of(do: Callable[[], Any]) -> str:
    with pytest.raises(MediaError) as caught:
        do()
    return getattr(caught.value, "reason", caught.value.code)


def test_a_clip_is_a_private_copy_with_what_was_counted(films: Any, workspace: Path) -> None:
    path = films.film(sound="aac")
    clip = open_clip(path, workspace=workspace)
    data = path.read_bytes()
    assert clip.sha256 == hashlib.sha256(data).hexdigest()
    assert clip.path == clip.content == workspace / f"{clip.sha256}.mp4"
    assert clip.path.read_bytes() == data
    assert stat.S_IMODE(clip.path.stat().st_mode) == 0o600
    form = clip.form
    assert (clip.mime, form.size, form.time_base) == ("video/mp4", films.size, (1, 30_000))
    assert (form.frames, form.first, form.audio, form.rotation) == (30, 0, ("aac",), 0)
    assert clip.times == tuple(range(0, 30_000, 1_000))
    assert form.seconds == 2  # the last frame stands beyond the first second
    assert [form.second(pts) for pts in (0, 29_999, 30_000)] == [0, 0, 1]
    assert clip.notes == ()
    assert require_clip(clip) is clip


def test_the_same_file_is_the_same_copy(films: Any, workspace: Path) -> None:
    first, again = (open_clip(films.film(), workspace=workspace) for _ in range(2))
    assert first.path == again.path
    assert list(workspace.iterdir()) == [first.path]


def test_seconds_are_rounded_up_and_count_from_the_first_frame(films: Any, workspace: Path) -> None:
    times = tuple(range(90_000, 119_000, 1_000))
    clip = open_clip(films.film(times=times), workspace=workspace)
    whole = times[-1] - times[0] + clip.form.last
    assert (clip.form.first, clip.form.seconds) == (90_000, -(-whole // 30_000))
    assert clip.form.second(90_000) == 0


@pytest.mark.parametrize("order", ["plain", "b_frames", "fragments"])
def test_every_frame_comes_in_order_at_its_own_time(
    order: str, films: Any, workspace: Path
) -> None:
    options = None if order == "plain" else B_FRAMES
    muxer = (
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if order == "fragments" else {}
    )
    clip = open_clip(films.film(times=UNEVEN, options=options, muxer=muxer), workspace=workspace)
    seen = list(frames(clip))
    assert [films.read(frame) for _, frame in seen] == list(range(40))
    assert tuple(pts for pts, _ in seen) == clip.times
    if order == "plain":
        assert clip.times == UNEVEN
    for _, frame in seen:
        assert (frame.shape, frame.dtype) == ((films.size[1], films.size[0], 3), np.uint8)
        assert frame.flags.c_contiguous


@pytest.mark.parametrize("order", ["b_frames", "fragments"])
def test_reading_from_any_frame_gives_the_very_frames(
    order: str, films: Any, workspace: Path
) -> None:
    muxer = {"movflags": "frag_keyframe+empty_moov"} if order == "fragments" else {}
    clip = open_clip(films.film(times=UNEVEN, options=B_FRAMES, muxer=muxer), workspace=workspace)
    if order == "b_frames":
        assert clip.entries == (0, 7, 14, 21, 28, 35)
    whole = list(frames(clip))
    for start in (0, 1, 6, 7, 8, 20, 36, 39):
        part = list(frames(clip, start=start, stop=start + 3))
        for (pts, frame), (told, shown) in zip(part, whole[start : start + 3], strict=True):
            assert pts == told
            assert np.array_equal(frame, shown)


def test_reading_from_an_entry_does_not_decode_what_is_before(
    films: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = open_clip(films.film(options=B_FRAMES), workspace=workspace)
    asked: list[Any] = []
    ask = provenance.clip.ask

    def noting(path: Path, wanted: Any, *more: Any) -> Iterator[Answer]:
        asked.append(wanted)
        return ask(path, wanted, *more)

    monkeypatch.setattr(provenance.clip, "ask", noting)
    assert films.read(next(frames(clip, start=16))[1]) == 16
    assert films.read(next(frames(clip, start=3))[1]) == 3
    assert [(wanted.at, wanted.first) for wanted in asked] == [(14_000, 16_000), (None, 3_000)]


def test_a_copy_that_is_gone_is_refused(films: Any, workspace: Path) -> None:
    clip = open_clip(films.film(), workspace=workspace)
    clip.path.unlink()
    with pytest.raises(VideoError, match="gone"):
        next(frames(clip))


def test_nothing_beyond_the_end_is_read(films: Any, workspace: Path) -> None:
    clip = open_clip(films.film(), workspace=workspace)
    assert list(frames(clip, start=30)) == list(frames(clip, start=5, stop=5)) == []
    assert len(list(frames(clip, start=28, stop=99))) == 2


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_turned_clip_is_upright(degrees: int, turns: int, films: Any, workspace: Path) -> None:
    clip = open_clip(films.film(turned=degrees), workspace=workspace)
    assert clip.form.rotation == degrees
    assert clip.form.size == (films.size if turns == 2 else films.size[::-1])
    assert [note.change for note in clip.notes] == ["rotation"]
    for number, (_, frame) in enumerate(frames(clip)):
        assert frame.shape[:2] == clip.form.size[::-1]
        assert films.read(np.rot90(frame, -turns)) == number


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((1, 1, 1, 1), Colour("tv", 1, 1, 1)),
        ((2, 1, 1, 13), Colour("pc", 1, 1, 13)),
        ((1, 6, 6, 6), Colour("tv", 6, 6, 6)),
        ((2, 5, 5, 6), Colour("pc", 5, 5, 6)),
        ((1, 2, 2, 2), Colour("tv", 2, 2, 2)),
    ],
)
def test_colours_are_read_by_the_clips_own_matrix_and_range(
    numbers: tuple[int, ...], told: Colour, films: Any, workspace: Path
) -> None:
    clip = open_clip(films.film(colour=numbers), workspace=workspace)
    assert clip.form.colour == told
    _, frame = next(frames(clip))
    assert np.abs(frame[-6, 8:-8].astype(int) - (60, 120, 200)).max() <= 3


REFUSED = {
    "codec": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "many_videos": {"videos": 2},
    "pixel_form": {"form": "yuv420p10le"},
    "hdr": {"colour": (1, 1, 9, 16)},
    "matrix": {"colour": (1, 9, 9, 14)},
    "interlaced": {"options": {"flags": "+ildct+ilme", "x264-params": "interlaced=1:tff=1"}},
    "clock": {"clock": 20_000_000, "times": (0, 1_000_000)},
    "sound": {"sound": "libmp3lame"},
    "VIDEO-UNSUPPORTED": {"turned": 45},
    "VIDEO-DAMAGED": {"muxer": {"movflags": "faststart"}, "cut": -1},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_would_be_changed_silently_is_refused_by_name(
    reason: str, films: Any, workspace: Path
) -> None:
    path = films.film(**REFUSED[reason])
    assert code_of(lambda: open_clip(path, workspace=workspace)) == reason
    assert list(workspace.iterdir()) == []


def test_hlg_and_full_chroma_are_refused_too(films: Any, workspace: Path) -> None:
    for changes, reason in (
        ({"colour": (1, 1, 9, 18)}, "hdr"),
        ({"form": "yuv444p"}, "pixel_form"),
        ({"form": "yuv422p"}, "pixel_form"),
    ):
        path = films.film(**changes)
        assert code_of(lambda path=path: open_clip(path, workspace=workspace)) == reason


def test_every_refusal_says_what_to_do(films: Any, workspace: Path) -> None:
    with pytest.raises(VideoError) as caught:
        open_clip(films.film(colour=(1, 1, 9, 16)), workspace=workspace)
    assert caught.value.code == "CLIP-UNSUPPORTED"
    assert "SDR" in caught.value.mend


def hostile(kind: str, plain: bytes) -> bytes:
    head = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"
    sizes = plain.index(b"stsz") + 16
    return {
        "million": (VECTORS / "million_frames.mp4").read_bytes(),
        "playlist": b"#EXTM3U\n#EXTINF:2,\nfile:///etc/hostname\n",
        "branded script": head + b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        "empty": b"",
        "matroska": bytes.fromhex("1a45dfa3") + b"\x42\x82\x84webm" + bytes(60),
        "truncated": plain[:-50],
        "wrong sizes": plain[:sizes] + b"\x00\x00\x00\x07" * 20 + plain[sizes + 80 :],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("million", "VIDEO-DAMAGED"),
        ("playlist", "VIDEO-UNSUPPORTED"),
        ("branded script", "VIDEO-DAMAGED"),
        ("empty", "VIDEO-UNSUPPORTED"),
        ("matroska", "VIDEO-UNSUPPORTED"),
        ("truncated", "VIDEO-DAMAGED"),
        ("wrong sizes", "VIDEO-DAMAGED"),
    ],
)
def test_hostile_files_are_refused_and_leave_nothing(
    kind: str, code: str, films: Any, workspace: Path
) -> None:
    plain = films.film(muxer={"movflags": "faststart"}).read_bytes()
    path = films.folder / "hostile.mp4"
    path.write_bytes(hostile(kind, plain))
    assert code_of(lambda: open_clip(path, workspace=workspace)) == code
    assert list(workspace.iterdir()) == []


def test_a_lying_duration_changes_nothing(films: Any, workspace: Path) -> None:
    data = bytearray(films.film().read_bytes())
    at = data.index(b"mvhd") + 20
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path = films.folder / "long.mp4"
    path.write_bytes(data)
    assert open_clip(path, workspace=workspace).form.seconds == 2


def test_frames_of_another_size_midway_are_refused(films: Any, workspace: Path) -> None:
    # The second half's parameter sets stand in the stream, as encoders for broadcasting write them.
    both = [films.film(f"{n}.mp4", size=size) for n, size in enumerate(((128, 48), (160, 64)))]
    path = films.spliced(both)
    assert code_of(lambda: open_clip(path, workspace=workspace)) == "VIDEO-CHANGED"


@pytest.mark.parametrize(
    "limits",
    [
        replace(RELEASE_LIMITS, file_bytes=1_000),
        replace(RELEASE_LIMITS, max_seconds=0.5),
        replace(RELEASE_LIMITS, pixels=1_000),
        replace(RELEASE_LIMITS, fps=20),
    ],
)
def test_every_cap_holds(limits: VideoLimits, films: Any, workspace: Path) -> None:
    path = films.film()
    with pytest.raises(VideoTooLarge):
        open_clip(path, workspace=workspace, limits=limits)
    assert list(workspace.iterdir()) == []


def test_only_files_are_taken(films: Any, workspace: Path) -> None:
    os.mkfifo(films.folder / "pipe")
    for path, code in (
        (films.folder / "pipe", "VIDEO-UNSUPPORTED"),
        (films.folder / "none.mp4", "VIDEO"),
        (workspace, "VIDEO"),
    ):
        assert code_of(lambda path=path: open_clip(path, workspace=workspace)) == code
    assert code_of(lambda: open_clip(films.film(), workspace=films.folder / "no")) == "VIDEO"


def test_what_is_left_behind_is_noted(films: Any, workspace: Path) -> None:
    tags = {"location": "+12.0+013.0/", "title": "a day"}
    muxer = {"movflags": "use_metadata_tags"}
    clip = open_clip(films.film(tags=tags, muxer=muxer), workspace=workspace)
    assert [note.change for note in clip.notes] == ["location", "tags"]
    assert clip.notes[1].text.startswith("3 ")  # libav tells the place by two names
    assert not any("12.0" in note.text or "a day" in note.text for note in clip.notes)


def test_a_clip_is_opened_and_never_made(films: Any, workspace: Path) -> None:
    clip = open_clip(films.film(), workspace=workspace)
    fields = {name: getattr(clip, name) for name in Clip.__slots__}
    with pytest.raises(MediaError, match="by hand"):
        Clip(**fields)
    with pytest.raises(MediaError, match="pickled"):
        pickle.dumps(clip)
    for other in (None, "clip", object.__new__(Clip)):
        with pytest.raises(MediaError):
            require_clip(other)


@pytest.mark.parametrize("codec", ["aac", "libopus", "alac"])
def test_sound_is_given_packet_by_packet(codec: str, films: Any, workspace: Path) -> None:
    path = films.film(sound=codec)
    clip = open_clip(path, workspace=workspace)
    told = list(sound_packets(clip, clip.sounds[0]))
    assert [tuple(packet) for packet in told] == films.sound_of(path)


def test_shields_can_be_required(films: Any, workspace: Path) -> None:
    strict = Sandbox(Confinement(shields=frozenset({"calls"})))
    clip = open_clip(films.film(sound="aac"), workspace=workspace, sandbox=strict)
    assert len(list(frames(clip, sandbox=strict))) == 30
    assert list(sound_packets(clip, clip.sounds[0], sandbox=strict))


# What follows lets a worker lie.

FOUND = Found(128, 48, 1000, Colour("tv", 1, 1, 1), 0, 40, 0, False, 0, ())


def counted(pts: int, entry: int = 0) -> Answer:
    return Answer(COUNTED, pts, 0, entry, b"")


def surveyed(found: Found = FOUND) -> Answer:
    return Answer(SURVEYED, 0, 0, 0, pack_found(found))


def say(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> None:
    monkeypatch.setattr(provenance.clip, "ask", lambda *_: iter(answers))


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (counted(0),),
        (surveyed(),),
        (counted(0), counted(0), surveyed()),
        (counted(0), surveyed(), counted(40)),
        (counted(0), surveyed(), surveyed()),
        (counted(0), Answer(PACKET, 0, 0, 0, b""), surveyed()),
        (counted(0), counted(600_001), surveyed()),
        (*(counted(n) for n in range(5_000)), surveyed()),
    ],
)
def test_a_count_that_cannot_be_true_is_refused(
    answers: tuple[Answer, ...], films: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.film()
    say(monkeypatch, *answers)
    limits = replace(RELEASE_LIMITS, fps=8) if len(answers) > 100 else RELEASE_LIMITS
    with pytest.raises(DecodeCrashed):
        open_clip(path, workspace=workspace, limits=limits)
    assert list(workspace.iterdir()) == []


def shown(pts: int, height: int = 48) -> Answer:
    return Answer(FRAME, pts, 0, 0, np.zeros((height, 128, 3), np.uint8))


@pytest.mark.parametrize(
    "answers",
    [
        (shown(0), shown(1_001)),
        (shown(0), shown(1_000, 50)),
        (shown(0), Answer(FRAME, 1_000, 0, 0, b"no frame")),
        (shown(0), counted(1_000)),
        (shown(0),),
        (shown(0), shown(1_000), shown(2_000)),
    ],
)
def test_frames_that_are_not_the_counted_ones_are_refused(
    answers: tuple[Answer, ...], films: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = open_clip(films.film(), workspace=workspace)
    say(monkeypatch, *answers)
    with pytest.raises(DecodeCrashed):
        list(frames(clip, stop=2))


def test_sound_that_makes_no_sense_is_refused(
    films: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = open_clip(films.film(), workspace=workspace)
    sound = Sound(1, "aac", 1_000, 1_000, 2, b"x")
    good = Answer(PACKET, 0, 0, 20, b"a")
    for bad in (
        good,
        good._replace(dts=603_000),
        good._replace(dts=1, pts=-603_000),
        good._replace(dts=1, number=603_000),
        counted(1),
    ):
        say(monkeypatch, good, bad)
        with pytest.raises(DecodeCrashed):
            list(sound_packets(clip, sound))
    say(monkeypatch, *(good._replace(dts=number) for number in range(602 * 400 + 1)))
    with pytest.raises(VideoTooLarge):
        list(sound_packets(clip, sound))
