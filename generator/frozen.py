"""Shipped networks as differentiable functions of their input: for losses, never for a request.

A `FrozenGraph` is a carded ONNX graph run by torch, so that a gradient passes through it to the
pixels. It enters by the same door as every weight file (`generator.weights`), learns nothing, and
can begin and end inside the graph, at any value by its name. Refused: what that door refuses
(WeightRefused), operators without a meaning here (OperatorRefused), names of values that the graph
does not have or cannot compute from where it begins (UnknownValue), wrong shapes (ShapeError).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper, shape_inference
from torch import Tensor, nn

from generator.errors import FaceError, ShapeError, WeightRefused
from generator.frozen_ops import OperatorRefused, Step, find_operator
from generator.weights import MODELS_FOLDER, read_weight, require_plain_onnx, session_options

OPSET: Final = 17
"""What `frozen_ops` was written for; other versions have other inputs and attributes."""

Shape = tuple[int | None, ...]
Constants = Mapping[str, npt.NDArray[Any]]


class UnknownValue(FaceError):
    """A graph has no value of this name, or none that can be computed from where it begins."""

    code: ClassVar[str] = "UNKNOWN-VALUE"


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a graph: what is run on which values, and the names of what comes out."""

    run: Step
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any]


class FrozenGraph(nn.Module):
    """A carded network that gives gradients and takes none.

    Its weights are buffers that no `state_dict` holds: `to(device)` moves them, a checkpoint of
    what is trained against it does not copy them. Raises WeightRefused and OperatorRefused.
    """

    def __init__(self, name: str, folder: Path = MODELS_FOLDER) -> None:
        super().__init__()
        self.card, content = read_weight(name, folder)
        require_plain_onnx(content, self.card.file)
        graph = _fold(content, self.card.file).graph
        constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.entry = self.card.picture.name
        self._nodes = tuple(_read_node(node, constants) for node in graph.node)
        self._shapes = {
            one.name: _shape(one) for one in (*graph.input, *graph.value_info, *graph.output)
        }
        used = {one for node in self._nodes for one in node.inputs} & set(constants)
        self._weights = {value: f"weight{n}" for n, value in enumerate(sorted(used))}
        for value, buffer in self._weights.items():
            tensor = torch.from_numpy(np.array(constants[value]))
            self.register_buffer(buffer, tensor, persistent=False)
        self.eval()

    def forward(
        self, x: Tensor, wanted: Sequence[str], start: str | None = None
    ) -> dict[str, Tensor]:
        """Return the wanted values by name, computed from `x` standing at `start`.

        x: float32, as the graph has it there; None is the graph's own input, preprocessed as its
        card says. Only what is needed is run. Raises UnknownValue and ShapeError.
        """
        begin = self.entry if start is None else start
        for name in (begin, *wanted):
            if name not in self.values:
                raise UnknownValue(
                    f"{self.card.name} has no value named {name!r}",
                    mend="the names are those of FrozenGraph.values",
                )
        self._require_shape(x, begin)
        values = {begin: x}
        for node in self._plan(begin, wanted):
            made = node.run(*(self._look_up(one, values) for one in node.inputs), **node.options)
            values |= zip(node.outputs, (made,) if isinstance(made, Tensor) else made, strict=True)
        return {name: values[name] for name in wanted}

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The names of all values, the graph's input first, in the order they are computed."""
        return (self.entry, *(name for node in self._nodes for name in node.outputs))

    def _plan(self, begin: str, wanted: Sequence[str]) -> list[Node]:
        """Return the nodes that lead from `begin` to what is wanted, in the graph's order."""
        missing, plan = set(wanted) - {begin}, []
        for node in reversed(self._nodes):
            if missing & set(node.outputs):
                plan.append(node)
                missing -= set(node.outputs)
                missing |= set(node.inputs) - {begin, *self._weights}
        if missing:
            raise UnknownValue(
                f"what is wanted of {self.card.name} does not follow from {begin!r} alone",
                mend="begin before it, or at the graph's own input",
            )
        return plan[::-1]

    def _look_up(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        return values[name] if name in values else self.get_buffer(self._weights[name])

    def _require_shape(self, x: Tensor, name: str) -> None:
        shape = self._shapes.get(name)
        sides = zip(x.shape, shape or (), strict=False)
        fits = shape is None or (
            x.ndim == len(shape) and all(need in (None, side) for side, need in sides)
        )
        if not fits or not x.is_floating_point():
            raise ShapeError(
                f"{name} of {self.card.name}",
                actual=f"{x.dtype} {tuple(x.shape)}",
                expected=f"float {shape}",
            )


def _fold(content: bytes, file: str) -> onnx.ModelProto:
    """Return the graph with its constants computed and the shapes of its values noted."""
    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(folded)
        try:
            onnxruntime.InferenceSession(
                content, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise WeightRefused(f"{file} is not a graph that onnxruntime can run") from error
        model = require_plain_onnx(folded.read_bytes(), file)
    version = next(one.version for one in model.opset_import if not one.domain)
    if version != OPSET:
        raise OperatorRefused(f"a frozen graph runs operators of opset {OPSET}, not {version}")
    return shape_inference.infer_shapes(model)


def _read_node(node: onnx.NodeProto, constants: Constants) -> Node:
    options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.domain:
        raise OperatorRefused(f"a frozen graph runs no operator of {node.domain}")
    operator = find_operator(node.op_type)
    inputs = []
    for position, name in enumerate(node.input):
        option = operator.constants.get(position)
        if option is None and name:
            inputs.append(name)
        elif name in constants:
            options[option] = constants[name].tolist()
        elif name or option is None:
            what = f"whose {option} varies" if name else "without one of its inputs"
            raise OperatorRefused(f"a frozen graph runs no {node.op_type} {what}")
    operator.require(options)
    return Node(operator.run, tuple(inputs), tuple(node.output), options)


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    """Return the sides of a value, None where any length will do; None where it is not noted."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(one.dim_value or None for one in value.type.tensor_type.shape.dim)
