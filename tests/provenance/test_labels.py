"""Labels come back as written, disagreement is reported, hostile packets are refused."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont
from PIL.PngImagePlugin import PngInfo

from policies.errors import Error
from provenance.errors import LabelRefused, MediaError, ShapeError, TooSmall
from provenance.labels import (
    FACE_SWAP_SOURCE_TYPE,
    Labels,
    draw_visible_label,
    read_labels,
    write_xmp,
)
from provenance.media import Box, decode, encode
from provenance.visible_label import TEXT_SHARE

FRAME = np.random.default_rng(8).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MIMES: Sequence[Any] = ("image/jpeg", "image/png", "image/webp")
WRITTEN: dict[str, Any] = {
    "provider": "Prüf & Söhne <studio>",
    "system": "FaceWarrant",
    "version": "0.1.0",
    "created_at": datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC),
    "output_id": "0123456789ab",
}
AIGC = {
    "Label": "1",
    "ContentProducer": WRITTEN["provider"],
    "ProduceID": WRITTEN["output_id"],
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}


def labelled(mime: Any = "image/png", **changes: Any) -> bytes:
    return encode(FRAME, mime, xmp=write_xmp(**WRITTEN | changes))


def with_packet(packet: bytes) -> bytes:
    return encode(FRAME, "image/jpeg", xmp=packet)


def with_text(text: str, xmp: bytes | None = None) -> bytes:
    info, out = PngInfo(), io.BytesIO()
    info.add_text("AIGC", text)
    if xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    Image.fromarray(FRAME).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def description(inside: str, attributes: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF '
        'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:t="http://www.tc260.org.cn/ns/AIGC/1.0/" xmlns:m="http://ns.adobe.com/xap/1.0/">'
        f"<r:Description {attributes}>{inside}</r:Description></r:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize("mime", MIMES)
def test_labels_come_back_as_written(mime: Any) -> None:
    found = read_labels(labelled(mime), mime)
    assert found is not None
    assert found.source_type == FACE_SWAP_SOURCE_TYPE
    assert found.source_type.endswith("/compositeWithTrainedAlgorithmicMedia")
    assert {key: getattr(found, key) for key in WRITTEN} == WRITTEN
    assert found.aigc is not None
    assert found.aigc.model_dump() == AIGC
    assert found.problems == ()
    assert found.claims_ai


@pytest.mark.parametrize("mime", MIMES)
def test_a_file_without_labels_has_none(mime: Any) -> None:
    assert read_labels(encode(FRAME, mime), mime) is None


def test_pillow_reads_the_same_packet() -> None:
    with Image.open(io.BytesIO(labelled("image/jpeg"))) as image:
        packet = image.info["xmp"]
    assert packet == write_xmp(**WRITTEN)
    inside = packet.split(b"<TC260:AIGC>")[1].split(b"</TC260:AIGC>")[0]
    assert list(json.loads(inside.decode().replace("&amp;", "&"))) == list(AIGC)


def test_the_time_is_written_in_utc() -> None:
    local = datetime(2026, 11, 21, 17, 30, tzinfo=timezone(timedelta(hours=9)))
    assert b"<xmp:CreateDate>2026-11-21T08:30:00Z<" in write_xmp(**WRITTEN | {"created_at": local})


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": ""},
        {"provider": "x" * 201},
        {"system": "a\x00b"},
        {"version": "1\n2"},
        {"output_id": "\ud800"},
        {"created_at": datetime(2026, 11, 21)},  # noqa: DTZ001 - the refusal is the test
    ],
)
def test_unlawful_texts_are_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(LabelRefused) as caught:
        write_xmp(**WRITTEN | changes)
    assert caught.value.code == "LABEL-REFUSED"


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b'<?xml version="1.0"?><!doctype x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
        b"<x><y></x>",
        b"\x00",
        b"\xff\xfe<\x00x\x00/\x00>\x00",
        '<?xml version="1.0" encoding="UTF-16"?><x/>'.encode("utf-16"),
        b"<x>&undefined;</x>",
    ],
)
def test_hostile_packets_are_refused(packet: bytes) -> None:
    with pytest.raises(LabelRefused) as caught:
        read_labels(with_packet(packet), "image/jpeg")
    assert caught.value.code == "LABEL-REFUSED"


def test_a_packet_beyond_the_cap_is_refused() -> None:
    body = b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + b"<x>" + b" " * 1_000_001 + b"</x>"
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + bytes(4)
    plain = encode(FRAME, "image/png")
    with pytest.raises(LabelRefused):
        read_labels(plain[:33] + chunk + plain[33:], "image/png")


def test_deep_nesting_is_refused_or_read_but_never_a_crash() -> None:
    deep = b"<a>" * 9000 + b"</a>" * 9000
    assert read_labels(with_packet(deep), "image/jpeg") is None


def test_properties_are_read_as_attributes_and_as_resources() -> None:
    packet = description(
        f'<i:DigitalSourceType r:resource="{FACE_SWAP_SOURCE_TYPE}"/>',
        'm:CreateDate="2026-11-21T08:30:15" i:AISystemUsed="Other"',
    )
    found = read_labels(with_packet(packet), "image/jpeg")
    assert found == Labels(source_type=FACE_SWAP_SOURCE_TYPE, system="Other")
    assert found is not None
    assert found.claims_ai


def test_a_time_that_is_none_is_a_problem() -> None:
    found = read_labels(with_packet(description("", 'm:CreateDate="yesterday"')), "image/jpeg")
    assert found == Labels(problems=("CreateDate is not a time",))


def test_a_camera_picture_does_not_claim_ai() -> None:
    camera = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    packet = description(f"<i:DigitalSourceType>{camera}</i:DigitalSourceType>")
    found = read_labels(with_packet(packet), "image/jpeg")
    assert found is not None
    assert not found.claims_ai


def test_labels_that_disagree_are_reported() -> None:
    other = AIGC | {"ProduceID": "ffffffffffff"}
    found = read_labels(with_text(json.dumps({"AIGC": other}), write_xmp(**WRITTEN)), "image/png")
    assert found is not None
    assert found.problems == ("the AIGC labels of the file disagree",)


def test_the_same_label_twice_is_no_disagreement() -> None:
    same = json.dumps({"AIGC": AIGC}, ensure_ascii=True)
    found = read_labels(with_text(same, write_xmp(**WRITTEN)), "image/png")
    assert found is not None
    assert found.problems == ()


def test_two_source_types_and_a_foreign_id_are_reported() -> None:
    inside = (
        "<i:DigitalSourceType>a</i:DigitalSourceType><i:DigitalSourceType>b</i:DigitalSourceType>"
    )
    found = read_labels(with_packet(description(inside)), "image/jpeg")
    assert found is not None
    assert found.problems == ("the file says DigitalSourceType 2 ways",)
    packet = write_xmp(**WRITTEN).replace(b"<dc:identifier>0", b"<dc:identifier>f")
    found = read_labels(with_packet(packet), "image/jpeg")
    assert found is not None
    assert found.problems == ("the AIGC ProduceID is not the output's identifier",)


@pytest.mark.parametrize(
    "label",
    [
        json.dumps(AIGC | {"Extra": ""}),
        json.dumps({key: AIGC[key] for key in list(AIGC)[:6]}),
        json.dumps(AIGC | {"Label": 1}),
        json.dumps(AIGC | {"Label": "4"}),
        json.dumps(AIGC)[:-1] + ', "Label": "1"}',
        "[" * 2000,
        "true",
    ],
)
def test_a_malformed_aigc_label_is_a_problem_not_a_label(label: str) -> None:
    found = read_labels(with_packet(description(f"<t:AIGC>{escape(label)}</t:AIGC>")), "image/jpeg")
    assert found is not None
    assert found.aigc is None
    assert found.problems == ("an AIGC label is not the seven-key form",)


@pytest.mark.parametrize("mime", ["image/jpeg", "image/webp"])
def test_an_exif_comment_label_is_read(mime: Any) -> None:
    comment = b"ASCII\x00\x00\x00" + json.dumps({"AIGC": AIGC}, ensure_ascii=False).encode()
    tags, out = Image.Exif(), io.BytesIO()
    tags.get_ifd(0x8769)[0x9286] = comment
    Image.fromarray(FRAME).save(out, mime.removeprefix("image/"), exif=tags)
    found = read_labels(out.getvalue(), mime)
    assert found is not None
    assert found.aigc is not None
    assert found.aigc.ProduceID == "0123456789ab"


@pytest.mark.parametrize("text", ["hello", "{", json.dumps({"AIGX": {}}), json.dumps([1])])
def test_other_texts_under_the_keyword_are_no_label(text: str) -> None:
    assert read_labels(with_text(text), "image/png") is None


def test_the_mime_must_be_the_content() -> None:
    with pytest.raises(MediaError) as caught:
        read_labels(labelled("image/png"), "image/jpeg")
    assert caught.value.code == "MEDIA-UNSUPPORTED"


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.sampled_from(MIMES), st.data())
def test_damage_is_never_anything_but_a_media_error(mime: Any, draw: st.DataObject) -> None:
    data = bytearray(labelled(mime))
    start = max(0, data.find(b"<?xpacket") - 40)
    for _ in range(3):
        place = draw.draw(st.integers(start, min(len(data) - 1, start + 1200)))
        data[place] = draw.draw(st.integers(0, 255))
    try:
        read_labels(bytes(data), mime)
    except Error as error:
        assert isinstance(error, MediaError)  # noqa: PT017 - any other error is the failure


# ---------------------------------------------------------------- the visible label


def changed(frame: np.ndarray, **options: Any) -> tuple[np.ndarray, Box]:
    """The labelled picture and the box of everything that changed."""
    out = draw_visible_label(frame, **options)
    rows, columns = np.nonzero((out != frame).any(axis=2))
    return out, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def overlap(a: Box, b: Box) -> int:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    return max(0, wide) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(256, 256), (512, 512), (400, 1200), (1200, 400)])
def test_the_words_are_tall_and_readable_on_any_background(
    level: int, size: tuple[int, int]
) -> None:
    frame = np.full((*size, 3), level, np.uint8)
    out = draw_visible_label(frame, avoid=[], text="H")
    bright = np.nonzero((out >= 250).all(axis=2) & (level < 250 or out[..., 0] >= 0))
    if level == 255:
        plate = np.nonzero((out < 128).all(axis=2))
        window = out[plate[0].min() : plate[0].max() + 1, plate[1].min() : plate[1].max() + 1]
        bright = np.nonzero((window >= 250).all(axis=2))
    assert bright[0].max() - bright[0].min() + 1 >= TEXT_SHARE * min(size) - 1
    dark = out[(out < 100).all(axis=2)]
    assert len(dark) > len(bright[0])


def test_the_first_choice_is_bottom_left() -> None:
    _, (x0, _, _, y1) = changed(np.full((600, 800, 3), 200, np.uint8), avoid=[])
    assert x0 < 20
    assert y1 > 580


@pytest.mark.parametrize(
    ("avoid", "corner"),
    [
        ([(0, 400, 200, 600)], "bottom right"),
        ([(0, 400, 800, 600)], "top left"),
        ([(0, 400, 800, 600), (0, 0, 300, 200)], "top right"),
    ],
)
def test_a_corner_with_a_face_is_left(avoid: list[Box], corner: str) -> None:
    _, box = changed(np.full((600, 800, 3), 200, np.uint8), avoid=avoid)
    vertical = "bottom" if box[1] > 300 else "top"
    assert f"{vertical} {'right' if box[2] > 780 else 'left'}" == corner
    assert all(overlap(box, face) == 0 for face in avoid)


def test_a_free_place_between_faces_is_found() -> None:
    avoid: list[Box] = [(0, 0, 800, 250), (0, 330, 800, 600)]
    _, box = changed(np.full((600, 800, 3), 200, np.uint8), avoid=avoid)
    assert all(overlap(box, face) == 0 for face in avoid)


def test_words_break_where_only_a_narrow_place_is_free() -> None:
    avoid: list[Box] = [(300, 0, 800, 600)]
    _, box = changed(np.full((600, 800, 3), 200, np.uint8), avoid=avoid)
    assert overlap(box, avoid[0]) == 0
    assert box[3] - box[1] > 60


def test_a_face_that_fills_the_picture_is_covered_least() -> None:
    face = (10, 10, 502, 440)
    _, box = changed(np.full((512, 512, 3), 200, np.uint8), avoid=[face])
    assert overlap(box, face) < 0.2 * (box[2] - box[0]) * (box[3] - box[1])


def test_boxes_outside_the_picture_do_no_harm() -> None:
    frame = np.full((300, 300, 3), 90, np.uint8)
    plain = draw_visible_label(frame, avoid=[])
    far: list[Box] = [(-100, -100, -5, -5), (900, 900, 999, 999), (-100_000, 5, -99_000, 9)]
    assert np.array_equal(plain, draw_visible_label(frame, avoid=far))
    assert draw_visible_label(frame, avoid=[(-10, -10, 9999, 9999)]).shape == frame.shape


def test_the_label_is_deterministic_and_leaves_the_input(
    demo_picture: Callable[[str], bytes],
) -> None:
    frame = decode(demo_picture("persona1_0")).frame
    one, box = changed(frame, avoid=[(140, 120, 380, 430)])
    assert np.array_equal(one, draw_visible_label(frame, avoid=[(140, 120, 380, 430)]))
    assert overlap(box, (140, 120, 380, 430)) == 0


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "AI生成"])
def test_texts_the_font_cannot_show_are_refused(text: str) -> None:
    with pytest.raises(LabelRefused):
        draw_visible_label(np.zeros((300, 300, 3), np.uint8), avoid=[], text=text)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TooSmall):
        draw_visible_label(np.zeros((32, 32, 3), np.uint8), avoid=[])
    with pytest.raises(ShapeError):
        draw_visible_label(np.zeros((300, 300), np.uint8), avoid=[])


def test_without_a_scalable_font_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFont, "load_default", lambda _: ImageFont.ImageFont())
    with pytest.raises(LabelRefused) as caught:
        draw_visible_label(np.zeros((300, 300, 3), np.uint8), avoid=[])
    assert "FreeType" in caught.value.mend
