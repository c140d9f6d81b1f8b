"""MDRN changes nothing before it has learned, never anything outside the mask, and only so much."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from generator.errors import ShapeError
from generator.mdrn import WEIGHT, Mdrn, haar_join, haar_split


def inputs(n: int = 2, side: int = 32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    pictures = torch.rand(n, 6, side, side, generator=rng) * 2 - 1
    mask = torch.rand(n, 1, side, side, generator=rng)
    mask[..., : side // 2] = 0
    return pictures[:, :3], pictures[:, 3:], mask


@pytest.fixture
def net() -> Mdrn:
    torch.manual_seed(3)
    return Mdrn().eval().requires_grad_(False)


@pytest.fixture
def loud(net: Mdrn) -> Mdrn:
    """A network whose head says something everywhere."""
    torch.nn.init.normal_(net.head.weight, std=0.5)
    return net


def test_haar_bands_give_the_picture_back() -> None:
    picture = inputs()[0]
    assert float((haar_join(haar_split(picture)) - picture).abs().max()) <= 1e-6


def test_haar_bands_are_orthonormal() -> None:
    picture = inputs()[0].double()
    assert torch.allclose(haar_split(picture).square().sum(), picture.square().sum())


@pytest.mark.parametrize(("band", "stripes"), [(1, "columns"), (2, "rows"), (3, "checks")])
def test_each_band_tells_its_own_direction(band: int, stripes: str) -> None:
    sign = torch.tensor([1.0, -1.0]).repeat(4)
    planes = {
        "columns": sign.expand(8, 8),
        "rows": sign[:, None].expand(8, 8),
        "checks": sign[:, None] * sign,
    }
    energy = haar_split(planes[stripes][None, None]).square().sum((0, 2, 3))
    assert energy.argmax() == band
    assert float(energy[band]) == pytest.approx(float(energy.sum()))


def test_a_flat_picture_is_all_mean() -> None:
    bands = haar_split(torch.full((1, 3, 8, 8), 0.25))
    assert torch.equal(bands[:, :3], torch.full((1, 3, 4, 4), 0.5))
    assert not bands[:, 3:].any()


def test_an_untrained_network_gives_the_picture_back(net: Mdrn) -> None:
    picture, target, mask = inputs()
    assert torch.equal(net(picture, target, mask), picture)


def test_outside_the_mask_not_a_bit_changes(loud: Mdrn) -> None:
    picture, target, mask = inputs()
    made = loud(picture, target, mask)
    outside = (mask == 0).expand_as(picture)
    assert torch.equal(made[outside], picture[outside])
    assert not torch.equal(made, picture)


def test_a_change_is_at_most_a_tenth_of_the_mask(loud: Mdrn) -> None:
    picture, target, mask = inputs()
    change = (loud(picture, target, mask) - picture).abs()
    assert bool((change <= WEIGHT * mask + 1e-6).all())
    assert float(change.max()) > 0.5 * WEIGHT


def test_the_result_does_not_depend_on_the_batch(loud: Mdrn) -> None:
    batch = inputs(3)
    alone = [loud(*(value[k : k + 1] for value in batch)) for k in range(3)]
    assert torch.allclose(torch.cat(alone), loud(*batch), atol=1e-5)


def test_the_target_and_the_mask_are_looked_at(loud: Mdrn) -> None:
    picture, target, mask = inputs()
    made = loud(picture, target, mask)
    assert not torch.allclose(loud(picture, -target, mask), made)
    inside = (mask > 0).expand_as(picture)
    half = (loud(picture, target, mask / 2) - picture)[inside]
    assert not torch.allclose(half * 2, (made - picture)[inside], atol=1e-4)


def test_size(net: Mdrn) -> None:
    assert sum(value.numel() for value in net.parameters()) == 649_346


def test_learning_reaches_every_weight_once_the_head_has_moved(loud: Mdrn) -> None:
    loud.requires_grad_(True)
    loud(*inputs()).square().mean().backward()
    assert all(value.grad is not None and value.grad.any() for value in loud.parameters())


@pytest.mark.parametrize(
    ("which", "shape"),
    [
        (0, (2, 4, 32, 32)),
        (0, (2, 3, 30, 32)),
        (0, (2, 3, 32, 36)),
        (1, (2, 3, 16, 32)),
        (1, (1, 3, 32, 32)),
        (2, (2, 3, 32, 32)),
        (2, (2, 1, 32, 16)),
    ],
)
def test_other_shapes_are_refused(net: Mdrn, which: int, shape: tuple[int, ...]) -> None:
    given = list(inputs())
    given[which] = torch.zeros(shape)
    with pytest.raises(ShapeError):
        net(*given)
