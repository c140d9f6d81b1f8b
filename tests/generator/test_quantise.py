"""Eight bits: smaller, near the float graph, and judged on what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from generator import quantise
from generator.quantise import KEPT, compare, feed_of, measure
from generator.samples import SampleSet, write_samples
from generator.weights import read_weight


@pytest.fixture
def content(tiny_models: Path) -> bytes:
    return read_weight("stylemix", tiny_models)[1]


def test_convolutions_are_in_eight_bits_and_what_carries_identity_is_not(
    content: bytes, sample_set: SampleSet
) -> None:
    small = onnx.load_from_string(
        quantise.quantise(content, [feed_of(sample_set.take(torch.arange(6)))])
    )
    quantised = {n.input[0] for n in small.graph.node if n.op_type == "DequantizeLinear"}
    assert any("down" in name for name in quantised)
    assert not any(part.strip("/") in name for name in quantised for part in KEPT[:4])


def test_what_it_costs_is_measured_beside_the_float_graph(
    content: bytes, sample_set: SampleSet
) -> None:
    found = compare(content, sample_set, sample_set)
    assert abs(found["int8"]["progress"] - found["float"]["progress"]) < 0.2
    assert isinstance(found["graph"], bytes)
    assert found["worth shipping"] == (
        found["float"]["progress"] - found["int8"]["progress"]
        <= 0.02 * abs(found["float"]["progress"])
    )


def test_progress_is_that_of_the_graph(content: bytes, sample_set: SampleSet) -> None:
    figures = measure(content, list(sample_set.parts("forward", 2)))
    assert np.isfinite(figures["progress"])
    assert figures["mb"] == pytest.approx(len(content) / 1e6)


def test_the_command_prints_figures_and_writes_the_graph(
    tiny_models: Path, sample_set: SampleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "validation"):
        write_samples(tmp_path / f"samples-{part}.safetensors", sample_set, "0" * 64)
    out = tmp_path / "small.onnx"
    quantise.main(["--run", str(tmp_path), "--models", str(tiny_models), "--out", str(out)])
    assert set(json.loads(capsys.readouterr().out)) == {"float", "int8", "worth shipping"}
    onnx.checker.check_model(onnx.load_from_string(out.read_bytes()))
