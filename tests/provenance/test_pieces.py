"""Pieces of a video between two runs: what is believed of them, and when they are gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from policies.errors import Malformed, StoreUnavailable
from policies.keys import CommitmentKey
from provenance.errors import NotReleased
from provenance.lock import hold_alone
from provenance.pieces import PIECE_FRAMES, drop_pieces, leave_none, open_pieces

RANDOM = bytes(range(16))


class Killed(BaseException):
    """The process ends in the middle."""


@pytest.fixture
def opened(studio: Any, tmp_path: Path) -> Callable[..., Any]:
    pictures = studio.picture("persona1_0"), studio.picture("persona2_0")
    active = studio.warrant_under(*pictures, {"media": ["video"]}, medium="video")
    fixed: dict[str, Any] = {
        "frames": 2 * PIECE_FRAMES + 5,
        "commitment": studio.office.book.commitment,
        "rng": lambda n: RANDOM[:n],
    }

    @contextmanager
    def opened(**changes: Any) -> Iterator[Any]:
        warrant = changes.pop("warrant", active.document)
        with hold_alone(tmp_path / "work" / warrant.warrant_id):
            with open_pieces(tmp_path / "work", warrant, **(fixed | changes)) as pieces:
                yield pieces

    return opened


def leave(
    opened: Callable[..., Any], *kept: tuple[int, bytes], ending: BaseException | None = None
) -> Path:
    """A run that is killed after it kept these pieces; returns its folder."""
    ending = ending or Killed()
    folder: list[Path] = []

    def run() -> None:
        with opened() as pieces:
            folder.append(pieces.folder)
            for start, data in kept:
                pieces.keep(start, data)
            raise ending

    with pytest.raises(type(ending)):
        run()
    return folder[0]


def test_a_clip_is_cut_into_pieces_without_a_gap(opened: Callable[..., Any]) -> None:
    with opened() as pieces:
        whole = [number for start, stop in pieces.spans() for number in range(start, stop)]
        assert whole == list(range(2 * PIECE_FRAMES + 5))
        assert pieces.missing() == pieces.spans()
        assert len(pieces.spans()) == 3


def test_a_killed_run_goes_on_with_its_pieces_and_its_mark(opened: Callable[..., Any]) -> None:
    folder = leave(opened, (0, b"first"))
    assert folder.stat().st_mode & 0o077 == 0
    with opened(rng=lambda n: b"z" * n) as pieces:
        assert pieces.draw(6) == RANDOM[:6]
        assert [start for start, _ in pieces.missing()] == [PIECE_FRAMES, 2 * PIECE_FRAMES]
        assert pieces.path(0).read_bytes() == b"first"


def test_nothing_is_left_after_the_end(opened: Callable[..., Any]) -> None:
    with opened() as pieces:
        pieces.keep(0, b"first")
    assert not pieces.folder.exists()
    drop_pieces(pieces.folder.parent, pieces.folder.name)


def test_nothing_is_left_after_an_error(opened: Callable[..., Any]) -> None:
    folder = leave(opened, (0, b"first"), ending=RuntimeError())
    assert not folder.exists()


@pytest.mark.parametrize("name", ["0000000.mp4", "0000000.mac"])
@pytest.mark.parametrize("data", [b"", b"others", None], ids=["empty", "changed", "gone"])
def test_a_piece_that_is_not_as_it_was_written_is_made_anew(
    opened: Callable[..., Any], name: str, data: bytes | None
) -> None:
    file = leave(opened, (0, b"first")) / name
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    with opened() as pieces:
        assert (0, PIECE_FRAMES) in pieces.missing()


def test_pieces_are_given_as_they_were_written(opened: Callable[..., Any]) -> None:
    with opened(frames=PIECE_FRAMES + 1) as pieces:
        pieces.keep(0, b"first")
        pieces.keep(PIECE_FRAMES, b"second")
        assert list(pieces.load_all()) == [b"first", b"second"]


def test_a_piece_is_checked_when_it_is_used(opened: Callable[..., Any]) -> None:
    with opened(frames=PIECE_FRAMES + 1) as pieces:
        pieces.keep(0, b"first")
        pieces.keep(PIECE_FRAMES, b"second")
        assert pieces.missing() == []
        given = pieces.load_all()
        assert next(given) == b"first"
        pieces.path(PIECE_FRAMES).write_bytes(b"others")
        with pytest.raises(NotReleased, match=f"frame {PIECE_FRAMES} on was changed"):
            next(given)
        pieces.path(0).unlink()
        with pytest.raises(NotReleased, match="frame 0 on cannot be read"):
            pieces.load(0)


def test_pieces_that_stay_are_said(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = leave(opened, (0, b"first"))
    monkeypatch.setattr(shutil, "rmtree", lambda *_given, **_named: None)
    with pytest.raises(StoreUnavailable, match="cannot delete"):
        drop_pieces(folder.parent, folder.name)
    leave_none(folder.parent, folder.name)
    with pytest.raises(RuntimeError, match="the first error"), opened():
        raise RuntimeError("the first error")
    with opened():
        pass  # a success is none the less one
    assert folder.exists()


def test_a_piece_in_another_place_is_made_anew(opened: Callable[..., Any]) -> None:
    folder = leave(opened, (0, b"first"))
    for suffix in ("mp4", "mac"):
        (folder / f"0000000.{suffix}").rename(folder / f"{PIECE_FRAMES:07d}.{suffix}")
    with opened() as pieces:
        assert pieces.missing() == pieces.spans()


def edited(folder: Path, **changes: str) -> None:
    plan = folder / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_bytes()) | changes))


@pytest.mark.parametrize(
    "changes",
    [{"drawn": "00" * 16}, {"mac": "0" * 64}, {"warrant": "0" * 64}, {"drawn": "no hex"}],
    ids=["mark", "mac", "warrant", "no_hex"],
)
def test_a_plan_that_was_edited_starts_the_clip_anew(
    opened: Callable[..., Any], changes: dict[str, str]
) -> None:
    edited(leave(opened, (0, b"first")), **changes)
    with opened(rng=lambda n: b"z" * n) as pieces:
        assert pieces.draw(6) == b"z" * 6
        assert pieces.missing() == pieces.spans()
        assert not pieces.path(0).exists()


def test_pieces_of_another_warrant_are_not_taken(
    opened: Callable[..., Any], studio: Any, tmp_path: Path
) -> None:
    folder = leave(opened, (0, b"first"))
    pictures = studio.picture("persona1_0"), studio.picture("persona2_0")
    other = studio.warrant_under(*pictures, {"media": ["video"]}, medium="video").document
    folder.rename(folder.parent / other.warrant_id)
    with opened(warrant=other) as pieces:
        assert pieces.missing() == pieces.spans()


def test_pieces_of_another_key_are_not_taken(opened: Callable[..., Any]) -> None:
    leave(opened, (0, b"first"))
    with opened(commitment=CommitmentKey(b"o" * 32)) as pieces:
        assert pieces.missing() == pieces.spans()


def test_one_process_at_a_time(opened: Callable[..., Any]) -> None:
    with opened() as pieces:
        pieces.keep(0, b"first")
        with pytest.raises(StoreUnavailable, match="another process"), opened():
            pass
        assert pieces.path(0).exists(), "who was turned away deletes nothing"


def test_a_short_random_source_is_refused(opened: Callable[..., Any]) -> None:
    with pytest.raises(Malformed, match="3 bytes instead of 16"), opened(rng=lambda _: b"abc"):
        pass


def test_a_folder_that_cannot_be_made_is_refused(
    opened: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(StoreUnavailable, match="cannot use"), opened():
        pass
