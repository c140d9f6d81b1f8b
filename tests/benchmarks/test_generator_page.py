"""The generator's benchmark: means by people, intervals, the page, the curves and the sheet."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.generator import speed
from benchmarks.generator.__main__ import QUICK_PAIRS, parse, tell
from benchmarks.generator.catchlight import Pair, Spot
from benchmarks.generator.columns import DEFINITIONS, LONDON, PERSONAS, VIDEO
from benchmarks.generator.curves import draw
from benchmarks.generator.page import write_page
from benchmarks.generator.peers import SIZES, SPEEDS
from benchmarks.generator.pixels import pixel_figures, seam
from benchmarks.generator.sheets import CELL_PX, HEAD_PX, write_sheet
from benchmarks.generator.summary import summarise
from generator.runtime import DeviceUnavailable


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


def spot(x: float = 0.0) -> Spot:
    return Spot(np.array([x, 0.0]), 0.02, 100.0, np.ones((4, 4), np.bool_))


def eyes(person: str, *pairs: Pair, excluded: int = 0) -> dict[str, Any]:
    return {"source_person": person, "eyes": list(pairs), "excluded_eyes": excluded}


def test_catchlights_are_counted_over_all_eyes_together() -> None:
    """Three kept and one lost: F1 = 2 * 3 / (4 + 3), whoever the eyes belong to."""
    kept, lost = Pair(spot(), spot(0.1)), Pair(spot(), None)
    found = summarise([eyes("a", kept, kept), eyes("b", kept, lost), eyes("c", excluded=2)])
    assert found["catchlight_f1"]["mean"] == pytest.approx(6 / 7)
    assert found["catchlight_f1"]["low"] < 6 / 7 < found["catchlight_f1"]["high"]
    assert found["catchlight_position"]["mean"] == pytest.approx(0.1)
    assert found["catchlight_excluded"] == {"mean": pytest.approx(1 / 3), "n": 6}


def test_without_eyes_that_count_only_their_share_is_told() -> None:
    found = summarise([eyes("a", excluded=2)])
    assert found["catchlight_excluded"] == {"mean": 1.0, "n": 2}
    assert not [name for name in found if name.startswith("catchlight_f1")]
    assert "catchlight_excluded" not in summarise([result("a", gaze=0.1)])


def test_eyes_without_any_catchlight_have_presence_and_no_place() -> None:
    found = summarise([eyes("a", Pair(None, None))])
    assert found["catchlight_f1"]["mean"] == 1
    assert "catchlight_position" not in found


def device(all_ms: float) -> dict[str, Any]:
    size = {"all": all_ms, "fps": 1000 / all_ms, "face_px": 300.0}
    return {"device": "cpu", "threads": 2, "repeats": 3, "peak_mb": 900.0, "720p": size}


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    kept = Pair(spot(), spot(0.1))
    some = result("a", changed=1.0, copied=4.0, l1=0.5) | eyes("a", excluded=2)
    other = result("b", changed=1.0, copied=4.0, l1=0.5, features=0.25) | eyes("b", excluded=2)
    photographs = [result("a", faceres_rank1=1.0) | eyes("a", kept, excluded=1)]
    return {
        "date": "2026-11-21",
        "personas": {
            "pairs": 3, "refused": {"the yaw": 1}, "rows": {"geo": summarise([some, other])},
        },
        "london": {"pairs": 1, "refused": {}, "rows": {"geo": summarise(photographs)}},
        "video": {
            "frames": 6, "sources": 2, "filmed nod": {"left out": "absent"},
            "rendered head": {
                "fps": 24.0, "refused": {},
                "rows": {"geo": summarise([result("a", jitter_milli=1.5, lost=0.25)])},
            },
        },
        "timing": {"millions": 4.25, "cpu": device(250.0), "cuda": {"left out": "no such card"}},
    }  # fmt: skip


@pytest.fixture
def shown(measured: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(measured)


def section(text: str, title: str) -> str:
    """The lines from a heading to the next one."""
    return text.split(f" {title}\n", 1)[1].split("\n#", 1)[0]


def test_the_page_says_what_was_measured_and_what_was_refused(
    shown: dict[str, Any], tmp_path: Path
) -> None:
    text = write_page(shown, tmp_path)
    assert (tmp_path / "README.md").read_text() == text
    assert "3 pairs, 1 of them refused by geo: the yaw (1)." in text
    assert "1 pairs, 0 of them refused by geo." in text
    errors = section(text, "Error to the true swap")
    assert "| row | n (people) | progress | L1 | feature distance |" in errors
    assert (
        "| geo | 2 (2) | 75.0 % [75.0, 75.0] | 0.5 [0.5, 0.5] | 0.25 [0.25, 0.25] n 1 |" in errors
    )
    assert "no pair was swapped" in section(text, "Geometry and seam")


def test_the_page_tells_of_eyes_where_some_count_and_why_where_none_does(
    shown: dict[str, Any],
) -> None:
    renders, photographs = write_page(shown, None).split("## Unseen photographs")
    assert "No figures: no eye counts" in section(renders, "Eyes")
    assert "| 100.0 % [100.0, 100.0] | 0.1 [0.1, 0.1] |" in section(photographs, "Eyes")
    assert "| 50.0 % of 2 |" in section(photographs, "Eyes")


def test_the_page_tells_of_video(shown: dict[str, Any]) -> None:
    text = write_page(shown, None)
    assert "24 frames a second; 2 sources, 0 of them refused by geo." in text
    assert "| geo | 1 (1) | 1.5 [1.5, 1.5] | 25.0 % [25.0, 25.0] |" in section(
        text, "Rendered head"
    )
    assert "Left out: absent." in section(text, "Filmed nod")


def test_the_page_tells_of_speed_beside_the_peers_claims(shown: dict[str, Any]) -> None:
    text = write_page(shown, None)
    assert "No figures for cuda, none was at hand: no such card." in text
    assert "| stage | 720p, face 300 px, cpu |" in text
    assert "| all | 250 |" in text
    peers = section(text, "Beside what others say of theirs")
    assert "| 4 | 720p, face 300 px, cpu | measured above |" in peers
    assert "| 4.2 | - | counted in its file |" in peers
    for peer in (*SPEEDS, *SIZES):
        assert f"| {peer.peer} |" in peers
        assert f"| {peer.basis} |" in peers


def test_both_devices_have_a_column_where_both_are_there(shown: dict[str, Any]) -> None:
    shown["timing"]["cuda"] = device(20.0)
    text = write_page(shown, None)
    assert "| stage | 720p, face 300 px, cpu | 720p, face 300 px, cuda |" in text
    assert "| all | 250 | 20 |" in text
    assert "none was at hand" not in text


def test_sets_that_are_not_at_hand_are_left_out(shown: dict[str, Any]) -> None:
    text = write_page({"date": "2026-11-21", "london": {"left out": "absent"}}, None)
    assert "Left out: absent." in section(text, "Unseen photographs (London set)")
    assert "## Speed" not in text


def test_every_column_is_explained() -> None:
    """By its heading, without the net, the level, the unit or the limit in it."""
    told = " ".join(f"{name} {meaning}" for name, meaning in DEFINITIONS)
    columns = [*VIDEO, *(c for theme in (*PERSONAS, *LONDON) for c in theme.columns)]
    beside = r"^(faceres|idnet) |(,| >| \(| ratio| is the| \d).*$"
    names = {re.sub(beside, "", heading) for _, heading in columns}
    assert {"margin", "pose", "coherence", "rank-1", "area", "jitter"} <= names
    assert not {name for name in names if name not in told}


def test_every_device_is_timed_or_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_sizes(*_: object, device: str, **how: object) -> dict[str, object]:
        if device == "cuda":
            raise DeviceUnavailable("no such card", mend="none")
        return how

    monkeypatch.setattr(speed, "time_sizes", time_sizes)
    frame = np.zeros((4, 4, 3), np.uint8)
    found = speed.time_devices(frame, frame, threads=2)
    assert found["cpu"] == {"threads": 2}
    assert found["cuda"] == {"left out": "no such card"}
    assert 1 < found["millions"] < 100


def test_a_quick_look_is_short_and_no_document() -> None:
    assert parse(["--quick"]).limit == QUICK_PAIRS
    assert parse([]).limit is None
    with pytest.raises(SystemExit):
        parse(["--quick", "--docs"])


def test_how_far_it_is_stands_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    tell("pair 1 of 4")
    assert capsys.readouterr() == ("", "pair 1 of 4\n")


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
