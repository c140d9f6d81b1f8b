"""Styles are drawn on the one person who consented, inside the face, and alike every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.errors import SwapRefused
from generator.faces import Face
from generator.ledger_pair import LedgerPair
from generator.styles import StyleRefused, open_style
from generator.stylise import (
    NotOnePerson,
    StyleSwapper,
    open_stylise,
    require_drawable,
    require_one_person,
)
from generator.swapper import OutOfRange, SwapTask
from policies.warrant import WarrantInvalid

NAME = "persona1_0"


class Told:
    """A network that inverts the content by the strength it is given, and notes what it saw."""

    models = {"told": "0" * 64}  # noqa: RUF012

    def __init__(self) -> None:
        self.given: dict[str, np.ndarray] = {}

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        self.given = arrays
        content, strength = arrays["content"], arrays["strength"][:, None, None, None]
        return {
            "image": content - 2 * strength * content,
            "alpha": np.full((1, 1, 64, 64), 0.5, np.float32),
        }


def told(**changes: Any) -> StyleSwapper:
    return StyleSwapper(Told(), open_style("ink"), **changes)  # type: ignore[arg-type]


@pytest.fixture
def permits(people: Any, office: Any) -> Callable[..., SwapTask]:
    """`permits(one=True)`: a task under a warrant whose roles are one record's or two's."""

    def make(*, one: bool = True) -> SwapTask:
        picture, face = people.picture(NAME), people.face(NAME)
        first = office.enrol()
        second = first if one else office.enrol()
        roles = ("source_identity", "target_body")
        request = office.request(
            list(zip((first, second), roles, strict=True)),
            source_sha256=picture.sha256,
            target_sha256=picture.sha256,
        )
        boxes = dict.fromkeys(roles, tuple(round(v) for v in face.box))
        warrant = office.desk.start(
            office.desk.admit(request, office.measured(request, boxes=boxes))
        )
        return SwapTask(warrant, source=picture, target=picture, source_face=face, target_face=face)

    return make


def test_the_face_of_the_one_who_consented_is_drawn_and_nothing_else(permits: Any) -> None:
    task, swapper = permits(), told(strength=1.0)
    made = swapper.render(task)
    still = made.mask == 0
    assert np.array_equal(made.frame[still], task.target.frame[still])
    assert 0.05 < (~still).mean() < 0.6
    inner = made.mask == 1
    assert np.abs(made.frame[inner].astype(int) - task.target.frame[inner]).mean() > 20
    assert np.array_equal(made.frame, swapper.render(task).frame)


def test_strength_zero_is_the_target(permits: Any) -> None:
    task = permits()
    assert np.array_equal(told(strength=0.0).render(task).frame, task.target.frame)


def test_two_people_in_the_roles_are_refused(permits: Any) -> None:
    task, swapper = permits(one=False), told()
    with pytest.raises(NotOnePerson) as caught:
        swapper.render(task)
    assert isinstance(caught.value, SwapRefused)
    assert caught.value.code == "STYLE-NOT-ONE-PERSON"
    with pytest.raises(NotOnePerson):
        swapper.sketch(task)
    assert swapper._network.given == {}, "nothing was drawn"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, object(), SimpleNamespace(target=1)])
def test_what_is_no_task_is_refused(value: Any, permits: Any) -> None:
    with pytest.raises(WarrantInvalid):
        told().render(value)
    with pytest.raises(WarrantInvalid):
        told().sketch(value)
    with pytest.raises(WarrantInvalid):
        told().render_after(permits(), [value])


def test_pairs_of_the_ledger_must_be_of_one_person(people: Any) -> None:
    pair = people.pair(NAME, NAME)
    require_one_person(pair)
    other = people.admit("persona2_0")
    row = other.row.model_copy(update={"person": "persona:2"})
    object.__setattr__(other, "row", row)
    with pytest.raises(NotOnePerson):
        require_one_person(LedgerPair(pair.source, other, pair.source_face, pair.target_face))


def test_the_network_is_shown_content_style_and_what_was_chosen(people: Any) -> None:
    for fusion, instance in (("iast", 1.0), ("adain", 0.0)):
        swapper = told(strength=0.25, fusion=fusion)
        sketch = swapper.sketch(people.pair(NAME, NAME))
        given = swapper._network.given  # type: ignore[attr-defined]
        assert (given["strength"][0], given["instance"][0]) == (0.25, instance)
        style = open_style("ink").picture.transpose(2, 0, 1) / np.float32(127.5) - 1
        assert np.allclose(given["style"][0], style, atol=1e-6)
        assert given["content"].shape == (1, 3, 256, 256)
        assert np.allclose(sketch.drawing.alpha, 0.5)
        assert sketch.mask.max() == 1.0


def test_frames_before_lie_under_the_drawing(permits: Any) -> None:
    swapper, task = told(strength=1.0), permits()
    alone, followed = swapper.render(task), swapper.render_after(task, [task])
    assert swapper.looks_back == 2
    apart = np.abs(alone.frame.astype(int) - followed.frame)
    assert apart.mean() < 3, "a still picture looks as it did"


def test_name_version_and_models_say_what_changes_pixels() -> None:
    first, other = told(strength=0.5), told(strength=0.5, fusion="adain")
    assert first.name == "style-ink"
    assert first.models == {**Told.models, "style-ink": open_style("ink").sha256}
    assert first.version != other.version
    assert first.version.startswith("1+s0.5+iast+")
    assert len(f"{first.version}+steady1") <= 40


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_its_range_is_refused(strength: float) -> None:
    with pytest.raises(OutOfRange):
        told(strength=strength)


def test_faces_that_cannot_be_measured_are_refused(people: Any) -> None:
    face: Face = people.face(NAME)
    require_drawable(face)
    with pytest.raises(OutOfRange, match="yaw"):
        require_drawable(replace(face, pose=(61.0, 0.0, 0.0)))
    with pytest.raises(OutOfRange, match="side"):
        require_drawable(replace(face, box=(0.0, 0.0, 60.0, 100.0)))
    away = replace(face, mesh=face.mesh + np.float32(2000))
    pair = replace(people.pair(NAME, NAME), target_face=away)
    with pytest.raises(OutOfRange, match="inside the picture"):
        told().sketch(pair)


def test_large_and_small_faces_are_put_back_in_their_size(people: Any) -> None:
    """The square is 256 px; this face is smaller, so the change is smoothed before it shrinks."""
    swapper = told(strength=1.0)
    sketch = swapper.sketch(people.pair(NAME, NAME))
    assert sketch.square.scale > 1
    assert sketch.mask.shape[0] <= 256


def test_an_unknown_style_does_not_open() -> None:
    with pytest.raises(StyleRefused):
        open_stylise("monet")
