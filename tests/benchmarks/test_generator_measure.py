"""One pair measured whole: the true swap has no error, the plain copy's head does not move."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from benchmarks.generator.features import FeatureNet
from benchmarks.generator.judges import Judges, landmark_gap, turn_gaps
from benchmarks.generator.measure import Bench, Results, measure_set
from benchmarks.generator.pairs import ROOT, Pair, Pictures
from benchmarks.generator.rows import NOISE_ROW
from generator.faces import Face, open_analyser
from provenance.data_ledger import DataLedger
from provenance.data_sets import list_demo

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = ("target", NOISE_ROW, "geo")


@pytest.fixture(scope="module")
def found() -> tuple[Results, list[str]]:
    """A pair of demo people with another picture of the target as its true swap, and without."""
    files = {path.name: path for path, _ in list_demo(ROOT)}
    source, target, label = (files[f"persona{n}.webp"] for n in ("1_0", "2_0", "2_1"))
    people = "persona:demo-1", "persona:demo-2"
    pairs = [
        Pair("with a true swap", source, target, label, *people, both_unseen=False),
        Pair("without", source, target, None, *people, both_unseen=True),
    ]
    judges, told = Judges(open_analyser()), list[str]()
    pictures = Pictures(DataLedger(row for _, row in list_demo(ROOT)), NOW)
    others = {}
    for person, name in zip(people, ("1_1", "2_2"), strict=True):
        seen = judges.look(pictures[files[f"persona{name}.webp"]].frame)
        assert seen is not None
        others[person] = seen
    bench = Bench(judges, FeatureNet(), told.append)
    return measure_set(pairs, pictures, ROWS, bench, others, keep=1), told


def test_the_true_swap_has_no_error(found: Any) -> None:
    label = found[0].rows["label"][0]
    for name in ("changed", "l1", "features", "landmarks"):
        assert label[name] == 0, name
    assert label["ssim"] == pytest.approx(1)
    for level in (1, 2, 3):
        assert label[f"octaves_{level}"] == pytest.approx(0, abs=1e-9)
        assert label[f"coherence_{level}"] == pytest.approx(1)
    assert label["pose_deg"] > 1


def test_the_copys_head_and_eyes_do_not_move(found: Any) -> None:
    copy = found[0].rows["target"][0]
    for name in ("yaw_deg", "pitch_deg", "roll_deg", "expression", "gaze", "seam"):
        assert copy[name] == 0, name
    assert copy["pose_deg"] == pytest.approx(0, abs=0.01)
    for name in ("changed", "l1", "features", "landmarks"):
        assert copy[name] > 0, name
    assert copy["faceres_margin"] < 0


def test_noise_moves_every_figure_a_little(found: Any) -> None:
    copy, noise = (found[0].rows[row][1] for row in ("target", NOISE_ROW))
    assert 0 < noise["pose_deg"] < 1
    assert 0 < noise["octaves_1"]
    assert 0.5 < noise["coherence_1"] < 1
    assert copy["coherence_1"] == pytest.approx(1)


def test_without_a_true_swap_detail_is_compared_with_the_target(found: Any) -> None:
    second = found[0].rows["geo"][1]
    assert not {"l1", "ssim", "features", "landmarks"} & set(second)
    assert second["coherence_1"] < 0.9
    assert len(found[0].rows["label"]) == 1


def test_a_swap_is_nearer_the_source_than_the_copy_is(found: Any) -> None:
    copy, swapped = (found[0].rows[row][0] for row in ("target", "geo"))
    for judge in ("faceres", "idnet"):
        assert swapped[f"{judge}_to_source"] < copy[f"{judge}_to_source"]
    assert copy["faceres_rank1_target"] == 1
    assert copy["faceres_rank5"] == 1


def test_all_rows_have_the_same_eyes(found: Any) -> None:
    for number in (0, 1):
        counts = {
            (len(rows[number]["eyes"]), rows[number]["excluded_eyes"])
            for row, rows in found[0].rows.items()
            if row != "label"
        }
        assert len(counts) == 1
        assert sum(counts.pop()) == 2


def test_it_tells_of_every_pair_and_keeps_the_frames_that_were_asked_for(found: Any) -> None:
    results, told = found
    assert told == ["pair 1 of 2: with a true swap", "pair 2 of 2: without"]
    assert set(results.frames) == {"with a true swap"}
    assert set(results.frames["with a true swap"]) == {"source", "target", "label", *ROWS}
    assert not results.refused


def made_face(points: Any, pose: tuple[float, float, float] = (0, 0, 0)) -> Face:
    mesh = np.zeros((468, 3), np.float32)
    mesh[33], mesh[263] = (0, 0, 0), (60, 80, 0)
    mesh[:, :2] += np.asarray(points, np.float32)
    return Face(
        box=(0, 0, 9, 9), score=1.0, mesh=mesh, iris=np.zeros((2, 5, 2), np.float32),
        pose=pose, id_vector=np.ones(4, np.float32),
    )  # fmt: skip


def test_landmarks_by_hand() -> None:
    """Every point 30 and 40 pixels off, where the outer eye corners are 100 apart."""
    assert landmark_gap(made_face((30, 40)), made_face((0, 0))) == pytest.approx(0.5)


def test_turns_by_hand() -> None:
    one, other = made_face((0, 0), (10.0, -5.0, 179.0)), made_face((0, 0), (-2.0, -9.0, -178.0))
    assert turn_gaps(one, other) == pytest.approx({"yaw_deg": 12, "pitch_deg": 4, "roll_deg": 3})
