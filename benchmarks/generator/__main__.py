"""How well faces are swapped, on people who were never trained on, beside copying and geo.

    python -m benchmarks.generator --json             # the tables as JSON
    python -m benchmarks.generator --docs             # into docs/benchmarks/generator, with sheets
    python -m benchmarks.generator --parts timing     # speed alone
    python -m benchmarks.generator --quick            # a look: four pairs, six frames

Personas are split by person; London people are photographs, admitted for measuring alone. Pairs
that geo refuses are counted, not measured. How far it is stands on stderr.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for each measurement

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from benchmarks.generator.features import FeatureNet
from benchmarks.generator.judges import Judged, Judges
from benchmarks.generator.measure import Bench, measure_set
from benchmarks.generator.page import SETS, write_page
from benchmarks.generator.pairs import DATA, ROOT, Set, gallery, open_london, open_personas
from benchmarks.generator.rows import NOISE_ROW, ROWS
from benchmarks.generator.sheets import write_sheet
from benchmarks.generator.speed import time_devices
from benchmarks.generator.summary import summarise
from benchmarks.generator.video import measure_video
from generator.faces import open_analyser

PARTS = ("personas", "london", "video", "timing")
DOCS = ROOT / "docs" / "benchmarks" / "generator"
SHEET_PAIRS = 12
QUICK_PAIRS, QUICK_REPEATS = 4, 2


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generator", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON instead of the page")
    add("--docs", action="store_true", help="write the page and the sheets into docs")
    add("--quick", action="store_true", help="a look at everything, with figures that say little")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    add("--split", choices=("test", "validation"), default="test")
    add("--limit", type=int, help="only the first so many pairs of each set")
    add("--threads", type=int, default=2, help="for timing; figures are made on one")
    add("--repeats", type=int, default=7)
    add("--sheet", type=Path, help="write the contact sheet here (WebP)")
    options = parser.parse_args(arguments)
    if options.quick:
        if options.docs:
            parser.error("--quick is a look, its figures do not belong in docs")
        options.limit, options.repeats = QUICK_PAIRS, QUICK_REPEATS
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was asked for, as plain values."""
    now = datetime.now(UTC)
    out: dict[str, Any] = {"date": f"{now:%Y-%m-%d}", "split": options.split}
    if "timing" in options.parts:  # before the others, whose memory is not the swapper's
        tell("timing")
        demo = ROOT / "docs" / "demo"
        source, portrait = (cv2.imread(str(demo / f"persona{n}_0.webp")) for n in (1, 2))
        how = {"threads": options.threads, "repeats": options.repeats, "now": now}
        out["timing"] = time_devices(portrait, source, **how)
    bench = Bench(Judges(open_analyser()), FeatureNet(), tell)
    for name in (key for key, _, _ in SETS):
        if name in options.parts:
            at_hand = (DATA / name).is_dir()
            absent = {"left out": "the pictures are not at hand"}
            out[name] = _measure_set(name, options, bench, now) if at_hand else absent
    if "video" in options.parts:
        out["video"] = measure_video(bench.judges, now, tell, quick=options.quick)
    return out


def _measure_set(
    name: Set, options: argparse.Namespace, bench: Bench, now: datetime
) -> dict[str, Any]:
    """Return the figures of one set, and write its contact sheet where one is wanted."""
    pairs, pictures = open_personas(options.split, now) if name == "personas" else open_london(now)
    others: dict[str, Judged] = {}
    for person, path in gallery(name):
        if (seen := bench.judges.look(pictures[path].frame)) is not None:
            others[person] = seen
    chosen = pairs[: options.limit]
    keep = SHEET_PAIRS if name == "personas" else 0  # photographs of people are never shown
    results = measure_set(chosen, pictures, options.rows, bench, others, keep=keep)
    out = {
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
        out["both unseen"] = unseen
    sheet = DOCS / "sheet.webp" if options.docs else options.sheet
    if results.frames and sheet is not None:
        write_sheet(sheet, results.frames, [row for row in options.rows if row != NOISE_ROW])
    return out


def tell(words: str) -> None:
    """Say on stderr how far it is."""
    print(words, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    result = measure(options)
    if options.docs:
        write_page(result, DOCS)
    print(json.dumps(result, indent=1) if options.json else write_page(result, None))


if __name__ == "__main__":
    main()
