"""A frozen graph answers as onnxruntime does, gives gradients, and refuses what is unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from generator.errors import FaceError, ShapeError, WeightRefused
from generator.frozen import FrozenGraph, UnknownValue
from generator.frozen_ops import OPERATORS, OperatorRefused, find_operator
from generator.weights import MODELS_FOLDER, read_weight, session_options
from policies.digest import sha256_hex

FEATURES = ("conv32_down/relu", "conv32_3", "conv64_3", "conv128_2", "embedding")
SHIPPED = ("idnet", "facemesh-attention-pinto", "faceres")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def idnet() -> FrozenGraph:
    return FrozenGraph("idnet")


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        content, sess_options=session_options(1), providers=["CPUExecutionProvider"]
    )


def portrait(name: str, count: int, demo_picture: Callable[[str], bytes]) -> torch.Tensor:
    """Rendered faces as a graph's input: the middle of pictures, scaled as the card says."""
    card = read_weight(name)[0]
    pictures = []
    for number in range(1, count + 1):
        data = np.frombuffer(demo_picture(f"persona{number}_0"), np.uint8)
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR)[100:420, 96:416, ::-1]
        side = (card.picture.side_px, card.picture.side_px)
        pictures.append(cv2.resize(np.ascontiguousarray(frame), side).astype(np.float32))
    batch = torch.from_numpy(np.stack(pictures))
    if card.picture.order == "bgr":
        batch = batch.flip(-1)
    batch = batch * card.picture.scale + card.picture.offset - torch.tensor(card.picture.mean)
    return batch if card.picture.layout == "nhwc" else batch.permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(("name", "count"), [("idnet", 3), *((name, 1) for name in SHIPPED[1:])])
def test_a_shipped_graph_answers_as_in_onnxruntime_and_gives_gradients(
    name: str, count: int, demo_picture: Callable[[str], bytes]
) -> None:
    card, content = read_weight(name)
    x = portrait(name, count, demo_picture).requires_grad_(True)
    outputs = tuple(card.outputs)
    wanted = session_of(content).run(outputs, {card.picture.name: x.detach().numpy()})
    values = FrozenGraph(name)(x, wanted=outputs)
    assert tuple(values) == outputs
    for output, expected in zip(outputs, wanted, strict=True):
        got = values[output].detach().numpy()
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    torch.stack([value.square().mean() for value in values.values()]).sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    share = (x.grad != 0).float().mean(dim=[n for n in range(1, x.ndim)])
    assert float(share.min()) > 0.5, "every picture of the batch, and most of its pixels"


def test_the_gradient_is_the_slope(demo_picture: Any) -> None:
    graph, step = FrozenGraph("idnet").to(torch.float64), 1e-6
    x = portrait("idnet", 1, demo_picture).to(torch.float64).requires_grad_(True)
    toward = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(torch.float64)
    (slope,) = torch.autograd.grad(graph(x, wanted=["embedding"])["embedding"].sum(), x)
    with torch.no_grad():
        ends = [graph(x + by * toward, wanted=["embedding"])["embedding"] for by in (step, -step)]
    measured = float((ends[0] - ends[1]).sum()) / (2 * step)
    assert float((slope * toward).sum()) == pytest.approx(measured, rel=1e-3)


def test_a_graph_can_begin_and_end_inside(idnet: FrozenGraph, demo_picture: Any) -> None:
    x = portrait("idnet", 2, demo_picture)
    whole = idnet(x, wanted=("chip", *FEATURES))
    assert whole["chip"].shape == (2, 3, 150, 150)
    chip = whole["chip"].clone().requires_grad_(True)
    seen = idnet(chip, wanted=FEATURES, start="chip")
    assert tuple(seen) == FEATURES
    for name in FEATURES:
        assert torch.equal(seen[name], whole[name])
    seen["conv64_3"].mean().backward()
    assert float(chip.grad.abs().max()) > 0  # type: ignore[union-attr]
    assert torch.equal(idnet(chip, wanted=["chip"], start="chip")["chip"], chip)


def test_the_chip_is_pixels_less_their_mean(idnet: FrozenGraph) -> None:
    # The identity loss begins here: (RGB - mean) / 256, as dlib has it.
    mean = torch.tensor([122.782, 117.001, 104.298])
    for grey in (0.0, 128.0, 255.0):
        crop = torch.full((1, 3, 256, 256), grey / 127.5 - 1)
        chip = idnet(crop, wanted=["chip"])["chip"]
        expected = ((grey - mean) / 256)[None, :, None, None].expand_as(chip)
        assert torch.allclose(chip, expected, atol=1e-4)


def test_only_what_is_needed_is_run(idnet: FrozenGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    look_up = FrozenGraph._look_up

    def watch(self: FrozenGraph, name: str, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        ran.append((name,))
        return look_up(self, name, values)

    monkeypatch.setattr(FrozenGraph, "_look_up", watch)
    chip = torch.zeros(1, 3, 150, 150)
    idnet(chip, wanted=["conv32_down/relu"], start="chip")
    short = len(ran)
    idnet(chip, wanted=["embedding"], start="chip")
    assert short < 10 < len(ran) - short


def test_a_frozen_graph_learns_nothing(idnet: FrozenGraph) -> None:
    assert not idnet.training
    assert list(idnet.parameters()) == []
    assert list(idnet.state_dict()) == []
    assert len(list(idnet.buffers())) > 50
    assert not any(buffer.requires_grad for buffer in idnet.buffers())
    holder = torch.nn.Sequential(idnet).train()
    assert list(holder.state_dict()) == []


def test_its_weights_move_with_it() -> None:
    moved = FrozenGraph("idnet").to(torch.float64)
    chip = torch.zeros(1, 3, 150, 150, dtype=torch.float64)
    assert moved(chip, wanted=["embedding"], start="chip")["embedding"].dtype == torch.float64


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        (["nothing"], None),
        (["embedding", "nothing"], "chip"),
        (["embedding"], "nothing"),
        (["embedding"], ""),
        ("embedding", None),
        (["chip.rows"], None),
        (["embedding"], "chip.rows"),
    ],
)
def test_an_unknown_value_is_refused(
    idnet: FrozenGraph, wanted: Sequence[str], start: str | None
) -> None:
    with pytest.raises(UnknownValue, match="has no value named") as caught:
        idnet(torch.zeros(1, 3, 256, 256), wanted=wanted, start=start)
    assert isinstance(caught.value, FaceError)
    assert caught.value.mend


@pytest.mark.parametrize("wanted", ["crop", "chip", "chip.short"])
def test_what_lies_before_the_start_is_refused(idnet: FrozenGraph, wanted: str) -> None:
    with pytest.raises(UnknownValue, match="does not follow from 'conv32_3' alone"):
        idnet(torch.zeros(1, 32, 35, 35), wanted=[wanted], start="conv32_3")


def test_values_are_listed_in_their_order(idnet: FrozenGraph) -> None:
    assert (idnet.values[0], idnet.values[-1]) == ("crop", "embedding")
    places = [idnet.values.index(name) for name in ("chip", *FEATURES)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("x", "start"),
    [
        (torch.zeros(1, 3, 255, 256), None),
        (torch.zeros(3, 256, 256), None),
        (torch.zeros(1, 256, 256, 3), None),
        (torch.zeros(1, 3, 256, 256, dtype=torch.uint8), None),
        (torch.zeros(1, 3, 256, 256), "chip"),
    ],
)
def test_another_shape_is_refused(idnet: FrozenGraph, x: torch.Tensor, start: str | None) -> None:
    with pytest.raises(ShapeError, match="of idnet"):
        idnet(x, wanted=["embedding"], start=start)


def test_a_graph_for_one_picture_takes_one() -> None:
    with pytest.raises(ShapeError, match=r"\(1, 224, 224, 3\)"):
        FrozenGraph("faceres")(torch.zeros(2, 224, 224, 3), wanted=["ages"])


def test_an_unknown_or_altered_weight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightRefused, match="no card"):
        FrozenGraph("../idnet")
    (tmp_path / "idnet.toml").write_bytes((MODELS_FOLDER / "idnet.toml").read_bytes())
    content = bytearray((MODELS_FOLDER / "idnet.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "idnet.onnx").write_bytes(content)
    with pytest.raises(WeightRefused, match="its card says"):
        FrozenGraph("idnet", tmp_path)


Graph = Callable[..., tuple[FrozenGraph, bytes]]
Side = int | str


@pytest.fixture
def build(tmp_path: Path) -> Graph:
    """`build(nodes, constants, shape)`: a carded graph "crop" -> "out", and its bytes."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, np.ndarray] = {},
        shape: Sequence[Side] = (2, 3, 6, 6),
        opset: int = 17,
    ) -> tuple[FrozenGraph, bytes]:
        entry = helper.make_tensor_value_info("crop", TensorProto.FLOAT, shape)
        out = helper.make_empty_tensor_value_info("out")
        weights = [numpy_helper.from_array(one, name) for name, one in constants.items()]
        graph = helper.make_graph(list(nodes), "g", [entry], [out], weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
            ir_version=8,
        )
        content = model.SerializeToString()
        text = (MODELS_FOLDER / "idnet.toml").read_text(encoding="utf-8")
        text = re.sub(
            r'^sha256 = ".*"$', f'sha256 = "{sha256_hex(content)}"', text, count=1, flags=re.M
        )
        (tmp_path / "idnet.toml").write_text(text, encoding="utf-8")
        (tmp_path / "idnet.onnx").write_bytes(content)
        return FrozenGraph("idnet", tmp_path), content

    return make


def node(kind: str, *inputs: str, outputs: Sequence[str] = ("out",), **options: Any) -> Any:
    return helper.make_node(kind, ["crop", *inputs], list(outputs), **options)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


FORMS: dict[str, tuple[Sequence[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "conv": ([node("Conv", "w", "b", dilations=[2, 1])], {"w": noise(4, 3, 2, 2), "b": noise(4)}),
    "conv groups": ([node("Conv", "w", group=3, strides=[2, 3])], {"w": noise(6, 1, 3, 3)}),
    "conv one side": ([node("Conv", "w", pads=[0, 1, 2, 0])], {"w": noise(4, 3, 3, 3)}),
    "conv both sides": ([node("Conv", "w", pads=[1, 2, 1, 2])], {"w": noise(4, 3, 3, 3)}),
    "pad": ([node("Pad", "p")], {"p": ints(0, 1, 0, 2, 1, 0, 3, 0)}),
    "pad with": ([node("Pad", "p", "v")], {"p": ints(0, 0, 1, 2, 0, 0, 3, 0), "v": np.float32(-2)}),
    "max pool": ([node("MaxPool", kernel_shape=[3, 2], strides=[2, 2])], {}),
    "pool in steps of one": ([node("MaxPool", kernel_shape=[2, 2])], {}),
    "average": ([node("AveragePool", kernel_shape=[2, 3], strides=[1, 2])], {}),
    "average in steps of one": ([node("AveragePool", kernel_shape=[2, 2])], {}),
    "slice": ([node("Slice", "s", "e")], {"s": ints(1, 0), "e": ints(2**62, -1)}),
    "slice in steps": (
        [node("Slice", "s", "e", "a", "t")],
        {"s": ints(-5, 1), "e": ints(6, 6), "a": ints(-1, 2), "t": ints(2, 3)},
    ),
    "reshape": ([node("Reshape", "s")], {"s": ints(0, -1, 6)}),
    "gather": ([node("Gather", "i", axis=2)], {"i": np.array([[0, -1], [3, -6]])}),
    "gather from the end": ([node("Gather", "i", axis=-1)], {"i": np.array([[0, -1], [3, -6]])}),
    "split": ([node("Split", "s", outputs=("x", "out"), axis=2)], {"s": ints(2, 4)}),
    "squeeze": (
        [node("Slice", "s", "e", outputs=["x"]), helper.make_node("Squeeze", ["x", "a"], ["out"])],
        {"s": ints(0, 1), "e": ints(1, 2), "a": ints(1, 0)},
    ),
    "flatten": ([node("Flatten", axis=2)], {}),
    "flatten whole": ([node("Flatten", axis=0)], {}),
    "flatten from the end": ([node("Flatten", axis=-1)], {}),
    "cast": (
        [node("Cast", to=7, outputs=["x"]), helper.make_node("Cast", ["x"], ["out"], to=1)],
        {},
    ),
    "mean": ([node("ReduceMean", axes=[1, -1], keepdims=0)], {}),
    "sum": ([node("ReduceSum", "a", keepdims=0)], {"a": ints(2, 0)}),
    "max over": ([node("ReduceMax", axes=[-1, 2])], {}),
    "min over": ([node("ReduceMin", axes=[0], keepdims=0)], {}),
    "product": ([node("ReduceProd", axes=[-1, 1], keepdims=0)], {}),
    "least": ([node("Min", "a", "b")], {"a": noise(6), "b": noise(3, 1, 1)}),
    "most": ([node("Max", "a", "b")], {"a": noise(6), "b": noise(3, 1, 1)}),
    "where": (
        [
            node("GreaterOrEqual", "a", outputs=["x"]),
            helper.make_node("Where", ["x", "crop", "a"], ["out"]),
        ],
        {"a": noise(6)},
    ),
    "floor": ([node("Floor")], {}),
    "concat": ([node("Concat", "crop", axis=-2)], {}),
    "transpose": ([node("Transpose", perm=[3, 1, 0, 2])], {}),
    "softmax": ([node("Softmax", axis=1)], {}),
    "relu": ([node("Relu")], {}),
    "arithmetic": (
        [
            node("Sub", "a", outputs=["x"]),
            helper.make_node("Mul", ["x", "x"], ["y"]),
            helper.make_node("Sqrt", ["y"], ["z"]),
            helper.make_node("Add", ["z", "a"], ["q"]),
            helper.make_node("Div", ["q", "a"], ["out"]),
        ],
        {"a": noise(6)},
    ),
    "product of matrices": ([node("MatMul", "a")], {"a": noise(6, 2)}),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_operator_means_what_it_does_in_onnxruntime(build: Graph, form: str) -> None:
    graph, content = build(*FORMS[form])
    x = noise(2, 3, 6, 6)
    (expected,) = session_of(content).run(["out"], {"crop": x})
    got = graph(torch.from_numpy(x), wanted=["out"])["out"].numpy()
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"transA": 1}, {"transB": 1}, {"alpha": 0.5, "beta": -2.0}], ids=str
)
def test_a_general_product_means_what_it_does_in_onnxruntime(
    build: Graph, options: dict[str, Any]
) -> None:
    for inputs in (("b", "c"), ("b",)):
        constants = {
            name: value for name, value in (("b", noise(4, 4)), ("c", noise(4))) if name in inputs
        }
        graph, content = build([node("Gemm", *inputs, **options)], constants, (4, 4))
        x = noise(4, 4)
        (expected,) = session_of(content).run(["out"], {"crop": x})
        got = graph(torch.from_numpy(x), wanted=["out"])["out"].numpy()
        assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_every_operator_is_compared() -> None:
    kinds = {one.op_type for nodes, _ in FORMS.values() for one in nodes} | {"Gemm"}
    assert kinds == set(OPERATORS)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Tanh")], {}),
        ([node("Pad", "p", mode="reflect")], {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
        ([node("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], {}),
        ([node("MaxPool", kernel_shape=[2, 2], ceil_mode=1)], {}),
        ([node("MaxPool", kernel_shape=[2, 2], dilations=[2, 1])], {}),
        ([node("Conv", "w", auto_pad="SAME_UPPER")], {"w": noise(4, 3, 3, 3)}),
        (
            [node("Slice", "s", "e", "a", "t")],
            {n: ints(-v) for n, v in zip("seat", (1, 9, 1, 1), strict=True)},
        ),
        ([node("Cast", to=11)], {}),
        ([node("ReduceSum")], {}),
        ([node("ReduceMean")], {}),
        ([node("Clip", "", "b")], {"b": np.float32(1)}),
    ],
    ids=[
        *("operator", "padding", "pool's edge", "pool's end", "pool's gaps", "conv's edge"),
        *("backwards", "type", "sum of all", "mean of all", "left out"),
    ],
)
def test_a_form_without_a_meaning_here_is_refused(
    build: Graph, nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray]
) -> None:
    with pytest.raises(OperatorRefused, match="a frozen graph runs no") as caught:
        build(nodes, constants)
    assert caught.value.mend


def test_a_shape_that_varies_is_refused(build: Graph) -> None:
    nodes = [node("Cast", outputs=["s"], to=7), node("Reshape", "s")]
    with pytest.raises(OperatorRefused, match="no Reshape whose shape varies"):
        build(nodes, shape=(2,))


def test_an_attribute_that_is_not_known_is_refused() -> None:
    with pytest.raises(OperatorRefused, match="no Relu with slope = 2"):
        find_operator("Relu").require({"slope": 2})
    find_operator("Relu").require({})


def test_an_operator_of_somebody_else_is_refused(build: Graph) -> None:
    with pytest.raises(OperatorRefused, match=r"no operator of com\.microsoft"):
        build([node("Gelu", domain="com.microsoft")])


def test_another_opset_is_refused(build: Graph) -> None:
    with pytest.raises(OperatorRefused, match="of opset 17, not 15"):
        build([node("Relu")], opset=15)


def test_a_graph_that_does_not_run_is_refused(build: Graph) -> None:
    with pytest.raises(WeightRefused, match="onnxruntime can run"):
        build([node("Nonsense")])
