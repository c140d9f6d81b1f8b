"""The square goes with the face: turned, scaled or shifted, it shows the same, and finds back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.canonical import MARGIN, SIDE_PX, Square, frame_square
from generator.errors import ShapeError
from generator.topology import load_topology

SHAPE = (256, 256)
ANGLES = st.floats(-3.1, 3.1)
SCALES = st.floats(0.3, 4.0)
SHIFTS = st.floats(-300, 300)


def mesh_at(size: float = 60.0, x: float = 128.0, y: float = 128.0) -> np.ndarray:
    return load_topology().neutral * size + [x, y, 0]


def turned(mesh: np.ndarray, *, yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """The mesh turned about its middle, angles in radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    side = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(roll), np.sin(roll)
    flat = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    middle = mesh.mean(0)
    return (mesh - middle) @ side.T @ flat.T + middle


def scene(places: np.ndarray) -> np.ndarray:
    """A smooth picture as a function of face coordinates (h, w, 2): values 0..255, three planes."""
    x, y = places[..., 0], places[..., 1]
    waves = [np.sin(1.3 * x + 0.4), np.cos(1.7 * y), np.sin(x + y)]
    return (127.5 + 100 * np.stack(waves, -1)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(angle=ANGLES, scale=SCALES, x=SHIFTS, y=SHIFTS)
def test_the_square_moves_with_the_mesh(angle: float, scale: float, x: float, y: float) -> None:
    mesh = turned(mesh_at(), yaw=0.3)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    moved = mesh @ np.array([[c, -s, 0], [s, c, 0], [0, 0, scale]]).T + [x, y, 0]
    before, after = frame_square(mesh, SHAPE), frame_square(moved, SHAPE)
    np.testing.assert_allclose(after.place(moved), before.place(mesh), atol=2e-3)
    assert after.scale == pytest.approx(before.scale / scale)


@settings(max_examples=8, deadline=None)
@given(angle=st.floats(-0.6, 0.6), scale=st.floats(0.8, 1.3), x=st.floats(-9, 9))
def test_a_moved_picture_gives_the_same_square(angle: float, scale: float, x: float) -> None:
    shown = []
    for turn, size, shift in ((0.0, 1.0, 0.0), (angle, scale, x)):
        mesh = turned(mesh_at(40 * size, 128 + shift), roll=turn)
        y, at = np.mgrid[:256, :256].astype(np.float64)
        c, s = np.cos(-turn), np.sin(-turn)
        away = np.stack([at, y], -1) - mesh.mean(0)[:2]
        picture = scene(away @ np.array([[c, -s], [s, c]]).T / (40 * size))
        shown.append(frame_square(mesh, SHAPE).cut(picture))
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(shown[0][inner] - shown[1][inner]).mean() < 0.5
    assert np.abs(shown[0][inner] - shown[1][inner]).max() < 4


def test_the_face_fills_the_square_upright() -> None:
    places = frame_square(turned(mesh_at(), roll=0.7), SHAPE).place(turned(mesh_at(), roll=0.7))
    low, high = places.min(0), places.max(0)
    assert float((high - low).max()) == pytest.approx(SIDE_PX / MARGIN, rel=1e-3)
    np.testing.assert_allclose((low + high) / 2, SIDE_PX / 2 - 0.5, atol=0.01)
    assert places[10, 1] < places[152, 1], "the forehead is above the chin"
    assert places[33, 0] < places[263, 0], "the subject's right eye is on the left"


@pytest.mark.parametrize("yaw", [-0.8, -0.4, 0.4, 0.8])
def test_the_square_of_a_turned_head_is_not_larger(yaw: float) -> None:
    plain, aside = (frame_square(turned(mesh_at(), yaw=angle), SHAPE) for angle in (0.0, yaw))
    assert aside.scale == pytest.approx(plain.scale, rel=1e-6)
    inside = aside.place(turned(mesh_at(), yaw=yaw))
    assert inside.min() > 0
    assert inside.max() < SIDE_PX - 1


@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_larger_square_shows_the_same_more_finely(side: int) -> None:
    square, other = frame_square(mesh_at(), SHAPE, side), frame_square(mesh_at(), SHAPE)
    assert square.scale == pytest.approx(other.scale * side / SIDE_PX)
    spot = np.array([[100.0, 140.0]])
    np.testing.assert_allclose(
        (square.place(spot) + 0.5) / side, (other.place(spot) + 0.5) / SIDE_PX, atol=1e-6
    )


@pytest.mark.parametrize("roll", [0.0, 0.5])
def test_what_is_cut_is_put_back_where_it_was(roll: float) -> None:
    mesh = turned(mesh_at(50), roll=roll)
    y, x = np.mgrid[:256, :256]
    picture = scene((np.stack([x, y], -1) - mesh.mean(0)[:2]) / 50)
    square = frame_square(mesh, SHAPE)
    back = square.put_back(square.cut(picture))
    assert (back.shape, back.dtype) == (picture.shape, np.float32)
    inside = square.put_back(np.ones((128, 128), np.float32)) == 1
    assert inside.sum() > 10_000
    assert np.abs(back - picture)[inside].max() < 2
    corners = square.place(np.array([[0.0, 0.0], [255.0, 0.0]]))
    assert (corners < -1).any(axis=1).all() or (corners > 128).any()
    assert not back[0, 0].any()
    assert not back[255, 255].any(), "outside of it nothing is put"


def test_planes_and_pictures_are_cut_alike() -> None:
    square = frame_square(mesh_at(), SHAPE)
    plane = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    assert square.cut(plane).shape == (128, 128)
    assert square.cut(np.repeat(plane[..., None], 3, 2)).shape == (128, 128, 3)
    assert square.put_back(square.cut(plane)).shape == SHAPE
    assert 0 <= square.cut(plane).min() <= square.cut(plane).max() <= 1, "a mask stays a mask"


def test_large_faces_are_blurred_before_they_shrink() -> None:
    """A grid of single pixels becomes grey; without the blur it would beat against the square's."""
    y, x = np.mgrid[:900, :900]
    board = (255.0 * ((x + y) % 2)).astype(np.float32)
    square = frame_square(mesh_at(250, 450, 450), (900, 900))
    assert square.scale < 0.6
    inner = square.cut(board)[20:-20, 20:-20]
    assert np.abs(inner - 127.5).max() < 20


@settings(max_examples=10, deadline=None)
@given(dx=st.integers(-6, 6), dy=st.integers(-6, 6))
def test_a_constant_flow_is_a_shift(dx: int, dy: int) -> None:
    """Flow is in pixels of the square and comes out in pixels of the picture, turned and scaled."""
    picture = np.random.default_rng(1).uniform(0, 255, (*SHAPE, 3)).astype(np.float32)
    square = Square(np.array([[0.0, 0.5, 4.0], [-0.5, 0.0, 124.0]]), 128, (256, 256))
    # One picture pixel along x is half a square pixel up, one along y half a pixel to the right.
    flow = np.zeros((128, 128, 2), np.float32)
    flow[...] = 0.5 * dy, -0.5 * dx
    moved = square.move(picture, flow)
    inner = np.s_[40:200, 40:200]
    shifted = np.roll(picture, (-dy, -dx), (0, 1))
    np.testing.assert_allclose(moved[inner], shifted[inner], atol=0.01)


def test_without_flow_and_outside_the_square_nothing_moves() -> None:
    picture = np.random.default_rng(1).uniform(0, 255, (*SHAPE, 3)).astype(np.float32)
    square = frame_square(mesh_at(30), SHAPE)
    assert np.array_equal(square.move(picture, np.zeros((128, 128, 2), np.float32)), picture)
    moved = square.move(picture, np.full((128, 128, 2), 5, np.float32))
    outside = square.put_back(np.ones((128, 128), np.float32)) == 0
    assert np.array_equal(moved[outside], picture[outside])
    assert not np.array_equal(moved, picture)


@pytest.mark.parametrize(
    "mesh",
    [np.zeros((468, 3)), np.full((468, 3), np.nan), np.zeros((467, 3))],
    ids=["a spot", "nan", "too few points"],
)
def test_meshes_that_cannot_be_fitted_are_refused(mesh: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        frame_square(mesh, SHAPE)


@pytest.mark.parametrize("roll", [0.0, 0.7])
def test_points_go_where_a_flow_takes_what_they_lie_on(roll: float) -> None:
    """A spot painted on each point lies on the followed point in the moved picture."""
    square = frame_square(turned(mesh_at(70.0), roll=roll), SHAPE)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32) / SIDE_PX
    flow = np.stack([5 * np.sin(4 * y + 1), 4 * np.cos(5 * x)], -1).astype(np.float32)
    points = np.array([[110.0, 120.0, 3.0], [150.0, 140.0, -2.0], [128.0, 165.0, 0.0]])
    followed = square.follow(points, flow)
    assert np.array_equal(followed[:, 2], points[:, 2])
    assert np.hypot(*(followed - points)[:, :2].T).min() > 1
    down, across = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for before, after in zip(points, followed, strict=True):
        spot = np.exp(-((across - before[0]) ** 2 + (down - before[1]) ** 2) / 8)
        seen = square.move(spot[..., None].astype(np.float32), flow).reshape(SHAPE)
        middle = [(seen * axis).sum() / seen.sum() for axis in (across, down)]
        np.testing.assert_allclose(middle, after[:2], atol=0.25)
