from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.nn import functional

from generator.convert import (
    PACKAGES,
    _as_uint8,
    convert_graph,
    finish_model,
    main,
    remake,
    write_weight,
)
from generator.errors import WeightRefused
from generator.idnet_graph import (
    CHIP_PX,
    CROP_PX,
    STAGES,
    build_id_net,
    chip_axis,
    resample_matrix,
)
from generator.tfjs import TfjsGraph, read_weights
from generator.weights import (
    MODELS_FOLDER,
    OWN,
    load_card,
    open_session,
    require_plain_onnx,
    weight_names,
)

ROOT = Path(__file__).parents[2]


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    """A tfjs graph with one float16 convolution, stride 2, bias and ReLU."""
    rng = np.random.default_rng(11)
    filters = rng.normal(size=(3, 3, 3, 8)).astype(np.float16)
    bias = rng.normal(size=8).astype(np.float32)
    (tmp_path / "w.bin").write_bytes(filters.tobytes() + bias.tobytes())
    dims = [{"size": str(n)} for n in (-1, 32, 32, 3)]
    attrs = {
        "strides": {"list": {"i": ["1", "2", "2", "1"]}},
        "padding": text("SAME"),
        "fused_ops": {"list": {"s": [text("BiasAdd")["s"], text("Relu")["s"]]}},
    }
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": dims}}}},
        {"name": "w", "op": "Const"},
        {"name": "b", "op": "Const"},
        {"name": "y", "op": "_FusedConv2D", "input": ["x", "w", "b"], "attr": attrs},
    ]
    weights = [
        {
            "name": "w",
            "shape": [3, 3, 3, 8],
            "dtype": "float32",
            "quantization": {"dtype": "float16"},
        },
        {"name": "b", "shape": [8], "dtype": "float32"},
    ]
    model = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    (tmp_path / "model.json").write_text(json.dumps(model))
    return tmp_path / "model.json"


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def test_onnx_and_torch_agree(convolution: Path) -> None:
    model = convert_graph(convolution, {"y": "maps"}, "image")
    value = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    (got,) = session_of(model).run(["maps"], {"image": value})
    (want,) = TfjsGraph(convolution, ["y"])(torch.from_numpy(value))
    np.testing.assert_allclose(got, want.numpy(), atol=1e-4)
    assert got.shape == (1, 16, 16, 8)


def test_half_floats_stay_half_floats(convolution: Path) -> None:
    model = convert_graph(convolution, {"y": "maps"}, "image")
    kinds = {numpy_helper.to_array(t).dtype for t in model.graph.initializer if t.dims}
    assert np.dtype(np.float16) in kinds
    (filters,) = (t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    assert numpy_helper.to_array(filters).shape == (8, 3, 3, 3)


@pytest.fixture
def eight_bits(convolution: Path) -> Path:
    """The same graph with its filters and bias in 8 bits, each by its own rule."""
    rng = np.random.default_rng(12)
    model = json.loads(convolution.read_text())
    rules = [{"scale": 0.0123, "min": -1.5}, {"scale": 0.0071, "min": -0.3}]
    for entry, rule in zip(model["weightsManifest"][0]["weights"], rules, strict=True):
        entry["quantization"] = {"dtype": "uint8", **rule}
    content = rng.integers(0, 256, 3 * 3 * 3 * 8 + 8, dtype=np.uint8)
    (convolution.parent / "w.bin").write_bytes(content.tobytes())
    convolution.write_text(json.dumps(model))
    return convolution


def test_eight_bit_weights_stay_eight_bits(eight_bits: Path) -> None:
    model = convert_graph(eight_bits, {"y": "maps"}, "image")
    (raw,) = (t for t in model.graph.initializer if t.data_type == onnx.TensorProto.UINT8)
    assert sorted(numpy_helper.to_array(raw).shape) == [3, 3, 3, 8]
    value = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    (got,) = session_of(model).run(["maps"], {"image": value})
    (want,) = TfjsGraph(eight_bits, ["y"])(torch.from_numpy(value))
    np.testing.assert_allclose(got, want.numpy(), atol=1e-4)


def test_widened_eight_bit_weights_are_bit_for_bit_the_dequantised_ones(eight_bits: Path) -> None:
    model = convert_graph(eight_bits, {"y": "maps"}, "image")
    parts = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (name,) = (n.removesuffix(".raw") for n in parts if n.endswith(".raw"))
    wide = parts[f"{name}.raw"].astype(np.float32) * parts[f"{name}.scale"] + parts[f"{name}.min"]
    manifest = json.loads(eight_bits.read_text())["weightsManifest"]
    filters = read_weights(eight_bits.parent, manifest)["w"].permute(3, 2, 0, 1).numpy()
    np.testing.assert_array_equal(wide, filters)


def test_a_rule_that_is_not_exact_is_not_used(eight_bits: Path) -> None:
    """Values of another rule must not be rounded into 8 bits."""
    graph = TfjsGraph(eight_bits, ["y"])
    values = graph.get_buffer("w0").numpy()
    ((size, scale, low), _) = graph.eight_bit_rules
    exact = _as_uint8(values, [(size, scale, low)])
    assert exact is not None
    assert exact[0].dtype == np.uint8
    for wrong in ((size, scale * 1.01, low), (size, scale, low + 0.01), (size + 1, scale, low)):
        assert _as_uint8(values, [wrong]) is None
    assert _as_uint8(values[0, 0, 0], [(8, scale, low)]) is None


def test_the_shipped_gates_keep_the_stored_form() -> None:
    kinds = {"nsfwjs-mid": onnx.TensorProto.UINT8, "faceres": onnx.TensorProto.FLOAT16}
    for name, kind in kinds.items():
        card = load_card(name)
        model = require_plain_onnx((MODELS_FOLDER / card.file).read_bytes(), name)
        small = sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == kind)
        wide = sum(
            int(np.prod(t.dims))
            for t in model.graph.initializer
            if t.data_type == onnx.TensorProto.FLOAT
        )
        assert small > 3_000_000
        assert wide < 2_000


def test_a_bundle_is_unpacked_before_it_is_converted(convolution: Path, tmp_path: Path) -> None:
    """A card whose graph is JavaScript: the same graph as from the plain files."""
    (tmp_path / "js").mkdir()
    for name, content in (
        ("model", json.dumps(json.loads(convolution.read_text()), separators=(",", ":"))),
        ("w.bin", json.dumps(base64.b64encode((tmp_path / "w.bin").read_bytes()).decode())),
    ):
        (tmp_path / "js" / f"{name}.min.js").write_text(f"x.exports={content};")
    card = load_card("nsfwjs-mid")
    files = {
        f"js/{name}.min.js": hashlib.sha256((tmp_path / f"js/{name}.min.js").read_bytes())
        for name in ("model", "w.bin")
    }
    origin = card.origin.model_copy(
        update={
            "graph": "js/model.min.js",
            "files": {path: digest.hexdigest() for path, digest in files.items()},
        }
    )
    outputs = {"classes": card.outputs["classes"].model_copy(update={"source": "y"})}
    made = remake(
        card.model_copy(update={"origin": origin, "outputs": outputs}), {"nsfwjs": tmp_path}
    )
    plain = convert_graph(convolution, {"y": "classes"}, "image")
    assert made == plain.SerializeToString(deterministic=True)


def test_converting_twice_gives_the_same_bytes(convolution: Path) -> None:
    first, second = (
        convert_graph(convolution, {"y": "maps"}, "image").SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_nothing_of_the_machine_is_in_the_shipped_files() -> None:
    for path in MODELS_FOLDER.glob("*.onnx"):
        content = path.read_bytes()
        model = require_plain_onnx(content, path.name)
        assert model.producer_name == "facewarrant"
        assert not any(node.doc_string for node in model.graph.node)
        assert str(ROOT).encode() not in content


def test_a_source_that_differs_from_its_card_is_refused(tmp_path: Path) -> None:
    card = load_card("blazeface")
    (tmp_path / "models").mkdir()
    for name in card.origin.files:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(WeightRefused, match="its card says") as caught:
        remake(card, {card.origin.package: tmp_path})
    assert caught.value.code == "WEIGHT-REFUSED"


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    card = load_card("idnet")
    with pytest.raises(WeightRefused, match="cannot be read"):
        remake(card, {card.origin.package: tmp_path})


def test_a_written_weight_and_its_card_belong_together(tmp_path: Path) -> None:
    digest = write_weight("blazeface", b"new content", tmp_path)
    assert digest == hashlib.sha256(b"new content").hexdigest()
    card = load_card("blazeface", tmp_path)
    assert (card.sha256, card.bytes) == (digest, len(b"new content"))
    old = load_card("blazeface")
    changed = {"sha256": digest, "bytes": card.bytes}
    assert card == old.model_copy(update=changed)


def test_the_page_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--page"])
    assert capsys.readouterr().out == (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize("given", [[], ["--human", "x"], ["--human", "x", "--faceapi", "x"]])
def test_packages_are_needed(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == 2
    assert "--nsfwjs" in capsys.readouterr().err


def test_every_card_names_a_package_that_can_be_given() -> None:
    packages = {load_card(name).origin.package for name in weight_names()}
    assert packages - {OWN} == set(PACKAGES.values())


def test_main_remakes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the original packages replaced by the shipped bytes: file, card and order."""

    def shipped(card: Any, _: object) -> bytes:
        content: bytes = (MODELS_FOLDER / card.file).read_bytes()
        return content

    monkeypatch.setattr("generator.convert.remake", shipped)
    folders = [word for option in PACKAGES for word in (f"--{option}", str(tmp_path))]
    main([*folders, "--out", str(tmp_path)])
    for path in MODELS_FOLDER.glob("*.toml"):
        if load_card(path.stem).origin.package == OWN:
            assert not (tmp_path / path.name).exists(), "trained here; nothing to convert"
        else:
            assert (tmp_path / path.name).read_text() == path.read_text()
    for text_file in MODELS_FOLDER.glob("LICENSE*"):
        shutil.copy(text_file, tmp_path / text_file.name)
    assert open_session("blazeface", folder=tmp_path).card.name == "blazeface"


# --- the identity net -------------------------------------------------------------------------

CHANNELS = {"conv32": 32, "conv64": 64, "conv128": 128, "conv256": 256}


def layer_names() -> Iterator[tuple[str, int, int, int]]:
    """Every convolution of the net: name, kernel, channels in, channels out."""
    yield "conv32_down", 7, 3, 32
    width = 32
    for stage, blocks in STAGES:
        out = CHANNELS[stage]
        if stage != "conv32":
            yield f"{stage}_down/conv1", 3, width, out
            yield f"{stage}_down/conv2", 3, out, out
        for index in range(1, blocks + 1):
            yield f"{stage}_{index}/conv1", 3, out, out
            yield f"{stage}_{index}/conv2", 3, out, out
        width = out
    yield "conv256_down_out/conv1", 3, 256, 256
    yield "conv256_down_out/conv2", 3, 256, 256


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights manifest of the net's form with random 8-bit weights."""
    folder = tmp_path_factory.mktemp("idnet")
    rng = np.random.default_rng(4)
    entries: list[dict[str, object]] = []
    blob = b""

    def add(name: str, shape: list[int], low: float, high: float) -> None:
        nonlocal blob
        rule = {"dtype": "uint8", "scale": (high - low) / 255, "min": low}
        entries.append({"name": name, "shape": shape, "dtype": "float32", "quantization": rule})
        blob += rng.integers(0, 256, int(np.prod(shape)), dtype=np.uint8).tobytes()

    for name, kernel, wide, out in layer_names():
        reach = 1.5 / np.sqrt(kernel * kernel * wide)
        add(f"{name}/conv/filters", [kernel, kernel, wide, out], -reach, reach)
        add(f"{name}/conv/bias", [out], -0.01, 0.01)
        add(f"{name}/scale/weights", [out], 0.5, 1.5)
        add(f"{name}/scale/biases", [out], -0.1, 0.1)
    add("fc", [256, 128], -0.1, 0.1)
    (folder / "w.bin").write_bytes(blob)
    (folder / "manifest.json").write_text(json.dumps([{"paths": ["w.bin"], "weights": entries}]))
    return folder / "manifest.json"


class ReferenceNet:
    """The same net once more, in torch, straight from the published topology."""

    def __init__(self, manifest: Path) -> None:
        self._w = read_weights(manifest.parent, json.loads(manifest.read_text()))

    def _conv(self, x: torch.Tensor, name: str, stride: int, pad: int) -> torch.Tensor:
        filters = self._w[f"{name}/conv/filters"].permute(3, 2, 0, 1)
        y = functional.conv2d(x, filters, self._w[f"{name}/conv/bias"], stride, pad)
        weights, biases = (self._w[f"{name}/scale/{part}"] for part in ("weights", "biases"))
        return y * weights[:, None, None] + biases[:, None, None]

    def _block(self, x: torch.Tensor, name: str, *, down: bool) -> torch.Tensor:
        first = self._conv(x, f"{name}/conv1", 2 if down else 1, 0 if down else 1)
        y = self._conv(functional.relu(first), f"{name}/conv2", 1, 1)
        if not down:
            return functional.relu(y + x)
        short = functional.avg_pool2d(x, 2)
        total = torch.zeros(y.shape[:2] + short.shape[2:])
        total[:, :, : y.shape[2], : y.shape[3]] += y
        total[:, : short.shape[1]] += short
        return functional.relu(total)

    def __call__(self, chip: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        x = functional.relu(self._conv(torch.from_numpy(chip), "conv32_down", 2, 0))
        x = functional.max_pool2d(x, 3, 2)
        for stage, blocks in STAGES:
            if stage != "conv32":
                x = self._block(x, f"{stage}_down", down=True)
            for index in range(1, blocks + 1):
                x = self._block(x, f"{stage}_{index}", down=False)
        x = self._block(x, "conv256_down_out", down=True)
        vector: npt.NDArray[np.float32] = (x.mean((2, 3)) @ self._w["fc"]).numpy()
        return vector


def test_the_id_net_equals_its_topology_in_torch(manifest: Path) -> None:
    fed = np.random.default_rng(6).uniform(-1, 1, (2, 3, CROP_PX, CROP_PX)).astype(np.float32)
    (got,) = session_of(finish_model(build_id_net(manifest))).run(None, {"crop": fed})
    rows, columns = resample_matrix(1), resample_matrix(0)
    chip = rows @ (fed * 127.5 + 127.5) @ columns.T
    mean = np.array([122.782, 117.001, 104.298]).reshape(3, 1, 1)
    want = ReferenceNet(manifest)(((chip - mean) / 256).astype(np.float32))
    assert got.shape == (2, 128)
    assert np.abs(want).max() > 1e-3
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())


def test_the_id_net_keeps_its_eight_bits(manifest: Path) -> None:
    graph = build_id_net(manifest)
    raw = [t for t in graph.initializer if t.name.endswith(".raw")]
    assert all(t.data_type == onnx.TensorProto.UINT8 for t in raw)
    assert sum(int(np.prod(t.dims)) for t in raw) > 5_600_000


def test_no_early_node_is_named_as_if_it_normalised(manifest: Path) -> None:
    """insightface reads `Sub*` and `Mul*` among the first eight names as its own normalisation."""
    early = [node.name for node in build_id_net(manifest).node[:8]]
    assert not any(name.startswith(("Sub", "Mul", "_minus", "_mul")) for name in early)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_chip_is_sampled_without_loss_of_light(axis: int) -> None:
    matrix = resample_matrix(axis)
    assert matrix.shape == (CHIP_PX, CROP_PX)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    scale, shift = chip_axis(axis)
    # a linear ramp keeps its value at every sampled place
    places = np.arange(CHIP_PX) * scale + shift
    assert 0 < places.min()
    assert places.max() < CROP_PX - 1
    np.testing.assert_allclose(matrix @ np.arange(CROP_PX, dtype=np.float32), places, atol=0.15)


def test_the_cards_alignment_is_dlibs_mean_face() -> None:
    """Mean face points of dlib's five-point chip, unit square, carried into the crop."""
    mean_face = {
        263: (0.8595674595992, 0.2134981538014),
        362: (0.6460604764104, 0.2289674387677),
        33: (0.1205750620789, 0.2137274526848),
        133: (0.3340850613712, 0.2290642403242),
        2: (0.4901123135379, 0.6277975316475),
    }
    for index, x, y in load_card("idnet").alignment:
        for axis, value in ((0, x), (1, y)):
            scale, shift = chip_axis(axis)
            chip = (mean_face[index][axis] + 0.25) / 1.5 * CHIP_PX
            assert value == pytest.approx(chip * scale + shift, abs=1e-3)
