"""Strangers in a swap: blurred, or given the face of a rendered person and then judged.

What is done is what the warrant says was decided, to the faces that it lists. Who is to be blurred
is blurred and not judged (`generator.anonymise` says what was measured of that). Who is to be
replaced gets a persona laid on by `geo`'s own geometry, the one that takes them farthest from
themselves; the result is measured again, and unless two identity nets both say that the face there
is somebody else's than the one that was there before, the next persona is tried, and in the end the
head is blurred. So are faces that geometry cannot replace or that were located and not measured.
Refused (SwapRefused): who was to be replaced and is still known when the head is blurred, and
strangers in a picture whose warrant says to refuse them.

What this means is what was measured (docs/generator.md, Bystanders): two nets do not know the face.
It is no word of data protection law; clothes, hair, place and company stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generator import blend, colour
from generator.anonymise import blur_faces
from generator.errors import MeasurementFailed, ShapeError, SwapRefused
from generator.faces import Face, FaceAnalyser, Frame, only_face
from generator.laying import SHAPE_BLEND, Layers, lay_out, paste
from generator.matching import match
from generator.persona_task import PersonaTask
from generator.personas import Persona, PersonaSet, open_personas, persona_models
from generator.second_net import SecondNet, open_second_net, second_models
from generator.swapper import SAME_FACE_IOU, FloatBox, OutOfRange, SwapTask, overlap
from generator.topology import draw_outlines
from policies.terms import BystanderPolicy
from provenance.draft import require_models

Tone = npt.NDArray[np.float64]
"""Median Lab colour of the skin of nose and cheeks, (3,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Lender:
    """A persona as the analyser of this swap measures it."""

    persona: Persona
    face: Face
    tone: Tone


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """Somebody whom nobody named: where, and their face there, if it was measured."""

    box: FloatBox
    face: Face | None


Lay = Callable[[Lender, Face], Layers]
"""Lays a lender's face on a stranger's by `lay_out`, under the caller's own permit."""


@dataclass(frozen=True, slots=True, eq=False)
class Protected:
    """A frame (BGR uint8) with its strangers treated, and what became of each.

    `lenders`: for every stranger, in their order, the persona's name, or "" for a blurred head.
    """

    frame: Frame
    lenders: tuple[str, ...]

    @property
    def version(self) -> str:
        """What is added to the version of what made the picture: "+persona2+blur1", or ""."""
        replaced = sum(bool(name) for name in self.lenders)
        counts = {"persona": replaced, "blur": len(self.lenders) - replaced}
        return "".join(f"+{way}{count}" for way, count in counts.items() if count)


def bystander_models(bystanders: BystanderPolicy) -> Mapping[str, str]:
    """Return name -> sha256 of what this way of treating strangers takes besides a swap's own.

    A warrant must name them; raises WeightRefused.
    """
    return {**persona_models(), **second_models()} if bystanders == "persona" else {}


def protect(
    frame: Frame, task: SwapTask, *, found: Sequence[Face], analyser: FaceAnalyser
) -> Protected:
    """Return a swapped frame with the strangers of its warrant treated as was decided.

    `task`: the swap that made `frame`; `found`: the faces of its target. Only heads (blurred) and
    inner faces (replaced) of the warrant's `blurred` change. Raises SwapRefused, WarrantInvalid,
    WeightRefused, and ShapeError for a box that lies outside.
    """
    document = task.warrant.document
    if document.bystanders != "persona":
        if document.bystanders == "refuse" and document.blurred:
            raise SwapRefused("the warrant says to refuse people nobody named, and lists some")
        return Protected(blur_faces(frame, document.blurred), ("",) * len(document.blurred))
    strangers = [Stranger(box, face_in(box, found)) for box in document.blurred]

    def lay(lender: Lender, face: Face) -> Layers:
        permit = PersonaTask(
            task, target_face=face, persona=lender.persona, persona_face=lender.face
        )
        return lay_out(permit, SHAPE_BLEND)

    if not strangers:
        return Protected(frame, ())
    shipped = open_personas()
    require_models(shipped.models, task.warrant)
    lenders = measure_lenders(shipped, analyser)
    judge = Judge(task.target.frame, analyser, open_second_net())
    return replace_faces(frame, strangers, lenders, lay=lay, judge=judge)


def face_in(box: FloatBox, faces: Sequence[Face]) -> Face | None:
    """Return the face that lies in a box, the one that fits best; None where there is none."""
    best = max(faces, key=lambda face: overlap(face.box, box), default=None)
    return best if best is not None and overlap(best.box, box) >= SAME_FACE_IOU else None


def measure_lenders(personas: PersonaSet, analyser: FaceAnalyser) -> tuple[Lender, ...]:
    """Return the personas with their faces; raises NoFace where an analyser finds none."""
    lenders = []
    for persona in personas.people:
        face = only_face(analyser.analyse(persona.frame))
        lenders.append(Lender(persona, face, tone_of(persona.frame, face)))
    return tuple(lenders)


def tone_of(frame: Frame, face: Face) -> Tone:
    """Return the colour of a face's skin; grey where none of it is in the frame."""
    height, width = frame.shape[:2]
    low = np.clip(np.floor(face.mesh[:, :2].min(0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(face.mesh[:, :2].max(0)), 0, [width, height]).astype(int)
    part = frame[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return np.array([50.0, 0.0, 0.0])
    bare = [line - low for line in draw_outlines(face.mesh.astype(np.float64)[:, :2]).bare]
    inside = blend.fill_polygons((part.shape[0], part.shape[1]), bare) > 0.5
    skin = colour.to_lab(part)[inside]
    return np.median(skin, axis=0).astype(np.float64) if len(skin) else np.array([50.0, 0.0, 0.0])


class Judge:
    """Asks two identity nets whether somebody could still be known in a changed frame.

    `original`: BGR uint8, the target before anything was changed.
    """

    def __init__(self, original: Frame, analyser: FaceAnalyser, second: SecondNet) -> None:
        self.original, self._analyser, self._second = original, analyser, second

    def find_known(
        self, frame: Frame, strangers: Sequence[Stranger], lenders: Sequence[str]
    ) -> list[int]:
        """Return which strangers may still be known, by their number.

        Everything that looks like a face where the stranger was must be somebody else's to both
        nets. Where a face was replaced, one must be found: what cannot be measured is not judged.
        """
        faces = self._analyser.analyse(frame)
        known = []
        for number, (stranger, lender) in enumerate(zip(strangers, lenders, strict=True)):
            there = [face for face in faces if overlap(face.box, stranger.box) > 0]
            seen = not lender or face_in(stranger.box, there) is not None
            if not seen or not all(self._is_other(frame, face, stranger) for face in there):
                known.append(number)
        return known

    def how_far(self, frame: Frame, stranger: Stranger) -> float:
        """Return how far a stranger's face has gone, in limits of the nets, summed over both.

        0 where no face is found or measured.
        """
        seen = face_in(stranger.box, self._analyser.analyse(frame))
        if seen is None or stranger.face is None:
            return 0.0
        try:
            return sum(self._distances(frame, seen, stranger.face))
        except (MeasurementFailed, ShapeError):
            return 0.0

    def _is_other(self, frame: Frame, face: Face, stranger: Stranger) -> bool:
        """Return whether both nets say that a face of the changed frame is not the stranger's."""
        if stranger.face is None:  # never measured: there is nothing that could be compared
            return True
        try:
            return min(self._distances(frame, face, stranger.face)) > 1
        except (MeasurementFailed, ShapeError):
            return False

    def _distances(self, frame: Frame, seen: Face, before: Face) -> tuple[float, float]:
        """Return how far two faces are apart to each net; above 1 they are different people's."""
        first = match(seen, before.id_vector, self._analyser.thresholds).distance
        vectors = self._second.embed(self.original, before), self._second.embed(frame, seen)
        second = float(np.linalg.norm(vectors[0] - vectors[1]))
        limits = self._analyser.thresholds.mismatch, self._second.thresholds.mismatch
        return first / limits[0], second / limits[1]


def replace_faces(
    frame: Frame,
    strangers: Sequence[Stranger],
    lenders: Sequence[Lender],
    *,
    lay: Lay,
    judge: Judge,
) -> Protected:
    """Return the frame with every stranger's face replaced, or their head blurred, and judged.

    A stranger gets the persona that takes their face farthest from what it was (`Judge.how_far`),
    of those that are equal the nearest in skin colour, and one that nobody else in the picture has
    while there are such; with every verdict that they may be known, the next. Raises SwapRefused
    for somebody who is known in spite of all, and ShapeError for a box that lies outside.
    """
    covers = [_Cover(one, _rank(frame, one, lenders, lay, judge), lay) for one in strangers]
    failing = list(range(len(covers)))
    made = frame
    while failing:
        for number in failing:
            covers[number].advance(taken=[cover.name for cover in covers])
        made = _cover_all(frame, strangers, covers)
        failing = judge.find_known(made, strangers, [cover.name for cover in covers])
    return Protected(made, tuple(cover.name for cover in covers))


def _rank(
    frame: Frame, stranger: Stranger, lenders: Sequence[Lender], lay: Lay, judge: Judge
) -> list[Lender]:
    """Return every persona that can be laid on a stranger, the best first."""
    if stranger.face is None:
        return []
    tone, ranked = tone_of(judge.original, stranger.face), []
    for lender in sorted(lenders, key=lambda one: float(np.linalg.norm(one.tone - tone))):
        try:
            layers = lay(lender, stranger.face)
        except OutOfRange:
            continue
        tried = paste(layers.composite, layers.mask, layers, frame).frame
        ranked.append((judge.how_far(tried, stranger), lender))
    ranked.sort(key=lambda one: one[0], reverse=True)  # stable: equal ones stay by colour
    return [lender for _, lender in ranked]


class _Cover:
    """How one stranger is covered: by a persona's layers, and by a blur when nobody is left.

    Layers are laid anew when their turn comes: those of every persona would fill the memory.
    """

    def __init__(self, stranger: Stranger, left: list[Lender], lay: Lay) -> None:
        self.name = ""
        self.layers: Layers | None = None
        self._face, self._left, self._lay, self._blurred = stranger.face, left, lay, False

    def advance(self, *, taken: Sequence[str]) -> None:
        """Take the next cover; raises SwapRefused where there was none after the blur."""
        if self._blurred:
            raise SwapRefused(
                "a person whom nobody named may still be known with a blurred head",
                mend="cut that person out of the picture",
            )
        if self._left and self._face is not None:
            names = [lender.persona.name for lender in self._left]
            free = [number for number, name in enumerate(names) if name not in taken]
            lender = self._left.pop(free[0] if free else 0)
            self.name, self.layers = lender.persona.name, self._lay(lender, self._face)
        else:
            self.name, self.layers, self._blurred = "", None, True


def _cover_all(frame: Frame, strangers: Sequence[Stranger], covers: Sequence[_Cover]) -> Frame:
    bare = []
    for stranger, cover in zip(strangers, covers, strict=True):
        if cover.layers is None:
            bare.append(stranger.box)
        else:
            layers = cover.layers
            frame = paste(layers.composite, layers.mask, layers, frame).frame
    return blur_faces(frame, bare)
