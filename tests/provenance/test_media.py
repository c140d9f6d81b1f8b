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
from provenance.exchange import Coded
from provenance.media import (
    MAX_XMP_BYTES,
    Limits,
    Picture,
    decode,
    encode,
    require_picture,
    views,
)
from provenance.pixels import Pixels, load

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
NOTED = {  # name -> the changes that are told, in this order
    "trailing_zip.jpg": ["tail"],
    "motion.jpg": ["tail"],
    "zip_too.png": ["tail", "polyglot"],
    "pdf_too.jpg": ["polyglot"],
    "html_too.png": ["polyglot"],
    "text_bomb.png": [],
    "plain.jpg": [],
    "srgb_profile.jpg": [],
    "sixteen_bit.png": ["depth"],
    "sixteen_bit_colour.png": ["depth"],
    "cmyk.jpg": ["inks"],
    "wrong_profile.jpg": ["profile", "inks"],
    "broken_profile.jpg": ["profile"],
    "backwards_profile.png": ["profile"],
    "grey_profile.png": ["profile"],
    "display_p3.png": ["profile", "gamut"],
    "display_p3.jpg": ["profile", "gamut"],
    "display_p3.webp": ["profile", "gamut"],
    "rotated_exif.jpg": ["orientation"],
    "turned_alpha.png": ["orientation", "alpha"],
}
CLEAR = ("soft_alpha.png", "soft_alpha.webp", "turned_alpha.png", "grey_alpha.png")
ORIENTED = {"rotated_exif.jpg": 6, "mirrored_exif.png": 5, "turned_exif.webp": 8}
BAD = {
    "empty.jpg": "MEDIA-EMPTY",
    "text_named.jpg": "MEDIA-UNSUPPORTED",
    "animated.gif": "MEDIA-UNSUPPORTED",
    "drawing.svg": "MEDIA-UNSUPPORTED",
    "brand.heic": "MEDIA-UNSUPPORTED",
    "animated.webp": "MEDIA-ANIMATED",
    "animated.png": "MEDIA-ANIMATED",
    "brand.avif": "MEDIA-UNSUPPORTED",
    "brand.mp4": "MEDIA-UNSUPPORTED",
    "profile_bomb.png": "MEDIA-UNDECODABLE",
    "sixteen_bit_key.png": "MEDIA-TRANSPARENT",
    "huge.png": "MEDIA-TOO-LARGE",
    **dict.fromkeys(CLEAR, "MEDIA-TRANSPARENT"),
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
ELSEWHERE = {  # asserted in test_watermark_spread.py and test_video_sandbox.py
    "marked_spread_v2.webp",
    "million_frames.mp4",
}


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
    assert files == {*GOOD, *GREY, *NOTED, *ORIENTED, *BAD, *ELSEWHERE}


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


@pytest.mark.parametrize("name", NOTED)
def test_what_was_changed_or_dropped_is_told(name: str) -> None:
    picture = decode(read(name), keep_alpha=True)
    assert [note.change for note in picture.notes] == NOTED[name]
    assert not decode(encode(picture.frame, picture.mime)).notes


def test_notes_say_what_it_was() -> None:
    told = {name: " ".join(note.text for note in decode(read(name)).notes) for name in HIDING}
    assert "26 bytes follow the picture (ZIP)" in told["trailing_zip.jpg"]
    assert "(a video)" in told["motion.jpg"]
    assert "opened as ZIP" in told["zip_too.png"]
    assert "opened as PDF" in told["pdf_too.jpg"]
    assert "opened as HTML" in told["html_too.png"]


HIDING = ("trailing_zip.jpg", "motion.jpg", "zip_too.png", "pdf_too.jpg", "html_too.png")


@pytest.mark.parametrize("name", HIDING)
def test_nothing_hidden_is_carried_on(name: str) -> None:
    picture = decode(read(name))
    out = encode(picture.frame, picture.mime)
    for sign in (b"PK", b"ftyp", b"%PDF", b"<script"):
        assert sign not in out


@pytest.mark.parametrize(
    ("name", "words", "mend"),
    [
        ("brand.heic", "(content: HEIC)", "Most Compatible"),
        ("brand.avif", "(content: AVIF)", "PNG or JPEG"),
        ("brand.mp4", "(content: a video)", "convert"),
    ],
)
def test_a_foreign_format_is_named_with_what_to_do(name: str, words: str, mend: str) -> None:
    with pytest.raises(MediaError) as caught:
        decode(read(name))
    assert words in caught.value.message
    assert mend in caught.value.mend


P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7139]])


def coded_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 to coded values in 0..255, by IEC 61966-2-1."""
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def test_a_wide_profile_is_applied_as_viewers_apply_it() -> None:
    light = (truth()[..., ::-1] / 255.0) ** 2.2 @ (np.linalg.inv(SRGB) @ P3).T
    picture = decode(read("display_p3.png"))
    inside = ((light >= 0) & (light <= 1)).all(axis=-1)
    expected = coded_srgb(light.clip(0, 1))[..., ::-1]
    assert np.abs(picture.frame - expected)[inside].max() <= 2
    assert farthest(picture.frame, truth()) > 20
    # The share that is told: colours that do not come back once they were clipped to sRGB.
    back = (light.clip(0, 1) @ (np.linalg.inv(P3) @ SRGB).T).clip(0, 1) ** (1 / 2.2) * 255
    lost = (np.abs(back[..., ::-1] - truth()) > 8).any(axis=-1).mean()
    (told,) = [note.text for note in picture.notes if note.change == "gamut"]
    assert float(told.split(" %")[0]) / 100 == pytest.approx(float(lost), abs=0.02)


def test_the_same_profile_reads_the_same_in_every_format() -> None:
    one = decode(read("display_p3.png")).frame
    assert farthest(decode(read("display_p3.webp")).frame, one) == 0
    assert farthest(decode(read("display_p3.jpg")).frame, one) <= 24  # JPEG loss, then clipping


def test_a_profile_that_turns_colours_over_cannot_hide_a_picture() -> None:
    frame = decode(read("backwards_profile.png")).frame
    assert np.abs(frame - coded_srgb(1 - truth() / 255.0)).max() <= 2


def test_profiles_that_cannot_apply_leave_the_values() -> None:
    assert farthest(decode(read("broken_profile.jpg")).frame, truth()) <= 6
    assert np.array_equal(decode(read("wrong_profile.jpg")).frame, decode(read("cmyk.jpg")).frame)


def test_a_grey_profile_applies_to_grey() -> None:
    grey = decode(read("grey.png")).frame[..., 0] / 255.0
    frame = decode(read("grey_profile.png")).frame
    assert np.abs(frame[..., 0] - coded_srgb(grey**4)).max() <= 2
    assert np.ptp(frame, axis=2).max() <= 1


def falling() -> np.ndarray:
    """The alpha plane of regenerate.py: opaque at the left, clear from column 40 on."""
    return np.array([[max(0, 255 - x * 255 // 40) for x in range(48)]] * 32, np.uint8)


@pytest.mark.parametrize("name", ["soft_alpha.png", "soft_alpha.webp"])
def test_alpha_is_kept_when_asked_for_and_written_back_unchanged(name: str) -> None:
    picture = decode(read(name), keep_alpha=True)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, falling())
    seen = falling() > 0
    assert np.array_equal(picture.frame[seen], truth()[seen])
    assert (picture.frame[~seen] == 255).all()
    with pytest.raises(ValueError, match="read-only"):
        picture.alpha[0, 0] = 1
    back = decode(encode(picture.frame, picture.mime, alpha=picture.alpha), keep_alpha=True)
    assert back.alpha is not None
    assert np.array_equal(back.alpha, picture.alpha)
    copy = pickle.loads(pickle.dumps(picture))  # noqa: S301 - our own bytes
    assert np.array_equal(copy.alpha, picture.alpha)


def test_alpha_turns_with_the_picture() -> None:
    picture = decode(read("turned_alpha.png"), keep_alpha=True)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.rot90(falling(), 3))


def test_grey_with_alpha_is_grey() -> None:
    picture = decode(read("grey_alpha.png"), keep_alpha=True)
    assert np.ptp(picture.frame, axis=2).max() == 0
    assert picture.alpha is not None


def test_opaque_pictures_have_no_alpha_and_one_view() -> None:
    picture = decode(read("opaque_alpha.png"), keep_alpha=True)
    assert picture.alpha is None
    assert views(picture)[0] is picture.frame
    assert len(views(picture)) == 1


def test_views_show_what_alpha_draws_on_black_and_on_white() -> None:
    black, white = views(decode(read("soft_alpha.png"), keep_alpha=True))
    share = falling()[..., None] / 255.0
    colours = np.where(falling()[..., None] == 0, 255, truth())
    assert np.abs(black - colours * share).max() <= 0.51
    assert np.abs(white - (colours * share + 255 * (1 - share))).max() <= 0.51
    assert black.dtype == np.uint8


def test_the_loader_is_given_the_picture_and_its_profile_alone() -> None:
    seen: list[Coded] = []

    def spy(coded: Coded) -> Pixels:
        seen.append(coded)
        return load(coded)

    data = read("display_p3.webp") + b"tail"
    picture = decode(data, load=spy)
    (coded,) = seen
    assert (coded.mime, coded.width, coded.height) == ("image/webp", 48, 32)
    assert b"acsp" in coded.icc
    assert b"acsp" not in coded.picture
    assert b"tail" not in coded.picture
    assert picture.data == data


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


def test_an_aigc_text_is_set_apart() -> None:
    container = open_container(after_header("plain.png", chunk(b"tEXt", b"AIGC\x00{}")))
    assert container.aigc == (b"{}",)


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


def test_only_a_picture_is_a_picture() -> None:
    picture = decode(read("plain.png"))
    assert require_picture(picture) is picture
    for other in (picture.frame, None, object.__new__(Picture)):
        with pytest.raises(MediaError):
            require_picture(other)


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


@pytest.mark.parametrize(
    ("alpha", "mime", "code"),
    [
        (np.zeros((32, 48), np.uint8), "image/jpeg", "MEDIA-UNSUPPORTED"),
        (np.zeros((32, 47), np.uint8), "image/png", "SHAPE"),
        (np.zeros((32, 48), np.float32), "image/webp", "SHAPE"),
    ],
)
def test_encode_refuses_an_alpha_plane_it_cannot_write(alpha: Any, mime: Any, code: str) -> None:
    with pytest.raises((MediaError, ShapeError)) as caught:
        encode(truth(), mime, alpha=alpha)
    assert caught.value.code == code


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_tags_are_read_in_both_byte_orders(order: str) -> None:
    head = b"II*\x00" if order == "<" else b"MM\x00*"
    short = struct.pack(order + "HHIHH", 0x0112, 3, 1, 7, 0)
    exif = head + struct.pack(order + "IH", 8, 1) + short
    assert read_exif_tag(exif, 0x0112) == b"\x00\x07"
    assert read_exif_tag(exif, 0x9286) is None
    assert read_exif_tag(exif[:-8], 0x0112) is None
    pointer = struct.pack(order + "HHII", 0x8769, 4, 1, 26)
    text = struct.pack(order + "HHII", 0x9286, 7, 6, 44)
    whole = head + struct.pack(order + "IH", 8, 1) + pointer + bytes(4)
    whole += struct.pack(order + "H", 1) + text + bytes(4) + b"spoken"
    assert read_exif_tag(whole, 0x9286) == b"spoken"
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
        (after_header("plain.png", chunk(b"iCCP", b"name\x00\x00zz")), "MEDIA-UNDECODABLE"),
        (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b""),
            "MEDIA-UNDECODABLE",
        ),
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
