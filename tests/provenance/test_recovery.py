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
from provenance.fingerprints import MATCH_DISTANCE, MIN_QUALITY, TURNS, fingerprint
from provenance.likeness import MAX_BLOCK_DIFFERENCE
from provenance.media import decode, encode
from provenance.recovery import (
    MAX_AROUND,
    Recovered,
    compare,
    describe,
    recover,
    state_copy,
    state_marked,
)
from provenance.registration import Shown
from provenance.registry import Registry
from provenance.watermark import Geometry

PERSON = "image/png"


@pytest.fixture
def studio(gallery: Any) -> Any:
    return gallery[0]


@pytest.fixture
def frame(gallery: Any) -> Any:
    """The pixels of the released PNG."""
    return decode(gallery[1][PERSON].data).frame


def without_mark(frame: Any) -> Any:
    """A small, badly stored copy; nobody asks here whether a mark is left in it."""
    small = cv2.resize(frame, (160, 160), interpolation=cv2.INTER_AREA)
    return decode(encode(small, "image/jpeg")).frame


def look(studio: Any, frame: Any) -> Any:
    return recover(frame, registry=studio.registry, store=studio.store)


def test_a_copy_without_manifest_or_mark_is_found(gallery: Any, frame: Any) -> None:
    studio, released = gallery
    copy = without_mark(frame)
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


# ------------------------------------------------------------------- parts, as their marks say


def shift(x: float, y: float) -> Any:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def crop(frame: Any) -> Any:
    return np.ascontiguousarray(frame[60:460, 40:480])


def pasted(frame: Any) -> Any:
    changed = frame.copy()
    changed[204:256, 170:256] = 128
    return changed


CROPPED = Geometry.of(shift(-40, -60))


@pytest.fixture
def row(gallery: Any) -> Any:
    return gallery[0].registry.by_mark(gallery[1][PERSON].mark_id)


def test_a_crop_is_compared_where_its_mark_says(studio: Any, frame: Any, row: Any) -> None:
    copy = crop(frame)
    assert not compare(row, copy, store=studio.store).agrees
    found = compare(row, copy, store=studio.store, geometry=CROPPED)
    assert found.agrees
    said = state_marked(found)
    assert [(line.subject, line.state) for line in said] == [
        ("fingerprint", "holds"),
        ("likeness", "holds"),
    ]
    share = round(100 * 400 * 440 / 512**2)
    assert said[0].words.startswith(f"shows {share} % of the released picture; only that was")


def test_a_turn_back_is_of_the_whole_alone(studio: Any, frame: Any, row: Any) -> None:
    """What no mark placed is never compared in part."""
    mirrored = np.ascontiguousarray(frame[:, ::-1])
    assert compare(row, mirrored, store=studio.store, turn="mirrored").agrees
    assert not compare(row, mirrored, store=studio.store).agrees


def test_what_agrees_as_a_whole_is_not_called_a_part(studio: Any, frame: Any, row: Any) -> None:
    found = compare(row, frame, store=studio.store, geometry=CROPPED)
    assert found.agrees
    assert found.shown is None
    assert "only" not in state_marked(found)[0].words


def test_a_change_inside_a_crop_is_found(studio: Any, frame: Any, row: Any) -> None:
    found = compare(row, crop(pasted(frame)), store=studio.store, geometry=CROPPED)
    assert found.shown is not None
    assert found.bits <= MATCH_DISTANCE
    assert not found.agrees
    assert [line.state for line in state_marked(found)] == ["holds", "fails"]


def test_a_crop_of_another_picture_does_not_agree(studio: Any, row: Any) -> None:
    other = crop(studio.picture("persona1_0").frame)
    found = compare(row, other, store=studio.store, geometry=CROPPED)
    assert not found.agrees
    assert [line.state for line in state_marked(found)] == ["fails"]


def test_a_page_with_the_picture_in_it_is_no_copy(studio: Any, frame: Any, row: Any) -> None:
    page = np.full((700, 800, 3), 255, np.uint8)
    page[90:602, 200:712] = frame
    lies = Geometry.of(shift(200, 90))
    assert compare(row, page, store=studio.store, geometry=lies).agrees  # a plain border
    cv2.putText(page, "breaking news", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0,) * 3, 2)
    found = compare(row, page, store=studio.store, geometry=lies)
    assert found.alike
    assert not found.agrees
    said = state_marked(found)
    assert [line.state for line in said] == ["holds", "holds", "fails"]
    assert "other content" in said[-1].words


def test_a_part_of_too_little_structure_agrees_with_nothing(
    studio: Any, frame: Any, row: Any
) -> None:
    """A nearly flat part lies somewhere in many pictures, and every flat picture is like it."""
    wide = cv2.GaussianBlur(frame, (0, 0), 40.0)
    faint = np.ascontiguousarray(cv2.addWeighted(wide, 0.3, wide, 0.0, 60.0)[100:400, 100:400])
    found = compare(row, faint, store=studio.store, geometry=Geometry.of(shift(-100, -100)))
    assert found.shown is not None
    assert not found.comparable
    assert not found.agrees
    said = state_marked(found)
    assert [(line.subject, line.state) for line in said] == [("fingerprint", "warns")]
    assert "too little structure" in said[0].words


def test_what_has_no_place_is_compared_as_a_whole(studio: Any, frame: Any, row: Any) -> None:
    tiny = np.ascontiguousarray(frame[200:300, 200:300])
    lies = Geometry.of(shift(-200, -200))
    found = compare(row, tiny, store=studio.store, geometry=lies)
    assert found.shown is None
    assert not found.agrees


def turned(degrees: float, scale: float, *, mirrored: bool = False) -> Geometry:
    matrix = np.vstack([cv2.getRotationMatrix2D((0, 0), degrees, scale), [0, 0, 1]])
    return Geometry.of(matrix @ np.diag([-1.0 if mirrored else 1.0, 1, 1]))


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        (turned(0, 1), "shows 64 % of the released picture"),
        (turned(5, 0.5), "shows 64 % of the released picture, turned 5.0 degrees to the left, "
         "at 50 % size"),
        (turned(-30, 1), "shows 64 % of the released picture, turned 30.0 degrees to the right"),
        (turned(0.04, 1.004), "shows 64 % of the released picture"),
        (turned(-0.04, 1), "shows 64 % of the released picture"),
        (turned(0, 2, mirrored=True), "shows 64 % of the released picture, mirrored, at 200 % "
         "size"),
    ],
)  # fmt: skip
def test_what_is_shown_is_said_exactly(lies: Geometry, words: str) -> None:
    some = np.zeros((8, 8, 3), np.uint8)
    assert describe(Shown(some, some, np.ones((8, 8), np.bool_), 0.64, 0.0, lies)) == words


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),
        ({"bits": MATCH_DISTANCE + 1}, False),
        ({"levels": MAX_BLOCK_DIFFERENCE + 0.1}, False),
        ({"quality": MIN_QUALITY - 1}, False),
        ({"around": MAX_AROUND + 0.1}, False),
        ({"around": MAX_AROUND}, True),
    ],
)
def test_every_limit_of_a_part_counts(row: Any, changes: dict[str, Any], agrees: bool) -> None:
    some = np.zeros((8, 8, 3), np.uint8)
    around = changes.pop("around", 0.0)
    shown = Shown(some, some, np.ones((8, 8), np.bool_), 0.64, around, CROPPED)
    fields = {"bits": MATCH_DISTANCE, "levels": MAX_BLOCK_DIFFERENCE, "quality": MIN_QUALITY}
    original: Any = None
    found = Recovered(row, original, TURNS[0], shown=shown, **fields | changes)
    assert found.agrees is agrees
