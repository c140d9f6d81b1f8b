"""Frames of a clip are read together, and marked so that nothing flickers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from provenance.errors import ShapeError
from provenance.pixels import Frame
from provenance.watermark.payload import Payload
from provenance.watermark.search import MOST_LOOKS, UPRIGHT_LOOKS
from provenance.watermark.spread import SpreadMark

ID = "0123456789ab"
Embed = Callable[[Frame], Frame]


@pytest.fixture
def embed(mark: SpreadMark, payload_of: Callable[[str], Payload]) -> Embed:
    payload = payload_of(ID)
    return lambda frame: mark.embed(frame, payload)


def pan(host: Callable[[str], Frame], count: int = 8) -> list[Frame]:
    """A camera that moves over a wide picture."""
    wide = host("wide")
    return [np.ascontiguousarray(wide[:384, 40 * k : 40 * k + 384]) for k in range(count)]


def poor(frames: list[Frame], quality: int, copies: SimpleNamespace) -> list[Frame]:
    """Grain of their own, then as a codec at its worst leaves them."""
    rng = np.random.default_rng(24)
    grain = [rng.normal(0, 8, frame.shape) for frame in frames]
    noisy = [np.clip(f + g, 0, 255).astype(np.uint8) for f, g in zip(frames, grain, strict=True)]
    return [copies.recode(frame, "JPEG", quality) for frame in noisy]


class Counted:
    """Frames that know how many of them were taken."""

    def __init__(self, frames: list[Frame]) -> None:
        self.taken, self._frames = 0, frames

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.taken += 1
            yield frame


def test_frames_that_say_nothing_alone_are_read_together(
    mark: SpreadMark, host: Callable[[str], Frame], embed: Embed, copies: SimpleNamespace
) -> None:
    frames = poor([embed(frame) for frame in pan(host)], 6, copies)
    assert all(mark.detect(frame, thorough=False) is None for frame in frames)
    clip = Counted(frames * 3)
    found = mark.detect_clip(clip)
    assert found is not None
    assert (found.mark_id, found.state) == (ID, "read")
    assert clip.taken == 8
    assert found.p_value <= 1e-6


@pytest.mark.parametrize(("bad", "taken"), [(0, 1), (1, 2), (3, 4), (5, 8)])
def test_reading_stops_as_soon_as_an_id_is_read(
    bad: int,
    taken: int,
    mark: SpreadMark,
    host: Callable[[str], Frame],
    marked: Callable[..., Frame],
) -> None:
    unmarked = np.random.default_rng(25).integers(0, 256, host("coffee").shape, dtype=np.uint8)
    clip = Counted([unmarked] * bad + [marked("coffee")] * 10)
    found = mark.detect_clip(clip)
    assert found is not None
    assert found.mark_id == ID
    assert clip.taken == taken


def test_a_turned_clip_is_searched_thoroughly(
    mark: SpreadMark, marked: Callable[..., Frame], copies: SimpleNamespace
) -> None:
    frame = copies.rotate(marked("cloud"), 9)[0]
    found = mark.detect_clip([frame] * 3)
    assert found is not None
    assert found.mark_id == ID
    assert found.geometry is not None
    assert abs(found.geometry.rotation_deg - 9) < 0.3
    assert found.confidence is not None


def test_a_claim_pays_for_every_time_the_frames_are_read(
    mark: SpreadMark, marked: Callable[..., Frame]
) -> None:
    alone, clip = mark.detect(marked("coffee")), mark.detect_clip([marked("coffee")])
    assert alone is not None
    assert clip is not None
    assert alone.searched == MOST_LOOKS * 256
    # Found at scale 1, in one of six readings: what is left for the others is theirs to claim.
    assert clip.searched == 6 * UPRIGHT_LOOKS * 256
    assert clip.p_value > alone.p_value


def test_no_frames_no_mark(mark: SpreadMark) -> None:
    assert mark.detect_clip([]) is None
    assert mark.detect_clip(iter(())) is None


def test_an_unmarked_clip_carries_none(mark: SpreadMark, host: Callable[[str], Frame]) -> None:
    clip = Counted(pan(host, 12))
    assert mark.detect_clip(clip) is None
    assert clip.taken == 8


@pytest.mark.parametrize("shape", [(300, 400), (384, 300), (400, 384), (384, 1200)])
def test_frames_of_two_sizes_are_refused(
    shape: tuple[int, int], mark: SpreadMark, host: Callable[[str], Frame]
) -> None:
    frames = [*pan(host, 2), np.ascontiguousarray(host("wide")[: shape[0], : shape[1]])]
    with pytest.raises(ShapeError) as caught:
        mark.detect_clip(frames)
    assert str(frames[2].shape) in str(caught.value)
    assert "384" in caught.value.expected


# --- flicker --------------------------------------------------------------------------------------


def residual(frame: Frame, out: Frame) -> np.ndarray:
    return out[..., 1].astype(float) - frame[..., 1]


@pytest.mark.parametrize("name", ["persona4_0", "coffee", "rocket"])
def test_two_nearly_equal_frames_are_marked_nearly_alike(
    name: str, host: Callable[[str], Frame], embed: Embed, copies: SimpleNamespace
) -> None:
    frame = host(name)
    grain = np.random.default_rng(26).normal(0, 1, frame.shape)
    noisy = np.clip(np.rint(frame + grain), 0, 255).astype(np.uint8)
    moved = np.ascontiguousarray(np.roll(frame, 1, axis=1))
    first = embed(frame)
    for other in (noisy, moved):
        out = embed(other)
        # Strength is judged on one poor copy, and that judgement moves by 0.2 to 0.3 dB (measured).
        assert abs(copies.psnr(out, other) - copies.psnr(first, frame)) < 0.4
        step = residual(other, out) - residual(frame, first)
        # The pattern stands still: what changes is a small part of it.
        assert float(step.std()) < 0.35 * float(residual(frame, first).std())


def test_strength_moves_without_steps_as_a_picture_fades(
    host: Callable[[str], Frame], embed: Embed, copies: SimpleNamespace
) -> None:
    frames = [(host("coffee") * share).astype(np.uint8) for share in np.linspace(1, 0.9, 6)]
    cost = [copies.psnr(embed(frame), frame) for frame in frames]
    assert np.abs(np.diff(cost)).max() < 0.4
