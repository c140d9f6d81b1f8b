"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policies.errors import StoreUnavailable
from policies.files import read_bounded, replace_file


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one", mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    replace_file(path, b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o644)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_crash_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StoreUnavailable, match="No space") as caught:
        replace_file(path, b"two")
    assert caught.value.code == "STORE-UNAVAILABLE"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"one"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot write"):
        replace_file(tmp_path / "no" / "a", b"one")
    with pytest.raises(StoreUnavailable, match="cannot read"):
        read_bounded(tmp_path / "no", max_bytes=3)


def test_the_folder_is_made_durable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def watch(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").resolve() == tmp_path.resolve())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watch)
    replace_file(tmp_path / "a", b"one")
    assert synced == [False, True]


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_bounded(tmp_path / "a", max_bytes=3) == b"abc"
    with pytest.raises(StoreUnavailable, match="more than 2 bytes"):
        read_bounded(tmp_path / "a", max_bytes=2)
