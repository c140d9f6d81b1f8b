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
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.errors import ShapeError

EPS = 1e-3
"""Least scale of a style; on both sides of a ratio, so that equal codes give exactly 1."""
VARIANCE_EPS = 1e-5
MASK_EDGE = 1e-3
"""Masks are kept this far from 0 and 1, where their logit has no end."""
REACH = (17, 9)
"""How far beyond the mask a change may reach: widened by half the first number of pixels, then
softened twice over the second. Faces differ in their outline too, and background lies beside it."""
EDGE_PX = 6
"""Nothing changes at the square's edge, so that putting it back leaves no seam."""
FLOW_SIDE, FLOW_PX = 32, 12.0
"""The decoder's scale that says where features belong, and how far it may move them, in pixels."""
PLANES = 13
"""Target, pulled, warped and composite in colour, and the mask."""


class Output(NamedTuple):
    """What the network makes of a composite c: image = c + reach * (c moved by flow - c) + paint.

    image, paint: (n, 3, side, side), image about -1..1. flow: (n, 2, side, side), pixels: from how
    far away each pixel is taken. reach, mask: (n, 1, side, side), 0..1: how much may change, and
    the composite's mask as it was moved.
    """

    image: Tensor
    flow: Tensor
    reach: Tensor
    paint: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class StyleMixShape:
    """Everything that decides the weights' shapes; travels with them.

    widths: channels of the stem and after each halving. inject_at: sides in pixels of the decoder
    scales (and the middle) whose blocks take the identity; finer ones keep the target's texture.
    side_px: the square the network works on. patch: pixels a side that the stem takes together.
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
    float32 also under autocast. The textbook form would replace the content's statistics even then.
    """
    mean, std = channel_statistics(features)
    scale, shift = sigma_diff[..., None, None], mu_diff[..., None, None]
    centred = features.float() - mean
    return (scale * centred + mean + shift * std).to(features.dtype)


def channel_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over height and width, float32 (n, c, 1, 1) each."""
    wide = features.float()
    mean = wide.mean((2, 3), keepdim=True)
    variance = (wide - mean).square().mean((2, 3), keepdim=True)
    return mean, (variance + VARIANCE_EPS).sqrt()


def reach_of(mask: Tensor) -> Tensor:
    """Return how much may change (n, 1, side, side), 0..1, given the composite's mask."""
    wide, soft = REACH
    reach = functional.max_pool2d(mask, (wide, 1), 1, (wide // 2, 0))
    reach = functional.max_pool2d(reach, (1, wide), 1, (0, wide // 2))
    for _ in range(2):
        reach = functional.avg_pool2d(reach, soft, 1, soft // 2)
    side = mask.shape[-1]
    place = torch.arange(side, device=mask.device)
    edge = (torch.minimum(place, side - 1 - place).float() / EDGE_PX).clamp(max=1)
    return reach * edge[:, None] * edge[None]


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
        mixed: Tensor = x + y
        return mixed


class StyleMixNet(nn.Module):
    """Content encoder, Style Mix Blocks, decoder with skips; see the module's first lines."""

    id_mean: Tensor
    grid: Tensor

    def __init__(self, shape: StyleMixShape) -> None:
        super().__init__()
        self.shape = shape
        widths, depth = shape.widths, len(shape.widths) - 1
        side = shape.side_px // shape.patch
        sides = [side >> k for k in range(depth + 1)]
        self.register_buffer("id_mean", torch.zeros(shape.id_dim))
        self.register_buffer("grid", _identity_grid(shape.side_px), persistent=False)
        self.code = nn.Sequential(
            nn.Linear(shape.id_dim, shape.code_dim),
            nn.ReLU(),
            nn.Linear(shape.code_dim, shape.code_dim),
        )
        self.tag = nn.Linear(shape.id_dim, shape.tag_dim)
        self.stem = nn.Conv2d(PLANES * shape.patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.middle = nn.ModuleList(
            StyleMixBlock(widths[-1], shape, injects=sides[-1] in shape.inject_at)
            for _ in range(shape.mid_blocks)
        )
        rising = range(depth - 1, -1, -1)
        self.up = nn.ModuleList(
            nn.Conv2d(widths[k + 1] + widths[k], widths[k], 3, padding=1) for k in rising
        )
        self.mix = nn.ModuleList(
            StyleMixBlock(widths[k], shape, injects=sides[k] in shape.inject_at) for k in rising
        )
        self.flow_level = depth - 1 - sides.index(FLOW_SIDE)
        self.flow = _zero(nn.Conv2d(widths[sides.index(FLOW_SIDE)], 2, 3, padding=1))
        self.merge = nn.Conv2d(widths[0] + 6 * shape.patch**2, widths[0], 3, padding=1)
        self.head = _zero(nn.Conv2d(widths[0], 4 * shape.patch**2, 3, padding=1))

    def forward(
        self, pictures: Tensor, mask: Tensor, id_source: Tensor, id_target: Tensor
    ) -> Output:
        """Return the swapped square; see `Output`.

        pictures: (n, 12, side, side) in -1..1, BGR: target, pulled, warped
        and composite of `generator.laying.Layers`. mask: (n, 1, side, side) in 0..1. id_source,
        id_target: identity vectors (n, id_dim) as the identity net gives them.
        """
        self._require_shapes(pictures, mask)
        target, _, warped, composite = pictures.split(3, 1)
        codes, tag = self._codes(id_source, id_target)
        x = functional.pixel_unshuffle(torch.cat([pictures, 2 * mask - 1], 1), self.shape.patch)
        x, skips = functional.relu(self.stem(x)), []
        for down in self.down:
            skips.append(x)
            x = functional.relu(down(x))
        for block in self.middle:
            x = block(x, codes, tag)
        flow = torch.zeros(())
        for level, (up, block) in enumerate(zip(self.up, self.mix, strict=True)):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.relu(up(torch.cat([x, skips.pop()], 1)))
            x = block(x, codes, tag)
            if level == self.flow_level:
                flow = self._flow(x)
        moved = functional.grid_sample(
            torch.cat([composite, warped], 1),
            self.grid + flow.permute(0, 2, 3, 1) * (2 / self.shape.side_px),
            padding_mode="border",
            align_corners=False,
        )
        x = torch.cat([x, functional.pixel_unshuffle(moved, self.shape.patch)], 1)
        x = functional.relu(self.merge(x))
        last = functional.pixel_shuffle(self.head(x).float(), self.shape.patch)
        residual, move = last.split([3, 1], 1)
        there, warped = moved.split(3, 1)
        reach = reach_of(mask)
        safe = mask.clamp(MASK_EDGE, 1 - MASK_EDGE)
        change = torch.sigmoid(torch.logit(safe) + move) - safe
        paint = reach * (torch.tanh(residual) + change * (warped - target))
        image = composite + reach * (there - composite) + paint
        return Output(image, flow, reach, paint, mask + change)

    def _codes(self, source: Tensor, target: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        units = [functional.normalize(v - self.id_mean) for v in (source, target)]
        return (self.code(units[0]), self.code(units[1])), self.tag(units[0])[..., None, None]

    def _flow(self, features: Tensor) -> Tensor:
        """Return where to look instead, pixels (n, 2, side, side): x, y."""
        small = FLOW_PX * torch.tanh(self.flow(features).float())
        factor = self.shape.side_px / FLOW_SIDE
        return functional.interpolate(
            small, scale_factor=factor, mode="bilinear", align_corners=False
        )

    def _require_shapes(self, pictures: Tensor, mask: Tensor) -> None:
        side = self.shape.side_px
        if tuple(pictures.shape[1:]) != (PLANES - 1, side, side):
            expected = ("n", PLANES - 1, side, side)
            raise ShapeError("StyleMixNet's pictures", actual=pictures.shape, expected=expected)
        if tuple(mask.shape) != (len(pictures), 1, side, side):
            alike = (len(pictures), 1, side, side)
            raise ShapeError("StyleMixNet's mask", actual=mask.shape, expected=alike)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _identity_grid(side_px: int) -> Tensor:
    """Return the sampling grid (1, side, side, 2) that leaves a picture where it is."""
    centres = (torch.arange(side_px, dtype=torch.float32) + 0.5) * (2 / side_px) - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], -1)[None]
