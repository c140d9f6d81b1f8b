"""What StyleMixNet is trained against: true swaps, pixel by pixel, and what faces mean by them.

All losses are means over what they look at, so weights do not depend on the size of a face. The
identity net is used as a loss here and therefore never as a judge of the result
(`benchmarks.generator` judges by another one). Refused: nothing; shapes are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.fit import fit_similarity_2d
from generator.frozen import FrozenGraph
from generator.topology import load_topology

LEVEL = 127.5
"""Grey levels per unit: pictures are -1..1."""
CHANGED_LEVELS = 8.0
"""A pixel this far apart in target and label has changed: there, copying is wrong."""
CHANGED_WEIGHT, CHANGED_FULL = 4.0, 16.0

FEATURES = ("conv32_down/relu", "conv32_3", "conv64_3", "conv128_2")
"""Values of the identity net whose differences stand for what the eye sees."""
EMBEDDING = "embedding"
CHIP_PX = 150
# Mean of the identity net's training pictures, RGB, and its divisor.
CHIP_MEAN, CHIP_SCALE = (122.782, 117.001, 104.298), 256.0
# Eye corners and nose base in dlib's chip, unit square, and the mesh points that lie there.
CHIP_POINTS = (263, 362, 33, 133, 2)
CHIP_PLACES = ((0.85957, 0.21350), (0.64606, 0.22897), (0.12058, 0.21373), (0.33409, 0.22906),
               (0.49011, 0.62780))  # fmt: skip
ID_UNIT = 0.6
"""Distance of the identity net at which two photographs are of different people."""
FAR_PX = 12.0
"""Flow errors beyond this are misplaced meshes, not lessons."""


def pixel_loss(image: Tensor, target: Tensor, label: Tensor, reach: Tensor) -> Tensor:
    """Return the mean |image - label| where a change may reach, changed pixels up to five times.

    Pictures (n, 3, h, w) in -1..1, reach (n, 1, h, w) in 0..1.
    """
    changed = (label - target).abs().mean(1, keepdim=True) * (LEVEL / CHANGED_FULL)
    weight = reach * (1 + CHANGED_WEIGHT * changed.clamp(0, 1))
    return ((image - label).abs() * weight).sum() / (3 * weight.sum()).clamp(min=1)


def colour_loss(image: Tensor, label: Tensor, reach: Tensor) -> Tensor:
    """Return how far colours are apart on average over 8 x 8 pixels."""
    return functional.avg_pool2d((image - label) * reach, 8).abs().mean()


def structure_loss(image: Tensor, label: Tensor, reach: Tensor) -> Tensor:
    """Return 1 - SSIM (7 px boxes) over two octaves, weighted by reach.

    Wang, Simoncelli and Bovik, Asilomar 2003, two of its five scales: the square is small.
    """
    weight, total = reach, torch.zeros((), device=image.device)
    first, second = (image + 1) / 2, (label + 1) / 2
    for _ in range(2):
        lost = (1 - _ssim(first, second)) * weight
        total = total + lost.sum() / (3 * weight.sum()).clamp(min=1) / 2
        first, second, weight = (functional.avg_pool2d(x, 2) for x in (first, second, weight))
    return total


def _ssim(first: Tensor, second: Tensor) -> Tensor:
    kernel = first.new_full((3, 1, 7, 7), 1 / 49)

    def mean(values: Tensor) -> Tensor:
        return functional.conv2d(values, kernel, groups=3, padding=3)

    mu_a, mu_b = mean(first), mean(second)
    var_a, var_b = mean(first * first) - mu_a * mu_a, mean(second * second) - mu_b * mu_b
    both = mean(first * second) - mu_a * mu_b
    return ((2 * mu_a * mu_b + 4e-4) * (2 * both + 3.6e-3)) / (
        (mu_a * mu_a + mu_b * mu_b + 4e-4) * (var_a + var_b + 3.6e-3)
    )


def flow_loss(flow: Tensor, label_points: Tensor, composite_points: Tensor) -> Tensor:
    """Return how far, in pixels, the flow misses the way from the label's mesh to the composite's.

    flow (n, 2, h, w); points (n, 468, 2), NaN where the label has no mesh. This is the landmark
    loss: it says where every point belongs, not how it looks.
    """
    known = torch.isfinite(label_points)
    wanted = torch.where(known, composite_points - label_points, torch.zeros(()))
    where = torch.where(known, label_points, torch.zeros(()))
    grid = (where + 0.5) * (2 / flow.shape[-1]) - 1
    have = functional.grid_sample(flow, grid[:, None], align_corners=False)[:, :, 0]
    missed = (have.transpose(1, 2) - wanted).abs().sum(-1).clamp(max=FAR_PX)
    inner = torch.from_numpy(np.where(load_topology().rim > 0.12, 1.0, 0.3)).to(flow)
    total: Tensor = (missed * inner * known[..., 0]).mean()
    return total


def mask_loss(mask: Tensor, first: Tensor) -> Tensor:
    """Return how far the mask was moved on average: a free mask shows the target again."""
    return (mask - first).abs().mean()


def identity_loss(seen: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean distance of identity vectors (n, d), 1 = clearly another person."""
    apart: Tensor = (seen - wanted).float().norm(dim=1).mean() / ID_UNIT
    return apart


class FaceLosses(NamedTuple):
    """What the identity net says: feature distance to the label, and identity distance."""

    perceptual: Tensor
    identity: Tensor


class FaceJudge(nn.Module):
    """The identity net as a loss: one pass gives the perceptual and the identity distance."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = FrozenGraph("idnet")
        self.register_buffer("mean", torch.tensor(CHIP_MEAN).view(1, 3, 1, 1))

    def forward(self, image: Tensor, label: Tensor, id_source: Tensor, chips: Tensor) -> FaceLosses:
        """Return the distances of image (n, 3, h, w), BGR -1..1, to label and source.

        chips: of `chip_grids`. Identity is half the distance to the label's vector, half that to
        the source's: the label also shows the target's hair and light.
        """
        with torch.no_grad():
            wanted = self.look(label, chips)
        seen = self.look(image, chips)
        gaps = [
            (seen[name] - wanted[name]).float().abs().mean() / wanted[name].float().abs().mean()
            for name in FEATURES
        ]
        mine = seen[EMBEDDING]
        identity = (identity_loss(mine, wanted[EMBEDDING]) + identity_loss(mine, id_source)) / 2
        return FaceLosses(torch.stack(gaps).mean(), identity)

    def look(self, image: Tensor, chips: Tensor) -> Mapping[str, Tensor]:
        """Return the net's values on the chips of pictures (n, 3, h, w)."""
        rgb = (image.flip(1) + 1) * LEVEL
        chip = functional.grid_sample(rgb, chips, padding_mode="border", align_corners=False)
        chip = (chip - self.mean) / CHIP_SCALE
        seen: Mapping[str, Tensor] = self.net(chip, wanted=(*FEATURES, EMBEDDING), start="chip")
        return seen


def chip_grids(points: np.ndarray[tuple[int, ...], np.dtype[np.float32]], side_px: int) -> Tensor:
    """Return sampling grids (n, 150, 150, 2) that cut dlib's chip by mesh points (n, 468, 2)."""
    places = (np.array(CHIP_PLACES) + 0.25) / 1.5 * CHIP_PX
    pixels = np.stack(np.meshgrid(np.arange(CHIP_PX), np.arange(CHIP_PX)), -1).reshape(-1, 2)
    grids = []
    for face in points:
        turn, shift = fit_similarity_2d(places, face[list(CHIP_POINTS)].astype(np.float64))
        grids.append((pixels @ turn.T + shift + 0.5) * (2 / side_px) - 1)
    shape = len(points), CHIP_PX, CHIP_PX, 2
    return torch.from_numpy(np.stack(grids).reshape(shape).astype(np.float32))
