"""The ONNX operators that a frozen graph can run, in torch, so that gradients pass through them.

Decides which operators, in which forms, mean the same here as in onnxruntime: those of the shipped
graphs, at opset 17, after onnxruntime has folded their constants. Refused (OperatorRefused): every
other operator, attribute or form; none is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.errors import FaceError

Options = Mapping[str, Any]
Step = Callable[..., Tensor | tuple[Tensor, ...]]

_TYPES: Final = MappingProxyType({1: torch.float32, 7: torch.int64})
"""ONNX's numbers of element types."""
_ONLY: Final[Options] = MappingProxyType(
    {
        "auto_pad": b"NOTSET",
        "mode": b"constant",
        "storage_order": 0,
        "ceil_mode": 0,
        "count_include_pad": 0,
        "allowzero": 0,
        "noop_with_empty_axes": 0,
    }
)
"""Attributes that change what an operator means, and the one value that is meant here."""


class OperatorRefused(FaceError):
    """A graph has an operator, or a form of one, that frozen graphs do not run."""

    code: ClassVar[str] = "OPERATOR-REFUSED"

    def __init__(self, message: str) -> None:
        super().__init__(message, mend="give it a meaning in generator.frozen_ops, with a test")


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: `run(*tensors, **options)`.

    `constants`: inputs by position that have to be constants, and the option each becomes.
    `needed` and `free`: the options it must have and may have.
    """

    kind: str
    run: Step
    needed: frozenset[str]
    free: frozenset[str]
    constants: Mapping[int, str]

    def require(self, options: Options) -> None:
        """Raise OperatorRefused unless the operator means with these options what it does here."""
        missing = self.needed - set(options)
        if missing:
            raise OperatorRefused(
                f"a frozen graph runs no {self.kind} without {', '.join(sorted(missing))}"
            )
        for name, value in options.items():
            if not self._knows(name, value):
                raise OperatorRefused(f"a frozen graph runs no {self.kind} with {name} = {value}")

    def _knows(self, name: str, value: Any) -> bool:
        if name in _ONLY:
            return bool(value == _ONLY[name])
        if self.kind.endswith("Pool") and name in ("pads", "dilations"):
            return set(value) == ({0} if name == "pads" else {1})
        if name == "steps":
            return bool(min(value) > 0)
        if name == "to":
            return value in _TYPES
        return name in self.needed | self.free


def find_operator(kind: str) -> Operator:
    """Return the operator of this name; raises OperatorRefused where there is none."""
    if kind not in OPERATORS:
        raise OperatorRefused(f"a frozen graph runs no operator {kind}")
    return OPERATORS[kind]


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    **_: object,
) -> Tensor:
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, weight, bias, list(strides), [top, left], list(dilations), group)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | float = 0.0,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    product = (a.mT if transA else a) @ (b.mT if transB else b)
    return alpha * product + beta * c


def _pad(x: Tensor, *, pads: Sequence[int], value: float = 0.0, **_: object) -> Tensor:
    half = len(pads) // 2
    # torch begins with the last axis and wants both ends of it together.
    ends = [pads[axis + side] for axis in reversed(range(half)) for side in (0, half)]
    return F.pad(x, ends, value=value)


def _max_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), **_: object
) -> Tensor:
    return F.max_pool2d(x, list(kernel_shape), list(strides))


def _average_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), **_: object
) -> Tensor:
    return F.avg_pool2d(x, list(kernel_shape), list(strides))


def _slice(
    x: Tensor,
    *,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Tensor:
    where = range(len(starts)) if axes is None else axes
    by = [1] * len(starts) if steps is None else steps
    window = [slice(None)] * x.ndim
    for axis, start, end, step in zip(where, starts, ends, by, strict=True):
        window[axis] = slice(start, end, step)
    return x[tuple(window)]


def _reshape(x: Tensor, *, shape: Sequence[int], **_: object) -> Tensor:
    return x.reshape([x.shape[n] if side == 0 else side for n, side in enumerate(shape)])


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    sides, axis = list(x.shape), axis % x.ndim
    places = torch.where(indices < 0, indices + sides[axis], indices)
    taken = x.index_select(axis, places.flatten())
    return taken.reshape(sides[:axis] + list(indices.shape) + sides[axis + 1 :])


def _split(x: Tensor, *, split: Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    return torch.split(x, list(split), dim=axis)


def _squeeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    return x.squeeze(tuple(axes))


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(x.shape[:axis].numel(), -1)


def _cast(x: Tensor, *, to: int) -> Tensor:
    return x.to(_TYPES[to])


def _mean(x: Tensor, *, axes: Sequence[int], keepdims: int = 1) -> Tensor:
    return x.mean(tuple(axes), keepdim=bool(keepdims))


def _sum(x: Tensor, *, axes: Sequence[int], keepdims: int = 1, **_: object) -> Tensor:
    return x.sum(tuple(axes), keepdim=bool(keepdims))


def _max(x: Tensor, *, axes: Sequence[int], keepdims: int = 1) -> Tensor:
    return x.amax(tuple(axes), keepdim=bool(keepdims))


def _min(x: Tensor, *, axes: Sequence[int], keepdims: int = 1) -> Tensor:
    return x.amin(tuple(axes), keepdim=bool(keepdims))


def _product(x: Tensor, *, axes: Sequence[int], keepdims: int = 1) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=bool(keepdims))
    return x


def _smallest(*values: Tensor) -> Tensor:
    return reduce(torch.minimum, values)


def _largest(*values: Tensor) -> Tensor:
    return reduce(torch.maximum, values)


def _concat(*values: Tensor, axis: int) -> Tensor:
    return torch.cat(values, dim=axis)


def _transpose(x: Tensor, *, perm: Sequence[int]) -> Tensor:
    return x.permute(*perm)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _operator(
    kind: str, run: Step, needed: str = "", free: str = "", *, constants: str = ""
) -> Operator:
    """Return an operator; `constants` are the options that come from its inputs 1, 2, ..."""
    by_position = MappingProxyType(dict(enumerate(constants.split(), 1)))
    return Operator(kind, run, frozenset(needed.split()), frozenset(free.split()), by_position)


_ALL: Final = (
    _operator("Add", torch.add),
    _operator("AveragePool", _average_pool, "kernel_shape", "strides"),
    _operator("Cast", _cast, "to"),
    _operator("Concat", _concat, "axis"),
    _operator("Conv", _conv, "", "kernel_shape strides pads dilations group"),
    _operator("Div", torch.div),
    _operator("Flatten", _flatten, "", "axis"),
    _operator("Floor", torch.floor),
    _operator("Gather", _gather, "", "axis"),
    _operator("Gemm", _gemm, "", "alpha beta transA transB"),
    _operator("GreaterOrEqual", torch.ge),
    _operator("MatMul", torch.matmul),
    _operator("Max", _largest),
    _operator("MaxPool", _max_pool, "kernel_shape", "strides"),
    _operator("Min", _smallest),
    _operator("Mul", torch.mul),
    _operator("Pad", _pad, "pads", "value", constants="pads value"),
    _operator("ReduceMax", _max, "axes", "keepdims"),
    _operator("ReduceMean", _mean, "axes", "keepdims"),
    _operator("ReduceMin", _min, "axes", "keepdims"),
    _operator("ReduceProd", _product, "axes", "keepdims"),
    _operator("ReduceSum", _sum, "axes", "keepdims", constants="axes"),
    _operator("Relu", torch.relu),
    _operator("Reshape", _reshape, "shape", constants="shape"),
    _operator("Slice", _slice, "starts ends", "axes steps", constants="starts ends axes steps"),
    _operator("Softmax", _softmax, "", "axis"),
    _operator("Split", _split, "split", "axis", constants="split"),
    _operator("Sqrt", torch.sqrt),
    _operator("Squeeze", _squeeze, "axes", constants="axes"),
    _operator("Sub", torch.sub),
    _operator("Transpose", _transpose, "perm"),
    _operator("Where", torch.where),
)
OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType({one.kind: one for one in _ALL})
