"""Write every vector of this folder anew: `python tests/vectors/labels/regenerate.py`.

Labels in the forms that other writers use, and labels that no honest writer makes. Everything is
put together here by hand, without the code under test; the videos are written by FFmpeg.
"""

# ruff: noqa: E501 - a table: one vector a line
from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AIGC = {
    "Label": "1",
    "ContentProducer": "Other Studio",
    "ProduceID": "a1",
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}
BARE = json.dumps(AIGC)
WRAPPED = json.dumps({"AIGC": AIGC})
OTHER = json.dumps({"AIGC": AIGC | {"ProduceID": "b2"}})
QUOTED = BARE.replace('"', "&quot;")


def plain(kind: str) -> bytes:
    """A gradient, 24 x 16, without metadata."""
    y, x = np.mgrid[0:16, 0:24]
    frame = np.stack([x * 10, y * 15, 255 - x * 5], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(frame).save(out, kind, **({"xmp": b"<x/>"} if kind == "WEBP" else {}))
    return out.getvalue()


def packet(inside: str = "", attributes: str = "", outside: str = "") -> str:
    """An XMP packet with prefixes nobody expects."""
    return (
        '<a:xmpmeta xmlns:a="adobe:ns:meta/"><b:RDF '
        'xmlns:b="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:c="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:d="http://www.tc260.org.cn/ns/AIGC/1.0/" xmlns:e="http://ns.adobe.com/xap/1.0/" '
        'xmlns:f="http://purl.org/dc/elements/1.1/" xmlns:g="http://ns.adobe.com/photoshop/1.0/" '
        'xmlns:h="http://ns.adobe.com/xmp/note/" xmlns:i="http://ns.adobe.com/xap/1.0/mm/">'
        f'<b:Description b:about="" {attributes}>{inside}</b:Description>{outside}'
        "</b:RDF></a:xmpmeta>"
    )


def app1(data: bytes, *bodies: bytes) -> bytes:
    """A JPEG file with APP1 segments after its first segment."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + b"".join(
        b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies
    ) + data[at:]  # fmt: skip


def jpeg_xmp(text: str | bytes) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    return b"http://ns.adobe.com/xap/1.0/\x00" + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    data = plain("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def itxt(keyword: bytes, text: bytes, *, compressed: bool = False) -> bytes:
    flags = b"\x01\x00" if compressed else b"\x00\x00"
    return chunk(
        b"iTXt",
        keyword + b"\x00" + flags + b"\x00\x00" + (zlib.compress(text) if compressed else text),
    )


def exif(comment: bytes, order: str) -> bytes:
    """An EXIF block whose user comment stands behind both directories."""
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    second = struct.pack(order + "HHHII", 1, 0x9286, 7, len(comment), 44) + bytes(4)
    return head + first + second + comment


def webp(kind: bytes, body: bytes) -> bytes:
    data = plain("WEBP")
    body += bytes(len(body) % 2)
    data = data + kind + struct.pack("<I", len(body)) + body
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def extended(text: bytes, *, gap: int = 0, guid: bytes = b"", named: bool = True) -> bytes:
    """A JPEG file whose extended XMP lies in two segments, the second one first."""
    own = hashlib.md5(text, usedforsecurity=False).hexdigest().upper().encode()
    guid = guid or own
    half = len(text) // 2
    head = b"http://ns.adobe.com/xmp/extension/\x00" + guid + struct.pack(">I", len(text))
    main = packet(attributes=f'h:HasExtendedXMP="{guid.decode()}"' if named else "")
    return app1(
        plain("JPEG"),
        jpeg_xmp(main),
        head + struct.pack(">I", half + gap) + text[half:],
        head + struct.pack(">I", 0) + text[:half],
    )


def video(metadata: dict[str, str], *, form: str = "mp4", keys: bool = True) -> bytes:
    out = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if keys else {}
    with av.open(out, "w", format=form, options=options) as container:
        container.metadata.update(metadata)
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for level in range(3):
            frame = av.VideoFrame.from_ndarray(
                np.full((32, 32, 3), level * 60, np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
) + "]><x>&i;</x>"  # fmt: skip

FILES: dict[str, bytes] = {
    "attributes.jpg": app1(
        plain("JPEG"),
        jpeg_xmp(packet(attributes=f'd:AIGC="{QUOTED}" c:DigitalSourceType="{TYPES}trainedAlgorithmicMedia"')),
    ),
    "resource_https.png": png(
        itxt(b"XML:com.adobe.xmp", packet(
            f'<c:DigitalSourceType b:resource="{TYPES.replace("http", "https")}compositeSynthetic/"/>'
        ).encode(), compressed=True)
    ),
    "bare_code.webp": webp(b"XMP ", packet("<c:DigitalSourceType>trainedAlgorithmicMedia</c:DigitalSourceType>").encode()),
    "bag.jpg": app1(
        plain("JPEG"),
        jpeg_xmp(packet("<f:identifier><b:Bag><b:li>one</b:li></b:Bag></f:identifier><g:Credit>Other</g:Credit>")),
    ),
    "utf16_be.jpg": app1(plain("JPEG"), jpeg_xmp(("\ufeff" + packet(f"<d:AIGC>{BARE}</d:AIGC>")).encode("utf-16-be"))),
    "utf16_le_no_mark.jpg": app1(plain("JPEG"), jpeg_xmp(packet(f"<d:AIGC>{BARE}</d:AIGC>").encode("utf-16-le"))),
    "utf32.png": png(itxt(b"XML:com.adobe.xmp", packet(f"<d:AIGC>{BARE}</d:AIGC>").encode("utf-32"))),
    "extended.jpg": extended(packet(f"<d:AIGC>{BARE}</d:AIGC>").encode()),
    "exif_little.jpg": app1(plain("JPEG"), b"Exif\x00\x00" + exif(b"ASCII\x00\x00\x00" + WRAPPED.encode(), "<")),
    "exif_big.webp": webp(b"EXIF", exif(b"ASCII\x00\x00\x00" + WRAPPED.encode(), ">")),
    "exif_unicode_little.jpg": app1(plain("JPEG"), b"Exif\x00\x00" + exif(b"UNICODE\x00" + WRAPPED.encode("utf-16-le"), "<")),
    "exif_unicode_swapped.png": png(chunk(b"eXIf", exif(b"UNICODE\x00" + WRAPPED.encode("utf-16-le"), ">"))),
    "exif_no_charset.webp": webp(b"EXIF", b"Exif\x00\x00" + exif(WRAPPED.encode(), "<")),
    "text_wrapped.png": png(chunk(b"tEXt", b"AIGC\x00" + WRAPPED.encode())),
    "text_bare.png": png(chunk(b"tEXt", b"AIGC\x00" + BARE.encode())),
    "text_compressed.png": png(chunk(b"zTXt", b"AIGC\x00\x00" + zlib.compress(WRAPPED.encode()))),
    "text_international.png": png(itxt(b"AIGC", WRAPPED.encode())),
    "part_of_it.jpg": app1(
        plain("JPEG"),
        jpeg_xmp(packet(f'<i:DerivedFrom><b:Description c:DigitalSourceType="{TYPES}trainedAlgorithmicMedia"/></i:DerivedFrom>')),
    ),
    "disagree.png": png(itxt(b"XML:com.adobe.xmp", packet(f"<d:AIGC>{BARE}</d:AIGC>").encode()), chunk(b"tEXt", b"AIGC\x00" + OTHER.encode())),
    "disagree_exif.jpg": app1(
        plain("JPEG"),
        jpeg_xmp(packet(f"<c:DigitalSourceType>{TYPES}digitalCapture</c:DigitalSourceType>")),
        jpeg_xmp(packet(f"<c:DigitalSourceType>{TYPES}trainedAlgorithmicMedia</c:DigitalSourceType>")),
    ),
    "twice_alike.png": png(chunk(b"tEXt", b"AIGC\x00" + WRAPPED.encode()), itxt(b"AIGC", BARE.encode())),
    "entity_bomb.jpg": app1(plain("JPEG"), jpeg_xmp(BOMB)),
    "external_entity.jpg": app1(plain("JPEG"), jpeg_xmp('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>')),
    "deep.png": png(itxt(b"XML:com.adobe.xmp", b"<a>" * 100_000 + b"</a>" * 100_000, compressed=True)),
    "nul.jpg": app1(plain("JPEG"), jpeg_xmp(packet(f"<d:AIGC>{BARE}</d:AIGC><g:Credit>a\x00b</g:Credit>"))),
    "broken_behind.jpg": app1(plain("JPEG"), jpeg_xmp(packet(f"<d:AIGC>{BARE}</d:AIGC>", outside="<oops>"))),
    "not_utf8.jpg": app1(plain("JPEG"), jpeg_xmp(b"<x>\xff\xfe</x>")),
    "six_keys.png": png(chunk(b"tEXt", b"AIGC\x00" + json.dumps({k: v for k, v in AIGC.items() if k != "ProduceID"}).encode())),
    "eighth_key.png": png(chunk(b"tEXt", b"AIGC\x00" + json.dumps(AIGC | {"\x1b[31m": ""}).encode())),
    "key_twice.png": png(chunk(b"tEXt", b"AIGC\x00" + BARE[:-1].encode() + b', "Label": "2"}')),
    "nested_json.png": png(chunk(b"zTXt", b"AIGC\x00\x00" + zlib.compress(b"[" * 16_000))),
    "inflated.png": png(chunk(b"zTXt", b"AIGC\x00\x00" + zlib.compress(b" " * 3_000_000, 9))),
    "extended_gap.jpg": extended(packet(f"<d:AIGC>{BARE}</d:AIGC>").encode(), gap=7),
    "extended_digest.jpg": extended(packet(f"<d:AIGC>{BARE}</d:AIGC>").encode(), guid=b"0" * 32),
    "extended_unnamed.jpg": extended(packet(f"<d:AIGC>{BARE}</d:AIGC>").encode(), named=False),
    "many.jpg": app1(plain("JPEG"), *[jpeg_xmp("<x/>")] * 70),
    "escape.jpg": app1(plain("JPEG"), jpeg_xmp(packet("<e:CreateDate>\u202e2026 \u009b31m</e:CreateDate>"))),
    "keys.mp4": video({"AIGC": BARE}),
    "keys_wrapped.mov": video({"AIGC": WRAPPED}, form="mov"),
    "itunes.mp4": video({"title": "a title"}, keys=False),
    "none.mp4": video({}, keys=False),
}  # fmt: skip


def main() -> None:
    for name, data in FILES.items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
