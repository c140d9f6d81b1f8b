"""The style network: strength 0 is the content, statistics are the style's, alpha decides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from generator.errors import ShapeError
from generator.stylemix import channel_statistics
from generator.stylise_net import StyleNet, adain, whiten


@pytest.fixture(scope="module")
def net() -> StyleNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return StyleNet().eval()


def pictures(n: int = 2, side: int = 64) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    content = torch.rand((n, 3, side, side), generator=rng) * 2 - 1
    return content, torch.rand((n, 3, 256, 256), generator=rng) * 2 - 1


@torch.no_grad()
def test_strength_zero_gives_the_content_back_to_the_bit(net: StyleNet) -> None:
    content, style = pictures()
    for instance in (0.0, 1.0):
        made = net(content, style, torch.zeros(2), torch.full((2,), instance))
        assert torch.equal(made.image, content)
    drawn = net(content, style, torch.ones(2), torch.ones(2)).image
    assert not torch.equal(drawn, content)


@torch.no_grad()
def test_strength_says_how_much_of_the_drawing_is_taken(net: StyleNet) -> None:
    content, style = pictures()
    whole = net(content, style, torch.ones(2), torch.ones(2)).image - content
    half = net(content, style, torch.full((2,), 0.5), torch.ones(2)).image - content
    assert torch.allclose(2 * half, whole, atol=1e-5)


@torch.no_grad()
def test_adain_gives_the_content_the_statistics_of_the_style() -> None:
    content, style = pictures()
    ours = channel_statistics(adain(content, style * 0.3 + 0.1))
    theirs = channel_statistics(style * 0.3 + 0.1)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(ours, theirs, strict=True))
    assert torch.allclose(adain(content, content), content, atol=1e-6)


@torch.no_grad()
def test_alpha_is_one_everywhere_unless_the_network_may_decide(net: StyleNet) -> None:
    content, style = pictures()
    plain = net(content, style, torch.ones(2), torch.zeros(2)).alpha
    assert plain.shape == (2, 1, 16, 16)
    assert (plain == 1).all()
    chosen = net(content, style, torch.ones(2), torch.ones(2)).alpha
    assert ((chosen > 0) & (chosen < 1)).all()


@torch.no_grad()
def test_alpha_follows_content_and_style() -> None:
    net = StyleNet().eval()
    torch.nn.init.normal_(net.fusion.weigh.weight)
    content, style = pictures()
    first = net(content, style, torch.ones(2), torch.ones(2)).alpha
    assert first.std() > 0.01
    other = net(content, style.flip(0), torch.ones(2), torch.ones(2)).alpha
    assert not torch.equal(first, other)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_neighbours(net: StyleNet) -> None:
    content, style = pictures()
    both = net(content, style, torch.ones(2), torch.ones(2)).image
    alone = net(content[1:], style[1:], torch.ones(1), torch.ones(1)).image
    assert torch.allclose(both[1:], alone, atol=1e-4)


def test_every_weight_learns_from_a_first_step() -> None:
    net = StyleNet()
    content, style = pictures(side=32)
    net(content, style, torch.ones(2), torch.ones(2)).image.square().mean().backward()
    silent = [name for name, value in net.named_parameters() if value.grad is None]
    assert silent == []


def test_the_pattern_repeats_without_a_seam(net: StyleNet) -> None:
    waves = net.pattern[:6]
    step = (waves - waves.roll(1, 2)).abs()
    assert step[..., 0].max() <= step.max()
    assert torch.equal(net.pattern, StyleNet().pattern)


def test_whitened_features_have_no_statistics_left() -> None:
    mean, std = channel_statistics(whiten(pictures()[0] * 3 + 1))
    assert mean.abs().max() < 1e-5
    assert (std - 1).abs().max() < 1e-3


def test_shapes_that_do_not_fit_are_refused(net: StyleNet) -> None:
    content, style = pictures()
    one, two = torch.ones(1), torch.ones(2)
    for args in (
        (content[..., :62], style, two, two),
        (content[:, :2], style, two, two),
        (content, style[:1], two, two),
        (content, style, one, two),
        (content, style, two, one),
    ):
        with pytest.raises(ShapeError):
            net(*args)
