"""The style network: a picture redrawn with strokes and colours of another, two ways on one net.

An encoder looks at content and style; AdaIN gives the content's features the style's statistics,
at two scales; a decoder paints what the picture should be instead. How much of that is taken at a
place is alpha: with `instance` 0 it is 1 everywhere (AdaIN); with `instance` 1 the network decides
it for every place, from the content there and from the style as the content attends to it (IAST).
`strength` 0 gives the content back, bit for bit. Refused: shapes that do not fit (ShapeError).

AdaIN: Huang and Belongie, ICCV 2017; the increments are those of `generator.stylemix`. Attention
over the style's places: Park and Lee, CVPR 2019. f = alpha AdaIN(f_c, f_s) + (1 - alpha) f_c with
alpha = sigmoid(W [f_c, f_s'] + b) follows the published description of IAST; the layers are ours
[generator reference, section 10].
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.errors import ShapeError
from generator.stylemix import adain_increment, channel_statistics

FINE, COARSE = 24, 48
"""Channels at a half and at a quarter of the side."""
ATTENDED: Final = 32
STYLE_PLACES: Final = 16
"""The style is attended to in this many places a side."""
TILE_PX: Final = 64
"""Side of the pattern that is repeated over the picture, at a half of its side."""
WAVES: Final = ((8, 0), (0, 8), (7, 7), (7, -7), (13, 5), (5, -13))
"""Whole periods in a tile, down and across: they meet at its edges."""
DIVISOR: Final = 4
HEAD_STD, SLOPE = 0.01, 0.2
MUCH: Final = 2.0
"""Logit of alpha before anything is learned: nearly all of the style."""


class Stylised(NamedTuple):
    """image: (n, 3, h, w), about -1..1. alpha: (n, 1, h / 4, w / 4), 0..1, taken of the style."""

    image: Tensor
    alpha: Tensor


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Return features (n, c, h, w) of the content with the channel statistics of the style's.

    sigma_s (x - mu_c) / sigma_c + mu_s, as the increment that leads from one to the other.
    """
    (mean, std), (mu, sigma) = channel_statistics(content), channel_statistics(style)
    return adain_increment(content, ((mu - mean) / std)[..., 0, 0], (sigma / std)[..., 0, 0])


class Block(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n, c, h, w)."""
        mixed: Tensor = x + self.second(bend(self.first(x)))
        return mixed


class Fusion(nn.Module):
    """Says how much of the style each place takes: instance attention, then one number a place."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Conv2d(COARSE, ATTENDED, 1)
        self.key = nn.Conv2d(COARSE, ATTENDED, 1)
        self.value = nn.Conv2d(COARSE, COARSE, 1)
        self.weigh = nn.Conv2d(2 * COARSE, 1, 1)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return alpha (n, 1, h, w) in 0..1 for features (n, 48, h, w) of content and style."""
        h, w = (int(side) for side in content.shape[2:])
        places = functional.avg_pool2d(style, int(style.shape[-1]) // STYLE_PLACES)
        own, theirs = whiten(content), whiten(places)
        query = self.query(own).flatten(2).transpose(1, 2)
        likeness = query @ self.key(theirs).flatten(2) / math.sqrt(ATTENDED)
        value = self.value(theirs).flatten(2).transpose(1, 2)
        attended = (torch.softmax(likeness, -1) @ value).transpose(1, 2).reshape(-1, COARSE, h, w)
        return torch.sigmoid(self.weigh(torch.cat([own, attended], 1)))


class StyleNet(nn.Module):
    """Encoder, fusion, decoder; see the module's first lines."""

    pattern: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pattern", _pattern(), persistent=False)
        self.stem = _conv(12, FINE)
        self.down = _conv(FINE, COARSE, stride=2)
        self.look = Block(COARSE)
        self.fusion = Fusion()
        self.draw = nn.Sequential(Block(COARSE), Block(COARSE))
        self.up = _conv(COARSE + FINE + len(self.pattern), FINE)
        self.refine = Block(FINE)
        self.head = _conv(FINE, 3)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.fusion.weigh.weight)
        nn.init.constant_(self.fusion.weigh.bias, MUCH)  # type: ignore[arg-type]

    def forward(
        self, content: Tensor, style: Tensor, strength: Tensor, instance: Tensor
    ) -> Stylised:
        """Return the content drawn in the style, and how much of the style each place took.

        content: (n, 3, h, w) and style: (n, 3, 256, 256), BGR in -1..1; h and w multiples of 4.
        strength: (n,) in 0..1. instance: (n,), 1 = IAST, 0 = AdaIN.
        """
        _require_shapes(content, style, strength, instance)
        return self.paint(content, self.encode(style), strength, instance)

    def paint(
        self,
        content: Tensor,
        style: tuple[Tensor, Tensor],
        strength: Tensor,
        instance: Tensor,
    ) -> Stylised:
        """Return what `forward` does, given the style's features (`encode`)."""
        (fine, coarse), (style_fine, style_coarse) = self.encode(content), style
        chosen = self.fusion(coarse, style_coarse)
        alpha = 1 - instance[:, None, None, None] * (1 - chosen)
        x = coarse + alpha * (adain(coarse, style_coarse) - coarse)
        x = functional.interpolate(self.draw(x), scale_factor=2.0, mode="nearest")
        wide = functional.interpolate(alpha, scale_factor=2.0, mode="bilinear")
        skip = fine + wide * (adain(fine, style_fine) - fine)
        h, w = (int(side) for side in fine.shape[2:])
        tiles = (1, 1, -(-h // TILE_PX), -(-w // TILE_PX))
        pattern = self.pattern[None].repeat(tiles)[..., :h, :w] * wide
        x = self.refine(bend(self.up(torch.cat([x, skip, pattern], 1))))
        x = functional.interpolate(bend(x), scale_factor=2.0, mode="bilinear")
        drawn = self.head(x).float()
        return Stylised(content + strength[:, None, None, None] * drawn, alpha)

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, 24, h / 2, w / 2) and (n, 48, h / 4, w / 4) of a picture."""
        fine = bend(self.stem(functional.pixel_unshuffle(picture, 2)))
        return fine, self.look(bend(self.down(fine)))


def bend(x: Tensor) -> Tensor:
    """Return x, negative values faint: none is lost, so no channel can fall silent for good."""
    return functional.leaky_relu(x, SLOPE)


def whiten(features: Tensor) -> Tensor:
    """Return features with mean 0 and deviation 1 in every channel."""
    mean, std = channel_statistics(features)
    return (features - mean) / std


def _conv(channels: int, made: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, made, 3, stride=stride, padding=1, padding_mode="replicate")


def _pattern() -> Tensor:
    """Return planes (k, 64, 64) that repeat without a seam: waves, and grain of two sizes.

    Smooth skin gives a network nothing to hang strokes and dots on; this does.
    """
    place = torch.arange(TILE_PX, dtype=torch.float32) * (2 * math.pi / TILE_PX)
    waves = [torch.cos(down * place[:, None] + across * place) for down, across in WAVES]
    grain = torch.randn(2, 1, 1, TILE_PX, TILE_PX, generator=torch.Generator().manual_seed(0))
    soft = functional.avg_pool2d(functional.pad(grain[1], (1, 1, 1, 1), mode="circular"), 3, 1) * 3
    return torch.stack([*waves, grain[0, 0, 0], soft[0, 0]])


def _require_shapes(content: Tensor, style: Tensor, strength: Tensor, instance: Tensor) -> None:
    n, c, h, w = content.shape
    if c != 3 or h % DIVISOR or w % DIVISOR:
        expected = ("n", 3, "4 k", "4 m")
        raise ShapeError("the style network's content", actual=content.shape, expected=expected)
    if style.ndim != 4 or tuple(style.shape[:2]) != (n, 3):
        raise ShapeError("its style", actual=style.shape, expected=(n, 3, "h", "w"))
    if tuple(strength.shape) != (n,) or tuple(instance.shape) != (n,):
        actual = tuple(strength.shape), tuple(instance.shape)
        raise ShapeError("its strength and instance", actual=actual, expected=((n,), (n,)))
