"""The store: whole or not there, checked when read, named by digest alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.store import FolderStore, write_whole


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4000], ids=["none", "one", "many"])
def test_what_is_put_is_got(store: FolderStore, tmp_path: Path, data: bytes) -> None:
    sha256 = store.put(data)
    assert sha256 == sha256_hex(data)
    assert store.get(sha256) == data
    [path] = files(tmp_path)
    assert path == tmp_path / "store" / sha256[:2] / sha256[2:]
    assert path.stat().st_mode & 0o777 == 0o600


def test_putting_twice_keeps_one(store: FolderStore, tmp_path: Path) -> None:
    assert store.put(b"x") == store.put(b"x")
    assert len(files(tmp_path)) == 1


def test_missing_object_is_unavailable(store: FolderStore) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        store.get("0" * 64)
    assert caught.value.code == "STORE-UNAVAILABLE"


def test_changed_object_is_refused(store: FolderStore, tmp_path: Path) -> None:
    sha256 = store.put(b"as it was released")
    files(tmp_path)[0].write_bytes(b"as somebody left it")
    with pytest.raises(StoreUnavailable, match="changed") as caught:
        store.get(sha256)
    assert caught.value.code == "STORE-UNAVAILABLE"


@pytest.mark.parametrize(
    "name",
    ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "0" * 64 + "\n", "0" * 65],
)
def test_only_digests_name_objects(store: FolderStore, name: str) -> None:
    for action in (store.get, store.drop):
        with pytest.raises(StoreUnavailable, match="SHA-256"):
            action(name)


def test_dropping_forgets_and_is_idempotent(store: FolderStore, tmp_path: Path) -> None:
    sha256 = store.put(b"x")
    store.drop(sha256)
    store.drop(sha256)
    assert files(tmp_path) == []
    with pytest.raises(StoreUnavailable):
        store.get(sha256)


def test_object_that_stays_is_said(store: FolderStore, tmp_path: Path) -> None:
    sha256 = sha256_hex(b"x")
    (tmp_path / "store" / sha256[:2] / sha256[2:]).mkdir(parents=True)  # a folder has no unlink
    with pytest.raises(StoreUnavailable, match="keeps"):
        store.drop(sha256)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StoreUnavailable, match="No space") as caught:
        write_whole(tmp_path / "new" / "file", b"data")
    assert caught.value.mend
    assert files(tmp_path) == []


def test_write_replaces_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old, and longer than the new one")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert files(tmp_path) == [path]


def test_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path / "store").put(b"x")
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 9000], ids=["none", "one", "many"])
def test_a_file_is_kept_and_given_back(store: FolderStore, tmp_path: Path, data: bytes) -> None:
    given, back = tmp_path / "given", tmp_path / "new" / "back"
    given.write_bytes(data)
    sha256 = store.put_file(given)
    assert sha256 == sha256_hex(data)
    assert store.get(sha256) == data
    store.get_file(sha256, back)
    assert back.read_bytes() == data
    assert back.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_missing_is_unavailable(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot keep none"):
        store.put_file(tmp_path / "none")
    with pytest.raises(StoreUnavailable, match="does not give"):
        store.get_file("0" * 64, tmp_path / "back")
    with pytest.raises(StoreUnavailable, match="SHA-256"):
        store.get_file("../x", tmp_path / "back")


def test_a_changed_file_is_not_given(store: FolderStore, tmp_path: Path) -> None:
    given, back = tmp_path / "given", tmp_path / "back"
    given.write_bytes(b"as it was released")
    back.write_bytes(b"before")
    sha256 = store.put_file(given)
    (tmp_path / "store" / sha256[:2] / sha256[2:]).write_bytes(b"as somebody left it")
    with pytest.raises(StoreUnavailable, match="changed"):
        store.get_file(sha256, back)
    assert back.read_bytes() == b"before"
    assert not list(tmp_path.glob(".partial-*"))
