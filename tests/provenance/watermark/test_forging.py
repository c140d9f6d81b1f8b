"""What an attacker learns from many marked pictures, and from one, is no mark of another picture.

The attacker here knows more than one can: the pictures as they were before they were marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from policies.warrants import ActiveWarrant
from provenance.media import decode
from provenance.watermark.pattern import Pattern
from provenance.watermark.payload import VERSION, Payload, issue_payload
from provenance.watermark.spread import SpreadMark
from provenance.watermark.whitening import luma, measure_capacity
from provenance.watermark.writing import add_at, lay_tile

Residual = npt.NDArray[np.float32]

KEY = bytes(range(32))
SIDE_PX = 256
PICTURES = ("persona1_0", "persona2_0", "persona3_0", "persona4_0", "persona5_0")
OTHERS = ("persona6_0", "persona7_0", "persona8_0")
COPIED = "0123456789ab"


@pytest.fixture(scope="module")
def mark() -> SpreadMark:
    return SpreadMark(keys=[KEY])


@pytest.fixture
def issue(active_warrant: Callable[..., ActiveWarrant]) -> Callable[[str], Payload]:
    warrant = active_warrant()
    return lambda mark_id: issue_payload(warrant, rng=lambda _: bytes.fromhex(mark_id))


@pytest.fixture
def others(demo_picture: Callable[[str], bytes]) -> list[Any]:
    return [decode(demo_picture(name)).frame for name in OTHERS]


def cut(demo_picture: Callable[[str], bytes]) -> Iterator[Any]:
    """A hundred pictures of 256 pixels: twenty of each portrait."""
    for name in PICTURES:
        frame = decode(demo_picture(name)).frame
        for y in range(0, 256, 64):
            for x in range(0, 255, 51):
                yield np.ascontiguousarray(frame[y : y + SIDE_PX, x : x + SIDE_PX])


def write(pattern: Pattern, picture: Any, mark_id: str) -> Any:
    """Mark at 42 dB as `embed` does, which besides reads back: too slow for a hundred."""
    tile = pattern.tile(mark_id, VERSION)
    return add_at(picture, lay_tile(tile, measure_capacity(luma(picture))), 42.0)


def residual_of(marked: Any, original: Any) -> Residual:
    return (marked.astype(np.float32) - original).mean(axis=2)


def add(frame: Any, residual: Residual, strength: float) -> Any:
    """Add a residual, repeated over the frame; `strength`: its deviation in grey levels."""
    height, width = frame.shape[:2]
    times = -(-height // len(residual)), -(-width // residual.shape[1])
    plane = np.tile(residual / residual.std() * strength, times)[:height, :width]
    return np.clip(np.rint(frame + plane[..., None]), 0, 255).astype(np.uint8)


def test_the_average_of_a_hundred_marks_is_no_mark(
    mark: SpreadMark, others: list[Any], demo_picture: Callable[[str], bytes]
) -> None:
    """Ids differ, so do their carriers: what the marks have in common claims and says nothing."""
    drawn, pattern = np.random.default_rng(5), Pattern(key=KEY)
    total = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    count = 0
    for picture in cut(demo_picture):
        total += residual_of(write(pattern, picture, drawn.bytes(6).hex()), picture)
        count += 1
    assert count == 100
    flat = np.full((512, 512, 3), 128, np.uint8)
    for frame in (flat, *others):
        for strength in (1.0, 2.0, 4.0, 8.0):
            assert mark.detect(add(frame, total, strength), thorough=False) is None
    assert mark.detect(add(others[0], total, 4.0)) is None
    # One of them alone at the same strengths is a mark: what was added is not too weak.
    last = residual_of(write(pattern, picture, COPIED), picture)
    for strength in (2.0, 4.0, 8.0):
        found = mark.detect(add(flat, last, strength), thorough=False)
        assert found is not None
        assert found.mark_id == COPIED


def test_a_copied_mark_reads_as_what_it_was_copied_from(
    mark: SpreadMark,
    issue: Callable[[str], Payload],
    others: list[Any],
    demo_picture: Callable[[str], bytes],
) -> None:
    """A reader of marks cannot tell; that is why an id alone counts for nothing (`recovery`)."""
    original = decode(demo_picture(PICTURES[0])).frame
    taken = residual_of(mark.embed(original, issue(COPIED)), original)
    for frame in others:
        found = mark.detect(add(frame, taken, float(taken.std())), thorough=False)
        assert found is not None
        assert (found.state, found.mark_id) == ("read", COPIED)
