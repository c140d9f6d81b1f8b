"""Build the identity net's ONNX graph from its uint8 weights; used only by `generator.convert`.

Decides the form in which the net is shipped: a square input that insightface's model zoo routes
as a recognition net, so that the same file serves as our default and inside an operator's pack.
The net was trained on dlib's 150-pixel face chips; the way from the library's own crop to that
chip (shift, scale, mean) is inside the graph. The topology is dlib's face recognition ResNet v1
as ported to TensorFlow.js by face-api: scale layer after every convolution, 128 numbers out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from generator.tfjs import dequantise, raw_tensor

# insightface's crop of 256 px: the 112 px template, doubled, 16 px further right
# (norm_crop with image_size 256 uses its 128 px form). The 224 px form ends above the chin.
CROP_PX = 256

# dlib's chip, get_face_chip_details(size=150, padding=0.25).
CHIP_PX = 150

# Eye centres of insightface's arcface template in the 256 px crop: (38.2946, 51.6963) and
# (73.5318, 51.5014) doubled, plus 16 px in x.
_CROP_EYES = ((92.5892, 103.3926), (163.0636, 103.0028))

# The same two points in dlib's mean face shape, unit square: mean of both eye corners.
_CHIP_EYES = ((0.2273300, 0.2213959), (0.7528139, 0.2212328))
_CHIP_PADDING = 0.25

# Channel means of the training pictures, RGB 0..255 (face-api's normalisation), divisor 256.
_RGB_MEAN = (122.782, 117.001, 104.298)
_DIVISOR = 256.0

# insightface feeds (pixel - 127.5) / 127.5.
_FED_CENTRE = 127.5

# Per stage: name, residual blocks, and the halving block before it as (rows and columns that its
# convolution lacks against the shortcut, channels that the shortcut lacks). 150 px become
# 35, 17, 8, 4 and 2 px.
STAGES = (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2))
_DOWN_PADDING = {
    "conv64_down": (0, 32),
    "conv128_down": (0, 64),
    "conv256_down": (1, 128),
    "conv256_down_out": (1, 0),
}


class GraphBuilder:
    """Collects nodes and initializers; node names follow the source's layer names.

    No node may be named `Sub...` or `Mul...` near the start: insightface reads such names as
    "normalises by itself" and would then feed 0..255.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add an initializer and return its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node with one output of the same name and return it."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


class WeightShelf:
    """The source tensors as stored; puts each into the graph with its dequantisation."""

    def __init__(self, manifest: Path, builder: GraphBuilder) -> None:
        self._builder = builder
        self._stored: dict[str, tuple[Mapping[str, Any], npt.NDArray[Any]]] = {}
        for group in json.loads(manifest.read_text()):
            blob = b"".join((manifest.parent / path).read_bytes() for path in group["paths"])
            offset = 0
            for entry in group["weights"]:
                raw = raw_tensor(entry, blob, offset)
                offset += raw.nbytes
                self._stored[entry["name"]] = (entry, raw)

    def place(self, name: str, *, axes: tuple[int, ...] | None = None) -> str:
        """Add one tensor, transposed by `axes` or as a (channels, 1, 1) column; return its name."""
        entry, raw = self._stored[name]
        shaped = raw.transpose(axes) if axes else raw.reshape(-1, 1, 1)
        rule = entry.get("quantization")
        if rule is None:
            return self._builder.constant(name, dequantise(entry, shaped))
        build = self._builder
        stored = build.constant(f"{name}.raw", shaped)
        wide = build.node("Cast", [stored], f"widen.{name}", to=TensorProto.FLOAT)
        scale = build.constant(f"{name}.scale", np.array(rule["scale"], np.float32))
        low = build.constant(f"{name}.min", np.array(rule["min"], np.float32))
        return build.node("Add", [build.node("Mul", [wide, scale], f"stretch.{name}"), low], name)

    def place_matrix(self, name: str) -> str:
        """Add a two-dimensional tensor as it is stored; return its name."""
        return self.place(name, axes=(0, 1))


def build_id_net(manifest: Path) -> onnx.GraphProto:
    """Return the graph: input (n, 3, 256, 256) as insightface feeds it, output (n, 128) float32."""
    build = GraphBuilder()
    x = _chip_from_crop(build, "crop")
    net = _Layers(build, WeightShelf(manifest, build))
    x = net.conv(x, "conv32_down", stride=2, pad=0)
    x = build.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2])
    for stage, blocks in STAGES:
        if stage != "conv32":
            x = net.down(x, f"{stage}_down")
        for index in range(1, blocks + 1):
            x = net.residual(x, f"{stage}_{index}")
    x = net.down(x, "conv256_down_out")
    x = build.node("ReduceMean", [x], "mean", axes=[2, 3], keepdims=0)
    build.node("MatMul", [x, net.shelf.place_matrix("fc")], "embedding")
    crop = helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["n", 3, CROP_PX, CROP_PX])
    vector = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 128])
    return helper.make_graph(build.nodes, "idnet", [crop], [vector], build.initializers)


class _Layers:
    def __init__(self, build: GraphBuilder, shelf: WeightShelf) -> None:
        self._build = build
        self.shelf = shelf

    def conv(self, x: str, name: str, *, stride: int = 1, pad: int = 1, relu: bool = True) -> str:
        """Convolution, then the scale layer y * weights + biases, then ReLU."""
        build, shelf = self._build, self.shelf
        filters = shelf.place(f"{name}/conv/filters", axes=(3, 2, 0, 1))
        x = build.node("Conv", [x, filters], f"{name}/y", strides=[stride] * 2, pads=[pad] * 4)
        x = build.node("Add", [x, shelf.place(f"{name}/conv/bias")], f"{name}/biased")
        x = build.node("Mul", [x, shelf.place(f"{name}/scale/weights")], f"{name}/scaled")
        x = build.node("Add", [x, shelf.place(f"{name}/scale/biases")], f"{name}/shifted")
        return build.node("Relu", [x], f"{name}/relu") if relu else x

    def residual(self, x: str, name: str) -> str:
        """Two convolutions around an identity shortcut."""
        y = self.conv(self.conv(x, f"{name}/conv1"), f"{name}/conv2", relu=False)
        return self._build.node("Relu", [self._build.node("Add", [y, x], f"{name}/sum")], name)

    def down(self, x: str, name: str) -> str:
        """Halve the picture: valid convolution, averaged shortcut, both padded to the larger."""
        build = self._build
        y = self.conv(x, f"{name}/conv1", stride=2, pad=0)
        y = self.conv(y, f"{name}/conv2", relu=False)
        short = build.node("AveragePool", [x], f"{name}/short", kernel_shape=[2, 2], strides=[2, 2])
        lacking_px, lacking_channels = _DOWN_PADDING[name]
        y = self._pad(y, f"{name}/y_padded", [0, 0, lacking_px, lacking_px])
        short = self._pad(short, f"{name}/short_padded", [0, lacking_channels, 0, 0])
        return build.node("Relu", [build.node("Add", [y, short], f"{name}/sum")], name)

    def _pad(self, x: str, name: str, after: list[int]) -> str:
        """Append zeros behind each NCHW axis."""
        if not any(after):
            return x
        pads = self._build.constant(f"{name}.pads", np.array([0, 0, 0, 0, *after], np.int64))
        return self._build.node("Pad", [x, pads], name)


def _chip_from_crop(build: GraphBuilder, crop: str) -> str:
    """Resample insightface's crop to dlib's chip and normalise it as the net was trained."""
    columns, rows = (resample_matrix(axis) for axis in (0, 1))
    left = build.constant("chip.rows", rows)
    right = build.constant("chip.columns", columns.T)
    chip = build.node("MatMul", [left, crop], "chip.short")
    chip = build.node("MatMul", [chip, right], "chip.square")
    # (fed * 127.5 + 127.5 - mean) / 256, in one multiplication and one addition
    gain = build.constant("chip.gain", np.array(_FED_CENTRE / _DIVISOR, np.float32))
    shift = (_FED_CENTRE - np.array(_RGB_MEAN)) / _DIVISOR
    offset = build.constant("chip.offset", shift.reshape(3, 1, 1).astype(np.float32))
    return build.node("Add", [build.node("Mul", [chip, gain], "chip.range"), offset], "chip")


def chip_axis(axis: int) -> tuple[float, float]:
    """Return scale and shift with crop = chip * scale + shift along x (0) or y (1), in pixels.

    The same scale on both axes, from the eye distance, so that faces keep their proportions.
    """
    crop, unit = np.array(_CROP_EYES), np.array(_CHIP_EYES)
    chip = (unit + _CHIP_PADDING) / (1 + 2 * _CHIP_PADDING) * CHIP_PX
    scale = (crop[1, 0] - crop[0, 0]) / (chip[1, 0] - chip[0, 0])
    return float(scale), float(crop[:, axis].mean() - scale * chip[:, axis].mean())


def resample_matrix(axis: int) -> npt.NDArray[np.float32]:
    """Return the (150, 256) matrix that samples a crop line at the chip's pixel centres.

    Triangle filter as wide as the step (1.34 px), so that nothing aliases; rows sum to 1.
    """
    scale, shift = chip_axis(axis)
    centres = np.arange(CHIP_PX)[:, None] * scale + shift
    reach = np.maximum(0, 1 - np.abs(np.arange(CROP_PX)[None] - centres) / max(scale, 1.0))
    matrix: npt.NDArray[np.float32] = (reach / reach.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix
