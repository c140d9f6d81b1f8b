"""The store of a file is found whole in every format we sign, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import provenance.embedding
from policies.errors import Malformed
from provenance.asset import AssetMime
from provenance.containers import Mime
from provenance.embedding import find_store

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def box(kind: bytes, inner: bytes = b"") -> bytes:
    return (8 + len(inner)).to_bytes(4, "big") + kind + inner


def film(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"isom") + b"".join(boxes)


def stored(purpose: bytes, store: bytes) -> bytes:
    return box(b"uuid", C2PA + bytes(4) + purpose + b"\x00" + bytes(8) + store)


def test_store_of_a_video_is_found(tmp_path: Path) -> None:
    data = film(
        box(b"uuid", bytes(16)),
        stored(b"merkle", b"other"),
        stored(b"manifest", b"the store"),
        box(b"moov"),
    )
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    assert find_store(data, "video/mp4") == find_store(path, "video/mp4") == b"the store"


def test_picture_on_disk_is_read(gallery: Any, tmp_path: Path) -> None:
    one = gallery[1]["image/png"]
    path = tmp_path / "picture.png"
    path.write_bytes(one.data)
    assert find_store(path, "image/png") == find_store(one.data, "image/png")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        film(),
        film(stored(b"manifest", b"a"), stored(b"manifest", b"b")),
        film(stored(b"manifest", b"a"))[:-1],
        film(box(b"uuid", C2PA + bytes(4) + b"manifest")),
    ],
    ids=["empty", "none", "two", "cut", "no purpose"],
)
def test_video_with_another_number_of_stores_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        find_store(data, "video/mp4")


def test_nothing_is_read_behind_a_second_store_or_of_one_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = provenance.embedding.load_box

    def load_box(file: Any, box: Any, cap: int) -> bytes:
        read.append(box.end - box.start)
        return real(file, box, cap)

    monkeypatch.setattr(provenance.embedding, "load_box", load_box)
    path = tmp_path / "film.mp4"
    one, other = stored(b"manifest", b"a"), stored(b"merkle", b"b")
    path.write_bytes(film(other, *[one] * 50, box(b"uuid", bytes(99))))
    with pytest.raises(Malformed, match="this has more"):
        find_store(path, "video/mp4")
    assert read == [len(other), len(one), len(one)]
    monkeypatch.setattr(provenance.embedding, "MAX_STORE_BYTES", 8)
    path.write_bytes(film(stored(b"manifest", bytes(100))))
    with pytest.raises(Malformed) as caught:
        find_store(path, "video/mp4")
    assert "more than 72 bytes" in str(caught.value.__cause__)


def test_boxes_of_others_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.embedding, "MAX_STORE_BYTES", 8)
    data = film(box(b"uuid", bytes(1_000)), stored(b"manifest", b"a store"))
    assert find_store(data, "video/mp4") == b"a store"


@pytest.mark.parametrize("mime", ["image/png", "video/mp4"])
def test_missing_file_is_refused(tmp_path: Path, mime: AssetMime) -> None:
    with pytest.raises(Malformed, match="does not hold together"):
        find_store(tmp_path / "missing", mime)


def test_store_has_a_largest_size(gallery: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = gallery[1]["image/png"]
    size = len(find_store(one.data, "image/png"))
    monkeypatch.setattr(provenance.embedding, "MAX_STORE_BYTES", size)
    assert find_store(one.data, "image/png")
    monkeypatch.setattr(provenance.embedding, "MAX_STORE_BYTES", size - 1)
    with pytest.raises(Malformed, match="at most"):
        find_store(one.data, "image/png")


def test_file_has_one_store(gallery: Any) -> None:
    _studio, released = gallery
    jpeg, png, webp = (released[f"image/{kind}"].data for kind in ("jpeg", "png", "webp"))
    at = png.index(b"caBX") - 4
    chunk = png[at : at + 12 + int.from_bytes(png[at : at + 4], "big")]
    at = jpeg.index(b"\xff\xeb")
    segment = jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")]
    other = segment[:6] + b"\x00\x07" + segment[8:]
    many: dict[Mime, tuple[bytes, ...]] = {
        "image/png": (png.replace(chunk, chunk * 2), png.replace(chunk, b"")),
        "image/jpeg": (
            jpeg.replace(segment, segment * 2),
            jpeg.replace(segment, segment + other),
            jpeg.replace(segment, b""),
            jpeg[:400],
        ),
        "image/webp": (webp.replace(b"C2PA", b"XXXX"),),
    }
    for mime, files in many.items():
        for data in files:
            with pytest.raises(Malformed):
                find_store(data, mime)


def test_store_in_several_segments_is_put_together() -> None:
    store = box(b"jumb", bytes(range(100)))
    head, rest = store[:8], store[8:]
    pieces = [(2, head + rest[40:]), (1, head + rest[:40])]
    segments = b"".join(
        b"\xff\xeb"
        + (10 + len(body)).to_bytes(2, "big")
        + b"JP\x00\x01"
        + place.to_bytes(4, "big")
        + body
        for place, body in pieces
    )
    foreign = b"\xff\xeb\x00\x06ABCD" + b"\xff\xeb\x00\x04JP"
    assert find_store(b"\xff\xd8" + foreign + segments + b"\xff\xd9", "image/jpeg") == store
