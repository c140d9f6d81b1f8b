"""Ship a trained MDRN: both weight files and the card, out of a run's averages.

Refused: runs that saw people who did not agree to it, or that were not made for release
(WeightRefused); graphs that differ from the network (WeightRefused).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.cards import Product, require_release, ship_product
from generator.detail import SIDE_PX, WEIGHTS
from generator.export import export_graph, pack_weights, round_to_half
from generator.mdrn import PLANES, Mdrn
from generator.weights import Measurement, WeightCard
from provenance.data_ledger import LedgerRow, Purpose

MEANINGS: Final[Mapping[str, str]] = {
    "picture": "the swapped face in its square, BGR, -1..1",
    "target": "the target in the same square, BGR, -1..1",
    "mask": "where the face was swapped, 0..1",
    "image": "the picture, at most .1 * mask away from what it was",
}
KNOWN_FAILURES: Final = (
    "trained on rendered people, whose skin is smoother than skin: not measured on photographs",
    "gives back what blur and compression took, not what the swapper never had: pores and other "
    "fine texture of skin stay smooth, and no wrinkle is made up",
    "the target counts for little: with the picture itself in its place the figures hardly change",
    "the finest band comes back only in part; a strongly blurred or compressed face stays soft",
    "faces larger than 256 px are restored only down to the detail that 256 px can hold",
)


class TrainedDetail(NamedTuple):
    """What a run leaves: averages, settings, steps, the rows of its data, and its last report."""

    net: Mdrn
    preset: Mapping[str, Any]
    steps: int
    rows: Sequence[LedgerRow]
    purpose: Purpose
    measured: Mapping[str, Mapping[str, Any]]


class _Named(nn.Module):
    """The network with its one output as a row of outputs, which is what graphs have."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor]:
        return (self.net(picture, target, mask),)


def ship_detail(trained: TrainedDetail, folder: Path, *, now: datetime, code: str) -> WeightCard:
    """Write `mdrn.onnx`, `.safetensors` and `.toml` into `folder`; return the card.

    code: the commit of the code that trained. Raises WeightRefused and StoreUnavailable.
    """
    require_release(trained.purpose)  # before the export, which takes a while
    plain: Mdrn = trained.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    half = round_to_half(plain)
    rng = torch.Generator().manual_seed(0)
    small = torch.rand((2, PLANES, 32, 32), generator=rng)
    shown = functional.interpolate(small, (SIDE_PX, SIDE_PX), mode="bilinear")
    inputs = {
        "picture": shown[:, :3] * 2 - 1, "target": shown[:, 3:6] * 2 - 1, "mask": shown[:, 6:],
    }  # fmt: skip
    product = Product(
        name=WEIGHTS,
        task="detail",
        module="generator/mdrn.py",
        graph=export_graph(_Named(half), inputs, ["image"]),
        weights=pack_weights(half),
        inputs=inputs,
        outputs=["image"],
        meanings=MEANINGS,
        preset=trained.preset,
        steps=trained.steps,
        rows=trained.rows,
        purpose=trained.purpose,
        measured=_measurements(trained.measured, now),
        known_failures=KNOWN_FAILURES,
        allowed_use="restoring detail inside the mask of a swap under a warrant; training and "
        "measuring on pictures of a data ledger",
    )
    return ship_product(product, folder, now=now, code=code)


def _measurements(
    measured: Mapping[str, Mapping[str, Any]], now: datetime
) -> Sequence[Measurement]:
    return [
        Measurement(
            what=f"band coherence, levels 1 to 3, {kind} samples: left alone; restored",
            value="; ".join(
                " ".join(f"{value:.3f}" for value in figures[when].values())
                for when in ("before", "after")
            ),
            n=figures["n"],
            protocol="validation people, whole squares, all three colours under the mask",
            date=f"{now:%Y-%m-%d}",
        )
        for kind, figures in measured.items()
    ]
