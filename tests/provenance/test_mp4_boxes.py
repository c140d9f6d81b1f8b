"""Few boxes and not deep, or no native code sees the file; the limits hold on every level."""

from __future__ import annotations

import functools
import io

import pytest

from provenance import mp4_boxes
from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.errors import Truncated, Undecodable, Unsupported
from provenance.mp4_boxes import MAX_BOXES, MAX_DEPTH, file_boxes, require_few_boxes
from provenance.reading import ManifestReading
from provenance.second_engine import SecondEngine, SecondReading
from provenance.trust import NO_LISTS

NOBODY = TrustAnchors(())


def box(kind: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return (len(body) + 8 if size is None else size).to_bytes(4, "big") + kind + body


START = box(b"ftyp", b"isom" + bytes(4))
FREE = box(b"free")


def check(data: bytes) -> None:
    require_few_boxes(io.BytesIO(data))


def nest(*kinds: bytes, inner: bytes) -> bytes:
    return functools.reduce(lambda body, kind: box(kind, body), reversed(kinds), inner)


HOLDERS = [
    (b"moov",),
    (b"moov", b"trak", b"mdia", b"minf", b"stbl"),
    (b"moov", b"trak", b"mdia", b"minf", b"dinf"),
    (b"moov", b"trak", b"edts"),
    (b"moov", b"trak", b"tref"),
    (b"moov", b"udta"),
    (b"moov", b"mvex"),
    (b"moof", b"traf"),
    (b"mfra",),
    (b"schi",),
    (b"treg",),
]


@pytest.mark.parametrize("kinds", [(), *HOLDERS], ids=lambda kinds: b".".join(kinds).decode())
def test_boxes_are_counted_on_every_level(
    kinds: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp4_boxes, "MAX_BOXES", 20)
    left = 20 - 1 - len(kinds)
    check(START + nest(*kinds, inner=FREE * left))
    with pytest.raises(Undecodable, match="more than 20 boxes"):
        check(START + nest(*kinds, inner=FREE * (left + 1)))
    with pytest.raises(Undecodable, match="more than 20 boxes"):
        check(START + nest(*kinds, inner=FREE * left) + FREE)


@pytest.mark.parametrize(
    "head",
    [bytes(4), bytes(4) + box(b"hdlr", bytes(4)), box(b"hdlr", bytes(4))],
    ids=["bare", "iso", "quicktime"],
)
def test_boxes_of_metadata_are_counted_in_both_forms(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp4_boxes, "MAX_BOXES", 20)
    check(START + box(b"meta", head + FREE * 17))
    with pytest.raises(Undecodable, match="more than 20 boxes"):
        check(START + box(b"meta", head + FREE * 19))


def test_media_and_unknown_boxes_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_boxes, "MAX_BOXES", 3)
    check(START + box(b"mdat", FREE * 100) + box(b"uuid", FREE * 100))


def test_boxes_in_boxes_have_a_depth() -> None:
    check(START + nest(*[b"moov"] * (MAX_DEPTH - 1), inner=b""))
    with pytest.raises(Undecodable, match="deep"):
        check(START + nest(*[b"moov"] * MAX_DEPTH, inner=b""))


@pytest.mark.parametrize(
    "data",
    [
        START,
        START + bytes(7),
        START + box(b"moov", FREE + bytes(4)),
        START + box(b"moov", box(b"free", bytes(99), size=0)),
        START + box(b"mdat", bytes(99), size=0),
        START + box(b"mdat", bytes(99), size=1_000_000),
        START + b"\x00\x00\x00\x01mdat" + (24).to_bytes(8, "big") + bytes(8),
    ],
    ids=["bare", "rest", "padding", "to the end inside", "to the end", "cut", "64 bit"],
)
def test_what_real_files_have_is_let_pass(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (START + box(b"moov", FREE, size=1_000_000), Truncated),
        (START + box(b"moov", box(b"free", size=80)) + FREE * 9, Truncated),
        (START + box(b"moov", box(b"moov", size=80)) + FREE * 9, Truncated),
        (START + box(b"free", size=7), Undecodable),
        (START + box(b"moov", box(b"free", size=7)), Undecodable),
        (START + b"\x00\x00\x00\x01free" + (15).to_bytes(8, "big"), Undecodable),
    ],
    ids=["cut", "overrun", "overrun by a holder", "small", "small inside", "small 64 bit"],
)
def test_boxes_that_run_out_of_each_other_are_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(data)


def test_outermost_boxes_are_those_of_a_video() -> None:
    assert [one.kind for one in file_boxes(io.BytesIO(START + FREE))] == [b"ftyp", b"free"]
    with pytest.raises(Unsupported, match="ftyp"):
        list(file_boxes(io.BytesIO(b"GIF89a")))


class Counting(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("kinds", [(), (b"moov",)], ids=["outermost", "inside"])
def test_a_million_boxes_are_refused_at_once(kinds: tuple[bytes, ...]) -> None:
    """Such a file of 8 MB kept the C2PA library busy for more than minutes (measured)."""
    data = START + nest(*kinds, inner=FREE * 1_000_000)
    file = Counting(data)
    with pytest.raises(Undecodable, match=f"more than {MAX_BOXES} boxes"):
        require_few_boxes(file)
    assert file.reads <= MAX_BOXES + 2
    reading = read_manifest(data, "video/mp4", anchors=NOBODY)
    assert reading == ManifestReading("unreadable", detail="the file has more than 10000 boxes")


def test_the_second_engine_does_not_see_it_either() -> None:
    engine = SecondEngine(lambda *_, **__: pytest.fail("it was asked"))
    found = engine.read(START + FREE * (MAX_BOXES + 1), "video/mp4", anchors=NOBODY, lists=NO_LISTS)
    assert found == SecondReading("unreadable", ())
