"""What one frame shows of the people a request names: faces, their ages, and who is who.

Gives facts about a frame, for pictures (`measure`) and videos (`clip_measure`, `clip_swap`). Every
face counts, also one that matches nobody; a face is claimed by one person at most, and a template
that does not open or fit counts as a mismatch. What a gate could not measure is written down as the
word that denies: "minor", "unavailable".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from generator.errors import ShapeError
from generator.faces import Face, FaceAnalyser, FaceBox, FloatArray, Frame
from generator.gates import Gates
from generator.matching import Match, match
from generator.swapper import SAME_FACE_IOU, overlap
from generator.templates import unpack_template
from policies.audit import ClockRollback
from policies.consents import ConsentBook
from policies.errors import Error, StoreUnavailable
from policies.facts import MeasuredPerson, PixelBox
from policies.keyprovider import KeyUnavailable
from policies.request import Person
from policies.terms import AgeLook

_NOBODY = Match("mismatch", 999.0)

Templates: TypeAlias = Mapping[str, FloatArray | None]
"""Record id -> float32 (d,); None where there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one frame shows: its faces, how old each looks, and places no face was measured at."""

    faces: Sequence[Face]
    ages: Sequence[AgeLook]
    covered: Sequence[FaceBox]

    @property
    def count(self) -> int:
        """How many faces; one too covered to be measured still belongs to somebody: it counts."""
        return len(self.faces) + len(self.covered)


@dataclass(frozen=True, slots=True)
class Claim:
    """Which face of a frame (its index) a named person was given, and how well it fits."""

    person: Person
    found: Match
    face: int | None


def open_templates(
    people: Sequence[Person], book: ConsentBook, analyser: FaceAnalyser
) -> Templates:
    """Return the template of everyone named; raises as `open_template`."""
    return {p.record_id: open_template(p.record_id, book, analyser) for p in people}


def open_template(record_id: str, book: ConsentBook, analyser: FaceAnalyser) -> FloatArray | None:
    """Return a person's template, or None where there is none to compare with: a mismatch.

    None for an unknown or broken consent, another identity model, and a template that does not open
    or whose key is gone. Raises StoreUnavailable, KeyUnavailable and ClockRollback: a database or a
    token that is down, or a clock that is behind, says nothing of anybody.
    """
    try:
        record = book.read(record_id).record
        if record.binding.model_sha256 != analyser.models[analyser.id_model]:
            return None
        return unpack_template(book.template(record))
    except (StoreUnavailable, KeyUnavailable, ClockRollback):
        raise
    except Error:
        return None


def look(frame: Frame, analyser: FaceAnalyser, gates: Gates) -> Sight:
    """Return what a BGR uint8 frame shows."""
    faces = analyser.analyse(frame)
    ages = [gates.look_age(frame, face) for face in faces]
    return Sight(faces, ages, unmeasured_boxes(frame, faces, analyser))


def unmeasured_boxes(
    frame: Frame, faces: Sequence[Face], analyser: FaceAnalyser
) -> tuple[FaceBox, ...]:
    """Return the places of a frame that may be a face and hold none of the measured `faces`.

    Every face accounts for one place at most: its nearest, if the two are one face's.
    """
    left = list(analyser.locate(frame))
    for face in faces:
        shares = [overlap(face.box, box) for box in left]
        if shares and max(shares) >= SAME_FACE_IOU:
            del left[shares.index(max(shares))]
    return tuple(left)


def assign(
    named: Sequence[Person],
    faces: Sequence[Face],
    templates: Templates,
    analyser: FaceAnalyser,
) -> list[Claim]:
    """Give every named person their nearest face, nearest pairs first, no face twice."""
    pairs = sorted(
        (
            (_compare(face, templates[person.record_id], analyser), p, f)
            for p, person in enumerate(named)
            for f, face in enumerate(faces)
        ),
        key=lambda pair: (pair[0].distance, pair[1], pair[2]),
    )
    chosen: dict[int, tuple[Match, int]] = {}
    for found, p, f in pairs:
        if p not in chosen and all(f != taken for _, taken in chosen.values()):
            chosen[p] = (found, f)
    return [Claim(person, *chosen.get(p, (_NOBODY, None))) for p, person in enumerate(named)]


def _compare(face: Face, template: FloatArray | None, analyser: FaceAnalyser) -> Match:
    if template is None:
        return _NOBODY
    try:
        return match(face, template, analyser.thresholds)
    except ShapeError:
        return _NOBODY


def unmatched(faces: Sequence[Face], claims: Sequence[Claim]) -> list[int]:
    """Return which faces of a frame no named person matches; being similar names nobody."""
    matched = {claim.face for claim in claims if claim.found.answer == "match"}
    return [f for f in range(len(faces)) if f not in matched]


def shows_minor(sight: Sight, claims: Sequence[Claim]) -> bool:
    """Return whether a face that nobody named looks like a minor's or has no measured age."""
    strangers = unmatched(sight.faces, claims)
    return bool(sight.covered) or any(sight.ages[f] == "minor" for f in strangers)


def describe(claim: Claim, sight: Sight, analyser: FaceAnalyser, gates: Gates) -> MeasuredPerson:
    """Return what was measured of one named person; of a person without a face, the worst."""
    face = None if claim.face is None else sight.faces[claim.face]
    return MeasuredPerson(
        record_id=claim.person.record_id,
        role=claim.person.role,
        match=claim.found.answer,
        distance_milli=min(round(claim.found.distance * 1000), 1_000_000),
        age="minor" if claim.face is None else sight.ages[claim.face],
        registry="unavailable"
        if face is None
        else gates.ask_registry(face.id_vector, analyser=analyser),
        box=None if face is None else pixel_box(face.box),
    )


def pixel_box(box: FaceBox) -> PixelBox:
    """Return a box in whole pixels, the nearest."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    return x0, y0, x1, y1
