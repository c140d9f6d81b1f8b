"""Measuring the pictures of a request: who is shown, where, how old they look, who opted out.

Gives facts, never a decision. Every face counts, also one that matches nobody; a face is claimed by
one person at most, and a template that does not open or fit counts as a mismatch. What a gate could
not measure is written down as the word that denies: "minor", "unavailable". Faces that nobody named
are listed for blurring only where the request says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from generator.errors import ShapeError
from generator.faces import Face, FaceAnalyser, FaceBox, FloatArray, Frame
from generator.gates import Gates, refuse_opted_out, require_gates
from generator.matching import Match, match
from generator.swapper import SAME_FACE_IOU, overlap
from generator.templates import pack_template, unpack_template
from policies.audit import ClockRollback
from policies.consents import ConsentBook
from policies.errors import Error, StoreUnavailable
from policies.facts import MOST_BLURRED, Measured, MeasuredPerson, PixelBox
from policies.keyprovider import KeyUnavailable
from policies.request import Person, Request
from policies.terms import AgeLook
from provenance.media import Picture

__all__ = ["measure", "open_template", "pack_template", "unmeasured_boxes", "unpack_template"]

_NOBODY = Match("mismatch", 999.0)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one picture shows: its faces, how old each looks, and places no face was measured at."""

    frame: Frame
    faces: Sequence[Face]
    ages: Sequence[AgeLook]
    covered: Sequence[FaceBox]

    @property
    def count(self) -> int:
        """A face too covered to be measured still belongs to somebody: it counts."""
        return len(self.faces) + len(self.covered)


@dataclass(frozen=True, slots=True)
class _Claim:
    """Which face of a picture (its index) a named person was given, and how well it fits."""

    person: Person
    found: Match
    face: int | None


def measure(
    request: Request,
    source: Picture,
    target: Picture,
    *,
    book: ConsentBook,
    analyser: FaceAnalyser,
    gates: Gates,
    swapper_models: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Return what the two pictures show, for the people the request names.

    `swapper_models`: digests of the weights that the swap will use besides the analyser's and the
    gates', so that the warrant names every model. Raises GatesMissing.
    """
    require_gates(gates)
    templates = {p.record_id: open_template(p.record_id, book, analyser) for p in request.people}
    in_source, in_target = (_look(picture.frame, analyser, gates) for picture in (source, target))
    sources = [p for p in request.people if p.role == "source_identity"]
    others = [p for p in request.people if p.role != "source_identity"]
    from_source = _assign(sources, in_source.faces, templates, analyser)
    from_target = _assign(others, in_target.faces, templates, analyser)
    pairs = ((in_source, from_source), (in_target, from_target))
    return Measured(
        source_sha256=source.sha256,
        target_sha256=target.sha256,
        source_faces=in_source.count,
        target_faces=in_target.count,
        target_faces_resolved=sum(claim.found.answer == "match" for claim in from_target),
        blurred=_boxes_to_blur(in_target, from_target) if request.bystanders == "blur" else (),
        unnamed_minor=any(_shows_minor(s, _unclaimed(s, claims)) for s, claims in pairs),
        source_nudity=gates.look_nudity(source.frame),
        target_nudity=gates.look_nudity(target.frame),
        pixels=target.frame.shape[0] * target.frame.shape[1],
        seconds=0,
        people=tuple(
            _describe(claim, sight, analyser, gates) for sight, claims in pairs for claim in claims
        ),
        models={**analyser.models, **gates.models, **swapper_models},
        identity_model_sha256=analyser.models[analyser.id_model],
    )


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


def require_nobody_opted_out(
    request: Request, *, book: ConsentBook, analyser: FaceAnalyser, gates: Gates
) -> None:
    """Raise OptedOut when somebody of a request is near the do-not-swap list now.

    For handing out again what was released before: no picture is measured then, the templates say
    who is shown. Raises RegistryUnavailable where the list or a template cannot be asked.
    """
    require_gates(gates)
    templates = [open_template(person.record_id, book, analyser) for person in request.people]
    refuse_opted_out(
        "unavailable" if template is None else gates.ask_registry(template, analyser=analyser)
        for template in templates
    )


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


def _look(frame: Frame, analyser: FaceAnalyser, gates: Gates) -> _Sight:
    faces = analyser.analyse(frame)
    ages = [gates.look_age(frame, face) for face in faces]
    return _Sight(frame, faces, ages, unmeasured_boxes(frame, faces, analyser))


def _assign(
    named: Sequence[Person],
    faces: Sequence[Face],
    templates: Mapping[str, FloatArray | None],
    analyser: FaceAnalyser,
) -> list[_Claim]:
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
    return [_Claim(person, *chosen.get(p, (_NOBODY, None))) for p, person in enumerate(named)]


def _compare(face: Face, template: FloatArray | None, analyser: FaceAnalyser) -> Match:
    if template is None:
        return _NOBODY
    try:
        return match(face, template, analyser.thresholds)
    except ShapeError:
        return _NOBODY


def _describe(claim: _Claim, sight: _Sight, analyser: FaceAnalyser, gates: Gates) -> MeasuredPerson:
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
        box=None if face is None else _pixel_box(face.box),
    )


def _unclaimed(sight: _Sight, claims: Sequence[_Claim]) -> list[int]:
    """Return which faces of a picture no named person matches; being similar names nobody."""
    matched = {claim.face for claim in claims if claim.found.answer == "match"}
    return [f for f in range(len(sight.faces)) if f not in matched]


def _shows_minor(sight: _Sight, strangers: Sequence[int]) -> bool:
    """Return whether a face that nobody named looks like a minor's or has no measured age."""
    return bool(sight.covered) or any(sight.ages[f] == "minor" for f in strangers)


def _boxes_to_blur(sight: _Sight, claims: Sequence[_Claim]) -> tuple[PixelBox, ...]:
    """Return the places of faces that nobody named.

    One that lies over a named face is left out, since blurring it would cover what is to be shown;
    so are all of a crowd. Faces left out stay unresolved, and the picture is denied.
    """
    strangers = _unclaimed(sight, claims)
    named = [sight.faces[f].box for f in range(len(sight.faces)) if f not in strangers]
    boxes = [
        _pixel_box(box)
        for box in (*(sight.faces[f].box for f in strangers), *sight.covered)
        if all(overlap(_pixel_box(box), _pixel_box(own)) == 0 for own in named)
    ]
    return tuple(boxes) if len(boxes) <= MOST_BLURRED else ()


def _pixel_box(box: FaceBox) -> PixelBox:
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    return x0, y0, x1, y1
