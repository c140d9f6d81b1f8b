from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.detection import FaceDetector, open_detector
from generator.landmarks import (
    LEFT_EYE_INDICES,
    LIP_INDICES,
    MOUTH_CORNERS,
    RIGHT_EYE_INDICES,
    FaceMesher,
    Landmarks,
    crop_matrix,
    crop_points,
    open_mesher,
    pose_of,
    shrink_for,
    to_frame,
    warp_square,
)

Frame = npt.NDArray[np.uint8]
Fit = Callable[[Frame], Landmarks]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return open_detector(threads=1)


@pytest.fixture(scope="module")
def mesher() -> FaceMesher:
    return open_mesher(threads=1)


@pytest.fixture
def fit(detector: FaceDetector, mesher: FaceMesher) -> Fit:
    def run(frame: Frame) -> Landmarks:
        (found,) = detector.detect(frame)
        marks = mesher.fit(frame, found.points)
        assert marks is not None
        return marks

    return run


@pytest.fixture
def picture(demo_picture: Callable[[str], bytes]) -> Callable[[str], Frame]:
    def read(name: str) -> Frame:
        data = np.frombuffer(demo_picture(name), np.uint8)
        frame: Frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return frame

    return read


def turned(frame: Frame, degrees: float) -> Frame:
    """The frame rotated about its centre, counter-clockwise as the viewer sees it."""
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(frame, matrix, (width, height)).astype(np.uint8)


@pytest.mark.parametrize("indices", [LIP_INDICES, RIGHT_EYE_INDICES, LEFT_EYE_INDICES])
def test_refinement_tables_name_each_point_once(indices: tuple[int, ...]) -> None:
    assert len(indices) == (80 if indices is LIP_INDICES else 71)
    assert len(set(indices)) == len(indices)
    assert all(0 <= i < 468 for i in indices)


def test_the_crop_levels_the_eyes_and_keeps_the_scale() -> None:
    anchors = np.array([[100, 100], [140, 130], [105, 155]], np.float32)
    matrix = crop_matrix(anchors, 192, reach=1.9, drop=0.35)
    assert matrix is not None
    eyes = anchors[:2] @ matrix[:, :2].T + matrix[:, 2]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-4)
    assert eyes[0, 0] < 96 < eyes[1, 0]
    # eye distance 50 px, half side 1.9 * 50
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(192 / (2 * 1.9))


@pytest.mark.parametrize(
    "anchors", [np.zeros((3, 2)), np.full((3, 2), np.nan), np.full((3, 2), np.inf)]
)
def test_a_face_without_size_has_no_crop(anchors: npt.NDArray[np.float64]) -> None:
    with np.errstate(invalid="ignore"):
        assert crop_matrix(anchors.astype(np.float32), 192, reach=1.9, drop=0.35) is None


def test_points_go_back_to_where_they_came_from() -> None:
    anchors = np.array([[30, 40], [60, 35], [50, 70]], np.float32)
    matrix = crop_matrix(anchors, 192, reach=1.9, drop=0.35)
    assert matrix is not None
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 100, (7, 2))
    crop = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(to_frame(crop.astype(np.float32), matrix), points, atol=1e-3)
    depth = to_frame(np.array([[0, 0, 10]], np.float32), matrix)[0, 2]
    assert depth == pytest.approx(10 / np.hypot(matrix[0, 0], matrix[0, 1]), rel=1e-5)


@pytest.mark.parametrize(("scale", "side"), [(1.0, 240), (0.5, 240), (0.25, 120), (0.1, 48)])
def test_shrinking_before_sampling(scale: float, side: int) -> None:
    frame = np.full((240, 240, 3), 77, np.uint8)
    small, factor = shrink_for(frame, scale)
    assert small.shape == (side, side, 3)
    assert factor == pytest.approx(side / 240)
    assert (small == 77).all()


@pytest.mark.parametrize("scale", [1.0, 0.45, 0.22])
def test_a_mark_lands_where_the_matrix_says_at_every_scale(scale: float) -> None:
    frame = np.zeros((400, 400, 3), np.uint8)
    cv2.circle(frame, (220, 180), 12, (255, 255, 255), -1, cv2.LINE_AA)
    matrix = np.array([[scale, 0, 10.0], [0, scale, 5.0]])
    crop = warp_square(frame, matrix, 192 if scale < 1 else 400)
    ys, xs = np.nonzero(crop[..., 0] > 100)
    assert xs.mean() == pytest.approx(220 * scale + 10, abs=0.3)
    assert ys.mean() == pytest.approx(180 * scale + 5, abs=0.3)


def test_irises_sit_inside_the_eyes(fit: Fit, picture: Callable[[str], Frame]) -> None:
    marks = fit(picture("persona2_0"))
    for row, (outer, inner) in enumerate(((33, 133), (263, 362))):
        centre, corners = marks.iris[row, 0], marks.mesh[[outer, inner], :2]
        assert corners[:, 0].min() < centre[0] < corners[:, 0].max()
        width = np.ptp(corners[:, 0])
        assert np.linalg.norm(centre - corners.mean(axis=0)) < 0.3 * width
        rim = np.linalg.norm(marks.iris[row, 1:] - centre, axis=1)
        assert (rim > 0.1 * width).all()
        assert (rim < 0.4 * width).all()


def test_irises_lie_on_dark_pixels(fit: Fit, picture: Callable[[str], Frame]) -> None:
    frame = picture("persona1_0")
    marks = fit(frame)
    cheek = frame[tuple(marks.mesh[50, 1::-1].astype(int))].mean()
    for centre in marks.iris[:, 0]:
        assert frame[int(centre[1]), int(centre[0])].mean() < cheek - 40


def test_a_mirrored_picture_gives_the_mirrored_mesh(
    fit: Fit, picture: Callable[[str], Frame]
) -> None:
    frame = picture("persona3_1")
    marks, mirrored = fit(frame), fit(np.ascontiguousarray(frame[:, ::-1]))
    width = np.ptp(marks.mesh[:, 0])
    back = mirrored.iris[::-1, 0] * [-1, 1] + [511, 0]
    np.testing.assert_allclose(back, marks.iris[:, 0], atol=0.02 * width)
    swapped = mirrored.mesh[list(MOUTH_CORNERS[::-1]), :2] * [-1, 1] + [511, 0]
    np.testing.assert_allclose(swapped, marks.mesh[list(MOUTH_CORNERS), :2], atol=0.04 * width)
    assert mirrored.pose[0] == pytest.approx(-marks.pose[0], abs=4)


def test_turned_heads_have_the_right_sign(fit: Fit, picture: Callable[[str], Frame]) -> None:
    ahead, to_right, to_left = (fit(picture(f"persona2_{v}")).pose[0] for v in (0, 1, 2))
    assert abs(ahead) < 6
    assert to_right > 10
    assert to_left < -10


@pytest.mark.parametrize("degrees", [-25, 15])
def test_roll_is_the_tilt_of_the_picture(
    fit: Fit, picture: Callable[[str], Frame], degrees: int
) -> None:
    frame = picture("persona1_0")
    level, tilted = fit(frame).pose[2], fit(turned(frame, degrees)).pose[2]
    assert tilted - level == pytest.approx(-degrees, abs=4)


def test_pose_of_a_turned_mesh(fit: Fit, picture: Callable[[str], Frame]) -> None:
    mesh = fit(picture("persona4_0")).mesh
    yaw, pitch, _ = pose_of(mesh)
    angle = np.radians(20)
    about_y = np.array(
        [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]]
    )
    centred = mesh - mesh.mean(axis=0)
    turned_right = pose_of((centred @ about_y.T).astype(np.float32))
    turned_up = pose_of((centred @ about_x.T).astype(np.float32))
    assert turned_right[0] - yaw == pytest.approx(20, abs=2)
    assert turned_up[1] - pitch == pytest.approx(20, abs=2)


@pytest.mark.parametrize("kind", ["grey", "noise"])
def test_what_is_no_face_has_no_landmarks(mesher: FaceMesher, kind: str) -> None:
    frame = np.full((600, 600, 3), 140, np.uint8)
    if kind == "noise":
        frame = np.random.default_rng(2).integers(0, 256, frame.shape, dtype=np.uint8)
    points = np.array([[280, 280], [320, 280], [300, 300], [300, 320], [270, 285], [330, 285]])
    assert mesher.fit(frame, points.astype(np.float32)) is None


def test_points_outside_the_frame_are_no_fault(
    mesher: FaceMesher, picture: Callable[[str], Frame]
) -> None:
    points = np.full((6, 2), -500, np.float32)
    points[:, 0] += np.arange(6) * 30
    assert mesher.fit(picture("persona1_0"), points) is None


def test_a_face_cut_by_the_frame_still_fits(fit: Fit, picture: Callable[[str], Frame]) -> None:
    frame = picture("persona1_0")
    marks, cut = fit(frame), fit(np.ascontiguousarray(frame[:, 130:]))
    centres = crop_points(cut.mesh) + np.array([130, 0], np.float32)
    np.testing.assert_allclose(centres, crop_points(marks.mesh), atol=6)
