"""Read a TensorFlow.js graph model and run it in torch; used only to remake the shipped weights.

Decides nothing at run time: nothing outside `generator.convert` imports this module, because it
imports torch. It runs the operations of `generator.tfjs_ops`, those of the graphs that we ship,
and refuses (WeightRefused) every other one. Format facts: tfjs graph-model JSON (`modelTopology` =
a TensorFlow GraphDef, `weightsManifest` = shards), NHWC layout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generator.errors import WeightRefused
from generator.tfjs_ops import OPERATIONS, Attrs


def read_weights(folder: Path, manifest: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Read every tensor of a tfjs weights manifest; float32 or int64, in the stored layout.

    The shards of a group are one buffer. Quantised floats are value = raw * scale + min (uint8,
    uint16) or plain float16. Raises WeightRefused when the bytes do not fill the manifest exactly.
    """
    tensors: dict[str, Tensor] = {}
    for group in manifest:
        blob = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            raw = raw_tensor(entry, blob, offset)
            offset += raw.nbytes
            tensors[entry["name"]] = torch.from_numpy(dequantise(entry, raw))
        if offset != len(blob):
            raise WeightRefused(
                f"weight shards hold {len(blob)} bytes, the manifest describes {offset}"
            )
    return tensors


def raw_tensor(entry: Mapping[str, Any], blob: bytes, offset: int) -> np.ndarray[Any, Any]:
    """Return one tensor of a shard as stored (uint8, float16, float32 or int32), in its shape."""
    stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
    count = math.prod(entry["shape"])
    if offset + count * np.dtype(stored).itemsize > len(blob):
        raise WeightRefused(f"weight shards end inside {entry['name']}")
    return np.frombuffer(blob, stored, count, offset).reshape(entry["shape"])


def dequantise(entry: Mapping[str, Any], raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float32 or int64 values of a stored tensor: raw * scale + min, in float32."""
    if entry["dtype"] == "int32":
        return raw.astype(np.int64)
    rule = entry.get("quantization", {})
    values = raw.astype(np.float32)
    if "scale" in rule:
        values = values * np.float32(rule["scale"]) + np.float32(rule["min"])
    return np.asarray(values)  # numpy turns arithmetic on an array without axes into a scalar


def eight_bit_rules(manifest: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Return (number of values, scale, min) of every tensor that is stored as uint8."""
    entries = (entry for group in manifest for entry in group["weights"])
    return [
        (math.prod(entry["shape"]), rule["scale"], rule["min"])
        for entry in entries
        if (rule := entry.get("quantization", {})).get("dtype") == "uint8"
    ]


class TfjsGraph(torch.nn.Module):
    """A tfjs graph model as a torch module: NHWC float32 in, the named outputs out, batch 1."""

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        super().__init__()
        model = json.loads(path.read_text())
        self._nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        self._outputs = tuple(outputs)
        self._input = next(n["name"] for n in self._nodes.values() if n["op"] == "Placeholder")
        self._buffer_names: dict[str, str] = {}
        self._integers: dict[str, Tensor] = {}
        self._adopt(read_weights(path.parent, model["weightsManifest"]))
        self.eight_bit_rules = eight_bit_rules(model["weightsManifest"])
        self._order = self._sort_nodes()

    def _adopt(self, weights: Mapping[str, Tensor]) -> None:
        for index, (name, value) in enumerate(weights.items()):
            if value.is_floating_point():
                self._buffer_names[name] = f"w{index}"
                self.register_buffer(f"w{index}", value)
            else:
                self._integers[name] = value

    def input_shape(self) -> tuple[int, ...]:
        """Return the NHWC input shape, an open batch dimension as 1."""
        dims = self._nodes[self._input]["attr"]["shape"]["shape"]["dim"]
        return tuple(max(int(dim["size"]), 1) for dim in dims)

    def _parents(self, name: str) -> list[str]:
        refs: list[str] = self._nodes[name].get("input", [])
        return [ref.partition(":")[0] for ref in refs if not ref.startswith("^")]

    def _sort_nodes(self) -> list[str]:
        """Return the nodes that the outputs need, parents first (depth first, no recursion)."""
        order: list[str] = []
        seen: set[str] = set()
        stack = [(name, False) for name in reversed(self._outputs)]
        while stack:
            name, parents_done = stack.pop()
            if parents_done:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((parent, False) for parent in self._parents(name))
        return order

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Run the graph on one NHWC float32 tensor; WeightRefused on an unknown operation."""
        values: dict[str, Tensor] = {self._input: frame}
        for name in self._order:
            node = self._nodes[name]
            if node["op"] == "Const":
                values[name] = self._constant(name)
            elif node["op"] != "Placeholder":
                values[name] = self._run(node, [values[p] for p in self._parents(name)])
        return tuple(values[name] for name in self._outputs)

    def _constant(self, name: str) -> Tensor:
        if name in self._integers:
            return self._integers[name]
        return self.get_buffer(self._buffer_names[name])

    @staticmethod
    def _run(node: Mapping[str, Any], args: Sequence[Tensor]) -> Tensor:
        operation = OPERATIONS.get(node["op"])
        if operation is None:
            raise WeightRefused(
                f"operation {node['op']} ({node['name']}) is not one of a shipped graph",
                mend="add it to generator/tfjs_ops.py with a test against the original run",
            )
        return operation(args, Attrs(node.get("attr", {})))
