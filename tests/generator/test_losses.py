"""Losses are nothing for a perfect picture, grow with the error, and lead back to the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from generator.idnet_graph import resample_matrix
from generator.insight import open_id_net
from generator.losses import (
    CHANGED_FULL,
    CHIP_PLACES,
    CHIP_POINTS,
    CHIP_PX,
    EMBEDDING,
    FAR_PX,
    ID_UNIT,
    LEVEL,
    FaceJudge,
    chip_grids,
    colour_loss,
    flow_loss,
    identity_loss,
    mask_loss,
    pixel_loss,
    structure_loss,
)
from generator.samples import SampleSet
from generator.stylemix import reach_of
from generator.topology import load_topology

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "pixel": lambda image, label, reach: pixel_loss(image, label, label, reach),
    "colour": colour_loss,
    "structure": structure_loss,
}


@pytest.fixture(scope="module")
def label() -> Tensor:
    small = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0)) - 0.5
    return torch.nn.functional.interpolate(small, (128, 128), mode="bilinear")


@pytest.fixture(scope="module")
def reach() -> Tensor:
    mask = torch.zeros(2, 1, 128, 128)
    mask[..., 40:90, 40:90] = 1
    return reach_of(mask)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_picture_costs_nothing_and_errors_cost_more(
    name: str, label: Tensor, reach: Tensor
) -> None:
    loss = LOSSES[name]
    assert abs(float(loss(label, label, reach))) < 1e-5
    step = torch.linspace(-1, 1, 128)[:, None] * 0.3 + 0.1
    costs = [float(loss(label + size * step, label, reach)) for size in (0.1, 0.3, 1.0)]
    assert 1e-4 < costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("name", LOSSES)
def test_what_cannot_be_changed_does_not_count(name: str, label: Tensor, reach: Tensor) -> None:
    other = label.clone()
    other[..., :8, :] += 0.5
    assert abs(float(LOSSES[name](other, label, reach))) < 1e-5
    assert float(LOSSES[name](other, label, torch.zeros_like(reach))) == 0, "nor divide by nothing"


def test_a_plain_error_is_its_own_mean(label: Tensor, reach: Tensor) -> None:
    assert float(pixel_loss(label + 0.25, label, label, reach)) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("levels", "weight"), [(0.0, 1.0), (CHANGED_FULL / 2, 3.0), (CHANGED_FULL, 5.0), (99.0, 5.0)]
)
def test_changed_pixels_weigh_up_to_five_times(levels: float, weight: float) -> None:
    """Left half changed, right half not; the error lies on the left alone."""
    target, reach = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    label = target.clone()
    label[..., :32] += levels / LEVEL
    image = label.clone()
    image[..., :32] += 0.1
    loss = float(pixel_loss(image, target, label, reach))
    assert loss == pytest.approx(0.1 * weight / (weight + 1), rel=1e-4)


def test_fine_errors_are_structure_and_not_colour(label: Tensor, reach: Tensor) -> None:
    board = 0.2 * (2.0 * ((torch.arange(128)[:, None] + torch.arange(128)) % 2) - 1)
    assert float(colour_loss(label + board, label, reach)) < 0.002
    assert float(structure_loss(label + board, label, reach)) > 0.1


@pytest.fixture(scope="module")
def places(sample_set: SampleSet) -> Tensor:
    return sample_set.tensors["composite_points"][:2]


def test_the_right_flow_costs_nothing(places: Tensor) -> None:
    way = torch.tensor([3.0, -2.0])
    flow = way.view(1, 2, 1, 1).expand(2, 2, 128, 128)
    assert float(flow_loss(flow, places, places + way)) < 1e-4
    off = [float(flow_loss(flow * k, places, places + way)) for k in (0.5, 0.0, -1.0)]
    assert 0.1 < off[0] < off[1] < off[2]


def test_the_flow_is_read_at_the_labels_points(places: Tensor) -> None:
    """A flow that is right where the label's points are, and wrong elsewhere."""
    ramp = torch.arange(128).float() * 0.05
    flow = torch.stack([ramp.expand(128, 128), torch.zeros(128, 128)])[None].repeat(2, 1, 1, 1)
    wanted = places.clone()
    wanted[..., 0] += 0.05 * places[..., 0]
    assert float(flow_loss(flow, places, wanted)) < 1e-3


def test_unknown_points_are_left_out_and_give_no_gradient_that_is_none(places: Tensor) -> None:
    flow = torch.zeros(2, 2, 128, 128, requires_grad=True)
    unknown = torch.full_like(places, float("nan"))
    nothing = flow_loss(flow, unknown, places)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert flow.grad is not None
    assert not flow.grad.any()
    half = torch.cat([places[:1] + 1, unknown[1:]])
    both = torch.cat([places[:1] + 1, places[1:]])
    with torch.no_grad():
        assert float(flow_loss(flow, half, places)) == float(flow_loss(flow, both, places)) > 0


def test_misplaced_meshes_count_no_further_than_their_limit(places: Tensor) -> None:
    flow = torch.zeros(2, 2, 128, 128)
    far, farther = (float(flow_loss(flow, places, places + way)) for way in (20.0, 500.0))
    assert far == farther
    inner = np.where(load_topology().rim > 0.12, 1.0, 0.3).mean()
    assert far == pytest.approx(FAR_PX * float(inner), rel=1e-4)


def test_moving_the_mask_costs_as_much_as_it_moves() -> None:
    mask = torch.rand(2, 1, 16, 16)
    assert float(mask_loss(mask, mask)) == 0
    assert float(mask_loss(mask + 0.2, mask)) == pytest.approx(0.2, rel=1e-4)


def test_identity_is_counted_in_people() -> None:
    wanted = torch.zeros(3, 128)
    assert float(identity_loss(wanted, wanted)) == 0
    other = wanted.clone()
    other[:, 7] = ID_UNIT
    assert float(identity_loss(other, wanted)) == pytest.approx(1)


@pytest.fixture(scope="module")
def judge() -> FaceJudge:
    return FaceJudge()


def as_tensor(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame.astype(np.float32).transpose(2, 0, 1)[None] / LEVEL - 1)


def test_the_judge_finds_equal_pictures_equal_and_leads_back_to_the_pixels(
    people: Any, judge: FaceJudge
) -> None:
    face = people.face("persona1_0")
    picture = as_tensor(people.picture("persona1_0").frame)
    other = as_tensor(people.picture("persona2_0").frame)
    chips = chip_grids(face.mesh[None, :, :2], 256)
    with torch.no_grad():
        own = judge.look(picture, chips)[EMBEDDING]
    image = picture.clone().requires_grad_()
    equal = judge(image, picture, own, chips)
    assert float(equal.perceptual.detach()) == 0
    assert float(equal.identity.detach()) < 1e-5
    (equal.perceptual + equal.identity).backward()
    assert image.grad is not None
    assert bool(torch.isfinite(image.grad).all()), "also where the distance is zero"
    image = (0.9 * picture + 0.1 * other).requires_grad_()
    near = judge(image, picture, own, chips)
    (slope,) = torch.autograd.grad(near.perceptual + near.identity, image)
    assert float(slope.abs().sum()) > 0
    assert not slope[..., :8, :8].any(), "what lies off the chip is not looked at"
    with torch.no_grad():
        far = judge(other, picture, own, chips)
    assert 0 < float(near.perceptual.detach()) < float(far.perceptual)
    assert float(far.identity) > 0.5


def test_the_judge_sees_the_chip_that_the_analyser_sees(people: Any, judge: FaceJudge) -> None:
    face = people.face("persona1_0")
    frame = people.picture("persona1_0").frame
    chips = chip_grids(face.mesh[None, :, :2], 256)
    with torch.no_grad():
        seen = judge.look(as_tensor(frame), chips)[EMBEDDING][0].numpy()
        chip = torch.nn.functional.grid_sample(as_tensor(frame), chips, align_corners=False)
    strangers = float(np.linalg.norm(people.face("persona2_0").id_vector - face.id_vector))
    # Resampled once here, twice there. Seen on six pictures: distances of .03 to .06.
    assert float(np.linalg.norm(seen - face.id_vector)) < 0.2 * strangers
    crop = open_id_net().align(frame, face.mesh).astype(np.float32)
    planes = [
        resample_matrix(1) @ plane @ resample_matrix(0).T for plane in crop.transpose(2, 0, 1)
    ]
    theirs = np.stack(planes, -1)
    ours = (chip[0].numpy().transpose(1, 2, 0) + 1) * LEVEL
    # Seen: 2.2 to 3.3 levels, and never more than .2 px apart.
    assert np.abs(ours - theirs).mean() < 4
    (x, y), _ = cv2.phaseCorrelate(ours.mean(-1), theirs.mean(-1))
    assert np.hypot(x, y) < 0.4


def test_the_five_points_lie_where_the_net_was_trained_to_see_them() -> None:
    """A face that is dlib's template itself, turned and scaled: its points land on the places."""
    places = (np.array(CHIP_PLACES) + 0.25) / 1.5 * CHIP_PX
    turn = 0.6 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    face = np.zeros((468, 2), np.float32)
    face[list(CHIP_POINTS)] = places @ turn.T + [30, 20]
    (grid,) = chip_grids(face[None], 128)
    assert grid.shape == (CHIP_PX, CHIP_PX, 2)
    pixels = (grid.numpy() + 1) * 64 - 0.5
    for (x, y), at in zip(places, face[list(CHIP_POINTS)], strict=True):
        near = pixels[round(y), round(x)]
        assert np.abs(near - at).max() < 0.6
