"""Every place of a file that may hold a label is found, and no hostile one costs time."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from provenance.errors import LabelRefused, Truncated
from provenance.label_carriers import MAX_PARTS, find_parts
from provenance.label_exif import (
    USER_COMMENT,
    XMP_PACKET,
    decode_comment,
    read_tags,
    write_comment,
)
from provenance.label_xmp import read_packet
from provenance.labels import read_labels, write_alternative_label
from provenance.media import encode

FRAME = np.zeros((16, 16, 3), np.uint8)
JPEG = encode(FRAME, "image/jpeg")
PNG = encode(FRAME, "image/png")
WEBP = encode(FRAME, "image/webp")
EXTENDED = b"http://ns.adobe.com/xmp/extension/\x00"


def segment(body: bytes, marker: int = 0xE1) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + bytes(4)


def jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def png(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def find(data: bytes, mime: Any) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    problems: list[str] = []
    parts = find_parts(data, mime, problems)
    return [(part.kind, part.where, part.body) for part in parts], problems


def test_jpeg_segments_are_found_behind_fill_bytes_and_lone_markers() -> None:
    body = b"http://ns.adobe.com/xap/1.0/\x00<x/>"
    data = jpeg(b"\xff\x01", b"\xff\xff\xff", segment(body), segment(b"other"))
    assert find(data, "image/jpeg") == ([("xmp", "XMP", b"<x/>")], [])


def test_a_jpeg_file_that_ends_early_is_truncated() -> None:
    with pytest.raises(Truncated):
        find(JPEG[:20], "image/jpeg")
    assert find(b"\xff\xd8\xff\xd9", "image/jpeg") == ([], [])


def test_extended_xmp_needs_whole_segments() -> None:
    _, problems = find(jpeg(segment(EXTENDED + b"0" * 32 + b"short")), "image/jpeg")
    assert problems == [
        "extended XMP: no packet of the file names it",
        "extended XMP: a segment is too short",
    ]


def test_extended_xmp_is_capped_and_only_one_is_read() -> None:
    head = EXTENDED + b"0" * 32 + struct.pack(">I", 60_000 * 20)
    pieces = [segment(head + struct.pack(">I", n * 60_000) + bytes(60_000)) for n in range(20)]
    _, problems = find(jpeg(*pieces, segment(EXTENDED + b"1" * 40)), "image/jpeg")
    assert problems == [
        "extended XMP: 2 different ones, the first is read",
        "extended XMP: no packet of the file names it",
        "extended XMP: it has 1200000 bytes, the cap is 1000000",
    ]


def test_thousands_of_tiny_segments_cost_no_time() -> None:
    piece = segment(EXTENDED + b"0" * 32 + struct.pack(">II", 0, 0))
    begun = time.process_time()
    _, problems = find(jpeg(piece * 30_000), "image/jpeg")
    assert time.process_time() - begun < 2.0
    assert "digest" in problems[-1]


def test_thousands_of_bad_png_texts_cost_no_time() -> None:
    bomb = chunk(b"zTXt", b"AIGC\x00\x00" + zlib.compress(bytes(3_000_000), 9))
    begun = time.process_time()
    parts, problems = find(png(*[bomb] * 2_000), "image/png")
    assert time.process_time() - begun < 5.0
    assert (parts, len(problems)) == ([], MAX_PARTS)


def test_png_texts_under_other_keywords_are_not_read() -> None:
    texts = [
        chunk(b"tEXt", b"Title\x00AIGC"),
        chunk(b"tEXt", b"AIGC"),
        chunk(b"iTXt", b"AIGC\x00x"),
    ]
    parts, problems = find(png(*texts), "image/png")
    assert [part[2] for part in parts] == [b""]
    assert problems == ["PNG text AIGC (iTXt): an iTXt chunk is malformed"]
    _, problems = find(png(chunk(b"zTXt", b"AIGC\x00\x00junk")), "image/png")
    assert problems == ["PNG text AIGC (zTXt): a compressed text does not inflate"]
    assert find(PNG[:-12], "image/png") == ([], [])


def test_webp_packets_are_found_under_both_spellings() -> None:
    for kind in (b"XMP ", b"XMP\x00"):
        data = WEBP + kind + struct.pack("<I", 4) + b"<x/>"
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
        assert find(data, "image/webp") == ([("xmp", "XMP", b"<x/>")], [])


def test_a_png_text_that_is_no_utf8_is_latin() -> None:
    found = read_labels(png(chunk(b"tEXt", b"AIGC\x00\xe4")), "image/png")
    assert found is not None
    assert found.said[0].text == "ä"
    assert found.claims_ai


# ---------------------------------------------------------------- EXIF


def test_our_comment_reads_in_pillow_and_here() -> None:
    exif = write_comment("hello")
    assert read_tags(exif, USER_COMMENT) == [(USER_COMMENT, b"ASCII\x00\x00\x00hello")]
    tags = Image.Exif()
    tags.load(b"Exif\x00\x00" + exif)
    assert tags.get_ifd(0x8769) == {0x9000: b"0232", 0x9286: b"ASCII\x00\x00\x00hello"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_packet_in_a_tiff_tag_is_read(order: str) -> None:
    packet = (
        b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        b'xmlns:p="http://ns.adobe.com/photoshop/1.0/">'
        b'<r:Description p:Credit="Someone"/></r:RDF>'
    )
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHHII", 1, XMP_PACKET, 1, len(packet), 26) + bytes(4)
    found = read_labels(jpeg(segment(b"Exif\x00\x00" + head + entry + packet)), "image/jpeg")
    assert found is not None
    assert (found.provider, found.said[0].where) == ("Someone", "EXIF tag 0x02BC")


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\x00",
        b"MM\x00*\x00\x00\x00\xff",
        b"XX*\x00\x00\x00\x00\x08",
        b"MM\x00*" + bytes(4),
    ],
)
def test_broken_exif_reads_as_absent(exif: bytes) -> None:
    assert read_tags(exif, USER_COMMENT) == []


def test_a_directory_that_points_nowhere_reads_as_absent() -> None:
    entry = struct.pack(">HHHII", 1, 0x8769, 4, 1, 9999) + bytes(4)
    assert read_tags(b"MM\x00*\x00\x00\x00\x08" + entry, USER_COMMENT) == []


def test_other_comments_are_no_labels() -> None:
    exif = write_comment("Holiday at the sea")
    assert read_labels(jpeg(segment(b"Exif\x00\x00" + exif)), "image/jpeg") is None


def test_a_utf16_comment_without_json_keeps_the_order_of_its_exif() -> None:
    for order, head in (("be", b"MM\x00*"), ("le", b"II*\x00")):
        value = b"UNICODE\x00" + "Füße".encode(f"utf-16-{order}")
        assert decode_comment(value, head) == "Füße"


# ---------------------------------------------------------------- XMP


def test_labels_that_repeat_too_often_or_are_too_long_are_named() -> None:
    head = (
        '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:p="http://ns.adobe.com/photoshop/1.0/"><r:Description>'
    )
    for inside in ("<p:Credit>a</p:Credit>" * 70, f"<p:Credit>{'a' * 20_000}</p:Credit>"):
        problems: list[str] = []
        said = read_packet(f"{head}{inside}</r:Description></r:RDF>".encode(), "XMP", problems)
        assert len(said) <= 64
        assert "too often or writes too long" in problems[0]


def test_a_packet_beyond_the_cap_is_named() -> None:
    problems: list[str] = []
    assert read_packet(b"<x>" + b" " * 1_000_001, "XMP", problems) == []
    assert problems == ["XMP: an XMP packet has 1000004 bytes, the cap is 1000000"]


@pytest.mark.parametrize(
    "packet", [b"", b"\x00", b"<x>&undefined;</x>", b"<x><y></x>", b"\xff\xfe<"]
)
def test_a_packet_that_is_no_xml_is_named(packet: bytes) -> None:
    problems: list[str] = []
    assert read_packet(packet, "XMP", problems) == []
    assert len(problems) == 1


def test_a_million_elements_cost_no_time() -> None:
    begun = time.process_time()
    problems: list[str] = []
    read_packet(b"<x>" + b"<y/>" * 240_000 + b"</x>", "XMP", problems)
    assert time.process_time() - begun < 2.0
    assert "too many elements" in problems[0]


def test_a_webp_label_goes_to_the_end_where_no_xmp_follows() -> None:
    out = io.BytesIO()
    Image.fromarray(FRAME).save(out, "WEBP", exif=b"Exif\x00\x00" + write_comment("x"))
    data = write_alternative_label(out.getvalue(), "image/webp", provider="A", output_id="b")
    found = read_labels(data, "image/webp")
    assert found is not None
    assert found.aigc is not None
    with pytest.raises(LabelRefused):
        write_alternative_label(data, "image/webp", provider="A", output_id="b")
