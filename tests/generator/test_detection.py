from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.detection import (
    LEFT_EYE,
    MOUTH,
    NOSE,
    RIGHT_EYE,
    TILE_MIN_PX,
    Detection,
    FaceDetector,
    anchor_centres,
    box_area,
    letterbox,
    merge,
    open_detector,
    overlap,
    tiles_of,
)
from generator.errors import WeightRefused

Frame = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return open_detector(threads=1)


@pytest.fixture
def person(demo_picture: Callable[[str], bytes]) -> Frame:
    data = np.frombuffer(demo_picture("persona1_0"), np.uint8)
    frame: Frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return frame


def hit(box: Box, score: float) -> Detection:
    return Detection(box, score, np.zeros((6, 2), np.float32))


def test_anchors_are_cell_centres_row_by_row() -> None:
    anchors = anchor_centres(8, [(4, 2), (8, 1)])
    expected = [(2, 2), (2, 2), (6, 2), (6, 2), (2, 6), (2, 6), (6, 6), (6, 6), (4, 4)]
    np.testing.assert_array_equal(anchors, expected)


def test_anchor_counts_of_the_shipped_detectors() -> None:
    assert anchor_centres(256, [(16, 2), (32, 6)]).shape == (512 + 384, 2)
    assert anchor_centres(192, [(4, 1)]).shape == (2304, 2)


@pytest.mark.parametrize("size", [(100, 400), (400, 100), (300, 300), (3000, 1000), (17, 16)])
def test_letterbox_maps_corners_into_the_square(size: tuple[int, int]) -> None:
    height, width = size
    frame = np.full((height, width, 3), 200, np.uint8)
    square, scale, shift = letterbox(frame, 256)
    assert square.shape == (256, 256, 3)
    low, high = shift, np.array([width, height]) * scale + shift
    assert (low >= 0).all()
    assert (high <= 256).all()
    assert max(high - low) == 256
    inside = square[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])]
    assert (inside == 200).all()
    assert int(square.astype(np.int64).sum()) == 200 * inside.size


def test_letterbox_turns_bgr_into_rgb() -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[..., 0] = 9  # blue
    assert letterbox(frame, 32)[0][5, 5].tolist() == [0, 0, 9]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 2, 2), (2, 2, 4, 4), 0.0),
        ((0, 0, 2, 2), (3, 3, 1, 1), 0.0),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0),
    ],
)
def test_overlap(a: Box, b: Box, expected: float) -> None:
    assert overlap(a, b) == pytest.approx(expected)
    assert overlap(b, a) == pytest.approx(expected)


def test_merge_keeps_the_best_of_one_face_and_every_other_face() -> None:
    weak, strong = hit((0, 0, 10, 10), 0.6), hit((1, 0, 11, 10), 0.9)
    other = hit((20, 0, 30, 10), 0.7)
    assert merge([weak, other, strong]) == [strong, other]


@pytest.mark.parametrize("size", [(1024, 768), (1280, 853), (4000, 3000), (9000, 1100)])
def test_tiles_cover_the_frame_and_overlap(size: tuple[int, int]) -> None:
    tiles = tiles_of(*size)
    assert 2 <= len(tiles) <= 16
    seen = np.zeros((size[1], size[0]), bool)
    for x0, y0, x1, y1 in tiles:
        assert max(x1 - x0, y1 - y0) >= min(TILE_MIN_PX, *size)
        seen[y0:y1, x0:x1] = True
    assert seen.all()
    xs = sorted({(x0, x1) for x0, _, x1, _ in tiles})
    for (_, end), (start, _) in pairwise(xs):
        assert end - start >= 0.24 * (xs[0][1] - xs[0][0])


def test_small_frames_are_not_tiled() -> None:
    assert tiles_of(1023, 700) == []


def test_key_points_lie_where_their_names_say(detector: FaceDetector, person: Frame) -> None:
    (found,) = detector.detect(person)
    points = found.points
    assert points[RIGHT_EYE, 0] < points[NOSE, 0] < points[LEFT_EYE, 0]
    assert points[RIGHT_EYE, 1] < points[NOSE, 1] < points[MOUTH, 1]
    assert abs(points[RIGHT_EYE, 1] - points[LEFT_EYE, 1]) < 10
    assert 0.5 < found.score <= 1
    assert 0.2 < box_area(found.box) / 512**2 < 0.5


def test_boxes_follow_the_picture(detector: FaceDetector, person: Frame) -> None:
    """The same face pasted elsewhere is found there, within a few pixels."""
    (alone,) = detector.detect(person)
    frame = np.full((600, 900, 3), 90, np.uint8)
    frame[50:562, 300:812] = person
    (moved,) = detector.detect(frame)
    shift = np.array([300, 50, 300, 50])
    np.testing.assert_allclose(np.array(moved.box) - shift, alone.box, atol=12)


@pytest.mark.parametrize("name", ["facemesh-detection-full", "blazeface"])
def test_each_detector_finds_the_face_by_itself(
    detector: FaceDetector, person: Frame, name: str
) -> None:
    nets = {net.card.name: net for net in (detector._first, detector._second)}
    (found,) = nets[name].detect(person)
    (both,) = detector.detect(person)
    assert overlap(found.box, both.box) > 0.6


def test_tiles_find_a_face_that_is_lost_in_a_large_frame(
    detector: FaceDetector, person: Frame
) -> None:
    frame = np.full((1500, 2000, 3), 120, np.uint8)
    small = cv2.resize(person, (100, 100), interpolation=cv2.INTER_AREA)
    frame[1380:1480, 1850:1950] = small
    assert detector._first.detect(frame) == []
    (found,) = detector.detect(frame)
    assert 1850 < found.box[0] < found.box[2] < 1950
    assert 1380 < found.box[1] < found.box[3] < 1480


def test_a_face_on_a_tile_border_is_found_once(detector: FaceDetector, person: Frame) -> None:
    frame = np.full((1100, 1600, 3), 120, np.uint8)
    frame[300:812, 400:912] = person
    assert len(detector.detect(frame)) == 1


def test_the_detector_names_its_files(detector: FaceDetector) -> None:
    assert set(detector.models) == {"blazeface", "facemesh-detection-full"}


def test_looks_side_by_side_find_what_looks_in_turn_find(person: Frame) -> None:
    """Tiles only come into it from 1024 px on."""
    large = cv2.resize(person, (1280, 1280), interpolation=cv2.INTER_CUBIC)
    assert tiles_of(1280, 1280)
    alone, together = (open_detector(threads=n).detect(large) for n in (1, 3))
    assert [hit.box for hit in alone] == [hit.box for hit in together]
    assert [hit.score for hit in alone] == [hit.score for hit in together]


def test_no_thread_is_refused_at_once() -> None:
    with pytest.raises(WeightRefused, match="thread"):
        open_detector(threads=0)
