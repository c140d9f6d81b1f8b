"""Ship a trained StyleMixNet: both weight files and the card, out of the averages at its end.

Refused: runs that saw people who did not agree to it, or that were not made for release
(WeightRefused); graphs that differ from the network (WeightRefused).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generator.cards import Product, require_release, ship_product
from generator.export import export_graph, pack_weights, round_to_half
from generator.presets import Preset
from generator.stylemix import PLANES, StyleMixNet, StyleMixShape
from generator.weights import Measurement, Training, WeightCard
from provenance.data_ledger import LedgerRow, Purpose

NAME = "stylemix"
MEANINGS: Mapping[str, str] = {
    "pictures": "target, source as pulled, source in the target's colours, composite; BGR, -1..1",
    "mask": "the composite's mask, 0..1",
    "id_source": "identity vector of the source, as the net `idnet` gives it",
    "id_target": "identity vector of the target, likewise",
    "image": "the swapped square, BGR, about -1..1",
    "flow": "from how far away each pixel of the composite is taken, pixels of the square",
    "reach": "how much may change, 0..1",
    "paint": "what is added to the moved composite",
}
KNOWN_FAILURES = (
    "trained on rendered people, and photographs begin to look rendered: irises turn green, noses "
    "and mouths go where renders have them; what that costs: docs/benchmarks/generator",
    "fine texture is softened where the source and the true swap do not line up",
    "hair over a face is taken for skin where geo's cover does not find it",
    "weak: faces turned by more than 30 degrees, strong side light, open mouths, glasses",
)


class Trained(NamedTuple):
    """What a run leaves: averages, settings, the rows of its data, and what was measured of it.

    purpose: what the ledger gave its pictures out for. measured: `Run.report`. parents: SHA-256 of
    the weights that the run began with or learned from; inherited: what those were trained on.
    """

    net: StyleMixNet
    preset: Preset
    rows: Sequence[LedgerRow]
    purpose: Purpose
    measured: Mapping[str, Mapping[str, Any]]
    parents: tuple[str, ...] = ()
    inherited: tuple[Training, ...] = ()


def ship(
    trained: Trained, folder: Path, name: str = NAME, *, now: datetime, code: str
) -> WeightCard:
    """Write `.onnx`, `.safetensors` and `.toml` of that name into `folder`; return the card.

    code: the commit of the code that trained. Raises WeightRefused and StoreUnavailable.
    """
    require_release(trained.purpose)  # before the export, which takes a while
    preset = trained.preset
    half, inputs = round_to_half(trained.net), _examples(preset.shape)
    outputs = ("image", "flow", "reach", "paint")
    product = Product(
        name=name,
        task="swap",
        module="generator/stylemix.py",
        graph=export_graph(half, inputs, outputs),
        weights=pack_weights(half),
        inputs=inputs,
        outputs=outputs,
        meanings=MEANINGS,
        preset=preset.as_json(),
        steps=preset.steps,
        rows=trained.rows,
        purpose=trained.purpose,
        measured=_measurements(trained.measured, now),
        known_failures=KNOWN_FAILURES,
        allowed_use="swaps under a warrant; training and measuring on pictures of a data ledger",
        parents=trained.parents,
        inherited=trained.inherited,
    )
    return ship_product(product, folder, now=now, code=code)


def _measurements(
    measured: Mapping[str, Mapping[str, Any]], now: datetime
) -> Sequence[Measurement]:
    protocol = "validation people, rendered triplets in the square; judged by the loss's own net"
    return [
        Measurement(
            what=f"{name.replace('_', ' ')}, {kind} samples",
            value=f"{figures[name]:.3f}",
            n=figures["n"],
            protocol=protocol,
            date=f"{now:%Y-%m-%d}",
        )
        for kind, figures in measured.items()
        for name in ("progress", "geo_progress", "margin", "geo_margin", "label_margin")
    ]


def _examples(shape: StyleMixShape) -> dict[str, Tensor]:
    """Return smooth pictures: on noise, float16 and a moved sample differ by more than they do."""
    rng = torch.Generator().manual_seed(0)

    def smooth(channels: int) -> Tensor:
        small = torch.rand((2, channels, 8, 8), generator=rng)
        size = (shape.side_px, shape.side_px)
        return torch.nn.functional.interpolate(small, size, mode="bilinear")

    return {
        "pictures": smooth(PLANES - 1) * 2 - 1,
        "mask": smooth(1),
        "id_source": torch.randn((2, shape.id_dim), generator=rng) * 0.1,
        "id_target": torch.randn((2, shape.id_dim), generator=rng) * 0.1,
    }
