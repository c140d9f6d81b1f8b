"""Measuring a video: every frame counts, and one bad frame is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from generator.clip_measure import measure_clip
from generator.errors import BlurUnavailable, GatesMissing
from generator.faces import Face
from generator.gates import Gates
from generator.templates import pack_template
from policies.decide import Refused
from policies.facts import Measured, MeasuredPerson
from policies.optout import OptOutBook
from provenance.errors import MediaError

ANNA, BERT, CARL = (1.0,), (0.0, 1.0), (0.0, 0.0, 1.0)


@pytest.fixture
def anna(office: Any, face: Callable[..., Face], reel: Any) -> str:
    """Consent of the person in the source picture."""
    reel.in_source = [face(*ANNA)]
    return str(office.enrol(face=pack_template(face(*ANNA).id_vector), media=["video"]))


@pytest.fixture
def people(office: Any, anna: str, face: Callable[..., Face]) -> list[tuple[str, str]]:
    """Anna's face is put onto Bert; Carl stands beside."""
    bert, carl = (
        office.enrol(face=pack_template(face(*who).id_vector), media=["video"])
        for who in (BERT, CARL)
    )
    return [(anna, "source_identity"), (bert, "target_body"), (carl, "bystander")]


@pytest.fixture
def look(office: Any, reel: Any, told_gates: Any) -> Callable[..., Measured]:
    """`look((id, role), ..., gates=...)`: what measuring gives for these people."""
    clear = told_gates()

    def make(*people: tuple[str, str], gates: Gates = clear, **changes: object) -> Measured:
        request = asked(office, reel, people, **changes)
        return measure_clip(
            request, reel.source, reel.clip, book=office.book, analyser=reel, gates=gates
        )

    return make


def asked(office: Any, reel: Any, people: Any, **changes: object) -> Any:
    digests = {"source_sha256": reel.source.sha256, "target_sha256": reel.clip.sha256}
    return office.request(people, medium="video", **digests, **changes)


def body(measured: Measured) -> MeasuredPerson:
    [found] = [person for person in measured.people if person.role == "target_body"]
    return found


def counts(measured: Measured) -> tuple[int, int]:
    return measured.target_faces, measured.target_faces_resolved


def test_everybody_is_measured_in_every_frame(
    people: Any, look: Any, reel: Any, face: Any, told_gates: Any
) -> None:
    for number in range(6):
        reel.show(face(*BERT, left=number), face(*CARL, left=30, top=-number), at=number)
    reel.show(face(0.0, 1.0, 0.0, 0.2, left=3), face(*CARL, left=30), at=3)
    measured = look(*people)
    assert reel.looked == [None, 0, 1, 2, 3, 4, 5]
    assert [person.match for person in measured.people] == ["match"] * 3
    assert [(p.record_id, p.role) for p in measured.people] == people
    assert (measured.source_faces, *counts(measured)) == (1, 2, 2)
    assert body(measured).box == (2, 3, 28, 26), "around all places of the face"
    assert measured.people[2].box == (32, -2, 53, 26)
    assert body(measured).distance_milli == 200, "the largest"
    assert measured.people[0].box == (2, 3, 23, 26)
    assert (measured.pixels, measured.seconds) == (64 * 48, 1)
    assert (measured.source_nudity, measured.target_nudity) == ("clear", "clear")
    assert (measured.blurred, measured.unnamed_minor) == ((), False)
    assert measured.models == {**reel.models, **told_gates().models}
    assert measured.identity_model_sha256 == reel.models["idnet"]


def test_the_decision_allows_it(people: Any, look: Any, reel: Any, face: Any, office: Any) -> None:
    reel.show(face(*BERT))
    reel.show(at=2)  # a frame without anybody
    warrant = office.desk.admit(asked(office, reel, people[:2]), look(*people[:2]))
    assert (warrant.medium, warrant.blurred) == ("video", ())
    assert [person.box for person in warrant.people] == [(2, 3, 23, 26)] * 2


def test_people_need_not_be_seen_together(people: Any, look: Any, reel: Any, face: Any) -> None:
    for number in range(6):
        reel.show(face(*(BERT if number < 3 else CARL)), at=number)
    measured = look(*people)
    assert counts(measured) == (2, 2)
    assert [person.match for person in measured.people] == ["match"] * 3


@pytest.mark.parametrize("number", range(6))
def test_a_stranger_in_one_frame_stays_unresolved(
    people: Any, look: Any, reel: Any, face: Any, office: Any, number: int
) -> None:
    reel.show(face(*BERT))
    reel.show(face(*BERT), face(0.0, 0.0, 0.0, 1.0, left=30), at=number)
    measured = look(*people[:2])
    assert counts(measured) == (2, 1)
    assert body(measured).match == "match", "the stranger says nothing of Bert"
    with pytest.raises(Refused) as caught:
        office.desk.admit(asked(office, reel, people[:2]), measured)
    assert caught.value.decision.codes == ("BYSTANDER",)


def test_a_stranger_where_nobody_else_is_stays_unresolved(
    people: Any, look: Any, reel: Any, face: Any
) -> None:
    stranger = face(0.0, 0.0, 0.0, 1.0)
    for first, second in ((stranger, face(*BERT)), (face(*BERT), stranger)):
        reel.show(second)
        reel.show(first, at=0)
        measured = look(*people[:2])
        assert counts(measured) == (2, 1)
        assert (body(measured).match, body(measured).distance_milli) == ("match", 0)


def test_the_swapped_person_twice_in_a_frame_stays_unresolved(
    people: Any, look: Any, reel: Any, face: Any
) -> None:
    reel.show(face(*BERT))
    reel.show(face(*BERT), face(*BERT, left=30), at=5)
    assert counts(look(*people[:2])) == (2, 1)


def test_the_most_strangers_of_one_frame_count(
    people: Any, look: Any, reel: Any, face: Any
) -> None:
    others = [face(0.0, 0.0, 0.0, 1.0, left=30 * n) for n in (1, 2, 3)]
    reel.show(face(*BERT))
    reel.show(face(*BERT), *others, at=1)
    reel.show(face(*BERT), others[0], at=4)
    assert counts(look(*people[:2])) == (4, 1)


def test_a_face_too_covered_to_be_measured_counts(
    people: Any, look: Any, reel: Any, face: Any
) -> None:
    reel.show(face(*BERT))
    reel.covered[2] = [(40.0, 0.0, 60.0, 20.0)]
    measured = look(*people[:2])
    assert counts(measured) == (2, 1)
    assert measured.unnamed_minor, "nobody knows how old they are"


@pytest.mark.parametrize(
    ("distance", "match", "resolved"), [(0.3, "match", 1), (0.5, "ambiguous", 0)]
)
def test_one_frame_in_which_they_are_only_similar_is_enough(
    people: Any, look: Any, reel: Any, face: Any, distance: float, match: str, resolved: int
) -> None:
    reel.show(face(*BERT))
    reel.show(face(0.0, 1.0, distance), at=4)
    measured = look(*people[:2])
    assert body(measured).match == match
    assert body(measured).distance_milli == round(distance * 1000)
    assert counts(measured) == (1, resolved)


def test_who_is_nowhere_is_a_mismatch(people: Any, look: Any, reel: Any, face: Any) -> None:
    measured = look(*people[:2])
    assert counts(measured) == (0, 0)
    found = body(measured)
    assert (found.match, found.age, found.registry, found.box) == (
        "mismatch",
        "minor",
        "unavailable",
        None,
    )
    reel.show(face(*BERT))
    measured = look(*people)
    assert [person.match for person in measured.people] == ["match", "match", "mismatch"]
    assert counts(measured) == (1, 1), "of two who are named"


def test_somebody_else_throughout_is_a_mismatch(
    people: Any, look: Any, reel: Any, face: Any
) -> None:
    reel.show(face(0.0, 0.0, 0.0, 1.0))
    measured = look(*people[:2])
    assert (body(measured).match, counts(measured)) == ("mismatch", (1, 0))


@pytest.mark.parametrize("word", ["challenge", "minor"])
def test_one_frame_in_which_they_look_young_is_enough(
    people: Any, look: Any, reel: Any, face: Any, told_gates: Any, word: str
) -> None:
    reel.show(face(*BERT))

    def age(frame: Any, _face: Face) -> str:
        return word if reel.number(frame) == 3 else "clear"

    measured = look(*people[:2], gates=told_gates(age=age))
    assert body(measured).age == word
    assert measured.people[0].age == "clear"
    assert not measured.unnamed_minor


def test_a_minor_nobody_named_is_noticed_in_one_frame(
    people: Any, look: Any, reel: Any, face: Any, told_gates: Any
) -> None:
    reel.show(face(*BERT))
    reel.show(face(*BERT), face(0.0, 0.0, 0.0, 1.0, left=30), at=1)

    def age(frame: Any, seen: Face) -> str:
        return "minor" if reel.number(frame) == 1 and seen.box[0] > 30 else "clear"

    measured = look(*people[:2], gates=told_gates(age=age))
    assert measured.unnamed_minor
    assert body(measured).age == "clear"


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        ({3: "review"}, "review"),
        ({0: "review", 5: "found"}, "found"),
        ({0: "found", 5: "review"}, "found"),
        ({2: "unavailable", 4: "found"}, "unavailable"),
        ({2: RuntimeError("no net")}, "unavailable"),
    ],
)
def test_one_frame_that_may_be_nude_is_enough(
    people: Any, look: Any, reel: Any, face: Any, told_gates: Any, words: Any, worst: str
) -> None:
    reel.show(face(*BERT))
    gates = told_gates(nudity=lambda frame: words.get(reel.number(frame), "clear"))
    measured = look(*people[:2], gates=gates)
    assert (measured.source_nudity, measured.target_nudity) == ("clear", worst)


@pytest.mark.parametrize(("distance", "answer"), [(0.3, "hit"), (0.5, "ambiguous"), (0.7, "clear")])
def test_one_frame_near_somebody_who_opted_out_is_enough(
    people: Any,
    look: Any,
    reel: Any,
    face: Any,
    optouts: OptOutBook,
    distance: float,
    answer: str,
) -> None:
    """Half the way from Bert to whoever opted out; the other frames are twice as far from them."""
    away = 2 * distance
    optouts.add(
        pack_template(face(0.0, 1.0, 0.0, away).id_vector),
        model_sha256=reel.models["idnet"],
        pid="ps_" + "b" * 26,
    )
    reel.show(face(*BERT))
    reel.show(face(0.0, 1.0, 0.0, distance), at=2)
    measured = look(*people[:2])
    assert body(measured).registry == answer


def test_a_list_that_cannot_be_asked_clears_nobody(
    people: Any, look: Any, reel: Any, face: Any, optouts: OptOutBook
) -> None:
    optouts.add(pack_template(np.ones(8, np.float32)), model_sha256="0" * 64, pid="ps_" + "b" * 26)
    reel.show(face(*BERT))
    assert [p.registry for p in look(*people[:2]).people] == ["unavailable"] * 2


def test_a_stranger_in_the_source_counts(people: Any, look: Any, reel: Any, face: Any) -> None:
    reel.show(face(*BERT))
    reel.in_source.append(face(*CARL, left=30))
    assert look(*people[:2]).source_faces == 2


@pytest.mark.parametrize("bystanders", ["blur", "persona"])
def test_hiding_people_is_refused_before_a_frame_is_read(
    people: Any, look: Any, reel: Any, bystanders: str
) -> None:
    with pytest.raises(BlurUnavailable) as caught:
        look(*people[:2], bystanders=bystanders)
    assert caught.value.code == "BLUR-UNAVAILABLE"
    assert "name everybody" in caught.value.mend
    assert reel.looked == []


@pytest.mark.parametrize("gates", [None, True, object.__new__(Gates)])
def test_without_gates_nothing_is_measured(people: Any, look: Any, reel: Any, gates: Any) -> None:
    with pytest.raises(GatesMissing):
        look(*people[:2], gates=gates)
    assert reel.looked == []


def test_only_a_clip_is_measured(people: Any, look: Any, reel: Any) -> None:
    reel.clip = reel.source
    with pytest.raises(MediaError):
        look(*people[:2])
