"""Shipped weights as torch modules: the twin of a card, or a refusal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from generator.errors import WeightRefused
from generator.presets import PRESETS
from generator.stylemix import StyleMixNet
from generator.trained import Parent, load_stylemix, read_twin
from generator.weights import load_card
from provenance.watermark.learned.errors import TrainingRefused


@pytest.fixture
def stylemix_folder(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models, tmp_path / "models"))


def test_the_twin_is_the_network_that_was_shipped(stylemix_folder: Path) -> None:
    net = load_stylemix("stylemix", stylemix_folder)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert all(torch.equal(p, p.half().float()) for p in net.parameters())


def test_weights_of_others_are_no_stylemix() -> None:
    with pytest.raises(WeightRefused, match="not trained here"):
        load_stylemix("idnet")


def test_a_card_without_a_twin_is_refused() -> None:
    with pytest.raises(WeightRefused, match="no safetensors twin"):
        read_twin(load_card("idnet"))


def test_an_altered_twin_is_refused(stylemix_folder: Path) -> None:
    twin = stylemix_folder / "stylemix.safetensors"
    content = bytearray(twin.read_bytes())
    content[-1] ^= 1
    twin.write_bytes(content)
    with pytest.raises(WeightRefused, match="not the file its card names"):
        load_stylemix("stylemix", stylemix_folder)


def test_a_missing_twin_is_refused(stylemix_folder: Path) -> None:
    (stylemix_folder / "stylemix.safetensors").unlink()
    with pytest.raises(WeightRefused, match="cannot be read"):
        load_stylemix("stylemix", stylemix_folder)


def test_a_twin_of_another_shape_is_refused(stylemix_folder: Path) -> None:
    card = stylemix_folder / "stylemix.toml"
    text = card.read_text(encoding="utf-8")
    changed = text.replace('\\"mid_blocks\\": 1', '\\"mid_blocks\\": 2')
    assert changed != text
    card.write_text(changed, encoding="utf-8")
    with pytest.raises(WeightRefused, match="does not fit"):
        load_stylemix("stylemix", stylemix_folder)


def test_a_run_begins_with_the_weights_that_were_shipped(stylemix_folder: Path) -> None:
    parent = Parent("stylemix", "release_training", stylemix_folder)
    twin = load_card("stylemix", stylemix_folder).twin
    assert twin is not None
    assert parent.sha256 == twin.sha256
    assert parent.training == load_card("stylemix", stylemix_folder).training
    net = StyleMixNet(parent.net.shape)
    parent.give(net)
    assert all(
        torch.equal(a, b)
        for a, b in zip(net.state_dict().values(), parent.net.state_dict().values(), strict=True)
    )


def test_weights_of_another_shape_are_nothing_to_begin_with(stylemix_folder: Path) -> None:
    parent = Parent("stylemix", "research_training", stylemix_folder)
    with pytest.raises(TrainingRefused, match="another shape"):
        parent.give(StyleMixNet(PRESETS["mobile"].shape))


def test_what_was_made_for_research_has_no_released_children(stylemix_folder: Path) -> None:
    card = stylemix_folder / "stylemix.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("release_training", "research_training"), encoding="utf-8")
    Parent("stylemix", "research_training", stylemix_folder)
    with pytest.raises(WeightRefused, match="trained for research"):
        Parent("stylemix", "release_training", stylemix_folder)
