"""Embed and decode times at three sizes, on one core, in a process of its own.

The process keeps to one core before any library starts its threads. Decode is of an unharmed copy;
for ours also of a copy turned by 5 degrees and of a picture without a mark, which take the whole
geometric search.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
from skimage import data

from benchmarks.watermark.attacks import rotate
from benchmarks.watermark.methods import Method, Refused, Rgb, draw_payload
from benchmarks.watermark.ours import NAME
from benchmarks.watermark.survival import open_method

SIZES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"512": (512, 512), "1080p": (1920, 1080), "4K": (3840, 2160)}
)
REPEATS: Final = 15
MIN_REPEATS: Final = 3
BUDGET_S: Final = 10.0
"""Repeats of one call stop after this, once there are three."""
TOO_LONG_S: Final = 30.0
"""A size is left out where the one before says that a call will take longer."""


def photograph(width: int, height: int) -> Rgb:
    """Return a wall of scikit-image's photographs, each as high as half the picture."""
    names = ("astronaut", "coffee", "motorcycle_left", "rocket", "chelsea", "retina")
    side = height // 2
    tiles = [_square(_photo(name), side) for name in names]
    across = -(-width // side)
    rows = [
        np.concatenate([tiles[(row * 3 + i) % len(tiles)] for i in range(across)], axis=1)
        for row in range(2)
    ]
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def _photo(name: str) -> Rgb:
    if name == "motorcycle_left":
        return np.asarray(data.stereo_motorcycle()[0], np.uint8)  # type: ignore[no-untyped-call]
    return np.asarray(getattr(data, name)(), np.uint8)


def _square(rgb: Rgb, side: int) -> Rgb:
    n = min(rgb.shape[:2])
    how = cv2.INTER_AREA if n >= side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb[:n, :n], (side, side), interpolation=how), np.uint8)


def measure_times(name: str, *, quick: bool) -> dict[str, Any]:
    """Return {step: {size: {median, iqr, n} in milliseconds, or why it was left out}}."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_time_on_one_core, args=(name, quick, sender))
    worker.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    finally:
        receiver.close()
        worker.join()
    return found


def _time_on_one_core(name: str, quick: bool, sender: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    method = open_method(name)
    found: dict[str, dict[str, Any]] = {}
    pace = 0.0
    for size, (width, height) in SIZES.items():
        if quick and size == "4K":
            continue
        expected = pace * width * height
        if expected > TOO_LONG_S:
            for step in ("embed", "decode"):
                found[step][size] = f"about {expected:.0f} s: not run"
            continue
        # The newest pace: a blind search has a bounded cost, whatever the size.
        pace = _time_size(method, photograph(width, height), size, found, quick)
        print(f"{name}: timed at {size}", file=sys.stderr, flush=True)
    sender.send(found)


def _time_size(
    method: Method, host: Rgb, size: str, found: dict[str, dict[str, Any]], quick: bool
) -> float:
    """Time every step at one size; return the slowest call's seconds for a pixel."""
    payload = draw_payload(method, np.random.default_rng(9))
    try:
        marked = method.embed(host, payload)
    except Refused as refused:
        found.setdefault("embed", {})[size] = found.setdefault("decode", {})[size] = str(refused)
        return 0.0
    steps: dict[str, Callable[[], object]] = {
        "embed": lambda: method.embed(host, payload),
        "decode": lambda: method.decode(marked),
    }
    if method.name == NAME:
        turned = rotate(marked, 5)
        steps["decode, turned by 5 degrees"] = lambda: method.decode(turned)
        steps["decode, no mark"] = lambda: method.decode(host)
    slowest = 0.0
    for step, call in steps.items():
        taken = _repeat(call, MIN_REPEATS if quick else REPEATS)
        low, middle, high = np.percentile(taken, [25, 50, 75])
        found.setdefault(step, {})[size] = {
            "median": round(middle, 1),
            "iqr": round(high - low, 1),
            "n": len(taken),
        }
        slowest = max(slowest, max(taken) / 1000)
    return float(slowest / (host.shape[0] * host.shape[1]))


def _repeat(call: Callable[[], object], repeats: int) -> list[float]:
    taken: list[float] = []
    while len(taken) < repeats and (len(taken) < MIN_REPEATS or sum(taken) < 1000 * BUDGET_S):
        started = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - started))
    return taken
