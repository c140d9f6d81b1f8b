"""The boxes of an MP4 or QuickTime file (ISO/IEC 14496-12), by their headers alone.

Decides where boxes begin and end, and whether a file has few enough of them to be handed to native
code: the C2PA library takes time with the square of their number (measured, c2pa-rs 0.91: 8,000 in
half a second, 30,000 in seven seconds, a million of eight bytes each: not within minutes). Refused:
more than `MAX_BOXES` boxes, nesting deeper than `MAX_DEPTH`, a box that does not fit what holds it.
Coded media are never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from provenance.errors import Truncated, Undecodable, Unsupported

MAX_BOXES: Final = 10_000
"""Boxes in a file, on all levels: a phone's video has 100, half an hour in fragments has 8,000."""
MAX_DEPTH: Final = 32
"""Levels of boxes in boxes; sample tables, the deepest that every file has, are on the sixth."""

# What the C2PA library looks into (measured, c2pa-rs 0.91); every other box is one box to it.
_HOLDERS: Final = frozenset(
    b"moov trak mdia minf stbl dinf edts udta meta tref treg schi mvex moof traf mfra".split()
)
_HEAD: Final = 8


@dataclass(frozen=True, slots=True)
class Box:
    """One box by its place in a file or buffer: `start` of the header, `body`, `end`."""

    kind: bytes
    start: int
    body: int
    end: int


def read_head(head: bytes, start: int, end: int) -> Box:
    """Read a header (4.2): size 1 means a 64-bit size, 0 up to the end.

    `head`: the first 16 bytes of the box, fewer at the end. Raises Truncated, Undecodable.
    """
    if len(head) < _HEAD:
        raise Truncated("the file ends inside a box header")
    size, body = int.from_bytes(head[:4], "big"), start + _HEAD
    if size == 1:
        size, body = int.from_bytes(head[8:16], "big"), start + 16
    stop = start + size if size else end
    if stop < body:
        raise Undecodable("a box is smaller than its own header")
    if stop > end:
        raise Truncated("a box runs past the end of what holds it")
    return Box(head[4:8], start, body, stop)


def file_boxes(file: BinaryIO) -> Iterator[Box]:
    """Yield the outermost boxes of a file; raises Unsupported, Truncated, Undecodable."""
    size = file.seek(0, 2)
    if peek(file, 4, 4) != b"ftyp":
        raise Unsupported("not an MP4 or QuickTime file: it does not begin with ftyp")
    yield from walk(file, 0, size)


def walk(file: BinaryIO, at: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two places of a file; raises Truncated, Undecodable."""
    for _ in range(MAX_BOXES):
        if at == end:
            return
        box = read_head(peek(file, at, min(16, end - at)), at, end)
        yield box
        at = box.end
    raise Undecodable(f"the file has more than {MAX_BOXES} boxes")


def require_few_boxes(file: BinaryIO) -> None:
    """Return if the boxes of a file are few and not deep; raise Undecodable, Truncated.

    A file whose last outermost box ends early is let pass: what is missing is media. Inside another
    box that is refused, for a reader that goes on behind its end would count anew.
    """
    levels = [(0, file.seek(0, 2))]  # where the next box begins, and where what holds it ends
    for _ in range(MAX_BOXES + 1):
        # Fewer bytes than a header has are padding (QuickTime).
        while levels and levels[-1][1] - levels[-1][0] < _HEAD:
            levels.pop()
        if not levels:
            return
        at, end = levels.pop()
        head = peek(file, at, min(16, end - at))
        holds = head[4:8] in _HOLDERS
        try:
            box = read_head(head, at, end)
        except Truncated:
            if levels or holds:
                raise
            return
        levels.append((box.end, end))
        if holds:
            levels.append((_inner(file, box), box.end))
        if len(levels) > MAX_DEPTH:
            raise Undecodable(f"the file has boxes in boxes, more than {MAX_DEPTH} deep")
    raise Undecodable(f"the file has more than {MAX_BOXES} boxes")


def _inner(file: BinaryIO, box: Box) -> int:
    """Return where the boxes inside begin: in an ISO `meta` behind version and flags."""
    full = box.kind == b"meta" and peek(file, box.body + 4, 4) != b"hdlr"
    return box.body + 4 if full else box.body


def load_box(file: BinaryIO, box: Box, cap: int) -> bytes:
    """Return the body of a box, at most `cap` bytes; raises Undecodable."""
    if box.end - box.body > cap:
        raise Undecodable(f"a box of metadata has more than {cap} bytes")
    return peek(file, box.body, box.end - box.body)


def peek(file: BinaryIO, at: int, length: int) -> bytes:
    """Return up to `length` bytes at a place of a file."""
    file.seek(at)
    return file.read(length)
