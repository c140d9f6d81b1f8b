"""Watermark id, fingerprint and content lead to manifests; content only where pixels agree."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import cv2
import pytest

from policies.errors import Malformed
from provenance.bindings import Binding, Bindings, Match, read_binding
from provenance.errors import MediaError, TooLarge
from provenance.exchange import Coded
from provenance.fingerprints import ALG
from provenance.media import DEFAULT_LIMITS, decode, encode
from provenance.pixels import Pixels, load

MARK = "org.facewarrant.spread.1"


@pytest.fixture
def bindings(gallery: Any) -> Bindings:
    studio = gallery[0]
    return Bindings(studio.registry, studio.store, studio.watermark)


@pytest.fixture
def released(gallery: Any) -> Any:
    return gallery[1]["image/png"]


@pytest.fixture
def row(gallery: Any, released: Any) -> Any:
    return gallery[0].registry.by_mark(released.mark_id)


def stripped(data: bytes, side: int = 0) -> bytes:
    """The pixels alone; with `side` so small that no mark can be read."""
    frame = decode(data).frame
    if side:
        frame = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
    return encode(frame, "image/jpeg")


def test_values_are_base64(row: Any) -> None:
    text = base64.b64encode(b"\x00\xff").decode()
    assert read_binding(MARK, text) == Binding(MARK, b"\x00\xff")
    for wrong in ("\xe9", "AB", "A===", "AA==\n"):
        with pytest.raises(Malformed) as caught:
            read_binding(MARK, wrong)
        assert caught.value.code == "MALFORMED"


def test_ids_and_fingerprints_are_looked_up(bindings: Bindings, row: Any) -> None:
    mark = Binding(MARK, bytes.fromhex(row.mark_id))
    assert bindings.by_binding(mark, limit=10) == (Match(row.manifest_id),)
    looks = Binding(ALG, bytes.fromhex(row.fingerprint))
    assert bindings.by_binding(looks, limit=10) == (Match(row.manifest_id, 100),)
    assert bindings.by_binding(Binding(MARK, b"\x00"), limit=10) == ()
    assert bindings.by_binding(Binding(ALG, bytes(32)), limit=10) == ()


@pytest.mark.parametrize("wrong", [Binding(ALG, bytes(31)), Binding("com.else.1", b"")])
def test_other_values_and_algorithms_are_refused(bindings: Bindings, wrong: Binding) -> None:
    with pytest.raises(Malformed):
        bindings.by_binding(wrong, limit=10)
    with pytest.raises(Malformed):
        bindings.by_content(b"", limit=10, hint=wrong)


@pytest.mark.parametrize("alg", ["", MARK, ALG])
def test_a_copy_is_found_by_its_content(
    bindings: Bindings, released: Any, row: Any, alg: str
) -> None:
    found = bindings.by_content(stripped(released.data), limit=10, alg=alg)
    assert [match.manifest_id for match in found] == [row.manifest_id]
    assert found[0].score is not None
    assert found[0].score >= 95


def test_without_a_readable_mark_the_fingerprint_finds_it(
    bindings: Bindings, released: Any, row: Any
) -> None:
    copy = stripped(released.data, 160)
    assert bindings.by_content(copy, limit=10, alg=MARK) == ()
    assert [m.manifest_id for m in bindings.by_content(copy, limit=10)] == [row.manifest_id]
    assert bindings.by_content(copy, limit=0) == ()


def test_a_hint_counts_only_where_the_picture_agrees(
    bindings: Bindings, released: Any, row: Any, demo_picture: Any
) -> None:
    mark, looks = bytes.fromhex(row.mark_id), bytes.fromhex(row.fingerprint)
    copy = stripped(released.data, 160)
    for hint in (Binding(MARK, mark), Binding(ALG, looks)):
        found = bindings.by_content(copy, limit=10, alg=MARK, hint=hint)
        assert [m.manifest_id for m in found] == [row.manifest_id]
        assert bindings.by_content(demo_picture("persona1_0"), limit=10, hint=hint) == ()
    for nothing in (Binding(MARK, b"\x01"), Binding(ALG, bytes(32))):
        assert bindings.by_content(copy, limit=10, alg=MARK, hint=nothing) == ()


def test_what_is_no_picture_is_refused(bindings: Bindings, released: Any) -> None:
    with pytest.raises(MediaError):
        bindings.by_content(b"no picture", limit=10)
    small = dataclasses.replace(bindings, limits=dataclasses.replace(DEFAULT_LIMITS, pixels=1000))
    with pytest.raises(TooLarge):
        small.by_content(released.data, limit=10)
    with pytest.raises(Malformed):
        bindings.by_content(released.data, limit=10, alg="com.else.1")


def test_what_is_sent_is_decoded_by_the_loader_that_was_given(
    bindings: Bindings, released: Any, row: Any
) -> None:
    """Kept outputs are our own and are decoded here; a stranger's picture goes elsewhere."""
    seen: list[Coded] = []

    def spy(coded: Coded) -> Pixels:
        seen.append(coded)
        return load(coded)

    copy = stripped(released.data)
    found = dataclasses.replace(bindings, load=spy).by_content(copy, limit=1)
    assert [match.manifest_id for match in found] == [row.manifest_id]
    assert [coded.mime for coded in seen] == ["image/jpeg"]


def test_without_a_watermark_key_only_fingerprints_are_known(
    bindings: Bindings, released: Any, row: Any
) -> None:
    bare = dataclasses.replace(bindings, watermark=None)
    assert (bare.watermarks, bare.fingerprints) == ((), (ALG,))
    assert bindings.watermarks == (MARK,)
    assert bare.by_content(stripped(released.data), limit=1)[0].manifest_id == row.manifest_id
    with pytest.raises(Malformed) as caught:
        bare.by_binding(Binding(MARK, b""), limit=1)
    assert ALG in caught.value.mend


def test_manifests_are_handed_out_whole(gallery: Any, bindings: Bindings, row: Any) -> None:
    store = gallery[0].store.get(row.manifest_sha256)
    assert bindings.manifest(row.manifest_id) == store
    assert bindings.manifest("urn:c2pa:none") is None
