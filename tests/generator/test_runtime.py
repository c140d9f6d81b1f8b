"""A network runs where it was asked to, on what its card says, or not at all."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from generator.errors import ShapeError, WeightRefused
from generator.runtime import DeviceUnavailable, Network, open_network
from generator.weights import MODELS_FOLDER, load_card
from policies.digest import sha256_hex

Arrays = dict[str, np.ndarray]
CUDA = "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def network(tiny_models: Path) -> Network:
    return open_network("stylemix", folder=tiny_models)


@pytest.fixture
def arrays(network: Network) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(0, 1, (2, *tensor.shape)).astype(np.float32)
        for name, tensor in network.card.tensors.items()
    }


@pytest.fixture
def folder(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of graph and card, to be spoilt."""
    for name in ("stylemix.onnx", "stylemix.toml"):
        shutil.copy(tiny_models / name, tmp_path / name)
    return tmp_path


def vouch_for(folder: Path, content: bytes) -> None:
    """Put other bytes in place and make the card vouch for them."""
    path, old = folder / "stylemix.toml", load_card("stylemix", folder).sha256
    path.write_text(path.read_text().replace(old, sha256_hex(content)))
    (folder / "stylemix.onnx").write_bytes(content)


def test_every_output_comes_by_its_name(network: Network, arrays: Arrays) -> None:
    made = network.run(**arrays)
    shapes = {name: value.shape for name, value in made.items()}
    square = (128, 128)
    assert shapes == {
        "image": (2, 3, *square),
        "flow": (2, 2, *square),
        "reach": (2, 1, *square),
        "paint": (2, 3, *square),
    }
    assert {value.dtype for value in made.values()} == {np.dtype(np.float32)}
    again = network.run(**arrays)
    assert all(np.array_equal(made[name], again[name]) for name in made)


def test_what_was_loaded_is_on_record(network: Network, tiny_models: Path) -> None:
    content = (tiny_models / "stylemix.onnx").read_bytes()
    assert network.models == {"stylemix": sha256_hex(content)}
    assert network.device == "cpu"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value[0],
        lambda value: value[:, :, :64],
        lambda value: value[:1],
        lambda value: value.astype(np.float64),
        lambda value: value.astype(np.float16),
        lambda value: value[..., None],
        lambda value: np.float32(1).reshape(()),
    ],
    ids=["no batch", "size", "other batch", "float64", "float16", "one more", "a number"],
)
@pytest.mark.parametrize("name", ["pictures", "mask"])
def test_wrong_arrays_are_refused_by_name(
    network: Network, arrays: Arrays, name: str, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    with pytest.raises(ShapeError, match="stylemix: ") as caught:
        network.run(**arrays | {name: spoil(arrays[name])})
    assert caught.value.code == "SHAPE-ERROR"
    assert "float" in str(caught.value.actual)


def test_missing_and_unknown_arrays_are_refused(network: Network, arrays: Arrays) -> None:
    for given in ({}, {"mask": arrays["mask"]}, arrays | {"more": arrays["mask"]}):
        with pytest.raises(ShapeError, match="inputs of stylemix") as caught:
            network.run(**given)
        assert caught.value.expected == ["id_source", "id_target", "mask", "pictures"]
        assert caught.value.actual == sorted(given)


def test_a_runtime_that_fails_is_told_of(network: Network, arrays: Arrays) -> None:
    def fail(*_given: object) -> None:
        raise RuntimeError("out of memory")

    broken = Network(network.card, SimpleNamespace(run=fail), "cpu")  # type: ignore[arg-type]
    with pytest.raises(WeightRefused, match="a batch of 2"):
        broken.run(**arrays)


def test_a_device_that_is_not_there_is_refused(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailable, match=CUDA) as caught:
        open_network("stylemix", device="cuda", folder=tiny_models)
    assert caught.value.code == "DEVICE-UNAVAILABLE"
    assert caught.value.mend


def test_a_silent_fall_back_is_refused(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime was built for CUDA, but there is no driver: it only warns and takes the CPU."""
    asked: list[list[str]] = []

    def fall_back(_content: bytes, *, sess_options: object, providers: list[str]) -> object:
        asked.append(providers)
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(DeviceUnavailable, match="fell back"):
        open_network("stylemix", device="cuda", folder=tiny_models)
    assert asked == [[CUDA]], "the CPU is not even offered"


def test_altered_bytes_are_refused(folder: Path) -> None:
    path = folder / "stylemix.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightRefused, match="its card says"):
        open_network("stylemix", folder=folder)


@pytest.mark.parametrize("start", [pickle.dumps({"a": 1}), b"PK\x03\x04zip"])
def test_pickles_and_archives_are_refused_though_a_card_names_them(
    folder: Path, start: bytes
) -> None:
    vouch_for(folder, start)
    with pytest.raises(WeightRefused, match="pickle or an archive"):
        open_network("stylemix", folder=folder)


def test_what_onnxruntime_cannot_run_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(WeightRefused, match="not a graph that onnxruntime can run"):
        open_network("stylemix", folder=folder)


def test_a_missing_card_is_refused(folder: Path) -> None:
    (folder / "stylemix.toml").unlink()
    with pytest.raises(WeightRefused, match="no card"):
        open_network("stylemix", folder=folder)


def test_a_net_of_pictures_is_not_fed_with_arrays() -> None:
    with pytest.raises(WeightRefused, match="takes a picture"):
        open_network("blazeface", folder=MODELS_FOLDER)
