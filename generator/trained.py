"""Trained networks as torch modules again: to distil from, to train on, to compare with.

Requests never come here: they run the ONNX graph. Refused: what `generator.weights` refuses, cards
without a safetensors twin, twins whose digest is not the card's (WeightRefused).
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from generator.errors import WeightRefused
from generator.stylemix import StyleMixNet, StyleMixShape
from generator.weights import MODELS_FOLDER, WeightCard, load_card
from policies.digest import sha256_hex


def load_stylemix(name: str = "stylemix", folder: Path = MODELS_FOLDER) -> StyleMixNet:
    """Return a shipped StyleMixNet in evaluation mode, float32 weights without gradients."""
    card = load_card(name, folder)
    if card.run is None:
        raise WeightRefused(f"{name} was not trained here")
    content = read_twin(card, folder)
    try:
        settings = json.loads(card.run.preset)["shape"]
        lists = {key: tuple(settings[key]) for key in ("widths", "inject_at")}
        net = StyleMixNet(StyleMixShape(**{**settings, **lists}))
        net.load_state_dict({key: value.float() for key, value in load(content).items()})
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightRefused(f"the twin of {name} does not fit its card's shape") from error
    return net.eval().requires_grad_(False)


def read_twin(card: WeightCard, folder: Path = MODELS_FOLDER) -> bytes:
    """Return the bytes of a card's safetensors twin; raises WeightRefused."""
    if card.twin is None:
        raise WeightRefused(f"{card.name} has no safetensors twin")
    path = folder / Path(card.twin.file).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightRefused(f"{path.name} cannot be read: {error.strerror}") from error
    if sha256_hex(content) != card.twin.sha256:
        raise WeightRefused(
            f"{path.name} is not the file its card names",
            mend="restore generator/models from the distribution",
        )
    return content
