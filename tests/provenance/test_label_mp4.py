"""A label gets into an MP4 file without breaking it, wherever its index stands."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import label_mp4, mp4_boxes
from provenance.errors import LabelRefused, MediaError
from provenance.label_xmp import FACE_SWAP_SOURCE_TYPE
from provenance.labels import Labels, read_video_labels, write_video_labels, write_xmp
from provenance.pki import DevelopmentChain

VECTORS = Path(__file__).parents[1] / "vectors" / "labels"
SAID: dict[str, Any] = {"provider": "Prüf", "output_id": "0123456789ab"}
FIELDS: dict[str, Any] = SAID | {
    "system": "FaceWarrant",
    "version": "1",
    "created_at": datetime(2026, 11, 21, tzinfo=UTC),
}
XMP = write_xmp(**FIELDS, aigc=False)
VALUE = (
    '{"Label":"1","ContentProducer":"Prüf","ProduceID":"0123456789ab","ReservedCode1":"",'
    '"ContentPropagator":"","PropagateID":"","ReservedCode2":""}'
)
NONE = (VECTORS / "none.mp4").read_bytes()
C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def box(kind: bytes, body: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I", len(body) + 8) + kind + body


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of some bytes as (kind, body)."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def join(boxes: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(box(kind, body) for kind, body in boxes)


def edit_moov(data: bytes, edit: Any) -> bytes:
    return join([(k, join(edit(split(b))) if k == b"moov" else b) for k, b in split(data)])


def table(
    *, kind: bytes, offsets: list[int], extra: bytes = b"", count: int | None = None
) -> bytes:
    """A moov with one track that has nothing but a table of chunk offsets."""
    form = f">{len(offsets)}{'Q' if kind == b'co64' else 'I'}"
    number = len(offsets) if count is None else count
    body = box(kind, struct.pack(">II", 0, number) + struct.pack(form, *offsets)) + extra
    for outer in (b"stbl", b"minf", b"mdia", b"trak"):
        body = box(outer, body)
    return body


def index_first(data: bytes) -> bytes:
    """Put moov before mdat, as for streaming, with offsets that fit."""
    boxes = dict(split(data))
    moov, ftyp = boxes[b"moov"], box(b"ftyp", boxes[b"ftyp"])
    at = moov.index(b"stco")
    (old,) = struct.unpack_from(">I", moov, at + 12)
    assert struct.unpack_from(">I", moov, at + 8) == (1,)
    old_start = data.index(b"mdat") + 4
    new = len(ftyp) + len(moov) + 8 + 8 + old - old_start
    moov = moov[: at + 12] + struct.pack(">I", new) + moov[at + 16 :]
    return ftyp + box(b"moov", moov) + box(b"mdat", boxes[b"mdat"])


def write(data: bytes, **changes: Any) -> bytes:
    out = io.BytesIO()
    write_video_labels(io.BytesIO(data), out, **{"xmp": XMP} | SAID | changes)
    return out.getvalue()


def read(data: bytes) -> Labels | None:
    return read_video_labels(io.BytesIO(data))


def frames(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("first", [False, True], ids=["index last", "index first"])
@pytest.mark.parametrize("name", ["none.mp4", "keys_wrapped.mov"])
def test_a_label_is_read_by_ffmpeg_and_every_frame_stays(name: str, first: bool) -> None:
    data = (VECTORS / name).read_bytes()
    if name == "keys_wrapped.mov":
        data = data.replace(b"mdtaAIGC", b"mdtaABCD")
    if first:
        data = index_first(data)
    out = write(data)
    with av.open(io.BytesIO(out)) as container:
        assert container.metadata["AIGC"] == VALUE
        assert ("ABCD" in container.metadata) is (name == "keys_wrapped.mov")
    before, after = frames(data), frames(out)
    assert len(before) == len(after) == 3
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    found = read(out)
    assert found is not None
    assert (found.problems, found.undisclosed, found.claims_ai) == ((), (), True)
    assert {(s.where, s.name == "aigc") for s in found.said} == {
        ("keys in moov.udta.meta", True),
        ("uuid XMP", False),
    }


def test_the_boxes_are_those_that_ffmpeg_writes_itself() -> None:
    """Byte for byte, apart from the encoder's own key."""
    theirs = (VECTORS / "keys.mp4").read_bytes()
    ours = write(NONE)
    start = theirs.index(b"meta\x00")
    assert theirs[start : start + 41] == ours[ours.index(b"meta\x00") :][:41]
    assert b"\x00\x00\x00\x0cmdtaAIGC" in theirs
    assert b"\x00\x00\x00\x0cmdtaAIGC" in ours
    head = b"data\x00\x00\x00\x01\x00\x00\x00\x00{"
    assert head in theirs
    assert head in ours


def test_offsets_before_the_index_stay_and_those_behind_move() -> None:
    udta_free = box(b"ftyp", b"isom0000") + box(b"free", bytes(100))
    for kind in (b"stco", b"co64"):
        moov = box(b"moov", table(kind=kind, offsets=[50, 5_000]))
        data = udta_free + moov + box(b"mdat", bytes(9_000))
        out = write(data)
        grown = split(out)[2][1]
        at = grown.index(kind) + 4 + 8
        form = ">QQ" if kind == b"co64" else ">II"
        by = out.index(b"mdat") - data.index(b"mdat")
        assert by > 0
        assert struct.unpack_from(form, grown, at) == (50, 5_000 + by)


def test_a_wide_index_header_and_quicktime_metadata_are_understood() -> None:
    keys = box(b"keys", struct.pack(">II", 0, 1) + box(b"mdta", b"AIGC"))
    item = box(
        b"ilst", box(struct.pack(">I", 1), box(b"data", bytes([0, 0, 0, 1] + [0] * 4) + b"{}"))
    )
    plain = box(b"meta", box(b"hdlr", bytes(24)) + keys + item)
    data = box(b"ftyp", b"qt  0000") + box(b"moov", plain, wide=True)
    found = read(data)
    assert found is not None
    assert [s.where for s in found.said] == ["keys in moov.meta"]
    assert "missing keys" in found.problems[0]
    xmp = box(b"moov", box(b"udta", box(b"XMP_", XMP) + bytes(4)))
    found = read(box(b"ftyp", b"qt  0000") + xmp)
    assert found is not None
    assert (found.provider, found.said[0].where) == ("Prüf", "moov.udta.XMP_")
    out = write(box(b"ftyp", b"qt  0000") + box(b"moov", bytes([0, 0, 0, 8]) + b"free", wide=True))
    assert read(out) is not None


@pytest.mark.parametrize("first", [False, True], ids=["index last", "index first"])
def test_a_signature_over_the_label_holds_and_ends_the_labelling(
    pki: DevelopmentChain, first: bool
) -> None:
    """Metadata before signature: c2pa moves the boxes once more and breaks neither."""
    settings_ = {
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
    }
    action = {"action": "c2pa.created", "digitalSourceType": FACE_SWAP_SOURCE_TYPE}
    definition = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}]}
    labelled, out = write(index_first(NONE) if first else NONE), io.BytesIO()

    def sign(claim: bytes) -> bytes:
        return pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256()))

    with (
        c2pa.Context.from_dict(settings_) as context,
        c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, pki.chain.pem, None) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.sign(signer, "video/mp4", io.BytesIO(labelled), out)
        with c2pa.Reader("video/mp4", out, context=context) as reader:
            assert reader.get_validation_state() == "Valid"
    signed = out.getvalue()
    assert read(signed) == read(labelled)
    assert all(np.array_equal(a, b) for a, b in zip(frames(NONE), frames(signed), strict=True))
    plain = signed.replace(b"mdtaAIGC", b"mdtaNONE")
    with pytest.raises(LabelRefused, match="it is signed"):
        write(plain)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d + box(b"moof", b""), "fragmented"),
        (lambda d: d + box(b"sidx", b""), "segmented"),
        (lambda d: d + box(b"meta", b""), "file level"),
        (lambda d: d + box(b"moov", b""), "exactly one index"),
        (lambda d: d.replace(b"moov", b"free"), "exactly one index"),
        (lambda d: d + box(b"uuid", C2PA), "signed"),
        (lambda d: d + bytes(4) + b"free" + bytes(9), "last box has no size"),
        (lambda d: d + box(b"uuid", bytes(16)) + box(b"mfra", b""), "fragmented"),
        (lambda _: (VECTORS / "itunes.mp4").read_bytes(), "iTunes form"),
        (lambda _: (VECTORS / "keys.mp4").read_bytes(), "carries an AIGC label already"),
        (
            lambda _: (
                box(b"ftyp", b"isom0000")
                + box(b"moov", table(kind=b"stco", offsets=[2**32 - 1]))
                + box(b"mdat", b"")
            ),
            "would not fit",
        ),
        (
            lambda _: (
                box(b"ftyp", b"isom0000")
                + box(b"moov", table(kind=b"stco", offsets=[], extra=box(b"saio", b"")))
            ),
            "encrypted",
        ),
    ],
)
def test_what_a_label_would_break_is_refused(edit: Any, words: str) -> None:
    out = io.BytesIO()
    with pytest.raises(LabelRefused) as caught:
        write_video_labels(io.BytesIO(edit(NONE)), out, xmp=XMP, **SAID)
    assert caught.value.code == "LABEL-REFUSED"
    assert words in caught.value.message
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "MEDIA-UNSUPPORTED"),
        (b"\x89PNG\r\n\x1a\n" * 4, "MEDIA-UNSUPPORTED"),
        (NONE[:-5], "MEDIA-TRUNCATED"),
        (NONE + b"\x00\x00", "MEDIA-TRUNCATED"),
        (NONE + b"\x00\x00\x00\x04free", "MEDIA-UNDECODABLE"),
        (box(b"ftyp", b"") + bytes([0, 0, 0, 1]) + b"free" + bytes(8), None),
        (
            box(b"ftyp", b"") + box(b"moov", box(b"udta", b"\x00\x00\x00\x05free")),
            "MEDIA-UNDECODABLE",
        ),
        (
            box(b"ftyp", b"") + box(b"moov", box(b"udta", b"\x00\x00\x01\x05free")),
            "MEDIA-TRUNCATED",
        ),
    ],
)
def test_broken_boxes_have_a_name(data: bytes, code: str | None) -> None:
    if code is None:
        assert read(data) is None
        return
    with pytest.raises(MediaError) as caught:
        read(data)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", [b"stco", b"co64"])
def test_broken_offset_tables_have_a_name(kind: bytes) -> None:
    short = box(kind, b"")
    for outer in (b"stbl", b"minf", b"mdia", b"trak"):
        short = box(outer, short)
    for moov in (table(kind=kind, offsets=[1], count=9), short):
        with pytest.raises(MediaError) as caught:
            write(box(b"ftyp", b"isom0000") + box(b"moov", moov))
        assert caught.value.code == "MEDIA-UNDECODABLE"


def test_other_user_data_is_kept() -> None:
    udta = box(b"udta", box(b"name", b"a name") + bytes(4))
    out = write(box(b"ftyp", b"isom0000") + box(b"moov", udta))
    assert box(b"name", b"a name") in out
    assert read(out) is not None


def test_hostile_metadata_is_a_problem() -> None:
    ftyp = box(b"ftyp", b"isom0000")
    found = read(ftyp + box(b"moov", box(b"udta", bytes(1_000_001))))
    assert found == Labels(problems=("udta: 1000001 bytes, the cap is 1000000",))
    uuid = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x/>")
    found = read(ftyp + uuid * 70)
    assert found == Labels(problems=("the file has more than 64 blocks for labels, not all read",))
    keys = box(b"keys", struct.pack(">II", 0, 1) + box(b"mdta", b"AIGC"))
    item = box(struct.pack(">I", 1), box(b"data", bytes(8) + b"x"))
    other = box(struct.pack(">I", 2), b"") + box(struct.pack(">I", 0), b"")
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + keys + box(b"ilst", item + other))
    found = read(ftyp + box(b"moov", box(b"udta", meta)))
    assert found == Labels(problems=("keys in moov.udta.meta: the AIGC item is no UTF-8 text",))
    bare = box(b"meta", bytes(4) + box(b"hdlr", bytes(24)))
    assert read(ftyp + box(b"moov", box(b"udta", bare))) is None
    assert read(write(ftyp + box(b"moov", box(b"udta", bare)))) is not None


def test_too_many_boxes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_boxes, "MAX_BOXES", 10)
    with pytest.raises(MediaError) as caught:
        read(NONE + box(b"free", b"") * 10)
    assert caught.value.code == "MEDIA-UNDECODABLE"


def test_too_large_an_index_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_mp4, "MAX_MOOV_BYTES", 100)
    with pytest.raises(MediaError) as caught:
        write(NONE)
    assert caught.value.code == "MEDIA-UNDECODABLE"


def test_a_file_that_shrinks_while_it_is_read_is_truncated() -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return (
                b"" if size is not None and size > 64 and self.tell() < 900 else super().read(size)
            )

    with pytest.raises(MediaError) as caught:
        write_video_labels(Shrinking(NONE), io.BytesIO(), xmp=XMP, **SAID)
    assert caught.value.code == "MEDIA-TRUNCATED"


@pytest.mark.parametrize("xmp", [write_xmp(**FIELDS), b"<x>", b""])
def test_a_packet_with_a_second_label_or_a_broken_one_is_not_written(xmp: bytes) -> None:
    with pytest.raises(LabelRefused, match="leave AIGC to the keys"):
        write(NONE, xmp=xmp)
    with pytest.raises(LabelRefused):
        write(NONE, provider="")


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_never_anything_but_a_media_error(draw: st.DataObject) -> None:
    data = bytearray(LABELLED)
    start = data.index(b"moov") - 4
    for _ in range(3):
        data[draw.draw(st.integers(start, len(data) - 1))] = draw.draw(st.integers(0, 255))
    for action in (read, write):
        try:
            action(bytes(data))
        except MediaError as error:
            assert error.code  # noqa: PT017 - any other error is the failure


LABELLED = write(NONE)
