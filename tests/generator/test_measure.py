"""Measuring: every face counts, nobody gets one twice, and what is not measured speaks against."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from generator.errors import GatesMissing, MeasurementFailed, OptedOut, RegistryUnavailable
from generator.faces import Face, FaceBox, IdThresholds, open_analyser
from generator.gates import Gates, open_gates
from generator.measure import measure, require_nobody_opted_out
from generator.sight import open_template, unmeasured_boxes
from generator.templates import pack_template
from policies.audit import ClockRollback
from policies.consent import ConsentBroken
from policies.decide import Refused
from policies.digest import sha256_hex
from policies.errors import Error, StoreUnavailable
from policies.facts import MOST_BLURRED, Measured
from policies.keyprovider import KeyDenied, KeyGone, KeyUnavailable
from policies.optout import OptOutBook
from provenance.media import Picture, decode, encode

MODEL_SHA256 = sha256_hex(b"identity model")
Vector = npt.NDArray[np.float32]


def vector(*values: float) -> Vector:
    made = np.zeros(8, np.float32)
    made[: len(values)] = values
    return made


ANNA, BERT, CARL = vector(1.0), vector(0.0, 1.0), vector(0.0, 0.0, 1.0)


def face(who: Vector, left: float = 0.0) -> Face:
    box = (left + 0.4, 10.4, left + 99.6, 110.6)
    mesh, iris = np.zeros((468, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    return Face(box, 0.9, mesh, iris, (0.0, 0.0, 0.0), who)


class Sketch:
    """An analyser that finds what it was told, by picture."""

    id_model = "idnet"
    thresholds = IdThresholds(match=0.4, mismatch=0.6)

    def __init__(self) -> None:
        self.models = {"idnet": MODEL_SHA256, "detector": sha256_hex(b"detector")}
        self.faces: dict[int, list[Face]] = {}
        self.covered: dict[int, int] = {}

    def show(self, picture: Picture, *faces: Face, covered: int = 0) -> None:
        self.faces[id(picture.frame)] = list(faces)
        self.covered[id(picture.frame)] = covered

    def analyse(self, frame: Any) -> list[Face]:
        return self.faces[id(frame)]

    def locate(self, frame: Any) -> list[FaceBox]:
        hidden: list[FaceBox] = [(500.0, 0.0, 590.0, 90.0)] * self.covered[id(frame)]
        return [found.box for found in self.faces[id(frame)]] + hidden


@pytest.fixture
def source() -> Picture:
    return decode(encode(np.full((32, 32, 3), 10, np.uint8), "image/png"))


@pytest.fixture
def target() -> Picture:
    return decode(encode(np.full((32, 32, 3), 200, np.uint8), "image/png"))


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()


@pytest.fixture
def enrol(office: Any) -> Callable[..., str]:
    """`enrol(vector, **changes)`: a confirmed consent whose template is that vector."""

    def make(who: Vector | bytes, **changes: object) -> str:
        template = who if isinstance(who, bytes) else pack_template(who)
        return str(office.enrol(face=template, **changes))

    return make


@pytest.fixture
def look(
    office: Any, sketch: Sketch, source: Picture, target: Picture, told_gates: Any
) -> Callable[..., Measured]:
    """`look((id, role), ..., gates=..., **request)`: what measuring gives for these people."""
    clear = told_gates()

    def make(*people: tuple[str, str], gates: Gates = clear, **changes: object) -> Measured:
        request = office.request(
            people, source_sha256=source.sha256, target_sha256=target.sha256, **changes
        )
        return measure(request, source, target, book=office.book, analyser=sketch, gates=gates)

    return make


def answers(measured: Measured) -> list[str]:
    return [person.match for person in measured.people]


def test_two_people_in_their_pictures(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, told_gates: Any
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT + 0.05, left=20.0))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert answers(measured) == ["match", "match"]
    assert (measured.source_faces, measured.target_faces, measured.target_faces_resolved) == (
        1,
        1,
        1,
    )
    assert (measured.source_sha256, measured.target_sha256) == (source.sha256, target.sha256)
    assert [person.record_id for person in measured.people] == [anna, bert]
    assert measured.people[1].box == (20, 10, 120, 111)
    assert measured.people[1].distance_milli == round(0.05 * np.sqrt(8) * 1000)
    assert measured.identity_model_sha256 == MODEL_SHA256
    assert measured.models == {**sketch.models, **told_gates().models}
    assert measured.blurred == ()
    assert not measured.unnamed_minor
    assert (measured.source_nudity, measured.target_nudity) == ("clear", "clear")
    assert (measured.pixels, measured.seconds) == (32 * 32, 0)
    assert [(p.age, p.registry) for p in measured.people] == [("clear", "clear")] * 2


@pytest.mark.parametrize(
    ("distance", "answer"), [(0.3, "match"), (0.5, "ambiguous"), (0.7, "mismatch")]
)
def test_answer_follows_the_thresholds(
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    distance: float,
    answer: str,
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA + vector(0.0, 0.0, distance)))
    sketch.show(target, face(BERT))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert answers(measured) == [answer, "match"]
    # An ambiguous face resolves nobody, only a match does.
    assert measured.target_faces_resolved == 1


def test_faces_exchanged_between_the_pictures_match_nobody(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(BERT))
    sketch.show(target, face(ANNA))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert answers(measured) == ["mismatch", "mismatch"]
    assert measured.target_faces_resolved == 0


def test_stranger_in_the_target_counts_unresolved(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(CARL, left=300.0), face(BERT))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert (measured.target_faces, measured.target_faces_resolved) == (2, 1)
    assert answers(measured) == ["match", "match"]


@pytest.mark.parametrize("which", ["source", "target"])
def test_face_too_covered_to_be_measured_still_counts(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, which: str
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA), covered=int(which == "source"))
    sketch.show(target, face(BERT), covered=int(which == "target"))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    counted = {"source": measured.source_faces, "target": measured.target_faces}
    assert counted == {"source": 1, "target": 1} | {which: 2}


def test_no_face_at_all(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source)
    sketch.show(target)
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert (measured.source_faces, measured.target_faces) == (0, 0)
    assert answers(measured) == ["mismatch", "mismatch"]
    assert [person.box for person in measured.people] == [None, None]
    assert [person.distance_milli for person in measured.people] == [999_000, 999_000]
    assert [person.age for person in measured.people] == ["minor", "minor"]
    assert [person.registry for person in measured.people] == ["unavailable", "unavailable"]


def test_one_face_is_claimed_by_the_nearest_person_only(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    """Twins: the face is nearer to the second, who gets it; the first gets none."""
    anna = enrol(ANNA)
    first, second = enrol(BERT), enrol(BERT + vector(0.1))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT + vector(0.1)))
    measured = look((anna, "source_identity"), (first, "target_body"), (second, "bystander"))
    assert answers(measured) == ["match", "mismatch", "match"]
    assert measured.people[1].box is None
    assert measured.target_faces_resolved == 1


def test_nearest_pairs_go_first_whatever_the_order(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert, carl = enrol(ANNA), enrol(BERT), enrol(CARL)
    shown = {"bert": face(BERT, left=0.0), "carl": face(CARL, left=200.0)}
    for order in (("bert", "carl"), ("carl", "bert")):
        sketch.show(source, face(ANNA))
        sketch.show(target, *(shown[name] for name in order))
        measured = look((anna, "source_identity"), (carl, "bystander"), (bert, "target_body"))
        by_id = {person.record_id: person for person in measured.people}
        assert by_id[bert].box == (0, 10, 100, 111)
        assert by_id[carl].box == (200, 10, 300, 111)
        assert measured.target_faces_resolved == 2


def test_person_who_is_source_and_bystander_is_measured_in_both_pictures(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(ANNA, left=300.0))
    measured = look((anna, "source_identity"), (bert, "target_body"), (anna, "bystander"))
    assert answers(measured) == ["match"] * 3
    boxes = {(p.record_id, p.role): p.box for p in measured.people}
    assert boxes[anna, "source_identity"] == (0, 10, 100, 111)
    assert boxes[anna, "bystander"] == (300, 10, 400, 111)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"abc",
        pack_template(vector(1.0))[:-4],
        pack_template(np.ones(128, np.float32)),
        np.full(8, np.nan, np.float32).tobytes(),
        np.full(8, np.inf, np.float32).tobytes(),
        np.zeros(8, np.float32).tobytes(),
    ],
    ids=["none", "odd", "short", "another net's", "nan", "infinity", "zeros"],
)
def test_template_that_does_not_fit_matches_nobody(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, stored: bytes
) -> None:
    anna, bert = enrol(stored), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    assert answers(look((anna, "source_identity"), (bert, "target_body"))) == ["mismatch", "match"]


def test_face_vector_that_does_not_fit_matches_nobody(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(np.zeros(8, np.float32)))
    sketch.show(target, face(np.ones(128, np.float32)))
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert answers(measured) == ["mismatch", "mismatch"]


def test_template_of_another_model_is_not_compared(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    sketch.models["idnet"] = sha256_hex(b"a newer identity model")
    measured = look((anna, "source_identity"), (bert, "target_body"))
    assert answers(measured) == ["mismatch", "mismatch"]
    assert measured.identity_model_sha256 == sha256_hex(b"a newer identity model")


def test_unknown_person_matches_nobody(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    bert = enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    nobody = "00000000-0000-7000-8000-ffffffffffff"
    assert answers(look((nobody, "source_identity"), (bert, "target_body"))) == [
        "mismatch",
        "match",
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "update template set ciphertext = x'00' where record_id = ?",
        "delete from template where record_id = ?",
        "update consent set document = x'00' where record_id = ?",
    ],
)
def test_edited_row_matches_nobody(
    office: Any, enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, sql: str
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    with office.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger consent_update")
        assert connection.exec_driver_sql(sql, (anna,)).rowcount == 1
    assert answers(look((anna, "source_identity"), (bert, "target_body"))) == ["mismatch", "match"]


def test_what_was_measured_is_what_the_desk_decides_on(
    office: Any, enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    anna, bert = enrol(ANNA), enrol(BERT)
    people = ((anna, "source_identity"), (bert, "target_body"))
    request = office.request(people, source_sha256=source.sha256, target_sha256=target.sha256)

    def codes(measured: Measured) -> tuple[str, ...]:
        with pytest.raises(Refused) as caught:
            office.desk.admit(request, measured)
        return caught.value.decision.codes

    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(CARL, left=300.0))
    assert "BYSTANDER" in codes(look(*people))
    sketch.show(target, face(CARL))
    assert {"BYSTANDER", "FACE-MISMATCH"} <= set(codes(look(*people)))
    sketch.show(source, face(ANNA), face(CARL, left=300.0))
    sketch.show(target, face(BERT))
    assert codes(look(*people)) == ("SOURCE-FACES",)
    sketch.show(source, face(ANNA))
    warrant = office.desk.admit(request, look(*people))
    assert [person.box for person in warrant.people] == [(0, 10, 100, 111)] * 2


# -------------------------------------------------------------------------- faces nobody named


def test_strangers_are_blurred_only_where_the_request_says_so(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    """T7: two faces, one consent."""
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(CARL, left=300.0), face(BERT))
    refusing, blurring = look(*people), look(*people, bystanders="blur")
    assert refusing.blurred == ()
    assert blurring.blurred == ((300, 10, 400, 111),)
    for measured in (refusing, blurring):
        assert (measured.target_faces, measured.target_faces_resolved) == (2, 1)
        assert not measured.unnamed_minor
    replacing = look(*people, bystanders="persona")
    further = {name: replacing.models[name] for name in ("faceres", "personas")}
    assert replacing.models == {**blurring.models, **further}
    assert "personas" not in blurring.models
    assert replacing.model_copy(update={"models": blurring.models}) == blurring


def test_a_face_that_is_only_similar_is_a_stranger(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT + vector(0.5)))
    measured = look(*people, bystanders="blur")
    assert answers(measured) == ["match", "ambiguous"]
    assert measured.blurred == ((0, 10, 100, 111),)


def test_a_covered_face_is_blurred_and_counts_as_a_minor(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), covered=1)
    measured = look(*people, bystanders="blur")
    assert measured.blurred == ((500, 0, 590, 90),)
    assert measured.unnamed_minor


def test_a_stranger_over_a_named_face_stays_unresolved(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
) -> None:
    """Blurring one would cover the other; the count says that somebody is left."""
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(CARL, left=90.0), face(CARL, left=300.0))
    measured = look(*people, bystanders="blur")
    assert measured.blurred == ((300, 10, 400, 111),)
    assert (measured.target_faces, measured.target_faces_resolved) == (3, 1)


@pytest.mark.parametrize("crowd", [MOST_BLURRED, MOST_BLURRED + 1])
def test_a_crowd_is_not_blurred(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, crowd: int
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    strangers = [face(CARL, left=200.0 * number) for number in range(1, crowd + 1)]
    sketch.show(target, face(BERT), *strangers)
    measured = look(*people, bystanders="blur")
    assert len(measured.blurred) == (crowd if crowd <= MOST_BLURRED else 0)
    assert measured.target_faces == crowd + 1


def test_every_face_takes_one_place_at_most() -> None:
    """A second place on a measured face is somebody until it is shown to be nobody."""
    boxes: list[FaceBox] = [
        (0.0, 0.0, 100.0, 100.0),
        (5.0, 5.0, 105.0, 105.0),
        (300.0, 0.0, 9e2, 9),
    ]
    analyser = SimpleNamespace(locate=lambda frame: boxes)
    frame = np.zeros((99, 99, 3), np.uint8)
    seen = face(ANNA)  # its box is (0.4, 10.4, 99.6, 110.6)
    assert unmeasured_boxes(frame, [seen], analyser) == (boxes[0], boxes[2])  # type: ignore[arg-type]
    assert unmeasured_boxes(frame, [], analyser) == tuple(boxes)  # type: ignore[arg-type]
    assert len(boxes) == 3


# ----------------------------------------------------------------------------------- the gates


def young(*whose: Vector) -> Callable[..., str]:
    """An age net that sees minors in these people."""

    def answer(frame: object, seen: Face) -> str:
        return "minor" if any(np.array_equal(seen.id_vector, who) for who in whose) else "clear"

    return answer


def test_a_child_in_the_crowd_is_noticed(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, told_gates: Any
) -> None:
    """T5: also where the child would be blurred."""
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    child = vector(0.0, 0.0, 0.0, 1.0)
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(CARL, left=300.0), face(child, left=600.0))
    gates = told_gates(age=young(child))
    for bystanders in ("refuse", "blur"):
        measured = look(*people, gates=gates, bystanders=bystanders)
        assert measured.unnamed_minor
        assert [p.age for p in measured.people] == ["clear", "clear"]
    assert not look(*people, gates=told_gates(age=young(ANNA, BERT))).unnamed_minor


@pytest.mark.parametrize(("who", "ages"), [(ANNA, ["minor", "clear"]), (BERT, ["clear", "minor"])])
def test_a_named_minor_is_noticed(
    *,
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    told_gates: Any,
    who: Vector,
    ages: list[str],
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    measured = look(*people, gates=told_gates(age=young(who)))
    assert [p.age for p in measured.people] == ages


@pytest.mark.parametrize("where", ["extra", "covered"])
def test_a_minor_beside_the_source_is_noticed(
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    told_gates: Any,
    where: str,
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    extra = [face(CARL, left=300.0)] if where == "extra" else []
    sketch.show(source, face(ANNA), *extra, covered=int(where == "covered"))
    sketch.show(target, face(BERT))
    measured = look(*people, gates=told_gates(age=young(CARL)))
    assert measured.unnamed_minor
    assert measured.source_faces == 2


def test_an_age_that_cannot_be_measured_is_a_minors(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, told_gates: Any
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(CARL, left=300.0))
    measured = look(*people, gates=told_gates(age=MeasurementFailed("no face there")))
    assert [p.age for p in measured.people] == ["minor", "minor"]
    assert measured.unnamed_minor


@pytest.mark.parametrize("answer", ["review", "found", MeasurementFailed("no answer")], ids=str)
@pytest.mark.parametrize("which", ["source", "target"])
def test_both_pictures_are_looked_at_for_nudity(
    *,
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    told_gates: Any,
    which: str,
    answer: Any,
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    wrong = {"source": source, "target": target}[which].frame
    gates = told_gates(nudity=lambda frame: answer if frame is wrong else "clear")
    measured = look(*people, gates=gates)
    said = answer if isinstance(answer, str) else "unavailable"
    looks = {"source": measured.source_nudity, "target": measured.target_nudity}
    assert looks == {"source": "clear", "target": "clear"} | {which: said}


def opt_out(optouts: OptOutBook, who: Vector, model_sha256: str = MODEL_SHA256) -> None:
    optouts.add(pack_template(who), model_sha256=model_sha256, pid="ps_" + "z" * 26)


def test_named_people_are_looked_up_and_strangers_are_not(
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    told_gates: Any,
    optouts: OptOutBook,
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT), face(CARL, left=300.0))
    opt_out(optouts, CARL)
    measured = look(*people, gates=told_gates(), bystanders="blur")
    assert [p.registry for p in measured.people] == ["clear", "clear"]
    optouts.add(pack_template(BERT + vector(0.5)), model_sha256=MODEL_SHA256, pid="ps_" + "y" * 26)
    measured = look(*people, gates=told_gates(), bystanders="blur")
    assert [p.registry for p in measured.people] == ["clear", "ambiguous"]


def test_a_list_that_cannot_be_asked_is_unavailable_for_everybody(
    enrol: Any,
    look: Any,
    sketch: Sketch,
    source: Picture,
    target: Picture,
    told_gates: Any,
    optouts: OptOutBook,
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    sketch.show(source, face(ANNA))
    sketch.show(target, face(BERT))
    opt_out(optouts, CARL, sha256_hex(b"another model"))
    measured = look(*people, gates=told_gates())
    assert [p.registry for p in measured.people] == ["unavailable", "unavailable"]


@pytest.mark.parametrize("nothing", [None, True, SimpleNamespace(look_age=lambda *_: "clear")])
def test_without_gates_nothing_is_measured(enrol: Any, look: Any, nothing: Any) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    with pytest.raises(GatesMissing) as caught:
        look(*people, gates=nothing)
    assert caught.value.code == "GATES-REQUIRED"


def test_a_database_that_is_down_is_no_mismatch(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture, office: Any
) -> None:
    people = ((enrol(ANNA), "source_identity"), (enrol(BERT), "target_body"))
    with office.database.transaction() as connection:
        connection.exec_driver_sql("drop table template")
    with pytest.raises(StoreUnavailable):
        look(*people)


@pytest.mark.parametrize("error", [StoreUnavailable, KeyUnavailable, ClockRollback])
@pytest.mark.parametrize("where", ["read", "template"])
def test_what_says_nothing_of_anybody_is_no_mismatch(
    enrol: Any, sketch: Sketch, office: Any, monkeypatch: Any, where: str, error: type[Error]
) -> None:
    def fail(*_: object) -> None:
        raise error("not now")

    record_id = enrol(ANNA)
    assert open_template(record_id, office.book, sketch) is not None
    monkeypatch.setattr(type(office.book), where, fail)
    with pytest.raises(error):
        open_template(record_id, office.book, sketch)


@pytest.mark.parametrize("error", [ConsentBroken, KeyGone, KeyDenied])
def test_a_template_that_does_not_open_is_none(
    enrol: Any, sketch: Sketch, office: Any, monkeypatch: Any, error: type[Error]
) -> None:
    def fail(*_: object) -> None:
        raise error("never")

    record_id = enrol(ANNA)
    monkeypatch.setattr(type(office.book), "template", fail)
    assert open_template(record_id, office.book, sketch) is None


def test_the_opt_outs_are_asked_again_by_template(
    enrol: Any, sketch: Sketch, office: Any, told_gates: Any, optouts: OptOutBook
) -> None:
    request = office.request([(enrol(ANNA), "source_identity"), (enrol(BERT), "target_body")])

    def ask() -> None:
        require_nobody_opted_out(request, book=office.book, analyser=sketch, gates=told_gates())

    ask()
    opt_out(optouts, CARL)
    ask()
    near = optouts.add(
        pack_template(BERT + vector(0.5)), model_sha256=MODEL_SHA256, pid="ps_" + "y" * 26
    )
    with pytest.raises(OptedOut) as refused:
        ask()
    assert refused.value.code == "OPTED-OUT"
    assert not any(character.isdigit() for character in refused.value.diagnostics())
    optouts.remove(near)
    ask()
    with office.database.transaction() as connection:
        connection.exec_driver_sql("update template set ciphertext = x'00'")
    with pytest.raises(RegistryUnavailable) as unasked:
        ask()
    assert unasked.value.code == "REGISTRY-UNAVAILABLE"


def test_opt_outs_of_another_net_clear_nobody_again(
    enrol: Any, sketch: Sketch, office: Any, told_gates: Any, optouts: OptOutBook
) -> None:
    request = office.request([(enrol(ANNA), "source_identity"), (enrol(BERT), "target_body")])
    opt_out(optouts, CARL, sha256_hex(b"another model"))
    with pytest.raises(RegistryUnavailable):
        require_nobody_opted_out(request, book=office.book, analyser=sketch, gates=told_gates())
    with pytest.raises(GatesMissing):
        require_nobody_opted_out(request, book=office.book, analyser=sketch, gates=None)  # type: ignore[arg-type]


def test_rendered_people_side_by_side(
    office: Any, optouts: OptOutBook, demo_picture: Callable[[str], bytes]
) -> None:
    """The shipped nets: one person is named, the other is found, challenged and listed."""
    analyser = open_analyser()
    frames = {n: decode(demo_picture(f"persona{n}_0")).frame for n in (1, 2, 3)}
    source = decode(encode(frames[1], "image/png"))
    target = decode(encode(np.concatenate([frames[2], frames[3]], axis=1), "image/png"))
    identity = analyser.models[analyser.id_model]

    def enrolled(frame: Any) -> str:
        [seen] = analyser.analyse(frame)
        return str(office.enrol(face=pack_template(seen.id_vector), model_sha256=identity))

    request = office.request(
        [(enrolled(frames[1]), "source_identity"), (enrolled(frames[2]), "target_body")],
        source_sha256=source.sha256,
        target_sha256=target.sha256,
        bystanders="blur",
    )
    gates = open_gates(optouts)
    measured = measure(request, source, target, book=office.book, analyser=analyser, gates=gates)
    assert [(p.match, p.age, p.registry) for p in measured.people] == [
        ("match", "challenge", "clear"),
        ("match", "challenge", "clear"),
    ]
    assert (measured.target_faces, measured.target_faces_resolved) == (2, 1)
    [(left, _top, right, _bottom)] = measured.blurred
    assert 512 < left < right < 1024
    assert not measured.unnamed_minor
    assert (measured.source_nudity, measured.target_nudity) == ("clear", "clear")
    assert measured.pixels == 512 * 1024
