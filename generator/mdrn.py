"""MDRN: a wavelet U-Net that gives a swapped face back the fine detail it lost on the way.

The network sees the picture, the target that the face was laid on, and the mask. It adds at most a
tenth of the value range, and only where the mask is above zero: elsewhere the picture comes back
bit for bit, and everywhere from an untrained network, whose head starts at zero. Halving and
doubling are Haar transforms, which lose nothing, and no layer takes statistics over a batch, so a
picture's result does not depend on its neighbours. Refused: shapes that do not fit (ShapeError).

CBAM: Woo, Park, Lee and Kweon, ECCV 2018. Weight .1 and the wavelet bands follow the published
description of FaceMagic's detail network; the layers are ours [generator reference, section 6].
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.errors import ShapeError

WEIGHT: Final = 0.1
"""Of the residual: above .2 it draws halos, below .05 nothing is seen of it."""
WIDTHS: Final = (24, 48, 96)
"""Channels at a half, a quarter and an eighth of the side."""
GROUPS, SLOPE = 8, 0.2
REDUCTION, LEAST_HIDDEN = 8, 4
PLANES: Final = 7
"""Picture and target in colour, and the mask."""
DIVISOR: Final = 8
"""The side is halved three times."""


def haar_split(x: Tensor) -> Tensor:
    """Return the Haar bands (n, 4 c, h / 2, w / 2) of x (n, c, h, w): mean, then the three details.

    Orthonormal; the channels of one band lie together.
    """
    n, c, h, w = x.shape
    corners = functional.pixel_unshuffle(x, 2).reshape(n, c, 4, h // 2, w // 2)
    a, b, d, e = corners.unbind(2)
    top, bottom, across, below = a + b, d + e, a - b, d - e
    bands = [top + bottom, across + below, top - bottom, across - below]
    return torch.cat(bands, 1) * 0.5


def haar_join(bands: Tensor) -> Tensor:
    """Return x (n, c, h, w), given its Haar bands (n, 4 c, h / 2, w / 2)."""
    n, c, h, w = bands.shape
    mean, across, down, cross = bands.chunk(4, 1)
    top, bottom, left, right = mean + down, mean - down, across + cross, across - cross
    corners = torch.stack([top + left, top - left, bottom + right, bottom - right], 2)
    return functional.pixel_shuffle(corners.reshape(n, c, h, w) * 0.5, 2)


class Attention(nn.Module):
    """CBAM: which channels matter, then which places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, LEAST_HIDDEN)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n, c, h, w), each weighed by 0..1 twice."""
        pools = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        told = sum(self.excite(functional.relu(self.squeeze(pool))) for pool in pools)
        x = x * torch.sigmoid(torch.as_tensor(told))
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.place(seen))


class DetailBlock(nn.Module):
    """A convolution, normed and attended to, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.attention = Attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n, c, h, w)."""
        y = functional.leaky_relu(self.norm(self.conv(x)), SLOPE)
        mixed: Tensor = x + self.attention(y)
        return mixed


class Mdrn(nn.Module):
    """The detail network; see the module's first lines."""

    def __init__(self) -> None:
        super().__init__()
        first, last = WIDTHS[0], WIDTHS[-1]
        self.stem = nn.Conv2d(4 * PLANES, first, 3, padding=1)
        self.falling = nn.ModuleList(DetailBlock(width) for width in WIDTHS[:-1])
        self.down = nn.ModuleList(nn.Conv2d(4 * a, b, 3, padding=1) for a, b in pairwise(WIDTHS))
        self.middle = nn.Sequential(DetailBlock(last), DetailBlock(last))
        steps = list(pairwise(reversed(WIDTHS)))
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 3, padding=1) for a, b in steps)
        self.rising = nn.ModuleList(DetailBlock(b) for _, b in steps)
        self.head = nn.Conv2d(first, 12, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the picture with its detail, (n, 3, h, w), about -1..1, BGR.

        picture, target: (n, 3, h, w) in -1..1. mask: (n, 1, h, w) in 0..1. h and w are multiples
        of 8.
        """
        _require_shapes(picture, target, mask)
        x = self.stem(haar_split(torch.cat([picture, target, 2 * mask - 1], 1)))
        skips = []
        for block, down in zip(self.falling, self.down, strict=True):
            x = block(x)
            skips.append(x)
            x = down(haar_split(x))
        x = self.middle(x)
        for up, block in zip(self.up, self.rising, strict=True):
            x = block(haar_join(up(x)) + skips.pop())
        residual = haar_join(self.head(x).float())
        return picture + WEIGHT * mask * torch.tanh(residual)


def _require_shapes(picture: Tensor, target: Tensor, mask: Tensor) -> None:
    n, c, h, w = picture.shape
    if c != 3 or h % DIVISOR or w % DIVISOR:
        raise ShapeError("MDRN's picture", actual=picture.shape, expected=("n", 3, "8 k", "8 m"))
    if target.shape != picture.shape or mask.shape != (n, 1, h, w):
        actual = tuple(target.shape), tuple(mask.shape)
        raise ShapeError(
            "MDRN's target and mask", actual=actual, expected=((n, 3, h, w), (n, 1, h, w))
        )
