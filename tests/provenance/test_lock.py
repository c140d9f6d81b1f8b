"""A folder is held by one process, and what is held is the folder of that name."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.errors import StoreUnavailable
from provenance.errors import ClipInUse
from provenance.lock import hold_alone


def test_a_folder_is_made_private_and_held(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "one"
    with hold_alone(folder):
        assert folder.stat().st_mode & 0o077 == 0
        with pytest.raises(ClipInUse, match="another process") as caught, hold_alone(folder):
            pass
        assert caught.value.code == "CLIP-IN-USE"
        assert caught.value.mend == "wait until it has ended, then run again"
    with hold_alone(folder):
        pass


def remove(folder: Path) -> None:
    folder.rmdir()


def replace(folder: Path) -> None:
    # Made before the old one goes, so that it has another inode.
    other = folder.with_name("other")
    other.mkdir()
    folder.rmdir()
    other.rename(folder)


@pytest.mark.parametrize("act", [remove, replace])
def test_a_folder_that_goes_while_it_is_locked_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]
) -> None:
    folder, lock = tmp_path / "one", fcntl.flock

    def late(handle: int, how: int) -> None:
        act(folder)  # who had it ends just now
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ClipInUse), hold_alone(folder):
        pass
    monkeypatch.undo()
    with hold_alone(folder):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    with (
        pytest.raises(StoreUnavailable, match="cannot use") as caught,
        hold_alone(tmp_path / "one"),
    ):
        pass
    assert not isinstance(caught.value, ClipInUse)
