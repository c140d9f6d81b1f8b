"""What is shipped of the style network: one set of numbers twice, and a card that loads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

from generator.errors import WeightRefused
from generator.runtime import open_network
from generator.ship_style import TrainedStyle, ship_style
from generator.stylise_net import StyleNet
from generator.weights import MODELS_FOLDER, load_card
from policies.digest import sha256_hex
from provenance.data_ledger import rendered_row

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROW = rendered_row(b"", "demo/persona1_0.webp", set_name="demo", person="persona:demo-1")


def trained(**changed: Any) -> TrainedStyle:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = StyleNet()
    measured = {"adain": {"texture": 0.5, "n": 7}, "iast": {"texture": 0.25, "n": 7}}
    preset = {"seed": 5, "styles": {"ink": "0" * 64}}
    return TrainedStyle(net, preset, 9, [ROW], "release_training", measured)._replace(**changed)


def feed(side: int = 256) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    shown = torch.rand(2, 6, side, side, generator=rng) * 2 - 1
    told = {"strength": torch.tensor([1.0, 0.3]), "instance": torch.tensor([0.0, 1.0])}
    return {"content": shown[:, :3], "style": shown[:, 3:], **told}


def assert_graph_is_the_network(folder: Path) -> None:
    """Both files of the folder hold one set of numbers, and the card's digests are theirs."""
    card = load_card("stylise", folder)
    content = (folder / "stylise.safetensors").read_bytes()
    assert card.twin is not None
    assert (sha256_hex(content), len(content)) == (card.twin.sha256, card.twin.bytes)
    weights = load(content)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    rounded = StyleNet().eval()
    rounded.load_state_dict({name: value.float() for name, value in weights.items()})
    inputs, network = feed(), open_network("stylise", folder=folder)
    arrays = {name: value.numpy() for name, value in inputs.items()}
    made = network.run(**arrays)
    again = network.run(**arrays)
    with torch.no_grad():
        wanted = rounded(*inputs.values())._asdict()
    for name, value in wanted.items():
        assert np.abs(made[name] - value.numpy()).max() < 1e-3 * max(1, float(value.abs().max()))
        assert np.array_equal(made[name], again[name])
    alone = network.run(**{name: value[:1] for name, value in arrays.items()})
    assert np.abs(alone["image"] - made["image"][:1]).max() < 1e-3
    nothing = network.run(**arrays | {"strength": np.zeros(2, np.float32)})
    assert np.array_equal(nothing["image"], arrays["content"])


def test_graph_and_weights_hold_the_same_numbers(tmp_path: Path) -> None:
    card = ship_style(trained(), tmp_path, now=NOW, code="abc")
    assert card.bytes < 2_500_000
    assert_graph_is_the_network(tmp_path)


def test_the_shipped_graph_is_the_shipped_network() -> None:
    assert_graph_is_the_network(MODELS_FOLDER)


def test_the_card_says_what_the_run_was(tmp_path: Path) -> None:
    card = ship_style(trained(), tmp_path, now=NOW, code="abc")
    assert card.task == "style"
    assert card.run is not None
    assert (card.run.steps, card.run.seed, card.run.pictures) == (9, 5, 1)
    assert '"ink"' in card.run.preset
    assert card.known_failures
    first, second = card.measured
    assert (first.n, first.date, first.value) == (7, "2026-11-21", "texture 0.500")
    assert second.what.startswith("iast")


def test_what_was_not_trained_for_release_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(WeightRefused, match="not admitted"):
        ship_style(trained(purpose="research_training"), tmp_path, now=NOW, code="abc")
    real = ROW.model_copy(update={"person": "ada", "training_of_released_models": False})
    with pytest.raises(WeightRefused, match="may not be used for weights that are released"):
        ship_style(trained(rows=[real]), tmp_path, now=NOW, code="abc")
    assert not list(tmp_path.iterdir())


def test_an_altered_graph_is_refused(tmp_path: Path) -> None:
    ship_style(trained(), tmp_path, now=NOW, code="abc")
    content = bytearray((tmp_path / "stylise.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "stylise.onnx").write_bytes(content)
    with pytest.raises(WeightRefused, match="sha256"):
        open_network("stylise", folder=tmp_path)
