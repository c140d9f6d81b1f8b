"""Eyes in a view: both are read as a pair, and hair over one makes them unlike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from generator.faces import FaceAnalyser, open_analyser
from generator.irises import IRIS_REACH, eye_likeness, eye_masks, tint_irises
from generator.laying import MIN_EYE_LIKENESS, require_uncovered
from generator.swapper import OutOfRange
from generator.topology import draw_outlines
from generator.view import View, view_face
from provenance.media import decode

Viewed = Callable[[str], View]


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return open_analyser()


@pytest.fixture
def viewed(analyser: FaceAnalyser, demo_picture: Callable[[str], bytes]) -> Viewed:
    def view(name: str) -> View:
        frame = decode(demo_picture(name)).frame
        return view_face(frame, analyser.analyse(frame)[0], 1.0)

    return view


def bounds(view: View, side: int) -> tuple[slice, slice]:
    """The box of one eye in its crop."""
    lids = draw_outlines(view.mesh).sockets[side]
    (x0, y0), (x1, y1) = lids.min(0).astype(int), lids.max(0).astype(int)
    return np.s_[y0:y1, x0:x1]


@pytest.mark.parametrize("name", ["persona1_0", "persona2_0", "persona3_2", "persona6_0"])
def test_eyes_of_one_face_are_alike(viewed: Viewed, name: str) -> None:
    assert eye_likeness(viewed(name)) > 0.5


def test_even_patches_are_like_nothing(viewed: Viewed) -> None:
    view = viewed("persona1_0")
    assert abs(eye_likeness(replace(view, lab=np.full_like(view.lab, 50.0)))) < 1e-6


@pytest.mark.parametrize("side", [0, 1])
def test_pale_strands_over_one_eye_are_refused(viewed: Viewed, side: int) -> None:
    view = viewed("persona2_0")
    require_uncovered(view, view)
    lab, box = view.lab.copy(), bounds(view, side)
    # Light where the eye is dark and as much contrast: colour and contrast do not show it.
    lab[box] = 2 * view.lab[box].mean((0, 1)) - view.lab[box]
    hidden = replace(view, lab=lab.astype(np.float32))
    with pytest.raises(OutOfRange) as caught:
        require_uncovered(hidden, view)
    assert "likeness of the source's eyes" in caught.value.message
    assert "shows both eyes" in caught.value.mend
    require_uncovered(view, hidden)  # a target may have hair over an eye: it stays in front


def test_the_limit_lets_its_own_value_pass(viewed: Viewed, monkeypatch: pytest.MonkeyPatch) -> None:
    view = viewed("persona1_0")
    for likeness, passes in ((MIN_EYE_LIKENESS, True), (MIN_EYE_LIKENESS - 1e-6, False)):
        monkeypatch.setattr("generator.irises.eye_likeness", lambda view, value=likeness: value)
        if passes:
            require_uncovered(view, view)
        else:
            with pytest.raises(OutOfRange):
                require_uncovered(view, view)


@pytest.mark.parametrize("side", [0, 1])
def test_masks_lie_in_the_eye_and_reach_further_than_what_is_measured(
    viewed: Viewed, side: int
) -> None:
    view = viewed("persona1_0")
    eye = eye_masks(view, side)
    assert eye is not None
    assert IRIS_REACH > 1
    assert not (eye.white * (eye.iris > 0.5)).any()
    assert eye.reach.max() > 0.9
    # Off the lids: less than the whole opening right beside them.
    assert eye.reach[[0, -1]].max() == 0


def test_an_iris_of_a_pixel_has_no_masks(viewed: Viewed) -> None:
    view = viewed("persona1_0")
    centre = view.iris[:, :1]
    assert eye_masks(replace(view, iris=centre + (view.iris - centre) * 0.05), 0) is None


def test_brown_eyes_make_blue_eyes_brown_and_leave_the_lids(viewed: Viewed) -> None:
    target, source = viewed("persona4_0"), viewed("persona2_0")
    out = tint_irises(target, source)
    changed = np.abs(out - target.lab).max(2) > 0.5
    assert changed.any()
    for side in (0, 1):
        eye = eye_masks(target, side)
        assert eye is not None
        before, after = (lab[eye.window][eye.iris > 0.9][:, 2] for lab in (target.lab, out))
        assert np.percentile(after, 20) > np.percentile(before, 20) + 8
        changed[eye.window] &= eye.reach == 0
    assert not changed.any()


def test_without_readable_eyes_the_target_is_as_it_was(viewed: Viewed) -> None:
    target, source = viewed("persona4_0"), viewed("persona2_0")
    covered = replace(source, cover=np.ones_like(source.cover))
    assert tint_irises(target, covered) is target.lab
