"""Attacks let gradients through, networks keep shapes, losses measure what they say."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from provenance.watermark.learned.attacks import (
    ATTACKS,
    CODECS,
    GEOMETRY,
    fit_square,
    soft_jpeg,
    to_luma,
)
from provenance.watermark.learned.data import TrainingSet
from provenance.watermark.learned.losses import (
    mark_loss,
    measure_accuracy,
    measure_psnr_db,
    measure_ssim,
)
from provenance.watermark.learned.network import (
    MarkNetworks,
    NetworkShape,
    add_at_psnr,
    measure_jnd,
)
from provenance.watermark.learned.presets import PRESETS

SHAPE = NetworkShape(side_px=64, bits=5, encoder_width=4, reader_width=4)


def source(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(demo_set: TrainingSet) -> torch.Tensor:
    return demo_set.pictures[:3, :, 4:68, 4:68].float() / 255


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_gradients_flow_through_an_attack(name: str, strength: float, images: torch.Tensor) -> None:
    wanted = images.clone().requires_grad_()
    attacked = ATTACKS[name](wanted, strength, source())
    assert attacked.shape[:2] == images.shape[:2]
    assert min(attacked.shape[-2:]) >= 16
    assert 0 <= float(attacked.detach().min()) <= float(attacked.detach().max()) <= 1 + 1e-6
    attacked.square().sum().backward()
    gradient = wanted.grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())
    assert float((gradient != 0).float().mean()) > 0.05


@pytest.mark.parametrize("name", sorted({*GEOMETRY, *CODECS} - {"none"}))
def test_full_strength_changes_more_than_none(name: str, images: torch.Tensor) -> None:
    def changed(strength: float) -> float:
        attacked = fit_square(ATTACKS[name](images, strength, source()), 64)
        return float((attacked - images).abs().mean())

    assert changed(1.0) > max(0.002, 1.2 * changed(0.0))


def test_sizes_that_are_not_restored(images: torch.Tensor) -> None:
    sizes = {
        name: {ATTACKS[name](images, 1.0, source(seed)).shape[-1] for seed in range(20)}
        for name in ATTACKS
    }
    assert {name for name, seen in sizes.items() if seen != {64}} == {"crop", "resize"}
    assert min(sizes["crop"]) >= 32
    assert min(sizes["resize"]) >= 32


def test_soft_jpeg_is_near_the_real_one(images: torch.Tensor) -> None:
    # An odd size too: what pads the last blocks must be cut off again.
    odd = images[..., :61, :50]
    soft, real = (ATTACKS[name](odd, 0.75, source()) for name in ("soft_jpeg", "jpeg"))
    assert soft.shape == odd.shape
    assert measure_psnr_db(soft, real) > measure_psnr_db(odd, real) + 3


def test_soft_jpeg_without_loss_is_the_picture() -> None:
    # A grey ramp of whole blocks: nothing but the mean of each block to keep.
    blocks = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
    images = blocks.repeat_interleave(16, 2).repeat_interleave(16, 3).expand(1, 3, 64, 64)
    assert float((soft_jpeg(images, 0.0, source()) - images).abs().max()) < 0.01


def test_real_codecs_keep_the_order_of_colours() -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    for name in ("jpeg", "webp", "soft_jpeg"):
        assert float((ATTACKS[name](red, 0.0, source()) - red).abs().mean()) < 0.05


def test_luma_is_that_of_the_reader(images: torch.Tensor) -> None:
    bgr = (images[0].permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)
    theirs = cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)[..., 0] / 255
    assert float(np.abs(to_luma(images)[0, 0].numpy() - theirs).max()) < 1 / 255


def test_a_turn_moves_pixels_as_the_angle_says() -> None:
    images = torch.zeros(1, 3, 65, 65)
    images[:, :, 32, 60] = 1.0
    turned = ATTACKS["rotate"](images, 1.0, source(3))[0, 0]
    y, x = divmod(int(turned.argmax()), 65)
    assert math.hypot(y - 32, x - 32) == pytest.approx(28, abs=1.5)
    assert 0 < abs(math.degrees(math.atan2(y - 32, x - 32))) <= 31


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_networks_of_a_preset_fit_together(preset: str) -> None:
    shape = PRESETS[preset].shape
    networks = MarkNetworks(shape)
    luma = torch.rand(1, 1, shape.side_px, shape.side_px)
    message = torch.ones(1, shape.bits)
    with torch.no_grad():
        residual = networks.encoder(luma, message)
        logits = networks.reader(luma + residual)
    assert residual.shape == luma.shape
    assert logits.shape == message.shape
    weights = [sum(4 * p.numel() for p in one.parameters()) for one in networks.children()]
    assert sum(weights) < 25_000_000, "both must fit into the package"


def test_the_residual_depends_on_message_and_picture(images: torch.Tensor) -> None:
    encoder = MarkNetworks(SHAPE).encoder
    luma, ones = to_luma(images), torch.ones(3, 5)
    residual = encoder(luma, ones)
    assert float((residual - encoder(luma, 0 * ones)).detach().abs().max()) > 1e-4
    assert float((residual - encoder(luma.flip(0), ones)).detach().abs().max()) > 1e-4


def test_the_mask_hides_more_where_there_is_texture() -> None:
    luma = torch.full((1, 1, 64, 64), 0.5)
    luma[..., 32:] += 0.2 * torch.rand(64, 32, generator=source()) - 0.1
    mask = measure_jnd(luma)
    assert float(mask[..., 40:].mean()) > 2 * float(mask[..., :24].mean())
    assert float(mask.mean()) == pytest.approx(1.0)


@pytest.mark.parametrize("psnr_db", [30.0, 42.0])
def test_strength_is_the_psnr_that_was_asked_for(images: torch.Tensor, psnr_db: float) -> None:
    residual = torch.randn(3, 1, 64, 64, generator=source())
    inside = images.clamp(0.2, 0.8)
    marked = add_at_psnr(
        inside, residual * torch.tensor([1e-3, 1.0, 1e3])[:, None, None, None], psnr_db
    )
    assert [measure_psnr_db(a, b) for a, b in zip(marked, inside, strict=True)] == pytest.approx(
        [psnr_db] * 3, abs=0.1
    )


def test_measures_of_the_same_and_of_other_pictures(images: torch.Tensor) -> None:
    other = (images + 0.1 * torch.randn(images.shape, generator=source())).clamp(0, 1)
    assert float(measure_ssim(images, images)) == pytest.approx(1.0)
    assert float(measure_ssim(images, other)) < 0.9
    assert measure_psnr_db(images, images) == pytest.approx(120.0)
    assert measure_psnr_db(images, other) == pytest.approx(20.0, abs=1.5)


def test_accuracy_and_loss_of_right_and_wrong_logits(images: torch.Tensor) -> None:
    message = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    right = 10 * (2 * message - 1)
    assert measure_accuracy(right, message) == 1.0
    assert measure_accuracy(-right, message) == 0.0
    assert float(mark_loss(right, message, images, images)) < 0.01
    assert float(mark_loss(0 * right, message, images, images)) == pytest.approx(math.log(2))
