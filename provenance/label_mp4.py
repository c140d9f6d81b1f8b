"""Labels in MP4 and QuickTime files: where they stand, and the box surgery that puts them there.

Decides which boxes may hold a label: `moov.udta.meta` and `moov.meta` with keys and ilst, the XMP
of a `uuid` box and of `moov.udta.XMP_`. Reads from a seekable file without touching coded media.
Writing moves everything behind `moov`, so every chunk offset is corrected; what holds offsets that
we do not correct (fragments, a file-level `meta`, encryption) is refused by name, and so is a file
that is signed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from provenance.containers import MAX_PACKET_BYTES
from provenance.errors import LabelRefused, Truncated, Undecodable
from provenance.label_carriers import MAX_PARTS, Part
from provenance.mp4_boxes import Box, file_boxes, load_box, peek, read_head, walk

MAX_MOOV_BYTES: Final = 64_000_000
"""A two-hour film has an index of about 10 MB; the whole index is held while writing."""
_MAX_KEYS = 1_000
_COPY_BYTES = 1_048_576
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP part 3, 1.2.7.1
C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.2, 11.3.2.1 (embedding)
_HANDLER = bytes(8) + b"mdta" + bytes(13)
_TEXT = struct.pack(">II", 1, 0)  # well-known type 1 is UTF-8 (QuickTime File Format, metadata)
_PATH_TO_OFFSETS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_UNMOVABLE: Final = {
    b"moof": "it is fragmented",
    b"mfra": "it is fragmented",
    b"sidx": "it is segmented",
    b"meta": "it has metadata with offsets of its own at file level",
}


def find_mp4_parts(file: BinaryIO, problems: list[str]) -> list[Part]:
    """Return every block of an MP4 file that may hold a label; what is wrong goes to `problems`.

    Raises `Unsupported` for another format, `Truncated` and `Undecodable` for broken boxes.
    """
    parts: list[Part] = []
    for box in file_boxes(file):
        if box.kind == b"moov":
            for inner in walk(file, box.body, box.end):
                if inner.kind in {b"meta", b"udta"}:
                    parts += _moov_parts(_read(file, inner, problems), inner.kind, problems)
        elif box.kind == b"uuid" and peek(file, box.body, 16) == _XMP_UUID:
            parts.append(Part("xmp", "uuid XMP", _read(file, box, problems)[16:]))
    if len(parts) > MAX_PARTS:
        problems.append(f"the file has more than {MAX_PARTS} blocks for labels, not all read")
    return parts[:MAX_PARTS]


def insert_mp4_parts(source: BinaryIO, out: BinaryIO, *, aigc: bytes, xmp: bytes) -> None:
    """Copy `source` to `out` with the key AIGC under `moov.udta.meta` and XMP in a last uuid box.

    Raises `LabelRefused` where that cannot be done without breaking the file; `Unsupported`,
    `Truncated`, `Undecodable` as when reading.
    """
    boxes = list(file_boxes(source))
    _require_movable(source, boxes)
    moov = next(box for box in boxes if box.kind == b"moov")
    old = load_box(source, moov, MAX_MOOV_BYTES)
    new = bytearray(_wrap(b"moov", _with_key(old, aigc)))
    _shift_offsets(new, behind=moov.end, by=len(new) - (moov.end - moov.start))
    for box in boxes:
        if box is moov:
            out.write(new)
        else:
            _copy(source, out, box)
    out.write(_wrap(b"uuid", _XMP_UUID + xmp))


def digest_media(file: BinaryIO) -> str:
    """Return the SHA-256 over the coded media of an MP4 file (its `mdat` boxes), hex.

    Raises `Unsupported`, `Truncated`.
    """
    hasher = hashlib.sha256()
    for box in file_boxes(file):
        if box.kind == b"mdat":
            for piece in _pieces(file, box.body, box.end):
                hasher.update(piece)
    return hasher.hexdigest()


def _require_movable(file: BinaryIO, boxes: Sequence[Box]) -> None:
    reason = next((_UNMOVABLE[box.kind] for box in boxes if box.kind in _UNMOVABLE), "")
    if sum(box.kind == b"moov" for box in boxes) != 1:
        reason = "it has not exactly one index (moov)"
    if any(b.kind == b"uuid" and peek(file, b.body, 16) == C2PA_UUID for b in boxes):
        reason = "it is signed, and a label after the signature breaks it"
    if peek(file, boxes[-1].start, 4) == bytes(4):
        reason = "its last box has no size"
    if reason:
        raise LabelRefused(f"the video cannot take a label: {reason}", mend="mux it anew, plainly")


def _boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes inside a buffer; fewer than 8 bytes at its end are padding (QuickTime)."""
    while start + 8 <= end:
        box = read_head(data[start : start + 16], start, end)
        yield box
        start = box.end


def _moov_parts(body: bytes, kind: bytes, problems: list[str]) -> Iterator[Part]:
    """Yield what `moov.meta` or `moov.udta` holds, given the body of that box."""
    if kind == b"meta":
        yield from _key_parts(body, Box(kind, 0, 0, len(body)), "keys in moov.meta", problems)
        return
    for box in _boxes(body, 0, len(body)):
        if box.kind == b"meta":
            yield from _key_parts(body, box, "keys in moov.udta.meta", problems)
        elif box.kind == b"XMP_":
            yield Part("xmp", "moov.udta.XMP_", body[box.body : box.end])


def _key_parts(data: bytes, meta: Box, where: str, problems: list[str]) -> Iterator[Part]:
    inside = {box.kind: box for box in _boxes(data, _meta_body(data, meta), meta.end)}
    if b"keys" not in inside or b"ilst" not in inside:
        return
    names = _key_names(data, inside[b"keys"])
    for item in _boxes(data, inside[b"ilst"].body, inside[b"ilst"].end):
        number = int.from_bytes(item.kind, "big")
        if not 1 <= number <= len(names) or names[number - 1] != b"AIGC":
            continue
        for value in _boxes(data, item.body, item.end):
            if value.kind == b"data" and data[value.body : value.body + 4] == _TEXT[:4]:
                yield Part("text", where, data[value.body + 8 : value.end])
            else:
                problems.append(f"{where}: the AIGC item is no UTF-8 text")


def _key_names(data: bytes, keys: Box) -> list[bytes]:
    """Return the names in a keys box: version and flags, count, then boxes by namespace."""
    found = _boxes(data, keys.body + 8, keys.end)
    return [data[box.body : box.end] for _, box in zip(range(_MAX_KEYS), found, strict=False)]


def _meta_body(data: bytes, meta: Box) -> int:
    """Return where the boxes of `meta` begin: ISO has version and flags first, QuickTime not."""
    return meta.body if data[meta.body + 4 : meta.body + 8] == b"hdlr" else meta.body + 4


def _with_key(moov: bytes, aigc: bytes) -> bytes:
    """Return the body of `moov` with the key AIGC in `udta.meta`, which is made if need be."""
    kept, udta = b"", b""
    for box in _boxes(moov, 0, len(moov)):
        if box.kind == b"udta":
            udta += moov[box.body : box.end]
        else:
            kept += moov[box.start : box.end]
    others, items = b"", b""
    keys: list[bytes] = []
    for box in _boxes(udta, 0, len(udta)):
        if box.kind == b"meta":
            keys, items = _known_keys(udta, box)
        else:
            others += udta[box.start : box.end]
    items += _wrap(struct.pack(">I", len(keys) + 1), _wrap(b"data", _TEXT + aigc))
    keys.append(b"AIGC")
    names = b"".join(_wrap(b"mdta", key) for key in keys)
    body = _wrap(b"hdlr", _HANDLER) + _wrap(b"keys", struct.pack(">II", 0, len(keys)) + names)
    meta = _wrap(b"meta", bytes(4) + body + _wrap(b"ilst", items))
    return kept + _wrap(b"udta", others + meta)


def _known_keys(udta: bytes, meta: Box) -> tuple[list[bytes], bytes]:
    """Return key names and items to carry on; an encoder's name in iTunes form may go, no more."""
    inside = {box.kind: box for box in _boxes(udta, _meta_body(udta, meta), meta.end)}
    listed = inside.get(b"ilst")
    if listed is None:
        return [], b""
    if b"keys" in inside:
        return _key_names(udta, inside[b"keys"]), udta[listed.body : listed.end]
    if {item.kind for item in _boxes(udta, listed.body, listed.end)} - {b"\xa9too"}:
        raise LabelRefused(
            "the video cannot take a label: it has tags in iTunes form, which would be lost",
            mend="mux it anew without tags, or with keys (movflags use_metadata_tags)",
        )
    return [], b""


def _shift_offsets(moov: bytearray, *, behind: int, by: int) -> None:
    """Add `by` to every chunk offset at or behind `behind`, in 32-bit and 64-bit tables alike."""
    for table in list(_offset_tables(bytes(moov))):
        wide = 8 if table.kind == b"co64" else 4
        (count,) = struct.unpack_from(">I", moov, table.body + 4)
        if table.body + 8 + count * wide > table.end:
            raise Undecodable("a table of chunk offsets is longer than its box")
        form = f">{count}{'Q' if wide == 8 else 'I'}"
        offsets = struct.unpack_from(form, moov, table.body + 8)
        moved = [offset + by if offset >= behind else offset for offset in offsets]
        if any(offset >= 1 << (8 * wide) for offset in moved):
            raise LabelRefused("the video cannot take a label: an offset would not fit its table")
        struct.pack_into(form, moov, table.body + 8, *moved)


def _offset_tables(moov: bytes) -> Iterator[Box]:
    """Yield the stco and co64 boxes of every track; `saio` beside them means encryption."""
    level = list(_boxes(moov, 0, len(moov)))
    for kind in _PATH_TO_OFFSETS:
        level = [b for box in level if box.kind == kind for b in _boxes(moov, box.body, box.end)]
    for box in level:
        if box.kind == b"saio":
            raise LabelRefused("the video cannot take a label: it is encrypted")
        if box.kind in {b"stco", b"co64"}:
            if box.end - box.body < 8:
                raise Undecodable("a table of chunk offsets is shorter than its header")
            yield box


def _wrap(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def _read(file: BinaryIO, box: Box, problems: list[str]) -> bytes:
    """Return the body of a box of metadata; one beyond the cap is a problem and reads as empty."""
    if box.end - box.body > MAX_PACKET_BYTES:
        name = box.kind.decode("latin-1")
        problems.append(f"{name}: {box.end - box.body} bytes, the cap is {MAX_PACKET_BYTES}")
        return b""
    return peek(file, box.body, box.end - box.body)


def _copy(source: BinaryIO, out: BinaryIO, box: Box) -> None:
    for piece in _pieces(source, box.start, box.end):
        out.write(piece)


def _pieces(source: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    source.seek(start)
    left = end - start
    while left:
        piece = source.read(min(left, _COPY_BYTES))
        if not piece:
            raise Truncated("the file became shorter while it was read")
        yield piece
        left -= len(piece)
