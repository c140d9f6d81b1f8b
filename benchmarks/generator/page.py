"""The page of the generator's benchmark: one table for each set, speed, and what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PERSONAS = (
    ("progress", "progress"),
    ("l1", "L1"),
    ("ssim", "SSIM"),
    ("faceres_to_source", "faceres to source"),
    ("idnet_to_source", "idnet to source"),
    ("faceres_margin", "faceres margin"),
    ("pose_deg", "pose, degrees"),
    ("expression", "expression"),
    ("gaze", "gaze"),
    ("seam", "seam"),
)
LONDON = (
    ("faceres_gallery_margin_above_0", "margin > 0 (faceres)"),
    ("faceres_rank1", "rank-1"),
    ("faceres_rank5", "rank-5"),
    ("faceres_rank1_target", "rank-1 is the target"),
    ("idnet_gallery_margin_above_0", "margin > 0 (idnet)"),
    ("idnet_rank1", "rank-1 (idnet)"),
    ("pose_deg", "pose, degrees"),
    ("expression", "expression"),
    ("gaze", "gaze"),
    ("seam", "seam"),
)
SHARES = ("above_0", "rank1", "rank5", "rank1_target", "progress")


def write_page(result: Mapping[str, Any], folder: Path | None) -> str:
    """Return the page; with a folder, write it and the figures there as well."""
    text = "\n".join(_lines(result)) + "\n"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(text, encoding="utf-8")
        figures = json.dumps(result, indent=1)
        (folder / "figures.json").write_text(f"{figures}\n", encoding="utf-8")
    return text


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "# Generator: measured"
    yield ""
    yield "Made by `python -m benchmarks.generator --docs`; the equations are in"
    yield f"[generator.md](../../generator.md). Measured {result['date']}."
    yield ""
    yield "Means; in brackets 95 % intervals, bootstrap over source people. `progress`: share of"
    yield "the plain copy's error that is gone on changed pixels (1 = the true swap, 0 = the copy,"
    yield "below 0 = worse than it). `faceres` was never a loss: its columns count; `idnet` was,"
    yield "and is what the network is told identity by."
    if "personas" in result:
        yield from _table("Unseen rendered people", result["personas"], PERSONAS)
    if "london" in result:
        yield from _table("Unseen photographs (London set)", result["london"], LONDON)
    if "timing" in result:
        yield from _timing(result["timing"])
    yield ""
    yield "## To look at"
    yield ""
    yield "The first pairs that geo did not refuse, whatever came of them (rendered people):"
    yield ""
    yield "![source, what every row made, true swap](sheet.webp)"
    yield ""
    yield "Training of the shipped weights, from `training.jsonl`:"
    yield ""
    yield "![training curves](training.svg)"


def _table(
    title: str, part: Mapping[str, Any], columns: tuple[tuple[str, str], ...]
) -> Iterator[str]:
    yield f"\n## {title}\n"
    if "left out" in part:
        yield f"Left out: {part['left out']}."
        return
    refused = sum(part["refused"].values())
    reasons = ", ".join(f"{what} ({n})" for what, n in sorted(part["refused"].items()))
    why = f": {reasons}" if reasons else ""
    yield f"{part['pairs']} pairs, {refused} of them refused by geo{why}."
    yield ""
    yield "| row | n (people) | " + " | ".join(name for _, name in columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for row, figures in part["rows"].items():
        cells = [_cell(key, figures.get(key)) for key, _ in columns]
        yield f"| {row} | {figures['n']} ({figures['people']}) | " + " | ".join(cells) + " |"


def _cell(key: str, figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    values = [figure[name] for name in ("mean", "low", "high")]
    if key.endswith(SHARES):
        mean, low, high = (f"{100 * value:.1f}" for value in values)
        return f"{mean} % [{low}, {high}]"
    mean, low, high = (_number(value) for value in values)
    return f"{mean} [{low}, {high}]"


def _number(value: float) -> str:
    if abs(value) < 1e-4:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _timing(timing: Mapping[str, Any]) -> Iterator[str]:
    sizes = [name for name, value in timing.items() if isinstance(value, dict)]
    stages = [stage for stage in timing[sizes[0]] if stage != "face_px"]
    heads = [f"{size}, face {timing[size]['face_px']:.0f} px" for size in sizes]
    yield "\n## Speed\n"
    where = f"{timing['device']}, {timing['threads']} threads"
    yield f"One face, {where}, median of {timing['repeats']}; ms."
    yield f"Peak memory of the process {timing['peak_mb']:.0f} MB."
    yield ""
    yield "| stage | " + " | ".join(heads) + " |"
    yield "|---|" + "---|" * len(sizes)
    for stage in stages:
        yield f"| {stage} | " + " | ".join(_number(timing[size][stage]) for size in sizes) + " |"
