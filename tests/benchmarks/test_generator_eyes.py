"""Catchlights: found where they are drawn, counted by the rules, compared with the target's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator import catchlight
from benchmarks.generator.catchlight import Pair, Spot, find_spot, is_counted, score
from benchmarks.generator.eyes import (
    NEAR_FRONTAL_DEG,
    RINGS,
    counted_eyes,
    eye_figures,
    find_spots,
    iris_radius,
)
from generator.faces import Face
from generator.laying import Layers
from generator.topology import load_topology

RADIUS = 14.0
CENTRES = ((100.0, 120.0), (220.0, 120.0))


def make_face(radius: float = RADIUS, opening: float = 1.0) -> Face:
    """The neutral face with its eye openings made round, about both centres."""
    mesh = load_topology().neutral.astype(np.float64) * 120 + [160, 120, 0]
    iris = np.zeros((2, 5, 2))
    for side, centre in enumerate(CENTRES):
        ring = RINGS[side]
        turn = np.linspace(0, 2 * np.pi, len(ring), endpoint=False) + np.pi * (1 - side)
        mesh[ring, 0] = centre[0] + 28 * np.cos(turn)
        mesh[ring, 1] = centre[1] - 12 * opening * np.sin(turn) * (1 if side else -1)
        mesh[ring, 2] = 0
        rim = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]]) * radius
        iris[side] = np.array(centre) + rim
    return Face(
        box=(40, 40, 280, 280), score=0.9, mesh=mesh.astype(np.float32),
        iris=iris.astype(np.float32), pose=(0.0, 0.0, 0.0), id_vector=np.ones(4, np.float32),
    )  # fmt: skip


def draw(*spots: tuple[int, float, float], colour: tuple[int, int, int] = (250, 250, 250)) -> Any:
    """Dark irises on a pale face; a spot: side, and x, y in iris radii from the iris centre."""
    frame = np.full((300, 320, 3), 150, np.uint8)
    for x, y in CENTRES:
        cv2.circle(frame, (round(x), round(y)), round(RADIUS), (60, 50, 40), -1)
    for side, dx, dy in spots:
        x, y = CENTRES[side]
        place = round(x + dx * RADIUS), round(y + dy * RADIUS)
        cv2.circle(frame, place, 2, colour, -1, cv2.LINE_AA)
    return frame


def layers_of(face: Face, cover: float = 0.0) -> Layers:
    mesh = face.mesh.astype(np.float64)
    plain, flat = np.zeros((300, 320, 3), np.float32), np.zeros((300, 320), np.float32)
    return Layers(
        target=plain, pulled=plain, warped=plain, composite=plain, mask=flat, cover=flat + cover,
        mesh=mesh, own_mesh=mesh, iris=face.iris.astype(np.float64), unit=120.0, origin=(0, 0),
    )  # fmt: skip


@pytest.fixture
def face() -> Face:
    return make_face()


def test_a_spot_is_found_in_each_eye_where_it_was_drawn(face: Face) -> None:
    right, left = find_spots(draw((0, 0.3, -0.2), (1, -0.2, -0.3)), face)
    assert right is not None
    assert left is not None
    assert right.centre == pytest.approx((0.3, -0.2), abs=0.06)
    assert left.centre == pytest.approx((-0.2, -0.3), abs=0.06)
    assert right.peak > 150


def test_an_eye_without_one_has_none(face: Face) -> None:
    assert find_spots(draw((1, 0, 0)), face)[0] is None
    assert find_spots(draw(), face) == (None, None)


@pytest.mark.parametrize(
    ("spot", "colour"),
    [
        pytest.param((0, 0.3, 0.75), (250, 250, 250), id="on the lower lid"),
        pytest.param((0, 0.95, 0), (250, 250, 250), id="beside the iris"),
        pytest.param((0, 0, 0), (250, 120, 120), id="coloured"),
        pytest.param((0, 0, 0), (75, 70, 65), id="too faint"),
    ],
)
def test_what_is_no_catchlight_is_not_found(face: Face, spot: Any, colour: Any) -> None:
    assert find_spots(draw(spot, colour=colour), face)[0] is None


def test_what_is_too_wide_is_no_spot(face: Face) -> None:
    frame = draw()
    x, y = CENTRES[0]
    cv2.circle(frame, (round(x), round(y)), 12, (250, 250, 250), -1)
    lids = face.mesh[RINGS[0], :2]
    assert find_spot(frame.astype(np.float32), face.iris[0, 0], RADIUS, lids) is None


@pytest.mark.parametrize(
    ("radius", "opening", "covered", "counts"),
    [
        (9.1, 0.3, 0.0, True),
        (9.0, 0.3, 0.0, False),
        (9.1, 0.2, 0.0, False),
        (9.1, 0.3, 0.3, False),
    ],
    ids=["counts", "cornea below 12 px", "nearly shut", "covered"],
)
def test_which_eyes_count(radius: float, opening: float, covered: float, counts: bool) -> None:
    assert is_counted(radius, opening, covered) is counts


def test_eyes_of_a_face_count_by_size_lids_and_cover(face: Face) -> None:
    assert iris_radius(face, 0) == pytest.approx(RADIUS)
    assert counted_eyes(face, layers_of(face)) == (True, True)
    assert counted_eyes(face, layers_of(face, cover=0.9)) == (False, False)
    assert counted_eyes(make_face(radius=6.0), layers_of(face)) == (False, False)
    assert counted_eyes(make_face(opening=0.1), layers_of(face)) == (False, False)


def spot(x: float = 0.0, y: float = 0.0, area: float = 0.02, peak: float = 100.0) -> Spot:
    side = catchlight.SIDE
    rows, columns = np.indices((side, side)) - side / 2
    away = np.hypot(columns - x * catchlight.RADIUS, rows - y * catchlight.RADIUS)
    return Spot(np.array([x, y]), area, peak, away < 5)


def test_presence_by_hand() -> None:
    """Two shared, one lost, one invented, one in neither: F1 = 2 * 2 / (3 + 3)."""
    both = Pair(spot(), spot(0.3, 0.4, area=0.04, peak=50))
    found = score([both, both, Pair(spot(), None), Pair(None, spot()), Pair(None, None)])
    assert (found.eyes, found.present) == (5, 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.position == pytest.approx(0.5)
    assert (found.area, found.peak) == (pytest.approx(2.0), pytest.approx(0.5))


def test_without_any_catchlight_nothing_is_wrong_and_no_place_known() -> None:
    found = score([Pair(None, None)], excluded=3)
    assert (found.f1, found.excluded) == (1.0, 3)
    assert np.isnan(found.position)


def test_an_output_is_compared_in_the_eyes_that_count() -> None:
    ours, theirs = (spot(0.1), None), (spot(), spot())
    found = eye_figures(ours, theirs, (True, True), 0.0)
    assert [(p.target is None, p.output is None) for p in found["eyes"]] == [
        (False, False),
        (False, True),
    ]
    assert found["excluded_eyes"] == 0
    assert "two_eyes" not in found
    found = eye_figures(ours, theirs, (False, True), 0.0)
    assert len(found["eyes"]) == found["excluded_eyes"] == 1


def test_two_eyes_are_as_alike_as_the_targets() -> None:
    alike, apart = (spot(), spot()), (spot(-0.3), spot(0.3))
    assert eye_figures(alike, alike, (True, True), 5.0)["two_eyes"] == 0
    assert eye_figures(apart, alike, (True, True), 5.0)["two_eyes"] == -1
    assert eye_figures(alike, apart, (True, True), 5.0)["two_eyes"] == 1


def test_two_eyes_of_a_turned_head_or_a_shut_eye_say_nothing() -> None:
    alike = spot(), spot()
    for counted, yaw in (((True, True), NEAR_FRONTAL_DEG + 1), ((True, False), 0.0)):
        assert "two_eyes" not in eye_figures(alike, alike, counted, yaw)
        assert "two_eyes" not in eye_figures(alike, alike, counted, -yaw)
