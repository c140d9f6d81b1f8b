"""The reference: pixels are moved towards a style, and stay where nothing asks them to move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from generator.errors import ShapeError
from generator.gram import GramSettings, optimise
from generator.style_losses import StyleJudge
from generator.style_samples import load_styles


@pytest.fixture(scope="module")
def judge() -> StyleJudge:
    return StyleJudge()


def content() -> Tensor:
    small = torch.rand((1, 3, 10, 10), generator=torch.Generator().manual_seed(0)) - 0.5
    return functional.interpolate(small, (152, 152), mode="bilinear")


def test_the_loss_falls_and_the_picture_changes(judge: StyleJudge) -> None:
    style = load_styles()[2][:1]
    made = optimise(content(), style, judge, GramSettings(steps=6))
    assert len(made.losses) == 6
    assert made.losses[-1] < 0.9 * made.losses[0]
    assert made.image.abs().max() <= 1
    assert (made.image - content()).abs().mean() > 0.01


def test_without_a_weight_of_style_the_content_is_kept(judge: StyleJudge) -> None:
    plain = GramSettings(texture=0, statistics=0, variation=0, steps=3, rate=1e-3)
    made = optimise(content(), load_styles()[2][:1], judge, plain)
    assert (made.image - content()).abs().max() < 0.01
    assert max(made.losses) < 0.05


def test_it_is_deterministic(judge: StyleJudge) -> None:
    style, settings = load_styles()[2][1:2], GramSettings(steps=2)
    first, again = (optimise(content(), style, judge, settings) for _ in range(2))
    assert torch.equal(first.image, again.image)
    assert first.losses == again.losses


@pytest.mark.parametrize("shape", [(3, 160, 160), (2, 3, 160, 160), (1, 3, 140, 160)])
def test_contents_of_other_shapes_are_refused(judge: StyleJudge, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        optimise(torch.zeros(shape), torch.zeros(1, 3, 256, 256), judge)
