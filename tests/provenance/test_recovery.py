"""A copy without manifest and mark leads back to its release; a look-alike or an edit does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from policies.errors import StoreUnavailable
from provenance.errors import MediaError, ShapeError
from provenance.fingerprints import MATCH_DISTANCE, TURNS, fingerprint
from provenance.likeness import MAX_BLOCK_DIFFERENCE
from provenance.media import decode, encode
from provenance.recovery import compare, recover, state_copy
from provenance.registry import Registry

PERSON = "image/png"


@pytest.fixture
def studio(gallery: Any) -> Any:
    return gallery[0]


@pytest.fixture
def frame(gallery: Any) -> Any:
    """The pixels of the released PNG."""
    return decode(gallery[1][PERSON].data).frame


def without_mark(frame: Any) -> Any:
    """A small, badly stored copy, in which no mark can be read any more."""
    small = cv2.resize(frame, (160, 160), interpolation=cv2.INTER_AREA)
    return decode(encode(small, "image/jpeg")).frame


def look(studio: Any, frame: Any) -> Any:
    return recover(frame, registry=studio.registry, store=studio.store)


def test_a_copy_without_manifest_or_mark_is_found(gallery: Any, frame: Any) -> None:
    studio, released = gallery
    copy = without_mark(frame)
    assert studio.watermark.detect(copy) is None
    found = look(studio, copy)
    assert [one.row.mark_id for one in found] == [released[PERSON].mark_id]
    assert found[0].agrees
    assert found[0].turn == "as released"
    assert found[0].bits <= MATCH_DISTANCE
    assert found[0].score >= 88


@pytest.mark.parametrize("place", range(1, 8))
def test_a_turned_or_mirrored_copy_is_found(studio: Any, frame: Any, place: int) -> None:
    copy = np.ascontiguousarray(np.rot90(frame if place < 4 else frame[:, ::-1], place % 4))
    found = look(studio, copy)
    assert [(one.turn, one.agrees) for one in found] == [(TURNS[place], True)]
    said = state_copy(found[0])
    assert [(line.subject, line.state) for line in said] == [
        ("fingerprint", "holds"),
        ("likeness", "holds"),
    ]
    assert said[0].words.endswith(f"it lies {TURNS[place]}")


def test_what_the_release_was_made_from_is_no_copy(studio: Any) -> None:
    """The target bears no label and no mark; it must not be called a release of ours."""
    assert not any(one.agrees for one in look(studio, studio.picture("persona3_0").frame))


def test_a_pasted_patch_is_alike_but_no_copy(studio: Any, frame: Any) -> None:
    changed = frame.copy()
    h, w = frame.shape[:2]
    changed[h * 2 // 5 : h // 2, w // 3 : w // 2] = 128
    found = look(studio, changed)
    assert found
    assert not any(one.agrees for one in found)
    assert found[0].bits <= MATCH_DISTANCE
    assert found[0].levels > MAX_BLOCK_DIFFERENCE
    assert [(line.subject, line.state) for line in state_copy(found[0])] == [("likeness", "warns")]


def test_somebody_else_is_not_found(studio: Any, demo_picture: Callable[[str], bytes]) -> None:
    assert look(studio, decode(demo_picture("persona1_0")).frame) == ()


def test_a_picture_without_structure_is_never_like_anything(studio: Any) -> None:
    assert look(studio, np.full((64, 64, 3), 90, np.uint8)) == ()


def test_a_row_that_claims_another_picture_finds_nothing(
    studio: Any, frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The register is not signed: an edit of it must not make a stranger's picture a release."""
    other = studio.picture("persona1_0").frame
    real = Registry.near

    def forged(self: Registry, asked: Any, *, limit: int) -> Any:
        return real(self, [fingerprint(frame)] * len(asked), limit=limit)

    monkeypatch.setattr(Registry, "near", forged)
    assert look(studio, other) == ()


def test_an_output_that_is_gone_stops_the_search(gallery: Any, studio: Any, frame: Any) -> None:
    class Empty:
        def get(self, sha256: str) -> bytes:
            raise StoreUnavailable(f"the store does not give {sha256}")

    with pytest.raises(StoreUnavailable) as caught:
        recover(frame, registry=studio.registry, store=Empty())  # type: ignore[arg-type]
    assert caught.value.code == "STORE-UNAVAILABLE"


def test_a_video_is_not_compared_with_a_picture(
    studio: Any, frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Registry.near

    def as_video(self: Registry, asked: Any, *, limit: int) -> Any:
        return tuple(
            dataclasses.replace(one, row=dataclasses.replace(one.row, mime="video/mp4"))
            for one in real(self, asked, limit=limit)
        )

    monkeypatch.setattr(Registry, "near", as_video)
    assert look(studio, frame) == ()


def test_a_release_is_compared_by_its_row(gallery: Any, studio: Any, frame: Any) -> None:
    row = studio.registry.by_mark(gallery[1][PERSON].mark_id)
    same = compare(row, frame, store=studio.store)
    assert (same.bits, same.agrees, same.score) == (0, True, 100)
    other = compare(row, studio.picture("persona1_0").frame, store=studio.store)
    assert not other.agrees
    with pytest.raises(ShapeError):
        compare(row, np.zeros((8, 8), np.uint8), store=studio.store)
    manifest = dataclasses.replace(row, output_sha256=row.manifest_sha256)
    with pytest.raises(MediaError):
        compare(manifest, frame, store=studio.store)
