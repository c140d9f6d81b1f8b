"""The door to every swap in a video: a picture's demands, made of every single frame.

`swap_clip` demands an active warrant for a video that names both inputs by digest; its draft makes
frames on demand. In a frame, every face and every place that may be one must match the consent of
somebody whom the warrant shows, as in the measurement it was issued on; faces move, so the boxes of
the warrant are only around all their places. Refused, naming the frame (FrameRefused): anybody
else, a face that is only similar, the swapped person twice, somebody who opted out since, faces
beyond the swapper's range, a result that looks like nudity. Frames without the swapped person
stay as they are. Nothing is smoothed over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

from generator.clip_frames import ClipFrame, watch
from generator.errors import FaceError, SwapRefused
from generator.faces import Face, FaceAnalyser, Frame
from generator.gates import Gates, require_gates
from generator.sight import Templates, assign, open_templates, unmatched, unmeasured_boxes
from generator.swap import (
    pick_face,
    require_clear_output,
    require_not_opted_out,
    require_person,
    require_untouched,
)
from generator.swapper import Swapper, SwapTask, UnnamedFace
from policies.request import Person
from policies.warrants import ActiveWarrant, require_active
from provenance.clip import Clip, require_clip
from provenance.clip_draft import ClipDraft
from provenance.draft import Maker, require_models
from provenance.media import Picture, require_picture


class FrameRefused(SwapRefused):
    """A frame of a video cannot be swapped; `code` is that of the reason, which is chained."""

    code: ClassVar[str] = "FRAME-REFUSED"

    def __init__(self, message: str, *, mend: str = "", code: str = "") -> None:
        super().__init__(message, mend=mend or "cut this part out of the video")
        if code:
            self.code = code  # type: ignore[misc]  # one class, the stable codes of its reasons


def swap_clip(
    source: Picture,
    target: Clip,
    *,
    warrant: ActiveWarrant,
    analyser: FaceAnalyser,
    swapper: Swapper,
    gates: Gates,
) -> ClipDraft:
    """Return the unreleased video with the source's face on the target's body, not yet made.

    Raises at once WarrantInvalid, GatesMissing, MediaError, NoFace, ManyFaces, OtherPerson,
    OptedOut and RegistryUnavailable for the warrant and the source. Its `render` raises
    FrameRefused, WarrantInvalid, and what reading the clip raises.
    """
    active = require_active(warrant)
    require_gates(gates)
    source, target = require_picture(source), require_clip(target)
    active.require(source_sha256=source.sha256, target_sha256=target.sha256, medium="video")
    models = {**analyser.models, **swapper.models}
    require_models({**models, **gates.models}, active)
    face = pick_face(analyser.analyse(source.frame), active, "source_identity")
    require_person(face, "source_identity", active, analyser)
    require_not_opted_out((face,), gates, analyser)
    named = [p for p in active.document.people if p.role != "source_identity"]
    people = tuple(Person(record_id=p.record_id, role=p.role) for p in named)
    templates = open_templates(people, active.consents, analyser)
    work = _Work(active, source, face, target, people, templates, analyser, swapper, gates)
    return ClipDraft(
        work.render,
        warrant=active,
        source=source,
        target=target,
        faces=tuple(person.box for person in named),
        maker=Maker(swapper.name, swapper.version, models),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Everything that making a frame needs; `people` are those whom the target may show."""

    warrant: ActiveWarrant
    source: Picture
    source_face: Face
    target: Clip
    people: Sequence[Person]
    templates: Templates
    analyser: FaceAnalyser
    swapper: Swapper
    gates: Gates

    def render(self, start: int, stop: int) -> Iterator[tuple[int, Frame]]:
        """Yield (pts, BGR uint8) of frames `start` to `stop`, as `clip_draft.Render` says."""
        with closing(watch(self.target, start=start, stop=stop)) as shots:
            for shot in shots:
                try:
                    made = self._make(shot)
                except FaceError as error:
                    raise FrameRefused(
                        f"frame {shot.number}, in second {shot.second}: {error.message}",
                        mend=error.mend,
                        code=error.code,
                    ) from error
                yield shot.pts, made

    def _make(self, shot: ClipFrame) -> Frame:
        face = self._swapped_face(shot)
        if face is None:
            return shot.frame
        task = SwapTask(
            self.warrant,
            source=self.source,
            target=shot,
            source_face=self.source_face,
            target_face=face,
        )
        rendering = self.swapper.render(task)
        require_untouched(rendering, shot)
        require_clear_output(rendering.frame, self.gates)
        return rendering.frame

    def _swapped_face(self, shot: ClipFrame) -> Face | None:
        """Return the face to be swapped; raise UnnamedFace unless everybody shown is named."""
        faces = self.analyser.analyse(shot.frame)
        claims = assign(self.people, faces, self.templates, self.analyser)
        strangers = unmatched(faces, claims)
        if strangers or unmeasured_boxes(shot.frame, faces, self.analyser):
            raise UnnamedFace(
                "a face matches nobody whom the warrant shows",
                mend="name every person in the video, each with their own consent, or cut this "
                "part out of it",
            )
        # Asked at every frame, and of bystanders too: somebody may opt out while it is being made.
        require_not_opted_out((self.source_face, *faces), self.gates, self.analyser)
        for claim in claims:
            if claim.person.role == "target_body" and claim.face is not None:
                return faces[claim.face]
        return None
