"""Speed on every device that is at hand, and the size of the shipped network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from benchmarks.generator.timing import time_sizes
from generator.faces import Frame
from generator.mixing import WEIGHTS
from generator.runtime import Device, DeviceUnavailable
from generator.weights import read_weight

DEVICES: tuple[Device, ...] = ("cpu", "cuda")


def time_devices(portrait: Frame, source: Frame, **how: Any) -> dict[str, Any]:
    """Return device -> `timing.time_sizes`, or why the device is left out."""
    out: dict[str, Any] = {"millions": count_millions()}
    for device in DEVICES:
        try:
            out[device] = time_sizes(portrait, source, device=device, **how)
        except DeviceUnavailable as error:
            out[device] = {"left out": error.message}
    return out


def count_millions() -> float:
    """Return how many million numbers the shipped network has, counted in its file."""
    graph = onnx.load_from_string(read_weight(WEIGHTS)[1]).graph
    return sum(int(np.prod(tensor.dims)) for tensor in graph.initializer) / 1e6
