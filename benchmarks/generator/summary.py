"""Means with intervals: what is drawn again is people, not pairs, for pairs share their people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.generator.catchlight import score

DRAWS = 2000
LEVEL = (2.5, 97.5)

SHARES = ("margin", "gallery_margin")
"""Figures of which the share above 0 is told as well."""
CATCHLIGHT = ("f1", "precision", "recall", "position", "position_p95", "area", "peak")

Row = Mapping[str, Any]
Draws = Sequence[np.ndarray[Any, Any]]


def summarise(results: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """Return figure -> {mean, low, high, n}: 95 % bootstrap intervals over source people.

    `progress` is 1 - sum(changed) / sum(copied); `<judge>_margin_above_0` a share; `catchlight_...`
    are of all eyes together: presence, and medians over the eyes with a catchlight in both.
    """
    rng = np.random.default_rng(seed)
    people = sorted({str(row["source_person"]) for row in results})
    groups = [[row for row in results if row["source_person"] == person] for person in people]
    draws = [rng.integers(0, len(people), len(people)) for _ in range(DRAWS)]
    out: dict[str, Any] = {"n": len(results), "people": len(people)}
    for name in _names(results):
        totals = np.array([_totals(group, name) for group in groups])
        if not totals[:, 1].any():
            continue
        means = [_ratio(totals[draw].sum(0), name) for draw in draws]
        n = sum(_source_of(name) in row for row in results)
        out[name] = _interval(_ratio(totals.sum(0), name), means, n)
    return out | _eyes(groups, draws)


def _interval(mean: float, means: Sequence[float], n: int) -> dict[str, float]:
    low, high = np.nanpercentile(means, LEVEL)
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}


def _eyes(groups: Sequence[Sequence[Row]], draws: Draws) -> dict[str, Any]:
    """Return the catchlight figures of all eyes that count, and the share of those that do not."""
    eyes = [[pair for row in group for pair in row.get("eyes", ())] for group in groups]
    excluded = sum(row.get("excluded_eyes", 0) for group in groups for row in group)
    count = sum(len(some) for some in eyes)
    if not count + excluded:
        return {}
    share = excluded / (count + excluded)
    out: dict[str, Any] = {"catchlight_excluded": {"mean": share, "n": count + excluded}}
    drawn = [score([pair for k in draw for pair in eyes[k]]) for draw in draws] if count else []
    found = score([pair for some in eyes for pair in some], excluded=excluded)
    for name in CATCHLIGHT:
        value = float(getattr(found, name))
        values = [float(getattr(one, name)) for one in drawn]
        if count and math.isfinite(value):
            out[f"catchlight_{name}"] = _interval(value, values, count)
    return out


def _names(results: Sequence[Row]) -> list[str]:
    plain = sorted(
        {k for row in results for k, v in row.items() if isinstance(v, float) and k != "copied"}
    )
    shares = [f"{name}_above_0" for name in plain if name.endswith(SHARES)]
    return plain + shares + (["progress"] if "changed" in plain else [])


def _source_of(name: str) -> str:
    return "changed" if name == "progress" else name.removesuffix("_above_0")


def _totals(group: Sequence[Row], name: str) -> tuple[float, float]:
    """Return numerator and denominator of a figure over one person's results."""
    if name == "progress":
        return sum(r["changed"] for r in group), sum(r["copied"] for r in group)
    values = [row[_source_of(name)] for row in group if _source_of(name) in row]
    if name.endswith("_above_0"):
        values = [float(value > 0) for value in values]
    return float(sum(values)), float(len(values))


def _ratio(total: np.ndarray[Any, Any], name: str) -> float:
    value = float(total[0] / total[1]) if total[1] else float("nan")
    return 1 - value if name == "progress" else value
