"""What the invisible mark survives beside other tools, what it costs, how often it claims too much.

    python -m benchmarks.watermark --quick            # a few pictures of each kind, some minutes
    python -m benchmarks.watermark --docs             # everything, into docs/benchmarks: hours
    python -m benchmarks.watermark --json --cached    # what was measured so far, as JSON

Every picture of the benchmark set gets a mark with its own random id under a real (synthetic)
warrant; every attack is applied to the marked pixels and read once. Results are kept under `--out`
by version of the mark, so that a run that was stopped goes on.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for each measurement

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2

from benchmarks.watermark import report as parts
from benchmarks.watermark.ours import NAME
from benchmarks.watermark.peers import PEERS, PeerMissing
from benchmarks.watermark.pictures import ROOT, choose
from benchmarks.watermark.plot import draw_plot
from benchmarks.watermark.render import render

PARTS = ("ours", "peers", "timing", "claims", "video")
QUICK_PICTURES = 6
DOCS = ROOT / "docs" / "benchmarks"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watermark", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{QUICK_PICTURES} pictures and few repeats")
    add("--json", action="store_true", help="print JSON instead of the page")
    add("--peers", type=_peers, default=list(PEERS), help=f"of {', '.join(PEERS)}; or none")
    add("--parts", type=_parts, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    add("--pictures", type=int, help="only the first so many of the set")
    add("--set", choices=("benchmark", "tuning"), default="benchmark")
    add("--out", type=Path, default=ROOT / "dist" / "benchmarks" / "watermark")
    add("--jobs", type=int, default=1, help="processes, each with its own pictures")
    add("--cached", action="store_true", help="measure nothing, show what is under --out")
    add("--docs", action="store_true", help="write docs/benchmarks/watermark.{md,svg}")
    add("--date", default="not stated", help="the date to print")
    options = parser.parse_args(arguments)
    if options.docs and (options.quick or options.set != "benchmark"):
        parser.error("--docs is for the whole benchmark: not with --quick or --set tuning")
    return options


def _peers(names: str) -> list[str]:
    return [] if names == "none" else _listed(names, PEERS)


def _parts(names: str) -> list[str]:
    return _listed(names, PARTS)


def _listed(names: str, known: tuple[str, ...]) -> list[str]:
    asked = names.split(",")
    if unknown := [name for name in asked if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    return asked


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report: every part that is asked for, measured or kept."""
    count = QUICK_PICTURES if options.quick and not options.pictures else options.pictures
    pictures, note = choose(options.set, count)
    asked = [NAME] * ("ours" in options.parts) + options.peers * ("peers" in options.parts)
    methods, left_out = {}, {}
    for name in asked:
        try:
            methods[name] = parts.run_method(
                name, pictures, out=options.out, jobs=options.jobs, cached=options.cached
            )
        except PeerMissing as missing:
            left_out[name] = str(missing)
            print(missing, file=sys.stderr)
    timed = asked if "timing" in options.parts else []

    def part(name: str) -> Any:
        how = {key: getattr(options, key) for key in ("out", "quick", "cached", "jobs")}
        return parts.run_part(name, **how)

    timing = {name: part(f"timing-{name}") for name in timed if name not in left_out}
    return {
        "date": options.date,
        "pictures": note,
        "classes": parts.count_classes(pictures),
        "machine": parts.describe_machine(),
        "methods": methods,
        "left_out": left_out,
        "timing": {name: found for name, found in timing.items() if found},
        "claims": part("claims") if "claims" in options.parts else None,
        "video": part("video") if "video" in options.parts else None,
    }


def main() -> None:
    options = parse()
    cv2.setNumThreads(1)
    found = measure(options)
    page = render(found)
    if options.docs:
        DOCS.mkdir(parents=True, exist_ok=True)
        (DOCS / "watermark.md").write_text(page, encoding="utf-8")
        (DOCS / "watermark.svg").write_text(draw_plot(found["methods"]), encoding="utf-8")
    print(json.dumps(found, indent=1) if options.json else page)


if __name__ == "__main__":
    main()
