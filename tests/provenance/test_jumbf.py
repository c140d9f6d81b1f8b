"""A store is cut to its active manifest, or refused; never read past its own boxes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import Malformed
from provenance.jumbf import cut_active


def box(kind: bytes, inner: bytes = b"") -> bytes:
    return (8 + len(inner)).to_bytes(4, "big") + kind + inner


DESCRIPTION = box(b"jumd", b"c2pa")


def test_the_last_manifest_is_left() -> None:
    first, last = box(b"jumb", b"first"), box(b"jumb", b"the last")
    whole = box(b"jumb", DESCRIPTION + first + last)
    assert cut_active(whole) == box(b"jumb", DESCRIPTION + last)
    assert cut_active(cut_active(whole)) == cut_active(whole)


def test_a_real_store_is_cut_to_its_own_manifest(gallery: Any) -> None:
    studio, released = gallery
    for one in released.values():
        row = studio.registry.by_mark(one.mark_id)
        store = studio.store.get(row.manifest_sha256)
        active = cut_active(store)
        assert len(active) <= len(store)
        assert one.manifest_id.encode() in active


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        box(b"jumd"),
        box(b"jumb"),
        box(b"jumb", DESCRIPTION),
        box(b"jumb", box(b"jumb") + box(b"jumb")),
        box(b"jumb", DESCRIPTION + box(b"jumb")) + box(b"jumb"),
        box(b"jumb", DESCRIPTION + box(b"jumb"))[:-1],
        box(b"jumb", DESCRIPTION + b"\x00\x00\x00\x00jumb"),
        box(b"jumb", DESCRIPTION + b"\x00\x00\xff\xffjumb"),
        box(b"jumb", DESCRIPTION + box(b"jumb") * 10_000),
    ],
)
def test_other_boxes_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        cut_active(data)
    assert caught.value.code == "MALFORMED"


@settings(derandomize=True, max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_cut_or_refused(data: bytes) -> None:
    for tried in (data, box(b"jumb", DESCRIPTION + data)):
        try:
            assert len(cut_active(tried)) <= len(tried)
        except Malformed:
            pass
