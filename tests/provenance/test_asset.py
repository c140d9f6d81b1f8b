"""Files that can carry a manifest: their type, and opening them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provenance.asset import Inputs, opened, sniff_asset
from provenance.errors import Undecodable, Unsupported

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00"


@pytest.mark.parametrize("on_disk", [False, True])
def test_types_are_told_by_the_first_bytes(studio: Any, tmp_path: Path, on_disk: bool) -> None:
    for data, mime in (
        (studio.picture("persona1_0", "image/jpeg").data, "image/jpeg"),
        (studio.picture("persona1_0", "image/png").data, "image/png"),
        (studio.picture("persona1_0").data, "image/webp"),
        (MP4, "video/mp4"),
    ):
        file = tmp_path / "named.gif"
        file.write_bytes(data)
        assert sniff_asset(file if on_disk else data) == mime


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "content: unknown"),
        (b"\x00\x00\x00\x18ftypheic", "content: HEIC"),
        (b"\x00\x00\x00\x18ftypavif", "content: AVIF"),
        (b"\x00\x00\x00\x18ftypqt  ", "QuickTime"),
        (b"GIF89a", "content: GIF"),
    ],
    ids=["empty", "heic", "avif", "quicktime", "gif"],
)
def test_other_types_are_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        sniff_asset(data)


def test_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(Undecodable, match="No such file"), opened(tmp_path / "none"):
        pass


def test_picture_is_an_input(studio: Any) -> None:
    picture = studio.picture("persona1_0")
    inputs = Inputs(target=picture, source=picture)
    assert inputs.target.content == picture.data
