"""A persona is laid on a stranger only where a running warrant says so, and only a shipped one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.errors import SwapRefused
from generator.faces import Face
from generator.laying import lay_out
from generator.ledger_pair import LedgerPair
from generator.persona_task import PersonaTask, require_persona_task
from generator.personas import Persona, open_personas
from generator.swapper import SwapTask, UnnamedFace
from policies.errors import Error
from policies.terms import BystanderPolicy
from policies.warrant import WARRANT_SECONDS, WarrantInvalid
from provenance.media import Picture, decode, encode

Box = tuple[int, int, int, int]


def whole(face: Face) -> Box:
    x0, y0, x1, y1 = (round(value) for value in face.box)
    return x0, y0, x1, y1


@pytest.fixture(scope="module")
def couple(people: Any) -> Picture:
    """Persona 2, who is named, beside persona 3, who is a stranger."""
    frames = [people.picture(name).frame for name in ("persona2_0", "persona3_0")]
    return decode(encode(np.concatenate(frames, axis=1), "image/png"))


@pytest.fixture(scope="module")
def shown(people: Any, couple: Picture) -> list[Face]:
    """The faces of the couple, from left to right."""
    return sorted(people.analyser.analyse(couple.frame), key=lambda face: face.box)


@pytest.fixture(scope="module")
def lender(people: Any) -> tuple[Persona, Face]:
    persona = open_personas().people[0]
    [face] = people.analyser.analyse(persona.frame)
    return persona, face


@pytest.fixture
def start(office: Any, people: Any, couple: Picture, shown: list[Face]) -> Callable[..., SwapTask]:
    """`start(bystanders)`: the swap task of persona 1 onto the left face under such a warrant."""

    def make(bystanders: BystanderPolicy = "persona") -> SwapTask:
        source = people.picture("persona1_0")
        request = office.swap_request(
            source_sha256=source.sha256, target_sha256=couple.sha256, bystanders=bystanders
        )
        faces = {"source_identity": people.face("persona1_0"), "target_body": shown[0]}
        hidden = () if bystanders == "refuse" else (whole(shown[1]),)
        measured = office.measured(
            request,
            boxes={role: whole(face) for role, face in faces.items()},
            target_faces=1 + len(hidden),
            blurred=hidden,
        )
        warrant = office.desk.start(office.desk.admit(request, measured))
        return SwapTask(
            warrant,
            source=source,
            target=couple,
            source_face=faces["source_identity"],
            target_face=faces["target_body"],
        )

    return make


@pytest.fixture
def task(start: Callable[..., SwapTask], shown: list[Face], lender: Any) -> PersonaTask:
    persona, face = lender
    return PersonaTask(start(), target_face=shown[1], persona=persona, persona_face=face)


def test_a_permitted_persona_is_laid_on_the_stranger_alone(
    task: PersonaTask, shown: list[Face], couple: Picture
) -> None:
    assert require_persona_task(task) is task
    assert task.target is couple
    layers = lay_out(task, 1.0)
    x0, y0 = layers.origin
    where = np.argwhere(layers.mask > 0)
    assert len(where)
    assert x0 + where[:, 1].min() > 256
    left, top, right, bottom = shown[1].box
    ys, xs = where.mean(axis=0)
    assert left < xs + x0 < right
    assert top < ys + y0 < bottom


@pytest.mark.parametrize("bystanders", ["refuse", "blur"])
def test_a_warrant_that_decided_otherwise_permits_no_persona(
    start: Callable[..., SwapTask], shown: list[Face], lender: Any, bystanders: BystanderPolicy
) -> None:
    persona, face = lender
    swap = start(bystanders)
    with pytest.raises(WarrantInvalid) as caught:
        PersonaTask(swap, target_face=shown[1], persona=persona, persona_face=face)
    assert caught.value.code == "WARRANT-OTHER-BYSTANDERS"
    assert caught.value.mend


@pytest.mark.parametrize("where", ["named", "elsewhere"])
def test_only_a_face_that_the_warrant_hides_is_replaced(
    start: Callable[..., SwapTask], shown: list[Face], lender: Any, where: str
) -> None:
    persona, face = lender
    moved = replace(shown[1], box=tuple(value + 120 for value in shown[1].box))
    wrong = {"named": shown[0], "elsewhere": moved}[where]
    with pytest.raises(UnnamedFace):
        PersonaTask(start(), target_face=wrong, persona=persona, persona_face=face)


def test_nobody_but_a_shipped_persona_lends_a_face(
    start: Callable[..., SwapTask], people: Any, shown: list[Face], lender: Any
) -> None:
    persona, face = lender
    like = SimpleNamespace(name="persona1", sha256=persona.sha256, frame=persona.frame)
    for other in (people.picture("persona4_0"), people.admit("persona4_0"), like, None):
        with pytest.raises(WarrantInvalid) as caught:
            PersonaTask(start(), target_face=shown[1], persona=other, persona_face=face)
        assert caught.value.code == "WARRANT-REQUIRED"


def test_another_target_is_refused(task: PersonaTask, people: Any) -> None:
    task.swap.target = people.picture("persona4_0")
    with pytest.raises(WarrantInvalid) as caught:
        lay_out(task, 1.0)
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize("end", ["expired", "finished", "withdrawn"])
def test_a_task_ends_with_its_warrant(task: PersonaTask, office: Any, end: str) -> None:
    warrant = task.swap.warrant
    if end == "expired":
        office.clock.now += WARRANT_SECONDS
    elif end == "finished":
        office.desk.finish(warrant, {}, record=lambda *_given: None)
    else:
        office.withdraw(warrant.document.people[1].record_id)
    with pytest.raises(WarrantInvalid) as caught:
        lay_out(task, 1.0)
    assert caught.value.code in ("WARRANT-EXPIRED", "WARRANT-SPENT", "CONSENT-CHANGED")


def test_what_was_changed_since_is_asked_again(
    task: PersonaTask, people: Any, shown: list[Face]
) -> None:
    task.target_face = shown[0]
    with pytest.raises(UnnamedFace):
        lay_out(task, 1.0)
    task.target_face = shown[1]
    lay_out(task, 1.0)
    task.source = people.admit("persona4_0")  # type: ignore[assignment]
    with pytest.raises(WarrantInvalid):
        lay_out(task, 1.0)


def test_what_only_behaves_like_a_task_is_refused(task: PersonaTask) -> None:
    class Louder(PersonaTask):
        __slots__ = ()

        def require(self) -> None:
            """Return."""

    louder = object.__new__(Louder)
    for name in PersonaTask.__slots__:
        setattr(louder, name, getattr(task, name))
    for other in (None, task.swap, louder, object.__new__(PersonaTask), PersonaTask):
        with pytest.raises(WarrantInvalid):
            require_persona_task(other)
    with pytest.raises(WarrantInvalid):
        lay_out(louder, 1.0)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_task_cannot_be_copied_or_stored(
    task: PersonaTask, copier: Callable[[object], object]
) -> None:
    with pytest.raises(SwapRefused):
        copier(task)


def test_a_pair_of_the_ledger_is_no_swap_to_stand_on(
    people: Any, shown: list[Face], lender: Any
) -> None:
    pair: LedgerPair = people.pair("persona1_0", "persona2_0")
    persona, face = lender
    with pytest.raises(Error):
        PersonaTask(pair, target_face=shown[1], persona=persona, persona_face=face)  # type: ignore[arg-type]
