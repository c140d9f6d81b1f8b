"""Where labels stand in a JPEG, PNG or WebP file: every such place, and how to fill one.

Decides which blocks of a file may hold a label, and hands out their raw bytes with the name of the
place; extended XMP split over JPEG segments is put together again. What cannot be put together is a
named problem. Writes China's label into the alternative carriers of Annex B; the primary one is the
XMP packet that `provenance.media.encode` writes. Files are expected to have passed
`provenance.containers.open_container`, which checks their structure.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from provenance.containers import MAX_PACKET_BYTES, Mime
from provenance.errors import LabelRefused, Truncated
from provenance.label_exif import write_comment

Kind = Literal["xmp", "exif", "text"]

MAX_PARTS: Final = 64
"""Our choice: a file of an editor has one packet and one EXIF block, a hostile one has many."""

_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\x00"
_EXIF = b"Exif\x00\x00"
_PNG_XMP = b"XML:com.adobe.xmp"


@dataclass(frozen=True, slots=True)
class Part:
    """A block that may hold a label: its kind, the name of its place, and its raw bytes.

    An "exif" block starts at the TIFF header; a "text" is the AIGC text of a PNG file.
    """

    kind: Kind
    where: str
    body: bytes


def find_parts(data: bytes, mime: Mime, problems: list[str]) -> list[Part]:
    """Return every block that may hold a label, in file order; at most 64 are looked at.

    What is wrong is added to `problems`. Raises `Truncated` where a block runs past the end.
    """
    if mime == "image/jpeg":
        found = _jpeg_parts(data, problems)
    else:
        found = _png_parts(data, problems) if mime == "image/png" else _webp_parts(data)
    parts: list[Part] = []
    seen: dict[str, int] = defaultdict(int)
    for part in found:
        if len(parts) == MAX_PARTS:
            problems.append(f"the file has more than {MAX_PARTS} blocks for labels, not all read")
            break
        seen[part.where] += 1
        count = seen[part.where]
        named = part.where if count == 1 else f"{part.where} no. {count}"
        parts.append(Part(part.kind, named, part.body))
    return parts


def embed_alternative(data: bytes, mime: Mime, text: str) -> bytes:
    """Return the file with `text` (ASCII) in the Annex-B carrier of its format.

    JPEG and WebP: EXIF user comment; PNG: tEXt with the keyword AIGC. The pixels stay byte for byte
    as they are. Raises `LabelRefused` for a WebP file without the extended header.
    """
    if mime == "image/png":
        body = b"tEXt" + b"AIGC\x00" + text.encode("ascii")
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:33] + chunk + data[33:]  # 33: the signature and IHDR, which comes first
    if mime == "image/jpeg":
        # JFIF wants its APP0 first, EXIF its APP1: after APP0 is where both are found in practice.
        jfif = data[2:4] == b"\xff\xe0"
        at = 4 + int.from_bytes(data[4:6], "big") if jfif else 2
        body = _EXIF + write_comment(text)
        return data[:at] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[at:]
    return _add_exif_chunk(data, write_comment(text))


def _add_exif_chunk(data: bytes, exif: bytes) -> bytes:
    """Insert an EXIF chunk before the XMP chunk, the order of RFC 9649, section 2.7."""
    if data[12:16] != b"VP8X":
        raise LabelRefused(
            "a WebP file without extended header has no place for EXIF",
            mend="write the XMP packet first",
        )
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
    end = 8 + int.from_bytes(data[4:8], "little")
    at = next((at for kind, at, _ in _webp_chunks(data) if kind == b"XMP "), end)
    size = struct.pack("<I", end - 8 + len(chunk))
    flags = bytes([data[20] | 0x08])
    return data[:4] + size + data[8:20] + flags + data[21:at] + chunk + data[at:end]


def _jpeg_parts(data: bytes, problems: list[str]) -> Iterator[Part]:
    extended: dict[bytes, list[bytes]] = defaultdict(list)
    packets = b""
    for body in _jpeg_app1(data):
        if body.startswith(_XMP):
            packets += body
            yield Part("xmp", "XMP", body[len(_XMP) :])
        elif body.startswith(_EXIF):
            yield Part("exif", "EXIF", body[len(_EXIF) :])
        elif body.startswith(_EXTENDED):
            rest = body[len(_EXTENDED) :]
            extended[rest[:32]].append(rest[32:])
    if len(extended) > 1:
        problems.append(f"extended XMP: {len(extended)} different ones, the first is read")
    for guid, pieces in list(extended.items())[:1]:
        if guid not in packets:
            problems.append("extended XMP: no packet of the file names it")
        try:
            yield Part("xmp", "extended XMP", _join_pieces(guid, pieces))
        except LabelRefused as error:
            problems.append(f"extended XMP: {error.message}")


def _jpeg_app1(data: bytes) -> Iterator[bytes]:
    """Yield the bodies of APP1 segments before the first scan; no reader looks behind it."""
    at = 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in {0xD9, 0xDA}:
            return
        length = 0 if marker == 0x01 or 0xD0 <= marker <= 0xD7 else _u16(data, at + 2)
        if marker == 0xE1:
            yield data[at + 4 : at + 2 + length]
        at += 2 + length
    raise Truncated("the JPEG file ends before its picture")


def _join_pieces(guid: bytes, pieces: list[bytes]) -> bytes:
    """Return extended XMP put together (XMP part 3, 1.1.3.1): GUID, full length, offset, data."""
    if any(len(piece) < 8 for piece in pieces):
        raise LabelRefused("a segment is too short")
    placed = sorted((struct.unpack(">II", piece[:8])[::-1], piece[8:]) for piece in pieces)
    whole = b"".join(body for _, body in placed)
    starts = accumulate((len(body) for _, body in placed), initial=0)
    if any(head != (start, len(whole)) for (head, _), start in zip(placed, starts, strict=False)):
        raise LabelRefused("its segments leave a gap, overlap or give another length")
    if len(whole) > MAX_PACKET_BYTES:
        raise LabelRefused(f"it has {len(whole)} bytes, the cap is {MAX_PACKET_BYTES}")
    # MD5 because the format names it: a check against mixing segments up, not against forgery.
    if hashlib.md5(whole, usedforsecurity=False).hexdigest().upper().encode() != guid.upper():
        raise LabelRefused("its digest is not the one its segments carry")
    return whole


def _png_parts(data: bytes, problems: list[str]) -> Iterator[Part]:
    at = 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        at = end
        if kind == b"IEND":
            return
        if kind == b"eXIf":
            yield Part("exif", "EXIF", body.removeprefix(_EXIF))
        keyword, _, rest = body.partition(b"\x00")
        if kind not in {b"tEXt", b"zTXt", b"iTXt"} or keyword not in {_PNG_XMP, b"AIGC"}:
            continue
        name = "XMP" if keyword == _PNG_XMP else f"PNG text AIGC ({kind.decode()})"
        try:
            text = _png_text(kind, rest)
        except LabelRefused as error:
            problems.append(f"{name}: {error.message}")
            if len(problems) < MAX_PARTS:
                continue
            return
        yield Part("xmp" if keyword == _PNG_XMP else "text", name, text)


def _png_text(kind: bytes, rest: bytes) -> bytes:
    """Return the text after the keyword, inflated up to the cap (PNG, section 11.3.4)."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflate(rest[1:])
    fields = rest[2:].split(b"\x00", 2)
    if len(fields) != 3:
        raise LabelRefused("an iTXt chunk is malformed")
    return _inflate(fields[2]) if rest[:1] == b"\x01" else fields[2]


def _inflate(body: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(body, MAX_PACKET_BYTES)
    except zlib.error as error:
        raise LabelRefused("a compressed text does not inflate") from error
    if inflate.unconsumed_tail:
        raise LabelRefused(f"a compressed text inflates beyond {MAX_PACKET_BYTES} bytes")
    return text


def _webp_parts(data: bytes) -> Iterator[Part]:
    for kind, at, end in _webp_chunks(data):
        if kind == b"EXIF":
            yield Part("exif", "EXIF", data[at + 8 : end].removeprefix(_EXIF))
        elif kind in {b"XMP ", b"XMP\x00"}:
            yield Part("xmp", "XMP", data[at + 8 : end])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end of the body) of the chunks within the RIFF size."""
    at, stop = 12, 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= min(stop, len(data)):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at, at + 8 + size
        at += 8 + size + size % 2


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
