"""Ship a trained style network: both weight files and the card, out of a run's averages.

Refused: runs that saw people who did not agree to it, or that were not made for release
(WeightRefused); graphs that differ from the network (WeightRefused).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional

from generator.cards import Product, require_release, ship_product
from generator.export import export_graph, pack_weights, round_to_half
from generator.styles import SIDE_PX
from generator.stylise_net import StyleNet
from generator.weights import Measurement, WeightCard
from provenance.data_ledger import LedgerRow, Purpose

WEIGHTS: Final = "stylise"
MEANINGS: Final[Mapping[str, str]] = {
    "content": "the face in its square, BGR, -1..1",
    "style": "the style picture, BGR, -1..1",
    "strength": "how much of the drawing is taken, 0..1; 0 gives the content back",
    "instance": "1 = alpha is the network's (IAST), 0 = alpha is 1 everywhere (AdaIN)",
    "image": "the content in the style, about -1..1",
    "alpha": "how much of the style a place took",
}
KNOWN_FAILURES: Final = (
    "draws faintly: contours are sharpened and the colours of a style hardly taken, so no style is "
    "offered as a swapper",
    "trained on the eight shipped styles alone: another picture gives its colours and little else",
    "trained on rendered people, whose skin is smoother than skin: not measured on photographs",
    "the losses are a random filter bank and the first layers of the identity net, for no net "
    "trained on pictures of things ships here: strokes are plainer than those of a VGG-trained one",
    "strokes and dots hang on a fixed pattern in the face's square, the same for everybody",
    "faces larger than 512 px get strokes that are enlarged with them",
)


class TrainedStyle(NamedTuple):
    """What a run leaves: averages, settings, steps, the rows of its data, and its last report."""

    net: StyleNet
    preset: Mapping[str, Any]
    steps: int
    rows: Sequence[LedgerRow]
    purpose: Purpose
    measured: Mapping[str, Mapping[str, Any]]


def ship_style(trained: TrainedStyle, folder: Path, *, now: datetime, code: str) -> WeightCard:
    """Write `stylise.onnx`, `.safetensors` and `.toml` into `folder`; return the card.

    code: the commit of the code that trained. Raises WeightRefused and StoreUnavailable.
    """
    require_release(trained.purpose)  # before the export, which takes a while
    half = round_to_half(trained.net)
    rng = torch.Generator().manual_seed(0)
    small = torch.rand((2, 6, 32, 32), generator=rng) * 2 - 1
    shown = functional.interpolate(small, (SIDE_PX, SIDE_PX), mode="bilinear")
    inputs = {
        "content": shown[:, :3], "style": shown[:, 3:],
        "strength": torch.tensor([1.0, 0.5]), "instance": torch.tensor([1.0, 0.0]),
    }  # fmt: skip
    outputs = ("image", "alpha")
    product = Product(
        name=WEIGHTS,
        task="style",
        module="generator/stylise_net.py",
        graph=export_graph(half, inputs, outputs),
        weights=pack_weights(half),
        inputs=inputs,
        outputs=outputs,
        meanings=MEANINGS,
        preset=trained.preset,
        steps=trained.steps,
        rows=trained.rows,
        purpose=trained.purpose,
        measured=_measurements(trained.measured, now),
        known_failures=KNOWN_FAILURES,
        allowed_use="drawing a person's face in a style under a warrant that names this person as "
        "source and target; training and measuring on pictures of a data ledger",
    )
    return ship_product(product, folder, now=now, code=code)


def _measurements(
    measured: Mapping[str, Mapping[str, Any]], now: datetime
) -> Sequence[Measurement]:
    return [
        Measurement(
            what=f"{mode}: losses, and alpha on skin and on eyes, lips and brows",
            value="; ".join(f"{k} {v:.3f}" for k, v in figures.items() if k != "n"),
            n=figures["n"],
            protocol="validation people, whole squares at full strength, the styles in turn",
            date=f"{now:%Y-%m-%d}",
        )
        for mode, figures in measured.items()
    ]
