"""The only way out for a video: every frame is marked, and whatever fails keeps everything in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import provenance.clip_release
from policies.audit import verify_entry
from policies.errors import Malformed, StoreUnavailable
from policies.tables import RELEASE_FRAME, RESERVATION
from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.clip import frames, open_clip
from provenance.clip_coded import read_coded
from provenance.clip_release import release_clip
from provenance.errors import (
    AlreadyMarked,
    LabelRefused,
    NotMarkable,
    NotReleased,
    ShapeError,
    SigningFailed,
)
from provenance.fingerprints import fingerprint
from provenance.labels import read_video_labels, write_video_labels
from provenance.pki import make_development_chain
from provenance.timestamps import TsaUnavailable
from provenance.video_write import SegmentsRefused
from provenance.visible_label import place_visible_label
from provenance.watermark import Detection, issue_payload

Breaker = Callable[[Any, Any], tuple[dict[str, Any], dict[str, Any]]]
UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)
OTHER_ID = Detection("0" * 12, 1, "read", 1e-9, 9.0, 1)


class Around:
    """A part of the press with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def fail(error: BaseException) -> Callable[..., Any]:
    def raising(*_arguments: object, **_named: object) -> Any:
        raise error

    return raising


def count(studio: Any, table: sa.Table) -> int:
    with studio.office.database.transaction() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def assert_nothing_left(cinema: Any, draft: Any) -> None:
    """No bytes, no row, no release in the log, no use taken, and the warrant has ended."""
    document, studio = draft.warrant.document, cinema.studio
    assert studio.kept() == []
    assert list(cinema.work.iterdir()) == []
    assert studio.registry.by_request(document.request_id) is None
    assert studio.office.desk.state(document.warrant_id) == "aborted"
    assert (count(studio, RESERVATION), count(studio, RELEASE_FRAME)) == (0, 0)
    assert studio.kinds()[-1] == "abort"
    assert "release" not in studio.kinds()
    studio.office.log.check()


# ------------------------------------------------------------------------------ success


def test_every_frame_of_a_release_carries_the_mark(premiere: Any, films: Any) -> None:
    cinema, file, out = premiere
    film = films.project(file)
    assert len(film) == len(cinema.film) == 6
    for frame in film:
        found = cinema.studio.watermark.detect(frame)
        assert (found.state, found.mark_id) == ("read", out.mark_id)


def test_a_release_keeps_the_times_and_the_size_of_its_target(
    premiere: Any, tmp_path: Path
) -> None:
    cinema, file, _ = premiere
    made, target = open_clip(file, workspace=tmp_path), cinema.clip
    assert made.times == target.times
    assert (made.form.size, made.form.frames, made.form.seconds) == ((320, 320), 6, 2)


def test_a_release_shows_its_label_to_people(premiere: Any, films: Any) -> None:
    cinema, file, _ = premiere
    places = []
    for made, (_, frame) in zip(films.project(file), cinema.film, strict=True):
        change = np.abs(made.astype(int) - frame.astype(int)).max(axis=2)
        # The mark and the codec change no pixel by much; only the words do, and in one place.
        rows = np.nonzero(change > 60)[0]
        assert len(rows) > 100
        places.append((rows.min(), rows.max()))
    assert len({low // 4 for low, _ in places}) == 1
    assert max(high for _, high in places) - min(low for low, _ in places) < 80


def test_a_release_carries_labels_and_a_stamped_manifest(premiere: Any) -> None:
    cinema, file, out = premiere
    with file.open("rb") as video:
        labels = read_video_labels(video)
    assert labels is not None
    assert labels.claims_ai
    assert (labels.problems, labels.undisclosed) == ((), ())
    assert (labels.provider, labels.output_id) == ("Test Studio", out.mark_id)
    assert {"aigc"} < {said.name for said in labels.said}
    reading = read_manifest(file, "video/mp4", anchors=cinema.press.anchors)
    assert (reading.verdict, reading.findings, reading.time_stamped) == ("trusted", (), True)
    assert reading.manifest_id == out.manifest_id
    assert reading.bound_mark == out.mark_id


def test_a_release_is_entered_logged_and_kept(cinema: Any, tmp_path: Path) -> None:
    studio, draft = cinema.studio, cinema.draft()
    out, document = cinema.release(draft), draft.warrant.document
    assert studio.office.desk.state(document.warrant_id) == "released"
    row = studio.registry.by_request(document.request_id)
    assert (row.mark_id, row.manifest_id, row.output_sha256, row.mime, row.log_index) == (
        out.mark_id,
        out.manifest_id,
        out.sha256,
        "video/mp4",
        out.log_index,
    )
    assert out.mime == row.mime
    made = open_clip(cinema.kept(out), workspace=tmp_path)
    prints = [fingerprint(frame).bits for _, frame in frames(made)]
    with studio.office.database.transaction() as connection:
        query = sa.select(RELEASE_FRAME.c.second, RELEASE_FRAME.c.fingerprint)
        entered = [tuple(each) for each in connection.execute(query)]
    assert sorted(entered) == [(0, prints[0]), (1, prints[3])]
    assert row.fingerprint == prints[0]
    assert len(studio.kept()) == 2
    assert {len(studio.store.get(one)) > 0 for one in (row.manifest_sha256, out.sha256)} == {True}
    assert list(cinema.work.iterdir()) == []

    proof = studio.office.log.prove(out.log_index)
    verify_entry(proof, origin=studio.office.log.origin, key=studio.office.log_key.public)
    assert (proof.entry["kind"], proof.entry["manifest"]) == ("release", out.manifest_id)
    commitment = studio.office.book.commitment.commit("output", out.sha256)
    assert proof.entry["output"] == commitment != out.sha256


def test_a_draft_is_released_once(cinema: Any) -> None:
    draft = cinema.draft()
    out = cinema.release(draft)
    with pytest.raises(NotReleased, match="WARRANT-SPENT"):
        cinema.release(draft)
    assert cinema.studio.office.desk.state(draft.warrant.document.warrant_id) == "released"
    assert cinema.verifier.verify(cinema.kept(out)).verdict == "authentic"


def test_a_frame_that_stands_for_seconds_is_entered_once(
    cinema: Any, films: Any, tmp_path: Path
) -> None:
    film = [frame for _, frame in cinema.film[:4]]
    file = films.develop(tmp_path / "slow.mp4", film, times=(0, 1, 9, 10))
    cinema.clip = open_clip(file, workspace=tmp_path)
    cinema.film = list(zip(cinema.clip.times, film, strict=True))
    cinema.release()
    assert count(cinema.studio, RELEASE_FRAME) == 2


# ------------------------------------------------------------------------------ every step fails


def signer_raises(cinema: Any, _warrant: Any) -> Any:
    sign = fail(RuntimeError("the key service is down"))
    return {}, {"signer": Around(cinema.press.signer, sign=sign)}


def authority_untrusted(_cinema: Any, _warrant: Any) -> Any:
    stranger = make_development_chain(organisation="Stranger", now=datetime.now(UTC))
    return {}, {"stamper": stranger.authority(lambda: datetime.now(UTC))}


def authority_down(_cinema: Any, _warrant: Any) -> Any:
    class Stamper:
        stamp = staticmethod(fail(TsaUnavailable("no time stamp could be had")))

    return {}, {"stamper": Stamper()}


def press_with(**parts: Any) -> Breaker:
    return lambda _cinema, _warrant: ({}, parts)


def part_with(name: str, **replaced: Any) -> Breaker:
    return lambda cinema, _warrant: ({}, {name: Around(getattr(cinema.press, name), **replaced)})


def rendered(change: Callable[[int, int, Any], tuple[int, Any]]) -> Breaker:
    """A swapper whose frames are others: `change(number, pts, frame)`."""

    def breaker(cinema: Any, _warrant: Any) -> Any:
        def render(start: int, stop: int) -> Any:
            for number, (pts, frame) in enumerate(cinema.film[start:stop], start):
                yield change(number, pts, frame)

        return {"render": render}, {}

    return breaker


def rendered_span(later: int) -> Breaker:
    def breaker(cinema: Any, _warrant: Any) -> Any:
        film = [*cinema.film, (cinema.film[-1][0] + 1, cinema.film[-1][1])]
        return {"render": lambda start, stop: iter(film[start : stop + later])}, {}

    return breaker


def marked_already(cinema: Any, warrant: Any) -> Any:
    payload = issue_payload(warrant, rng=lambda n: b"\x05" * n)
    film = [(pts, cinema.press.watermark.embed(frame, payload)) for pts, frame in cinema.film[:1]]
    return {"render": lambda _start, _stop: iter(film)}, {}


def read_as(*found: Any) -> Breaker:
    """The marks that are read back, frame by frame; "own" where the reader is believed."""

    def breaker(cinema: Any, _warrant: Any) -> Any:
        answers, detect = iter(found), cinema.press.watermark.detect

        def say(frame: Any, **how: Any) -> Any:
            answer = next(answers)
            return detect(frame, **how) if answer == "own" else answer

        return {}, {"watermark": Around(cinema.press.watermark, detect=say)}

    return breaker


def database_refuses(table: str, when: str = "") -> Breaker:
    def breaker(cinema: Any, _warrant: Any) -> Any:
        with cinema.studio.office.database.transaction() as connection:
            connection.exec_driver_sql(
                f"create trigger full before insert on {table} {when} "
                "begin select raise(abort, 'full'); end"
            )
        return {}, {}

    return breaker


def snow(_number: int, pts: int, frame: Any) -> Any:
    """Pure black and white at random, which hides any mark."""
    dots = np.random.default_rng(1).integers(0, 2, (*frame.shape[:2], 1), np.uint8)
    return pts, np.repeat(dots * 255, 3, axis=2)


def snow_at_four(number: int, pts: int, frame: Any) -> Any:
    return snow(number, pts, frame) if number == 4 else (pts, frame)


def own(number: int) -> list[str]:
    return ["own"] * number


FULL = StoreUnavailable("the disk is full")
FAILURES: dict[str, tuple[Breaker, type[Exception] | None, str]] = {
    "signer raises": (signer_raises, SigningFailed, "SIGNING-FAILED"),
    "authority down": (authority_down, TsaUnavailable, "TSA-UNAVAILABLE"),
    "authority untrusted": (authority_untrusted, None, "time stamp reads back as 'untrusted'"),
    "signer untrusted": (press_with(anchors=TrustAnchors(())), None, "intact_untrusted"),
    "provider is no label text": (press_with(provider="A\nB"), LabelRefused, "LABEL-REFUSED"),
    "randomness short": (press_with(rng=lambda n: bytes(n - 1)), Malformed, "MALFORMED"),
    "frame is snow": (rendered(snow_at_four), NotMarkable, "frame 4 cannot carry the mark"),
    "frame is marked already": (marked_already, AlreadyMarked, "ALREADY-MARKED"),
    "swapper faults": (rendered(fail(KeyError("bug"))), KeyError, "FAULT: KeyError"),
    "a frame too few": (rendered_span(-1), None, "5 frames were made where the clip has 6"),
    "a frame too many": (rendered_span(1), None, "7 frames were made where the clip has 6"),
    "frame of another size": (rendered(lambda _n, p, f: (p, f[:-2])), ShapeError, "SHAPE"),
    "frame of another kind": (rendered(lambda _n, p, f: (p, f / 255)), ShapeError, "SHAPE"),
    "frame at another time": (
        rendered(lambda n, p, f: (p + (n == 3), f)),
        SegmentsRefused,
        "VIDEO-SEGMENTS",
    ),
    "frames out of order": (rendered(lambda _n, _p, f: (0, f)), SegmentsRefused, "VIDEO-SEGMENTS"),
    "label painted over": (
        part_with("watermark", embed=lambda image, _payload: image * 0),
        LabelRefused,
        "LABEL-REFUSED: the visible label",
    ),
    "watermark embeds nothing": (
        part_with("watermark", embed=lambda image, _payload: image),
        None,
        "a frame of second 0 does not carry the mark",
    ),
    "one frame reads as unmarked": (
        read_as(*own(4), None),
        None,
        "a frame of second 1 does not carry the mark",
    ),
    "one frame reads as another's": (
        read_as(OTHER_ID),
        None,
        "a frame of second 0 does not carry the mark",
    ),
    "first second unreadable": (
        read_as(*own(2), UNREADABLE, *own(3)),
        None,
        "watermark of second 0 cannot be read back",
    ),
    "last second unreadable": (
        read_as(*own(5), UNREADABLE),
        None,
        "watermark of second 1 cannot be read back",
    ),
    "store full at once": (part_with("store", put=fail(FULL)), StoreUnavailable, "disk is full"),
    "store full half way": (
        part_with("store", put_file=fail(FULL)),
        StoreUnavailable,
        "disk is full",
    ),
    "registry faults": (part_with("registry", add=fail(RuntimeError())), RuntimeError, "FAULT"),
    "database refuses the row": (database_refuses("release"), StoreUnavailable, "STORE-UNAVAIL"),
    "database refuses the seconds": (
        database_refuses("release_frame"),
        StoreUnavailable,
        "STORE-UNAVAILABLE",
    ),
    "database refuses the entry": (
        database_refuses("log_entry", "when instr(new.data, '\"release\"')"),
        StoreUnavailable,
        "STORE-UNAVAILABLE",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_step_keeps_everything_in(cinema: Any, name: str) -> None:
    breaker, cause, words = FAILURES[name]
    warrant = cinema.warrant()
    changes, parts = breaker(cinema, warrant)
    draft = cinema.draft(warrant=warrant, **changes)
    with pytest.raises(NotReleased, match=words) as caught:
        cinema.release(draft, **parts)
    assert caught.value.code == "NOT-RELEASED"
    assert isinstance(caught.value.__cause__, cause or type(None))
    assert_nothing_left(cinema, draft)


def test_a_frame_that_hides_the_mark_is_told_with_what_to_do(cinema: Any) -> None:
    changes, _ = rendered(snow)(cinema, None)
    with pytest.raises(NotReleased) as caught:
        cinema.release(cinema.draft(**changes))
    assert caught.value.mend == (
        "cut very noisy parts, and those of pure black and white, out of the video"
    )


@pytest.mark.parametrize(("unreadable", "released"), [(1, True), (2, False)])
def test_nine_tenths_of_a_second_must_be_readable(
    cinema: Any, films: Any, tmp_path: Path, unreadable: int, released: bool
) -> None:
    film = films.shoot((cinema.studio.picture("persona2_0")).data, 12)
    file = films.develop(tmp_path / "fast.mp4", film, rate=12)
    cinema.clip = open_clip(file, workspace=tmp_path)
    cinema.film = list(zip(cinema.clip.times, film, strict=True))
    answers = [*own(6), *[UNREADABLE] * unreadable, *own(6 - unreadable)]
    _, parts = read_as(*answers)(cinema, None)
    if released:
        assert cinema.release(**parts).sha256
    else:
        with pytest.raises(NotReleased, match="second 0 cannot be read back"):
            cinema.release(**parts)


@pytest.mark.parametrize(
    ("loses", "words"),
    [("packet", "labels cannot be read back"), ("id", "name another output")],
)
def test_label_that_does_not_read_back_keeps_everything_in(
    cinema: Any, monkeypatch: pytest.MonkeyPatch, loses: str, words: str
) -> None:
    def copy(source: Any, out: Any, **_said: object) -> None:
        out.write(source.read())

    def another(source: Any, out: Any, **said: Any) -> None:
        packet = said["xmp"].replace(said["output_id"].encode(), b"0" * 12)
        write_video_labels(source, out, **said | {"xmp": packet, "output_id": "0" * 12})

    write = copy if loses == "packet" else another
    monkeypatch.setattr(provenance.clip_release, "write_video_labels", write)
    draft = cinema.draft()
    with pytest.raises(NotReleased, match=words):
        cinema.release(draft)
    assert_nothing_left(cinema, draft)


def test_output_with_other_frames_keeps_everything_in(
    cinema: Any, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(pieces: Any, _clip: Any, out: Path) -> tuple[str, ...]:
        first = out.with_name("first.mp4")
        first.write_bytes(next(pieces))
        films.develop(out, films.project(first)[1:])
        return read_coded(out)

    monkeypatch.setattr(provenance.clip_release, "join_segments", join)
    draft = cinema.draft()
    with pytest.raises(NotReleased, match="other frames than the clip"):
        cinema.release(draft)
    assert_nothing_left(cinema, draft)


def test_a_folder_that_cannot_be_used_is_said_and_makes_nothing(cinema: Any) -> None:
    draft, folder = cinema.draft(render=fail(AssertionError())), cinema.folder / "file"
    folder.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="cannot use"):
        release_clip(draft, press=cinema.press, folder=folder)
    assert cinema.studio.kept() == []


def test_visible_label_is_what_the_places_ask_for(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def place(size: tuple[int, int], *, demand: Any, avoid: Any) -> Any:
        asked.append((demand.text, avoid))
        return place_visible_label(size, demand=demand, avoid=avoid)

    monkeypatch.setattr(provenance.clip_release, "place_visible_label", place)
    china = {"territories": ["CN"]}
    source = cinema.studio.picture("persona1_0")
    warrant = cinema.studio.warrant_under(
        source, cinema.clip, {"media": ["video"], **china}, medium="video", **china
    )
    face = (100, 60, 220, 250)
    cinema.release(cinema.draft(warrant=warrant, faces=(face,)))
    assert asked == [("AI-generated face swap AI生成", (face,))]
