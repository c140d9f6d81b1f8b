"""One picture under one method: marked, attacked, read; and the sums over many pictures.

An id that is read but is not the one embedded is counted as wrong, apart from not read. Methods
that return bits for every picture are right or wrong, never silent. A refused picture has no rows:
it is left out of `exact` and counts as not recovered in `exact_of_all`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from skimage.metrics import structural_similarity

from benchmarks.watermark.attacks import ATTACKS, jpeg
from benchmarks.watermark.methods import Bits, Method, Refused, Rgb, draw_payload

SEED: Final = 7
Z95: Final = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""
LOSSLESS_DB: Final = 150.0

Record = dict[str, Any]
"""One picture's results, as JSON: see `measure_picture`."""


def psnr(a: Rgb, b: Rgb) -> float:
    """Return the peak signal-to-noise ratio in dB over all channels; 150 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / error) if error else LOSSLESS_DB


def ssim(a: Rgb, b: Rgb) -> float:
    return float(structural_similarity(a, b, channel_axis=2))  # type: ignore[no-untyped-call]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); (0, 1) where nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    z2 = Z95**2
    middle = (hits + z2 / 2) / (n + z2)
    half = Z95 * math.sqrt(hits * (n - hits) / n + z2 / 4) / (n + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def measure_picture(
    method: Method, rgb: Rgb, *, seed: Sequence[int], attacks: Iterable[str]
) -> Record:
    """Return what one picture gave: refusal, fidelity, a row for each attack, unmarked claims."""
    unmarked = {
        "n": 2,
        "claims": sum(method.decode(view) is not None for view in (rgb, jpeg(rgb, 70))),
    }
    payload = draw_payload(method, np.random.default_rng([SEED, *seed]))
    started = time.perf_counter()
    try:
        marked = method.embed(rgb, payload)
    except Refused as refused:
        return {"refused": str(refused), "unmarked": unmarked}
    return {
        "embed_ms": _milliseconds(started),
        "psnr": round(psnr(rgb, marked), 3),
        "ssim": round(ssim(rgb, marked), 5),
        "unmarked": unmarked,
        "rows": {name: _read(method, ATTACKS[name](marked), payload) for name in attacks},
    }


def _read(method: Method, rgb: Rgb, payload: Bits) -> Record:
    started = time.perf_counter()
    found = method.decode(rgb)
    row: Record = {"ms": _milliseconds(started)}
    if found is None:
        return {**row, "exact": False, "wrong": False, "accuracy": None}
    exact = bool(np.array_equal(found, payload))
    return {**row, "exact": exact, "wrong": not exact, "accuracy": float(np.mean(found == payload))}


def _milliseconds(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 1)


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Return the sums over pictures that `render` shows; `records` come from `measure_picture`."""
    marked = [record for record in records if "rows" in record]
    refused = len(records) - len(marked)
    names = [name for name in ATTACKS if any(name in record["rows"] for record in marked)]
    return {
        "pictures": len(records),
        "refused": refused,
        "refusals": sorted({str(r["refused"]) for r in records if "refused" in r}),
        "psnr": _mean_and_worst([record["psnr"] for record in marked]),
        "ssim": _mean_and_worst([record["ssim"] for record in marked]),
        "unmarked": {
            key: sum(record["unmarked"][key] for record in records) for key in ("n", "claims")
        },
        "attacks": {
            name: _sum_rows([r["rows"][name] for r in marked if name in r["rows"]], refused)
            for name in names
        },
    }


def _mean_and_worst(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": round(float(np.mean(values)), 4), "min": round(min(values), 4)}


def _sum_rows(rows: Sequence[Record], refused: int) -> dict[str, Any]:
    hits = sum(row["exact"] for row in rows)
    read = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    taken = [row["ms"] for row in rows]
    return {
        "n": len(rows),
        "exact": round(hits / len(rows), 4),
        "interval": [round(bound, 4) for bound in wilson(hits, len(rows))],
        "exact_of_all": round(hits / (len(rows) + refused), 4),
        "wrong": sum(row["wrong"] for row in rows),
        "accuracy": round(float(np.mean(read)), 4) if read else None,
        "decode_ms": {"median": round(float(np.median(taken)), 1), "max": max(taken)},
    }
