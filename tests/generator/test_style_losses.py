"""Losses of the style network: nothing where there is nothing to tell, more where there is more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from generator.errors import ShapeError
from generator.style_losses import (
    LandmarkJudge,
    StyleJudge,
    content_loss,
    gram,
    region_loss,
    residual,
    shade_loss,
    statistics_loss,
    variation,
)
from generator.style_samples import load_styles


@pytest.fixture(scope="module")
def judge() -> StyleJudge:
    return StyleJudge()


def smooth(seed: int = 0, side: int = 160) -> Tensor:
    small = torch.rand((1, 3, 12, 12), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return functional.interpolate(small, (side, side), mode="bilinear")


def test_a_gram_matrix_does_not_grow_with_what_it_is_summed_over() -> None:
    features = torch.ones(1, 4, 10)
    assert torch.allclose(gram(features), torch.full((1, 4, 4), 0.25))
    assert torch.allclose(gram(features), gram(torch.ones(1, 4, 1000)))


@torch.no_grad()
def test_a_style_is_nearest_to_itself(judge: StyleJudge) -> None:
    names, digests, pictures = load_styles()
    assert names == tuple(digests)
    chosen = pictures[:3]
    studied = judge.study(chosen)
    told = [
        [
            float(judge.texture_loss(chosen[i : i + 1], studied.take(torch.tensor([k]))))
            for k in range(3)
        ]
        for i in range(3)
    ]
    for i, row in enumerate(told):
        assert row[i] < 1e-6
        assert min(value for k, value in enumerate(row) if k != i) > 0.01


@torch.no_grad()
def test_statistics_and_content_tell_pictures_apart(judge: StyleJudge) -> None:
    pictures = load_styles()[2][:2]
    studied = judge.study(pictures)
    seen = [judge.look(pictures[k : k + 1]) for k in range(2)]
    own = [float(statistics_loss(s, studied.take(torch.tensor([0])))) for s in seen]
    assert own[0] < 0.2 < own[1] + 0.2
    assert own[0] < own[1]
    assert float(content_loss(seen[0], seen[0])) == 0.0
    assert float(content_loss(seen[0], seen[1])) > 0.1


def test_the_texture_loss_gives_a_gradient_to_flat_pictures(judge: StyleJudge) -> None:
    flat = torch.zeros(1, 3, 96, 96, requires_grad=True)
    judge.texture_loss(flat + 1e-3 * smooth(side=96), judge.study(load_styles()[2][:1])).backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()
    assert flat.grad.abs().sum() > 0


def test_shade_is_about_coarse_light_alone() -> None:
    picture = smooth()
    assert float(shade_loss(picture, picture)) == pytest.approx(0, abs=1e-5)
    fine = picture + 0.3 * (torch.arange(160) % 2 * 2 - 1)
    assert float(shade_loss(fine, picture)) < 0.05
    assert float(shade_loss(-picture, picture)) > 0.5


def test_regions_count_only_where_and_for_whom_they_are_weighed() -> None:
    picture, regions = smooth(), torch.zeros(1, 4, 160, 160)
    regions[:, 0, 40:60, 40:60] = 1
    regions[:, 3, 80:120, 40:120] = 1
    wrong = picture.clone()
    wrong[..., 130:] = 1
    assert float(region_loss(wrong, picture, regions, torch.ones(1))) == pytest.approx(0, abs=1e-3)
    wrong[..., 40:60, 40:60] *= -1
    assert float(region_loss(wrong, picture, regions, torch.ones(1))) > 0.1
    assert float(region_loss(wrong, picture, regions, torch.zeros(1))) == 0.0


def test_variation_is_the_mean_step() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert float(variation(ramp)) == pytest.approx(1.0)


def test_the_residual_forgets_turn_size_and_place_but_nothing_else() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.rand((468, 2), generator=rng) * 100
    angle = torch.tensor(0.4)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    assert float(residual(points @ turn.T * 1.3 + 5, points)) < 1e-4
    bent = points + torch.tensor([0.0, 4.0]) * (points[:, :1] > 50)
    assert float(residual(bent, points)) > 0.01
    assert float(residual(points * torch.tensor([-1.0, 1.0]), points)) > 0.1


def test_landmarks_of_an_unchanged_face_have_not_moved(people) -> None:
    picture, face = people.picture("persona1_0").frame, people.face("persona1_0")
    content = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()
    content = content / 127.5 - 1
    points = torch.from_numpy(face.mesh[:, :2].copy())
    judge = LandmarkJudge()
    assert float(judge(content, content, points)) < 1e-4
    image = (content * 0.2).requires_grad_()
    moved = judge(image, content, points)
    moved.backward()
    assert 1e-4 < float(moved.detach()) < 0.5
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    found = judge.find(content, points).detach() / judge.net.card.picture.side_px
    assert 0.2 < float(found.mean()) < 0.8
    with pytest.raises(ShapeError):
        judge.find(content, torch.zeros(468, 2))
