"""What happens to marked pictures, in a form through which gradients flow.

Every attack takes pictures float (n, 3, h, w), RGB in 0..1, a strength 0..1 (0 does almost nothing,
1 is the hardest of watermark.md, section 2) and a random source on the pictures' device; it returns
pictures in 0..1, of another size where the attack does not restore it. Real codecs run outside of
torch: forward they are exact, backward they are taken for the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Attack: TypeAlias = Callable[[Tensor, float, torch.Generator], Tensor]

_LUMA = (0.299, 0.587, 0.114)
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
# ITU-T T.81, tables K.1 and K.2.
_LUMA_STEPS = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


def to_luma(images: Tensor) -> Tensor:
    """Return BT.601 luma (n, 1, h, w) of RGB (n, 3, h, w)."""
    return torch.einsum("nchw,c->nhw", images, images.new_tensor(_LUMA))[:, None]


def fit_square(plane: Tensor, side_px: int) -> Tensor:
    """Return pictures resized to the square that the networks see."""
    return F.interpolate(plane, (side_px, side_px), mode="bilinear", antialias=True)


def keep(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Change nothing."""
    return images


def add_noise(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Gaussian noise, sigma up to 10 grey levels."""
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    return (images + strength * 10 / 255 * noise).clamp(0, 1)


def blur(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Gaussian blur, sigma up to 2 pixels."""
    sigma = 0.1 + 1.9 * strength * _draw(rng)
    weights = torch.exp(-(torch.arange(-6.0, 7.0, device=images.device) ** 2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).expand(3, 1, 1, 13)
    padded = F.pad(images, (6, 6, 6, 6), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def change_tone(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Brightness and contrast up to 20 %, gamma up to 10 % either way, drawn for each picture."""
    bright, contrast, gamma = (
        1 + strength * share * (2 * _draw_each(images, rng) - 1) for share in (0.2, 0.2, 0.1)
    )
    toned = ((images * bright - 0.5) * contrast + 0.5).clamp(1e-4, 1)
    return toned**gamma


def resize(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Down to half the size, not restored."""
    share = 1 - 0.5 * strength * _draw(rng)
    size = [max(16, round(n * share)) for n in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def resize_and_back(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Down to a quarter of the size and back."""
    share = 1 - 0.75 * strength * _draw(rng)
    size = [max(8, round(n * share)) for n in images.shape[-2:]]
    small = F.interpolate(images, size, mode="bilinear", antialias=True)
    return F.interpolate(small, images.shape[-2:], mode="bicubic").clamp(0, 1)


def crop(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """A random window with at least half of each side; the size is not restored."""
    share = 1 - 0.5 * strength * _draw(rng)
    height, width = (max(16, round(n * share)) for n in images.shape[-2:])
    y = int(_draw(rng) * (images.shape[-2] - height + 1))
    x = int(_draw(rng) * (images.shape[-1] - width + 1))
    return images[..., y : y + height, x : x + width]


def rotate(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Up to 30 degrees either way, black corners, drawn for each picture."""
    angle = math.radians(30) * strength * (2 * _draw_each(images, rng) - 1).flatten()
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = ((cos, -sin, zero), (sin, cos, zero), (zero, zero, one))
    return _warp(images, torch.stack([torch.stack(row, -1) for row in rows], 1))


def tilt(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """A mild perspective: a far edge up to 6 % shorter, drawn for each picture."""
    matrix = torch.eye(3, device=images.device).repeat(len(images), 1, 1)
    drawn = torch.rand((len(images), 2), generator=rng, device=images.device)
    matrix[:, 2, :2] = 0.03 * strength * (2 * drawn - 1)
    return _warp(images, matrix)


def flip(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Mirror, at any strength. Not trained against: the reader tries all eight orientations."""
    return images.flip(-1)


def soft_jpeg(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """JPEG with 4:2:0 chroma, quality 90 down to 30, rounding with a gradient (Shin and Song)."""
    quality = 90 - 60 * strength
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
    matrix = images.new_tensor(_YCBCR)
    planes = torch.einsum("nchw,kc->nkhw", padded * 255, matrix)
    luma = _code_blocks(planes[:, :1] - 128, _LUMA_STEPS, quality) + 128
    small = _code_blocks(F.avg_pool2d(planes[:, 1:], 2), _CHROMA_STEPS, quality)
    chroma = F.interpolate(small, scale_factor=2.0, mode="bilinear")
    coded = torch.einsum("nkhw,ck->nchw", torch.cat([luma, chroma], 1), matrix.inverse())
    return (coded[..., :height, :width] / 255).clamp(0, 1)


def real_jpeg(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """JPEG by the library, quality 90 down to 30, 4:2:0."""
    return _recode(images, ".jpg", cv2.IMWRITE_JPEG_QUALITY, round(90 - 60 * strength))


def real_webp(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """WebP by the library, quality 90 down to 50."""
    return _recode(images, ".webp", cv2.IMWRITE_WEBP_QUALITY, round(90 - 40 * strength))


GEOMETRY: Final[Mapping[str, Attack]] = MappingProxyType(
    {"none": keep, "crop": crop, "resize": resize, "rotate": rotate, "tilt": tilt}
)
CODECS: Final[Mapping[str, Attack]] = MappingProxyType(
    {
        **{"none": keep, "noise": add_noise, "blur": blur, "tone": change_tone},
        **{"resize_and_back": resize_and_back, "soft_jpeg": soft_jpeg},
        **{"jpeg": real_jpeg, "webp": real_webp},
    }
)
ATTACKS: Final[Mapping[str, Attack]] = MappingProxyType({**GEOMETRY, **CODECS, "flip": flip})


def _draw(rng: torch.Generator) -> float:
    return float(torch.rand((), generator=rng, device=rng.device))


def _draw_each(images: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=rng, device=images.device)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Sample each picture through its 3 x 3 map of coordinates in -1..1, black outside."""
    n, _, height, width = images.shape
    flat = F.affine_grid(
        torch.eye(2, 3, device=images.device).repeat(n, 1, 1), [n, 1, height, width], False
    )
    points = torch.cat([flat, torch.ones_like(flat[..., :1])], -1) @ matrix[:, None].mT
    return F.grid_sample(images, points[..., :2] / points[..., 2:], align_corners=False)


def _code_blocks(planes: Tensor, steps: tuple[int, ...], quality: float) -> Tensor:
    """Quantise (n, c, h, w) in blocks of 8 x 8 after a DCT, as JPEG does, softly."""
    n, c, height, width = planes.shape
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = planes.new_tensor(steps).mul(scale).add(50).div(100).floor().clamp(1, 255)
    index = torch.arange(8.0, device=planes.device)
    basis = torch.cos((2 * index + 1) * index[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    blocks = planes.reshape(n, c, height // 8, 8, width // 8, 8)
    coded = torch.einsum("ui,ncaibj,vj->ncaubv", basis, blocks, basis) / table.reshape(8, 1, 8)
    nearest = coded.round().detach()
    softened = (nearest + (coded - nearest) ** 3) * table.reshape(8, 1, 8)
    return torch.einsum("ui,ncaubv,vj->ncaibj", basis, softened, basis).reshape(planes.shape)


def _recode(images: Tensor, extension: str, option: int, quality: int) -> Tensor:
    shown = (images.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    coded = [cv2.imencode(extension, one[..., ::-1], (option, quality))[1] for one in shown]
    seen = [np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR), np.uint8) for one in coded]
    back = torch.from_numpy(np.stack(seen)[..., ::-1].copy()).to(images.device)
    real = back.permute(0, 3, 1, 2).float() / 255
    return images + (real - images).detach()
