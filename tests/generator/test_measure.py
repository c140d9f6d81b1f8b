"""Measuring: every face counts, nobody gets a face twice, and what does not open matches nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.errors import ShapeError
from generator.faces import Face, FaceBox, IdThresholds
from generator.measure import measure, pack_template, unpack_template
from policies.decide import Refused
from policies.digest import sha256_hex
from policies.facts import Measured
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
        hidden: list[FaceBox] = [(0.0, 0.0, 9.0, 9.0)] * self.covered[id(frame)]
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
        vault, data = office.vault, who if isinstance(who, bytes) else pack_template(who)
        office.vault = SimpleNamespace(seal=lambda _text, **named: vault.seal(data, **named))
        try:
            return str(office.enrol(**changes))
        finally:
            office.vault = vault

    return make


@pytest.fixture
def look(office: Any, sketch: Sketch, source: Picture, target: Picture) -> Callable[..., Measured]:
    """`look((id, role), ...)`: what measuring the two pictures gives for these people."""

    def make(*people: tuple[str, str]) -> Measured:
        request = office.request(people, source_sha256=source.sha256, target_sha256=target.sha256)
        return measure(request, source, target, book=office.book, analyser=sketch)

    return make


def answers(measured: Measured) -> list[str]:
    return [person.match for person in measured.people]


def test_two_people_in_their_pictures(
    enrol: Any, look: Any, sketch: Sketch, source: Picture, target: Picture
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
    assert measured.models == sketch.models


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
        "update template set wrapped_key = x'00' where record_id = ?",
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
    assert codes(look(*people)) == ("BYSTANDER",)
    sketch.show(target, face(CARL))
    assert codes(look(*people)) == ("BYSTANDER", "FACE-MISMATCH")
    sketch.show(source, face(ANNA), face(CARL, left=300.0))
    sketch.show(target, face(BERT))
    assert codes(look(*people)) == ("SOURCE-FACES",)
    sketch.show(source, face(ANNA))
    warrant = office.desk.admit(request, look(*people))
    assert [person.box for person in warrant.people] == [(0, 10, 100, 111)] * 2


# ------------------------------------------------------------------------------ templates as bytes


@settings(derandomize=True, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200))
def test_templates_survive_their_bytes(values: Sequence[float]) -> None:
    template = np.array(values, np.float32)
    data = pack_template(template)
    assert len(data) == 4 * len(values)
    assert np.array_equal(unpack_template(data), template)


def test_template_bytes_are_little_endian() -> None:
    assert pack_template(np.array([1.0], np.float32)) == b"\x00\x00\x80\x3f"


@pytest.mark.parametrize("data", [b"", b"abc", b"\x00" * 5, np.float32(np.nan).tobytes()])
def test_other_bytes_are_no_template(data: bytes) -> None:
    with pytest.raises(ShapeError) as caught:
        unpack_template(data)
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize(
    "template",
    [
        np.zeros((2, 2), np.float32),
        np.zeros(4, np.float64),
        np.zeros(0, np.float32),
        [1.0],
        np.array([np.inf], np.float32),
    ],
    ids=["matrix", "double", "empty", "list", "infinite"],
)
def test_other_arrays_are_not_packed(template: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        pack_template(template)
    assert caught.value.code == "SHAPE-ERROR"
