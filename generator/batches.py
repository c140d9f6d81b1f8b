"""One training batch, and how it is disturbed at every step.

What is disturbed is light, colour, grain and shape, of all pictures of a sample alike: the true
swap of a disturbed sample is the disturbed true swap. Every random choice comes from the caller's
generator. Refused: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generator.topology import load_topology


class Batch(NamedTuple):
    """What one step sees; pictures (n, 3, side, side) in -1..1, BGR, on the run's device.

    inputs (n, 12, side, side): target, pulled, warped, composite. mask (n, 1, side, side) in 0..1.
    Points (n, 468, 2) in square pixels. ids (n, d). kind (n,): index into KINDS.
    """

    inputs: Tensor
    label: Tensor
    mask: Tensor
    label_points: Tensor
    composite_points: Tensor
    id_source: Tensor
    id_target: Tensor
    kind: Tensor

    @property
    def target(self) -> Tensor:
        """The target alone."""
        return self.inputs[:, :3]

    @property
    def composite(self) -> Tensor:
        """What geo made."""
        return self.inputs[:, 9:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """How strongly a batch is disturbed beyond gain, balance and gamma; standard deviations.

    Nothing by default. With mixing .1, light .1, grain .025 and bend 1.5 a run that began with the
    shipped weights came to progress .225 on validation people (.218 without) and to less identity:
    margin .088 (.109), and above 0 on 37 % of 60 pairs of photographs (55 %).

    mixing: of what one colour channel takes from each. light: of the logarithm of a smooth field
    over the square that multiplies all colours. grain: largest noise, of 0..1. bend: of a smooth
    field of displacements, pixels at 128 px.
    """

    mixing: float = 0.0
    light: float = 0.0
    grain: float = 0.0
    bend: float = 0.0


def disturb(batch: Batch, how: Disturbed, rng: torch.Generator) -> Batch:
    """Return the batch with all pictures of a sample disturbed alike; points follow the pixels."""
    relit = _relight(batch, how, rng)
    return _bend(relit, how.bend, rng) if how.bend else relit


def _relight(batch: Batch, how: Disturbed, rng: torch.Generator) -> Batch:
    """Change colours, gamma and light of all pictures of a sample alike, and lay grain on them.

    The texture that was pulled out of the source's picture has a grain of its own, as it would.
    """
    n, side = len(batch.label), batch.label.shape[-1]
    pictures = torch.cat([batch.inputs, batch.label], 1).view(n, 5, 3, side, side)
    gamma = _uniform(0.8, 1.25, (n, 1, 1, 1, 1), rng).to(pictures.device)
    mixing = _normal((n, 3, 3), rng) * how.mixing
    gain = _uniform(0.9, 1.1, (n, 3, 1), rng) * _uniform(0.8, 1.2, (n, 1, 1), rng)
    # Rows of the mixing sum to 1 before the gain, so grey stays grey.
    mixing = (torch.eye(3) + mixing - mixing.mean(2, keepdim=True)) * gain
    light = torch.exp(_field((n, 1), side, rng) * how.light).to(pictures.device)
    seen = ((pictures + 1) / 2).clamp(1e-4, 1) ** gamma
    seen = torch.einsum("ncd,nkdhw->nkchw", mixing.to(pictures.device), seen) * light[:, None]
    grain = _uniform(0.0, how.grain, (n, 1, 1, 1), rng) * _normal((n, 2, side, side), rng)
    own, lent = grain.to(pictures.device).split(1, 1)
    seen = seen + torch.stack([own, lent, lent, own, own], 1)
    seen = seen.clamp(0, 1) * 2 - 1
    return batch._replace(inputs=seen[:, :4].flatten(1, 2), label=seen[:, 4])


def _bend(batch: Batch, strength: float, rng: torch.Generator) -> Batch:
    """Displace all pictures, the mask and the points by one smooth field for each sample."""
    n, side = len(batch.label), batch.label.shape[-1]
    field = (_field((n, 2), side, rng) * strength * side / 128).to(batch.label.device)
    place = (torch.arange(side, device=field.device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    grid = torch.stack([x, y], -1) + field.permute(0, 2, 3, 1) * (2 / side)
    planes = torch.cat([batch.inputs, batch.label, batch.mask], 1)
    bent = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)

    def follow(points: Tensor) -> Tensor:
        # A pixel at q shows what was at q + field(q): q is found from p in two rounds.
        moved = points
        for _ in range(2):
            where = (torch.nan_to_num(moved) + 0.5) * (2 / side) - 1
            moved = points - functional.grid_sample(
                field, where[:, None], padding_mode="border", align_corners=False
            )[:, :, 0].transpose(1, 2)
        return moved

    return batch._replace(
        inputs=bent[:, :12],
        label=bent[:, 12:15],
        mask=bent[:, 15:],
        label_points=follow(batch.label_points),
        composite_points=follow(batch.composite_points),
    )


def _field(shape: tuple[int, int], side: int, rng: torch.Generator) -> Tensor:
    """Return smooth fields (*shape, side, side) of deviation about 1: 5 x 5 numbers, enlarged."""
    few = _normal((*shape, 5, 5), rng) * 1.5  # enlarging averages neighbours
    return functional.interpolate(few, (side, side), mode="bicubic", align_corners=True)


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _uniform(low: float, high: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def drop_texture(batch: Batch, share: float, rng: torch.Generator) -> Batch:
    """Show the target where the source's pixels would lie, in that share of the samples."""
    dropped = (torch.rand(len(batch.label), generator=rng) < share).to(batch.label.device)
    plain = batch.target.repeat(1, 4, 1, 1)
    return batch._replace(inputs=torch.where(dropped[:, None, None, None], plain, batch.inputs))


def mirror(batch: Batch) -> Batch:
    """Return the batch with left and right exchanged."""
    twins = torch.from_numpy(load_topology().mirror).to(batch.label.device)
    side = batch.label.shape[-1]

    def flip(points: Tensor) -> Tensor:
        points = points[:, twins].clone()
        points[..., 0] = side - 1 - points[..., 0]
        return points

    return batch._replace(
        inputs=batch.inputs.flip(-1),
        label=batch.label.flip(-1),
        mask=batch.mask.flip(-1),
        label_points=flip(batch.label_points),
        composite_points=flip(batch.composite_points),
    )
