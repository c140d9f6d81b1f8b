"""The work folder: what of a killed video stays, and what the sweep takes away."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.settings import read_settings
from pipelines.work import forget_ended, work_folder
from policies.errors import StoreUnavailable
from policies.warrant import Warrant
from provenance.errors import ClipInUse
from provenance.lock import hold_alone


@pytest.fixture
def at(office: Any, tmp_path: Path) -> Any:
    """What the sweep needs of a home."""
    return SimpleNamespace(settings=read_settings(home=tmp_path), desk=office.desk)


def start(office: Any) -> Warrant:
    people = [(office.enrol(media=["video"]), role) for role in ("source_identity", "target_body")]
    request = office.request(people, medium="video")
    warrant: Warrant = office.desk.admit(request, office.measured(request, seconds=1))
    office.desk.start(warrant)
    return warrant


def leave(at: Any, kind: str, name: str) -> Path:
    folder = work_folder(at.settings) / kind / name
    folder.mkdir(parents=True)
    (folder / "0000000.mp4").write_bytes(b"a piece")
    return folder


def test_pieces_stay_while_their_warrant_holds(at: Any, office: Any) -> None:
    pieces = leave(at, "pieces", start(office).warrant_id)
    assert forget_ended(at) == []
    assert (pieces / "0000000.mp4").exists()
    assert work_folder(at.settings).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("ended", ["withdrawn", "expired", "aborted"])
def test_pieces_of_a_warrant_that_ended_go(at: Any, office: Any, ended: str) -> None:
    warrant = start(office)
    pieces = leave(at, "pieces", warrant.warrant_id)
    if ended == "withdrawn":
        office.withdraw(warrant.people[1].record_id)
    elif ended == "expired":
        office.clock.now = warrant.expires_at
    else:
        office.desk.abort(warrant, "a test")
    assert forget_ended(at) == [warrant.warrant_id]
    assert not pieces.exists()


def test_what_nobody_knows_goes(at: Any) -> None:
    copies, unknown = leave(at, "targets", "run-1"), leave(at, "pieces", "no-warrant")
    assert sorted(forget_ended(at)) == ["no-warrant", "run-1"]
    assert not copies.exists()
    assert not unknown.exists()


def test_what_a_process_works_on_stays(at: Any) -> None:
    copies = leave(at, "targets", "run-1")
    with hold_alone(copies):
        assert forget_ended(at) == []
    assert copies.exists()


def test_whether_a_warrant_holds_is_asked_while_its_pieces_are_held(
    at: Any, office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = leave(at, "pieces", start(office).warrant_id)
    running, asked = type(at.desk).running, list[str]()

    def ask(desk: Any) -> Any:
        with pytest.raises(ClipInUse), hold_alone(pieces):
            pass
        asked.append(pieces.name)
        return running(desk)

    monkeypatch.setattr(type(at.desk), "running", ask)
    assert forget_ended(at) == []
    assert asked == [pieces.name]


def test_what_cannot_be_deleted_is_said_after_the_rest_is_gone(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [leave(at, "pieces", name) for name in ("one", "two", "three")]
    rmtree = shutil.rmtree

    def stuck(folder: Path, **named: Any) -> None:
        if folder.name != "two":
            rmtree(folder, **named)

    monkeypatch.setattr(shutil, "rmtree", stuck)
    with pytest.raises(StoreUnavailable, match=r"cannot delete .*two"):
        forget_ended(at)
    assert [folder.name for folder in folders if folder.exists()] == ["two"]
    monkeypatch.undo()
    assert forget_ended(at) == ["two"]


def test_a_home_that_takes_no_folder_is_refused(at: Any, tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(StoreUnavailable, match="cannot make"):
        work_folder(at.settings)
