"""What is shipped: two files with the same numbers, and a card that tells where they are from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from generator import export
from generator.errors import WeightRefused
from generator.export import round_to_half
from generator.model_page import describe_models
from generator.presets import Preset
from generator.ship import KNOWN_FAILURES, MEANINGS, Trained, ship
from generator.stylemix import StyleMixNet
from generator.weights import OWN, load_card, read_weight
from policies.digest import sha256_hex
from provenance.data_ledger import ledger_bytes, rendered_row

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROW = rendered_row(b"picture", "a.webp", set_name="demo", person="persona:1")


@pytest.fixture
def trained(tiny_net: StyleMixNet, tiny_preset: Preset) -> Trained:
    return Trained(tiny_net, tiny_preset, (ROW,), "release_training", {})


def test_the_card_tells_what_was_shipped(tiny_models: Path, tiny_preset: Preset) -> None:
    card, content = read_weight("stylemix", tiny_models)
    assert (card.name, card.task, card.origin.package) == ("stylemix", "swap", OWN)
    assert (card.bytes, card.sha256) == (len(content), sha256_hex(content))
    assert card.run is not None
    assert (card.run.steps, card.run.seed, card.run.pictures) == (tiny_preset.steps, 0, 1)
    assert (card.run.purpose, card.run.code) == ("release_training", "abc123")
    assert card.run.ledger_sha256 == sha256_hex(ledger_bytes([ROW]))
    assert card.origin.files == {"ledger.jsonl": card.run.ledger_sha256}
    assert json.loads(card.run.preset) == json.loads(json.dumps(tiny_preset.as_json()))
    assert card.known_failures == KNOWN_FAILURES
    assert "rendered" in card.training.data


def test_the_card_states_every_input_and_output(tiny_models: Path) -> None:
    card = load_card("stylemix", tiny_models)
    assert {name: tensor.shape for name, tensor in card.tensors.items()} == {
        "pictures": (12, 128, 128),
        "mask": (1, 128, 128),
        "id_source": (128,),
        "id_target": (128,),
    }
    assert list(card.outputs) == ["image", "flow", "reach", "paint"]
    stated = {**card.tensors, **card.outputs}
    assert {name: one.meaning for name, one in stated.items()} == MEANINGS
    with pytest.raises(WeightRefused, match="takes no picture"):
        _ = card.picture


def test_the_twin_holds_the_same_numbers(tiny_models: Path, tiny_net: StyleMixNet) -> None:
    card = load_card("stylemix", tiny_models)
    assert card.twin is not None
    content = (tiny_models / card.twin.file).read_bytes()
    assert (card.twin.sha256, card.twin.bytes) == (sha256_hex(content), len(content))
    kept, state = load(content), round_to_half(tiny_net).state_dict()
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name].float(), state[name]) for name in state)


def test_measurements_carry_their_number_and_day(tiny_models: Path) -> None:
    measured = load_card("stylemix", tiny_models).measured
    assert len(measured) == 10
    first = measured[0]
    assert (first.what, first.value, first.n) == ("progress, forward samples", "0.250", 3)
    assert {one.date for one in measured} == {"2026-11-21"}
    assert {one.n for one in measured} == {2, 3}


def test_the_page_of_models_tells_of_the_run(tiny_models: Path) -> None:
    page = describe_models(tiny_models)
    assert "6 steps, seed 0, 1 pictures" in page
    assert "release training" in page
    assert "**Input `mask` (1, 128, 128):**" in page
    assert "`stylemix.safetensors`" in page


def test_nothing_but_graph_twin_and_card_is_left(tiny_models: Path) -> None:
    names = sorted(path.name for path in tiny_models.iterdir())
    assert names == ["stylemix.onnx", "stylemix.safetensors", "stylemix.toml"]
    for path in tiny_models.iterdir():
        assert not path.read_bytes().startswith((b"\x80", b"PK")), "no pickle, no archive"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purpose": "research_training"}, "not admitted for weights that are released"),
        ({"purpose": "evaluation"}, "not admitted for weights that are released"),
        (
            {"rows": (ROW.model_copy(update={"person": "subject:1"}),)},
            "names no consent",
        ),
    ],
    ids=["research", "evaluation", "real people"],
)
def test_what_may_not_be_released_is_not_shipped(
    trained: Trained, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(WeightRefused, match=said):
        ship(trained._replace(**changes), tmp_path / "models", now=NOW, code="abc")
    assert not (tmp_path / "models").exists()


def test_a_graph_that_differs_is_not_shipped(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(WeightRefused, match="differs from the network's"):
        ship(trained, tmp_path / "models", now=NOW, code="abc")
    assert not (tmp_path / "models").exists()
