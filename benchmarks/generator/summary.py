"""Means with intervals: what is drawn again is people, not pairs, for pairs share their people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DRAWS = 2000
LEVEL = (2.5, 97.5)

SHARES = ("margin", "gallery_margin")
"""Figures of which the share above 0 is told as well."""


def summarise(results: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Return figure -> {mean, low, high, n}: 95 % bootstrap intervals over source people.

    `progress` is 1 - sum(changed) / sum(copied); `<judge>_margin_above_0` a share.
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
        low, high = np.nanpercentile(means, LEVEL)
        n = sum(_source_of(name) in row for row in results)
        out[name] = {
            "mean": _ratio(totals.sum(0), name), "low": float(low), "high": float(high), "n": n,
        }  # fmt: skip
    return out


def _names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    plain = sorted(
        {k for row in results for k, v in row.items() if isinstance(v, float) and k != "copied"}
    )
    shares = [f"{name}_above_0" for name in plain if name.endswith(SHARES)]
    return plain + shares + (["progress"] if "changed" in plain else [])


def _source_of(name: str) -> str:
    return "changed" if name == "progress" else name.removesuffix("_above_0")


def _totals(group: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
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
