from __future__ import annotations

import hashlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from generator.errors import WeightRefused
from generator.model_page import describe_models
from generator.weights import (
    MODELS_FOLDER,
    OWN,
    load_card,
    open_session,
    read_weight,
    require_plain_onnx,
    session_options,
    weight_names,
)

ROOT = Path(__file__).parents[2]
NAMES = [
    "blazeface",
    "facemesh-attention-pinto",
    "facemesh-detection-full",
    "faceres",
    "idnet",
    "nsfwjs-mid",
    "ssrnet",
]
OWN_NAMES = ["mdrn", "stylemix", "stylemix-mobile", "stylise"]
"""Trained here."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the smallest weight file with its card, to be spoilt."""
    for name in ("blazeface.toml", "blazeface.onnx"):
        shutil.copy(MODELS_FOLDER / name, tmp_path / name)
    return tmp_path


def refuse_in(folder: Path) -> WeightRefused:
    with pytest.raises(WeightRefused) as caught:
        open_session("blazeface", folder=folder)
    assert caught.value.code == "WEIGHT-REFUSED"
    return caught.value


def replace_weight(folder: Path, content: bytes) -> None:
    """Put other bytes in place and make the card vouch for them."""
    card = (folder / "blazeface.toml").read_text()
    old = load_card("blazeface").sha256
    (folder / "blazeface.toml").write_text(card.replace(old, hashlib.sha256(content).hexdigest()))
    (folder / "blazeface.onnx").write_bytes(content)


def small_graph(node: onnx.NodeProto, *initializers: onnx.TensorProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph([node], "g", [], [value], list(initializers)))


def external_tensor(name: str) -> onnx.TensorProto:
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")
    return tensor


def test_the_shipped_set_is_the_listed_set() -> None:
    assert weight_names() == sorted([*NAMES, *OWN_NAMES])
    assert {p.stem for p in MODELS_FOLDER.glob("*.onnx")} == {*NAMES, *OWN_NAMES}
    assert {p.stem for p in MODELS_FOLDER.glob("*.safetensors")} == set(OWN_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_file_has_a_complete_card(name: str) -> None:
    card, content = read_weight(name)
    assert card.bytes == len(content)
    assert "MIT License" in (MODELS_FOLDER / card.licence.text_file).read_text()
    assert card.training.data
    assert card.training.consent_basis
    assert card.known_failures
    assert card.measured
    assert all(len(digest) == 64 for digest in card.origin.files.values())
    assert card.origin.graph in card.origin.files


@pytest.mark.parametrize("name", OWN_NAMES)
def test_our_own_weights_tell_how_they_came_about(name: str) -> None:
    card, content = read_weight(name)
    assert card.bytes == len(content)
    require_plain_onnx(content, card.file)
    assert "Apache License" in (MODELS_FOLDER / card.licence.text_file).read_text()
    assert card.origin.package == OWN
    assert (ROOT / card.origin.graph).is_file()
    assert card.training.consent_basis.startswith("none needed")
    assert card.run is not None
    assert card.run.purpose == "release_training"
    assert card.origin.files == {"ledger.jsonl": card.run.ledger_sha256}
    assert card.twin is not None
    twin = (MODELS_FOLDER / card.twin.file).read_bytes()
    assert (card.twin.bytes, card.twin.sha256) == (len(twin), hashlib.sha256(twin).hexdigest())
    assert card.tensors
    assert card.known_failures
    assert card.measured


def test_the_weights_stay_small() -> None:
    assert sum(load_card(name).bytes for name in NAMES) < 24_000_000


def test_the_page_is_what_the_cards_say() -> None:
    assert (ROOT / "docs" / "models.md").read_text() == describe_models()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(WeightRefused, match="no card") as caught:
        open_session("../../etc/passwd")
    assert "blazeface" in caught.value.mend


def test_one_altered_byte_is_refused(folder: Path) -> None:
    content = bytearray((folder / "blazeface.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "blazeface.onnx").write_bytes(content)
    assert "sha256" in refuse_in(folder).message


def test_the_digest_is_checked_before_parsing(folder: Path) -> None:
    (folder / "blazeface.onnx").write_bytes(b"not a graph at all")
    assert "its card says" in refuse_in(folder).message


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "blazeface.onnx").unlink()
    assert "cannot be read" in refuse_in(folder).message


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused_even_with_a_card(folder: Path, protocol: int) -> None:
    replace_weight(folder, pickle.dumps({"weights": [1, 2]}, protocol=protocol))
    assert "pickle" in refuse_in(folder).message


@pytest.mark.parametrize("content", [b"PK\x03\x04 archive", b"", b"\xff" * 64, b"text"])
def test_other_formats_are_refused_even_with_a_card(folder: Path, content: bytes) -> None:
    replace_weight(folder, content)
    refuse_in(folder)


def test_a_graph_that_cannot_run_is_refused(folder: Path) -> None:
    node = helper.make_node("NoSuchOperation", [], ["y"])
    replace_weight(folder, small_graph(node).SerializeToString())
    assert "onnxruntime" in refuse_in(folder).message


def test_external_data_is_refused_in_initializers(folder: Path) -> None:
    node = helper.make_node("Identity", ["w"], ["y"])
    content = small_graph(node, external_tensor("w")).SerializeToString()
    replace_weight(folder, content)
    assert "outside the file" in refuse_in(folder).message


def test_external_data_is_refused_in_attributes() -> None:
    node = helper.make_node("Constant", [], ["y"], value=external_tensor("c"))
    with pytest.raises(WeightRefused, match="outside the file"):
        require_plain_onnx(small_graph(node).SerializeToString(), "file")


def test_external_data_is_refused_in_subgraphs() -> None:
    inner = small_graph(helper.make_node("Identity", ["w"], ["y"]), external_tensor("w")).graph
    plain = small_graph(helper.make_node("Constant", [], ["y"], value_float=1.0)).graph
    node = helper.make_node("If", ["c"], ["y"], then_branch=plain, else_branch=inner)
    with pytest.raises(WeightRefused, match="outside the file"):
        require_plain_onnx(small_graph(node).SerializeToString(), "file")


def test_external_data_is_refused_in_functions() -> None:
    model = small_graph(helper.make_node("Identity", ["w"], ["y"]))
    inner = helper.make_node("Constant", [], ["y"], value=external_tensor("c"))
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("own", "f", [], ["y"], [inner], [opset]))
    with pytest.raises(WeightRefused, match="outside the file"):
        require_plain_onnx(model.SerializeToString(), "file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('task = "detection"', 'task = "magic"'),
        ("bytes =", "octets ="),
        ("side_px = 256", 'side_px = "256"'),
        ('name = "blazeface"', 'name = "other"'),
        ('file = "blazeface.onnx"', 'file = "../blazeface.onnx"'),
        ("levels = [[16, 2], [32, 6]]", "levels = ["),
    ],
    ids=["task", "unknown-field", "type", "name", "folder", "toml"],
)
def test_incomplete_cards_are_refused(folder: Path, old: str, new: str) -> None:
    path = folder / "blazeface.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    refuse_in(folder)


def test_a_number_that_the_card_does_not_state_is_refused() -> None:
    with pytest.raises(WeightRefused, match="does not state flag_threshold"):
        load_card("blazeface").number("flag_threshold")


def test_a_session_needs_a_thread() -> None:
    with pytest.raises(WeightRefused, match="thread"):
        session_options(0)


def test_a_wrong_input_is_refused_by_name() -> None:
    session = open_session("blazeface")
    with pytest.raises(WeightRefused, match="could not run"):
        session.run(np.zeros((10, 10, 3), np.uint8))


def test_preprocessing_comes_from_the_card() -> None:
    """The same black square through another offset gives other scores."""
    square = np.zeros((256, 256, 3), np.uint8)
    first = open_session("blazeface").run(square)["scores_near"]
    session = open_session("blazeface")
    contract = session.card.picture.model_copy(update={"offset": 0.0})
    session.card = session.card.model_copy(update={"input": contract})
    assert not np.allclose(first, session.run(square)["scores_near"])


def test_channel_order_and_means_come_from_the_card() -> None:
    """A net that wants BGR less its means gets them from the RGB square that `run` is given."""
    session = open_session("faceres")
    fed: list[np.ndarray] = []

    class Runtime:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            fed.append(inputs["image"])
            return [np.zeros(1, np.float32) for _ in names]

    session._session = Runtime()
    square = np.zeros((224, 224, 3), np.uint8)
    square[..., 0] = 200  # red
    session.run(square)
    (batch,) = fed
    assert (batch.shape, batch.dtype) == ((1, 224, 224, 3), np.float32)
    np.testing.assert_allclose(batch[0, 0, 0], [-103.939, -116.779, 200 - 123.68], rtol=1e-6)


def test_fractions_of_a_grey_level_are_kept() -> None:
    """Resized pictures are not rounded on their way into a net."""
    session = open_session("nsfwjs-mid")
    square = np.full((224, 224, 3), 100, np.float32)
    first = session.run(square)["classes"]
    assert np.array_equal(first, session.run(square.astype(np.uint8))["classes"])
    assert not np.array_equal(first, session.run(square + np.float32(0.4))["classes"])


def test_the_page_says_which_numbers_are_subtracted() -> None:
    page = describe_models()
    assert "pixel * 1.000000 + 0 - (103.939, 116.779, 123.68), NHWC." in page
    assert "pixel * 0.003922 + 0, NHWC." in page


def test_the_normal_path_never_imports_torch() -> None:
    script = (
        "import sys; from generator.faces import open_analyser; open_analyser(); "
        "import generator.matching, generator.donotswap; "
        "from generator.nudity import open_nudity_gate; open_nudity_gate(); "
        "from generator.age import open_age_gate; open_age_gate(); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 0
