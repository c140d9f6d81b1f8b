"""The adversary: says of every patch whether it was rendered (or photographed) or made.

A patch discriminator with hinge loss (Lim and Ye, 2017) and R1 (Mescheder, Geiger and Nowozin, ICML
2018) on what is real. Used late, or not at all: the shipped weights never met it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

R1_WEIGHT = 10.0


class PatchDiscriminator(nn.Module):
    """Four halvings; (n, 3, h, w) in -1..1 becomes scores (n, 1, h / 16, w / 16)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.utils.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return scores; above 0 = looks real."""
        scores: Tensor = self.layers(image)
        return scores


def judge_loss(adversary: PatchDiscriminator, real: Tensor, made: Tensor) -> Tensor:
    """Return the adversary's own loss: hinge on both, R1 on the real pictures."""
    real = real.detach().requires_grad_()
    score = adversary(real)
    [slope] = torch.autograd.grad(score.sum(), real, create_graph=True)
    steep = slope.square().sum((1, 2, 3)).mean()
    hinge = functional.relu(1 - score).mean() + functional.relu(1 + adversary(made.detach())).mean()
    total: Tensor = hinge + R1_WEIGHT / 2 * steep
    return total


def fool_loss(adversary: PatchDiscriminator, made: Tensor) -> Tensor:
    """Return the generator's loss: how little the adversary believes what was made."""
    doubt: Tensor = -adversary(made).mean()
    return doubt
