"""What training minimises, and the figures it reports about pictures and bits."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from provenance.watermark.learned.attacks import to_luma

SEEN_WEIGHT: Final = 1.0
"""Weight of 1 - SSIM beside the message's cross-entropy. Strength is fixed by the PSNR schedule, so
this only decides where the change goes."""


def mark_loss(logits: Tensor, message: Tensor, marked: Tensor, images: Tensor) -> Tensor:
    """Return cross-entropy of the bits plus the visible difference; pictures (n, 3, h, w)."""
    bits = F.binary_cross_entropy_with_logits(logits.float(), message)
    return bits + SEEN_WEIGHT * (1 - measure_ssim(marked, images))


def measure_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean structural similarity of luma in 7 x 7 windows, a scalar (Wang 2004).

    Even weights instead of the paper's Gaussian; pictures (n, 3, h, w) in 0..1.
    """
    x, y = to_luma(a.float()), to_luma(b.float())
    mean_x, mean_y = F.avg_pool2d(x, 7, 1), F.avg_pool2d(y, 7, 1)
    var_x = F.avg_pool2d(x * x, 7, 1) - mean_x**2
    var_y = F.avg_pool2d(y * y, 7, 1) - mean_y**2
    both = F.avg_pool2d(x * y, 7, 1) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return (top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean()


def measure_psnr_db(a: Tensor, b: Tensor) -> float:
    """Return the PSNR of pictures in 0..1 over the whole batch, in decibels."""
    return float(-10 * torch.log10(F.mse_loss(a.float(), b.float()).clamp_min(1e-12)))


def measure_accuracy(logits: Tensor, message: Tensor) -> float:
    """Return the share of bits whose logit has the right sign."""
    return float(((logits > 0) == (message > 0.5)).float().mean())
