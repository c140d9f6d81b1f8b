"""Every file in vectors/media is either the right pixels or a named refusal."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from policies.errors import Error
from provenance.containers import open_container, read_exif_tag
from provenance.errors import MediaError, ShapeError
from provenance.media import MAX_XMP_BYTES, Limits, Picture, decode, encode

VECTORS = Path(__file__).parent.parent / "vectors" / "media"
GOOD = {  # name -> (mime, largest difference to the true pixels)
    "plain.jpg": ("image/jpeg", 6),
    "progressive.jpg": ("image/jpeg", 6),
    "trailing_zip.jpg": ("image/jpeg", 6),
    "cmyk.jpg": ("image/jpeg", 12),
    "plain.png": ("image/png", 0),
    "opaque_alpha.png": ("image/png", 0),
    "sixteen_bit_colour.png": ("image/png", 0),
    "palette.png": ("image/png", 40),
    "plain.webp": ("image/webp", 40),
    "lossless.webp": ("image/webp", 0),
}
GREY = ("grey.png", "sixteen_bit.png")
ORIENTED = {"rotated_exif.jpg": 6, "mirrored_exif.png": 5, "turned_exif.webp": 8}
BAD = {
    "empty.jpg": "MEDIA-EMPTY",
    "text_named.jpg": "MEDIA-UNSUPPORTED",
    "animated.gif": "MEDIA-UNSUPPORTED",
    "drawing.svg": "MEDIA-UNSUPPORTED",
    "brand.heic": "MEDIA-UNSUPPORTED",
    "animated.webp": "MEDIA-ANIMATED",
    "animated.png": "MEDIA-ANIMATED",
    "image_bomb.png": "MEDIA-TOO-LARGE",
    "strip.png": "MEDIA-TOO-LARGE",
    "one_pixel.png": "MEDIA-TOO-SMALL",
    "transparent.png": "MEDIA-TRANSPARENT",
    "transparent_key.png": "MEDIA-TRANSPARENT",
    "transparent.webp": "MEDIA-TRANSPARENT",
    "truncated.jpg": "MEDIA-TRUNCATED",
    "truncated.png": "MEDIA-TRUNCATED",
    "truncated.webp": "MEDIA-TRUNCATED",
    "bad_crc.png": "MEDIA-UNDECODABLE",
    "inflated_text.png": "MEDIA-UNDECODABLE",
    "two_sizes.webp": "MEDIA-UNDECODABLE",
    "no_frame.jpg": "MEDIA-UNDECODABLE",
    "short_stream.webp": "MEDIA-UNDECODABLE",
}
ELSEWHERE = {"marked_spread_v1.webp"}  # asserted in test_watermark_spread.py


def read(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def truth() -> np.ndarray:
    """BGR uint8 (32, 48, 3): the gradient of regenerate.py, written out independently."""
    frame = np.empty((32, 48, 3), np.uint8)
    for y in range(32):
        for x in range(48):
            frame[y, x] = ((255 - 3 * x - 2 * y) % 256, 7 * y, 5 * x)
    return frame


def farthest(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def test_every_vector_is_asserted() -> None:
    files = {p.name for p in VECTORS.iterdir() if p.suffix not in {".md", ".py"} and p.is_file()}
    assert files == {*GOOD, *GREY, *ORIENTED, *BAD, *ELSEWHERE}


@pytest.mark.parametrize("name", GOOD)
def test_good_files_give_their_pixels(name: str) -> None:
    mime, tolerance = GOOD[name]
    picture = decode(read(name))
    assert picture.mime == mime
    assert farthest(picture.frame, truth()) <= tolerance


@pytest.mark.parametrize("name", GREY)
def test_grey_becomes_three_equal_channels(name: str) -> None:
    frame = decode(read(name)).frame
    assert frame.shape == (32, 48, 3)
    assert np.ptp(frame, axis=2).max() == 0
    assert farthest(frame[..., 0], truth() @ np.array([0.114, 0.587, 0.299])) <= 1


@pytest.mark.parametrize("name", ORIENTED)
def test_orientation_is_applied_and_dropped(name: str) -> None:
    picture = decode(read(name))
    with Image.open(io.BytesIO(read(name))) as image:
        assert image.getexif()[0x0112] == ORIENTED[name]
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1]
    assert picture.frame.shape == (48, 32, 3)
    assert np.array_equal(picture.frame, upright)
    assert not open_container(encode(picture.frame, picture.mime)).exif


@pytest.mark.parametrize("orientation", range(10))
def test_all_orientations_agree_with_pillow(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(truth()[..., ::-1]).save(out, "PNG", exif=tags)
    with Image.open(io.BytesIO(out.getvalue())) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))[..., ::-1]
    assert np.array_equal(decode(out.getvalue()).frame, upright)


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(name: str) -> None:
    with pytest.raises(MediaError) as caught:
        decode(read(name))
    assert caught.value.code == BAD[name]


def test_too_much_metadata_is_refused() -> None:
    plain = read("plain.jpg")
    comments = b"".join(b"\xff\xfe\xff\xff" + bytes(65533) for _ in range(17))
    with pytest.raises(MediaError) as caught:
        decode(plain[:2] + comments + plain[2:])
    assert caught.value.code == "MEDIA-TOO-LARGE"
    assert decode(plain[:2] + comments[: 3 * 65537] + plain[2:]).mime == "image/jpeg"


@pytest.mark.parametrize(
    "limits",
    [
        Limits(file_bytes=100),
        Limits(pixels=48 * 32 - 1),
        Limits(side_px=47),
        Limits(inflation=10, inflation_from_bytes=50),
    ],
)
def test_each_cap_refuses_one_beyond_it(limits: Limits) -> None:
    with pytest.raises(MediaError) as caught:
        decode(read("plain.png"), limits=limits)
    assert caught.value.code == "MEDIA-TOO-LARGE"


def test_caps_admit_what_just_fits() -> None:
    size = len(read("plain.png"))
    decode(read("plain.png"), limits=Limits(file_bytes=size, pixels=48 * 32, side_px=48))


def test_a_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("the decoder was asked")

    monkeypatch.setattr(Image, "open", never)
    with pytest.raises(MediaError):
        decode(read("image_bomb.png"))


def test_the_decoder_never_sees_metadata_or_the_tail() -> None:
    secret = b"<canary/>"
    files = [encode(truth(), mime, xmp=secret) for mime in ("image/jpeg", "image/png")]
    files.append(encode(truth(), "image/webp", xmp=secret))
    for data in files:
        container = open_container(data + b"PK\x03\x04tail")
        assert container.xmp == (secret,)
        assert container.end == len(data)
        assert secret not in container.picture
        assert b"tail" not in container.picture


def test_a_tail_is_not_carried_on() -> None:
    picture = decode(read("trailing_zip.jpg"))
    assert b"PK\x03\x04" in picture.data
    assert b"PK\x03\x04" not in encode(picture.frame, picture.mime)


def test_pillow_globals_are_left_alone_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters[:])
    decode(read("plain.jpg"))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters[:]) == before
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(MediaError) as caught:
        decode(read("plain.jpg"))
    assert caught.value.code == "MEDIA-UNDECODABLE"


def test_a_picture_cannot_be_made_by_hand_or_changed() -> None:
    picture = decode(read("plain.png"))
    with pytest.raises(MediaError):
        Picture(picture.data, picture.mime, picture.frame, picture.sha256)
    with pytest.raises(AttributeError):
        picture.mime = "image/jpeg"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        picture.frame[0, 0, 0] = 1


def test_a_pickled_picture_is_decoded_again() -> None:
    picture = decode(read("plain.jpg"))
    copy = pickle.loads(pickle.dumps(picture))  # noqa: S301 - our own bytes
    assert copy.sha256 == picture.sha256
    assert np.array_equal(copy.frame, picture.frame)


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png", "image/webp"])
def test_what_is_encoded_decodes_to_the_same_picture(
    mime: Any, demo_picture: Callable[[str], bytes]
) -> None:
    frame = decode(demo_picture("persona1_0")).frame
    back = decode(encode(frame, mime)).frame
    error = np.mean((back.astype(float) - frame) ** 2)
    assert error == 0 if mime == "image/png" else error < 6.5  # 6.5 is 40 dB
    assert encode(frame, mime) == encode(frame, mime)


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    with Image.open(io.BytesIO(encode(truth(), "image/jpeg"))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("frame", "mime", "xmp", "code"),
    [
        (truth()[..., 0], "image/png", None, "SHAPE"),
        (truth().astype(np.float32), "image/png", None, "SHAPE"),
        (truth()[:0], "image/png", None, "SHAPE"),
        ([[1, 2, 3]], "image/png", None, "SHAPE"),
        (truth(), "image/gif", None, "MEDIA-UNSUPPORTED"),
        (truth(), "image/jpeg", bytes(MAX_XMP_BYTES + 1), "MEDIA-TOO-LARGE"),
        (np.zeros((16, 16384, 3), np.uint8), "image/webp", None, "MEDIA-TOO-LARGE"),
    ],
)
def test_encode_refuses_what_it_cannot_write(frame: Any, mime: Any, xmp: Any, code: str) -> None:
    with pytest.raises((MediaError, ShapeError)) as caught:
        encode(frame, mime, xmp=xmp)
    assert caught.value.code == code


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_tags_are_read_in_both_byte_orders(order: str) -> None:
    head = b"II*\x00" if order == "<" else b"MM\x00*"
    short = struct.pack(order + "HHIHH", 0x0112, 3, 1, 7, 0)
    exif = head + struct.pack(order + "IH", 8, 1) + short
    assert read_exif_tag(exif, 0x0112) == b"\x00\x07"
    assert read_exif_tag(exif, 0x9286) is None
    assert read_exif_tag(exif[:-8], 0x0112) is None
    assert read_exif_tag(b"XX*\x00", 0x0112) is None


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def after_header(name: str, inserted: bytes) -> bytes:
    data = read(name)
    return data[:33] + inserted + data[33:]


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(one)) + one for kind, one in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xd8\xff\xc0\x00\x04\x08\x00\xff\xd9", "MEDIA-UNDECODABLE"),
        (b"\xff\xd8\xff\xe0\x00\x02\x00\x00", "MEDIA-UNDECODABLE"),
        (b"\xff\xd8\xff\xff\xff\xe0\x00", "MEDIA-TRUNCATED"),
        (after_header("plain.png", chunk(b"iTXt", b"XML:com.adobe.xmp\x00")), "MEDIA-UNDECODABLE"),
        (
            after_header("plain.png", chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00zz")),
            "MEDIA-UNDECODABLE",
        ),
        (after_header("sixteen_bit.png", chunk(b"tRNS", b"\x00\x07")), "MEDIA-TRANSPARENT"),
        (webp((b"VP8X", bytes(4)), (b"VP8L", b"\x2f\x0f\xc0\x03\x00")), "MEDIA-UNDECODABLE"),
        (webp((b"XMP ", b"<x/>")), "MEDIA-UNDECODABLE"),
        (webp((b"VP8L", b"\x2f" + bytes(4))), "MEDIA-TOO-SMALL"),
        (webp((b"VP8L", b"\x2f"))[:-1] + b"\x00\x00\x00", "MEDIA-UNDECODABLE"),
        (
            b"RIFF\x0c\x00\x00\x00WEBPVP8L" + struct.pack("<I", 99),
            "MEDIA-TRUNCATED",
        ),
    ],
)
def test_structures_that_contradict_themselves_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        decode(data)
    assert caught.value.code == code


def test_a_decoder_that_finds_another_size_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: Image.new("RGB", (20, 20)))
    with pytest.raises(MediaError) as caught:
        decode(read("plain.png"))
    assert caught.value.code == "MEDIA-UNDECODABLE"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.sampled_from(["plain.jpg", "progressive.jpg", "plain.png", "plain.webp", "animated.webp"]),
    st.data(),
)
def test_damage_is_never_anything_but_a_media_error(name: str, draw: st.DataObject) -> None:
    data = bytearray(read(name))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(data)))
    try:
        picture = decode(bytes(data[: cut or None]))
    except Error as error:
        assert isinstance(error, MediaError)  # noqa: PT017 - any other error is the failure
    else:
        assert picture.frame.dtype == np.uint8


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_noise_after_a_magic_number_is_a_media_error(tail: bytes, magic: bytes) -> None:
    with pytest.raises(MediaError):
        decode(magic + tail)


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "plain.webp", "cmyk.jpg"])
def test_every_cut_is_refused(name: str) -> None:
    data = read(name)
    for length in range(1, len(data), 7):
        with pytest.raises(MediaError):
            decode(data[:length])
