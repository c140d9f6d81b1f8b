"""Labels come back as written, foreign forms are read, disagreement and hostility are named."""

from __future__ import annotations

import io
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from policies.errors import Error
from provenance.containers import sniff_mime
from provenance.errors import LabelRefused, MediaError
from provenance.labels import (
    FACE_SWAP_SOURCE_TYPE,
    Labels,
    read_labels,
    read_video_labels,
    write_alternative_label,
    write_xmp,
)
from provenance.media import decode, encode
from provenance.pki import DevelopmentChain

VECTORS = Path(__file__).parents[1] / "vectors" / "labels"
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FRAME = np.random.default_rng(8).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MIMES: tuple[Any, ...] = ("image/jpeg", "image/png", "image/webp")
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
ASCII_FORM = (
    b'{"AIGC":{"Label":"1","ContentProducer":"Pr\\u00fcf & S\\u00f6hne <studio>",'
    b'"ProduceID":"0123456789ab","ReservedCode1":"","ContentPropagator":"","PropagateID":"",'
    b'"ReservedCode2":""}}'
)
TEXT_FORM = (
    '{"Label":"1","ContentProducer":"Prüf &amp; Söhne &lt;studio&gt;",'
    '"ProduceID":"0123456789ab","ReservedCode1":"","ContentPropagator":"","PropagateID":"",'
    '"ReservedCode2":""}'
).encode()


def labelled(mime: Any = "image/png", *, aigc: bool = True, **changes: Any) -> bytes:
    return encode(FRAME, mime, xmp=write_xmp(**WRITTEN | changes, aigc=aigc))


def alternative(mime: Any) -> bytes:
    data = labelled(mime, aigc=False)
    said = {"provider": WRITTEN["provider"], "output_id": WRITTEN["output_id"]}
    return write_alternative_label(data, mime, **said)


def read(data: bytes) -> Labels:
    found = read_labels(data, sniff_mime(data))
    assert found is not None
    return found


def said_in(inside: str, attributes: str = "") -> Labels:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF '
        'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:t="http://www.tc260.org.cn/ns/AIGC/1.0/" xmlns:m="http://ns.adobe.com/xap/1.0/">'
        f"<r:Description {attributes}>{inside}</r:Description></r:RDF></x:xmpmeta>"
    )
    return read(encode(FRAME, "image/jpeg", xmp=packet.encode()))


# ---------------------------------------------------------------- what we write


@pytest.mark.parametrize("mime", MIMES)
def test_labels_come_back_as_written(mime: Any) -> None:
    found = read(labelled(mime))
    assert found.source_type == FACE_SWAP_SOURCE_TYPE
    assert found.source_type.endswith("/compositeWithTrainedAlgorithmicMedia")
    assert {key: getattr(found, key) for key in WRITTEN} == WRITTEN
    assert found.aigc is not None
    assert found.aigc.model_dump() == AIGC
    assert (found.problems, found.undisclosed, found.claims_ai) == ((), (), True)
    assert {statement.where for statement in found.said} == {"XMP"}


@pytest.mark.parametrize("mime", MIMES)
def test_a_file_without_labels_has_none(mime: Any) -> None:
    assert read_labels(encode(FRAME, mime), mime) is None


@pytest.mark.parametrize("mime", MIMES)
def test_the_primary_carrier_has_the_form_of_the_standard_byte_for_byte(mime: Any) -> None:
    """Read by Pillow and by another XML parser than ours."""
    with Image.open(io.BytesIO(labelled(mime))) as image:
        packet = image.info["xmp"]
    packet = packet.encode() if isinstance(packet, str) else packet
    assert packet == write_xmp(**WRITTEN)
    assert b"<TC260:AIGC>" + TEXT_FORM + b"</TC260:AIGC>" in packet
    assert b'xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"' in packet
    value = ET.fromstring(packet).find(  # noqa: S314 - our own packet
        ".//{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"
    )
    assert value is not None
    assert value.text is not None
    assert list(json.loads(value.text).items()) == list(AIGC.items())


@pytest.mark.parametrize("mime", MIMES)
def test_the_alternative_carrier_has_the_form_of_annex_b_byte_for_byte(mime: Any) -> None:
    data = alternative(mime)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if mime == "image/png":
            assert image.info["AIGC"].encode() == ASCII_FORM
            assert b"tEXtAIGC\x00" + ASCII_FORM in data
        else:
            comment = image.getexif().get_ifd(0x8769)[0x9286]
            assert comment == b"ASCII\x00\x00\x00" + ASCII_FORM
        assert b"AIGC" not in bytes(image.info["xmp"]).replace(b"/ns/AIGC/", b"")
    found = read(data)
    assert found.problems == ()
    assert found.aigc is not None
    assert found.aigc.model_dump() == AIGC
    assert np.array_equal(decode(data).frame, decode(labelled(mime, aigc=False)).frame)


@pytest.mark.parametrize("mime", MIMES)
def test_a_file_takes_one_label(mime: Any) -> None:
    said = {"provider": "A", "output_id": "b"}
    for data in (labelled(mime), alternative(mime)):
        with pytest.raises(LabelRefused, match="one label a file") as caught:
            write_alternative_label(data, mime, **said)
        assert caught.value.code == "LABEL-REFUSED"


@pytest.mark.parametrize("mime", MIMES)
def test_a_signature_over_the_labels_leaves_them_as_they_are(
    mime: Any, pki: DevelopmentChain, sign_elsewhere: Callable[..., bytes]
) -> None:
    for data in (labelled(mime), alternative(mime)):
        assert read(sign_elsewhere(pki, data)) == read(data)


def test_a_plain_webp_file_has_no_place_for_exif() -> None:
    with pytest.raises(LabelRefused) as caught:
        write_alternative_label(
            encode(FRAME, "image/webp"), "image/webp", provider="A", output_id="b"
        )
    assert "XMP packet first" in caught.value.mend


def test_a_jpeg_file_without_jfif_takes_the_alternative_label() -> None:
    jfif = encode(FRAME, "image/jpeg")
    plain = jfif[:2] + jfif[4 + int.from_bytes(jfif[4:6], "big") :]
    data = write_alternative_label(plain, "image/jpeg", provider="A", output_id="b")
    assert data[2:4] == b"\xff\xe1"
    found = read(data)
    assert found.aigc is not None
    assert found.undisclosed == (
        "(A) provider",
        "(B) system",
        "(B) version",
        "(C) time and date",
        "(D) unique id",
    )


def test_an_exif_chunk_comes_before_xmp_and_keeps_the_file_even() -> None:
    data = alternative("image/webp")
    assert 0 < data.index(b"EXIFMM" if b"EXIFMM" in data else b"EXIF") < data.index(b"XMP ")
    assert len(data) == 8 + int.from_bytes(data[4:8], "little")
    assert data[20] & 0x0C == 0x0C


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


# ---------------------------------------------------------------- what others write

AI, COMPOSITE, CAMERA = (
    TYPES + code for code in ("trainedAlgorithmicMedia", "compositeSynthetic", "digitalCapture")
)
CASES: dict[str, dict[str, Any]] = {
    "attributes.jpg": {"aigc": "a1", "source_type": AI},
    "resource_https.png": {"source_type": COMPOSITE},
    "bare_code.webp": {"source_type": AI},
    "bag.jpg": {"output_id": "one", "provider": "Other", "claims_ai": False},
    "utf16_be.jpg": {"aigc": "a1"},
    "utf16_le_no_mark.jpg": {"aigc": "a1"},
    "utf32.png": {"aigc": "a1"},
    "extended.jpg": {"aigc": "a1", "where": ["extended XMP"]},
    "exif_little.jpg": {"aigc": "a1", "where": ["EXIF UserComment"]},
    "exif_big.webp": {"aigc": "a1", "where": ["EXIF UserComment"]},
    "exif_unicode_little.jpg": {"aigc": "a1"},
    "exif_unicode_swapped.png": {"aigc": "a1"},
    "exif_no_charset.webp": {"aigc": "a1"},
    "text_wrapped.png": {"aigc": "a1", "where": ["PNG text AIGC (tEXt)"]},
    "text_bare.png": {"aigc": "a1"},
    "text_compressed.png": {"aigc": "a1", "where": ["PNG text AIGC (zTXt)"]},
    "text_international.png": {"aigc": "a1", "where": ["PNG text AIGC (iTXt)"]},
    "keys.mp4": {"aigc": "a1", "where": ["keys in moov.udta.meta"]},
    "keys_wrapped.mov": {"aigc": "a1"},
    "disagree.png": {
        "aigc": "a1",
        "problems": [
            'AIGC disagrees: "Label 1 of Other Studio, ProduceID a1" (XMP), '
            '"Label 1 of Other Studio, ProduceID b2" (PNG text AIGC (tEXt))'
        ],
    },
    "disagree_exif.jpg": {
        "source_type": CAMERA,
        "problems": [
            'DigitalSourceType disagrees: "digitalCapture" (XMP), '
            '"trainedAlgorithmicMedia" (XMP no. 2)'
        ],
    },
    "twice_alike.png": {
        "aigc": "a1",
        "problems": [
            "AIGC stands 2 times (PNG text AIGC (tEXt), PNG text AIGC (iTXt)), "
            "one label a file is allowed"
        ],
    },
    "six_keys.png": {"problems": ["missing keys: ProduceID; unknown keys: 0"]},
    "eighth_key.png": {"problems": ["missing keys: none; unknown keys: 1"]},
    "key_twice.png": {"problems": ["not JSON with every key once"]},
    "nested_json.png": {"problems": ["not JSON with every key once"]},
    "entity_bomb.jpg": {"claims_ai": False, "problems": ["declares a DTD or entities"]},
    "external_entity.jpg": {"claims_ai": False, "problems": ["declares a DTD or entities"]},
    "deep.png": {"claims_ai": False, "problems": ["nests too deep"]},
    "inflated.png": {"claims_ai": False, "problems": ["inflates beyond 1000000 bytes"]},
    "not_utf8.jpg": {"claims_ai": False, "problems": ["XMP: an XMP packet is not UTF-8"]},
    "many.jpg": {"claims_ai": False, "problems": ["more than 64 blocks"]},
    "broken_behind.jpg": {"aigc": "a1", "problems": ["not well-formed XML"]},
    "nul.jpg": {"aigc": "a1", "problems": ["not well-formed XML"]},
    "extended_gap.jpg": {"claims_ai": False, "problems": ["leave a gap"]},
    "extended_digest.jpg": {"claims_ai": False, "problems": ["digest is not the one"]},
    "extended_unnamed.jpg": {"aigc": "a1", "problems": ["no packet of the file names it"]},
    "escape.jpg": {
        "claims_ai": False,
        "problems": ['CreateDate (XMP) is not a time: "\ufffd2026 \ufffd31m"'],
    },
}
WITHOUT = {"itunes.mp4", "none.mp4", "part_of_it.jpg"}


def read_vector(name: str) -> Labels | None:
    path = VECTORS / name
    if path.suffix in {".mp4", ".mov"}:
        with path.open("rb") as file:
            return read_video_labels(file)
    data = path.read_bytes()
    return read_labels(data, sniff_mime(data))


def test_every_vector_is_asserted() -> None:
    files = {path.name for path in VECTORS.iterdir() if path.is_file()}
    assert files - {"README.md", "regenerate.py"} == set(CASES) | WITHOUT


@pytest.mark.parametrize("name", CASES)
def test_vector(name: str) -> None:
    expected = {"claims_ai": True, "problems": []} | CASES[name]
    begun = time.process_time()
    found = read_vector(name)
    assert time.process_time() - begun < 1.0
    assert found is not None
    assert found.claims_ai is expected["claims_ai"]
    assert len(found.problems) == len(expected["problems"])
    for problem, words in zip(found.problems, expected["problems"], strict=True):
        assert words in problem
        assert problem.isprintable()
    assert (found.aigc.ProduceID if found.aigc else None) == expected.get("aigc")
    for field in ("source_type", "output_id", "provider"):
        assert getattr(found, field) == expected.get(field)
    if "where" in expected:
        assert [statement.where for statement in found.said] == expected["where"]


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_vector_without_a_label(name: str) -> None:
    assert read_vector(name) is None


def test_a_camera_picture_does_not_claim_ai_but_an_ai_claim_beside_it_counts() -> None:
    camera = f"<i:DigitalSourceType>{CAMERA}</i:DigitalSourceType>"
    assert not said_in(camera).claims_ai
    assert said_in(camera + f"<i:DigitalSourceType>{AI}</i:DigitalSourceType>").claims_ai
    assert Labels(source_type=AI).claims_ai
    assert not said_in(f"<i:AISystemUsed>{AI}</i:AISystemUsed>").claims_ai


def test_what_is_said_of_a_part_is_not_said_of_the_file() -> None:
    claim = f"<i:DigitalSourceType>{AI}</i:DigitalSourceType>"
    part = f"<i:Part><r:Description>{claim}</r:Description></i:Part>"
    assert not said_in(part, f'i:DigitalSourceType="{CAMERA}"').claims_ai
    assert said_in(part + claim).claims_ai


@pytest.mark.parametrize("text", ["2026", "2026-11", "2026-11-21T08:30:15"])
def test_a_time_that_is_no_point_in_time_is_none(text: str) -> None:
    found = said_in("", f'm:CreateDate="{text}"')
    assert (found.created_at, found.problems) == (None, ())


def test_one_instant_in_two_zones_is_no_disagreement() -> None:
    found = said_in(
        "<m:CreateDate>2026-11-21T09:00:00+01:00</m:CreateDate>", 'm:CreateDate="2026-11-21T08:00Z"'
    )
    assert found.created_at == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert found.problems == ()


def test_times_that_disagree_are_named_and_long_lists_are_cut() -> None:
    times = "".join(f"<m:CreateDate>2026-11-2{n}T08:00Z</m:CreateDate>" for n in range(6))
    [problem] = said_in(times).problems
    assert problem.startswith(
        'CreateDate disagrees: "2026-11-20T08:00:00+00:00" (XMP), "2026-11-21'
    )
    assert problem.endswith('"2026-11-23T08:00:00+00:00" (XMP) and 2 more')


def test_long_words_of_a_file_are_cut() -> None:
    [problem] = said_in(f"<m:CreateDate>{'x' * 100}</m:CreateDate>").problems
    assert problem == f'CreateDate (XMP) is not a time: "{"x" * 60}…"'


def test_a_label_of_another_output_is_reported() -> None:
    packet = write_xmp(**WRITTEN).replace(b"<dc:identifier>0", b"<dc:identifier>f")
    found = read(encode(FRAME, "image/jpeg", xmp=packet))
    assert found.problems == (
        'the AIGC ProduceID "0123456789ab" is not the identifier "f123456789ab"',
    )


def test_the_mime_must_be_the_content() -> None:
    with pytest.raises(MediaError) as caught:
        read_labels(labelled("image/png"), "image/jpeg")
    assert caught.value.code == "MEDIA-UNSUPPORTED"


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.sampled_from(MIMES), st.booleans(), st.data())
def test_damage_is_never_anything_but_a_media_error(
    mime: Any, other: bool, draw: st.DataObject
) -> None:
    data = bytearray(alternative(mime) if other else labelled(mime))
    start = max(0, data.find(b"AIGC") - 200)
    for _ in range(3):
        place = draw.draw(st.integers(start, min(len(data) - 1, start + 1200)))
        data[place] = draw.draw(st.integers(0, 255))
    try:
        read_labels(bytes(data), mime)
    except Error as error:
        assert isinstance(error, MediaError)  # noqa: PT017 - any other error is the failure
