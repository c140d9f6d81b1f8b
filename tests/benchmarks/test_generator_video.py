"""The video table: a still clip does not shake, what shimmers does, what is lost is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator import video
from benchmarks.generator.judges import Judged, Judges
from benchmarks.generator.pairs import ROOT, Pictures
from benchmarks.generator.video import (
    ROWS,
    Reel,
    Take,
    compare_takes,
    hold_steady,
    measure_reel,
    measure_video,
    open_filmed,
    open_rendered,
)
from generator.faces import Face, open_analyser
from generator.swapper import OutOfRange
from provenance.data_ledger import AdmittedPicture, DataLedger, DataRefused
from provenance.data_sets import list_demo
from provenance.media import encode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 5


@pytest.fixture(scope="module")
def pictures() -> dict[str, AdmittedPicture]:
    rows = list(list_demo(ROOT))
    admitted = Pictures(DataLedger(row for _, row in rows), NOW)
    return {path.name: admitted[path] for path, _ in rows if path.name.startswith("persona2_0")} | {
        path.name: admitted[path] for path, _ in rows if path.name.startswith("persona1_0")
    }


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges(open_analyser())


@pytest.fixture(scope="module")
def seen(judges: Judges, pictures: dict[str, AdmittedPicture]) -> Judged:
    found = judges.look(pictures["persona2_0.webp"].frame)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def still(pictures: dict[str, AdmittedPicture]) -> Reel:
    return Reel("still", [pictures["persona2_0.webp"]] * COUNT, 24.0)


def take(frame: Any, seen: Judged | None, frames: Any = None) -> Take:
    masks = [np.ones(frame.shape[:2], np.float32)] * COUNT
    return Take([frame] * COUNT if frames is None else frames, masks, [seen] * COUNT)


def test_a_still_clip_does_not_shake_in_any_row(
    still: Reel, pictures: dict[str, AdmittedPicture], judges: Judges, monkeypatch: Any
) -> None:
    monkeypatch.setattr(video, "ROWS", ROWS[:2])
    found = measure_reel(still, pictures["persona1_0.webp"], judges)
    assert list(found) == ["target", "geo"]
    for figures in found.values():
        for name in ("jitter_milli", "flow_l1", "flicker", "lost"):
            assert figures[name] == pytest.approx(0, abs=0.05), name
        assert figures["id_std"] == pytest.approx(0, abs=1e-4)
    assert found["target"]["expression"] == 0
    assert found["geo"]["expression"] > 0


def test_what_shimmers_is_told(pictures: dict[str, AdmittedPicture], seen: Judged) -> None:
    frame = pictures["persona2_0.webp"].frame
    bright = np.clip(frame.astype(np.int16) + 12, 0, 255).astype(np.uint8)
    frames = [bright if number % 2 else frame for number in range(COUNT)]
    found = compare_takes(take(frame, seen, frames), take(frame, seen))
    assert 8 < found["flow_l1"] <= 12
    assert found["flicker"] > 1
    assert found["jitter_milli"] == 0


def test_points_that_tremble_are_told(pictures: dict[str, AdmittedPicture], seen: Judged) -> None:
    frame = pictures["persona2_0.webp"].frame
    faces = [
        replace(seen.face, mesh=seen.face.mesh + np.float32(number % 2)) for number in range(COUNT)
    ]
    shaken = Take([frame] * COUNT, take(frame, seen).masks, [
        Judged(face, seen.vectors) for face in faces
    ])  # fmt: skip
    assert compare_takes(shaken, take(frame, seen))["jitter_milli"] > 5


def test_without_a_face_in_every_frame_only_pixels_are_compared(
    pictures: dict[str, AdmittedPicture], seen: Judged
) -> None:
    frame = pictures["persona2_0.webp"].frame
    one = take(frame, seen)
    lost = replace(one, seen=[None, *one.seen[1:]])
    assert compare_takes(lost, one) == {"flow_l1": 0, "lost": pytest.approx(1 / COUNT)}
    assert set(compare_takes(one, lost)) == {"flow_l1", "lost"}


def test_a_trembling_mesh_is_held_steady(seen: Judged) -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, (8, 468, 3)).astype(np.float32)
    shaken = [replace(seen.face, mesh=seen.face.mesh + n) for n in noise]
    calm = hold_steady(shaken, 24.0)

    def restless(faces: list[Face]) -> float:
        return float(np.diff([face.mesh for face in faces], n=2, axis=0).std())

    assert restless(calm) < restless(shaken)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "yes.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for level in range(3):
        writer.write(np.full((48, 64, 3), 40 * level, np.uint8))
    writer.release()
    return path


def test_filmed_frames_are_admitted_for_measuring_alone(film: Path) -> None:
    reel = open_filmed(film, NOW, 2)
    assert reel is not None
    assert (len(reel.frames), reel.fps) == (2, 25.0)
    first = reel.frames[0]
    assert first.purpose == "evaluation"
    assert first.row.is_of_real_people
    assert not first.row.publication
    content = encode(first.frame, "image/png")
    for purpose in ("release_training", "research_training"):
        with pytest.raises(DataRefused):
            DataLedger([first.row]).admit(content, first.row.path, purpose=purpose, now=NOW)


def test_clips_that_are_not_at_hand_are_left_out(
    tmp_path: Path, judges: Judges, monkeypatch: Any
) -> None:
    assert open_filmed(tmp_path / "none.mkv", NOW, 2) is None
    monkeypatch.setattr(video, "FILMED", tmp_path / "none.mkv")
    monkeypatch.setattr(video, "open_rendered", lambda *_: None)
    found = measure_video(judges, NOW, lambda words: None, quick=True)
    absent = {"left out": "the clip is not at hand"}
    assert (found["rendered head"], found["filmed nod"]) == (absent, absent)


def test_a_rendered_clip_that_is_too_short_is_none(tmp_path: Path) -> None:
    pictures = Pictures(DataLedger([]), NOW)
    assert open_rendered([tmp_path / "clip1" / "f000.webp"], pictures, 2) is None


def test_clips_that_cannot_be_swapped_are_counted(
    film: Path, judges: Judges, monkeypatch: Any
) -> None:
    """Grey frames: nobody is in them."""
    told: list[str] = []
    monkeypatch.setattr(video, "FILMED", film)
    monkeypatch.setattr(video, "open_rendered", lambda *_: None)
    found = measure_video(judges, NOW, told.append, quick=True)["filmed nod"]
    assert found["refused"] == {"the number of faces in a frame": 1}
    assert found["rows"] == {}
    assert told == ["filmed nod, source 1 of 1"]


def test_a_reel_without_a_face_is_refused(
    film: Path, judges: Judges, pictures: dict[str, AdmittedPicture]
) -> None:
    reel = open_filmed(film, NOW, 3)
    assert reel is not None
    with pytest.raises(OutOfRange, match="number of faces"):
        measure_reel(reel, pictures["persona1_0.webp"], judges)
