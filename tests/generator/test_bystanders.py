"""T7: a stranger comes out as nobody two nets know, or with a blurred head, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from generator.anonymise import blur_faces, head_region
from generator.bystanders import (
    Judge,
    Lender,
    Stranger,
    bystander_models,
    face_in,
    measure_lenders,
    protect,
    replace_faces,
    tone_of,
)
from generator.errors import SwapRefused
from generator.faces import Face, FaceAnalyser, FaceBox
from generator.laying import Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.matching import match
from generator.personas import open_personas
from generator.second_net import open_second_net
from generator.swap import swap
from generator.swapper import OutOfRange, Rendering, SwapTask
from generator.templates import pack_template
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.draft import Draft
from provenance.media import Picture, decode, encode


class Spy:
    """A swapper that changes nothing: every change is the strangers'."""

    name, version = "spy", "1"
    models: dict[str, str] = {}  # noqa: RUF012

    def render(self, task: SwapTask) -> Rendering:
        frame = task.target.frame.copy()
        return Rendering(frame, np.zeros(frame.shape[:2], np.float32))


class Remembering:
    """The default stack, which looks at the same pixels once."""

    def __init__(self, stack: FaceAnalyser) -> None:
        self.models, self.id_model = stack.models, stack.id_model
        self.thresholds = stack.thresholds
        self._stack = stack
        self._seen: dict[bytes, list[Face]] = {}

    def analyse(self, frame: np.ndarray) -> list[Face]:
        key = frame.tobytes()
        if key not in self._seen:
            self._seen[key] = self._stack.analyse(frame)
        return list(self._seen[key])

    def locate(self, frame: np.ndarray) -> list[FaceBox]:
        return [face.box for face in self.analyse(frame)]


@pytest.fixture(scope="module")
def analyser(people: Any) -> FaceAnalyser:
    return Remembering(people.analyser)


@pytest.fixture(scope="module")
def lenders(analyser: FaceAnalyser) -> tuple[Lender, ...]:
    return measure_lenders(open_personas(), analyser)


def beside(people: Any, *names: str) -> Picture:
    frames = [people.picture(name).frame for name in names]
    return decode(encode(np.concatenate(frames, axis=1), "image/png"))


def faces_of(analyser: FaceAnalyser, picture: Picture) -> list[Face]:
    return sorted(analyser.analyse(picture.frame), key=lambda face: face.box)


def whole(face: Face) -> tuple[int, ...]:
    return tuple(round(value) for value in face.box)


@pytest.fixture
def run(
    office: Any, people: Any, analyser: FaceAnalyser, told_gates: Callable[..., Any]
) -> Callable[..., Draft]:
    """`run(target)`: persona 1 onto the left face, persona 2, under a warrant for all others."""
    gates = told_gates()

    def permit(target: Picture, bystanders: str, models: dict[str, str]) -> ActiveWarrant:
        source, identity = people.picture("persona1_0"), analyser.models[analyser.id_model]
        named, *strangers = faces_of(analyser, target)
        shown = {"source_identity": people.face("persona1_0"), "target_body": named}
        enrolled = [
            (office.enrol(face=pack_template(face.id_vector), model_sha256=identity), role)
            for role, face in shown.items()
        ]
        request = office.request(
            enrolled,
            source_sha256=source.sha256,
            target_sha256=target.sha256,
            bystanders=bystanders,
        )
        measured = office.measured(
            request,
            boxes={role: whole(face) for role, face in shown.items()},
            target_faces=1 + len(strangers),
            blurred=[whole(face) for face in strangers],
            models={**analyser.models, **gates.models, **models},
            identity_model_sha256=identity,
        )
        return office.desk.start(office.desk.admit(request, measured))

    def make(
        target: Picture, bystanders: str = "persona", models: dict[str, str] | None = None
    ) -> Draft:
        asked = dict(bystander_models("persona")) if models is None else models
        return swap(
            people.picture("persona1_0"),
            target,
            warrant=permit(target, bystanders, asked),
            analyser=analyser,
            swapper=Spy(),
            gates=gates,
        )

    return make


@pytest.fixture
def lay(people: Any) -> Callable[..., Any]:
    """`lay(name)`: lays lenders on that demo person, on pictures of the data ledger."""

    def make(name: str) -> Callable[[Lender, Face], Layers]:
        def run(lender: Lender, face: Face) -> Layers:
            number = lender.persona.name.removeprefix("persona")
            pair: LedgerPair = people.pair(f"persona{number}_0", name)
            return lay_out(pair, 1.0)

        return run

    return make


class Told(Judge):
    """A judge that says of each result what a test wants; it notes whom it was shown."""

    def __init__(self, frame: np.ndarray, says: Callable[[Sequence[str]], list[int]]) -> None:
        self.original, self._says = frame, says
        self.shown: list[tuple[str, ...]] = []

    def find_known(
        self, frame: np.ndarray, strangers: Sequence[Stranger], lenders: Sequence[str]
    ) -> list[int]:
        self.shown.append(tuple(lenders))
        return self._says(lenders)

    def how_far(self, frame: np.ndarray, stranger: Stranger) -> float:
        return 0.0


def out_of_range(lender: Lender, face: Face) -> Layers:
    raise OutOfRange("the yaw", measured=80, limit=60)


def test_a_stranger_gets_another_face_that_neither_net_takes_for_theirs(
    people: Any, analyser: FaceAnalyser, run: Callable[..., Draft]
) -> None:
    """The stranger is persona 3, whose own face is among those lent: it is not the one they get."""
    target = beside(people, "persona2_0", "persona3_0")
    _, stranger = faces_of(analyser, target)
    draft = run(target)
    assert draft.maker.version == "1+persona1"
    models = {**analyser.models, **bystander_models("persona")}
    assert dict(draft.maker.models) == models
    assert {"faceres", "personas"} <= set(models)
    made = draft.frame
    seen = face_in(stranger.box, analyser.analyse(made))
    assert seen is not None, "there is a face, and it is another one"
    assert match(seen, stranger.id_vector, analyser.thresholds).answer == "mismatch"
    net = open_second_net()
    before, after = net.embed(target.frame, stranger), net.embed(made, seen)
    assert np.linalg.norm(before - after) > net.thresholds.mismatch
    x0, y0, x1, y1 = head_region(stranger.box, target.frame.shape)
    changed = (made != target.frame).any(2)
    assert changed[y0:y1, x0:x1].mean() > 0.2
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    assert np.array_equal(run(target).frame, made), "the same pictures give the same pixels"


def test_a_face_too_small_to_be_replaced_is_blurred(
    people: Any, analyser: FaceAnalyser, run: Callable[..., Draft]
) -> None:
    named, far_away = (people.picture(name).frame for name in ("persona2_0", "persona3_0"))
    small = np.full_like(named, 120)
    small[80:180, 80:180] = cv2.resize(far_away, (100, 100), interpolation=cv2.INTER_AREA)
    target = decode(encode(np.concatenate([named, small], axis=1), "image/png"))
    _, stranger = faces_of(analyser, target)
    draft = run(target)
    assert draft.maker.version == "1+blur1"
    assert np.array_equal(draft.frame, blur_faces(target.frame, [whole(stranger)]))


def test_what_was_decided_is_done_and_nothing_else(
    people: Any, analyser: FaceAnalyser, run: Callable[..., Draft]
) -> None:
    target = beside(people, "persona2_0", "persona3_0")
    _, stranger = faces_of(analyser, target)
    draft = run(target, "blur")
    assert draft.maker.version == "1+blur1"
    assert np.array_equal(draft.frame, blur_faces(target.frame, [whole(stranger)]))
    assert "personas" not in draft.maker.models
    refusing = SimpleNamespace(bystanders="refuse", blurred=(whole(stranger),))
    task: Any = SimpleNamespace(warrant=SimpleNamespace(document=refusing))
    with pytest.raises(SwapRefused, match="refuse"):
        protect(target.frame, task, found=(), analyser=analyser)
    refusing.blurred = ()
    made = protect(target.frame, task, found=(), analyser=analyser)
    assert (made.lenders, made.version) == ((), "")
    assert np.array_equal(made.frame, target.frame)


@pytest.mark.parametrize("name", ["personas", "faceres"])
def test_a_warrant_that_does_not_name_the_set_as_it_is_permits_nobody(
    people: Any, run: Callable[..., Draft], name: str
) -> None:
    models = dict(bystander_models("persona")) | {name: "0" * 64}
    with pytest.raises(WarrantInvalid) as caught:
        run(beside(people, "persona2_0", "persona3_0"), models=models)
    assert caught.value.code == "WARRANT-OTHER-MODEL"


def test_two_strangers_get_two_faces(people: Any, analyser: FaceAnalyser, lenders: Any) -> None:
    """Both look the same, so the same persona is nearest to both."""
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    judge = Told(picture.frame, lambda _lenders: [])
    twice = [Stranger(face.box, face), Stranger(face.box, face)]
    blank = Layers(*[np.zeros((4, 4, 3), np.float32)] * 4, *[np.zeros((4, 4), np.float32)] * 2,
                   *[np.zeros((1, 3))] * 3, 1.0, (0, 0))  # fmt: skip
    made = replace_faces(picture.frame, twice, lenders, lay=lambda *_: blank, judge=judge)
    assert len(set(made.lenders)) == 2
    many = replace_faces(picture.frame, twice * 4, lenders, lay=lambda *_: blank, judge=judge)
    assert set(many.lenders) == {one.persona.name for one in lenders}, "then they are shared"
    assert many.version == "+persona8"


def test_every_verdict_takes_the_next_nearest_and_the_last_is_a_blur(
    people: Any, lenders: Any, lay: Callable[..., Any]
) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    tone = tone_of(picture.frame, face)
    nearest = sorted(lenders, key=lambda one: float(np.linalg.norm(one.tone - tone)))
    judge = Told(picture.frame, lambda names: [0] if names[0] else [])
    made = replace_faces(
        picture.frame, [Stranger(face.box, face)], lenders, lay=lay("persona3_1"), judge=judge
    )
    names = [one.persona.name for one in nearest]
    assert judge.shown == [*((name,) for name in names), ("",)]
    assert np.array_equal(made.frame, blur_faces(picture.frame, [face.box]))
    assert made.version == "+blur1"


def test_who_is_known_with_a_blurred_head_stops_the_swap(people: Any, lenders: Any) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    judge = Told(picture.frame, lambda _lenders: [0])
    with pytest.raises(SwapRefused) as caught:
        replace_faces(
            picture.frame, [Stranger(face.box, face)], lenders, lay=out_of_range, judge=judge
        )
    assert judge.shown == [("",)]
    assert caught.value.mend


def test_a_place_that_was_never_measured_is_blurred(
    people: Any, analyser: FaceAnalyser, lenders: Any
) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    judge = Judge(picture.frame, analyser, open_second_net())
    made = replace_faces(
        picture.frame, [Stranger(face.box, None)], lenders, lay=out_of_range, judge=judge
    )
    assert made.lenders == ("",)
    assert np.array_equal(made.frame, blur_faces(picture.frame, [face.box]))


def test_the_judge_knows_who_is_still_there(people: Any, analyser: FaceAnalyser) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    judge = Judge(picture.frame, analyser, open_second_net())
    stranger = [Stranger(face.box, face)]
    assert judge.find_known(picture.frame, stranger, ["persona1"]) == [0]
    assert judge.find_known(picture.frame, stranger, [""]) == [0]
    hidden = blur_faces(picture.frame, [face.box])
    assert judge.find_known(hidden, stranger, [""]) == []
    # A face was laid on and cannot be found: nobody can say whose it is.
    assert judge.find_known(hidden, stranger, ["persona1"]) == [0]


def test_both_nets_must_say_so(people: Any, analyser: FaceAnalyser) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    other = replace(face, id_vector=-face.id_vector)

    def find(seen: Face, second: Any) -> list[int]:
        told: Any = SimpleNamespace(thresholds=analyser.thresholds, analyse=lambda _frame: [seen])
        judge = Judge(picture.frame, told, second)
        return judge.find_known(picture.frame, [Stranger(face.box, face)], ["persona1"])

    class Second:
        """A net to which whatever is seen second lies `apart` from the first."""

        thresholds = open_second_net().thresholds

        def __init__(self, apart: float) -> None:
            self.answers = [np.zeros(4, np.float32), np.array([apart, 0, 0, 0], np.float32)]

        def embed(self, *_given: object) -> np.ndarray:
            return self.answers.pop(0)

    limit = Second.thresholds.mismatch
    assert find(other, Second(limit + 0.01)) == []
    assert find(other, Second(limit)) == [0]
    assert find(other, Second(0)) == [0]
    assert find(face, Second(limit + 0.01)) == [0]
    nowhere = replace(other, mesh=np.zeros((468, 3), np.float32))
    assert find(nowhere, open_second_net()) == [0], "what cannot be measured is not judged"


def test_the_farthest_comes_first(
    people: Any, analyser: FaceAnalyser, lenders: Any, lay: Callable[..., Any]
) -> None:
    picture, face = people.picture("persona3_1"), people.face("persona3_1")
    far: dict[bytes, float] = {}

    class Noting(Told):
        def how_far(self, frame: np.ndarray, stranger: Stranger) -> float:
            far[frame.tobytes()] = judge.how_far(frame, stranger)
            return far[frame.tobytes()]

    judge = Judge(picture.frame, analyser, open_second_net())
    noting = Noting(picture.frame, lambda _lenders: [])
    stranger = Stranger(face.box, face)
    made = replace_faces(picture.frame, [stranger], lenders, lay=lay("persona3_1"), judge=noting)
    assert len(far) == len(lenders)
    assert far[made.frame.tobytes()] == max(far.values()) > 2
    assert judge.how_far(picture.frame, stranger) == 0
    hidden = blur_faces(picture.frame, [face.box])
    assert judge.how_far(hidden, stranger) == 0, "no face is found"
    assert judge.how_far(picture.frame, Stranger(face.box, None)) == 0
    gone = replace(face, mesh=np.zeros((468, 3), np.float32))
    assert judge.how_far(picture.frame, Stranger(face.box, gone)) == 0


def test_tones_tell_light_from_dark_and_a_face_outside_has_none(people: Any, lenders: Any) -> None:
    tones = {one.persona.name: one.tone for one in lenders}
    assert tones["persona6"][0] < min(tone[0] for n, tone in tones.items() if n != "persona6") - 10
    face = people.face("persona6_0")
    near = tone_of(people.picture("persona6_0").frame, face)
    assert min(tones, key=lambda name: float(np.linalg.norm(tones[name] - near))) == "persona6"
    grey = [50.0, 0.0, 0.0]
    gone = replace(face, mesh=face.mesh + np.float32(5000))
    assert tone_of(people.picture("persona6_0").frame, gone).tolist() == grey


@pytest.mark.parametrize("way", ["refuse", "blur"])
def test_other_ways_take_no_further_model(way: Any) -> None:
    assert bystander_models(way) == {}
