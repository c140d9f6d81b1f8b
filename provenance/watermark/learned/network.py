"""The two networks: an encoder that changes luma, a reader that answers one logit for each bit.

The encoder is a residual U-Net. The message enters by FiLM at every level of the way up, where it
scales and shifts a learned periodic carrier beside the picture's features; what comes out is held
down where the eye would see it (JND). Strength is not the network's business: training and the
ONNX mark scale the residual to a PSNR.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS: Final = 3
CARRIER_PX: Final = 16
"""Period of the learned carriers at every level of the U-Net; the side must hold whole periods."""
READ_GRID: Final = 4
"""The reader averages over a grid of 4 x 4 cells before it answers."""
READER_BLOCKS: Final = (2, 2, 4, 2)
MASK_POWER: Final = 0.6
"""How far the mark follows local contrast, as in the default mark."""


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Side of the square both networks see, number of bits, channels at full resolution."""

    side_px: int
    bits: int
    encoder_width: int
    reader_width: int


class MarkNetworks(nn.Module):
    """Encoder and reader under one name, so that they are saved, averaged and moved together."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.reader = Reader(shape)


class Encoder(nn.Module):
    """luma float (n, 1, side, side) in 0..1, message float (n, bits) of 0 and 1 -> residual."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        widths = [shape.encoder_width * min(2**level, 4) for level in range(LEVELS + 1)]
        self.message = nn.Sequential(nn.Linear(shape.bits, 2 * shape.bits), nn.SiLU())
        self.enter = _fuse(2, widths[0])
        self.down = nn.ModuleList(
            _fuse(narrow, wide, stride=2) for narrow, wide in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(
            FilmUp(wide, narrow, 2 * shape.bits)
            for narrow, wide in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.leave = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, luma: Tensor, message: Tensor) -> Tensor:
        """Return the residual at no particular strength, (n, 1, side, side)."""
        told = self.message(2 * message - 1)
        features = self.enter(_split_detail(luma))
        kept: list[Tensor] = []
        for down in self.down:
            kept.append(features)
            features = down(features)
        for up in self.up:
            features = up(features, kept.pop(), told)
        return torch.tanh(self.leave(features)) * measure_jnd(luma)


class FilmUp(nn.Module):
    """One level up: the picture's features, plus a carrier that the message scales and shifts."""

    def __init__(self, wide: int, narrow: int, told: int) -> None:
        super().__init__()
        self.fuse = _fuse(wide + narrow, narrow)
        self.carrier = nn.Parameter(torch.randn(1, narrow, CARRIER_PX, CARRIER_PX))
        self.film = nn.Linear(told, 2 * narrow)
        self.mix = _fuse(narrow, narrow)

    def forward(self, features: Tensor, kept: Tensor, told: Tensor) -> Tensor:
        """Return features at twice the resolution."""
        raised = F.interpolate(features, scale_factor=2.0, mode="nearest")
        fused = self.fuse(torch.cat([raised, kept], 1))
        scale, shift = self.film(told)[:, :, None, None].chunk(2, 1)
        repeats = (fused.shape[-2] // CARRIER_PX, fused.shape[-1] // CARRIER_PX)
        carrier = self.carrier.repeat(1, 1, *repeats)
        mixed: Tensor = self.mix(fused + scale * carrier + shift)
        return mixed


class Reader(nn.Module):
    """luma float (n, 1, side, side) in 0..1 -> logits (n, bits), positive for a 1."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        width, stages = shape.reader_width, []
        inside = 2
        for level, blocks in enumerate(READER_BLOCKS):
            wide = width * 2**level
            stages += [nn.Conv2d(inside, wide, 2, stride=2), nn.GroupNorm(1, wide)]
            stages += [ConvNextBlock(wide) for _ in range(blocks)]
            inside = wide
        self.stages = nn.Sequential(*stages)
        # Side / 16 after four stages of stride 2; a fixed window exports as one plain operator.
        self.pool = nn.AvgPool2d(shape.side_px // 16 // READ_GRID)
        self.head = nn.Linear(inside * READ_GRID**2, shape.bits)

    def forward(self, luma: Tensor) -> Tensor:
        """Return one logit for each bit."""
        logits: Tensor = self.head(self.pool(self.stages(_split_detail(luma))).flatten(1))
        return logits


class ConvNextBlock(nn.Module):
    """Depthwise 7 x 7, norm, and two pointwise layers, added to the input (arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 4 * width, 1),
            nn.GELU(),
            nn.Conv2d(4 * width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        added: Tensor = features + self.inner(features)
        return added


def add_at_psnr(images: Tensor, residual: Tensor, psnr_db: float) -> Tensor:
    """Return RGB (n, 3, h, w) in 0..1 plus the residual (n, 1, h, w), at this PSNR for each one."""
    power = residual.square().mean((-3, -2, -1), keepdim=True)
    gain = 10 ** (-psnr_db / 20) * torch.rsqrt(power + 1e-12)
    return (images + gain * residual).clamp(0, 1)


def measure_jnd(luma: Tensor) -> Tensor:
    """Return how much change each pixel hides, mean about 1, for luma (n, 1, h, w) in 0..1."""
    detail = 255 * (luma - _smooth(luma))
    mask = (torch.sqrt(_smooth(detail * detail) + 1e-3) + 3.0) ** MASK_POWER
    return mask / mask.mean((-2, -1), keepdim=True)


def _split_detail(luma: Tensor) -> Tensor:
    """Return luma and, magnified, what is left of it without its neighbourhood: (n, 2, h, w)."""
    return torch.cat([luma - 0.5, 16 * (luma - _smooth(luma))], 1)


def _smooth(plane: Tensor) -> Tensor:
    return F.avg_pool2d(plane, 7, stride=1, padding=3, count_include_pad=False)


def _fuse(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1),
        nn.GroupNorm(1, outside),
        nn.SiLU(),
    )
