"""Releases of videos that are not let out, go on where they were killed, or are asked for again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import provenance.clip_release
import provenance.pieces
from policies.decide import Refused
from policies.errors import StoreUnavailable
from policies.warrant import WarrantInvalid
from provenance.c2pa import read_manifest
from provenance.clip_release import release_clip
from provenance.errors import ClipInUse, NotReleased, SigningFailed
from provenance.lock import hold_alone
from provenance.timestamps import TsaUnavailable
from provenance.video_write import join_segments


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


def state(cinema: Any, draft: Any) -> str:
    return str(cinema.studio.office.desk.state(draft.warrant.document.warrant_id))


def assert_nothing_left(cinema: Any, draft: Any) -> None:
    assert cinema.studio.kept() == []
    assert list(cinema.work.iterdir()) == []
    assert state(cinema, draft) == "aborted"
    assert "release" not in cinema.studio.kinds()


# ------------------------------------------------------------------------------ consent


def around(method: Callable[..., Any], happen: Callable[[], object], *, after: bool = False) -> Any:
    def call(*given: Any, **named: Any) -> Any:
        if not after:
            happen()
        result = method(*given, **named)
        if after:
            happen()
        return result

    return call


POINTS = {
    "before signing": ("signer", "check", False),
    "after signing": ("signer", "sign", True),
    "while reading back": ("watermark", "detect", False),
    "after keeping": ("store", "put_file", True),
}


@pytest.mark.parametrize("person", [0, 1], ids=["source", "target"])
@pytest.mark.parametrize("point", POINTS)
def test_withdrawal_at_any_point_keeps_everything_in(cinema: Any, point: str, person: int) -> None:
    draft, (name, method, after) = cinema.draft(), POINTS[point]
    record_id = draft.warrant.document.people[person].record_id
    once = [lambda: cinema.studio.office.withdraw(record_id)]
    part = getattr(cinema.press, name)
    changed = around(getattr(part, method), lambda: once and once.pop()(), after=after)
    with pytest.raises(NotReleased, match="CONSENT-CHANGED") as caught:
        cinema.release(draft, **{name: Around(part, **{method: changed})})
    assert isinstance(caught.value.__cause__, WarrantInvalid)
    assert_nothing_left(cinema, draft)


def test_withdrawal_between_two_pieces_makes_no_further_frame(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.pieces, "PIECE_FRAMES", 4)
    asked: list[int] = []

    def render(start: int, stop: int) -> Any:
        asked.append(start)
        yield from cinema.film[start:stop]
        cinema.studio.office.withdraw(draft.warrant.document.people[0].record_id)

    draft = cinema.draft(render=render)
    with pytest.raises(NotReleased, match="CONSENT-CHANGED"):
        cinema.release(draft)
    assert asked == [0]
    assert_nothing_left(cinema, draft)


def test_withdrawal_after_the_last_frame_is_not_signed(cinema: Any) -> None:
    def render(start: int, stop: int) -> Any:
        yield from cinema.film[start:stop]
        cinema.studio.office.withdraw(draft.warrant.document.people[0].record_id)

    draft = cinema.draft(render=render)
    signer = Around(cinema.press.signer, check=lambda: pytest.fail("was asked to sign"))
    with pytest.raises(NotReleased, match="CONSENT-CHANGED"):
        cinema.release(draft, signer=signer)
    assert_nothing_left(cinema, draft)


# ------------------------------------------------------------------------------ who may not try


def test_draft_of_another_desk_never_reaches_our_signer(
    cinema: Any, pki: Any, tmp_path: Path
) -> None:
    office = type(cinema.studio.office)()
    key = type(office.desk_key).from_seed(b"x" * 32)
    office.desk = dataclasses.replace(office.desk, key=key)
    (tmp_path / "foreign").mkdir()
    foreign = type(cinema)(
        type(cinema.studio)(pki, tmp_path / "foreign" / "store", office),
        tmp_path / "foreign",
        cinema.clip,
        cinema.film,
    )
    draft = foreign.draft()
    with pytest.raises(WarrantInvalid) as caught:
        cinema.release(draft, signer=None, watermark=None)
    assert caught.value.code == "WARRANT-FORGED"
    assert list(cinema.work.iterdir()) == []
    assert state(foreign, draft) == "started"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"medium": "image"}, "WARRANT-OTHER-MEDIUM"), ({"source": 1}, "WARRANT-OTHER-INPUT")],
    ids=["picture", "source"],
)
def test_a_warrant_put_into_a_draft_afterwards_releases_nothing(
    cinema: Any, changes: dict[str, Any], code: str
) -> None:
    draft = cinema.draft()
    if "source" in changes:
        object.__setattr__(draft, "source", cinema.studio.picture("persona3_0"))
    else:
        object.__setattr__(draft, "warrant", cinema.warrant(**changes))
    with pytest.raises(NotReleased, match=code):
        cinema.release(draft)
    assert_nothing_left(cinema, draft)


@pytest.mark.parametrize("value", [None, b"frames", object()])
def test_only_drafts_are_released(cinema: Any, value: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        release_clip(value, press=cinema.press, folder=cinema.work)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_draft_of_a_picture_is_not_released_as_a_video(cinema: Any) -> None:
    with pytest.raises(WarrantInvalid, match="only a draft can be released"):
        release_clip(cinema.studio.draft(), press=cinema.press, folder=cinema.work)


# ------------------------------------------------------------------------------ going on


class Swapper:
    """Gives the clip's frames, counts what it is asked for, and is killed before a frame."""

    def __init__(self, cinema: Any, killed_at: int = -1) -> None:
        self.cinema, self.killed_at = cinema, killed_at
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> Any:
        self.asked.append((start, stop))
        for number in range(start, stop):
            if number == self.killed_at:
                raise KeyboardInterrupt
            yield self.cinema.film[number]


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the pieces of every release were joined to; pieces have four frames."""
    found: list[bytes] = []

    def join(pieces: Any, clip: Any, out: Path) -> tuple[str, ...]:
        coded = join_segments(pieces, clip, out)
        found.append(out.read_bytes())
        return coded

    monkeypatch.setattr(provenance.pieces, "PIECE_FRAMES", 4)
    monkeypatch.setattr(provenance.clip_release, "join_segments", join)
    return found


def interrupted(cinema: Any, **parts: Any) -> tuple[Any, Path]:
    """A draft whose release was killed, and the folder that it left."""
    draft = cinema.draft(render=Swapper(cinema, -1 if parts else 5))
    with pytest.raises(KeyboardInterrupt):
        cinema.release(draft, **parts)
    return draft, cinema.work / draft.warrant.document.warrant_id


def go_on(cinema: Any, draft: Any) -> tuple[Any, list[tuple[int, int]]]:
    """The same release in a new process: what it gives, and which frames were made for it."""
    active = cinema.studio.office.desk.resume(draft.warrant.document)
    swapper = Swapper(cinema)
    studio = type(cinema.studio)(cinema.studio.pki, cinema.studio.folder, cinema.studio.office)
    out = cinema.release(cinema.draft(warrant=active, render=swapper), signer=studio.press.signer)
    return out, swapper.asked


def test_a_killed_release_leaves_its_warrant_and_what_is_made(
    cinema: Any, joined: list[bytes]
) -> None:
    draft, folder = interrupted(cinema)
    assert state(cinema, draft) == "started"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0000000.mac",
        "0000000.mp4",
        "plan.json",
    ]
    assert cinema.studio.kept() == joined == []
    assert "abort" not in cinema.studio.kinds()


def test_what_a_killed_release_leaves_is_marked_and_labelled(
    cinema: Any, joined: list[bytes], films: Any
) -> None:
    _, folder = interrupted(cinema)
    film = films.project(folder / "0000000.mp4")
    found = [cinema.press.watermark.detect(frame) for frame in film]
    assert [each.state for each in found] == ["read"] * 4
    assert joined == []


def test_a_killed_release_goes_on_as_if_nothing_had_been(
    cinema: Any, joined: list[bytes], pki: Any, tmp_path: Path
) -> None:
    draft, _ = interrupted(cinema)
    out, made = go_on(cinema, draft)
    assert made == [(4, 6)]
    assert state(cinema, draft) == "released"
    assert list(cinema.work.iterdir()) == []
    assert cinema.verifier.verify(cinema.kept(out)).mark_id == out.mark_id

    (tmp_path / "other").mkdir()
    studio = type(cinema.studio)(pki, tmp_path / "other" / "store")
    other = type(cinema)(studio, tmp_path / "other", cinema.clip, cinema.film)
    assert other.release().mark_id == out.mark_id, "both studios draw the same ids"
    assert joined[0] == joined[1]


def test_who_comes_second_is_turned_away_and_ends_nothing(cinema: Any, joined: list[bytes]) -> None:
    draft, folder = interrupted(cinema)
    with hold_alone(folder), pytest.raises(ClipInUse, match="another process"):
        cinema.release(cinema.draft(warrant=draft.warrant, render=fail(AssertionError())))
    assert state(cinema, draft) == "started"
    assert go_on(cinema, draft)[1] == [(4, 6)]
    assert len(joined) == 1


@pytest.mark.parametrize("how", ["changed", "of_another"])
def test_a_piece_that_was_changed_meanwhile_is_made_again(
    cinema: Any, joined: list[bytes], films: Any, how: str
) -> None:
    draft, folder = interrupted(cinema)
    piece = folder / "0000000.mp4"
    if how == "changed":
        piece.write_bytes(piece.read_bytes()[:-1])
    else:  # frames without a mark, slipped in
        films.develop(piece, [frame for _, frame in cinema.film[:4]])
    out, made = go_on(cinema, draft)
    assert made == [(0, 4), (4, 6)]
    assert cinema.verifier.verify(cinema.kept(out)).verdict == "authentic"
    assert len(joined) == 1


def test_interrupted_before_the_entry_keeps_nothing_and_goes_on(
    cinema: Any, joined: list[bytes]
) -> None:
    registry = Around(cinema.press.registry, add=fail(KeyboardInterrupt()))
    draft, folder = interrupted(cinema, registry=registry)
    assert (state(cinema, draft), cinema.studio.kept()) == ("started", [])
    assert folder.exists()
    out, made = go_on(cinema, draft)
    assert made == []
    assert len(cinema.studio.kept()) == 2
    assert joined[0] == joined[1]
    assert cinema.verifier.verify(cinema.kept(out)).verdict == "authentic"


def test_interrupted_after_the_entry_loses_nothing(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = cinema.draft()
    monkeypatch.setattr(provenance.clip_release, "_as_released", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        cinema.release(draft)
    monkeypatch.undo()
    assert (state(cinema, draft), len(cinema.studio.kept())) == ("released", 2)
    assert cinema.redeliver(draft).mime == "video/mp4"


def test_fault_after_the_entry_loses_nothing(cinema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = cinema.draft()
    monkeypatch.setattr(provenance.clip_release, "_as_released", fail(MemoryError()))
    with pytest.raises(NotReleased, match="FAULT"):
        cinema.release(draft)
    monkeypatch.undo()
    assert (state(cinema, draft), len(cinema.studio.kept())) == ("released", 2)


def test_a_signer_that_has_signed_for_the_warrant_signs_nothing_more(cinema: Any) -> None:
    registry = Around(cinema.press.registry, add=fail(KeyboardInterrupt()))
    draft, _ = interrupted(cinema, registry=registry)
    with pytest.raises(NotReleased, match="SIGNED") as caught:
        cinema.release(cinema.draft(warrant=draft.warrant))
    assert isinstance(caught.value.__cause__, SigningFailed)
    assert_nothing_left(cinema, draft)


# ------------------------------------------------------------------------------ asked for again


def edit_row(cinema: Any, column: str, value: object) -> None:
    with cinema.studio.office.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger if exists release_update")
        connection.exec_driver_sql("drop trigger if exists release_frame_update")
        connection.exec_driver_sql("pragma foreign_keys = off")
        connection.exec_driver_sql(f"update release set {column} = ?", (value,))  # noqa: S608


def test_a_release_is_delivered_again_as_it_was(cinema: Any) -> None:
    draft = cinema.draft()
    assert cinema.release(draft) == cinema.redeliver(draft)
    assert list(cinema.work.iterdir()) == []


def test_withdrawn_release_is_not_delivered_again(cinema: Any) -> None:
    draft = cinema.draft()
    cinema.release(draft)
    cinema.studio.office.withdraw(draft.warrant.document.people[1].record_id)
    with pytest.raises(Refused) as caught:
        cinema.redeliver(draft)
    assert caught.value.decision.codes == ("CONSENT-STATUS",)


def test_register_that_names_other_bytes_than_the_log_delivers_nothing(cinema: Any) -> None:
    draft = cinema.draft()
    cinema.release(draft)
    edit_row(cinema, "output_sha256", cinema.studio.store.put_file(cinema.clip.path))
    with pytest.raises(NotReleased, match="the log has another output"):
        cinema.redeliver(draft)


def test_other_bytes_than_the_logs_are_not_delivered(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = cinema.draft()
    cinema.release(draft)
    read_back = provenance.clip_release._read_back

    def other(*given: Any, **named: Any) -> Any:
        return "0" * 64, read_back(*given, **named)[1]

    monkeypatch.setattr(provenance.clip_release, "_read_back", other)
    with pytest.raises(NotReleased, match="a file was changed"):
        cinema.redeliver(draft)


@pytest.mark.parametrize("mark_id", ["0" * 12, "../../elsewhere"])
def test_edited_mark_in_the_register_is_not_delivered_and_names_no_file(
    cinema: Any, mark_id: str
) -> None:
    draft = cinema.draft()
    row = cinema.studio.registry.by_mark(cinema.release(draft).mark_id)
    request = cinema.studio.asked[draft.warrant.document.request_id]
    victim = cinema.work / f"{mark_id}.mp4"
    victim.write_bytes(b"somebody's own")
    with pytest.raises(NotReleased, match="name another output"):
        provenance.clip_release.redeliver_clip(
            dataclasses.replace(row, mark_id=mark_id),
            request,
            press=cinema.press,
            identity=next(iter(draft.maker.models.values())),
            folder=cinema.work,
        )
    assert victim.read_bytes() == b"somebody's own"


@pytest.mark.parametrize("how", ["lost", "changed"])
def test_output_that_the_store_lost_is_not_delivered(cinema: Any, how: str) -> None:
    draft = cinema.draft()
    out = cinema.release(draft)
    [kept] = [path for path in cinema.studio.kept() if path.name == out.sha256[2:]]
    if how == "lost":
        kept.unlink()
    else:
        kept.write_bytes(kept.read_bytes() + b"more")
    with pytest.raises(StoreUnavailable):
        cinema.redeliver(draft)
    assert list(cinema.work.iterdir()) == []


def test_a_house_that_releases_unstamped_delivers_again(cinema: Any) -> None:
    desk = cinema.press.desk
    house = dataclasses.replace(desk.house, unstamped="the studio has no line to the outside")
    cinema.studio.office.desk = dataclasses.replace(desk, house=house)
    stamper = Around(None, stamp=fail(TsaUnavailable("gone")))
    cinema.press = dataclasses.replace(
        cinema.press, desk=cinema.studio.office.desk, stamper=stamper
    )
    draft = cinema.draft()
    out = cinema.release(draft)
    reading = read_manifest(cinema.kept(out), "video/mp4", anchors=cinema.press.anchors)
    assert (reading.verdict, reading.time_stamp) == ("trusted", "missing")
    assert cinema.redeliver(draft) == out
