"""Every knob of a training run, the two sets of them, and the curriculum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from provenance.watermark.learned.message import MESSAGE_BITS
from provenance.watermark.learned.network import NetworkShape

GEOMETRY_FROM: Final = 0.3
CODECS_FROM: Final = 0.6
FINAL_FROM: Final = 0.9
"""From here on everything is at full hardness and final strength, and only the rate still falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One run: `steps` is its length where `minutes` is 0; by the clock it is not repeatable."""

    shape: NetworkShape
    device: str
    batch: int
    learning_rate: float
    steps: int
    minutes: float = 0.0
    start_db: float = 30.0  # loud enough to learn bits quickly
    final_db: float = 42.0
    most_pictures: int = 100_000
    report_every: int = 100  # steps between metrics and checkpoints
    report_batches: int = 4  # batches behind every figure in the metrics
    ema_decay: float = 0.999
    bf16: bool = False
    compiled: bool = False
    layout: str = "contiguous_format"
    seed: int = 0


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        # Sixteen bits in 64 pixels, under a minute on one CPU core: shows that the script works.
        "smoke": Preset(
            shape=NetworkShape(side_px=64, bits=16, encoder_width=8, reader_width=8),
            device="cpu",
            batch=8,
            learning_rate=1e-3,
            steps=200,
            report_every=50,
            most_pictures=64,
            ema_decay=0.98,
        ),
        # The mark itself, half an hour on one large GPU.
        "cuda": Preset(
            shape=NetworkShape(side_px=256, bits=MESSAGE_BITS, encoder_width=32, reader_width=48),
            device="cuda",
            batch=64,
            learning_rate=5e-4,
            steps=0,
            minutes=30.0,
            report_every=500,
            report_batches=16,
            bf16=True,
            compiled=True,
            layout="channels_last",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one step asks: hardness 0..1 of both kinds of attack, PSNR, share of the full rate."""

    geometry: float
    codecs: float
    psnr_db: float
    rate: float


def plan(progress: float, preset: Preset) -> Stage:
    """Return the stage at `progress` 0..1: bits, then geometry, then codecs, ever quieter."""
    quiet = _ramp(progress, GEOMETRY_FROM, FINAL_FROM)
    return Stage(
        geometry=_ramp(progress, GEOMETRY_FROM, CODECS_FROM),
        codecs=_ramp(progress, CODECS_FROM, FINAL_FROM),
        psnr_db=preset.start_db + quiet * (preset.final_db - preset.start_db),
        rate=(0.05 + _ramp(progress, 0.0, 0.02)) * (0.51 + 0.49 * math.cos(math.pi * progress)),
    )


def _ramp(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))
