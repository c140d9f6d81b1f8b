"""Write every vector of this folder anew: `python tests/vectors/media/regenerate.py`.

Except `marked_spread_v2.webp`: it stands for pictures released in the past, so it was written once
and no change of code may change it (README.md says how it was made).
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

HERE = Path(__file__).parent


def gradient() -> np.ndarray:
    """RGB uint8 (32, 48, 3), different in every direction, so that turns show."""
    y, x = np.mgrid[0:32, 0:48]
    return np.stack([x * 5, y * 7, 255 - x * 3 - y * 2], axis=-1).astype(np.uint8)


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def xyz(*values: float) -> bytes:
    return b"XYZ \x00\x00\x00\x00" + fixed(*values)


def curve(*points: int) -> bytes:
    """A tone curve of an ICC profile: one number is a power in 1/256, more are its points."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(points)}H", len(points), *points)


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of ICC.1:2001-04, version 2.4, with nothing in it but the tags that say colour."""
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        whole = value + bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(whole))
        body += whole
    head = struct.pack(">I4xI4s4s4s", at + len(body), 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s28x", 2026, 1, 1, 0, 0, 0, b"acsp") + fixed(0.9642, 1, 0.8249)
    return head + bytes(128 - len(head)) + table + body


def colour_profile(primaries: tuple[tuple[float, float, float], ...], tone: bytes) -> bytes:
    named = {bytes([c]) + b"XYZ": xyz(*one) for c, one in zip(b"rgb", primaries, strict=True)}
    return icc(b"RGB ", named | {bytes([c]) + b"TRC": tone for c in b"rgb"})


# Primaries adapted to D50, as their makers write them.
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
WIDE = colour_profile(DISPLAY_P3, curve(563))
BACKWARDS = colour_profile(SRGB, curve(65535, 0))
# The curve of IEC 61966-2-1, from coded values to light.
SRGB_LIGHT = [
    round(65535 * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4))
    for v in (step / 1023 for step in range(1024))
]
USUAL = colour_profile(SRGB, curve(*SRGB_LIGHT))
DARK_GREY = icc(b"GRAY", {b"kTRC": curve(1024)})


def profiled() -> dict[str, bytes]:
    image = Image.fromarray(gradient())
    sharp: dict[str, Any] = {"quality": 95, "subsampling": 0}
    return {
        "display_p3.png": save(image, "PNG", icc_profile=WIDE),
        "display_p3.jpg": save(image, "JPEG", icc_profile=WIDE, **sharp),
        "display_p3.webp": save(image, "WEBP", icc_profile=WIDE, lossless=True),
        "srgb_profile.jpg": save(image, "JPEG", icc_profile=USUAL, **sharp),
        "backwards_profile.png": save(image, "PNG", icc_profile=BACKWARDS),
        "grey_profile.png": save(image.convert("L"), "PNG", icc_profile=DARK_GREY),
        "broken_profile.jpg": save(image, "JPEG", icc_profile=WIDE[:200], **sharp),
        "wrong_profile.jpg": save(image.convert("CMYK"), "JPEG", icc_profile=WIDE, **sharp),
    }


def clear() -> dict[str, bytes]:
    """Pictures with an alpha plane that falls from opaque to clear, left to right."""
    rgb = gradient()
    alpha = np.tile((255 - np.arange(48) * 255 // 40).clip(0), (32, 1)).astype(np.uint8)
    soft = Image.fromarray(np.dstack([rgb, alpha]))
    grey = Image.fromarray(rgb).convert("L")
    grey.putalpha(Image.fromarray(alpha))
    return {
        "soft_alpha.png": save(soft, "PNG"),
        "soft_alpha.webp": save(soft, "WEBP", lossless=True, exact=True),
        "turned_alpha.png": save(soft, "PNG", exif=exif(6)),
        "grey_alpha.png": save(grey, "PNG"),
    }


def hiding() -> dict[str, bytes]:
    """Pictures that are something else as well."""
    image = Image.fromarray(gradient())
    jpeg, plain = save(image, "JPEG", quality=95, subsampling=0), save(image, "PNG")
    page = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    script = b"Comment\x00<script>alert(1)</script>"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(zipfile.ZipInfo("run.txt", (2026, 1, 1, 0, 0, 0)), b"hidden")
    return {
        "pdf_too.jpg": jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(page)) + page + jpeg[2:],
        "html_too.png": plain[:33] + chunk(b"tEXt", script) + plain[33:],
        "zip_too.png": plain + archive.getvalue(),
        "motion.jpg": jpeg + b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
        "text_bomb.png": png(
            48,
            32,
            8,
            0,
            (b"\x00" + b"\x7f" * 48) * 32,
            chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(20_000_000), 9)),
        ),
    }


def good() -> dict[str, bytes]:
    rgb = gradient()
    image = Image.fromarray(rgb)
    wide = ((rgb.astype(np.uint16) << 8) | 0x42).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    grey = np.asarray(image.convert("L")).astype(np.uint16) << 8
    jpeg = save(image, "JPEG", quality=95, subsampling=0)
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    return {
        "plain.jpg": jpeg,
        "progressive.jpg": save(image, "JPEG", quality=95, subsampling=0, progressive=True),
        "plain.png": save(image, "PNG"),
        "plain.webp": save(image, "WEBP", quality=95),
        "lossless.webp": save(image, "WEBP", lossless=True),
        "grey.png": save(image.convert("L"), "PNG"),
        "palette.png": save(image.quantize(64), "PNG"),
        "sixteen_bit.png": save(Image.fromarray(grey), "PNG"),
        "sixteen_bit_colour.png": png(48, 32, 16, 2, rows),
        "cmyk.jpg": save(image.convert("CMYK"), "JPEG", quality=95, subsampling=0),
        "opaque_alpha.png": save(Image.fromarray(opaque), "PNG"),
        "rotated_exif.jpg": save(image, "JPEG", quality=95, subsampling=0, exif=exif(6)),
        "mirrored_exif.png": save(image, "PNG", exif=exif(5)),
        "turned_exif.webp": save(image, "WEBP", lossless=True, exif=exif(8)),
        "trailing_zip.jpg": jpeg + b"PK\x03\x04 this is not a picture",
    }


def bad() -> dict[str, bytes]:
    rgb = gradient()
    image = Image.fromarray(rgb)
    other = Image.fromarray(255 - rgb)
    twice: dict[str, Any] = {"save_all": True, "append_images": [other], "duration": 100}
    clear = Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 254, np.uint8)]))
    row = b"\x00" + b"\x7f" * 16
    jpeg, plain = save(image, "JPEG", quality=95), save(image, "PNG")
    webp = save(image, "WEBP", quality=95)
    text = b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(b" " * 3_000_000, 9)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x63\x00\x00\x63\x00\x00"
    return {
        "empty.jpg": b"",
        "text_named.jpg": b"This is a letter, whatever its name says.\n",
        "animated.gif": save(image.quantize(16), "GIF", **twice),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n',
        "brand.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        "animated.webp": save(image, "WEBP", **twice),
        "animated.png": save(image, "PNG", **twice),
        "brand.avif": b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
        "brand.mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
        "profile_bomb.png": png(
            16,
            16,
            8,
            0,
            row * 16,
            chunk(b"iCCP", b"p\x00\x00" + zlib.compress(bytes(3_000_000), 9)),
        ),
        "sixteen_bit_key.png": png(
            16,
            16,
            16,
            2,
            (b"\x00" + b"\x12\x34" * 48) * 16,
            chunk(b"tRNS", b"\x12\x34" * 3),
        ),
        "huge.png": png(13_000, 13_000, 1, 0, bytes(1 + 13_000 // 8) * 13_000),
        "image_bomb.png": png(50_000, 50_000, 8, 2, b""),
        "strip.png": png(16, 336, 8, 0, row * 336),
        "one_pixel.png": png(1, 1, 8, 0, b"\x00\x00"),
        "transparent.png": save(clear, "PNG"),
        "transparent_key.png": png(16, 16, 8, 0, row * 16, chunk(b"tRNS", b"\x00\x7f")),
        "transparent.webp": save(clear, "WEBP", quality=95),
        "truncated.jpg": jpeg[: len(jpeg) * 6 // 10],
        "truncated.png": plain[: len(plain) * 6 // 10],
        "truncated.webp": webp[: len(webp) * 6 // 10],
        "bad_crc.png": plain[:29] + b"\x00\x00\x00\x00" + plain[33:],
        "inflated_text.png": png(16, 16, 8, 0, row * 16, chunk(b"iTXt", text)),
        "two_sizes.webp": riff(canvas + webp[12:]),
        "no_frame.jpg": b"\xff\xd8\xff\xe0\x00\x04\x00\x00\xff\xd9",
        "short_stream.webp": riff(b"VP8 " + struct.pack("<I", 100) + webp[20:120]),
    }


def million_frames() -> bytes:
    """An MP4 of ten frames whose tables of times, sizes and chunks say that it has a million."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(10):
            frame = np.roll(gradient(), number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    data, million = bytearray(out.getvalue()), struct.pack(">I", 1_000_000)
    # ISO/IEC 14496-12, sections 8.6.1.2, 8.7.3.2 and 8.7.4: the counts stand at these places.
    for box, at in ((b"stts", 12), (b"stsz", 12), (b"stsc", 16)):
        start = data.index(box) + at
        data[start : start + 4] = million
    size = data.index(b"stsz") + 8
    data[size : size + 4] = struct.pack(">I", 8)
    return bytes(data)


def main() -> None:
    (HERE / "million_frames.mp4").write_bytes(million_frames())
    for name, data in (good() | profiled() | clear() | hiding() | bad()).items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
