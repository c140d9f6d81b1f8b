from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from generator import insight
from generator.detection import FaceDetector, anchor_centres, open_detector, overlap
from generator.errors import PackMissing, ShapeError, WeightRefused
from generator.faces import IdThresholds, only_face, open_analyser
from generator.fit import fit_similarity_2d
from generator.insight import (
    IdNet,
    InsightFacePack,
    crop_template,
    open_id_net,
    six_points,
)
from generator.landmarks import FaceMesher, open_mesher
from generator.weights import MODELS_FOLDER, load_card, read_weight

Frame = npt.NDArray[np.uint8]
LIMITS = IdThresholds(match=0.3, mismatch=0.5)

# SCRFD at 256 px answers 2 x 32 x 32 slots at stride 8, 2 x 16 x 16 at 16, 2 x 8 x 8 at 32.
SLOTS = {8: 2048, 16: 512, 32: 128}


@pytest.fixture(scope="module")
def id_net() -> IdNet:
    return open_id_net(threads=1)


@pytest.fixture(scope="module")
def eyes_of_the_machine() -> tuple[FaceDetector, FaceMesher]:
    return open_detector(threads=1), open_mesher(threads=1)


@pytest.fixture
def person(demo_picture: Callable[[str], bytes]) -> Frame:
    data = np.frombuffer(demo_picture("persona1_0"), np.uint8)
    frame: Frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return frame


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def mesh_of(frame: Frame, eyes: tuple[FaceDetector, FaceMesher]) -> npt.NDArray[np.float32]:
    (found,) = eyes[0].detect(frame)
    marks = eyes[1].fit(frame, found.points)
    assert marks is not None
    return marks.mesh


def scrfd_model() -> onnx.ModelProto:
    """Our first detector, answering as an SCRFD would: the 896 boxes in the slots of stride 8."""
    inner = onnx.load(str(MODELS_FOLDER / "blazeface.onnx")).graph
    slots = np.stack(np.mgrid[:32, :32][::-1], axis=-1).reshape(-1, 2) * 8.0
    slots = np.repeat(slots, 2, axis=0)[:896].astype(np.float32)
    to_slot = (anchor_centres(256, [(16, 2), (32, 6)]) - slots).astype(np.float32)
    # columns of left, top, right, bottom = half size -+ centre; points = offset to the slot
    sides = np.array([[-1, 0, 1, 0], [0, -1, 0, 1]], np.float32)
    halves = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]], np.float32)
    marks = np.zeros((12, 10), np.float32)
    for column, (point, eye_share) in enumerate(((0, 0), (1, 0), (2, 0), (3, -0.4), (3, 0.4))):
        for axis in (0, 1):
            marks[2 * point + axis, 2 * column + axis] += 1
            marks[2 * 1 + axis, 2 * column + axis] += eye_share
            marks[2 * 0 + axis, 2 * column + axis] -= eye_share
    constants = {
        "gain": np.array(128 / 127.5, np.float32),
        "slot": to_slot,
        "slot5": np.tile(to_slot, 5),
        "sides": sides,
        "halves": halves,
        "marks": marks,
        "stride": np.array(8, np.float32),
        "flat": np.array([0], np.int64),
        "rest": np.array([0, 0, SLOTS[8] - 896, 0], np.int64),
        **{
            f"{kind}{stride}": np.zeros((SLOTS[stride], width), np.float32)
            for stride in (16, 32)
            for kind, width in (("score", 1), ("box", 4), ("kps", 10))
        },
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["fed"], ["nhwc"], perm=[0, 2, 3, 1]),
        node("Mul", ["nhwc", "gain"], ["image"]),
        *inner.node,
        node("Concat", ["scores_near", "scores_far"], ["logits3"], axis=1),
        node("Concat", ["boxes_near", "boxes_far"], ["rows3"], axis=1),
        node("Squeeze", ["logits3", "flat"], ["logits"]),
        node("Squeeze", ["rows3", "flat"], ["rows"]),
        node("Sigmoid", ["logits"], ["scores"]),
        node("Split", ["rows", "parts"], ["centre", "size", "points"], axis=1),
        node("Add", ["centre", "slot"], ["placed"]),
        node("MatMul", ["placed", "sides"], ["far"]),
        node("MatMul", ["size", "halves"], ["near"]),
        node("Add", ["far", "near"], ["reach"]),
        node("MatMul", ["points", "marks"], ["five"]),
        node("Add", ["five", "slot5"], ["placed5"]),
        node("Div", ["reach", "stride"], ["box8short"]),
        node("Div", ["placed5", "stride"], ["kps8short"]),
        node("Pad", ["scores", "rest"], ["s8"]),
        node("Pad", ["box8short", "rest"], ["b8"]),
        node("Pad", ["kps8short", "rest"], ["k8"]),
        *(
            node("Identity", [f"{kind}{stride}"], [f"{kind[0]}{stride}"])
            for kind in ("score", "box", "kps")
            for stride in (16, 32)
        ),
    ]
    constants["parts"] = np.array([2, 2, 12], np.int64)
    outputs = [
        helper.make_tensor_value_info(f"{kind}{stride}", TensorProto.FLOAT, [count, width])
        for kind, width in (("s", 1), ("b", 4), ("k", 10))
        for stride, count in SLOTS.items()
    ]
    fed = helper.make_tensor_value_info("fed", TensorProto.FLOAT, [1, 3, 256, 256])
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "scrfd", [fed], outputs, [*inner.initializer, *initializers])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operator") / "own_pack"
    folder.mkdir()
    onnx.save(scrfd_model(), str(folder / "det_own.onnx"))
    shutil.copy(MODELS_FOLDER / "idnet.onnx", folder / "rec_own.onnx")
    return folder


def test_similarity_of_exact_points_is_exact() -> None:
    rng = np.random.default_rng(7)
    points = rng.uniform(0, 100, (5, 2))
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    found, shift = fit_similarity_2d(points, points @ turn.T + [3, -9])
    np.testing.assert_allclose(found, turn)
    np.testing.assert_allclose(shift, [3, -9])


def test_similarity_never_mirrors() -> None:
    points = np.array([[0, 0], [4, 0], [4, 2], [0, 2.0]])
    turn, _ = fit_similarity_2d(points, points * [-1, 1])
    assert np.linalg.det(turn) >= 0


def test_points_in_one_place_are_refused() -> None:
    with pytest.raises(ShapeError):
        fit_similarity_2d(np.ones((5, 2)), np.ones((5, 2)))


def test_the_template_is_the_librarys_own() -> None:
    """In a frame where the marks are the template, norm_crop is the identity."""
    frame = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    with insight._no_future_warnings():
        crop = insight.face_align.norm_crop(frame, crop_template(256).astype(np.float32), 256)
    assert np.abs(crop.astype(int) - frame).max() <= 1


def test_the_id_net_is_the_librarys_recognition_class(id_net: IdNet) -> None:
    assert isinstance(id_net._net, insight.ArcFaceONNX)
    assert id_net._net.input_size == (256, 256)
    # the library must not take our graph for one that normalises by itself
    assert (id_net._net.input_mean, id_net._net.input_std) == (127.5, 127.5)
    assert id_net.models == {"idnet": load_card("idnet").sha256}


def test_alignment_puts_the_eye_corners_where_the_card_says(
    id_net: IdNet, eyes_of_the_machine: tuple[FaceDetector, FaceMesher], person: Frame
) -> None:
    crop = id_net.align(person, mesh_of(person, eyes_of_the_machine))
    assert crop.shape == (256, 256, 3)
    again = mesh_of(crop, eyes_of_the_machine)
    for index, x, y in load_card("idnet").alignment:
        np.testing.assert_allclose(again[index, :2], [x, y], atol=9)


def test_size_and_tilt_of_the_picture_do_not_change_the_vector(
    id_net: IdNet, eyes_of_the_machine: tuple[FaceDetector, FaceMesher], person: Frame
) -> None:
    vector = id_net.embed(person, mesh_of(person, eyes_of_the_machine))
    large = cv2.resize(person, (1400, 1400), interpolation=cv2.INTER_CUBIC)
    tilt = cv2.getRotationMatrix2D((256, 256), 12, 1)
    tilted = cv2.warpAffine(person, tilt, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    for other in (large, tilted):
        moved = id_net.embed(other, mesh_of(other, eyes_of_the_machine))
        assert np.linalg.norm(vector - moved) < 0.2


def test_embedding_is_finite_float32(
    id_net: IdNet, eyes_of_the_machine: tuple[FaceDetector, FaceMesher], person: Frame
) -> None:
    vector = id_net.embed(person, mesh_of(person, eyes_of_the_machine))
    assert vector.shape == (128,)
    assert vector.dtype == np.float32
    assert 1.0 < np.linalg.norm(vector) < 1.8


@pytest.mark.parametrize(
    "mesh",
    [
        np.zeros((468, 3), np.float32),
        np.full((468, 3), np.nan, np.float32),
        np.zeros((10, 3), np.float32),
    ],
)
def test_malformed_meshes_have_no_vector(
    id_net: IdNet, person: Frame, mesh: npt.NDArray[np.float32]
) -> None:
    with pytest.raises(ShapeError):
        id_net.embed(person, mesh)


def test_a_graph_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo answers None for a shape it does not route; that must not pass."""
    odd = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 150, 150])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 150, 150])],
    )
    opset = [helper.make_opsetid("", 17)]
    content = helper.make_model(odd, ir_version=8, opset_imports=opset).SerializeToString()
    monkeypatch.setattr(insight, "read_weight", lambda _: (load_card("idnet"), content))
    with pytest.raises(WeightRefused, match="not routed") as caught:
        open_id_net()
    assert caught.value.code == "WEIGHT-REFUSED"


def test_a_card_without_thresholds_is_refused() -> None:
    card, _ = read_weight("idnet")
    with pytest.raises(WeightRefused):
        IdNet(card.model_copy(update={"thresholds": None}), open_id_net()._net)


def test_five_points_become_six() -> None:
    five = np.array([[10, 10], [30, 12], [20, 20], [12, 30], [28, 32]], np.float64)
    points = six_points(five)
    np.testing.assert_array_equal(points[3], [20, 31])
    np.testing.assert_array_equal(points[:3], five[:3])


@pytest.mark.usefixtures("no_network")
def test_an_operators_pack_is_a_second_analyser(pack: Path, person: Frame) -> None:
    analyser = InsightFacePack(pack, thresholds=LIMITS)
    assert analyser.id_model == "pack/rec_own"
    assert analyser.thresholds is LIMITS
    assert set(analyser.models) == {"pack/det_own", "pack/rec_own", "facemesh-attention-pinto"}
    face = only_face(analyser.analyse(person))
    ours = only_face(open_analyser().analyse(person))
    assert overlap(face.box, ours.box) > 0.7
    np.testing.assert_allclose(face.mesh, ours.mesh, atol=6)
    assert np.linalg.norm(face.id_vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("no_network")
def test_a_pack_separates_people(pack: Path, demo_picture: Callable[[str], bytes]) -> None:
    analyser = InsightFacePack(pack, thresholds=LIMITS)
    vectors = {}
    for name in ("persona1_0", "persona1_1", "persona3_0"):
        data = np.frombuffer(demo_picture(name), np.uint8)
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
        vectors[name] = only_face(analyser.analyse(frame)).id_vector
    same = np.linalg.norm(vectors["persona1_0"] - vectors["persona1_1"])
    different = np.linalg.norm(vectors["persona1_0"] - vectors["persona3_0"])
    assert same < different


def test_a_pack_finds_nothing_in_a_blank_frame(pack: Path) -> None:
    analyser = InsightFacePack(pack, thresholds=LIMITS)
    assert analyser.analyse(np.full((256, 256, 3), 90, np.uint8)) == []
    with pytest.raises(ShapeError):
        analyser.analyse(np.zeros((256, 256), np.uint8))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("make", [False, True], ids=["absent", "empty"])
def test_a_missing_pack_is_our_error_and_no_download(
    tmp_path: Path, make: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "buffalo_l"
    if make:
        folder.mkdir()
    with pytest.raises(PackMissing, match="no InsightFace pack") as caught:
        InsightFacePack(folder, thresholds=LIMITS)
    assert caught.value.code == "PACK-MISSING"
    assert "never downloads" in caught.value.mend
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kept", ["det_own.onnx", "rec_own.onnx"])
def test_half_a_pack_is_missing_the_other_half(pack: Path, tmp_path: Path, kept: str) -> None:
    shutil.copy(pack / kept, tmp_path / kept)
    with pytest.raises(PackMissing) as caught:
        InsightFacePack(tmp_path, thresholds=LIMITS)
    missing = "identity net" if kept.startswith("det") else "face detector"
    assert missing in caught.value.message


def test_a_pack_with_a_pickle_is_refused(pack: Path, tmp_path: Path) -> None:
    for name in ("det_own.onnx", "rec_own.onnx"):
        shutil.copy(pack / name, tmp_path / name)
    (tmp_path / "extra.onnx").write_bytes(b"\x80\x04 not a graph")
    with pytest.raises(WeightRefused, match="pickle"):
        InsightFacePack(tmp_path, thresholds=LIMITS)


def test_a_pack_whose_graph_cannot_run_is_refused(pack: Path, tmp_path: Path) -> None:
    shutil.copy(pack / "det_own.onnx", tmp_path / "det_own.onnx")
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("NoSuchOperation", [], ["y"])], "g", [], [value])
    onnx.save(helper.make_model(graph), str(tmp_path / "rec_own.onnx"))
    with pytest.raises(WeightRefused, match="could not be loaded"):
        InsightFacePack(tmp_path, thresholds=LIMITS)


def test_a_pack_that_fails_on_a_frame_gives_our_error(pack: Path, person: Frame) -> None:
    analyser = InsightFacePack(pack, thresholds=LIMITS)
    analyser._analysis.models["recognition"].input_name = "no_such_input"
    with pytest.raises(WeightRefused, match="failed on a frame"):
        analyser.analyse(person)
