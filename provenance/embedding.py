"""Where a file keeps its manifest store (C2PA specification 2.2, annex A): the bytes of the store.

Only found here, not verified. Refused: a file with no store or with two, at the second one; one
whose structure does not hold; and a store larger than any we read, before it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from policies.errors import Malformed
from provenance.asset import AssetMime, Content, opened
from provenance.containers import jpeg_segments, png_chunks, webp_chunks
from provenance.errors import MediaError
from provenance.label_mp4 import C2PA_UUID
from provenance.mp4_boxes import file_boxes, load_box, peek

MAX_STORE_BYTES: Final = 8_000_000
"""Largest store, in a file or outside; thumbnails of long edit chains reach 1-2 MB."""

_JUMBF_HEAD = 8  # in APP11: "JP", number of the box, number of the segment (ISO/IEC 19566-5, D.2)
_BOX_HEAD = 8
_MP4_HEAD = 20  # in a uuid box: the uuid, then version and flags; a purpose and an offset follow
_MP4_OFFSET = 8


def find_store(content: Content, mime: AssetMime) -> bytes:
    """Return the manifest store in a whole file; raise Malformed for none, or more than one."""
    try:
        if mime == "video/mp4":
            store = _only(_mp4_stores(content))
        else:
            data = content.read_bytes() if isinstance(content, Path) else content
            store = _only(_stores(data, mime))
    except (MediaError, OSError) as error:
        raise Malformed(
            "no manifest store can be found: the file does not hold together"
        ) from error
    if len(store) > MAX_STORE_BYTES:
        raise Malformed(f"a manifest store has at most {MAX_STORE_BYTES} bytes")
    return store


def _only(stores: Iterator[bytes]) -> bytes:
    """Return the one store; what comes after a second is not looked for."""
    first = next(stores, None)
    if first is None:
        raise Malformed("a file has one manifest store, this has none")
    if next(stores, None) is not None:
        raise Malformed("a file has one manifest store, this has more")
    return first


def _stores(data: bytes, mime: AssetMime) -> Iterator[bytes]:
    if mime == "image/png":
        for kind, start, end in png_chunks(data):
            if kind == b"caBX":
                yield data[start + 8 : end - 4]
    elif mime == "image/webp":
        for kind, body in webp_chunks(data, 8 + int.from_bytes(data[4:8], "little")):
            if kind == b"C2PA":
                yield body
    else:
        yield from _jpeg_stores(data)


def _jpeg_stores(data: bytes) -> Iterator[bytes]:
    """Put the segments of each store together; the head of its box is repeated in every segment."""
    parts: dict[bytes, dict[int, bytes]] = {}
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == 0xEB and body.startswith(b"JP") and len(body) >= _JUMBF_HEAD + _BOX_HEAD:
            one = parts.setdefault(body[2:4], {})
            if (place := int.from_bytes(body[4:8], "big")) in one:
                raise Malformed("the manifest store has one segment twice")
            one[place] = body[_JUMBF_HEAD:]
    for one in parts.values():
        first, *rest = (one[place] for place in sorted(one))
        yield first + b"".join(part[_BOX_HEAD:] for part in rest)


def _mp4_stores(content: Content) -> Iterator[bytes]:
    with opened(content) as file:
        for box in file_boxes(file):
            if box.kind != b"uuid" or peek(file, box.body, 16) != C2PA_UUID:
                continue
            body = load_box(file, box, MAX_STORE_BYTES + 64)
            purpose, end, rest = body[_MP4_HEAD:].partition(b"\x00")
            if (purpose, end) == (b"manifest", b"\x00"):
                yield rest[_MP4_OFFSET:]
