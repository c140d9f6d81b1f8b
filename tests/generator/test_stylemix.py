"""StyleMixNet keeps its word: neutral for one person, the composite untrained, still outside."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from generator.errors import ShapeError
from generator.stylemix import (
    FLOW_PX,
    Increment,
    StyleMixBlock,
    StyleMixNet,
    StyleMixShape,
    adain_increment,
    channel_statistics,
    reach_of,
)

WHOLE = StyleMixShape(widths=(8, 8, 8, 8), mid_blocks=1, inject_at=(16, 32), code_dim=8, tag_dim=4)
PATCHED = replace(WHOLE, widths=(8, 8, 8), patch=2)
SEEDS = st.integers(0, 2**31 - 1)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(seed: int, n: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Smooth pictures, a mask with hard and soft places, and two identity vectors."""
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand((n, 12, 16, 16), generator=rng) * 2 - 1
    pictures = torch.nn.functional.interpolate(small, (128, 128), mode="bilinear")
    mask = torch.zeros(n, 1, 128, 128)
    mask[:, :, 40:90, 50:80] = torch.rand((n, 1, 50, 30), generator=rng)
    mask[:, :, 60:70] = mask[:, :, 60:70].round()
    return pictures, mask, noise(seed, n, 128), noise(seed + 1, n, 128)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, channels=st.integers(1, 9))
def test_one_person_on_both_sides_is_a_neutral_increment_exactly(seed: int, channels: int) -> None:
    increment = Increment(6, channels)
    with torch.no_grad():
        increment.style.weight.copy_(noise(seed, 2 * channels, 6) * 3)
        increment.style.bias.copy_(noise(seed + 1, 2 * channels) * 30)
        code = noise(seed + 2, 3, 6) * 5
        mu, sigma = increment(code, code.clone())
    assert torch.equal(mu, torch.zeros(3, channels))
    assert torch.equal(sigma, torch.ones(3, channels))
    features = noise(seed + 3, 3, channels, 5, 7) * 4 + 2
    same = adain_increment(features, mu, sigma)
    assert float((same - features).abs().max()) <= 4e-6 * float(features.abs().max())


def test_two_people_give_an_increment() -> None:
    with torch.no_grad():
        mu, sigma = Increment(6, 4)(noise(0, 2, 6), noise(1, 2, 6))
    assert float(mu.abs().min()) > 0
    assert float((sigma - 1).abs().min()) > 0
    assert bool((sigma > 0).all())


def test_increment_scales_and_shifts_the_statistics() -> None:
    features = noise(0, 2, 3, 16, 16) * 2 + 1
    mean, std = channel_statistics(features)
    moved = adain_increment(features, torch.full((2, 3), 0.5), torch.full((2, 3), 3.0))
    new_mean, new_std = channel_statistics(moved)
    torch.testing.assert_close(new_mean, mean + 0.5 * std)
    torch.testing.assert_close(new_std, 3 * std, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_are_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    far = (noise(0, 1, 2, 32, 32) * 0.5 + 100).to(dtype)
    mean, std = channel_statistics(far)
    assert (mean.dtype, std.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(mean, far.double().mean((2, 3), keepdim=True).float())
    exact = far.double().var((2, 3), correction=0, keepdim=True).sqrt().float()
    torch.testing.assert_close(std, exact, rtol=1e-3, atol=1e-3)
    neutral = adain_increment(far, torch.zeros(1, 2), torch.ones(1, 2))
    assert neutral.dtype == dtype
    assert torch.equal(neutral, far)


def test_under_autocast_the_statistics_stay_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []

    def note(features: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = channel_statistics(features)
        seen.extend((mean.dtype, std.dtype))
        return mean, std

    monkeypatch.setattr("generator.stylemix.channel_statistics", note)
    net = StyleMixNet(WHOLE)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = net(*inputs(0))
    assert set(seen) == {torch.float32}
    assert all(value.dtype == torch.float32 for value in out)


@pytest.mark.parametrize("shape", [WHOLE, PATCHED], ids=["whole", "patched"])
@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
def test_an_untrained_network_returns_the_composite(shape: StyleMixShape, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = StyleMixNet(shape).eval()
        pictures, mask, source, target = inputs(seed)
        out = net(pictures, mask, source, target)
    assert float((out.image - pictures[:, 9:]).abs().max()) <= 1e-6
    assert torch.equal(out.flow, torch.zeros(2, 2, 128, 128))
    assert float(out.paint.abs().max()) <= 1e-6
    assert float((out.mask - mask).abs().max()) <= 1e-6


def test_nothing_changes_beyond_its_reach(tiny_net: StyleMixNet) -> None:
    pictures, mask, source, target = inputs(7)
    pictures[:, 9:] = torch.where(mask > 0, pictures[:, 9:], pictures[:, :3])
    with torch.no_grad():
        out = tiny_net(pictures, mask, source, target)
    still = (out.reach == 0).expand(-1, 3, -1, -1)
    assert bool(still.any())
    assert torch.equal(out.image[still], pictures[:, 9:][still])
    assert torch.equal(out.image[still], pictures[:, :3][still]), "there, that is the target"
    assert float((out.image - pictures[:, 9:]).abs()[~still].mean()) > 0.01


def test_reach_covers_the_mask_and_stops_at_the_edge() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 50:70, 60:80] = 1
    reach = reach_of(mask)
    assert float(reach.min()) >= 0
    assert float(reach.max()) <= 1 + 1e-6
    assert torch.allclose(reach[mask == 1], torch.ones(()))
    assert float(reach[..., 50 - 17 :, :][..., :1, :].abs().max()) == 0, "16 pixels and no more"
    whole = reach_of(torch.ones(1, 1, 128, 128))
    for edge in (whole[..., 0, :], whole[..., -1, :], whole[..., :, 0], whole[..., :, -1]):
        assert float(edge.abs().max()) == 0
    assert float(whole[..., 20:-20, 20:-20].min()) == pytest.approx(1)
    assert float(reach_of(torch.zeros(1, 1, 128, 128)).abs().max()) == 0


def test_a_batch_is_as_good_as_its_samples_alone(tiny_net: StyleMixNet) -> None:
    given = inputs(11, n=3)
    with torch.no_grad():
        together = tiny_net(*given)
        alone = [tiny_net(*(value[k : k + 1] for value in given)) for k in range(3)]
    for name in together._fields:
        parts = torch.cat([getattr(one, name) for one in alone])
        torch.testing.assert_close(getattr(together, name), parts, rtol=0, atol=1e-5)


def test_the_same_inputs_give_the_same_numbers(tiny_net: StyleMixNet) -> None:
    with torch.no_grad():
        first, second = (tiny_net(*inputs(13)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_seed_decides_the_weights() -> None:
    nets = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nets.append(StyleMixNet(WHOLE).state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    assert not all(torch.equal(nets[0][key], nets[2][key]) for key in nets[0])


def test_identity_enters_where_the_shape_says() -> None:
    net = StyleMixNet(WHOLE)  # sides 128, 64, 32, 16
    assert [block.injects for block in net.middle] == [True]
    assert [block.injects for block in net.mix] == [True, False, False]
    injecting = {name for name, part in net.named_modules() if isinstance(part, Increment)}
    assert {name.rsplit(".", 2)[0] for name in injecting} == {"middle.0", "mix.0"}
    none = StyleMixNet(replace(WHOLE, inject_at=()))
    assert not any(isinstance(part, Increment) for part in none.modules())


def test_identity_is_centred_and_its_length_does_not_count(tiny_net: StyleMixNet) -> None:
    pictures, mask, source, target = inputs(17)
    mean = tiny_net.id_mean
    with torch.no_grad():
        plain = tiny_net(pictures, mask, source, target).image
        longer = tiny_net(pictures, mask, mean + 3 * (source - mean), target).image
        swapped = tiny_net(pictures, mask, target, source).image
    torch.testing.assert_close(plain, longer, rtol=0, atol=1e-4)
    assert not torch.allclose(plain, swapped, atol=1e-3)


def test_a_block_that_does_not_inject_does_not_look_at_identity() -> None:
    block = StyleMixBlock(8, WHOLE, injects=False)
    x = noise(0, 1, 8, 6, 6)
    codes = [(noise(k, 1, 8), noise(k + 1, 1, 8)) for k in (1, 3)]
    tags = [noise(k, 1, 4, 1, 1) for k in (5, 6)]
    assert torch.equal(block(x, codes[0], tags[0]), block(x, codes[1], tags[1]))


def test_the_flow_is_bounded_and_moves_the_composite(tiny_net: StyleMixNet) -> None:
    pictures, mask, source, target = inputs(19)
    with torch.no_grad():
        small = tiny_net._flow(noise(0, 1, 8, 32, 32) * 1e4)
        assert float(small.abs().max()) <= FLOW_PX
        out = tiny_net(pictures, mask, source, target)
    assert out.flow.shape == (2, 2, 128, 128)
    assert float(out.flow.abs().max()) > 0
    # What was not painted is the composite, looked up where the flow says.
    grid = tiny_net.grid + out.flow.permute(0, 2, 3, 1) / 64
    moved = torch.nn.functional.grid_sample(
        pictures[:, 9:], grid, padding_mode="border", align_corners=False
    )
    again = pictures[:, 9:] + out.reach * (moved - pictures[:, 9:]) + out.paint
    torch.testing.assert_close(out.image, again, rtol=0, atol=1e-5)


def test_every_weight_learns_after_the_first_step_away_from_zero() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = StyleMixNet(WHOLE)
    pictures, mask, source, target = inputs(23)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    silent: list[str] = []
    for _ in range(3):  # the head moves first, then what feeds it, then the increments' tags
        optimiser.zero_grad()
        out = net(pictures, mask, source, target)
        (out.image - pictures[:, 6:9]).square().mean().backward()
        silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        optimiser.step()
    assert silent == []
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


@pytest.mark.parametrize("side", [64, 96, 127, 256])
def test_pictures_of_another_size_are_refused(tiny_net: StyleMixNet, side: int) -> None:
    _, mask, source, target = inputs(0, n=1)
    with pytest.raises(ShapeError) as caught:
        tiny_net(torch.zeros(1, 12, side, side), mask, source, target)
    assert tuple(caught.value.actual) == (1, 12, side, side)  # type: ignore[arg-type]
    assert caught.value.expected == ("n", 12, 128, 128)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (2, 1, 128, 128), (1, 3, 128, 128), (1, 128)])
def test_masks_that_do_not_fit_are_refused(tiny_net: StyleMixNet, shape: tuple[int, ...]) -> None:
    pictures, _, source, target = inputs(0, n=1)
    with pytest.raises(ShapeError, match="mask") as caught:
        tiny_net(pictures, torch.zeros(shape), source, target)
    assert caught.value.expected == (1, 1, 128, 128)
    with pytest.raises(ShapeError, match="pictures"):
        tiny_net(torch.zeros(1, 10, 128, 128), torch.zeros(1, 1, 128, 128), source, target)


def test_a_shape_travels_as_plain_values() -> None:
    plain = WHOLE.as_json()
    assert StyleMixShape(**plain) == WHOLE
