from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.errors import EnrolmentRefused, NoFace, ShapeError
from generator.faces import Face, IdThresholds
from generator.matching import Match, answer_for, match, template_of

LIMITS = IdThresholds(match=0.45, mismatch=0.55)


def face_with(vector: npt.NDArray[np.float32]) -> Face:
    mesh, iris = np.zeros((468, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    return Face((0, 0, 9, 9), 0.9, mesh, iris, (0, 0, 0), vector)


def axis_vector(*values: float) -> npt.NDArray[np.float32]:
    vector = np.zeros(128, np.float32)
    vector[: len(values)] = values
    return vector


@pytest.mark.parametrize(
    ("distance", "answer"),
    [
        (0.0, "match"),
        (0.45, "match"),
        (0.4501, "ambiguous"),
        (0.55, "ambiguous"),
        (0.5501, "mismatch"),
        (9.0, "mismatch"),
        (math.inf, "mismatch"),
        (math.nan, "mismatch"),
        (-1.0, "mismatch"),
    ],
)
def test_answers_at_the_limits(distance: float, answer: str) -> None:
    assert answer_for(distance, LIMITS) == answer


def test_match_reports_the_distance() -> None:
    result = match(face_with(axis_vector(1.0, 0.3)), axis_vector(1.0), LIMITS)
    assert result == Match("match", pytest.approx(0.3, abs=1e-6))


def test_distance_is_euclidean_and_not_cosine() -> None:
    result = match(face_with(axis_vector(2.0)), axis_vector(1.0), LIMITS)
    assert result == Match("mismatch", pytest.approx(1.0))


@pytest.mark.parametrize(
    "template",
    [
        np.full(128, np.nan, np.float32),
        np.full(128, np.inf, np.float32),
        np.zeros(128, np.float32),
        np.ones(127, np.float32),
        np.ones(0, np.float32),
        np.ones((1, 128), np.float32),
        np.ones(128, np.float64),
        [1.0] * 128,
        None,
    ],
    ids=["nan", "inf", "empty", "short", "none-long", "two-axes", "float64", "list", "None"],
)
def test_malformed_templates_never_match(template: object) -> None:
    with pytest.raises(ShapeError) as caught:
        match(face_with(np.ones(128, np.float32)), template, LIMITS)  # type: ignore[arg-type]
    assert caught.value.code == "SHAPE-ERROR"


def test_an_empty_face_vector_is_refused() -> None:
    with pytest.raises(ShapeError):
        match(face_with(np.zeros(128, np.float32)), axis_vector(1.0), LIMITS)


def test_a_vector_that_was_spoilt_after_construction_is_refused() -> None:
    face = face_with(axis_vector(1.0))
    face.id_vector[5] = np.nan
    with pytest.raises(ShapeError):
        match(face, axis_vector(1.0), LIMITS)


def test_thresholds_must_be_checked_ones() -> None:
    with pytest.raises(ShapeError):
        match(face_with(axis_vector(1.0)), axis_vector(1.0), (0.45, 0.55))  # type: ignore[arg-type]


def test_template_is_the_mean_of_the_enrolment() -> None:
    faces = [face_with(axis_vector(1.0, 0.2)), face_with(axis_vector(1.0, -0.2))]
    template = template_of(faces, thresholds=LIMITS)
    assert template.dtype == np.float32
    np.testing.assert_allclose(template, axis_vector(1.0), atol=1e-7)


def test_template_of_one_face_is_that_face() -> None:
    vector = axis_vector(0.9, 0.4)
    np.testing.assert_array_equal(template_of([face_with(vector)], thresholds=LIMITS), vector)


def test_two_people_are_not_enrolled_as_one() -> None:
    faces = [face_with(axis_vector(1.0)), face_with(axis_vector(0.0, 1.0))]
    with pytest.raises(EnrolmentRefused) as caught:
        template_of(faces, thresholds=LIMITS)
    assert caught.value.code == "ENROLMENT-REFUSED"
    assert caught.value.mend


def test_an_enrolment_needs_a_face() -> None:
    with pytest.raises(NoFace):
        template_of([], thresholds=LIMITS)


def test_vectors_of_two_nets_do_not_mix() -> None:
    faces = [face_with(axis_vector(1.0)), face_with(np.ones(512, np.float32))]
    with pytest.raises(ShapeError):
        template_of(faces, thresholds=LIMITS)


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.floats(width=32), min_size=0, max_size=6))
def test_only_close_finite_vectors_match(values: list[float]) -> None:
    """Whatever a stored template holds, "match" means a finite distance within the limit."""
    template = np.array(values, np.float32)
    face = face_with(np.array([1, 0, 0, 0], np.float32))
    try:
        answer, distance = match(face, template, LIMITS)
    except ShapeError:
        return
    assert np.isfinite(template).all()
    assert template.shape == (4,)
    assert (answer == "match") == (distance <= LIMITS.match)
