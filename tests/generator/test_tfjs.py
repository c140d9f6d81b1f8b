from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from generator.errors import WeightRefused
from generator.tfjs import TfjsGraph, eight_bit_rules, read_weights
from generator.tfjs_ops import same_padding

Array = npt.NDArray[Any]


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def texts(*values: str) -> dict[str, object]:
    return {"list": {"s": [text(v)["s"] for v in values]}}


def numbers(*values: int) -> dict[str, object]:
    return {"list": {"i": [str(v) for v in values]}}


def write_graph(
    folder: Path, op: str, constants: Sequence[Array], attrs: Mapping[str, object], shape: list[int]
) -> Path:
    """A tfjs graph model with one operation on its input and some constants."""
    nodes: list[dict[str, object]] = [
        {
            "name": "in",
            "op": "Placeholder",
            "attr": {"shape": {"shape": {"dim": [{"size": str(n)} for n in shape]}}},
        }
    ]
    entries, blob = [], b""
    for index, value in enumerate(constants):
        stored = value.astype(np.int32 if value.dtype.kind == "i" else np.float32)
        nodes.append({"name": f"c{index}", "op": "Const", "attr": {}})
        entries.append(
            {"name": f"c{index}", "shape": list(value.shape), "dtype": str(stored.dtype)}
        )
        blob += stored.tobytes()
    names = [f"c{i}" for i in range(len(constants))]
    nodes.append({"name": "out", "op": op, "input": ["in:0", *names, "^in"], "attr": dict(attrs)})
    (folder / "w.bin").write_bytes(blob)
    model = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["w.bin"], "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(model))
    return folder / "model.json"


def run(path: Path, value: Array) -> Array:
    (result,) = TfjsGraph(path, ["out"])(torch.from_numpy(value))
    array: Array = result.numpy()
    return array


def ramp(*shape: int) -> npt.NDArray[np.float32]:
    count = int(np.prod(shape))
    return (np.arange(count, dtype=np.float32) - count / 3).reshape(shape)


ELEMENTWISE: list[tuple[str, list[Array], Array]] = [
    ("Relu", [], np.maximum(ramp(1, 2, 3), 0)),
    ("Floor", [], np.floor(ramp(1, 2, 3))),
    ("Square", [], ramp(1, 2, 3) ** 2),
    ("Identity", [], ramp(1, 2, 3)),
    ("AddV2", [np.float32([1, 2, 3])], ramp(1, 2, 3) + np.float32([1, 2, 3])),
    ("Sub", [np.float32([1, 2, 3])], ramp(1, 2, 3) - [1, 2, 3]),
    ("Mul", [np.float32([1, 2, 3])], ramp(1, 2, 3) * [1, 2, 3]),
    ("Maximum", [np.float32([0, 0, 9])], np.maximum(ramp(1, 2, 3), [0, 0, 9])),
    ("Minimum", [np.float32([0, 0, 9])], np.minimum(ramp(1, 2, 3), [0, 0, 9])),
    ("Prelu", [np.float32([0.5])], np.where(ramp(1, 2, 3) >= 0, 1, 0.5) * ramp(1, 2, 3)),
    ("Transpose", [np.int64([2, 0, 1])], ramp(1, 2, 3).transpose(2, 0, 1)),
    ("Reshape", [np.int64([3, -1])], ramp(1, 2, 3).reshape(3, 2)),
    ("GatherV2", [np.int64([2, 0]), np.int64([2])], ramp(1, 2, 3)[..., [2, 0]]),
    ("GatherNd", [np.int64([[0, 1], [0, 0]])], ramp(1, 2, 3)[0, [1, 0]]),
    ("Pad", [np.int64([[0, 0], [1, 0], [0, 2]])], np.pad(ramp(1, 2, 3), ((0, 0), (1, 0), (0, 2)))),
    ("AddN", [ramp(1, 2, 3), ramp(1, 2, 3)], 3 * ramp(1, 2, 3)),
    ("Shape", [], np.array([1, 2, 3])),
    ("Add", [np.float32([1, 2, 3])], ramp(1, 2, 3) + np.float32([1, 2, 3])),
    ("RealDiv", [np.float32([1, 2, 4])], ramp(1, 2, 3) / [1, 2, 4]),
    ("Relu6", [], np.clip(ramp(1, 2, 3), 0, 6)),
    ("Tanh", [], np.tanh(ramp(1, 2, 3))),
    ("Softmax", [], np.exp(ramp(1, 2, 3)) / np.exp(ramp(1, 2, 3)).sum(axis=-1, keepdims=True)),
    ("ExpandDims", [np.int64(1)], ramp(1, 2, 3)[:, None]),
]


@pytest.mark.parametrize(("op", "constants", "expected"), ELEMENTWISE, ids=lambda v: str(v)[:12])
def test_operations_without_attributes(
    tmp_path: Path, op: str, constants: list[Array], expected: Array
) -> None:
    path = write_graph(tmp_path, op, constants, {}, [1, 2, 3])
    np.testing.assert_allclose(run(path, ramp(1, 2, 3)), expected, rtol=1e-6)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("op", "function"),
    [("Sum", np.sum), ("Max", np.max), ("Min", np.min), ("Prod", np.prod), ("Mean", np.mean)],
)
def test_reductions(tmp_path: Path, op: str, function: Any, keep: bool) -> None:
    path = write_graph(tmp_path, op, [np.int64([1, 2])], {"keep_dims": {"b": keep}}, [2, 2, 3])
    expected = function(ramp(2, 2, 3), axis=(1, 2), keepdims=keep)
    np.testing.assert_allclose(run(path, ramp(2, 2, 3)), expected, rtol=1e-6)


def test_concat_and_pack(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "ConcatV2", [ramp(1, 2, 1), np.int64([2])], {}, [1, 2, 3])
    expected = np.concatenate([ramp(1, 2, 3), ramp(1, 2, 1)], axis=2)
    np.testing.assert_array_equal(run(path, ramp(1, 2, 3)), expected)
    path = write_graph(tmp_path, "Pack", [ramp(1, 2, 3)], {"axis": {"i": "1"}}, [1, 2, 3])
    expected = np.stack([ramp(1, 2, 3), ramp(1, 2, 3)], axis=1)
    np.testing.assert_array_equal(run(path, ramp(1, 2, 3)), expected)


def test_cast_to_integers(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "Cast", [], {"DstT": {"type": "DT_INT32"}}, [1, 2, 3])
    result = run(path, ramp(1, 2, 3))
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, ramp(1, 2, 3).astype(np.int64))


def test_batch_matmul_with_adjoint(tmp_path: Path) -> None:
    attrs = {"adj_y": {"b": True}}
    path = write_graph(tmp_path, "BatchMatMulV2", [ramp(1, 4, 3)], attrs, [1, 2, 3])
    expected = ramp(1, 2, 3) @ ramp(1, 4, 3).transpose(0, 2, 1)
    np.testing.assert_allclose(run(path, ramp(1, 2, 3)), expected, rtol=1e-5)


def test_strided_slice_with_every_mask(tmp_path: Path) -> None:
    attrs = {
        "begin_mask": {"i": "1"},
        "end_mask": {"i": "2"},
        "shrink_axis_mask": {"i": "4"},
        "new_axis_mask": {"i": "8"},
    }
    begin, end, step = np.int64([9, 1, 1, 0]), np.int64([1, 9, 2, 0]), np.int64([1, 1, 1, 1])
    path = write_graph(tmp_path, "StridedSlice", [begin, end, step], attrs, [2, 3, 4])
    np.testing.assert_array_equal(run(path, ramp(2, 3, 4)), ramp(2, 3, 4)[:1, 1:, 1, None])


def test_strided_slice_with_ellipsis(tmp_path: Path) -> None:
    attrs = {"ellipsis_mask": {"i": "1"}}
    begin, end, step = np.int64([0, 1]), np.int64([0, 3]), np.int64([1, 1])
    path = write_graph(tmp_path, "StridedSlice", [begin, end, step], attrs, [2, 3, 4])
    np.testing.assert_array_equal(run(path, ramp(2, 3, 4)), ramp(2, 3, 4)[..., 1:3])


def test_depth_to_space(tmp_path: Path) -> None:
    attrs = {"block_size": {"i": "2"}}
    path = write_graph(tmp_path, "DepthToSpace", [], attrs, [1, 1, 2, 4])
    value = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4)
    expected = [[[[0], [1], [4], [5]], [[2], [3], [6], [7]]]]
    np.testing.assert_array_equal(run(path, value), expected)


def test_resize_with_half_pixel_centres(tmp_path: Path) -> None:
    attrs = {"half_pixel_centers": {"b": True}}
    path = write_graph(tmp_path, "ResizeBilinear", [np.int64([1, 4])], attrs, [1, 1, 2, 1])
    value = np.array([0, 4], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(run(path, value).ravel(), [0, 1, 3, 4])


def test_the_legacy_resize_rule_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "ResizeBilinear", [np.int64([2, 2])], {}, [1, 1, 1, 1])
    with pytest.raises(WeightRefused, match="legacy"):
        run(path, ramp(1, 1, 1, 1))


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "expected"),
    [
        (5, 3, 1, (1, 1)),
        (4, 3, 2, (0, 1)),
        (5, 3, 2, (1, 1)),
        (256, 5, 2, (1, 2)),
        (4, 1, 2, (0, 0)),
    ],
)
def test_same_padding_puts_the_odd_cell_last(
    length: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(length, kernel, stride) == expected


def test_fused_convolution(tmp_path: Path) -> None:
    """3 x 3 SAME with stride 2, bias, then PReLU: against sums written out by hand."""
    filters, bias, slope = ramp(3, 3, 2, 4), np.float32([1, -2, 3, -400]), np.float32([0.25] * 4)
    attrs = {
        "strides": numbers(1, 2, 2, 1),
        "padding": text("SAME"),
        "fused_ops": texts("BiasAdd", "Prelu"),
    }
    path = write_graph(tmp_path, "_FusedConv2D", [filters, bias, slope], attrs, [1, 4, 4, 2])
    value = ramp(1, 4, 4, 2)
    padded = np.pad(value, ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = np.zeros((1, 2, 2, 4))
    for row in (0, 1):
        for column in (0, 1):
            window = padded[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[0, row, column] = np.einsum("hwi,hwio->o", window, filters) + bias
    expected = np.where(expected >= 0, expected, expected * 0.25)
    np.testing.assert_allclose(run(path, value), expected, rtol=1e-5)


def test_depthwise_convolution(tmp_path: Path) -> None:
    filters = ramp(2, 2, 3, 1)
    attrs = {"strides": numbers(1, 1, 1, 1), "padding": text("VALID")}
    path = write_graph(tmp_path, "DepthwiseConv2dNative", [filters], attrs, [1, 3, 2, 3])
    value = ramp(1, 3, 2, 3)
    expected = [[(value[0, r : r + 2] * filters[..., 0]).sum(axis=(0, 1))] for r in (0, 1)]
    np.testing.assert_allclose(run(path, value)[0], expected, rtol=1e-5)


def test_max_pool_same_never_picks_the_padding(tmp_path: Path) -> None:
    attrs = {
        "ksize": numbers(1, 2, 2, 1),
        "strides": numbers(1, 2, 2, 1),
        "padding": text("SAME"),
    }
    path = write_graph(tmp_path, "MaxPool", [], attrs, [1, 3, 3, 1])
    value = -1 - np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(run(path, value)[0, ..., 0], [[-1, -3], [-7, -9]])


def test_average_pool_of_whole_windows(tmp_path: Path) -> None:
    attrs = {
        "ksize": numbers(1, 2, 2, 1),
        "strides": numbers(1, 2, 2, 1),
        "padding": text("VALID"),
    }
    path = write_graph(tmp_path, "AvgPool", [], attrs, [1, 3, 4, 1])
    value = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(run(path, value)[0, ..., 0], [[2.5, 4.5]])
    path = write_graph(tmp_path, "AvgPool", [], attrs | {"padding": text("SAME")}, [1, 3, 4, 1])
    with pytest.raises(WeightRefused, match="AvgPool"):
        run(path, value)


def test_dense_layer_with_bias_and_activation(tmp_path: Path) -> None:
    weights, bias = ramp(3, 4), np.float32([1, -2, 3, -40])
    attrs: dict[str, object] = {"fused_ops": texts("BiasAdd", "Relu")}
    path = write_graph(tmp_path, "_FusedMatMul", [weights, bias], attrs, [2, 3])
    expected = np.maximum(ramp(2, 3) @ weights + bias, 0)
    np.testing.assert_allclose(run(path, ramp(2, 3)), expected, rtol=1e-6)
    for flag in ("transpose_a", "transpose_b"):
        path = write_graph(tmp_path, "_FusedMatMul", [weights], {flag: {"b": True}}, [2, 3])
        with pytest.raises(WeightRefused, match="transpose"):
            run(path, ramp(2, 3))


def test_squeeze_drops_the_stated_axes(tmp_path: Path) -> None:
    attrs = {"squeeze_dims": numbers(1, -2)}
    path = write_graph(tmp_path, "Squeeze", [], attrs, [1, 1, 1, 3])
    assert run(path, ramp(1, 1, 1, 3)).shape == (1, 3)
    path = write_graph(tmp_path, "Squeeze", [], {}, [1, 1, 1, 3])
    with pytest.raises(WeightRefused, match="without axes"):
        run(path, ramp(1, 1, 1, 3))


def test_unknown_operations_are_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "SpaceToBatchND", [], {}, [1, 2, 3])
    with pytest.raises(WeightRefused, match="SpaceToBatchND") as caught:
        run(path, ramp(1, 2, 3))
    assert caught.value.mend


def test_open_batches_become_one(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "Relu", [], {}, [-1, 2, 3])
    assert TfjsGraph(path, ["out"]).input_shape() == (1, 2, 3)


def test_quantised_weights_are_raw_times_scale_plus_min(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes([0, 1, 255]))
    (tmp_path / "b.bin").write_bytes(np.float16([0.5, -2]).tobytes() + np.int32([7]).tobytes())
    manifest = [
        {
            "paths": ["a.bin", "b.bin"],
            "weights": [
                {
                    "name": "q",
                    "shape": [3],
                    "dtype": "float32",
                    "quantization": {"dtype": "uint8", "scale": 0.5, "min": -3.0},
                },
                {
                    "name": "h",
                    "shape": [2, 1],
                    "dtype": "float32",
                    "quantization": {"dtype": "float16"},
                },
                {"name": "i", "shape": [], "dtype": "int32"},
            ],
        }
    ]
    weights = read_weights(tmp_path, manifest)
    np.testing.assert_array_equal(weights["q"].numpy(), np.float32([-3, -2.5, 124.5]))
    np.testing.assert_array_equal(weights["h"].numpy(), np.float32([[0.5], [-2]]))
    assert weights["i"].item() == 7


def test_quantised_scalars_stay_arrays(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes([2]))
    rule = {"dtype": "uint8", "scale": 0.5, "min": 1.0}
    entry = {"name": "q", "shape": [], "dtype": "float32", "quantization": rule}
    value = read_weights(tmp_path, [{"paths": ["w.bin"], "weights": [entry]}])["q"]
    assert (value.shape, value.item()) == ((), 2.0)


def test_eight_bit_rules_are_those_of_the_manifest() -> None:
    rule = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    half = {"dtype": "float16"}
    manifest = [
        {"weights": [{"shape": [3, 4], "quantization": rule}, {"shape": [9]}]},
        {"weights": [{"shape": [], "quantization": rule}, {"shape": [2], "quantization": half}]},
    ]
    assert eight_bit_rules(manifest) == [(12, 0.5, -1.0), (1, 0.5, -1.0)]


@pytest.mark.parametrize("count", [1, 3])
def test_shards_that_do_not_fit_the_manifest_are_refused(tmp_path: Path, count: int) -> None:
    (tmp_path / "w.bin").write_bytes(np.zeros(count, np.float32).tobytes())
    entry = {"name": "w", "shape": [2], "dtype": "float32"}
    with pytest.raises(WeightRefused) as caught:
        read_weights(tmp_path, [{"paths": ["w.bin"], "weights": [entry]}])
    assert caught.value.code == "WEIGHT-REFUSED"
