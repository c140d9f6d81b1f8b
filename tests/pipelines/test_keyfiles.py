from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.keyfiles import KeyFileRefused, read_secret, read_signing_key, write_secret
from policies.keys import SigningKey


def refused_for(path: Path, **how: int) -> KeyFileRefused:
    with pytest.raises(KeyFileRefused) as refused:
        read_secret(path, **how)
    assert refused.value.code == "KEY-FILE-REFUSED"
    assert refused.value.mend
    return refused.value


def test_a_secret_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.key"
    before = os.umask(0)
    try:
        write_secret(path, b"s" * 32)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert read_secret(path, size=32) == b"s" * 32


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"old")
    with pytest.raises(KeyFileRefused, match="is there already and is not overwritten") as refused:
        write_secret(path, b"new")
    assert "move it away first" in refused.value.mend
    assert path.read_bytes() == b"old"


def test_a_link_to_elsewhere_is_not_followed_when_writing(tmp_path: Path) -> None:
    (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileRefused):
        write_secret(tmp_path / "a.key", b"new")
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileRefused, match=r"cannot write .*Not a directory") as refused:
        write_secret(tmp_path / "file" / "keys" / "a.key", b"new")
    assert "FACEWARRANT_HOME" in refused.value.mend


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610, 0o602, 0o601])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"s" * 32)
    path.chmod(mode)
    error = refused_for(path)
    assert f"{path} can be read by others" in error.message
    assert f"chmod 600 {path}" in error.mend


def test_a_missing_secret_is_refused(tmp_path: Path) -> None:
    error = refused_for(tmp_path / "a.key")
    assert "No such file" in error.message
    assert "facewarrant init" in error.mend


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_refused_and_not_shown(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"\x53" * size)
    error = refused_for(path, size=32)
    assert error.message.endswith(f"has {size} bytes instead of 32")
    assert "backup" in error.mend


def test_a_signing_key_comes_back(tmp_path: Path) -> None:
    key = SigningKey.from_seed(b"k" * 32)
    write_secret(tmp_path / "a.pem", key.to_pem())
    assert read_signing_key(tmp_path / "a.pem").public == key.public


def test_what_is_no_signing_key_names_its_file(tmp_path: Path) -> None:
    write_secret(tmp_path / "a.pem", b"-----BEGIN NONSENSE-----")
    with pytest.raises(KeyFileRefused, match=r"a\.pem: the key file is not") as refused:
        read_signing_key(tmp_path / "a.pem")
    assert "backup" in refused.value.mend
