from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.keyprovider import KeyDenied, KeyExposed, KeyUnavailable
from policies.privatefile import (
    claim_private,
    folder_lock,
    mark_of,
    read_private,
    refuse_exposed,
    refuse_open_folder,
)

Opener = Callable[[Path], object]


def read(path: Path) -> bytes:
    return read_private(path, max_bytes=100)[0]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "private" / "key"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"secret")
    path.chmod(0o600)
    return path


BOTH = pytest.mark.parametrize("opener", [read, claim_private])


def refused(opener: Opener, path: Path) -> str:
    with pytest.raises(KeyDenied) as caught:
        opener(path)
    return caught.value.code


def test_a_private_file_is_read_with_its_mark(key: Path) -> None:
    data, mark = read_private(key, max_bytes=6)
    assert data == b"secret"
    assert mark == mark_of(key)
    claim_private(key)
    assert key.read_bytes() == b"secret"


def test_another_writing_has_another_mark(key: Path) -> None:
    before = mark_of(key)
    other = key.with_name("other")
    other.write_bytes(b"secret")
    os.replace(other, key)
    assert mark_of(key) != before


@BOTH
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o620, 0o602, 0o601, 0o666])
def test_any_permission_for_others_is_refused(opener: Opener, mode: int, key: Path) -> None:
    key.chmod(mode)
    assert refused(opener, key) == "KEY-EXPOSED"


@BOTH
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o720, 0o777])
def test_a_folder_others_can_write_is_refused(opener: Opener, mode: int, key: Path) -> None:
    key.parent.chmod(mode)
    assert refused(opener, key) == "KEY-EXPOSED"
    key.parent.chmod(mode | 0o1000)
    opener(key)


@BOTH
def test_a_symbolic_link_is_refused(opener: Opener, key: Path) -> None:
    link = key.with_name("link")
    link.symlink_to(key)
    assert refused(opener, link) == "KEY-EXPOSED"


@BOTH
def test_a_named_pipe_is_refused_and_does_not_hang(opener: Opener, key: Path) -> None:
    pipe = key.with_name("pipe")
    os.mkfifo(pipe, mode=0o600)
    assert refused(opener, pipe) == "KEY-EXPOSED"


@BOTH
def test_a_missing_folder_is_unavailable(opener: Opener, tmp_path: Path) -> None:
    assert refused(opener, tmp_path / "nowhere" / "key") == "KEY-UNAVAILABLE"


def test_missing_and_oversize_files_are_unavailable(key: Path) -> None:
    for act in (read, mark_of):
        assert refused(act, key.with_name("missing")) == "KEY-UNAVAILABLE"
    with pytest.raises(KeyUnavailable):
        read_private(key, max_bytes=5)


def test_claiming_makes_an_empty_private_file(key: Path) -> None:
    made = key.with_name("made")
    claim_private(made)
    assert (made.stat().st_mode & 0o777, made.read_bytes()) == (0o600, b"")


def test_another_owner_is_refused(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = key.stat()
    refuse_exposed(key, found)
    monkeypatch.setattr(os, "geteuid", lambda: found.st_uid + 1)
    with pytest.raises(KeyExposed) as caught:
        refuse_exposed(key, found)
    assert "another user" in caught.value.message


def test_a_folder_of_another_owner_is_refused(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_open_folder(key.parent)
    values = list(key.parent.stat())
    values[4] = os.geteuid() + 12_345
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result(values))
    with pytest.raises(KeyExposed):
        refuse_open_folder(key.parent)


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    count, most, guard = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal count, most
        for _ in range(20):
            with folder_lock(tmp_path):
                with guard:
                    count += 1
                    most = max(most, count)
                with guard:
                    count -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lock_needs_a_folder(key: Path) -> None:
    with pytest.raises(KeyUnavailable), folder_lock(key):
        pytest.fail("a file was locked as a folder")
