"""What else a picture file is gets its name, and only where a reader would look for it."""

from __future__ import annotations

import pytest

from provenance.foreign import find_formats, name_tail

PICTURE = b"\xff\xd8\xff picture \xff\xd9"


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        (b"PK\x03\x04", "ZIP"),
        (b"Rar!\x1a\x07\x01", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\xd8\xff\xe1", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"MZ\x90", "a Windows program"),
        (b"\x7fELF\x02", "a Linux program"),
        (b"\x00\x00\x00\x18ftypmp42", "a video"),
        (b"\x00\x00\x00\x00", "unknown"),
        (b" PK\x03\x04", "unknown"),
    ],
)
def test_a_tail_is_named_by_its_first_bytes(tail: bytes, name: str) -> None:
    assert name_tail(PICTURE + tail, len(PICTURE)) == name


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (PICTURE, ()),
        (PICTURE + b"PK\x05\x06" + bytes(18), ("ZIP",)),
        (PICTURE + b"PK\x05\x06" + bytes(65_553), ("ZIP",)),
        (PICTURE + b"PK\x05\x06" + bytes(65_554), ()),
        (PICTURE + bytes(900) + b"%PDF-1.4", ("PDF",)),
        (PICTURE + bytes(1_100) + b"%PDF-1.4", ()),
        (PICTURE + b"<HTML><ScRiPt>", ("HTML",)),
        (PICTURE + b"<?php", ("PHP",)),
        (PICTURE + bytes(1_500) + b"<script>", ()),
        (PICTURE + b"<?PHP %PDF- PK\x05\x06", ("PDF", "PHP", "ZIP")),
    ],
)
def test_formats_are_found_where_their_readers_look(data: bytes, names: tuple[str, ...]) -> None:
    assert find_formats(data) == names
