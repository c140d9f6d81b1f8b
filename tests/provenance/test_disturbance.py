"""A disturbed picture is the same picture: other light, softness, compression, no other content."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from provenance import disturbance
from provenance.disturbance import disturb


@pytest.fixture(scope="module")
def frame() -> npt.NDArray[np.uint8]:
    path = Path(__file__).parents[2] / "docs" / "demo" / "persona1_0.webp"
    return np.asarray(cv2.imread(str(path)), np.uint8)[::2, ::2]


def coarse(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = cv2.resize(
        cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (16, 16), interpolation=cv2.INTER_AREA
    )
    return np.asarray(small, np.float32).ravel()


def test_every_draw_is_another_and_all_show_the_same(frame: npt.NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(5)
    drawn = [disturb(frame, rng) for _ in range(24)]
    assert len({one.tobytes() for one in drawn}) == 24
    for one in drawn:
        assert (one.shape, one.dtype) == (frame.shape, np.uint8)
        assert np.corrcoef(coarse(one), coarse(frame))[0, 1] > 0.85


def test_a_seed_gives_the_same_pixels_and_the_frame_stays(frame: npt.NDArray[np.uint8]) -> None:
    before = frame.copy()
    first, second = (disturb(frame, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("share", ["SHADING_SHARE", "BLUR_SHARE", "JPEG_SHARE"])
def test_each_change_can_be_had_alone(
    frame: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    for name in ("GAMMA", "GAIN", "CHANNEL_GAIN"):
        monkeypatch.setattr(disturbance, name, (1.0, 1.0))
    for name in ("SHADING_SHARE", "BLUR_SHARE", "JPEG_SHARE"):
        monkeypatch.setattr(disturbance, name, 0.0)
    assert np.array_equal(disturb(frame, np.random.default_rng(1)), frame)
    monkeypatch.setattr(disturbance, share, 1.0)
    assert not np.array_equal(disturb(frame, np.random.default_rng(1)), frame)
