"""The same picture stays within the threshold, other people do not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from provenance.errors import ShapeError
from provenance.fingerprints import (
    MATCH_DISTANCE,
    MIN_QUALITY,
    TURNS,
    Fingerprint,
    distance,
    fingerprint,
    fingerprint_turns,
    turn_back,
)
from provenance.media import decode


@pytest.fixture
def frame(demo_picture: Callable[[str], bytes]) -> np.ndarray:
    return decode(demo_picture("persona1_0")).frame


def recode(frame: np.ndarray, quality: int) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(out.getvalue())))


def test_a_fingerprint_is_stable_and_well_formed(frame: np.ndarray) -> None:
    one = fingerprint(frame)
    assert one == fingerprint(frame.copy())
    assert len(one.bits) == 64
    assert MIN_QUALITY <= one.quality <= 100
    assert distance(one, one) == 0


@pytest.mark.parametrize("quality", [90, 50, 30])
def test_a_re_encoded_or_resized_copy_matches(frame: np.ndarray, quality: int) -> None:
    one = fingerprint(frame)
    assert distance(one, fingerprint(recode(frame, quality))) <= MATCH_DISTANCE
    small = np.asarray(Image.fromarray(frame).resize((200, 200), Image.LANCZOS))
    assert distance(one, fingerprint(small)) <= MATCH_DISTANCE


def test_other_pictures_do_not_match(demo_picture: Callable[[str], bytes]) -> None:
    names = [f"persona{n}_0" for n in (1, 2, 3, 4)]
    found = [fingerprint(decode(demo_picture(name)).frame) for name in names]
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            assert distance(one, other) > MATCH_DISTANCE


def test_channels_are_read_as_bgr() -> None:
    # Luma of pure red and pure blue differ, so a swap of channels shows in the bits.
    blue_left = np.zeros((128, 128, 3), np.uint8)
    blue_left[:, :64, 0] = 255
    blue_left[:, 64:, 2] = 255
    assert distance(fingerprint(blue_left), fingerprint(blue_left[..., ::-1].copy())) > 100


def test_distance_counts_bits() -> None:
    zero, one = Fingerprint("0" * 64, 100), Fingerprint("0" * 63 + "7", 100)
    assert distance(zero, one) == distance(one, zero) == 3
    assert distance(zero, Fingerprint("f" * 64, 100)) == 256


@pytest.mark.parametrize(
    ("bits", "quality"), [("0" * 63, 50), ("G" * 64, 50), ("F" * 64, 50), ("0" * 64, 101)]
)
def test_malformed_fingerprints_are_refused(bits: str, quality: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        Fingerprint(bits, quality)
    assert caught.value.code == "SHAPE"


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        fingerprint(np.zeros((64, 64), np.uint8))


@pytest.mark.parametrize("place", range(8))
def test_a_turned_copy_is_turned_back(frame: np.ndarray, place: int) -> None:
    wide = np.ascontiguousarray(frame[:300])
    copy = np.rot90(wide if place < 4 else wide[:, ::-1], place % 4)
    back = turn_back(copy, TURNS[place])
    assert (back == wide).all()
    assert back.flags.c_contiguous


@pytest.mark.parametrize("side", [600, 1100])
def test_each_turn_has_its_own_fingerprint(frame: np.ndarray, side: int) -> None:
    whole = np.asarray(Image.fromarray(frame).resize((side, side * 2 // 3), Image.BICUBIC))
    for place, turn in list(enumerate(TURNS))[1::3]:
        copy = np.ascontiguousarray(np.rot90(whole if place < 4 else whole[:, ::-1], place % 4))
        found = fingerprint_turns(copy)
        assert list(found) == list(TURNS[1:])
        near = [t for t, one in found.items() if distance(one, fingerprint(whole)) <= 12]
        assert near == [turn]


def test_turns_of_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        fingerprint_turns(np.zeros((64, 64), np.uint8))
