"""How well faces are swapped, on people who were never trained on, beside copying and geo.

    python -m benchmarks.generator --json             # the table as JSON
    python -m benchmarks.generator --docs             # into docs/benchmarks/generator, with sheets
    python -m benchmarks.generator --parts timing     # speed alone

Personas are split by person; London people are photographs, admitted for measuring alone. Pairs
that geo refuses are counted, not measured.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for each measurement

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from benchmarks.generator.judges import Judged, Judges
from benchmarks.generator.measure import measure_set
from benchmarks.generator.page import write_page
from benchmarks.generator.pairs import DATA, ROOT, gallery, open_london, open_personas
from benchmarks.generator.rows import ROWS
from benchmarks.generator.sheets import write_sheet
from benchmarks.generator.summary import summarise
from benchmarks.generator.timing import time_sizes
from generator.faces import open_analyser

PARTS = ("personas", "london", "timing")
DOCS = ROOT / "docs" / "benchmarks" / "generator"
SHEET_PAIRS = 12


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generator", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON instead of the page")
    add("--docs", action="store_true", help="write the page and the sheets into docs")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    add("--split", choices=("test", "validation"), default="test")
    add("--limit", type=int, help="only the first so many pairs of each set")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=int, default=2, help="for timing; figures are made on one")
    add("--repeats", type=int, default=7)
    add("--sheet", type=Path, help="write the contact sheet here (WebP)")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was asked for, as plain values."""
    now = datetime.now(UTC)
    out: dict[str, Any] = {"date": f"{now:%Y-%m-%d}", "split": options.split}
    judges = Judges(open_analyser())
    for name in ("personas", "london"):
        if name not in options.parts:
            continue
        if not (DATA / name).is_dir():
            out[name] = {"left out": "the pictures are not at hand"}
            continue
        pairs, pictures = (
            open_personas(options.split, now) if name == "personas" else open_london(now)
        )
        others: dict[str, Judged] = {}
        for person, path in gallery(name):  # type: ignore[arg-type]
            if (seen := judges.look(pictures[path].frame)) is not None:
                others[person] = seen
        keep = SHEET_PAIRS if name == "personas" else 0
        chosen = pairs[: options.limit]
        results = measure_set(chosen, pictures, options.rows, judges, others, keep=keep)
        out[name] = {
            "pairs": len(chosen),
            "refused": dict(results.refused),
            "rows": {row: summarise(found) for row, found in results.rows.items()},
        }
        unseen = {
            row: summarise(some)
            for row, found in results.rows.items()
            if (some := [r for r in found if r["both_unseen"]])
        }
        if name == "personas" and unseen:
            out[name]["both unseen"] = unseen
        sheet = DOCS / "sheet.webp" if options.docs else options.sheet
        if results.frames and sheet is not None:
            write_sheet(sheet, results.frames, options.rows)
    if "timing" in options.parts:
        demo = ROOT / "docs" / "demo"
        source, portrait = (cv2.imread(str(demo / f"persona{n}_0.webp")) for n in (1, 2))
        kind = {"device": options.device, "threads": options.threads, "repeats": options.repeats}
        out["timing"] = time_sizes(portrait, source, now=now, **kind)
    return out


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    result = measure(options)
    if options.docs:
        write_page(result, DOCS)
    print(json.dumps(result, indent=1) if options.json else write_page(result, None))


if __name__ == "__main__":
    main()
