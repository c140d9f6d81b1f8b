"""Graph, twin and network hold the same numbers, in half the bytes; a graph that lies stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from safetensors.torch import load
from torch import Tensor, nn

from generator import export as module
from generator.errors import WeightRefused
from generator.export import export_graph, pack_weights, require_parity, round_to_half
from generator.stylemix import StyleMixNet
from generator.weights import require_plain_onnx

Inputs = dict[str, Tensor]


class Linear(nn.Module):
    """Two inputs, two outputs, weights that are no float16 numbers, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn((64, 64), generator=rng))
        self.register_buffer("mean", torch.full((64,), 1 / 3))
        self.register_buffer("count", torch.tensor(7))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return (first - self.mean) @ self.weight, second + first


@pytest.fixture(scope="module")
def half() -> nn.Module:
    return round_to_half(Linear())


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return {"first": torch.randn(2, 64), "second": torch.ones(2, 64)}


@pytest.fixture(scope="module")
def graph(half: nn.Module, inputs: Inputs) -> bytes:
    return export_graph(half, inputs, ("product", "sum"))


def test_rounded_weights_are_half_floats_of_a_copy() -> None:
    net = Linear().train()
    before = net.weight.detach().clone()
    rounded = round_to_half(net)
    assert torch.equal(net.weight, before)
    assert net.training
    assert net.weight.requires_grad
    assert torch.equal(rounded.weight, before.half().float())
    assert rounded.weight.dtype == torch.float32
    assert torch.equal(rounded.mean, torch.full((64,), 1 / 3).half().float())
    assert int(rounded.count) == 7


def test_the_twin_holds_the_networks_numbers(half: nn.Module) -> None:
    kept = load(pack_weights(half))
    state = half.state_dict()
    assert kept.keys() == state.keys()
    assert kept["weight"].dtype == torch.float16
    assert all(torch.equal(kept[name].float(), state[name].float()) for name in state)


def test_the_graph_gives_what_the_network_gives_at_any_batch(half: nn.Module, graph: bytes) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        first, second = torch.randn(n, 64), torch.randn(n, 64)
        wanted = half(first, second)
        given = {"first": first.numpy(), "second": second.numpy()}
        for have, want in zip(session.run(["product", "sum"], given), wanted, strict=True):
            np.testing.assert_allclose(have, want.numpy(), atol=1e-4)


def test_weights_are_stored_in_half_the_bytes_inside_the_file(
    graph: bytes, tiny_models: Path
) -> None:
    model = require_plain_onnx(graph, "graph")
    weights = [t for t in model.graph.initializer if np.prod(t.dims) == 64 * 64]
    assert [t.data_type for t in weights] == [TensorProto.FLOAT16]
    assert 2 * 64 * 64 < len(graph) < 4 * 64 * 64
    assert model.producer_name == "facewarrant"
    shipped = onnx.load_from_string((tiny_models / "stylemix.onnx").read_bytes())
    sizes = {t.name: numpy_helper.to_array(t).nbytes for t in shipped.graph.initializer}
    kinds = {t.data_type for t in shipped.graph.initializer if np.prod(t.dims) >= 100}
    assert TensorProto.FLOAT16 in kinds
    assert sum(sizes.values()) > 0


def test_the_same_network_gives_the_same_bytes(
    half: nn.Module, inputs: Inputs, graph: bytes
) -> None:
    assert export_graph(half, inputs, ("product", "sum")) == graph


@pytest.mark.parametrize(
    "spoil",
    [lambda value: value + 0.1, lambda value: value * float("nan")],
    ids=["another answer", "not a number"],
)
def test_a_graph_that_answers_otherwise_is_refused(
    graph: bytes, half: nn.Module, inputs: Inputs, spoil: Callable[[Tensor], Tensor]
) -> None:
    wanted = dict(zip(("product", "sum"), half(*inputs.values()), strict=True))
    require_parity(graph, inputs, wanted)
    with pytest.raises(WeightRefused, match="sum differs"):
        require_parity(graph, inputs, wanted | {"sum": spoil(wanted["sum"])})


def test_what_differs_is_not_exported(
    half: nn.Module, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(WeightRefused, match="product differs"):
        export_graph(half, inputs, ("product", "sum"))


def test_the_shipped_network_agrees_on_pictures_it_was_not_checked_on(
    tiny_net: StyleMixNet, tiny_models: Path
) -> None:
    content = (tiny_models / "stylemix.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rng = torch.Generator().manual_seed(8)
    small = torch.rand((3, 13, 8, 8), generator=rng)
    smooth = torch.nn.functional.interpolate(small, (128, 128), mode="bilinear")
    pictures, mask = smooth[:, :12] * 2 - 1, smooth[:, 12:]
    ids = torch.randn((2, 3, 128), generator=rng) * 0.1
    rounded = round_to_half(tiny_net)
    assert isinstance(rounded, StyleMixNet)
    with torch.no_grad():
        wanted = rounded(pictures, mask, ids[0], ids[1])
    feed = {"pictures": pictures, "mask": mask, "id_source": ids[0], "id_target": ids[1]}
    given = {name: value.numpy() for name, value in feed.items()}
    names = ["image", "flow", "reach", "paint"]
    for name, have in zip(names, session.run(names, given), strict=True):
        want = getattr(wanted, name).numpy()
        assert float(np.abs(have - want).max()) <= 1e-3 * max(1.0, float(np.abs(want).max()))
    neutral = session.run(["paint"], given | {"id_target": given["id_source"]})[0]
    again = session.run(["paint"], given | {"id_target": given["id_source"]})[0]
    assert np.array_equal(neutral, again)


def test_a_single_output_is_compared_whole(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Tensor]] = []
    monkeypatch.setattr(module, "require_parity", lambda *given: seen.append(given[2]))
    net = nn.Linear(64, 3)
    export_graph(round_to_half(net), {"first": inputs["first"]}, ("out",))
    assert seen[0]["out"].shape == (2, 3)
