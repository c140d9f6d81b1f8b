"""Training curves as an SVG: `python -m benchmarks.generator.curves RUN/metrics.jsonl OUT.svg`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

PANEL_W, PANEL_H, LEFT, TOP, GAP = 300, 170, 52, 64, 76
PAPER, INK, FAINT = "#ffffff", "#1b1f24", "#6a737d"
COLOURS = ("#0e4a7a", "#b3261e", "#6a737d", "#2e7d32")

PANELS: Mapping[str, tuple[str, ...]] = {
    "Progress on changed pixels, validation people": (
        "forward/progress", "reverse/progress", "forward/geo_progress",
    ),
    "Identity margin (loss net), forward": (
        "forward/margin", "forward/geo_margin", "forward/label_margin",
    ),
    "Losses of the last batch": ("pixel", "structure", "identity", "perceptual"),
}  # fmt: skip


def draw(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the SVG of a run's metrics, one panel for each question."""
    width = LEFT + len(PANELS) * (PANEL_W + GAP)
    height = TOP + PANEL_H + 84
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="sans-serif" font-size="12">',
        "<title>Training of StyleMixNet</title>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        _text(16, 28, "Training of StyleMixNet", size=16),
    ]
    for number, (title, names) in enumerate(PANELS.items()):
        x = LEFT + number * (PANEL_W + GAP)
        out += _panel(x, title, {name: [_find(row, name) for row in rows] for name in names}, rows)
    return "\n".join([*out, "</svg>", ""])


def _panel(
    x: int, title: str, curves: Mapping[str, Sequence[float]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    steps = [row["step"] for row in rows]
    values = [value for curve in curves.values() for value in curve]
    low, high = min(*values, 0.0), max(values) * 1.05
    out = [_text(x, TOP - 14, title)]
    for share in (0, 0.5, 1):
        y = TOP + PANEL_H * (1 - share)
        out.append(f'<path d="M{x} {y:.1f}h{PANEL_W}" stroke="#e1e4e8"/>')
        out.append(_text(x - 6, y + 4, f"{low + share * (high - low):.2f}", "end", FAINT, 11))
    for number, (name, curve) in enumerate(curves.items()):
        points = [
            (x + PANEL_W * step / steps[-1], TOP + PANEL_H * (1 - (value - low) / (high - low)))
            for step, value in zip(steps, curve, strict=True)
        ]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        colour = COLOURS[number]
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(_text(x, TOP + PANEL_H + 36 + 14 * number, name, "start", colour, 11))
    out.append(_text(x + PANEL_W, TOP + PANEL_H + 18, f"step {steps[-1]}", "end", FAINT, 11))
    return out


def _find(row: Mapping[str, Any], name: str) -> float:
    value: Any = row
    for part in name.split("/"):
        value = value[part]
    return float(value)


def _text(
    x: float, y: float, words: str, anchor: str = "start", fill: str = INK, size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-size="{size}">{escape(words)}</text>'
    )


def main() -> None:
    source, out = map(Path, sys.argv[1:3])
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    out.write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
