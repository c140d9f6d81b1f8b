"""Write every vector of this folder anew: `python tests/vectors/media/regenerate.py`.

Except `marked_spread_v1.webp`: it stands for pictures released in the past, so it was written once
and no change of code may change it (README.md says how it was made).
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

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


def main() -> None:
    for name, data in (good() | bad()).items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
