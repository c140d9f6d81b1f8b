"""Every knob of a StyleMixNet training run, and the sets of them that are kept.

`smoke` shows that the script works. `cpu` trained the shipped weights, at about .7 s a step on two
free cores. `cuda` is the reference's S-128 for one large GPU. `oneshot` is the same network
without warped pixels, the classic FaceMagic: identity has to come from the vector alone, which
takes thousands of consented people and an adversary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from generator.batches import Disturbed
from generator.stylemix import StyleMixShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each loss counts.

    identity: a quarter of it comes over the first fifth of a run, the rest after the middle: first
    what the swap looks like, then who it is.

    distilled: L1 to a teacher, where there is one (`--teacher`).
    """

    pixel: float = 10.0
    structure: float = 1.0
    perceptual: float = 1.0
    colour: float = 2.0
    landmarks: float = 0.1
    identity: float = 4.0
    mask: float = 0.1
    unlabelled: float = 0.0
    adversarial: float = 0.0
    distilled: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One run of `steps` steps. forward, reverse: shares of a batch; the rest swap onto themselves.

    texture_dropout: how often the network sees the target where the source's pixels would lie; the
    knob from a few people (.1) to a platform's thousands (1). disturbed: how, at each step. judged:
    samples of a batch that the identity net looks at. variants: disturbed copies of each triplet.
    """

    shape: StyleMixShape
    device: str
    batch: int
    steps: int
    learning_rate: float = 4e-4
    judged: int = 8
    variants: int = 5
    forward: float = 0.5
    reverse: float = 0.4
    texture_dropout: float = 0.1
    disturbed: Disturbed = field(default_factory=Disturbed)
    weights: Weights = field(default_factory=Weights)
    report_every: int = 500
    ema_decay: float = 0.999
    bf16: bool = False
    compiled: bool = False
    layout: str = "channels_last"
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain values for checkpoints and cards."""
        return asdict(self)


ADVERSARY_FROM: Final = 0.6
UNLABELLED_FROM: Final = 0.5
IDENTITY_FIRST: Final = 0.25
IDENTITY_RAMP: Final = 0.2
IDENTITY_FROM: Final = 0.5
IDENTITY_FULL: Final = 0.6
WARM_UP: Final = 0.01

SMALL: Final = StyleMixShape(
    widths=(48, 64, 128, 192), mid_blocks=3, inject_at=(8, 16, 32), patch=2
)
LARGE: Final = StyleMixShape(widths=(24, 48, 96, 192, 256), mid_blocks=4, inject_at=(8, 16, 32))
MOBILE: Final = StyleMixShape(
    widths=(24, 32, 64, 96), mid_blocks=1, inject_at=(8, 16, 32), patch=2, code_dim=128
)
ONESHOT: Final = StyleMixShape(
    widths=(64, 128, 256, 512, 768), mid_blocks=6, inject_at=(16, 32, 64), side_px=256
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "smoke": Preset(
            shape=StyleMixShape(
                widths=(8, 8, 16, 16), mid_blocks=1, inject_at=(8, 16, 32), patch=2
            ),
            device="cpu",
            batch=4,
            steps=20,
            judged=2,
            variants=1,
            report_every=10,
            ema_decay=0.9,
        ),
        "cpu": Preset(shape=SMALL, device="cpu", batch=16, steps=3000, judged=6, bf16=True),
        # For phones, distilled: `--teacher stylemix`.
        "mobile": Preset(
            shape=MOBILE, device="cpu", batch=16, steps=3000, judged=4, report_every=500, bf16=True
        ),
        "cuda": Preset(
            shape=LARGE,
            device="cuda",
            batch=64,
            steps=20_000,
            judged=64,
            variants=12,
            bf16=True,
            compiled=True,
        ),
        "oneshot": Preset(
            shape=ONESHOT,
            device="cuda",
            batch=16,
            steps=600_000,
            learning_rate=1e-4,
            judged=16,
            forward=0.25,
            reverse=0.25,
            texture_dropout=1.0,
            weights=Weights(identity=20.0, unlabelled=5.0, adversarial=1.0),
            report_every=2000,
            bf16=True,
            compiled=True,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one step asks: shares 0..1 of the learning rate and of what comes in late."""

    rate: float
    identity: float
    unlabelled: float
    adversarial: float


def plan(progress: float) -> Stage:
    """Return the stage at `progress` 0..1: warm-up, then a cosine; identity, then the adversary."""
    warm = min(1.0, (progress + 1e-4) / WARM_UP)
    return Stage(
        rate=warm * (0.51 + 0.49 * math.cos(math.pi * progress)),
        identity=IDENTITY_FIRST * _ramp(progress, 0.0, IDENTITY_RAMP)
        + (1 - IDENTITY_FIRST) * _ramp(progress, IDENTITY_FROM, IDENTITY_FULL),
        unlabelled=_ramp(progress, UNLABELLED_FROM, 1.0),
        adversarial=float(progress >= ADVERSARY_FROM),
    )


def _ramp(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))
