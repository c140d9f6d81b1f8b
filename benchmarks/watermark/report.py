"""Puts the measured parts together: what ran, on what, with which versions."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.watermark import claims, survival, timing, video
from benchmarks.watermark.attacks import digest_attacks
from benchmarks.watermark.measure import summarise
from benchmarks.watermark.ours import NAME, OurMark
from benchmarks.watermark.peers import BITS, PeerMissing
from benchmarks.watermark.pictures import CLASSES, Listed
from benchmarks.watermark.results import read_part, read_results, write_part

LIBRARIES = ("numpy", "opencv-python", "pillow", "scikit-image", "av")


def describe_machine() -> dict[str, Any]:
    """Return the machine's class and the libraries' versions; no host name, no path."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def run_method(
    name: str, pictures: Sequence[Listed], *, out: Path, jobs: int, cached: bool
) -> dict[str, Any]:
    """Return one method's summary; raises `PeerMissing` where it neither runs nor was kept.

    What a tool gave in an earlier run stands where it is not installed now; ours has to be the
    present one.
    """
    version_here = _version(name)
    if version_here is not None and not cached:
        survival.measure_survival(name, pictures, out=out, jobs=jobs)
    kept = read_results(out, name)
    wanted = {"version": version_here, "attacks": digest_attacks()}
    if kept is None or any(kept.head[key] != value for key, value in wanted.items() if value):
        if version_here is None:
            survival.open_method(name)
        raise PeerMissing(f"{name} is left out: no results of {version_here} yet")
    by_picture = {listed: kept.records.get(survival.key_picture(listed)) for listed in pictures}
    records = [{"kind": p.kind, **record} for p, record in by_picture.items() if record]
    found: dict[str, Any] = {
        "version": kept.head["version"],
        "bits": OurMark.bits if name == NAME else BITS[name],
        **summarise(records),
    }
    if name == NAME:
        rows_of = {kind: [r for r in records if r["kind"] == kind] for kind in CLASSES}
        found["classes"] = {kind: summarise(rows) for kind, rows in rows_of.items() if rows}
    return found


def count_classes(pictures: Sequence[Listed]) -> dict[str, int]:
    """Return how many pictures each class has."""
    counted = Counter(listed.kind for listed in pictures)
    return {kind: counted[kind] for kind in CLASSES if counted[kind]}


def run_part(name: str, *, out: Path, quick: bool, cached: bool, jobs: int) -> Any | None:
    """Return what the part called claims, video or timing-METHOD finds, or what was kept of it."""
    kind, _, method = name.partition("-")
    version_here = _version(method or NAME)
    head = {"quick": quick, "attacks": digest_attacks(), "version": version_here}

    def remember(part: str, measure: Callable[[], Any]) -> Any:
        kept = read_part(out, part)
        if kept is not None and (version_here is None or kept.head == head):
            return kept.found
        if cached or version_here is None:
            return None
        found = measure()
        write_part(out, part, head, found)
        return found

    measures: dict[str, Callable[[], Any]] = {
        "claims": lambda: claims.measure_claims(remember, quick=quick, jobs=jobs),
        "video": lambda: video.measure_video(quick=quick),
        "timing": lambda: timing.measure_times(method, quick=quick),
    }
    return remember(name, measures[kind])


def _version(name: str) -> str | None:
    try:
        return survival.open_method(name).version
    except PeerMissing:
        return None
