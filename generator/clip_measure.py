"""Measuring a request whose target is a video: every frame, and of everything the worst.

Gives facts, never a decision; what a frame shows is `sight`'s, whom a face stands for `binding`'s:
who it is is asked of every face in every frame, and of every track as a whole. A face that is
nobody's in one single frame stays unresolved; one that is only similar in a few frames of a track
which is somebody's is theirs, and their worst distance says so. Refused: blurring or replacing
people nobody named, which a video has not yet (BlurUnavailable).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from generator.binding import Bound, Follower
from generator.clip_frames import ClipFrame, watch
from generator.errors import BlurUnavailable
from generator.faces import FaceAnalyser
from generator.gates import Gates, require_gates
from generator.sight import Claim, Sight, assign, describe, look, open_templates, shows_minor
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
    is around all places of their face, their distance the largest. Raises GatesMissing,
    BlurUnavailable, and what reading the clip raises.
    """
    require_gates(gates)
    require_clip(target)
    _require_no_blur(request)
    templates = open_templates(request.people, book, analyser)
    in_source = look(source.frame, analyser, gates)
    sources, others = _by_role(request.people)
    from_source = assign(sources, in_source.faces, templates, analyser)
    follower = Follower(others, templates, analyser, time_base=target.form.time_base)
    seen = _watch(target, _Looks(follower, analyser, gates))
    people = _tell(assign(others, (), templates, analyser), seen, analyser, gates)
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


def _by_role(people: Sequence[Person]) -> tuple[list[Person], list[Person]]:
    """Return who the source shows, and who the target may show."""
    sources = [person for person in people if person.role == "source_identity"]
    return sources, [person for person in people if person not in sources]


def _tell(
    unseen: Sequence[Claim], seen: _Seen, analyser: FaceAnalyser, gates: Gates
) -> list[MeasuredPerson]:
    """Return what was measured of everybody the target may show; of who is nowhere, the worst."""
    nowhere = Sight((), (), ())
    return [
        seen.found.get(claim.person, describe(claim, nowhere, analyser, gates)) for claim in unseen
    ]


def _watch(target: Clip, looks: _Looks) -> _Seen:
    """Look at every frame, and then at what all of them say together."""
    with closing(watch(target)) as shots:
        for shot in shots:
            looks.add(shot)
    seen, bound = _Seen(looks.nudity), looks.follower.settle()
    for frame in looks.frames:
        seen.add(frame, bound)
    return seen


def _require_no_blur(request: Request) -> None:
    if request.bystanders != "refuse":
        raise BlurUnavailable(
            "people whom nobody named cannot be blurred or replaced in a video",
            mend="name everybody in it, each with their own consent, or cut the others out",
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """What one frame shows: how old each face looks, who claims which, and what was measured then.

    `covered`: places that may be a face and could not be measured.
    """

    number: int
    ages: Sequence[AgeLook]
    covered: int
    told: Sequence[tuple[Claim, MeasuredPerson]]


@dataclass(slots=True)
class _Looks:
    """Looks at the frames of a clip one by one; no pixel and no mesh is kept."""

    follower: Follower
    analyser: FaceAnalyser
    gates: Gates
    frames: list[_Look] = field(default_factory=list)
    nudity: NudityLook = "clear"

    def add(self, shot: ClipFrame) -> None:
        """Look at one more frame."""
        sight = look(shot.frame, self.analyser, self.gates)
        told = [
            (claim, describe(claim, sight, self.analyser, self.gates))
            for claim in self.follower.add(shot, sight.faces)
            if claim.face is not None
        ]
        self.frames.append(_Look(shot.number, sight.ages, len(sight.covered), told))
        self.nudity = _worst(_NUDITY, self.nudity, self.gates.look_nudity(shot.frame))


@dataclass(slots=True)
class _Seen:
    """What the frames so far have shown of the people named.

    `strangers`: the most faces in one frame that stand for nobody.
    """

    nudity: NudityLook
    strangers: int = 0
    unnamed_minor: bool = False
    found: dict[Person, MeasuredPerson] = field(default_factory=dict)

    def add(self, frame: _Look, bound: Bound) -> None:
        """Add one more frame, now that it is known whom its faces stand for."""
        persons = [bound.standings[frame.number, face].person for face in range(len(frame.ages))]
        strangers = [age for age, who in zip(frame.ages, persons, strict=True) if who is None]
        self.strangers = max(self.strangers, len(strangers) + frame.covered)
        if frame.covered or "minor" in strangers:
            self.unnamed_minor = True
        for claim, alone in frame.told:
            stands = claim.face is not None and persons[claim.face] == claim.person
            told = alone.model_copy(update={"match": _answer(alone.match, stands)})
            old = self.found.get(claim.person)
            self.found[claim.person] = told if old is None else _together(old, told)


def _answer(own: FaceMatch, stands: bool) -> FaceMatch:
    """Return whether a face is a person's, given the frame's own word and whether it stands."""
    if stands:
        return "match"
    return "ambiguous" if own == "match" else own


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
