"""A disturbed batch is still one of true swaps: pictures change alike, points follow pixels."""

from __future__ import annotations

import pytest
import torch

from generator.batches import Batch, Disturbed, disturb, drop_texture, mirror
from generator.samples import SampleSet

EVERYTHING = Disturbed(mixing=0.1, light=0.1, grain=0.02, bend=1.0)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def batch(sample_set: SampleSet) -> Batch:
    """Two samples whose five pictures are all the target."""
    batch = sample_set.take(torch.tensor([0, 1]))
    return batch._replace(label=batch.target, inputs=batch.target.repeat(1, 4, 1, 1))


def test_mirroring_twice_changes_nothing_and_points_follow_the_pixels(
    sample_set: SampleSet,
) -> None:
    batch = sample_set.take(torch.tensor([0, 1]))
    once = mirror(batch)
    for again, first in zip(mirror(once), batch, strict=True):
        torch.testing.assert_close(again, first, rtol=0, atol=1e-4, equal_nan=True)
    assert not torch.equal(once.label, batch.label)
    # A spot painted on the subject's right eye corner lies on the left one's point afterwards.
    spot = batch.composite_points[0, 33].round().long()
    marked = batch.label.clone()
    marked[0, :, spot[1], spot[0]] = 9
    seen = mirror(batch._replace(label=marked))
    x, y = seen.composite_points[0, 263].round().long()
    assert float(seen.label[0, 0, y, x]) == 9
    assert torch.equal(once.id_source, batch.id_source)
    assert torch.equal(once.mask, batch.mask.flip(-1))


def test_dropped_texture_is_dropped_everywhere(sample_set: SampleSet) -> None:
    batch = sample_set.take(torch.arange(6))
    rng = torch.Generator().manual_seed(0)
    for share, how_many in ((0.0, 0), (1.0, 6)):
        after = drop_texture(batch, share, rng)
        dropped = [
            all(torch.equal(after.inputs[n, k : k + 3], batch.target[n]) for k in (3, 6, 9))
            for n in range(6)
        ]
        assert sum(dropped) == how_many
        assert torch.equal(after.target, batch.target)
        assert torch.equal(after.label, batch.label)
    some = drop_texture(batch, 0.5, rng)
    changed = [not torch.equal(some.inputs[n], batch.inputs[n]) for n in range(6)]
    assert 0 < sum(changed) < 6


@pytest.mark.parametrize(
    "how",
    [Disturbed(), Disturbed(mixing=0.1, bend=1.0), Disturbed(mixing=0.3, light=0.4, bend=4.0)],
    ids=["by default", "a little", "strongly"],
)
def test_all_pictures_of_a_sample_change_alike(
    batch: Batch, rng: torch.Generator, how: Disturbed
) -> None:
    after = disturb(batch, how, rng)
    for picture in (after.label, after.inputs[:, 3:6], after.inputs[:, 6:9], after.composite):
        torch.testing.assert_close(picture, after.target, rtol=0, atol=1e-5)
    assert not torch.allclose(after.target, batch.target, atol=0.02)
    assert not torch.allclose(after.target[0] - batch.target[0], after.target[1] - batch.target[1])
    assert float(after.inputs.min()) >= -1
    assert float(after.inputs.max()) <= 1


def test_the_lent_texture_has_a_grain_of_its_own(batch: Batch, rng: torch.Generator) -> None:
    after = disturb(batch, Disturbed(mixing=0.0, light=0.0, grain=0.1, bend=0.0), rng)
    pulled, warped = after.inputs[:, 3:6], after.inputs[:, 6:9]
    assert torch.equal(after.label, after.target)
    assert torch.equal(after.composite, after.target)
    assert torch.equal(pulled, warped)
    assert not torch.allclose(warped, after.target, atol=0.01)


def test_grey_keeps_its_balance_but_for_the_gain(batch: Batch, rng: torch.Generator) -> None:
    grey = torch.full_like(batch.label, 0.2)
    whole = batch._replace(label=grey, inputs=grey.repeat(1, 4, 1, 1))
    mixed = Disturbed(mixing=0.3, light=0.0, grain=0.0, bend=0.0)
    after = (disturb(whole, mixed, rng).label + 1) / 2
    assert float((after.amax(1) / after.amin(1)).max()) <= 1.1 / 0.9 + 1e-4


@pytest.mark.parametrize("side", [64, 128])
def test_points_follow_the_pixels_when_shapes_bend(side: int, rng: torch.Generator) -> None:
    """A spot in the label is where its point says, before and after; the mask goes with it."""
    spots = torch.tensor([[0.3, 0.4], [0.6, 0.5], [0.5, 0.7]]) * side
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    near = torch.stack([((x - a) ** 2 + (y - b) ** 2) / 8 for a, b in spots]).amin(0)
    picture = torch.exp(-near).expand(4, 3, side, side) * 2 - 1
    points = spots.expand(4, 3, 2).clone()
    nothing = torch.full_like(points, torch.nan)
    batch = Batch(
        inputs=picture.repeat(1, 4, 1, 1), label=picture, mask=(picture[:, :1] + 1) / 2,
        label_points=points, composite_points=nothing, id_source=torch.zeros(4, 8),
        id_target=torch.zeros(4, 8), kind=torch.zeros(4),
    )  # fmt: skip
    after = disturb(batch, Disturbed(mixing=0.0, light=0.0, grain=0.0, bend=3.0), rng)
    moved = after.label_points - points
    assert float(moved.norm(dim=2).max()) > 1
    assert bool(torch.isnan(after.composite_points).all()), "what was not found stays not found"
    for n in range(4):
        for k, (a, b) in enumerate(after.label_points[n].tolist()):
            weight = torch.exp(-((x - a) ** 2 + (y - b) ** 2) / 18) * after.mask[n, 0]
            seen = torch.stack([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
            torch.testing.assert_close(seen, after.label_points[n, k], rtol=0, atol=side / 150)


def test_the_generator_decides_alone(batch: Batch) -> None:
    twice = [disturb(batch, EVERYTHING, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(twice[0].inputs, twice[1].inputs)
    assert torch.equal(twice[0].label_points.nan_to_num(), twice[1].label_points.nan_to_num())
