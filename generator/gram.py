"""The reference row of the style table: the pixels themselves are optimised, no network is trained.

Gatys, Ecker and Bethge, CVPR 2016, with the losses of `generator.style_losses` in place of VGG's:
slow, but as far as those losses can be met. For benchmarks and training machines; no request runs
it. Refused: pictures of another shape (ShapeError).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generator.errors import ShapeError
from generator.losses import CHIP_PX
from generator.style_losses import (
    StyleJudge,
    content_loss,
    shade_loss,
    statistics_loss,
    variation,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GramSettings:
    """Weights of the losses, steps of Adam and their size in -1..1."""

    texture: float = 2.0
    statistics: float = 1.0
    content: float = 1.0
    shade: float = 1.0
    variation: float = 0.02
    steps: int = 120
    rate: float = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Optimised:
    """image: (1, 3, h, w) in -1..1; losses: the sum before every step."""

    image: Tensor
    losses: tuple[float, ...]


def optimise(
    content: Tensor, style: Tensor, judge: StyleJudge, settings: GramSettings | None = None
) -> Optimised:
    """Return the content (1, 3, h, w) with pixels moved towards the style's (1, 3, 256, 256)
    statistics; BGR in -1..1, h and w 150 and up. Deterministic. Raises ShapeError."""
    if content.ndim != 4 or len(content) != 1 or min(content.shape[2:]) < CHIP_PX:
        raise ShapeError("content", actual=content.shape, expected=(1, 3, "150+", "150+"))
    chosen, wanted = settings or GramSettings(), judge.study(style)
    with torch.no_grad():
        own = judge.look(content)
    image = content.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], lr=chosen.rate)
    losses = []
    for _ in range(chosen.steps):
        seen = judge.look(image)
        total = (
            chosen.texture * judge.texture_loss(image, wanted)
            + chosen.statistics * statistics_loss(seen, wanted)
            + chosen.content * content_loss(seen, own)
            + chosen.shade * shade_loss(image, content)
            + chosen.variation * variation(image)
        )
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        with torch.no_grad():
            image.clamp_(-1, 1)
        losses.append(float(total.detach()))
    return Optimised(image.detach(), tuple(losses))
