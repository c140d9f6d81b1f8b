"""Two pictures of the data ledger may be laid on one another; nothing that only looks like them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.composite import compose
from generator.errors import SwapRefused
from generator.faces import open_analyser
from generator.laying import Layers, lay_out, require_permit
from generator.ledger_pair import Composite, LedgerPair, keep_composite, require_pair
from policies.decide import Refused
from policies.warrant import WarrantInvalid
from provenance.data_ledger import AdmittedPicture, DataLedger, Purpose, rendered_row
from provenance.draft import Draft, Maker
from provenance.media import decode

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FIELDS = ("source", "target", "source_face", "target_face")
Admit = Callable[..., AdmittedPicture]


@pytest.fixture
def admit(demo_picture: Callable[[str], bytes]) -> Admit:
    def make(name: str, purpose: Purpose = "evaluation") -> AdmittedPicture:
        content = demo_picture(name)
        row = rendered_row(content, f"{name}.webp", set_name="demo", person="persona:demo")
        return DataLedger([row]).admit(content, name, purpose=purpose, now=NOW)

    return make


@pytest.fixture
def pair(admit: Admit, face: Callable[..., Any]) -> LedgerPair:
    return LedgerPair(admit("persona1_0"), admit("persona2_0"), face(1), face(2))


def shell(kind: type, **fields: object) -> Any:
    """An object of that class that its constructor has never seen."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def fields_of(pair: LedgerPair) -> dict[str, Any]:
    return {name: getattr(pair, name) for name in FIELDS}


@pytest.mark.parametrize("purpose", ["evaluation", "release_training", "research_training"])
def test_two_pictures_for_one_purpose_are_a_pair(
    admit: Admit, face: Callable[..., Any], purpose: Purpose
) -> None:
    made = LedgerPair(admit("persona1_0", purpose), admit("persona1_0", purpose), face(1), face(2))
    assert require_pair(made) is made
    require_permit(made)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("evaluation", "release_training"),
        ("research_training", "evaluation"),
        ("release_training", "research_training"),
    ],
)
def test_pictures_for_different_purposes_are_no_pair(
    admit: Admit, face: Callable[..., Any], first: Purpose, second: Purpose
) -> None:
    with pytest.raises(WarrantInvalid, match="different purposes") as caught:
        LedgerPair(admit("persona1_0", first), admit("persona2_0", second), face(1), face(2))
    assert caught.value.code == "WARRANT-REQUIRED"


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_picture_that_the_ledger_did_not_give_out_makes_no_pair(
    pair: LedgerPair, demo_picture: Callable[[str], bytes], which: str
) -> None:
    real = getattr(pair, which)
    facts = {name: getattr(real, name) for name in ("frame", "sha256", "row", "purpose")}
    for fake in (
        None,
        decode(demo_picture("persona1_0")),
        real.frame,
        SimpleNamespace(**facts),
        shell(AdmittedPicture),
        shell(AdmittedPicture, **facts),
        shell(AdmittedPicture, **facts | {"frame": np.zeros((64, 64, 3), np.uint8)}),
    ):
        for make in (
            lambda fake=fake: LedgerPair(**fields_of(pair) | {which: fake}),
            lambda fake=fake: require_pair(shell(LedgerPair, **fields_of(pair) | {which: fake})),
            lambda fake=fake: replace(pair, **{which: fake}),
        ):
            with pytest.raises(WarrantInvalid, match="the data ledger gave out") as caught:
                make()
            assert caught.value.code == "WARRANT-REQUIRED"
            assert caught.value.mend


def test_a_pair_does_not_leave_its_process(pair: LedgerPair) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SwapRefused, match="cannot leave its process"):
            attempt(pair)
    with pytest.raises(AttributeError):
        pair.target = pair.source  # type: ignore[misc]


def test_a_pair_makes_no_draft(pair: LedgerPair) -> None:
    maker = Maker("geo", "1", {})
    for warrant in (pair, pair.source, None):
        with pytest.raises(WarrantInvalid) as caught:
            Draft(
                pair.target.frame,
                warrant=warrant,  # type: ignore[arg-type]
                source=pair.source,  # type: ignore[arg-type]
                target=pair.target,  # type: ignore[arg-type]
                faces=(),
                maker=maker,
            )
        assert caught.value.code == "WARRANT-REQUIRED"


def sub(pair: LedgerPair) -> object:
    return shell(type("Sub", (LedgerPair,), {"__slots__": ()}), **fields_of(pair))


@pytest.mark.parametrize(
    "fake",
    [
        lambda pair: None,
        lambda pair: LedgerPair,
        lambda pair: "warrant",
        lambda pair: (pair.source, pair.target),
        lambda pair: SimpleNamespace(**fields_of(pair)),
        lambda pair: SimpleNamespace(**fields_of(pair), warrant=None, require=lambda: None),
        lambda pair: shell(LedgerPair),
        lambda pair: shell(LedgerPair, source=pair.source, target=pair.target),
        sub,
    ],
    ids=[
        *("none", "class", "word", "tuple", "look-alike", "look-alike of a task", "empty shell"),
        *("half shell", "subclass"),
    ],
)
def test_nothing_else_permits_to_lay_one_face_on_another(
    pair: LedgerPair, fake: Callable[[LedgerPair], object]
) -> None:
    for door in (require_permit, lambda permit: lay_out(permit, 0.5)):
        with pytest.raises(WarrantInvalid) as caught:
            door(fake(pair))  # type: ignore[arg-type]
        assert caught.value.code == "WARRANT-REQUIRED"


def test_a_pair_is_laid_out_without_a_warrant(admit: Admit) -> None:
    analyser = open_analyser()
    pictures = admit("persona1_0"), admit("persona2_0")
    faces = [analyser.analyse(picture.frame)[0] for picture in pictures]
    layers = lay_out(LedgerPair(*pictures, *faces), 0.5)
    assert type(layers) is Layers
    assert layers.mask.max() > 0.9
    assert np.abs(layers.composite - layers.target)[layers.mask == 0].max() == 0
    assert not np.array_equal(layers.composite, layers.target)


@pytest.mark.parametrize("purpose", ["advertising", "film_vfx", "personal", "dubbing"])
def test_a_consent_to_studies_warrants_nothing_else(office: Any, purpose: str) -> None:
    # The London set's people agreed to this; their consent opens no other door.
    scope = ["research", "illustration_of_research"]
    people = [(office.enrol(purposes=scope), role) for role in ("source_identity", "target_body")]
    request = office.request(people, purpose=purpose)
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request))
    assert {finding.code for finding in caught.value.decision.findings} == {"PURPOSE-SCOPE"}
    for allowed in scope:
        request = office.request(people, purpose=allowed, request_id=f"request-{allowed[:8]}")
        office.desk.admit(request, office.measured(request))


def test_what_a_pair_makes_may_be_the_target_of_another(people: Any) -> None:
    first = people.pair("persona1_0", "persona2_0")
    made = compose(first)
    assert made.frame.shape == first.target.frame.shape
    assert not np.array_equal(made.frame, first.target.frame)
    assert made.rows == (first.target.row, first.source.row)
    assert made.purpose == "evaluation"
    with pytest.raises(ValueError, match="read-only"):
        made.frame[:] = 0
    again = LedgerPair(first.target, made, people.face("persona2_0"), first.target_face)
    assert compose(again).rows == (*made.rows, first.target.row)


def test_a_composite_is_made_of_a_pair_alone(pair: LedgerPair) -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(WarrantInvalid, match="built by hand"):
        Composite(frame, (), "evaluation")
    fields = {"frame": frame, "rows": (), "purpose": "evaluation"}
    for fake in (shell(Composite), shell(Composite, **fields)):
        with pytest.raises(WarrantInvalid, match="the data ledger gave out"):
            replace(pair, target=fake)
        with pytest.raises(SwapRefused, match="cannot leave its process"):
            pickle.dumps(fake)
    for frame in (np.zeros((64, 64, 3), np.uint8), np.zeros(pair.target.frame.shape, np.float32)):
        with pytest.raises(SwapRefused, match="not of its target's size"):
            keep_composite(frame, pair)
    with pytest.raises(WarrantInvalid, match="only a pair"):
        compose(fields)  # type: ignore[arg-type]


def test_a_composite_is_of_its_pictures_purpose_and_lends_no_face(
    people: Any, admit: Admit, face: Callable[..., Any]
) -> None:
    made = compose(people.pair("persona1_0", "persona2_0"))
    with pytest.raises(WarrantInvalid, match="different purposes"):
        LedgerPair(admit("persona1_0", "release_training"), made, face(1), face(2))
    with pytest.raises(WarrantInvalid, match="the data ledger gave out"):
        LedgerPair(made, admit("persona1_0"), face(1), face(2))  # type: ignore[arg-type]
