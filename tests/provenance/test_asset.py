"""Files that can carry a manifest: their type, and opening them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import provenance.containers
from policies.digest import sha256_hex
from provenance.asset import AssetMime, Inputs, digest_of, opened, require_few_parts, sniff_asset
from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.errors import Empty, Undecodable, Unsupported
from provenance.second_engine import SecondEngine
from provenance.trust import NO_LISTS

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


def chunks(mime: str, count: int) -> bytes:
    """A file of `count` empty chunks: IHDR and IEND are two of a PNG's."""
    if mime == "image/png":
        kinds = (b"IHDR", *[b"tEXt"] * (count - 2), b"IEND")
        return b"\x89PNG\r\n\x1a\n" + b"".join(bytes(4) + kind + bytes(4) for kind in kinds)
    body = b"WEBP" + b"JUNK\x00\x00\x00\x00" * count
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("mime", ["image/png", "image/webp"])
def test_a_picture_of_too_many_chunks_is_shown_to_no_engine(
    mime: AssetMime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.containers, "MAX_CHUNKS", 20)
    require_few_parts(chunks(mime, 20), mime)
    require_few_parts(chunks(mime, 20)[:-1], mime)  # what ends early was counted
    with pytest.raises(Undecodable, match="more than 20 chunks"):
        require_few_parts(chunks(mime, 21), mime)
    reading = read_manifest(chunks(mime, 21), mime, anchors=TrustAnchors(()))
    assert reading.verdict == "unreadable"
    assert "more than 20 chunks" in reading.detail
    engine = SecondEngine(lambda *_, **__: pytest.fail("it was asked"))
    found = engine.read(chunks(mime, 21), mime, anchors=TrustAnchors(()), lists=NO_LISTS)
    assert found.state == "unreadable"


def test_segments_of_a_jpeg_are_not_counted(studio: Any) -> None:
    data = studio.picture("persona1_0", "image/jpeg").data
    require_few_parts(data[:2] + b"\xff\xe4\x00\x02" * 60_000 + data[2:], "image/jpeg")


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
