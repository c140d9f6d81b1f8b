"""StyleMixNet in 8 bits: `python -m generator.quantise --run FOLDER --out FOLDER`.

Convolutions go to int8 by onnxruntime (QDQ, per channel, calibrated on samples of a run); the stem,
the heads and everything that carries identity stay in float, because a small error there is a large
one in the picture. What it costs is measured on the run's validation people and printed; an 8-bit
graph that loses more than two percent is not worth shipping. Refused: what cannot be calibrated.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from generator.batches import Batch
from generator.samples import SampleSet, load_samples
from generator.watch import changed_error
from generator.weights import MODELS_FOLDER, read_weight, session_options

NAME = "stylemix"
CALIBRATION, BATCH = 128, 16
WORTH_SHIPPING = 0.02
KEPT = ("/stem/", "/head/", "/flow/", "/merge/", "/code/", "/tag/", "/style/", "/increments")
"""Parts of node names that stay in float."""

Feed = Mapping[str, npt.NDArray[np.float32]]


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # untyped base
    """Hands samples to the calibrator, one batch at a time."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """Return the next batch, or None."""
        return next(self._feeds, None)


def quantise(content: bytes, feeds: Sequence[Feed]) -> bytes:
    """Return the 8-bit form of a graph, calibrated on `feeds`."""
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (Path(folder) / f"{n}.onnx" for n in ("plain", "ready", "small"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        nodes = onnx.load_model(str(ready)).graph.node
        kept = [n.name for n in nodes if n.op_type != "Conv" or any(k in n.name for k in KEPT)]
        quantize_static(
            str(ready),
            str(small),
            Calibration(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            nodes_to_exclude=kept,
        )
        return small.read_bytes()


def feed_of(batch: Batch) -> Feed:
    """Return a batch as the graph takes it."""
    return {
        "pictures": batch.inputs.numpy(),
        "mask": batch.mask.numpy(),
        "id_source": batch.id_source.numpy(),
        "id_target": batch.id_target.numpy(),
    }


def measure(content: bytes, batches: Sequence[Batch]) -> dict[str, float]:
    """Return progress on the batches' changed pixels, milliseconds for one sample, megabytes."""
    session = onnxruntime.InferenceSession(
        content, sess_options=session_options(1), providers=["CPUExecutionProvider"]
    )
    errors, copied = [], []
    for batch in batches:
        [image] = session.run(["image"], feed_of(batch))
        errors.append(changed_error(torch.from_numpy(image).clamp(-1, 1), batch))
        copied.append(changed_error(batch.target, batch))
    one = {name: value[:1] for name, value in feed_of(batches[0]).items()}
    times = []
    for _ in range(9):
        began = time.perf_counter()
        session.run(["image"], one)
        times.append(time.perf_counter() - began)
    return {
        "progress": 1 - float(torch.cat(errors).mean() / torch.cat(copied).mean()),
        "ms": 1000 * float(np.median(times)),
        "mb": len(content) / 1e6,
    }


def compare(content: bytes, calibration: SampleSet, validation: SampleSet) -> dict[str, Any]:
    """Return the 8-bit graph and the figures of both."""
    rng = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(calibration), generator=rng)[:CALIBRATION].split(BATCH)
    small = quantise(content, [feed_of(calibration.take(index)) for index in chosen])
    batches = list(validation.parts("forward", BATCH))
    plain, eighth = measure(content, batches), measure(small, batches)
    lost = plain["progress"] - eighth["progress"]
    return {
        "graph": small,
        "float": plain,
        "int8": eighth,
        "worth shipping": lost <= WORTH_SHIPPING * abs(plain["progress"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Quantise the shipped network, print what it costs, write the graph if asked to."""
    parser = argparse.ArgumentParser(prog="python -m generator.quantise", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--models", type=Path, default=MODELS_FOLDER)
    parser.add_argument("--out", type=Path, help="write the 8-bit graph here")
    options = parser.parse_args(arguments)
    _, content = read_weight(NAME, options.models)
    parts = (options.run / f"samples-{part}.safetensors" for part in ("train", "validation"))
    calibration, validation = (load_samples(path)[0] for path in parts)
    found = compare(content, calibration, validation)
    graph = found.pop("graph")
    print(json.dumps(found, indent=1))
    if options.out is not None:
        options.out.write_bytes(graph)


if __name__ == "__main__":
    main()
