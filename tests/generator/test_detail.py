"""The finishing step mdrn: what the network changes is put back, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from generator.canonical import frame_square
from generator.detail import SIDE_PX, DetailRestoration, detail_square, open_detail
from generator.errors import ShapeError
from generator.laying import Layers
from generator.topology import load_topology

Array = npt.NDArray[np.float32]


def layers_of(face_px: float, side: int = 200) -> Layers:
    """A face so wide in the middle of a window, its mask an ellipse, its target noise."""
    neutral = load_topology().neutral.astype(np.float64)
    scale = face_px / np.ptp(neutral[:, 0])
    mesh = (neutral - neutral.mean(0)) * scale + [side / 2, side / 2, 0]
    y, x = np.mgrid[:side, :side] - side / 2
    mask = np.clip(6 * (1 - np.hypot(x / (0.4 * face_px), y / (0.5 * face_px))), 0, 1)
    rng = np.random.default_rng(1)
    target = rng.uniform(20, 235, (side, side, 3)).astype(np.float32)
    return Layers(
        target=target, pulled=target, warped=target, composite=target,
        mask=mask.astype(np.float32), cover=np.zeros((side, side), np.float32),
        mesh=mesh, own_mesh=mesh, iris=np.zeros((2, 5, 2)), unit=face_px / 2, origin=(0, 0),
    )  # fmt: skip


class Told:
    """A network that adds what it is told, and remembers what it was shown."""

    models: Mapping[str, str] = {"mdrn": "0" * 64}

    def __init__(self, change: float | Array) -> None:
        self.change = change
        self.seen: dict[str, Array] = {}

    def run(self, **arrays: Array) -> dict[str, Array]:
        self.seen = arrays
        return {"image": (arrays["picture"] + self.change).astype(np.float32)}


def step(change: float | Array) -> tuple[DetailRestoration, Any]:
    network: Any = Told(change)
    return DetailRestoration(network), network


@pytest.fixture
def picture() -> Array:
    return np.random.default_rng(2).uniform(30, 220, (200, 200, 3)).astype(np.float32)


@pytest.mark.parametrize("face_px", [90.0, 150.0, 190.0])
def test_a_network_that_changes_nothing_gives_the_same_bits(picture: Array, face_px: float) -> None:
    assert np.array_equal(step(0.0)[0].apply(picture, layers_of(face_px)), picture)


def test_outside_the_mask_not_a_bit_changes(picture: Array) -> None:
    layers = layers_of(150)
    made = step(0.08)[0].apply(picture, layers)
    assert np.array_equal(made[layers.mask == 0], picture[layers.mask == 0])
    assert made.dtype == np.float32
    assert made.shape == picture.shape


def test_a_change_arrives_in_grey_levels(picture: Array) -> None:
    layers = layers_of(150)
    made = step(0.08)[0].apply(picture, layers)
    inside = layers.mask > 0.5
    assert np.allclose((made - picture)[inside], 0.08 * 127.5, atol=1e-2)


def test_values_stay_in_range(picture: Array) -> None:
    for change in (3.0, -3.0):
        made = step(change)[0].apply(picture, layers_of(150))
        assert made.min() >= 0
        assert made.max() <= 255


def test_the_network_sees_picture_target_and_mask_in_its_square(picture: Array) -> None:
    layers = layers_of(150)
    finish, network = step(0.0)
    finish.apply(picture, layers)
    square = detail_square(layers)
    shapes = {name: value.shape for name, value in network.seen.items()}
    whole = (1, 3, SIDE_PX, SIDE_PX)
    assert shapes == {"picture": whole, "target": whole, "mask": (1, 1, SIDE_PX, SIDE_PX)}
    for name, wanted in (("picture", picture), ("target", layers.target)):
        back = (network.seen[name][0].transpose(1, 2, 0) + 1) * 127.5
        assert np.allclose(back, square.cut(wanted), atol=1e-3)
    assert np.array_equal(network.seen["mask"][0, 0], square.cut(layers.mask))


def test_a_small_face_is_not_enlarged() -> None:
    layers = layers_of(90)
    assert frame_square(layers.own_mesh, (200, 200), SIDE_PX).scale > 1.5
    square = detail_square(layers)
    assert square.scale == pytest.approx(1.0)
    whole = frame_square(layers.own_mesh, (200, 200), SIDE_PX)
    centre = np.array([[SIDE_PX / 2 - 0.5] * 2])
    there = (centre - whole.matrix[:, 2]) @ np.linalg.inv(whole.matrix[:, :2]).T
    assert np.allclose(square.place(there), centre, atol=1e-3)


def test_a_large_face_fills_the_square() -> None:
    layers = layers_of(390, side=480)
    whole = frame_square(layers.own_mesh, (480, 480), SIDE_PX)
    assert whole.scale < 1
    assert np.array_equal(detail_square(layers).matrix, whole.matrix)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="picture"):
        step(0.0)[0].apply(np.zeros((100, 200, 3), np.float32), layers_of(150))


def test_the_shipped_weights_change_a_little_inside_and_nothing_outside(picture: Array) -> None:
    layers = layers_of(150)
    finish = open_detail()
    assert (finish.name, finish.version) == ("mdrn", "1")
    assert set(finish.models) == {"mdrn"}
    made = finish.apply(picture, layers)
    change = np.abs(made - picture)
    assert change[layers.mask == 0].max() == 0
    assert 0 < change.max() <= 12.76
    assert np.array_equal(made, finish.apply(picture, layers))
