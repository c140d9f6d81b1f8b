"""What the mark has to reach, and whether it did; a miss is said as a miss, with its size."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_FIRM = (
    *("none", "jpeg90", "jpeg70", "jpeg50", "webp50", "resize.5back", "resize.25back", "resize.5"),
    *("crop80", "crop71", "rot2", "rot5", "rot90", "rot180", "rot270", "hflip", "vflip"),
    *("bright+20", "bright-20", "contr+20", "contr-20", "noise10", "noise5", "blur1", "blur2"),
    "jpg70+webp50",
)
_HARD = (
    *("jpeg30", "screenshot", "print-persp", "jpg50+rs.5+crop90", "jpg50+rs.5nb+crop90"),
    *("h264_23", "h264_28"),
)
_EXTREME = ("crop50", "h264_35", "rot30")

TARGETS: Final[Mapping[str, float]] = MappingProxyType(
    {
        **dict.fromkeys(_FIRM, 0.99),
        **dict.fromkeys(_HARD, 0.95),
        **dict.fromkeys(_EXTREME, 0.80),
    }
)
"""Exact recovery by attack; attacks without one are shown for what they are."""
MIN_PICTURES: Final = 100
"""A row of fewer pictures meets nothing."""
MEAN_PSNR_DB: Final = 42.0
MIN_PSNR_DB: Final = 40.0
MIN_SSIM: Final = 0.98
MAX_FALSE_PRESENCE: Final = 1e-6
MIN_HOSTS: Final = 1000
PLAIN_MS: Final = 150.0
"""Embed, and decode without an attack, at 1080p."""
SEARCH_MS: Final = 2000.0
"""Decode at 1080p where the whole geometric search is needed."""


def judge_row(attack: str, row: Mapping[str, Any]) -> str:
    """Return "met", "MISSED by so many points", "too few pictures", or "no target"."""
    target = TARGETS.get(attack)
    if target is None:
        return "no target"
    if row["exact"] < target:
        return f"MISSED by {100 * (target - row['exact']):.2f} points"
    return "met" if row["n"] >= MIN_PICTURES else "too few pictures"


def judge_most(value: float | None, most: float) -> str:
    """Return "met" where `value` is at most `most`, else the miss."""
    if value is None:
        return "not measured"
    return "met" if value <= most else f"MISSED by {value - most:.6g}"


def judge_least(value: float | None, least: float) -> str:
    """Return "met" where `value` is at least `least`, else the miss."""
    if value is None:
        return "not measured"
    return "met" if value >= least else f"MISSED by {least - value:.6g}"
