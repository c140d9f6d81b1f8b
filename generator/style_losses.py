"""What the style network and the reference (`generator.gram`) are trained against.

No network that was trained on photographs of things ships here, so strokes are told apart by a bank
of fixed random filters on an image pyramid, whose Gram matrices hold a texture (Ustyuzhaninov,
Brendel, Gatys and Bethge, ICLR 2017), and by the first layers of the identity net; content is what
deeper layers of that net see, and coarse light and shade. Gram matrices are divided by what they
were summed over. Refused: a mesh
without an extent (ShapeError); other shapes are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.errors import ShapeError
from generator.frozen import FrozenGraph
from generator.landmarks import LEFT_EYE_CORNERS, MESH, RIGHT_EYE_CORNERS, crop_matrix, crop_points
from generator.losses import CHIP_MEAN, CHIP_PX, CHIP_SCALE, LEVEL, structure_loss
from generator.stylemix import channel_statistics

FILTER_PX, WAVE_PX, STRIDE, OCTAVES = 7, 4.5, 2, 4
STYLE_TAPS: Final = ("conv32_down/relu", "conv32_1", "conv32_3")
CONTENT_TAPS: Final = ("conv32_3", "conv64_2")
FAINT, ROOT_EPS = 0.002, 0.01
"""Share of the mean power that every filter counts as having; below this share of the style's, a
root is a line."""
SHADE_PX: Final = 4
"""Light and shade are compared over this many pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class StyleStatistics:
    """What is left of a style picture: a Gram matrix (n, k, k) for each octave, and for each tap
    of the identity net mean and deviation (n, c, 1, 1)."""

    grams: tuple[Tensor, ...]
    taps: tuple[tuple[Tensor, Tensor], ...]

    def take(self, index: Tensor) -> StyleStatistics:
        """Return the statistics of the pictures of an index (m,)."""
        taps = tuple((mean[index], std[index]) for mean, std in self.taps)
        return StyleStatistics(tuple(gram[index] for gram in self.grams), taps)


class StyleJudge(nn.Module):
    """The filter bank and the identity net as losses; learns nothing."""

    bank: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = FrozenGraph("idnet")
        self.register_buffer("bank", _bank(), persistent=False)
        mean = torch.tensor(CHIP_MEAN).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def look(self, picture: Tensor) -> Mapping[str, Tensor]:
        """Return the identity net's values on the middle 150 px of pictures (n, 3, h, w)."""
        y, x = ((side - CHIP_PX) // 2 for side in picture.shape[2:])
        chip = (picture[..., y : y + CHIP_PX, x : x + CHIP_PX].flip(1) + 1) * LEVEL
        wanted = tuple(dict.fromkeys((*STYLE_TAPS, *CONTENT_TAPS)))
        seen: Mapping[str, Tensor] = self.net((chip - self.mean) / CHIP_SCALE, wanted, start="chip")
        return seen

    def grams(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the Gram matrix (n, 32, 32) of the bank's answers at each octave, finest first."""
        made = []
        for _ in range(OCTAVES):
            answers = functional.relu(functional.conv2d(picture, self.bank, stride=STRIDE)).flatten(
                2
            )
            made.append(gram(answers))
            picture = functional.avg_pool2d(picture, 2)
        return tuple(made)

    @torch.no_grad()
    def study(self, styles: Tensor) -> StyleStatistics:
        """Return the statistics of style pictures (k, 3, 256, 256), over all of each."""
        edge = styles.shape[-1] - CHIP_PX
        corners = [(y, x) for y in (0, edge) for x in (0, edge)]
        seen = [self.look(styles[..., y : y + CHIP_PX, x : x + CHIP_PX]) for y, x in corners]
        wide = [torch.cat([one[tap] for one in seen], 3) for tap in STYLE_TAPS]
        return StyleStatistics(self.grams(styles), tuple(channel_statistics(x) for x in wide))

    def texture_loss(self, picture: Tensor, wanted: StyleStatistics) -> Tensor:
        """Return how far Gram matrices are from the style's, each entry by its filters' power.

        So a faint filter counts as much as a strong one, and flat colour is not all there is.
        """
        gaps = []
        for ours, theirs in zip(self.grams(picture), wanted.grams, strict=True):
            power = theirs.diagonal(dim1=1, dim2=2)
            own = (power + FAINT * power.mean(1, keepdim=True)).sqrt()
            unit = own[:, None] * own[:, :, None]
            gaps.append(functional.smooth_l1_loss(_root(ours, unit), _root(theirs, unit)))
        return torch.stack(gaps).mean()


def _root(product: Tensor, unit: Tensor) -> Tensor:
    """Return amplitudes, signed and in units of the style's, of entries of a Gram matrix.

    Squares of squares would let the strongest entry decide alone.
    """
    share = product / unit
    root: Tensor = share / (share.abs() + ROOT_EPS).sqrt()
    return root


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix (n, c, c) of features (n, c, places), divided by c * places."""
    c, places = features.shape[1:]
    return features @ features.transpose(1, 2) / (c * places)


def statistics_loss(seen: Mapping[str, Tensor], wanted: StyleStatistics) -> Tensor:
    """Return how far the taps' means and deviations are from the style's, by their size, 0..2."""
    gaps = []
    for tap, (mean, std) in zip(STYLE_TAPS, wanted.taps, strict=True):
        ours = channel_statistics(seen[tap])
        gaps += [_gap(ours[0], mean), _gap(ours[1], std)]
    return torch.stack(gaps).mean()


def content_loss(seen: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Tensor:
    """Return how far deeper features are from the content's, by their size."""
    return torch.stack([_gap(seen[tap], own[tap]) for tap in CONTENT_TAPS]).mean()


def shade_loss(image: Tensor, content: Tensor) -> Tensor:
    """Return 1 - SSIM of coarse grey: light and shade that make the form are kept."""
    coarse = [
        functional.avg_pool2d(x.mean(1, keepdim=True), SHADE_PX).expand(-1, 3, -1, -1)
        for x in (image, content)
    ]
    return structure_loss(coarse[0], coarse[1], torch.ones_like(coarse[0][:, :1]))


def region_loss(image: Tensor, content: Tensor, regions: Tensor, weights: Tensor) -> Tensor:
    """Return what regions lose, weighed (n,) by sample: structure in eyes, lips and brows, and
    in all four the mean colour. regions: (n, 4, h, w)."""
    own = regions * weights[:, None, None, None]
    fine = own[:, :3].amax(1, keepdim=True)
    structure = structure_loss(image, content, fine)
    size = regions.sum((2, 3)).clamp(min=1)
    apart = torch.einsum("nchw,nrhw->nrc", image - content, own) / size[..., None]
    lost: Tensor = structure + apart.abs().mean()
    return lost


def variation(image: Tensor) -> Tensor:
    """Return the mean step between neighbouring pixels."""
    down, across = image.diff(dim=2).abs().mean(), image.diff(dim=3).abs().mean()
    total: Tensor = down + across
    return total


class LandmarkJudge(nn.Module):
    """The mesh net as a loss: how landmarks move when a face is drawn in a style."""

    def __init__(self) -> None:
        super().__init__()
        self.net = FrozenGraph(MESH)

    def find(self, picture: Tensor, points: Tensor) -> Tensor:
        """Return the mesh (468, 2) that is seen in a picture (1, 3, h, w) with the face there."""
        card = self.net.card
        side, numbers = card.picture.side_px, (card.number("crop_reach"), card.number("crop_drop"))
        matrix = crop_matrix(crop_points(points.numpy()), side, reach=numbers[0], drop=numbers[1])
        if matrix is None:
            raise ShapeError("the mesh of a face", actual="a point", expected="an extent")
        back = torch.linalg.inv(torch.from_numpy(matrix[:, :2])).float()
        place = torch.stack(
            torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy"), -1
        ).float()
        where = (place - torch.from_numpy(matrix[:, 2]).float()) @ back.T
        size = torch.tensor([picture.shape[3], picture.shape[2]])
        grid = ((where + 0.5) * 2 / size - 1)[None]
        rgb = (functional.grid_sample(picture, grid, align_corners=False).flip(1) + 1) / 2
        seen: Tensor = self.net(rgb.permute(0, 2, 3, 1), ["mesh"])["mesh"]
        return seen.reshape(-1, 3)[:, :2]

    def forward(self, image: Tensor, content: Tensor, points: Tensor) -> Tensor:
        """Return the mean displacement in eye distances that no similarity explains."""
        with torch.no_grad():
            wanted = self.find(content, points)
        return residual(self.find(image, points), wanted)


def residual(points: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean distance of points (k, 2) from wanted ones after the best similarity.

    In eye distances of the wanted points. In the plane the best similarity is one complex factor
    (Umeyama, IEEE TPAMI 13(4), 1991).
    """
    ours, theirs = (torch.view_as_complex(p.float().contiguous()) for p in (points, wanted))
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    factor = (ours.conj() * theirs).sum() / (ours.abs().square().sum() + 1e-9)
    corners = [wanted[list(pair)].mean(0) for pair in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    apart: Tensor = (torch.view_as_real(factor * ours - theirs).square().sum(-1) + 1e-9).sqrt()
    share: Tensor = apart.mean() / (corners[0] - corners[1]).norm()
    return share


def _gap(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean over the batch of squared differences by the squared size of both, 0..2."""
    axes = tuple(range(1, theirs.ndim))
    size = (theirs.square() + ours.detach().square()).mean(axes)
    lost = (ours - theirs).square().mean(axes) / (size + 1e-8)
    return lost.mean()


def _bank() -> Tensor:
    """Return filters (32, 3, 7, 7) of norm 1: eight for colours, and lines and edges in six
    directions (Gabor filters), grey and in a colour drawn at random."""
    rng = torch.Generator().manual_seed(0)
    place = torch.arange(FILTER_PX) - FILTER_PX // 2
    y, x = torch.meshgrid(place.float(), place.float(), indexing="ij")
    soft = torch.exp(-(x.square() + y.square()) / 8)
    tints = torch.cat([torch.eye(3), -torch.eye(3), torch.ones(1, 3), -torch.ones(1, 3)])
    filters = [tint[:, None, None] * soft for tint in tints]
    for step in range(6):
        angle = torch.tensor(math.pi * step / 6)
        across = x * torch.cos(angle) + y * torch.sin(angle)
        for phase in (0.0, math.pi / 2):
            wave = torch.cos(across * (2 * math.pi / WAVE_PX) + phase) * soft
            wave = wave - soft * (wave.sum() / soft.sum())
            tint = torch.randn((3, 1, 1), generator=rng)
            filters += [wave.expand(3, -1, -1), tint * wave]
    bank = torch.stack(filters)
    unit: Tensor = bank / bank.flatten(1).norm(dim=1)[:, None, None, None]
    return unit
