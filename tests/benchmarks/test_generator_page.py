"""The generator's benchmark: means by people, intervals, the page, the curves and the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator.curves import draw
from benchmarks.generator.measure import pixel_figures, seam
from benchmarks.generator.page import write_page
from benchmarks.generator.sheets import CELL_PX, HEAD_PX, write_sheet
from benchmarks.generator.summary import summarise


def result(person: str, **figures: float) -> dict[str, Any]:
    return {"source_person": person, "both_unseen": False, "found": True, **figures}


def test_progress_is_taken_of_the_sums() -> None:
    found = summarise(
        [result("a", changed=1.0, copied=10.0), result("b", changed=9.0, copied=10.0)]
    )
    assert found["progress"]["mean"] == pytest.approx(0.5)
    assert found["progress"]["low"] <= 0.5 <= found["progress"]["high"]
    assert "copied" not in found


def test_margins_are_told_as_shares_too() -> None:
    found = summarise([result("a", faceres_margin=0.2), result("a", faceres_margin=-0.1)])
    assert found["faceres_margin_above_0"]["mean"] == 0.5
    assert (found["n"], found["people"]) == (2, 1)


def test_what_a_result_lacks_is_no_part_of_its_mean() -> None:
    found = summarise([result("a", gaze=0.1), result("b")])
    assert found["gaze"]["mean"] == pytest.approx(0.1)
    assert found["gaze"]["n"] == 1


def test_intervals_are_the_same_every_time_and_narrow_with_people() -> None:
    few = [result(str(i % 3), gaze=float(i % 3)) for i in range(30)]
    many = [result(str(i), gaze=float(i % 3)) for i in range(30)]
    assert summarise(few) == summarise(few)
    width = {
        len(r): r["gaze"]["high"] - r["gaze"]["low"] for r in (summarise(few), summarise(many))
    }
    a, b = (summarise(rows)["gaze"] for rows in (few, many))
    assert width
    assert b["high"] - b["low"] < a["high"] - a["low"]


@pytest.fixture
def pictures() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    target = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)
    label = target.copy()
    label[20:40, 20:40] = 255 - label[20:40, 20:40]
    return target, label


def test_the_copy_has_no_progress_and_the_label_all(pictures: Any) -> None:
    target, label = pictures
    copy, whole = pixel_figures(target, target, label), pixel_figures(label, target, label)
    assert copy["changed"] == copy["copied"] > 0
    assert (whole["changed"], whole["l1"]) == (0.0, 0.0)
    assert whole["ssim"] == pytest.approx(1.0)
    assert copy["ssim"] < 1


def test_a_hard_edge_on_the_rim_is_a_seam() -> None:
    target = np.full((64, 64, 3), 100, np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    pasted = target.copy()
    pasted[mask > 0] = 180
    assert seam(target, target, mask) == 0
    assert seam(pasted, target, mask) > 20
    assert seam(pasted, target, np.zeros_like(mask)) == 0


def test_the_page_says_what_was_measured_and_what_was_refused(tmp_path: Path) -> None:
    rows = {"geo": summarise([result("a", changed=1.0, copied=4.0, l1=0.5)])}
    part = {"pairs": 3, "refused": {"the yaw": 2}, "rows": rows}
    timing = {
        "device": "cpu",
        "threads": 2,
        "repeats": 3,
        "peak_mb": 900.0,
        "720p": {"all": 250.0, "face_px": 300.0},
    }
    shown = {
        "date": "2026-11-21",
        "personas": part,
        "london": {"left out": "absent"},
        "timing": timing,
    }
    text = write_page(shown, tmp_path)
    assert (tmp_path / "README.md").read_text() == text
    assert "3 pairs, 2 of them refused by geo: the yaw (2)." in text
    assert "| geo | 1 (1) | 75.0 % [75.0, 75.0] |" in text
    assert "Left out: absent." in text
    assert "| stage | 720p, face 300 px |" in text
    assert "| all | 250 |" in text


def test_the_curves_are_a_picture_with_a_line_for_each_figure() -> None:
    kinds = {
        kind: {
            "progress": 0.1,
            "geo_progress": 0.05,
            "margin": 0.1,
            "geo_margin": 0.1,
            "label_margin": 0.2,
        }
        for kind in ("forward", "reverse")
    }
    losses = {"pixel": 0.1, "structure": 0.1, "identity": 0.8, "perceptual": 0.3}
    svg = draw([{"step": step, **losses, **kinds} for step in (500, 1000)])
    assert svg.count("<polyline") == 10
    assert svg.startswith("<svg")


def test_the_sheet_shows_every_row_of_every_pair(tmp_path: Path) -> None:
    frame = np.full((40, 40, 3), 9, np.uint8)
    frames = {"s1": dict.fromkeys(("source", "target", "geo", "label"), frame)}
    write_sheet(tmp_path / "a" / "sheet.webp", frames, ("target", "geo"))
    sheet = cv2.imread(str(tmp_path / "a" / "sheet.webp"))
    assert sheet is not None
    assert sheet.shape == (HEAD_PX + CELL_PX, 4 * CELL_PX, 3)
