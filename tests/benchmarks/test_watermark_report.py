"""The watermark benchmark judges by its targets and shows a miss as a miss."""

from __future__ import annotations

import xml.dom.minidom
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.watermark import __main__ as command
from benchmarks.watermark import render, targets
from benchmarks.watermark.attacks import ATTACKS
from benchmarks.watermark.measure import wilson
from benchmarks.watermark.ours import NAME
from benchmarks.watermark.plot import MISS, draw_plot


def test_every_target_names_an_attack_and_its_share() -> None:
    assert set(targets.TARGETS) <= set(ATTACKS)
    assert {targets.TARGETS[name] for name in ("crop71", "jpeg50", "hflip")} == {0.99}
    assert {targets.TARGETS[name] for name in ("jpeg30", "screenshot", "h264_28")} == {0.95}
    assert {targets.TARGETS[name] for name in ("crop50", "h264_35", "rot30")} == {0.80}


@pytest.mark.parametrize(
    ("attack", "exact", "n", "verdict"),
    [
        ("jpeg50", 0.99, 100, "met"),
        ("jpeg50", 0.9, 100, "MISSED by 9.00 points"),
        ("jpeg50", 0.9899, 159, "MISSED by 0.01 points"),
        ("jpeg50", 1.0, 99, "too few pictures"),
        ("jpeg50", 0.0, 3, "MISSED by 99.00 points"),
        ("nlm", 0.0, 100, "no target"),
    ],
)
def test_a_miss_is_said_with_its_size(attack: str, exact: float, n: int, verdict: str) -> None:
    assert targets.judge_row(attack, {"exact": exact, "n": n}) == verdict


@pytest.mark.parametrize(
    ("judge", "value", "verdict"),
    [
        (targets.judge_most, 2.0, "met"),
        (targets.judge_most, 2.5, "MISSED by 0.5"),
        (targets.judge_least, 2.0, "met"),
        (targets.judge_least, 1.5, "MISSED by 0.5"),
        (targets.judge_least, None, "not measured"),
        (targets.judge_most, None, "not measured"),
    ],
)
def test_a_limit_is_judged(
    judge: Callable[[float | None, float], str], value: float | None, verdict: str
) -> None:
    assert judge(value, 2.0) == verdict


def _row(exact: float, n: int = 120) -> dict[str, Any]:
    return {
        "n": n,
        "exact": exact,
        "interval": list(wilson(round(exact * n), n)),
        "exact_of_all": exact,
        "wrong": 0,
        "accuracy": 1.0,
        "decode_ms": {"median": 20.0, "max": 90.0},
    }


def _method(**rows: float) -> dict[str, Any]:
    return {
        "version": "1",
        "bits": 48,
        "pictures": 120,
        "refused": 0,
        "refusals": [],
        "psnr": {"mean": 42.5, "min": 39.5},
        "ssim": {"mean": 0.99, "min": 0.985},
        "unmarked": {"n": 240, "claims": 0},
        "attacks": {name: _row(exact) for name, exact in rows.items()},
    }


@pytest.fixture
def report() -> dict[str, Any]:
    ours = _method(jpeg50=0.9, jpeg70=1.0)
    return {
        "date": "2026-01-02",
        "pictures": "120 pictures of the benchmark set",
        "classes": {"natural": 120},
        "machine": {"processor": "x86_64", "cores": 2, "python": "3.11.0"},
        "methods": {NAME: {**ours, "classes": {"natural": ours}}, "peer": _method(jpeg50=0.996)},
        "left_out": {"other": "other is left out: No module named 'other'"},
        "timing": {NAME: {"embed": {"1080p": {"median": 151.0, "iqr": 3.0, "n": 9}}}},
        "claims": None,
        "video": None,
    }


def test_the_page_shows_a_miss_as_a_miss(report: dict[str, Any]) -> None:
    page = render.render(report)
    [missed] = [line for line in page.splitlines() if line.startswith("| jpeg50 | JPEG")]
    assert "**MISSED by 9.00 points**" in missed
    [held] = [line for line in page.splitlines() if line.startswith("| jpeg70 | JPEG")]
    assert "| met |" in held
    assert "every picture at least 40 dB: **MISSED by 0.5**" in page
    assert "embed at 1080p in 150 ms: **MISSED by 1**" in page
    assert "decode at 1080p in 150 ms: **not measured**" in page
    assert "Not measured: other" in page
    assert "99.6 % (97-100) / 1.00" in page, "nearly all is not all"


def test_claims_and_wrong_ids_are_loud(report: dict[str, Any]) -> None:
    row = {"n": 1200, "claims": 1, "max": 8.1}
    report["claims"] = {
        **row,
        "searched": 16384,
        "threshold": 6.86,
        "kinds": {"noise": row},
        "wrong_keys": {"wrong": {"n": 9, "claims": 1, "max": None}},
    }
    copy = {"frames_read": 3, "n": 12, "wrong": 1, "clip": "WRONG ID"}
    report["video"] = {"clip": {"frames": 9, "psnr": 42, "flicker": 0.1, "copies": {"cut": copy}}}
    page = render.render(report)
    assert "no claim: **MISSED by 2**" in page
    assert "at least 1000 hosts: met" in page
    assert "| cut | 3 of 12 | 1 | **WRONG ID** |" in page


def test_the_plot_frames_a_miss_of_ours_and_no_other(report: dict[str, Any]) -> None:
    report["methods"]["peer"]["attacks"]["jpeg70"] = _row(0.5)
    drawn = draw_plot(report["methods"])
    xml.dom.minidom.parseString(drawn)  # noqa: S318
    assert drawn.count(f'stroke="{MISS}"') == 1
    assert ">99.6<" in drawn
    assert ">100<" in drawn


@pytest.mark.parametrize(
    "arguments",
    [["--peers", "nobody"], ["--parts", "peers,lunch"], ["--docs", "--quick"], ["--set", "all"]],
    ids=" ".join,
)
def test_an_unknown_wish_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert "error" in capsys.readouterr().err


def test_peers_can_be_left_out() -> None:
    assert command.parse(["--peers", "none"]).peers == []
    assert command.parse(["--peers", "rivaGan,dwtDct"]).peers == ["rivaGan", "dwtDct"]
