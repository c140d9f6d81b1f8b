"""Landmarks held steady: a head at rest, a head that turns, a blink, a look to the side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from generator.errors import ShapeError
from generator.steady import SteadyFace
from generator.topology import load_topology

FPS, UNIT = 24.0, 60.0
CENTRE = np.array([200.0, 150.0, 0.0])


def head(yaw: float = 0.0, *, shift: float = 0.0) -> tuple[Any, Any]:
    """Mesh and irises of a neutral head in a picture, turned by `yaw` degrees."""
    a = np.radians(yaw)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    neutral = load_topology().neutral
    mesh = (neutral @ turn * UNIT + CENTRE + [shift, 0, 0]).astype(np.float32)
    eyes = [mesh[list(pair), :2].mean(axis=0) for pair in ((33, 133), (263, 362))]
    ring = np.array([[0, 0], [3, 0], [0, 3], [-3, 0], [0, -3]], np.float32)
    return mesh, np.stack([eye + ring for eye in eyes]).astype(np.float32)


def run(frames: Any) -> tuple[Any, Any]:
    steady = SteadyFace()
    made = [steady.step(mesh, iris, at=n / FPS) for n, (mesh, iris) in enumerate(frames)]
    return np.stack([mesh for mesh, _ in made]), np.stack([iris for _, iris in made])


def jitter(points: Any) -> float:
    return float(np.linalg.norm(np.diff(points[..., :2], 2, axis=0), axis=-1).mean())


def noisy(frames: Any, size: float = 0.6) -> list[Any]:
    rng = np.random.default_rng(3)
    return [
        (
            (mesh + rng.normal(0, size, mesh.shape)).astype(np.float32),
            (iris + rng.normal(0, size, iris.shape)).astype(np.float32),
        )
        for mesh, iris in frames
    ]


def test_a_resting_head_is_left_as_it_is() -> None:
    mesh, iris = head(12)
    meshes, irises = run([(mesh, iris)] * 6)
    assert meshes.dtype == irises.dtype == np.float32
    assert np.abs(meshes - mesh).max() < 1e-3
    assert np.abs(irises - iris).max() < 1e-3


def test_the_first_frame_of_a_track_is_not_changed() -> None:
    for yaw in (0, 30, -45):
        mesh, iris = head(yaw)
        [first], [eyes] = run([(mesh, iris)])
        assert np.abs(first - mesh).max() < 1e-3
        assert np.abs(eyes - iris).max() < 1e-3


def test_jitter_falls_at_rest_and_in_a_turn() -> None:
    for frames in ([head()] * 40, [head(n) for n in range(-20, 20)]):
        given = noisy(frames)
        meshes, irises = run(given)
        truth = jitter(np.stack([mesh for mesh, _ in frames]))
        raw = jitter(np.stack([mesh for mesh, _ in given])) - truth
        assert jitter(meshes) - truth < 0.6 * raw
        assert jitter(irises) < 0.7 * jitter(np.stack([iris for _, iris in given]))


def test_it_does_not_lag_behind_a_fast_head() -> None:
    """A head that crosses its own width in a second and a half, and one that turns by 60 degrees
    a second: behind by under 2 % of the eye distance."""
    walk = [head(shift=4 * n) for n in range(30)]
    turn = [head(2.5 * n - 35) for n in range(30)]
    for frames, most in ((walk, 0.02), (turn, 0.02)):
        meshes, irises = run(frames)
        mesh, iris = frames[-1]
        assert np.abs(meshes[-1] - mesh)[:, :2].mean() < most * UNIT
        assert np.abs(irises[-1] - iris).mean() < most * UNIT


def test_a_blink_is_followed_within_frames() -> None:
    mesh, iris = head()
    shut = mesh.copy()
    shut[[159, 386], 1] = mesh[[145, 374], 1]  # upper lids onto lower ones
    meshes, _ = run([(mesh, iris)] * 10 + [(shut, iris)] * 3)
    gap = mesh[145, 1] - mesh[159, 1]
    gaps = meshes[:, 145, 1] - meshes[:, 159, 1]
    assert gaps[9] == pytest.approx(gap, rel=0.01)
    assert gaps[11] < 0.35 * gap
    still = np.delete(np.arange(468), [159, 386])
    assert np.abs(meshes[12, still] - mesh[still]).max() < 0.05 * UNIT


def test_a_look_to_the_side_is_followed_within_frames() -> None:
    mesh, iris = head()
    aside = iris + np.array([6, 0], np.float32)
    _, irises = run([(mesh, iris)] * 10 + [(mesh, aside)] * 3)
    assert np.abs(irises[9] - iris).max() < 0.01
    assert (irises[-1] - iris)[..., 0].min() > 4.5


def test_a_mesh_that_is_no_head_is_left_and_begins_it_anew() -> None:
    mesh, iris = head()
    nothing = np.zeros_like(mesh)
    moved, eyes = head(shift=80)
    meshes, irises = run([(mesh, iris), (nothing, iris), (moved, eyes)])
    assert np.array_equal(meshes[1], nothing)
    assert np.array_equal(irises[1], iris)
    assert np.abs(meshes[2] - moved).max() < 1e-3, "nothing of what was before"


def test_times_have_to_rise() -> None:
    steady = SteadyFace()
    mesh, iris = head()
    steady.step(mesh, iris, at=1.0)
    with pytest.raises(ShapeError):
        steady.step(mesh, iris, at=1.0)
