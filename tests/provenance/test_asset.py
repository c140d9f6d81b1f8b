"""Files that can carry a manifest: their type, and opening them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from policies.digest import sha256_hex
from provenance.asset import Inputs, digest_of, opened, sniff_asset
from provenance.errors import Empty, Undecodable, Unsupported

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00"


@pytest.mark.parametrize("on_disk", [False, True])
def test_types_are_told_by_the_first_bytes(studio: Any, tmp_path: Path, on_disk: bool) -> None:
    for data, mime in (
        (studio.picture("persona1_0", "image/jpeg").data, "image/jpeg"),
        (studio.picture("persona1_0", "image/png").data, "image/png"),
        (studio.picture("persona1_0").data, "image/webp"),
        (MP4, "video/mp4"),
        (MP4.replace(b"isom", b"qt  "), "video/mp4"),
    ):
        file = tmp_path / "named.gif"
        file.write_bytes(data)
        assert sniff_asset(file if on_disk else data) == mime


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"unknown", "content: unknown"),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
        (b"\x00\x00\x00\x18ftypheic", "content: HEIC"),
        (b"\x00\x00\x00\x18ftypavif", "content: AVIF"),
        (b"GIF89a", "content: GIF"),
    ],
    ids=["unknown", "webm", "heic", "avif", "gif"],
)
def test_other_types_are_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        sniff_asset(data)


def test_nothing_is_no_type() -> None:
    with pytest.raises(Empty):
        sniff_asset(b"")


def test_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(Undecodable, match="No such file"), opened(tmp_path / "none"):
        pass


def test_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Undecodable, match="no plain file"):
        sniff_asset(tmp_path / "pipe")


def test_digest_is_of_the_bytes_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert digest_of(tmp_path / "file") == digest_of(b"x" * 100_000)
    assert digest_of(b"") == sha256_hex(b"")


def test_picture_is_an_input(studio: Any) -> None:
    picture = studio.picture("persona1_0")
    inputs = Inputs(target=picture, source=picture)
    assert inputs.target.content == picture.data
