"""StyleMixNet: what the composite of `geo` still lacks is added by a network that knows who is who.

The network sees the target, the source warped onto it, the composite of both and its mask, and two
identity vectors. Identity enters as an increment: channel statistics are scaled and shifted by what
tells the source from the target, so the same person on both sides changes nothing, exactly. The
output heads start at zero, so an untrained network returns the composite. Nothing is ever changed
outside the widened mask. Refused: shapes that do not fit (ShapeError).

AdaIN: Huang and Belongie, ICCV 2017. Increments, concatenation and skips follow the published
description of FaceMagic; the equations are ours (docs/generator.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-3
"""Least scale of a style; on both sides of a ratio, so that equal codes give exactly 1."""
VARIANCE_EPS = 1e-5
MASK_EDGE = 1e-3
"""Masks are kept this far from 0 and 1, where their logit has no end."""
REACH_PX = 5
"""Side of the square over which the mask is widened for the residual, at 128 px."""


@dataclass(frozen=True, slots=True)
class StyleMixShape:
    """Everything that decides the weights' shapes; travels with them.

    widths: channels of the stem and after each halving. inject_at: sides in pixels of the decoder
    scales (and the middle) whose blocks take the identity; finer ones keep the target's texture.
    side_px: the square the network works on. source_planes: pictures of the source it is given.
    """

    widths: tuple[int, ...]
    mid_blocks: int
    inject_at: tuple[int, ...]
    side_px: int = 128
    id_dim: int = 128
    code_dim: int = 256
    tag_dim: int = 32
    patch: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a card or a checkpoint."""
        return asdict(self)


def adain_increment(features: Tensor, mu_diff: Tensor, sigma_diff: Tensor) -> Tensor:
    """Return features (n, c, h, w) with their channel statistics moved by an increment (n, c).

    sigma_diff * (x - mean) + mean + mu_diff * std: 0 and 1 give the features back. Statistics are
    float32 also under autocast. The textbook form, which replaces the statistics, is `adain`.
    """
    mean, std = channel_statistics(features)
    scale, shift = sigma_diff[..., None, None], mu_diff[..., None, None]
    centred = features.float() - mean
    return (scale * centred + mean + shift * std).to(features.dtype)


def adain(content: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return content (n, c, h, w) with the channel statistics (n, c, 1, 1) of a style."""
    own_mean, own_std = channel_statistics(content)
    return (std * (content.float() - own_mean) / own_std + mean).to(content.dtype)


def channel_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over height and width, float32 (n, c, 1, 1) each."""
    wide = features.float()
    mean = wide.mean((2, 3), keepdim=True)
    variance = (wide - mean).square().mean((2, 3), keepdim=True)
    return mean, (variance + VARIANCE_EPS).sqrt()


class Increment(nn.Module):
    """What tells one identity code from another, for `channels` feature maps."""

    def __init__(self, code_dim: int, channels: int) -> None:
        super().__init__()
        self.style = nn.Linear(code_dim, 2 * channels)
        nn.init.normal_(self.style.weight, std=0.01)
        nn.init.zeros_(self.style.bias)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu_diff and sigma_diff (n, channels) of two codes (n, code_dim)."""
        (mu_s, rho_s), (mu_t, rho_t) = (self.style(code).chunk(2, 1) for code in (source, target))
        ratio = (functional.softplus(rho_s) + EPS) / (functional.softplus(rho_t) + EPS)
        return mu_s - mu_t, ratio


class StyleMixBlock(nn.Module):
    """A residual block; one that injects moves its statistics by the identity increment twice."""

    def __init__(self, channels: int, shape: StyleMixShape, *, injects: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.injects = injects
        if injects:
            self.increments = nn.ModuleList(Increment(shape.code_dim, channels) for _ in range(2))
            self.tag = nn.Conv2d(shape.tag_dim, channels, 1)
            nn.init.zeros_(self.tag.weight)
            nn.init.zeros_(self.tag.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, codes: tuple[Tensor, Tensor], tag: Tensor) -> Tensor:
        """Return features (n, c, h, w); codes of source and target, tag (n, tag_dim, 1, 1)."""
        y = self.first(x)
        if self.injects:
            y = adain_increment(y, *self.increments[0](*codes))
        y = self.second(functional.relu(y))
        if self.injects:
            y = adain_increment(y, *self.increments[1](*codes)) + self.tag(tag)
        return x + y


class StyleMixNet(nn.Module):
    """Content encoder, Style Mix Blocks, decoder with skips; see the module's first lines."""

    id_mean: Tensor

    def __init__(self, shape: StyleMixShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths
        self.register_buffer("id_mean", torch.zeros(shape.id_dim))
        self.code = nn.Sequential(
            nn.Linear(shape.id_dim, shape.code_dim),
            nn.ReLU(),
            nn.Linear(shape.code_dim, shape.code_dim),
        )
        self.tag = nn.Linear(shape.id_dim, shape.tag_dim)
        self.stem = nn.Conv2d(13 * shape.patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        depth = len(widths) - 1
        side = shape.side_px // shape.patch
        lowest = side >> depth
        self.middle = nn.ModuleList(
            StyleMixBlock(widths[-1], shape, injects=lowest in shape.inject_at)
            for _ in range(shape.mid_blocks)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(widths[k + 1] + widths[k], widths[k], 3, padding=1)
            for k in reversed(range(depth))
        )
        self.mix = nn.ModuleList(
            StyleMixBlock(widths[k], shape, injects=(side >> k) in shape.inject_at)
            for k in reversed(range(depth))
        )
        self.head = nn.Conv2d(widths[0], 4 * shape.patch**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, images: Tensor, mask: Tensor, id_source: Tensor, id_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        target, raw, warped, composite = images.split(3, 1)
        unit_s, unit_t = (functional.normalize(v - self.id_mean) for v in (id_source, id_target))
        codes = self.code(unit_s), self.code(unit_t)
        tag = self.tag(unit_s)[..., None, None]
        x = functional.pixel_unshuffle(torch.cat([images, 2 * mask - 1], 1), self.shape.patch)
        x = functional.relu(self.stem(x))
        skips = []
        for down in self.down:
            skips.append(x)
            x = functional.relu(down(x))
        for block in self.middle:
            x = block(x, codes, tag)
        for up, block, skip in zip(self.up, self.mix, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.relu(up(torch.cat([x, skip], 1)))
            x = block(x, codes, tag)
        residual, move = functional.pixel_shuffle(self.head(x).float(), self.shape.patch).split(
            [3, 1], 1
        )
        safe = mask.clamp(MASK_EDGE, 1 - MASK_EDGE)
        soft = torch.sigmoid(torch.logit(safe) + move)
        support = functional.max_pool2d(mask, REACH_PX, 1, REACH_PX // 2)
        shift = (soft - safe) * (support > 0)
        image = composite + support * torch.tanh(residual) + shift * (warped - target)
        return image, mask + shift
