"""Turn a trained network into what is shipped: safetensors, an ONNX graph and its card.

Weights are rounded to float16 once, and both files hold the same numbers: the graph widens them as
it is loaded, so that a request computes in float32. Refused: a graph that does not give what the
network gives (WeightRefused).
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import save
from torch import Tensor, nn

from generator.convert import OPSET, store_small
from generator.errors import WeightRefused

TOLERANCE = 2e-4
"""Largest difference between graph and network, for values of about 1."""


def round_to_half(net: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose weights are float16 numbers kept as float32."""
    rounded = copy.deepcopy(net).float().eval().requires_grad_(False).cpu()
    for tensor in (*rounded.parameters(), *rounded.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    return rounded


def pack_weights(net: nn.Module) -> bytes:
    """Return the weights of a rounded network as safetensors, float16."""
    return save({name: value.half().contiguous() for name, value in net.state_dict().items()})


def export_graph(net: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Return the ONNX graph of a rounded network, free in its first dimension.

    `inputs`: example tensors by name, in the order of the arguments; the outputs are named
    by `outputs` in their order. Checked against the network on the examples: raises WeightRefused.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "graph.onnx"
        # The tracer warns about every constant shape, and about its own future removal.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
        )
        model = onnx.load_model(str(path))
        made = net(*inputs.values())
        # A single tensor is one output, not a row of them.
        wanted = (made,) if isinstance(made, Tensor) else tuple(made)
    content: bytes = store_small(model, ()).SerializeToString(deterministic=True)
    require_parity(content, inputs, dict(zip(outputs, wanted, strict=False)))
    return content


def require_parity(
    content: bytes, inputs: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> None:
    """Raise WeightRefused unless a graph gives the wanted values on these inputs."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in inputs.items()}
    for name, value in wanted.items():
        difference = float(np.abs(session.run([name], feed)[0] - value.numpy()).max())
        if not difference <= TOLERANCE * max(1.0, float(value.abs().max())):
            raise WeightRefused(
                f"the graph's {name} differs from the network's by {difference:.1e}"
            )
