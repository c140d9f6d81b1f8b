"""A task needs its warrant, a swapper needs a task, and names are a closed list."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from generator import steady
from generator.bystanders import Protected
from generator.errors import SwapRefused
from generator.faces import Face
from generator.swapper import (
    OutOfRange,
    SwapperName,
    SwapTask,
    UnknownSwapper,
    UnnamedFace,
    open_swapper,
    overlap,
    require_task,
)
from generator.weights import weight_names
from policies.terms import ModelName
from policies.warrants import ActiveWarrant, WarrantInvalid
from provenance.manifest import Version
from provenance.media import Picture, decode

Warranted = Callable[..., ActiveWarrant]
SOURCE_BOX, TARGET_BOX = (100, 100, 300, 300), (50, 60, 250, 260)


def face_at(box: tuple[float, float, float, float]) -> Face:
    return Face(
        box=box,
        score=0.9,
        mesh=np.random.default_rng(0).uniform(50, 250, (468, 3)).astype(np.float32),
        iris=np.zeros((2, 5, 2), np.float32),
        pose=(0.0, 0.0, 0.0),
        id_vector=np.zeros(128, np.float32),
    )


@pytest.fixture
def pictures(demo_picture: Callable[[str], bytes]) -> tuple[Picture, Picture]:
    return decode(demo_picture("persona1_0")), decode(demo_picture("persona2_0"))


@pytest.fixture
def make_task(
    pictures: tuple[Picture, Picture], active_warrant: Warranted
) -> Callable[..., SwapTask]:
    source, target = pictures

    def make(**changes: object) -> SwapTask:
        boxes = {"source_identity": SOURCE_BOX, "target_body": TARGET_BOX}
        parts = {
            "warrant": active_warrant(source.sha256, target.sha256, boxes=boxes),
            "source": source,
            "target": target,
            "source_face": face_at(SOURCE_BOX),
            "target_face": face_at(TARGET_BOX),
        } | changes
        return SwapTask(parts.pop("warrant"), **parts)

    return make


def test_task_with_a_fitting_warrant_is_built(make_task, pictures) -> None:
    task = make_task()
    assert task.source is pictures[0]
    assert require_task(task) is task


@pytest.mark.parametrize("nothing", [None, "warrant", object()])
def test_task_without_a_warrant_is_refused(make_task, nothing: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        make_task(warrant=nothing)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_task_under_a_warrant_for_other_pictures_is_refused(make_task, active_warrant) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        make_task(warrant=active_warrant())
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize("which", ["source", "target"])
def test_task_with_one_picture_exchanged_is_refused(make_task, demo_picture, which: str) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        make_task(**{which: decode(demo_picture("persona3_0"))})
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize("which", ["source_face", "target_face"])
def test_task_for_a_face_elsewhere_is_refused(make_task, which: str) -> None:
    with pytest.raises(UnnamedFace) as caught:
        make_task(**{which: face_at((320, 320, 500, 500))})
    assert caught.value.code == "UNNAMED-FACE"


def test_task_kept_past_its_warrant_is_worth_nothing(make_task, office) -> None:
    task = make_task()
    office.clock.now += 10_000
    with pytest.raises(WarrantInvalid):
        require_task(task)


def test_task_after_a_withdrawn_consent_is_worth_nothing(make_task, office) -> None:
    task = make_task()
    office.withdraw(task.warrant.document.people[0].record_id)
    with pytest.raises(WarrantInvalid):
        task.require()


def test_task_cannot_be_pickled(make_task) -> None:
    with pytest.raises(SwapRefused):
        pickle.dumps(make_task())
    with pytest.raises(SwapRefused):
        copy.copy(make_task())


@pytest.mark.parametrize("name", get_args(SwapperName))
def test_every_listed_swapper_opens_and_says_what_it_is(name: str) -> None:
    swapper = open_swapper(name)
    steps = name.split("+")
    assert swapper.name == steps[0]
    assert all(step in swapper.version for step in steps[1:])
    # What a manifest can say, with what videos and bystanders add: else no release were possible.
    TypeAdapter(ModelName).validate_python(swapper.name)
    protected = Protected(np.zeros((8, 8, 3), np.uint8), ("persona1",) * 32 + ("",) * 32)
    for added in ("", protected.version, f"+{steady.VERSION}"):
        TypeAdapter(Version).validate_python(swapper.version + added)
    assert set(swapper.models) == {n for n in steps if n in weight_names()}


@pytest.mark.parametrize("name", get_args(SwapperName))
def test_swapper_renders_nothing_that_is_not_a_task(name: str, make_task) -> None:
    real = make_task()

    class Lookalike:
        source, target = real.source, real.target
        source_face, target_face = real.source_face, real.target_face
        warrant = real.warrant

        def require(self) -> None:
            """Looks satisfied."""

    forged = SwapTask.__new__(SwapTask)
    for value in (Lookalike(), forged, None):
        with pytest.raises(WarrantInvalid):
            open_swapper(name).render(value)


@pytest.mark.parametrize("name", ["", "GEO", "inswapper", "../geo", None])
def test_unknown_swapper_is_refused_and_the_known_are_named(name) -> None:
    with pytest.raises(UnknownSwapper) as caught:
        open_swapper(name)
    assert caught.value.code == "UNKNOWN-SWAPPER"
    assert "geo" in caught.value.diagnostics()


def test_out_of_range_names_number_and_limit() -> None:
    error = OutOfRange("the yaw (degrees)", measured=71.23, limit=60.0, mend="turn around")
    assert error.code == "SWAP-OUT-OF-RANGE"
    assert (error.measured, error.limit) == (71.23, 60.0)
    assert "71.2" in error.message
    assert "60" in error.message
    assert "turn around" in error.diagnostics()


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (12, 12, 3, 3), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_overlap(first: tuple, second: tuple, share: float) -> None:
    assert overlap(first, second) == pytest.approx(share)
    assert overlap(second, first) == pytest.approx(share)


def test_face_helper_makes_valid_faces() -> None:
    assert replace(face_at(SOURCE_BOX), score=0.5).score == 0.5
