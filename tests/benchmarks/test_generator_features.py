"""Feature distance: more of one disturbance is always further away, and nothing is no distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator.features import FeatureNet
from generator.faces import Face, open_analyser

DEMO = Path(__file__).parents[2] / "docs" / "demo"
Distance = Callable[[Any], float]


@pytest.fixture(scope="module")
def frame() -> Any:
    return cv2.imread(str(DEMO / "persona2_0.webp"))


@pytest.fixture(scope="module")
def face(frame: Any) -> Face:
    return open_analyser().analyse(frame)[0]


@pytest.fixture(scope="module")
def net() -> FeatureNet:
    return FeatureNet()


def blurred(frame: Any, sigma: float) -> Any:
    return cv2.GaussianBlur(frame, (0, 0), sigma)


def noisy(frame: Any, levels: float) -> Any:
    noise = np.random.default_rng(0).normal(0, levels, frame.shape)
    return np.clip(np.round(frame + noise), 0, 255).astype(np.uint8)


def shifted(frame: Any, pixels: float) -> Any:
    matrix = np.array([[1, 0, pixels], [0, 1, 0]], np.float64)
    size = frame.shape[1], frame.shape[0]
    return cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def compressed(frame: Any, loss: float) -> Any:
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("disturb", "steps"),
    [
        (blurred, (0.5, 1, 2, 4)),
        (noisy, (2, 5, 10, 20)),
        (shifted, (0.5, 1, 2, 4)),
        (compressed, (5, 20, 50, 80)),
    ],
    ids=["blur", "noise", "shift", "jpeg"],
)
def test_more_of_it_is_further_away(
    net: FeatureNet, frame: Any, face: Face, disturb: Any, steps: tuple[float, ...]
) -> None:
    found = [net.distance(disturb(frame, step), frame, face) for step in steps]
    assert None not in found
    assert found == sorted(set(found), key=float)  # type: ignore[arg-type]
    assert found[0] is not None
    assert found[0] > 0


def test_the_same_picture_is_no_distance_away(net: FeatureNet, frame: Any, face: Face) -> None:
    assert net.distance(frame, frame.copy(), face) == 0


def test_it_does_not_matter_which_picture_is_first(net: FeatureNet, frame: Any, face: Face) -> None:
    other = blurred(frame, 2)
    there, back = net.distance(frame, other, face), net.distance(other, frame, face)
    assert there == pytest.approx(back, rel=1e-5)


def test_a_little_more_light_counts_less_than_a_small_shift(
    net: FeatureNet, frame: Any, face: Face
) -> None:
    light = np.clip(frame * 1.05, 0, 255).astype(np.uint8)
    lighter, moved = net.distance(light, frame, face), net.distance(shifted(frame, 2), frame, face)
    assert lighter is not None
    assert moved is not None
    assert lighter < moved / 2


def test_only_what_is_around_the_face_counts(net: FeatureNet, frame: Any, face: Face) -> None:
    wide = cv2.copyMakeBorder(frame, 0, 0, 0, 300, cv2.BORDER_CONSTANT)
    marked = wide.copy()
    marked[:, -200:] = 255
    assert net.distance(marked, wide, face) == 0


def test_a_face_without_extent_has_no_distance(net: FeatureNet, frame: Any, face: Face) -> None:
    point = replace(face, mesh=np.zeros_like(face.mesh))
    assert net.distance(frame, frame, point) is None
