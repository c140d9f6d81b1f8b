"""Who may stand in for whom: split by person, both ways, and only pictures the ledger gives out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.canonical import frame_square
from generator.errors import FaceError
from generator.faces import Face
from generator.topology import load_topology
from generator.triplets import (
    MAX_YAW_GAP,
    Sample,
    Scene,
    Shot,
    Triplet,
    disturb_mesh,
    disturb_square,
    list_triplets,
    make_sample,
    read_scenes,
    shot_path,
)
from policies.warrant import WarrantInvalid
from provenance.data_sets import Split, split_of

SCENES = st.lists(
    st.tuples(st.integers(0, 29), st.integers(0, 29), st.floats(-0.8, 0.8)).filter(
        lambda row: row[0] != row[1]
    ),
    max_size=25,
).map(lambda rows: [Scene(f"s{n}", *row) for n, row in enumerate(rows)])
PARTS: tuple[Split, ...] = ("train", "validation", "test")


def shown_in(scene: Scene, shot: Shot) -> set[int]:
    """Whose skin is in a picture: the target persona's always, in a swap the other's too."""
    both = {scene.target_persona, scene.source_persona}
    return {scene.target_persona} if shot.kind == "target" else both


@settings(max_examples=60, deadline=None)
@given(scenes=SCENES)
def test_no_picture_of_one_part_is_used_in_another(scenes: list[Scene]) -> None:
    by_name, used = {scene.scene: scene for scene in scenes}, {}
    for part in PARTS:
        for triplet in list_triplets(scenes, part):
            for shot in (triplet.target, triplet.label, triplet.source):
                assert used.setdefault(shot, part) == part
                people = shown_in(by_name[shot.scene], shot)
                if part == "train":
                    assert not {p % 10 for p in people} & {8, 9}
                if part == "validation":
                    assert 9 not in {p % 10 for p in people}


@settings(max_examples=60, deadline=None)
@given(scenes=SCENES)
def test_every_triplet_says_what_its_kind_says(scenes: list[Scene]) -> None:
    by_name = {scene.scene: scene for scene in scenes}
    for part in PARTS:
        for one in list_triplets(scenes, part):
            own, lender = by_name[one.target.scene], by_name[one.source.scene]
            assert one.target.scene == one.label.scene
            if one.kind == "same":
                assert one.target == one.label == one.source
                assert one.target.kind == "target"
                continue
            ways = {"forward": ("target", "swap"), "reverse": ("swap", "target")}
            assert (one.target.kind, one.label.kind) == ways[one.kind]
            assert one.source.scene != one.target.scene, "never its own pixels"
            wanted = own.source_persona if one.kind == "forward" else own.target_persona
            face = lender.target_persona if one.source.kind == "target" else lender.source_persona
            assert face == wanted, "the source has the face that the label has"
            assert abs(own.yaw - lender.yaw) <= MAX_YAW_GAP


def test_every_other_picture_of_the_person_is_a_source() -> None:
    scenes = [
        Scene("a", 1, 2, 0.0),
        Scene("b", 2, 3, 0.1),
        Scene("c", 4, 2, -0.1),
        Scene("far", 2, 3, 1.2),
        Scene("test", 2, 9, 0.0),
    ]
    forward = {
        one.source
        for one in list_triplets(scenes, "train")
        if one.kind == "forward" and one.target.scene == "a"
    }
    assert forward == {Shot("b", "target"), Shot("c", "swap")}
    assert split_of(2, 9) == scenes[4].split == "test"


def test_each_scene_swaps_onto_itself_once() -> None:
    scenes = [Scene("a", 1, 2, 0.0), Scene("b", 3, 4, 0.0)]
    kinds = [(one.target, one.kind) for one in list_triplets(scenes, "train")]
    assert kinds == [(Shot("a", "target"), "same"), (Shot("b", "target"), "same")]


def test_scenes_are_read_in_their_order(personas: Path) -> None:
    scenes = read_scenes(personas)
    assert [scene.scene for scene in scenes] == ["s0", "s1", "s2", "s3", "s4"]
    assert scenes[2] == Scene("s2", 8, 18, 0.1)
    assert shot_path(personas, Shot("s2", "swap")).is_file()


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"no index\.jsonl"):
        read_scenes(tmp_path)


GOOD = {"scene": "a", "target_persona": 1, "source_persona": 2, "yaw": 0.0}


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        json.dumps({key: value for key, value in GOOD.items() if key != "yaw"}),
        json.dumps(GOOD | {"target_persona": "one"}),
        json.dumps(GOOD | {"yaw": None}),
        json.dumps(GOOD | {"scene": "../../other"}),
        json.dumps(GOOD | {"scene": ""}),
    ],
)
def test_a_line_that_is_no_scene_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "index.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(FaceError, match=r"line 2 of index\.jsonl"):
        read_scenes(tmp_path)


A, B, C = Shot("a", "target"), Shot("a", "swap"), Shot("b", "target")
FORWARD = Triplet(A, B, C, "forward")


@pytest.fixture(scope="module")
def made(people: Any) -> Any:
    """`made(variant, seed=..., faces=...)`: a sample of persona 1's face going onto persona 2."""
    names = {A: "persona2_0", B: "persona1_1", C: "persona1_0"}
    pictures = {shot: people.admit(name, "release_training") for shot, name in names.items()}
    faces = {shot: people.face(name) for shot, name in names.items()}

    def make(variant: int, *, seed: int = 0, without: tuple[Shot, ...] = (), **other: Any) -> Any:
        known = {shot: face for shot, face in faces.items() if shot not in without}
        given = pictures | other.pop("pictures", {})
        rng = np.random.default_rng(seed)
        return make_sample(FORWARD, variant, given, known | other.pop("faces", {}), rng, **other)

    return make


@pytest.fixture(scope="module")
def plain(made: Any) -> Sample:
    sample: Sample = made(0)
    return sample


def test_a_sample_is_a_square_of_bytes(plain: Sample, people: Any) -> None:
    assert (plain.pictures.shape, plain.pictures.dtype) == ((5, 128, 128, 3), np.uint8)
    assert (plain.mask.shape, plain.mask.dtype) == ((128, 128), np.uint8)
    assert plain.mask.max() == 255
    for points in (plain.label_points, plain.composite_points):
        assert (points.shape, points.dtype) == ((468, 2), np.float32)
    assert np.array_equal(plain.id_source, people.face("persona1_0").id_vector)
    assert np.array_equal(plain.id_target, people.face("persona2_0").id_vector)
    target, _, _, composite, label = plain.pictures.astype(int)
    still = plain.mask == 0
    # The cut looks at neighbours, so next to the mask a soft edge is left.
    assert np.abs(target - composite)[still].mean() < 0.5
    assert np.abs(target - composite)[plain.mask == 255].mean() > 3
    assert np.abs(label - target).mean() > 3


def test_points_lie_on_the_face(plain: Sample) -> None:
    inner = plain.composite_points.round().astype(int)
    assert inner.min() >= 0
    assert inner.max() < 128
    assert np.mean(plain.mask[inner[:, 1], inner[:, 0]] > 0) > 0.7


def test_another_side_is_another_square(made: Any) -> None:
    assert made(0, side_px=64).pictures.shape == (5, 64, 64, 3)


def test_the_plain_variant_takes_nothing_from_the_random_source(made: Any, plain: Sample) -> None:
    again = made(0, seed=9)
    assert np.array_equal(plain.pictures, again.pictures)
    assert np.array_equal(plain.mask, again.mask)


def test_disturbed_variants_differ_and_follow_the_seed(made: Any, plain: Sample) -> None:
    first, second, other = made(1, seed=1), made(1, seed=1), made(1, seed=2)
    for name in ("pictures", "mask", "composite_points", "label_points"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
        assert not np.array_equal(getattr(first, name), getattr(plain, name))


def test_without_a_face_there_is_no_sample_but_the_label_may_lack_one(made: Any) -> None:
    assert made(0, without=(A,)) is None
    assert made(0, without=(C,)) is None
    unknown = made(0, without=(B,))
    assert np.isnan(unknown.label_points).all()
    assert np.isfinite(unknown.composite_points).all()


def test_what_geo_refuses_is_no_sample(made: Any, people: Any) -> None:
    turned = replace(people.face("persona1_0"), pose=(70.0, 0.0, 0.0))
    assert made(0, faces={C: turned}) is None


def test_pictures_that_no_ledger_gave_out_are_refused(made: Any, people: Any) -> None:
    with pytest.raises(WarrantInvalid):
        made(0, pictures={C: people.picture("persona1_0")})


def test_a_disturbed_mesh_stays_near(people: Any) -> None:
    face: Face = people.face("persona1_0")
    off = disturb_mesh(face, np.random.default_rng(0))
    assert off.mesh.dtype == np.float32
    away = np.linalg.norm((off.mesh - face.mesh)[:, :2], axis=1)
    width = float(np.ptp(face.mesh[:, 0]))
    assert 0.001 * width < away.mean() < 0.03 * width
    assert np.array_equal(off.id_vector, face.id_vector)


def test_a_disturbed_square_is_turned_scaled_and_shifted_a_little() -> None:
    square = frame_square(load_topology().neutral * 60 + [128, 128, 0], (256, 256))
    rng = np.random.default_rng(0)
    scales, spots = [], []
    for _ in range(50):
        off = disturb_square(square, rng)
        turn = off.matrix[:, :2] @ np.linalg.inv(square.matrix[:, :2])
        np.testing.assert_allclose(turn @ turn.T, np.eye(2) * np.linalg.det(turn), atol=1e-9)
        scales.append(off.scale / square.scale)
        spots.append(
            off.place(np.array([[128.0, 128.0]])) - square.place(np.array([[128.0, 128.0]]))
        )
    assert 0.02 < np.std(scales) < 0.1
    assert 1 < np.std(spots) < 6
