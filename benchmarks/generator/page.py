"""The page of the generator's benchmark: tables by theme, speed, and what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generator.columns import (
    DEFINITIONS,
    EXCLUDED,
    LONDON,
    OF_EYES,
    PERSONAS,
    SHARES,
    VIDEO,
    Theme,
)
from benchmarks.generator.pairs import Set
from benchmarks.generator.peers import SIZES, SPEEDS
from benchmarks.generator.speed import DEVICES

SETS: tuple[tuple[Set, str, tuple[Theme, ...]], ...] = (
    ("personas", "Unseen rendered people", PERSONAS),
    ("london", "Unseen photographs (London set)", LONDON),
)


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
    yield "Rows: `target`, the plain copy, a strong wrong answer; `target-jpeg`, the same at JPEG"
    yield "quality 90: so much of a figure is noise; `geo`, and `geo-half` with half the source's"
    yield "shape; `stylemix` and its finishing steps; `label`, the true swap, which renders have."
    yield "Means; in brackets 95 % intervals, bootstrap over source people. `n 4` after a cell: so"
    yield "many pairs have this figure, where not all of the row's do. What every column means"
    yield "stands [below](#what-the-columns-mean)."
    for key, title, themes in SETS:
        if key in result:
            yield from _set(title, result[key], themes)
    if "video" in result:
        yield from _video(result["video"])
    if "timing" in result:
        yield from _speed(result["timing"])
    yield "\n## What the columns mean\n"
    for name, meaning in DEFINITIONS:
        yield f"* **{name}**: {meaning}."
    yield "\n## To look at\n"
    yield "The first pairs that geo did not refuse, whatever came of them (rendered people):"
    yield ""
    yield "![source, what every row made, true swap](sheet.webp)"
    yield ""
    yield "Training of the shipped weights, from `training.jsonl`:"
    yield ""
    yield "![training curves](training.svg)"


def _set(title: str, part: Mapping[str, Any], themes: Sequence[Theme]) -> Iterator[str]:
    yield f"\n## {title}\n"
    if "left out" in part:
        yield f"Left out: {part['left out']}."
        return
    yield f"{part['pairs']} pairs, {_refused(part['refused'])}."
    for theme in themes:
        yield f"\n### {theme.title}\n"
        if any(theme.columns[0][0] in row for row in part["rows"].values()):
            yield from _table(part["rows"], theme.columns)
        else:
            yield f"No figures: {theme.absent}."


def _refused(refused: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{what} ({n})" for what, n in sorted(refused.items()))
    return f"{sum(refused.values())} of them refused by geo{f': {reasons}' if reasons else ''}"


def _table(rows: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Give a table of those columns that any row has."""
    columns = [(key, name) for key, name in columns if any(key in row for row in rows.values())]
    yield "| row | n (people) | " + " | ".join(name for _, name in columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for row, figures in rows.items():
        cells = [_cell(key, figures.get(key), figures["n"]) for key, _ in columns]
        yield f"| {row} | {figures['n']} ({figures['people']}) | " + " | ".join(cells) + " |"


def _cell(key: str, figure: Mapping[str, float] | None, row_n: int) -> str:
    if figure is None:
        return "-"
    share = key.endswith(SHARES)
    values = [
        f"{100 * figure[name]:.1f}" if share else _number(figure[name])
        for name in ("mean", "low", "high")
        if name in figure
    ]
    told = values[0] + (" %" if share else "")
    if len(values) == 3:
        told += f" [{values[1]}, {values[2]}]"
    if key == EXCLUDED:
        return f"{told} of {figure['n']}"
    return told if figure["n"] == row_n or key.startswith(OF_EYES) else f"{told} n {figure['n']}"


def _number(value: float) -> str:
    if abs(value) < 1e-4:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _video(video: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Video\n"
    yield f"{video['frames']} frames of each clip, with {video['sources']} rendered sources: the"
    yield "intervals, over so few, say little. Landmarks are held steady, as in the product. The"
    yield "filmed clip is CC BY 4.0 and was recorded for demonstrations; its set gives it for tests"
    yield "and evaluation, no release text was seen, and no frame of it is shown here."
    for title, part in video.items():
        if not isinstance(part, dict):
            continue
        yield f"\n### {title.capitalize()}\n"
        if "left out" in part:
            yield f"Left out: {part['left out']}."
            continue
        tried = f"{video['sources']} sources, {_refused(part['refused'])}"
        yield f"{part['fps']:.3g} frames a second; {tried}."
        yield ""
        yield from _table(part["rows"], VIDEO)


def _speed(timing: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Speed\n"
    known = {name: timing[name] for name in DEVICES if "left out" not in timing[name]}
    for name in DEVICES:
        if name not in known:
            yield f"No figures for {name}, none was at hand: {timing[name]['left out']}."
    one = next(iter(known.values()))
    yield f"One face, {one['threads']} threads, median of {one['repeats']}; ms, but the last line."
    for name, device in known.items():
        yield f"Peak memory of the process, {name}: {device['peak_mb']:.0f} MB."
    places = [
        (f"{size}, face {value['face_px']:.0f} px, {name}", value)
        for name, device in known.items()
        for size, value in device.items()
        if isinstance(value, dict)
    ]
    yield ""
    yield "| stage | " + " | ".join(head for head, _ in places) + " |"
    yield "|---|" + "---|" * len(places)
    for stage in [stage for stage in places[0][1] if stage != "face_px"]:
        yield f"| {stage} | " + " | ".join(_number(value[stage]) for _, value in places) + " |"
    yield from _peers([(head, value["fps"]) for head, value in places], timing["millions"])


def _peers(ours: Sequence[tuple[str, float]], millions: float) -> Iterator[str]:
    yield "\n### Beside what others say of theirs\n"
    yield "Their figures are their own or their users' claims, on other pictures and machines; none"
    yield "was measured here, and no two lines compare."
    yield ""
    yield "| swapper | frames a second, one face | machine | who says it |"
    yield "|---|---|---|---|"
    for head, fps in ours:
        yield f"| FaceWarrant, `stylemix+mdrn+errs` | {_number(fps)} | {head} | measured above |"
    for speed in SPEEDS:
        yield f"| {speed.peer} | {speed.fps} | {speed.machine} | {speed.basis} |"
    yield ""
    yield "| network | parameters, millions | multiplications, billions | who says it |"
    yield "|---|---|---|---|"
    yield f"| FaceWarrant, `stylemix` | {millions:.1f} | - | counted in its file |"
    for size in SIZES:
        yield f"| {size.peer} | {size.millions} | {size.billions} | {size.basis} |"
