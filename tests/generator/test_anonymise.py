"""Blurred heads: nobody is found or known in them, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.anonymise import CELLS, blur_faces, head_region
from generator.errors import ShapeError
from generator.faces import StackAnalyser, only_face, open_analyser
from provenance.media import decode

Frame = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def analyser() -> StackAnalyser:
    found = open_analyser()
    assert isinstance(found, StackAnalyser)
    return found


@pytest.fixture
def person(demo_picture: Callable[[str], bytes]) -> Callable[[str], Frame]:
    return lambda name: decode(demo_picture(name)).frame


def noise(height: int = 120, width: int = 160, seed: int = 1) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


PEOPLE = ["persona1_0", "persona2_1", "persona3_2", "persona4_0", "persona5_0", "persona8_0"]


@pytest.mark.parametrize("name", PEOPLE)
def test_a_blurred_person_is_neither_found_nor_known(
    analyser: StackAnalyser, person: Callable[[str], Frame], name: str
) -> None:
    frame = person(name)
    face = only_face(analyser.analyse(frame))
    blurred = blur_faces(frame, [face.box])
    assert analyser.locate(blurred) == []
    # Somebody who knows where the face was still cannot tell whose it was.
    again = analyser._id_net.embed(blurred, face.mesh)
    assert np.linalg.norm(again - face.id_vector) > analyser.thresholds.mismatch


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_sharpening_does_not_bring_a_face_back(
    analyser: StackAnalyser, person: Callable[[str], Frame], gain: float
) -> None:
    frame = person("persona1_0")
    face = only_face(analyser.analyse(frame))
    blurred = blur_faces(frame, [face.box]).astype(np.float32)
    for radius in (3, 20, 60):
        detail = blurred - cv2.GaussianBlur(blurred, (0, 0), radius)
        sharp = np.clip(blurred + gain * detail, 0, 255).astype(np.uint8)
        again = analyser._id_net.embed(sharp, face.mesh)
        assert np.linalg.norm(again - face.id_vector) > analyser.thresholds.mismatch
        # What looks like a face then is nobody's.
        for found in analyser.analyse(sharp):
            apart = np.linalg.norm(found.id_vector - face.id_vector)
            assert apart > analyser.thresholds.mismatch


def test_nothing_but_the_means_of_the_cells_enters() -> None:
    """Two pictures whose cells have the same means give the same pixels, whatever the detail."""
    box, shape = (50.0, 50.0, 90.0, 90.0), (150, 150)
    left, top, right, bottom = head_region(box, shape)
    height, width = bottom - top, right - left
    cells = [max(1, round(side * CELLS / max(height, width))) for side in (height, width)]
    flat = np.full((*shape, 3), 128, np.uint8)
    other = flat.copy()
    # Inside one cell, what is taken from one pixel is given to its neighbour.
    row, column = top + height // cells[0] // 2, left + width // cells[1] // 2
    other[row, column], other[row, column + 1] = 28, 228
    assert np.array_equal(blur_faces(flat, [box]), blur_faces(other, [box]))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    left=st.floats(-80, 150),
    top=st.floats(-80, 110),
    width=st.floats(0.5, 300),
    height=st.floats(0.5, 300),
)
def test_only_the_grown_box_changes_wherever_it_lies(
    left: float, top: float, width: float, height: float
) -> None:
    frame = noise()
    box = (left, top, left + width, top + height)
    try:
        x0, y0, x1, y1 = head_region(box, frame.shape)
    except ShapeError:
        with pytest.raises(ShapeError):
            blur_faces(frame, [box])
        return
    assert 0 <= x0 < x1 <= 160
    assert 0 <= y0 < y1 <= 120
    # Everything of the face itself that is in the frame is covered.
    assert x0 <= max(0, left)
    assert x1 >= min(160, left + width)
    assert y0 <= max(0, top)
    assert y1 >= min(120, top + height)
    changed = (blur_faces(frame, [box]) != frame).any(2)
    outside = np.ones(changed.shape, bool)
    outside[y0:y1, x0:x1] = False
    assert not changed[outside].any()


def test_the_frame_that_was_handed_in_stays() -> None:
    frame = noise()
    before = frame.copy()
    blurred = blur_faces(frame, [(40, 40, 80, 80)])
    assert np.array_equal(frame, before)
    assert not np.array_equal(blurred, before)
    frame.setflags(write=False)
    assert np.array_equal(blur_faces(frame, [(40, 40, 80, 80)]), blurred)


def test_without_boxes_nothing_changes() -> None:
    assert np.array_equal(blur_faces(noise(), []), noise())


def test_heads_that_overlap_are_all_blurred() -> None:
    frame = noise()
    boxes = [(30, 30, 70, 70), (60, 30, 100, 70)]
    blurred = blur_faces(frame, boxes)
    for box in boxes:
        x0, y0, x1, y1 = head_region(box, frame.shape)
        assert blurred[y0:y1, x0:x1].std() < 0.5 * frame[y0:y1, x0:x1].std()


def test_the_region_grows_by_the_stated_shares() -> None:
    assert head_region((100, 100, 200, 200), (1000, 1000, 3)) == (65, 40, 235, 230)
    assert head_region((0, 0, 10, 10), (5, 5)) == (0, 0, 5, 5)


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (20, 10, 10, 20),
        (10, 20, 20, 10),
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), 10),
        (0, 0, 10),
        (300, 0, 310, 10),
        (-50, 0, -40, 10),
        (0, 400, 10, 410),
    ],
)
def test_boxes_that_hide_nobody_are_refused(box: Any) -> None:
    """A box that does nothing would leave a face in the picture."""
    with pytest.raises(ShapeError) as caught:
        blur_faces(noise(), [(40, 40, 80, 80), box])
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize("frame", [None, np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3))])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    with pytest.raises(ShapeError):
        blur_faces(frame, [])
