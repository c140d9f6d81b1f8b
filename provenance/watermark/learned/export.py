"""From trained networks to the three files a mark is made of: two ONNX graphs and their card.

Refused: a graph that does not answer as the network does, to 1e-4.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from policies.digest import sha256_hex
from policies.files import replace_file
from provenance.watermark.learned.card import (
    CARD_NAME,
    InputContract,
    MarkCard,
    TrainingRecord,
    WeightFile,
    write_card,
)
from provenance.watermark.learned.data import TrainingSet
from provenance.watermark.learned.errors import MarkWeightsRefused
from provenance.watermark.learned.network import MarkNetworks
from provenance.watermark.learned.presets import Preset

OPSET: Final = 17
TOLERANCE: Final = 1e-4
KNOWN_FAILURES: Final = (
    "pictures wider than 2:1: both networks see the picture squeezed into a square",
    "large pictures: the mark is drawn at the networks' size and enlarged, so it is coarse",
    "trained on renders: nothing is known about photographs until it is measured",
    "a determined remover succeeds; a mark can be copied onto another picture",
)


def export_mark(
    networks: MarkNetworks,
    preset: Preset,
    training: TrainingSet,
    measured: Mapping[str, Any],
    folder: Path,
) -> MarkCard:
    """Write both graphs and their card into `folder`; return the card.

    `measured` is what `Run.measure` gives. Raises `MarkWeightsRefused` and `StoreUnavailable`.
    """
    plain = MarkNetworks(preset.shape)
    plain.load_state_dict(networks.state_dict())
    plain.eval()
    shape = preset.shape
    luma = torch.rand((2, 1, shape.side_px, shape.side_px))
    message = torch.arange(2 * shape.bits).reshape(2, -1).remainder(3).clamp(max=1).float()
    graphs = {
        "encoder": _export(plain.encoder, {"luma": luma, "message": message}, "residual"),
        "reader": _export(plain.reader, {"luma": luma}, "logits"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, content in graphs.items():
        file = f"learned-{name}.onnx"
        replace_file(folder / file, content)
        files[name] = WeightFile(file=file, sha256=sha256_hex(content), bytes=len(content))
    card = MarkCard(
        bits=shape.bits,
        psnr_db=preset.final_db,
        known_failures=KNOWN_FAILURES,
        allowed_use="marking released pictures, beside the default mark, once measured against it",
        input=InputContract(side_px=shape.side_px),
        training=_record(preset, training),
        measured={
            "psnr_db": measured["psnr_db"],
            "ssim": measured["ssim"],
            "n": measured["n"],
            **measured["accuracy"],
        },
        encoder=files["encoder"],
        reader=files["reader"],
    )
    replace_file(folder / CARD_NAME, write_card(card))
    return card


def _record(preset: Preset, training: TrainingSet) -> TrainingRecord:
    rows = training.rows
    return TrainingRecord(
        preset=repr(preset),
        sets=tuple(sorted({row.set for row in rows})),
        pictures=len(training.pictures),
        ledger_sha256=sha256_hex(training.ledger),
        licences=tuple(sorted({row.licence for row in rows})),
        consent_scopes=tuple(sorted({row.consent_scope for row in rows})),
        release=training.release,
    )


def _export(network: nn.Module, inputs: Mapping[str, Tensor], output: str) -> bytes:
    """Return the graph with a free batch size, checked against the network on `inputs`."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        file = Path(folder) / "graph.onnx"
        # The tracer warns about every constant shape, and about its own future removal.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: "n"} for name in (*inputs, output)},
        )
        content = file.read_bytes()
        wanted = network(*inputs.values()).numpy()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in inputs.items()}
    difference = float(np.abs(session.run([output], feed)[0] - wanted).max())
    if not difference <= TOLERANCE:
        raise MarkWeightsRefused(f"the graph's {output} differs by {difference:.1e}")
    return content
