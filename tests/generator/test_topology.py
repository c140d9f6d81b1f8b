"""The mesh layout: whole, symmetric, and remade from its own data."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from generator import topology
from generator.errors import ShapeError
from generator.topology import (
    BARE_PATCHES,
    FACE_OVAL,
    LEFT_BROW,
    LEFT_EYE,
    LIP_RINGS,
    MOUTH_PART,
    NOSTRILS,
    POINTS,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGID,
    SURFACE,
    average_neutral,
    derive_triangles,
    draw_outlines,
    load_topology,
    mirror_pairs,
)

RINGS = (FACE_OVAL, RIGHT_EYE, LEFT_EYE, *LIP_RINGS)


def edges(triangles: np.ndarray) -> list[tuple[int, int]]:
    return [(int(t[a]), int(t[b])) for t in triangles for a, b in ((0, 1), (1, 2), (2, 0))]


def test_shipped_triangles_are_what_the_shipped_neutral_face_derives() -> None:
    layout = load_topology()
    assert np.array_equal(derive_triangles(layout.neutral), layout.triangles)


def test_every_point_is_used_and_every_edge_has_one_neighbour_per_side() -> None:
    triangles = load_topology().triangles
    assert set(triangles.ravel().tolist()) == set(range(POINTS))
    assert max(Counter(edges(triangles)).values()) == 1


def test_the_only_border_is_the_face_oval() -> None:
    known = set(edges(load_topology().triangles))
    border = {point for a, b in known if (b, a) not in known for point in (a, b)}
    assert border == set(FACE_OVAL)


@pytest.mark.parametrize("ring", RINGS)
def test_no_triangle_crosses_a_named_ring(ring: tuple[int, ...]) -> None:
    known = {frozenset(edge) for edge in edges(load_topology().triangles)}
    assert all(frozenset(pair) in known for pair in zip(ring, (*ring[1:], ring[0]), strict=True))


def test_triangles_face_the_camera_on_the_neutral_face() -> None:
    layout = load_topology()
    a, b, c = (layout.neutral[layout.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.99


def test_mirror_is_its_own_inverse_and_swaps_the_named_sides() -> None:
    mirror = load_topology().mirror
    assert np.array_equal(mirror[mirror], np.arange(POINTS))
    assert set(mirror[list(RIGHT_EYE)]) == set(LEFT_EYE)
    assert set(mirror[list(RIGHT_BROW)]) == set(LEFT_BROW)
    assert set(mirror[list(FACE_OVAL)]) == set(FACE_OVAL)


def test_layout_is_symmetric() -> None:
    layout = load_topology()
    flipped = layout.neutral[layout.mirror] * [-1, 1, 1]
    assert np.abs(flipped - layout.neutral).max() < 1e-9
    present = {frozenset(t) for t in layout.triangles.tolist()}
    assert {frozenset(layout.mirror[t].tolist()) for t in layout.triangles} == present


def test_neutral_unit_is_the_eye_distance() -> None:
    neutral = load_topology().neutral
    gap = neutral[[362, 263]].mean(0) - neutral[[33, 133]].mean(0)
    assert np.linalg.norm(gap) == pytest.approx(1.0, abs=1e-3)
    assert gap[0] > 0.99
    assert neutral[1, 2] < neutral[234, 2], "the nose is nearer than the ear"


def test_openings_are_marked_apart_from_the_surface() -> None:
    layout = load_topology()
    counts = np.bincount(layout.part)
    assert counts.tolist() == [len(layout.triangles) - 46, 14, 14, 18]
    inside = layout.triangles[layout.part == MOUTH_PART]
    assert set(inside.ravel().tolist()) == set(LIP_RINGS[-1])
    assert (layout.part[[0, -19]] == SURFACE).all()


def test_rim_distance_is_zero_on_the_oval_and_grows_inwards() -> None:
    layout = load_topology()
    assert np.abs(layout.rim[list(FACE_OVAL)]).max() < 1e-9
    assert layout.rim[4] > layout.rim[50] > layout.rim[234]


def test_named_points_exist_once_per_ring() -> None:
    for ring in (*RINGS, RIGHT_BROW, LEFT_BROW, RIGID, NOSTRILS, *BARE_PATCHES):
        assert len(set(ring)) == len(ring)
        assert all(0 <= point < POINTS for point in ring)


def test_outlines_follow_the_mesh() -> None:
    mesh = load_topology().neutral * 100 + 300
    lines = draw_outlines(mesh)
    assert np.allclose(lines.oval, mesh[list(FACE_OVAL), :2])
    for side, (eye, socket) in enumerate(zip(lines.eyes, lines.sockets, strict=True)):
        assert (socket.min(0) < eye.min(0)).all(), side
        assert (socket.max(0) > eye.max(0)).all(), side
    assert lines.eyes[0][:, 0].max() < lines.eyes[1][:, 0].min(), "right eye is left in the image"


def test_average_of_turned_copies_is_the_neutral_face_again() -> None:
    layout = load_topology()
    rng = np.random.default_rng(5)
    copies = []
    for angle in (0.0, -0.04, 0.03):
        turn = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        )
        copies.append(layout.neutral @ turn * rng.uniform(50, 200) + rng.uniform(-50, 50, 3))
    again = average_neutral(np.array(copies))
    assert np.abs(again - layout.neutral).max() < 2e-3
    assert np.array_equal(mirror_pairs(again), layout.mirror)


def test_damaged_data_file_is_refused(tmp_path, monkeypatch) -> None:
    broken = tmp_path / "topology.json"
    broken.write_text('{"neutral": [[0, 0, 0]], "triangles": [[0, 0, 0]]}')
    monkeypatch.setattr(topology, "DATA_FILE", broken)
    with pytest.raises(ShapeError) as caught:
        load_topology.__wrapped__()
    assert caught.value.code == "SHAPE-ERROR"


def test_remaking_writes_the_shipped_file(tmp_path, monkeypatch) -> None:
    layout = load_topology()
    monkeypatch.setattr(topology, "DATA_FILE", tmp_path / "topology.json")
    np.save(tmp_path / "meshes.npy", layout.neutral[None] * 80)
    topology.main([str(tmp_path / "meshes.npy")])
    again = load_topology.__wrapped__()
    assert np.array_equal(again.triangles, layout.triangles)
