"""Measuring a request whose target is a video: every frame, and of everything the worst.

Gives facts, never a decision; what a frame shows is `sight`'s. Nobody is tracked from frame to
frame: who it is is asked of every face anew, and a face that matches nobody in one single frame
stays unresolved. Refused: blurring of people nobody named, which a video has not yet
(BlurUnavailable).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from generator.clip_frames import watch
from generator.errors import BlurUnavailable
from generator.faces import FaceAnalyser, Frame
from generator.gates import Gates, require_gates
from generator.sight import (
    Sight,
    Templates,
    assign,
    describe,
    look,
    open_templates,
    shows_minor,
    unmatched,
)
from policies.consents import ConsentBook
from policies.facts import Measured, MeasuredPerson, PixelBox
from policies.request import Person, Request
from policies.terms import AgeLook, FaceMatch, NudityLook, RegistryAnswer
from provenance.clip import Clip, require_clip
from provenance.media import Picture

# From the best to the worst: the last one of all frames is the fact.
_MATCHES: Final[tuple[FaceMatch, ...]] = ("match", "ambiguous", "mismatch")
_AGES: Final[tuple[AgeLook, ...]] = ("clear", "challenge", "minor")
_NUDITY: Final[tuple[NudityLook, ...]] = ("clear", "review", "found", "unavailable")
_REGISTRY: Final[tuple[RegistryAnswer, ...]] = ("clear", "ambiguous", "hit", "unavailable")

_Word = TypeVar("_Word", bound=str)


def measure_clip(
    request: Request,
    source: Picture,
    target: Clip,
    *,
    book: ConsentBook,
    analyser: FaceAnalyser,
    gates: Gates,
    swapper_models: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Return what the source picture and all frames of the target show, for the people named.

    `swapper_models`: digests of the weights that the swap will use besides the analyser's and the
    gates', so that the warrant names every model. Faces of the target are counted as people: those
    named who matched wherever they are seen, and the most others in one frame. The box of a person
    is around all places of their face. Raises GatesMissing, BlurUnavailable, and what reading the
    clip raises.
    """
    require_gates(gates)
    require_clip(target)
    _require_no_blur(request)
    templates = open_templates(request.people, book, analyser)
    in_source = look(source.frame, analyser, gates)
    sources = [p for p in request.people if p.role == "source_identity"]
    from_source = assign(sources, in_source.faces, templates, analyser)
    others = [p for p in request.people if p.role != "source_identity"]
    seen = _watch(target, _Seen(others, templates, analyser, gates))
    people = seen.people()
    resolved = sum(person.match == "match" for person in people)
    return Measured(
        source_sha256=source.sha256,
        target_sha256=target.sha256,
        source_faces=in_source.count,
        target_faces=resolved + seen.strangers,
        target_faces_resolved=resolved,
        blurred=(),
        unnamed_minor=shows_minor(in_source, from_source) or seen.unnamed_minor,
        source_nudity=gates.look_nudity(source.frame),
        target_nudity=seen.nudity,
        pixels=target.form.width * target.form.height,
        seconds=target.form.seconds,
        people=(*(describe(c, in_source, analyser, gates) for c in from_source), *people),
        models={**analyser.models, **gates.models, **swapper_models},
        identity_model_sha256=analyser.models[analyser.id_model],
    )


def _watch(target: Clip, seen: _Seen) -> _Seen:
    """Show every frame to `seen`."""
    with closing(watch(target)) as shots:
        for shot in shots:
            seen.add(shot.frame)
    return seen


def _require_no_blur(request: Request) -> None:
    if request.bystanders == "blur":
        raise BlurUnavailable(
            "people whom nobody named cannot be blurred in a video",
            mend="name everybody in it, each with their own consent, or cut the others out",
        )


@dataclass(slots=True)
class _Seen:
    """What the frames so far have shown of the people named.

    `strangers`: the most faces in one frame that matched nobody.
    """

    named: Sequence[Person]
    templates: Templates
    analyser: FaceAnalyser
    gates: Gates
    strangers: int = 0
    unnamed_minor: bool = False
    nudity: NudityLook = "clear"
    found: dict[Person, MeasuredPerson] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        """Look at one more frame, BGR uint8."""
        sight = look(frame, self.analyser, self.gates)
        claims = assign(self.named, sight.faces, self.templates, self.analyser)
        strangers = len(unmatched(sight.faces, claims)) + len(sight.covered)
        self.strangers = max(self.strangers, strangers)
        self.unnamed_minor = self.unnamed_minor or shows_minor(sight, claims)
        self.nudity = _worst(_NUDITY, self.nudity, self.gates.look_nudity(frame))
        for claim in claims:
            if claim.face is not None:
                told = describe(claim, sight, self.analyser, self.gates)
                old = self.found.get(claim.person)
                self.found[claim.person] = told if old is None else _together(old, told)

    def people(self) -> list[MeasuredPerson]:
        """Return everyone named, as they were seen at worst; who was never seen is a mismatch."""
        unseen = assign(self.named, (), self.templates, self.analyser)
        return [
            self.found.get(claim.person)
            or describe(claim, Sight((), (), ()), self.analyser, self.gates)
            for claim in unseen
        ]


def _together(one: MeasuredPerson, other: MeasuredPerson) -> MeasuredPerson:
    """Return the worst of two measurements of one person, with a box around both places.

    A face that mismatches where another matched, or nearly, is a stranger's: it stays unresolved
    and counts there, and says nothing of this person.
    """
    if (one.match == "mismatch") != (other.match == "mismatch"):
        return other if one.match == "mismatch" else one
    return MeasuredPerson(
        record_id=one.record_id,
        role=one.role,
        match=_worst(_MATCHES, one.match, other.match),
        distance_milli=max(one.distance_milli, other.distance_milli),
        age=_worst(_AGES, one.age, other.age),
        registry=_worst(_REGISTRY, one.registry, other.registry),
        box=_hull(one.box, other.box),
    )


def _hull(one: PixelBox | None, other: PixelBox | None) -> PixelBox | None:
    if one is None or other is None:
        return one or other
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _worst(order: tuple[_Word, ...], *words: _Word) -> _Word:
    return max(words, key=order.index)
