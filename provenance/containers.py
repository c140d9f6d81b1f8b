"""What a JPEG, PNG or WebP file is made of, read from its own structure before any decoder runs.

Decides where the picture ends, how large it says it is, whether it moves, and which bytes a decoder
needs; everything else (EXIF, XMP, profiles, comments, bytes after the end) is set apart and never
reaches the decoder. Refuses files that end early or whose structure contradicts itself.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from provenance.errors import Truncated, Undecodable, Unsupported

Mime = Literal["image/jpeg", "image/png", "image/webp"]

MAX_PACKET_BYTES = 1_000_000
"""Cap on one inflated text packet: the metadata cap of the threat model (section 2)."""
MAX_CHUNKS = 50_000
"""Chunks of a PNG or WebP file; at 8 kB each, as encoders write them, that is a PNG of 400 MB.

The C2PA library takes up to 30 us for each (measured, c2pa-rs 0.91), so a file of nothing else is
refused before it. A segment of a JPEG costs it under 1 us.
"""

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_EXIF_HEAD = b"Exif\x00\x00"
_JPEG_ICC = b"ICC_PROFILE\x00"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp"
_NEXT_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
# Start-of-frame markers of ITU-T T.81 table B.1, without DHT (C4), JPG (C8) and DAC (CC).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARK_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NOT_READ = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)
_HEIC = (
    "HEIC",
    "export it as JPEG; on an iPhone, Settings, Camera, Formats, Most Compatible records JPEG",
)
_AVIF = ("AVIF", "save it as PNG or JPEG in an editor; renaming the file is not enough")
# Brands of ISO/IEC 23008-12 (HEIF), annexes B and E, and of the AVIF specification, section 6.
BRANDS_OF_PICTURES = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), _HEIC),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1"), _HEIC),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
}


@dataclass(frozen=True, slots=True)
class Container:
    """One file taken apart.

    `width`, `height` in pixels as the header says; `picture` is a file of the same format with only
    what a decoder needs; `metadata_bytes` counts everything else up to `end`, the offset of the
    first byte after the picture; `exif` starts at the TIFF header; `xmp` packets, `aigc` texts and
    the colour profile `icc` are raw and unchecked.
    """

    mime: Mime
    width: int
    height: int
    animated: bool
    picture: bytes
    metadata_bytes: int
    end: int
    exif: bytes = b""
    xmp: tuple[bytes, ...] = ()
    aigc: tuple[bytes, ...] = ()
    icc: bytes = b""


def sniff_mime(data: bytes) -> Mime:
    """Return the format the first bytes name; `Unsupported` for anything but JPEG, PNG and WebP."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(_PNG_MAGIC):
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    name = next((name for magic, name in _NOT_READ if data.startswith(magic)), "unknown")
    mend = "convert the picture to JPEG, PNG or WebP; renaming the file is not enough"
    if data[4:8] == b"ftyp":
        name, mend = BRANDS_OF_PICTURES.get(data[8:12], ("a video", mend))
    raise Unsupported(f"not a JPEG, PNG or WebP file (content: {name})", mend=mend)


def open_container(data: bytes) -> Container:
    """Take a file apart; raises `Unsupported`, `Truncated` or `Undecodable`."""
    mime = sniff_mime(data)
    if mime == "image/jpeg":
        return _open_jpeg(data)
    return _open_png(data) if mime == "image/png" else _open_webp(data)


def read_exif_tag(exif: bytes, tag: int) -> bytes | None:
    """Return the raw value of one EXIF tag from IFD0 or the Exif IFD, None where it is not there.

    `exif` starts at the TIFF header. Broken EXIF reads as absent: it never decides about a person,
    only about orientation and labels. A SHORT value comes back as two big-endian bytes.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        found = dict(_ifd_entries(exif, order, first))
        if tag not in found and 0x8769 in found:
            found = dict(_ifd_entries(exif, order, int.from_bytes(found[0x8769], "big")))
    except struct.error:
        return None
    return found.get(tag)


def _ifd_entries(exif: bytes, order: str, at: int) -> Iterator[tuple[int, bytes]]:
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
        length = sizes.get(kind, 0) * number
        start = entry + 8
        if length > 4:
            (start,) = struct.unpack_from(order + "I", exif, start)
        value = exif[start : start + length]
        # A lone SHORT or LONG is turned big-endian, so that callers need no byte order.
        yield tag, value[::-1] if number == 1 and order == "<" else value


def _open_jpeg(data: bytes) -> Container:
    sizes: list[tuple[int, int]] = []
    kept, xmp, exif, metadata = [b"\xff\xd8"], [], b"", 0
    profile: dict[int, bytes] = {}
    end = len(data)
    for marker, start, end in jpeg_segments(data):
        whole, body = data[start:end], data[start + 4 : end]
        if marker in _START_OF_FRAME:
            if len(body) < 5:
                raise Undecodable("a JPEG frame header is too short")
            sizes.append((int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")))
        if marker == 0xE1 and body.startswith(_JPEG_XMP):
            xmp.append(body[len(_JPEG_XMP) :])
        elif marker == 0xE1 and body.startswith(_EXIF_HEAD):
            exif = exif or body[len(_EXIF_HEAD) :]
        elif marker == 0xE2 and body.startswith(_JPEG_ICC):
            # A number and the count of the pieces come first (ICC.1:2022, annex B.4).
            profile.setdefault(int.from_bytes(body[12:13]), body[14:])
        # APP0 (JFIF) and APP14 (Adobe) say how colours are coded; no other APPn is needed.
        if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE):
            metadata += len(whole)
        else:
            kept.append(whole)
    if len(sizes) != 1 or 0 in sizes[0]:
        raise Undecodable("a JPEG file needs exactly one frame header with its size")
    width, height = sizes[0]
    return Container(
        mime="image/jpeg",
        width=width,
        height=height,
        animated=False,
        picture=b"".join(kept),
        metadata_bytes=metadata,
        end=end,
        exif=exif,
        xmp=tuple(xmp),
        icc=b"".join(profile[number] for number in sorted(profile)),
    )


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) up to and with EOI; a scan's coded data belongs to its SOS."""
    at = 2
    while True:
        start = at
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if len(data) < at + 2:
            raise Truncated("the JPEG file ends before its end-of-image marker")
        if data[at] != 0xFF or data[at + 1] == 0x00:
            raise Undecodable(f"no JPEG marker where one must be, at byte {at}")
        marker, at = data[at + 1], at + 2
        if marker == 0xD9:
            yield marker, start, at
            return
        if marker not in _MARK_ALONE:
            length = int.from_bytes(data[at : at + 2], "big")
            start, at = at - 2, at + length
            if length < 2 or at > len(data):
                raise Truncated(f"a JPEG segment (marker {marker:02x}) runs past the end")
        if marker == 0xDA:
            after = _NEXT_MARKER.search(data, at)
            if after is None:
                raise Truncated("the JPEG file ends inside its coded picture data")
            at = after.start()
        yield marker, start, at


def _open_png(data: bytes) -> Container:
    kept, xmp, aigc, exif, icc, metadata = [_PNG_MAGIC], [], [], b"", b"", 0
    animated, header, end = False, b"", len(_PNG_MAGIC)
    for kind, start, end in png_chunks(data):
        body = data[start + 8 : end - 4]
        if not header and (kind != b"IHDR" or len(body) != 13):
            raise Undecodable("a PNG file starts with an IHDR chunk of 13 bytes")
        header = header or body
        animated = animated or kind == b"acTL"
        if kind == b"iTXt" and body.startswith(_PNG_XMP + b"\x00"):
            xmp.append(_international_text(body))
        elif kind == b"tEXt" and body.startswith(b"AIGC\x00"):
            aigc.append(body[5:])
        elif kind == b"eXIf":
            exif = exif or body
        elif kind == b"iCCP":
            icc = icc or _png_profile(body)
        # A lower-case first letter means ancillary (PNG, section 5.4); tRNS changes pixels.
        if kind[0] & 0x20 and kind != b"tRNS":
            metadata += end - start
        else:
            kept.append(data[start:end])
    width, height = struct.unpack(">II", header[:8])
    if 0 in (width, height):
        raise Undecodable("the PNG header says width or height 0")
    return Container(
        mime="image/png",
        width=width,
        height=height,
        animated=animated,
        picture=b"".join(kept),
        metadata_bytes=metadata,
        end=end,
        exif=exif,
        xmp=tuple(xmp),
        aigc=tuple(aigc),
        icc=icc,
    )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of every chunk up to and with IEND.

    Raises `Truncated`, and `Undecodable` for more than MAX_CHUNKS.
    """
    at = len(_PNG_MAGIC)
    for _ in range(MAX_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(data) < at + 12 or end > len(data):
            raise Truncated("the PNG file ends before its IEND chunk")
        kind = data[at + 4 : at + 8]
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise Undecodable(f"the PNG file has more than {MAX_CHUNKS} chunks")


def _international_text(body: bytes) -> bytes:
    """Return the text of an iTXt chunk, inflated up to the cap (PNG, section 11.3.4.5)."""
    _, _, rest = body.partition(b"\x00")
    compressed, method = rest[:1] == b"\x01", rest[1:2]
    fields = rest[2:].split(b"\x00", 2)
    if len(fields) != 3 or method != b"\x00":
        raise Undecodable("an iTXt chunk is malformed")
    if not compressed:
        return fields[2]
    return _inflated(fields[2], "iTXt")


def _png_profile(body: bytes) -> bytes:
    """Return the profile of an iCCP chunk, inflated up to the cap (PNG, section 11.3.2.3)."""
    _, _, rest = body.partition(b"\x00")
    return _inflated(rest[1:], "iCCP")


def _inflated(packed: bytes, kind: str) -> bytes:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(packed, MAX_PACKET_BYTES)
    except zlib.error as error:
        raise Undecodable(f"a compressed {kind} chunk does not inflate") from error
    if inflate.unconsumed_tail:
        raise Undecodable(f"a compressed {kind} chunk inflates beyond the cap")
    return text


def _open_webp(data: bytes) -> Container:
    parts: dict[bytes, bytes] = {}
    xmp, exif, metadata, animated = [], b"", 0, False
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) or end < 12:
        raise Truncated("the WebP file is shorter than its RIFF header says")
    for kind, body in webp_chunks(data, end):
        animated = animated or kind in {b"ANIM", b"ANMF"}
        if kind == b"XMP ":
            xmp.append(body)
        elif kind == b"EXIF":
            exif = exif or body.removeprefix(_EXIF_HEAD)
        if kind in {b"VP8X", b"ALPH", b"VP8 ", b"VP8L", b"ICCP"}:
            parts.setdefault(kind, body)
        if kind not in {b"VP8X", b"ALPH", b"VP8 ", b"VP8L"}:
            metadata += len(body) + 8
    width, height = _webp_size(parts, animated=animated)
    return Container(
        mime="image/webp",
        width=width,
        height=height,
        animated=animated,
        picture=_rebuild_webp(parts),
        metadata_bytes=metadata,
        end=end,
        exif=exif,
        xmp=tuple(xmp),
        icc=parts.get(b"ICCP", b""),
    )


def webp_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of every chunk before `end`.

    Raises `Truncated`, and `Undecodable` for more than MAX_CHUNKS.
    """
    at = 12
    for _ in range(MAX_CHUNKS + 1):
        if at + 8 > end:
            return
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > end:
            raise Truncated("a WebP chunk runs past the end of the file")
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise Undecodable(f"the WebP file has more than {MAX_CHUNKS} chunks")


def _webp_size(parts: dict[bytes, bytes], *, animated: bool) -> tuple[int, int]:
    """Return width and height of the bitstream, which the canvas must repeat (RFC 9649)."""
    canvas, lossy, lossless = (parts.get(kind, b"") for kind in (b"VP8X", b"VP8 ", b"VP8L"))
    sizes = set()
    if b"VP8X" in parts:
        if len(canvas) < 10:
            raise Undecodable("the WebP canvas header is too short")
        sizes.add((1 + _le24(canvas[4:7]), 1 + _le24(canvas[7:10])))
    if lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        sizes.add((width & 0x3FFF, height & 0x3FFF))
    elif lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        sizes.add((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
    elif not animated:
        raise Undecodable("the WebP file holds no picture")
    if len(sizes) != 1 or 0 in min(sizes):
        raise Undecodable("the WebP file does not say one size")
    return sizes.pop()


def _le24(three: bytes) -> int:
    return int.from_bytes(three, "little")


def _rebuild_webp(parts: dict[bytes, bytes]) -> bytes:
    """Write the picture chunks as a file of their own; VP8X only where alpha needs it."""
    names = [b"VP8X", b"ALPH"] if b"ALPH" in parts and b"VP8X" in parts else []
    body = b"WEBP"
    for kind in [*names, *(kind for kind in (b"VP8 ", b"VP8L") if kind in parts)]:
        chunk = parts[kind]
        if kind == b"VP8X":
            # Only the alpha flag stays: the profile, EXIF and XMP chunks it announces are gone.
            chunk = bytes([chunk[0] & 0x10]) + chunk[1:]
        body += kind + len(chunk).to_bytes(4, "little") + chunk + b"\x00" * (len(chunk) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
