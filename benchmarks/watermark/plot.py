"""The picture of the table: attacks down, methods across, darker where more ids come back whole."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from benchmarks.watermark.attacks import ATTACKS
from benchmarks.watermark.targets import TARGETS

CELL_W, CELL_H, LEFT, TOP = 92, 22, 210, 92
PAPER, INK, FAINT, MISS = "#ffffff", "#1b1f24", "#6a737d", "#b3261e"
LIGHT, DARK = (237, 242, 247), (14, 74, 122)


def draw_plot(methods: dict[str, Any]) -> str:
    """Return an SVG of exact recovery for each attack and method; `methods` as in the report."""
    names = list(methods)
    shown = [name for name in ATTACKS if any(name in methods[m]["attacks"] for m in names)]
    width, height = LEFT + CELL_W * len(names) + 20, TOP + CELL_H * len(shown) + 46
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="sans-serif" font-size="12">',
        "<title>Exact recovery of the payload after each attack, by method</title>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        _text(16, 28, "Payload recovered exactly, % of marked pictures", size=16, weight="bold"),
        _text(16, 48, "Red frame: our target is missed. Empty cell: not measured.", fill=FAINT),
    ]
    for column, name in enumerate(names):
        x = LEFT + CELL_W * column + CELL_W / 2
        out.append(_text(x, TOP - 22, name, anchor="middle", weight="bold" if not column else None))
        bits = f"{methods[name]['bits']} bits"
        out.append(_text(x, TOP - 8, bits, anchor="middle", fill=FAINT, size=11))
    for row, attack in enumerate(shown):
        y = TOP + CELL_H * row
        target = TARGETS.get(attack)
        out.append(_text(LEFT - 60, y + 15, attack, anchor="end"))
        if target is not None:
            goal = f"{100 * target:.0f}"
            out.append(_text(LEFT - 12, y + 15, goal, anchor="end", fill=FAINT, size=11))
        for column, name in enumerate(names):
            measured = methods[name]["attacks"].get(attack)
            if measured is not None:
                missed = not column and target is not None and measured["exact"] < target
                out += _cell(LEFT + CELL_W * column, y, measured["exact"], missed)
    out.append(_text(LEFT - 12, TOP - 8, "target", anchor="end", fill=FAINT, size=11))
    foot = "n for each cell and 95 % intervals: in the table."
    out.append(_text(16, height - 16, foot, fill=FAINT))
    return "\n".join([*out, "</svg>", ""])


def _cell(x: int, y: int, share: float, missed: bool) -> list[str]:
    colour = "rgb({},{},{})".format(
        *(round(a + (b - a) * share) for a, b in zip(LIGHT, DARK, strict=True))
    )
    frame = f' stroke="{MISS}" stroke-width="2"' if missed else ""
    ink = PAPER if share > 0.45 else INK
    # Nearly all is not all: 99.6 must not be shown as 100.
    label = f"{100 * share:.0f}" if share in {0, 1} else f"{100 * share:.1f}"
    return [
        f'<rect x="{x + 2}" y="{y + 1}" width="{CELL_W - 4}" height="{CELL_H - 2}" rx="2" '
        f'fill="{colour}"{frame}/>',
        _text(x + CELL_W / 2, y + 15, label, anchor="middle", fill=ink),
    ]


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    fill: str = INK,
    size: int = 12,
    weight: str | None = None,
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"{bold}>'
        f"{escape(words)}</text>"
    )
