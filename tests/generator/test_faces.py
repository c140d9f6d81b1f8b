from __future__ import annotations

import socket
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.errors import ManyFaces, NoFace, ShapeError, WeightRefused
from generator.faces import (
    Face,
    FaceAnalyser,
    IdThresholds,
    face_area,
    only_face,
    open_analyser,
    require_frame,
)
from generator.matching import match, template_of

Frame = npt.NDArray[np.uint8]
Reader = Callable[[str], bytes]


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return open_analyser(threads=1)


@pytest.fixture
def picture(demo_picture: Reader) -> Callable[[str], Frame]:
    def read(name: str) -> Frame:
        data = np.frombuffer(demo_picture(name), np.uint8)
        frame: Frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return frame

    return read


def parts(**changes: object) -> dict[str, object]:
    """The parts of a well-formed face."""
    return {
        "box": (0.0, 0.0, 10.0, 10.0),
        "score": 0.9,
        "mesh": np.zeros((468, 3), np.float32),
        "iris": np.zeros((2, 5, 2), np.float32),
        "pose": (0.0, 0.0, 0.0),
        "id_vector": np.ones(128, np.float32),
    } | changes


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("mesh", np.zeros((467, 3), np.float32)),
        ("mesh", np.zeros((468, 2), np.float32)),
        ("mesh", np.zeros((468, 3), np.float64)),
        ("mesh", np.full((468, 3), np.nan, np.float32)),
        ("iris", np.zeros((5, 2, 2), np.float32)),
        ("iris", np.full((2, 5, 2), np.inf, np.float32)),
        ("id_vector", np.zeros((1, 128), np.float32)),
        ("id_vector", np.zeros(0, np.float32)),
        ("id_vector", [0.0] * 128),
    ],
)
def test_malformed_faces_cannot_be_made(part: str, value: object) -> None:
    with pytest.raises(ShapeError) as caught:
        Face(**parts(**{part: value}))  # type: ignore[arg-type]
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 0.5), (-1.0, 0.5), (0.6, 0.5), (float("nan"), 0.5), (0.4, float("nan")), (1, np.inf)],
)
def test_useless_thresholds_cannot_be_made(low: float, high: float) -> None:
    with pytest.raises(ShapeError):
        IdThresholds(low, high)


@pytest.mark.parametrize(
    "frame",
    [
        None,
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((8, 64, 3), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
    ],
    ids=["None", "grey", "alpha", "float", "thin", "empty"],
)
def test_other_frames_are_refused(frame: object) -> None:
    with pytest.raises(ShapeError):
        require_frame(frame)


def test_only_face_wants_exactly_one() -> None:
    face = Face(**parts())  # type: ignore[arg-type]
    assert only_face([face]) is face
    with pytest.raises(NoFace) as none:
        only_face([])
    with pytest.raises(ManyFaces) as many:
        only_face([face, face])
    assert (none.value.code, many.value.code) == ("NO-FACE", "MANY-FACES")
    assert many.value.mend


def test_the_analyser_says_what_it_runs(analyser: FaceAnalyser) -> None:
    assert analyser.id_model == "idnet"
    assert set(analyser.models) == {
        "blazeface",
        "facemesh-detection-full",
        "facemesh-attention-pinto",
        "idnet",
    }
    assert all(len(digest) == 64 for digest in analyser.models.values())
    assert (analyser.thresholds.match, analyser.thresholds.mismatch) == (0.45, 0.55)


@pytest.mark.parametrize("name", ["persona1_0", "persona2_1", "persona3_2", "persona8_0"])
def test_one_whole_face_in_each_demo_picture(
    analyser: FaceAnalyser, picture: Callable[[str], Frame], name: str
) -> None:
    face = only_face(analyser.analyse(picture(name)))
    x0, y0, x1, y1 = face.box
    assert 0 < x0 < x1 < 512
    assert 0 < y0 < y1 < 512
    assert face.id_vector.shape == (128,)
    centre = face.mesh[:, :2].mean(axis=0)
    assert x0 < centre[0] < x1
    assert y0 < centre[1] < y1
    # the subject's right eye is on the left of the picture
    assert face.iris[0, 0, 0] < face.iris[1, 0, 0]


def test_views_match_their_own_person_and_nobody_else(
    analyser: FaceAnalyser, picture: Callable[[str], Frame]
) -> None:
    views = {
        f"persona{p}_{v}": only_face(analyser.analyse(picture(f"persona{p}_{v}")))
        for p in (1, 2, 3, 4)
        for v in (0, 1, 2)
    }
    for person in ("persona1", "persona2", "persona3", "persona4"):
        enrolment = [views[f"{person}_1"], views[f"{person}_2"]]
        template = template_of(enrolment, thresholds=analyser.thresholds)
        for name, face in views.items():
            answer = match(face, template, analyser.thresholds).answer
            assert (answer == "match") == name.startswith(person), name


@pytest.mark.parametrize("change", ["mirror", "jpeg", "half"])
def test_identity_survives_what_pictures_go_through(
    analyser: FaceAnalyser, picture: Callable[[str], Frame], change: str
) -> None:
    frame = picture("persona4_0")
    changed = {
        "mirror": lambda: np.ascontiguousarray(frame[:, ::-1]),
        "jpeg": lambda: cv2.imdecode(
            cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
        ),
        "half": lambda: cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA),
    }[change]()
    face, other = only_face(analyser.analyse(frame)), only_face(analyser.analyse(changed))
    assert np.linalg.norm(face.id_vector - other.id_vector) < 0.4


def test_two_people_come_largest_first(
    analyser: FaceAnalyser, picture: Callable[[str], Frame]
) -> None:
    frame = np.zeros((512, 1024, 3), np.uint8)
    frame[128:384, 100:356] = cv2.resize(picture("persona1_0"), (256, 256))
    frame[:, 512:] = picture("persona2_0")
    faces = analyser.analyse(frame)
    assert len(faces) == 2
    assert face_area(faces[0]) > face_area(faces[1])
    assert faces[0].box[0] > 512 > faces[1].box[2]


def test_blank_and_noisy_frames_have_no_face(analyser: FaceAnalyser) -> None:
    assert analyser.analyse(np.full((300, 400, 3), 128, np.uint8)) == []
    noise = np.random.default_rng(5).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert analyser.analyse(noise) == []


def test_the_same_frame_gives_the_same_face(
    analyser: FaceAnalyser, picture: Callable[[str], Frame]
) -> None:
    first, second = (only_face(analyser.analyse(picture("persona7_0"))) for _ in range(2))
    np.testing.assert_array_equal(first.mesh, second.mesh)
    np.testing.assert_array_equal(first.id_vector, second.id_vector)


def test_the_frame_is_left_alone(analyser: FaceAnalyser, picture: Callable[[str], Frame]) -> None:
    frame = picture("persona5_0")
    frame.flags.writeable = False
    before = frame.copy()
    assert analyser.analyse(frame)
    np.testing.assert_array_equal(frame, before)


def test_opening_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert open_analyser(threads=1).id_model == "idnet"


def test_threads_are_checked() -> None:
    with pytest.raises(WeightRefused):
        open_analyser(threads=0)


def test_lazy_names_of_the_package() -> None:
    import generator  # noqa: PLC0415

    assert generator.Face is Face
    assert generator.open_analyser is open_analyser
    assert {"Face", "open_analyser", "open_swapper", "swap_faces"} <= set(dir(generator))
    with pytest.raises(AttributeError):
        _ = generator.no_such_name
