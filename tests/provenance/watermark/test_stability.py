"""Marks released in the past stay readable, and their bad twins are not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from provenance.media import decode
from provenance.pixels import Frame
from provenance.watermark.pattern import TILE_PX
from provenance.watermark.spread import SpreadMark

KEY, ID = bytes(range(32)), "0123456789ab"
GOLDEN = Path(__file__).parents[2] / "vectors" / "media" / "marked_spread_v2.webp"


@pytest.fixture(scope="module")
def golden() -> Frame:
    return decode(GOLDEN.read_bytes()).frame


def shuffled(frame: Frame) -> Frame:
    """Every tile's rows in another order: the same pixels, no pattern."""
    out = frame.copy()
    order = np.random.default_rng(27).permutation(TILE_PX)
    for y in range(0, frame.shape[0] // TILE_PX * TILE_PX, TILE_PX):
        out[y : y + TILE_PX] = frame[y : y + TILE_PX][order]
    return out


def scattered(frame: Frame) -> Frame:
    """Blocks of 16 px, each moved to a place of its own: no tile is left whole."""
    rows, columns = (n // 16 for n in frame.shape[:2])
    blocks = frame[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16, 3).swapaxes(1, 2)
    flat = blocks.reshape(-1, 16, 16, 3)
    mixed = flat[np.random.default_rng(28).permutation(len(flat))]
    whole = mixed.reshape(rows, columns, 16, 16, 3).swapaxes(1, 2)
    return np.ascontiguousarray(whole.reshape(rows * 16, columns * 16, 3))


def smoothed(frame: Frame) -> Frame:
    """Without the detail that carries the mark."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 12), np.uint8)


def inverted(frame: Frame) -> Frame:
    """Light and dark exchanged: every sign of the mark is the other one."""
    return np.ascontiguousarray(255 - frame)


def test_a_picture_marked_by_the_first_release_of_this_version_is_read(golden: Frame) -> None:
    found = SpreadMark(keys=[KEY]).detect(golden, thorough=False)
    assert found is not None
    assert (found.mark_id, found.version, found.state) == (ID, 2, "read")
    assert found.statistic > 15
    assert found.key_index == 0
    assert found.geometry is not None
    assert np.allclose(found.geometry.homography, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("twin", [shuffled, scattered, smoothed, inverted])
def test_its_bad_twins_are_not_read(twin: Callable[[Frame], Frame], golden: Frame) -> None:
    assert SpreadMark(keys=[KEY]).detect(twin(golden), thorough=False) is None


@pytest.mark.parametrize("key", [KEY[::-1], bytes(32), KEY[:31] + b"\xff"])
def test_no_other_key_reads_it(key: bytes, golden: Frame) -> None:
    assert SpreadMark(keys=[key]).detect(golden, thorough=False) is None


def test_an_inverted_residual_takes_the_mark_away(
    host: Callable[[str], Frame], marked: Callable[..., Frame], mark: SpreadMark
) -> None:
    # Who has the original can subtract: that is no reading of another id, but no reading at all.
    frame, change = host("cloud"), marked("cloud").astype(int) - host("cloud")
    assert mark.detect(np.clip(frame - change, 0, 255).astype(np.uint8), thorough=False) is None
    assert mark.detect(np.clip(frame + change, 0, 255).astype(np.uint8), thorough=False) is not None
