"""The adversary tells real from made once it has learnt to, and is steep nowhere for free."""

from __future__ import annotations

import pytest
import torch

from generator.discriminator import R1_WEIGHT, PatchDiscriminator, fool_loss, judge_loss


@pytest.fixture
def adversary() -> PatchDiscriminator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PatchDiscriminator(width=4)


def pictures(seed: int) -> torch.Tensor:
    return torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("side", [32, 128])
def test_there_is_a_score_for_every_patch(adversary: PatchDiscriminator, side: int) -> None:
    assert adversary(torch.zeros(2, 3, side, side)).shape == (2, 1, side // 16, side // 16)


def test_the_loss_is_hinge_and_r1(adversary: PatchDiscriminator) -> None:
    adversary.eval()  # spectral norms do not move, so that both sides count with the same weights
    real, made = pictures(0), pictures(1)
    with torch.no_grad():
        hinge = (1 - adversary(real)).relu().mean() + (1 + adversary(made)).relu().mean()
    total = judge_loss(adversary, real, made)
    seen = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(adversary(seen).sum(), seen)
    steep = R1_WEIGHT / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(total.detach(), hinge + steep)
    assert float(steep) > 0


def test_each_side_learns_from_its_own_loss_alone(adversary: PatchDiscriminator) -> None:
    made = pictures(1).requires_grad_()
    judge_loss(adversary, pictures(0), made).backward()
    assert made.grad is None, "the adversary's step does not reach the generator"
    assert all(p.grad is not None for p in adversary.parameters())
    fool_loss(adversary, made).backward()
    assert made.grad is not None
    assert bool(made.grad.any())


def test_it_learns_to_tell_and_being_believed_costs_less(adversary: PatchDiscriminator) -> None:
    real, made = pictures(0) * 0.2 + 0.6, pictures(1) * 0.2 - 0.6
    optimiser = torch.optim.Adam(adversary.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = judge_loss(adversary, real, made)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        assert float(adversary(real).mean()) > float(adversary(made).mean())
        assert float(fool_loss(adversary, real)) < float(fool_loss(adversary, made))
    assert losses[-1] < losses[0]
