"""The TensorFlow operations of the shipped graphs, in torch; used only by `generator.tfjs`.

Decides what each operation means: NHWC layout, TensorFlow's asymmetric SAME padding, its masks of
StridedSlice. An operation or a variant of one that no shipped graph uses is not here, so that
`generator.tfjs` refuses it rather than guess at its semantics.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from generator.errors import WeightRefused

# TensorFlow's DataType enum, by number and by name, as far as the shipped graphs cast.
_CAST_TYPES = {1: torch.float32, 3: torch.int64, "DT_FLOAT": torch.float32, "DT_INT32": torch.int64}

# Lower than any activation, so that padding never wins a maximum.
_MINUS_INFINITY = -1e30


class Attrs:
    """Typed access to a node's attributes (protobuf JSON: numbers are strings, text base64)."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def flag(self, key: str) -> bool:
        """Return a boolean attribute; absent means False, as in TensorFlow."""
        return bool(self._raw.get(key, {}).get("b", False))

    def integer(self, key: str) -> int:
        """Return an integer attribute; absent means 0."""
        return int(self._raw.get(key, {}).get("i", 0))

    def integers(self, key: str) -> list[int]:
        """Return a list of integers; absent means an empty list."""
        return [int(v) for v in self._raw.get(key, {}).get("list", {}).get("i", [])]

    def text(self, key: str) -> str:
        """Return a text attribute."""
        return base64.b64decode(self._raw[key]["s"]).decode()

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; absent means an empty list."""
        raw = self._raw.get(key, {}).get("list", {}).get("s", [])
        return [base64.b64decode(item).decode() for item in raw]

    def dtype(self, key: str) -> torch.dtype:
        """Return a type attribute as a torch dtype."""
        return _CAST_TYPES[self._raw[key]["type"]]

    def window(self, key: str) -> tuple[int, int]:
        """Return the height and width entries of an NHWC window; absent means 1, 1."""
        values = self.integers(key) or [1, 1, 1, 1]
        return values[1], values[2]


Operation = Callable[[Sequence[Tensor], Attrs], Tensor]


def _ints(values: Tensor) -> list[int]:
    return [int(v) for v in values.reshape(-1).tolist()]


def same_padding(length: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return TensorFlow's SAME padding: asymmetric, the odd cell goes to the right or bottom."""
    span = (kernel - 1) * dilation + 1
    total = max((math.ceil(length / stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2


def _pad_same(
    x: Tensor, kernel: tuple[int, int], attrs: Attrs, *, strides: tuple[int, int], value: float = 0
) -> Tensor:
    """Pad an NCHW tensor as the `padding` attribute asks; VALID leaves it alone."""
    if attrs.text("padding") == "VALID":
        return x
    dilation = attrs.window("dilations")
    rows = same_padding(int(x.shape[2]), kernel[0], strides[0], dilation[0])
    columns = same_padding(int(x.shape[3]), kernel[1], strides[1], dilation[1])
    return functional.pad(x, [*columns, *rows], value=value)


def _conv(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Run Conv2D and _FusedConv2D: filters HWIO, fused bias and activation in the stated order."""
    filters = args[1].permute(3, 2, 0, 1)
    return _fused(_convolve(args[0], filters, attrs, groups=1), args[2:], attrs)


def _depthwise(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Run both depthwise convolutions: filters (h, w, channel, multiplier)."""
    height, width, channels, multiplier = args[1].shape
    filters = args[1].permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _fused(_convolve(args[0], filters, attrs, groups=channels), args[2:], attrs)


def _convolve(x: Tensor, filters: Tensor, attrs: Attrs, *, groups: int) -> Tensor:
    strides, dilations = attrs.window("strides"), attrs.window("dilations")
    kernel = (int(filters.shape[2]), int(filters.shape[3]))
    x = _pad_same(x.permute(0, 3, 1, 2), kernel, attrs, strides=strides)
    y = functional.conv2d(x, filters, None, strides, 0, dilations, groups)
    return y.permute(0, 2, 3, 1)


def _fused(y: Tensor, rest: Sequence[Tensor], attrs: Attrs) -> Tensor:
    waiting = list(rest)
    for name in attrs.texts("fused_ops"):
        if name == "BiasAdd":
            y = y + waiting.pop(0)
        elif name == "Prelu":
            y = _prelu([y, waiting.pop(0)], attrs)
        else:
            y = OPERATIONS[name]([y], attrs)
    return y


def _prelu(args: Sequence[Tensor], _: Attrs) -> Tensor:
    x, slope = args
    return torch.where(x >= 0, x, x * slope)


def _max_pool(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    kernel, strides = attrs.window("ksize"), attrs.window("strides")
    x = args[0].permute(0, 3, 1, 2)
    x = _pad_same(x, kernel, attrs, strides=strides, value=_MINUS_INFINITY)
    return functional.max_pool2d(x, kernel, strides).permute(0, 2, 3, 1)


def _average_pool(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Average windows without padding; TensorFlow leaves padded cells out of SAME averages."""
    if attrs.text("padding") != "VALID":
        raise WeightRefused("AvgPool with padding is not one of a shipped graph")
    x = args[0].permute(0, 3, 1, 2)
    y = functional.avg_pool2d(x, attrs.window("ksize"), attrs.window("strides"))
    return y.permute(0, 2, 3, 1)


def _fused_matmul(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Run a dense layer: weights (in, out), then bias and activation in the stated order."""
    if attrs.flag("transpose_a") or attrs.flag("transpose_b"):
        raise WeightRefused("_FusedMatMul with a transpose is not one of a shipped graph")
    return _fused(args[0] @ args[1], args[2:], attrs)


def _squeeze(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Drop the stated axes of length 1; the form that drops all of them is not needed."""
    axes = attrs.integers("squeeze_dims")
    if not axes:
        raise WeightRefused("Squeeze without axes is not one of a shipped graph")
    value = args[0]
    for axis in sorted((a % value.dim() for a in axes), reverse=True):
        value = value.squeeze(axis)
    return value


def _resize_bilinear(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Resize with half-pixel centres or aligned corners; the legacy TF1 rule is not needed."""
    aligned = attrs.flag("align_corners")
    if not aligned and not attrs.flag("half_pixel_centers"):
        raise WeightRefused("ResizeBilinear with the legacy rule is not one of a shipped graph")
    x = args[0].permute(0, 3, 1, 2)
    y = functional.interpolate(x, _ints(args[1]), mode="bilinear", align_corners=aligned)
    return y.permute(0, 2, 3, 1)


def _strided_slice(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    begin, end, step = (_ints(a) for a in args[1:4])
    masks = {
        key: attrs.integer(f"{key}_mask")
        for key in ("begin", "end", "shrink_axis", "new_axis", "ellipsis")
    }
    index: list[Any] = []
    for i in range(len(begin)):
        if masks["ellipsis"] >> i & 1:
            index.append(Ellipsis)
        elif masks["new_axis"] >> i & 1:
            index.append(None)
        elif masks["shrink_axis"] >> i & 1:
            index.append(begin[i])
        else:
            first = None if masks["begin"] >> i & 1 else begin[i]
            last = None if masks["end"] >> i & 1 else end[i]
            index.append(slice(first, last, step[i]))
    return args[0][tuple(index)]


def _gather(args: Sequence[Tensor], _: Attrs) -> Tensor:
    x, indices, axis_tensor = args
    axis, shape = _ints(axis_tensor)[0], list(x.shape)
    picked = x.index_select(axis, indices.reshape(-1))
    return picked.reshape([*shape[:axis], *indices.shape, *shape[axis + 1 :]])


def _depth_to_space(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    """Move channels into blocks, NHWC: channel index = (row, column, rest)."""
    block = attrs.integer("block_size")
    n, h, w, c = args[0].shape
    depth = c // block**2
    y = args[0].reshape(n, h, w, block, block, depth).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h * block, w * block, depth)


def _batch_matmul(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    left = args[0].transpose(-1, -2) if attrs.flag("adj_x") else args[0]
    right = args[1].transpose(-1, -2) if attrs.flag("adj_y") else args[1]
    return left @ right


def _pad(args: Sequence[Tensor], _: Attrs) -> Tensor:
    pairs = args[1].tolist()
    return functional.pad(args[0], [v for pair in reversed(pairs) for v in pair])


def _product(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    value = args[0]
    for axis in sorted((a % args[0].dim() for a in _ints(args[1])), reverse=True):
        value = value.prod(axis, keepdim=attrs.flag("keep_dims"))
    return value


def _concat(args: Sequence[Tensor], _: Attrs) -> Tensor:
    return torch.cat(list(args[:-1]), _ints(args[-1])[0])


def _shape(args: Sequence[Tensor], _: Attrs) -> Tensor:
    return torch.tensor([int(length) for length in args[0].shape])


def _pack(args: Sequence[Tensor], attrs: Attrs) -> Tensor:
    return torch.stack([a.to(args[0].dtype) for a in args], attrs.integer("axis"))


def _unary(function: Callable[[Tensor], Tensor]) -> Operation:
    return lambda args, _: function(args[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return lambda args, _: function(args[0], args[1].to(args[0].dtype))


def _reduce(function: Callable[..., Tensor]) -> Operation:
    return lambda args, attrs: function(
        args[0], dim=tuple(_ints(args[1])), keepdim=attrs.flag("keep_dims")
    )


OPERATIONS: dict[str, Operation] = {
    "Add": _binary(torch.add),
    "AddN": lambda args, _: sum(args[1:], args[0]),
    "AddV2": _binary(torch.add),
    "AvgPool": _average_pool,
    "BatchMatMulV2": _batch_matmul,
    "Cast": lambda args, attrs: args[0].to(attrs.dtype("DstT")),
    "ConcatV2": _concat,
    "Conv2D": _conv,
    "DepthToSpace": _depth_to_space,
    "DepthwiseConv2dNative": _depthwise,
    "ExpandDims": lambda args, _: args[0].unsqueeze(_ints(args[1])[0]),
    "Floor": _unary(torch.floor),
    "FusedDepthwiseConv2dNative": _depthwise,
    "GatherNd": lambda args, _: args[0][tuple(args[1].unbind(-1))],
    "GatherV2": _gather,
    "Identity": _unary(lambda x: x),
    "Max": _reduce(torch.amax),
    "MaxPool": _max_pool,
    "Maximum": _binary(torch.maximum),
    "Mean": _reduce(torch.mean),
    "Min": _reduce(torch.amin),
    "Minimum": _binary(torch.minimum),
    "Mul": _binary(torch.mul),
    "Pack": _pack,
    "Pad": _pad,
    "Prelu": _prelu,
    "Prod": _product,
    "RealDiv": _binary(torch.div),
    "Relu": _unary(functional.relu),
    "Relu6": _unary(functional.relu6),
    "Reshape": lambda args, _: args[0].reshape(_ints(args[1])),
    "ResizeBilinear": _resize_bilinear,
    "Rsqrt": _unary(torch.rsqrt),
    "Shape": _shape,
    "Softmax": _unary(lambda x: functional.softmax(x, dim=-1)),
    "Square": _unary(torch.square),
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": _binary(torch.sub),
    "Sum": _reduce(torch.sum),
    "Tanh": _unary(torch.tanh),
    "Transpose": lambda args, _: args[0].permute(_ints(args[1])),
    "_FusedConv2D": _conv,
    "_FusedMatMul": _fused_matmul,
}
