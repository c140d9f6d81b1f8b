"""The lattice of a tiled mark is seen at any scale and turn, and needs no key."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from provenance.pixels import Frame
from provenance.watermark.geometry import lay, warp
from provenance.watermark.lattice import MOST_LATTICES, Lattice, flatten, search_lattices
from provenance.watermark.pattern import TILE_PX, Pattern
from provenance.watermark.payload import VERSION
from provenance.watermark.whitening import luma, whiten

TILE = Pattern(key=bytes(range(32))).tile("0123456789ab", VERSION)


def laid(scale: float, degrees: float, shape: tuple[int, int], *, loud: float = 0.6) -> np.ndarray:
    """Unit noise, and the tile turned counter-clockwise and scaled on it."""
    reach = int(np.hypot(*shape) / scale) + 2 * TILE_PX
    whole = TILE[np.arange(reach) % TILE_PX][:, np.arange(reach) % TILE_PX]
    turned = lay(at(scale, degrees))
    middle = turned @ np.array([[1, 0, -reach // 2], [0, 1, -reach // 2], [0, 0, 1.0]])
    middle[:2, 2] += np.array(shape[::-1]) / 2
    seen = warp(whole, np.linalg.inv(middle), shape)[0]
    return (np.random.default_rng(8).normal(0, 1, shape) + loud * seen).astype(np.float32)


def at(scale: float, degrees: float) -> Lattice:
    length, turn = scale * TILE_PX, math.radians(degrees)
    return Lattice(0.0, y=-length * math.sin(turn), x=length * math.cos(turn))


def apart(found: Lattice, wanted: Lattice) -> float:
    """Distance over length, whichever of the four vectors of the lattice was found."""
    ratio = complex(found.x, found.y) / complex(wanted.x, wanted.y)
    return min(abs(ratio - unit) for unit in (1, -1, 1j, -1j))


@pytest.mark.parametrize(
    ("scale", "degrees"),
    [(1, 0), (1, 30), (0.3, 0), (0.5, 45), (0.73, 100), (1.5, -3), (1.95, 200)],
)
def test_the_clearest_lattice_is_the_marks(scale: float, degrees: float) -> None:
    found = search_lattices(flatten([laid(scale, degrees, (700, 800))]))
    assert 1 <= len(found) <= MOST_LATTICES
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert apart(found[0], at(scale, degrees)) < 0.01
    assert found[0].score > 8


def test_no_lattice_is_listed_twice() -> None:
    found = search_lattices(flatten([laid(1.0, 20.0, (700, 800))]))
    for number, one in enumerate(found):
        assert all(apart(one, other) > 0.01 for other in found[:number])


@pytest.mark.parametrize("shape", [(300, 2300), (2300, 1200)])
def test_pictures_larger_than_a_window_are_seen_through_several(shape: tuple[int, int]) -> None:
    found = search_lattices(flatten([laid(0.8, 12.0, shape)]))
    assert apart(found[0], at(0.8, 12.0)) < 0.01


def test_frames_are_summed() -> None:
    rng = np.random.default_rng(9)
    mark = laid(0.9, 7.0, (400, 400), loud=0.2)
    clear = laid(0.9, 7.0, (400, 400), loud=0.2)
    frames = [mark + rng.normal(0, 1, mark.shape).astype(np.float32) for _ in range(8)]
    one, many = (search_lattices(flatten(some)) for some in (frames[:1], frames))
    assert apart(many[0], at(0.9, 7.0)) < 0.01
    assert many[0].score > one[0].score
    assert clear.shape == mark.shape


def test_hosts_without_a_lattice_show_none_that_stands_out(host: Callable[[str], Frame]) -> None:
    for name in ("persona1_0", "coffee", "cloud"):
        assert search_lattices(flatten([whiten(luma(host(name)))]))[0].score < 6.5


def test_a_lattice_whose_scale_changes_over_the_picture_is_seen_blurred() -> None:
    plane = laid(1.0, 0.0, (900, 900), loud=1.2)
    slant = np.array([[0.97, 0.01, 5.0], [-0.01, 1.0, 5.0], [3e-5, 2e-5, 1.0]])
    bent = cv2.warpPerspective(plane, slant, (900, 900), flags=cv2.INTER_CUBIC)
    found = search_lattices(flatten([bent[:800, :800]]), slanted=True)
    assert 1 <= len(found) <= MOST_LATTICES
    assert apart(found[0], at(1.0, 0.0)) < 0.06


def test_nothing_at_all_shows_no_lattice_that_counts() -> None:
    for plane in (np.zeros((300, 300)), np.ones((300, 300))):
        for one in search_lattices(flatten([plane.astype(np.float32)])):
            assert np.isfinite((one.score, one.x, one.y)).all()
