"""EXIF as far as a label needs it: the user comment and an XMP packet in the first two directories.

Decides how a comment's letters are coded. Broken EXIF reads as absent: it never decides about a
person. Values are bounded by the block they stand in; two directories are visited, each once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

USER_COMMENT: Final = 0x9286
XMP_PACKET: Final = 0x02BC
_EXIF_DIRECTORY = 0x8769
_ASCII, _UNICODE, _UNDEFINED = b"ASCII\x00\x00\x00", b"UNICODE\x00", bytes(8)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}
_MAX_ENTRIES = 512
"""Cameras write under 100 a directory."""


def read_tags(exif: bytes, *wanted: int) -> list[tuple[int, bytes]]:
    """Return (tag, raw value) of every wanted tag in IFD0 and the Exif IFD, in file order.

    `exif` starts at the TIFF header, in either byte order.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return []
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        found = list(_entries(exif, order, first))
        second = next((value for tag, value in found if tag == _EXIF_DIRECTORY), None)
        if second is not None:
            found += _entries(exif, order, struct.unpack(order + "I", second)[0])
    except struct.error:
        return []
    return [(tag, value) for tag, value in found if tag in wanted]


def decode_comment(value: bytes, exif: bytes) -> str:
    """Return a user comment as text: ASCII (read as UTF-8), UTF-16 or undefined (EXIF 2.32, 4.6.6).

    UTF-16 is tried in the order of `exif` first and swapped where that gives no JSON: writers
    disagree on which one counts.
    """
    head, body = value[:8], value[8:]
    if head == _UNICODE:
        native, other = ("le", "be") if exif[:1] == b"I" else ("be", "le")
        texts = [body.decode(f"utf-16-{order}", "replace") for order in (native, other)]
        text = next((text for text in texts if text.lstrip("\ufeff \x00")[:1] == "{"), texts[0])
    else:
        text = (body if head in (_ASCII, _UNDEFINED) else value).decode("utf-8", "replace")
    return text.strip("\ufeff\x00 ")


def write_comment(text: str) -> bytes:
    """Return an EXIF block, big-endian, whose only content is `text` (ASCII) as user comment."""
    comment = _ASCII + text.encode("ascii")
    pointer = struct.pack(">HHII", _EXIF_DIRECTORY, 4, 1, 26)
    directory = struct.pack(">HHI4s", 0x9000, 7, 4, b"0232")
    directory += struct.pack(">HHII", USER_COMMENT, 7, len(comment), 56)
    return (
        b"MM\x00*" + struct.pack(">I", 8)
        + struct.pack(">H", 1) + pointer + bytes(4)
        + struct.pack(">H", 2) + directory + bytes(4)
        + comment
    )  # fmt: skip


def _entries(exif: bytes, order: str, at: int) -> Iterator[tuple[int, bytes]]:
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
        length = _SIZES.get(kind, 0) * number
        start = entry + 8
        if length > 4:
            (start,) = struct.unpack_from(order + "I", exif, start)
        yield tag, exif[start : start + length]
