"""What the worker does with a clip; here without its walls, so that every branch is reached."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from provenance import clip_reading
from provenance.clip_exchange import MAX_CLOCK, Found, Request
from provenance.clip_reading import ClipUnsupported, Seen, read_part, read_sound, survey
from provenance.video import (
    RELEASE_LIMITS,
    VideoChanged,
    VideoDamaged,
    VideoTooLarge,
    VideoUnsupported,
)


def look(path: Any, **more: Any) -> tuple[list[Seen], Found]:
    *seen, found = survey(io.BytesIO(path.read_bytes()), RELEASE_LIMITS, **more)
    assert isinstance(found, Found)
    return [one for one in seen if isinstance(one, Seen)], found


def reason_of(do: Callable[[], Any]) -> str:
    with pytest.raises(ClipUnsupported) as caught:
        do()
    assert caught.value.mend
    return caught.value.reason


def test_a_survey_counts_and_tells_where_reading_may_begin(films: Any) -> None:
    path = films.film(options={"g": "10", "bf": "2", "x264-params": "scenecut=0"}, sound="aac")
    seen, found = look(path)
    assert [one.pts for one in seen] == list(range(0, 30_000, 1_000))
    assert [number for number, one in enumerate(seen) if one.entry] == [0, 10, 20]
    assert (found.width, found.height, found.clock, found.turns) == (*films.size, 30_000, 0)
    assert [(s.stream, s.codec, s.rate, s.clock, s.channels) for s in found.sounds] == [
        (1, "aac", 48_000, 48_000, 2)
    ]
    assert (found.tags, found.located, found.others) == (0, False, 0)


def test_an_open_group_is_no_place_to_begin(films: Any) -> None:
    # Frames before its first in time look back beyond it.
    options = {"g": "10", "bf": "2", "x264-params": "scenecut=0:open-gop=1"}
    seen, _ = look(films.film(options=options))
    assert [number for number, one in enumerate(seen) if one.entry] == [0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": "libx265", "options": {"x265-params": "log-level=none"}}, "codec"),
        ({"videos": 2}, "many_videos"),
        ({"clock": 2 * MAX_CLOCK, "times": (0, MAX_CLOCK)}, "clock"),
    ],
)
def test_a_stream_that_we_do_not_release_is_refused(changes: Any, reason: str, films: Any) -> None:
    path = films.film(**changes)
    assert reason_of(lambda: look(path)) == reason


def test_what_the_library_cannot_read_is_damaged(films: Any) -> None:
    with pytest.raises(VideoDamaged):
        look(films.film(cut=100))


@pytest.mark.parametrize("lands", [True, False])
def test_an_index_that_leads_astray_costs_time_and_no_frame(
    lands: bool, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO(films.film(options={"g": "10"}).read_bytes())
    if not lands:
        monkeypatch.setattr(clip_reading, "_lands", lambda *_: False)
    wanted = Request("frames", 0, 10_000, 12_000, 3)
    seen = list(read_part(file, RELEASE_LIMITS, wanted))
    assert [pts for pts, _ in seen] == [12_000, 13_000, 14_000]
    assert [films.read(frame) for _, frame in seen] == [12, 13, 14]


def test_a_frame_that_is_none_of_the_index_is_not_landed_on(films: Any) -> None:
    file = io.BytesIO(films.film(options={"g": "10"}).read_bytes())
    wanted = Request("frames", 0, 11_500, 12_000, 1)
    assert [pts for pts, _ in read_part(file, RELEASE_LIMITS, wanted)] == [12_000]


def test_a_file_without_pictures_is_refused(films: Any) -> None:
    import av  # noqa: PLC0415

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as made:
        heard = made.add_stream("aac", rate=48_000)
        films._play(made, heard, 0.5, 0)
    assert reason_of(lambda: list(survey(io.BytesIO(out.getvalue()), RELEASE_LIMITS))) == "no_video"


def test_a_slow_decoder_is_stopped(films: Any) -> None:
    ticks = count(0, 100.0)
    with pytest.raises(VideoTooLarge):
        look(films.film(), stopwatch=lambda: next(ticks))


def test_colours_that_change_are_refused(films: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = iter([("tv", 0), ("pc", 0)])
    monkeypatch.setattr(clip_reading, "_look", lambda _: next(forms))
    with pytest.raises(VideoChanged, match="colours"):
        look(films.film())


def test_a_file_whose_frames_are_all_cut_away_has_none(
    films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_reading, "_decoded", lambda *_: iter(()))
    with pytest.raises(VideoDamaged, match="no frame"):
        look(films.film())


def picture(**changes: Any) -> Any:
    plain = {
        "width": 64,
        "height": 48,
        "rotation": 0,
        "format": SimpleNamespace(name="yuv420p"),
        "color_range": 1,
        "colorspace": 1,
        "color_primaries": 1,
        "color_trc": 1,
        "interlaced_frame": False,
    }
    return SimpleNamespace(**plain | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"color_trc": 16}, "hdr"),
        ({"color_trc": 18}, "hdr"),
        ({"format": SimpleNamespace(name="gray")}, "pixel_form"),
        ({"colorspace": 0}, "matrix"),
        ({"width": 65}, "odd_side"),
        ({"height": 47}, "odd_side"),
        ({"interlaced_frame": True}, "interlaced"),
    ],
)
def test_a_frame_that_we_do_not_release_is_refused(changes: Any, reason: str) -> None:
    assert reason_of(lambda: clip_reading._look(picture(**changes))) == reason


def test_what_a_frame_says_is_kept() -> None:
    colour, turns = clip_reading._look(picture(color_range=2, rotation=-90, colorspace=5))
    assert (colour.range, colour.matrix, turns) == ("pc", 5, 3)
    old = picture(format=SimpleNamespace(name="yuvj420p"), color_range=0)
    assert clip_reading._look(old)[0].range == "pc"
    assert clip_reading._look(picture(color_range=0))[0].range == "tv"
    with pytest.raises(VideoUnsupported):
        clip_reading._look(picture(rotation=10))


def heard(**changes: Any) -> Any:
    context = {
        "codec": SimpleNamespace(canonical_name="aac"),
        "extradata": b"set-up",
        "sample_rate": 48_000,
        "channels": 2,
    }
    base = SimpleNamespace(numerator=1, denominator=48_000)
    stream = {"index": 1, "time_base": changes.pop("time_base", base)}
    return SimpleNamespace(codec_context=SimpleNamespace(**context | changes), **stream)


@pytest.mark.parametrize(
    "changes",
    [
        {"codec": SimpleNamespace(canonical_name="mp3")},
        {"extradata": None},
        {"extradata": bytes(65_537)},
        {"sample_rate": 0},
        {"sample_rate": 192_001},
        {"channels": 3},
        {"time_base": None},
        {"time_base": SimpleNamespace(numerator=2, denominator=48_000)},
        {"time_base": SimpleNamespace(numerator=1, denominator=MAX_CLOCK + 1)},
    ],
)
def test_sound_that_is_not_copied_is_refused(changes: Any) -> None:
    assert reason_of(lambda: clip_reading._sound(heard(**changes))) == "sound"
    assert clip_reading._sound(heard()).setup == b"set-up"


def test_too_many_sounds_are_refused() -> None:
    container: Any = SimpleNamespace(streams=SimpleNamespace(audio=(heard(),) * 5))
    assert reason_of(lambda: clip_reading._heard(container)) == "many_sounds"


def packet(**changes: Any) -> Any:
    plain = {"is_corrupt": False, "size": 1, "pts": 0, "dts": 0, "duration": 1}
    return SimpleNamespace(**plain | changes)


@pytest.mark.parametrize(
    "packets", [[packet(is_corrupt=True)], [packet(), packet(size=0)], [packet(size=0)]]
)
def test_a_file_that_breaks_off_is_refused(packets: list[Any]) -> None:
    container: Any = SimpleNamespace(demux=lambda _: iter(packets))
    stream: Any = SimpleNamespace(index_entries=(1, 2))
    with pytest.raises(VideoDamaged):
        list(clip_reading._packets(container, stream))


def test_after_a_jump_the_index_is_longer_than_what_is_read() -> None:
    container: Any = SimpleNamespace(demux=lambda _: iter([packet(), packet(size=0)]))
    stream: Any = SimpleNamespace(index_entries=(1, 2))
    assert len(list(clip_reading._packets(container, stream, whole=False))) == 2


@pytest.mark.parametrize("changes", [{"pts": None}, {"dts": None}])
def test_sound_without_a_time_is_refused(
    changes: Any, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_reading, "_packets", lambda *_: iter([packet(**changes)]))
    file = io.BytesIO(films.film(sound="aac").read_bytes())
    with pytest.raises(VideoDamaged):
        list(read_sound(file, 1))


def test_sound_is_read_without_touching_the_pictures(films: Any) -> None:
    path = films.film(sound="aac")
    told = [tuple(p) for p in read_sound(io.BytesIO(path.read_bytes()), 1)]
    assert told == films.sound_of(path)


@pytest.mark.parametrize("setup", [None, b"", b"\x01\x64", b"\x00\x00\x00\x01\x67\x64"])
def test_a_set_up_of_another_form_gives_no_entries(setup: bytes | None) -> None:
    assert clip_reading._nal_length(setup) == 0
    assert not clip_reading._holds_idr(b"\x00\x00\x00\x01\x65", 0)


def test_an_idr_picture_is_found_behind_other_units() -> None:
    assert clip_reading._nal_length(b"\x01\x64\x00\x1f\xff\xe1") == 4
    first, idr, other = b"\x00\x02\x06\x00", b"\x00\x02\x65\x88", b"\x00\x02\x61\x88"
    assert clip_reading._holds_idr(first + idr, 2)
    assert not clip_reading._holds_idr(first + other, 2)
    assert not clip_reading._holds_idr(b"", 2)
