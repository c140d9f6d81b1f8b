"""What is shipped of MDRN: one set of numbers twice, and a card that a request can load."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

from generator.detail import SIDE_PX
from generator.errors import WeightRefused
from generator.mdrn import Mdrn
from generator.runtime import open_network
from generator.ship_detail import TrainedDetail, ship_detail
from policies.digest import sha256_hex
from provenance.data_ledger import rendered_row

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LEVELS = {"level1": 0.5, "level2": 0.25, "level3": 0.125}
ROW = rendered_row(b"", "demo/persona1_0.webp", set_name="demo", person="persona:demo-1")


def trained(**changed: Any) -> TrainedDetail:
    torch.manual_seed(0)
    net = Mdrn()
    torch.nn.init.normal_(net.head.weight, std=0.1)
    measured = {"view": {"before": LEVELS, "after": LEVELS, "n": 7}}
    return TrainedDetail(net, {"seed": 5}, 9, [ROW], "release_training", measured)._replace(
        **changed
    )


def test_graph_and_weights_hold_the_same_numbers(tmp_path: Path) -> None:
    card = ship_detail(trained(), tmp_path, now=NOW, code="abc")
    content = (tmp_path / "mdrn.safetensors").read_bytes()
    assert card.twin is not None
    assert (sha256_hex(content), len(content)) == (card.twin.sha256, card.twin.bytes)
    assert card.bytes < 1_450_000
    weights = load(content)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    rounded = Mdrn()
    rounded.load_state_dict({name: value.float() for name, value in weights.items()})
    rng = torch.Generator().manual_seed(2)
    shown = torch.rand(3, 7, SIDE_PX, SIDE_PX, generator=rng)
    feed = {"picture": shown[:, :3], "target": shown[:, 3:6], "mask": shown[:, 6:]}
    arrays = {name: value.numpy() for name, value in feed.items()}
    made = open_network("mdrn", folder=tmp_path).run(**arrays)["image"]
    with torch.no_grad():
        assert np.abs(made - rounded(*feed.values()).numpy()).max() < 2e-4


def test_the_card_says_what_the_run_was(tmp_path: Path) -> None:
    card = ship_detail(trained(), tmp_path, now=NOW, code="abc")
    assert card.task == "detail"
    assert card.run is not None
    assert (card.run.steps, card.run.seed, card.run.pictures) == (9, 5, 1)
    assert card.known_failures
    (figure,) = card.measured
    assert (figure.n, figure.date) == (7, "2026-11-21")
    assert figure.value == "0.500 0.250 0.125; 0.500 0.250 0.125"


def test_what_was_not_trained_for_release_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(WeightRefused, match="not admitted"):
        ship_detail(trained(purpose="research_training"), tmp_path, now=NOW, code="abc")
    real = ROW.model_copy(update={"person": "ada", "training_of_released_models": False})
    with pytest.raises(WeightRefused, match="may not be used for weights that are released"):
        ship_detail(trained(rows=[real]), tmp_path, now=NOW, code="abc")
    assert not list(tmp_path.iterdir())
