"""Trained networks as torch modules again: to distil from, to train on, to compare with.

Requests never come here: they run the ONNX graph. Refused: what `generator.weights` refuses, cards
without a safetensors twin, twins whose digest is not the card's (WeightRefused), and weights of
another shape than the run's (TrainingRefused).
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
from provenance.data_ledger import Purpose
from provenance.watermark.learned.errors import TrainingRefused


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


class Parent:
    """Shipped weights that a run begins with or learns from; `sha256` of their safetensors
    file, `training` what they were trained on.

    Raises WeightRefused as `load_stylemix`, and for weights that a run of this purpose may not use.
    """

    def __init__(self, name: str, purpose: Purpose, folder: Path = MODELS_FOLDER) -> None:
        card = load_card(name, folder)
        self.net = load_stylemix(name, folder)
        self.sha256, self.training = sha256_hex(read_twin(card, folder)), card.training
        if purpose == "release_training" and (card.run is None or card.run.purpose != purpose):
            raise WeightRefused(
                f"{name} was trained for research, and so is all that is made of it",
                mend="train without --release, or begin with weights that may be released",
            )

    def give(self, net: StyleMixNet) -> None:
        """Copy the weights into `net`; raises TrainingRefused for one of another shape."""
        if net.shape != self.net.shape:
            raise TrainingRefused(
                "the weights to begin with are of another shape than the preset's",
                mend="use the preset they were trained by",
            )
        net.load_state_dict(self.net.state_dict())


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
