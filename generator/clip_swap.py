"""The door to every swap in a video: a picture's demands of every frame, a person's of every track.

`swap_clip` demands an active warrant for a video that names both inputs by digest; its draft makes
frames on demand. Demanded, before the first frame is made, of all frames of the clip (`casting`):

- of a frame: every face, and every place that may be one, is claimed by somebody whom the warrant
  shows, and by nobody twice; a mismatch is never swapped, nor shown;
- of a track (one face through a shot): it matches one such person as a whole, and three quarters
  of its frames by themselves; a frame that is only similar to them is taken then, if nobody else
  who is named is as near and it matches its own track (`binding`). A track that is only similar
  as a whole, or a second one of the same person at one time, refuses the video.

Demanded of every frame when it is made: its pixels are those looked at, the warrant is active, the
face lies within the warrant's box, nobody in it is on the list of opt-outs as it stands now, the
swapper finds it within its range, and the result is clear of nudity. What fails is refused, naming
the frame (FrameRefused); for a face beyond the swapper's range, also in how many frames.

The landmarks of a track are held steady (`steady`), of the whole clip from its first frame on: a
frame looks the same whichever piece it is made in. A swapper that follows (`FollowingSwapper`) is
given a fixed number of frames before, of the same track. Frames without the swapped person stay as
they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from generator import steady
from generator.casting import Cast, Cue, cast_clip, refusal
from generator.clip_frames import ClipFrame, watch
from generator.errors import FaceError
from generator.faces import Face, FaceAnalyser, Frame
from generator.gates import Gates, refuse_opted_out, require_gates
from generator.sight import Templates, open_templates
from generator.swap import (
    pick_face,
    require_clear_output,
    require_not_opted_out,
    require_person,
    require_untouched,
)
from generator.swapper import (
    FollowingSwapper,
    OutOfRange,
    Rendering,
    Swapper,
    SwapTask,
)
from policies.request import Person
from policies.warrants import ActiveWarrant, require_active
from provenance.clip import Clip, require_clip
from provenance.clip_draft import ClipDraft
from provenance.draft import Maker, require_models
from provenance.media import Picture, require_picture

LOOKED_AHEAD: Final = 48
"""Where a face is beyond the swapper's range, this many of its frames are tried to say how long."""


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
        maker=Maker(swapper.name, f"{swapper.version}+{steady.VERSION}", models),
    )


@dataclass(slots=True, eq=False)
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
    _cast: Cast | None = None

    def render(self, start: int, stop: int) -> Iterator[tuple[int, Frame]]:
        """Yield (pts, BGR uint8) of frames `start` to `stop`, as `clip_draft.Render` says."""
        # Not before a frame is asked for: whoever goes on with whole pieces needs no first pass.
        if self._cast is None:
            self._cast = cast_clip(self.target, self.people, self.templates, self.analyser)
        back = self.swapper.looks_back if isinstance(self.swapper, FollowingSwapper) else 0
        seen: deque[ClipFrame] = deque(maxlen=back)
        with closing(watch(self.target, start=max(0, start - back), stop=stop)) as shots:
            for shot in shots:
                if shot.number < start:
                    seen.append(shot)
                    continue
                try:
                    made = self._make(shot, self._cast, seen)
                except OutOfRange as error:
                    reach = self._reach(shot, self._cast)
                    raise refusal(shot.number, shot.second, error, more=reach) from error
                except FaceError as error:
                    raise refusal(shot.number, shot.second, error) from error
                seen.append(shot)
                yield shot.pts, made

    def _make(self, shot: ClipFrame, cast: Cast, seen: Sequence[ClipFrame]) -> Frame:
        rendering = self._swap(shot, cast, seen)
        if rendering is None:
            return shot.frame
        require_untouched(rendering, shot)
        require_clear_output(rendering.frame, self.gates)
        return rendering.frame

    def _swap(
        self, shot: ClipFrame, cast: Cast, seen: Sequence[ClipFrame] = ()
    ) -> Rendering | None:
        """Return the frame with the face swapped, None where there is none to be swapped.

        seen: the frames just before it, for a swapper that follows; oldest first.
        """
        cue = cast.cue(shot)
        # Asked at every frame, and of bystanders too: somebody may opt out while it is being made.
        vectors = (self.source_face.id_vector, *cue.vectors)
        refuse_opted_out(self.gates.ask_registry(v, analyser=self.analyser) for v in vectors)
        if cue.face is None:
            return None
        task = self._task(shot, cue.face)
        if not isinstance(self.swapper, FollowingSwapper):
            return self.swapper.render(task)
        return self.swapper.render_after(task, self._earlier(shot, cue, cast, seen))

    def _earlier(
        self, shot: ClipFrame, cue: Cue, cast: Cast, seen: Sequence[ClipFrame]
    ) -> list[SwapTask]:
        """Return the tasks of the frames in which this face is followed up to here, oldest first.

        A track ends at a cut, so nothing of another shot is among them.
        """
        tasks: list[SwapTask] = []
        for number, one in zip(range(shot.number - 1, -1, -1), reversed(seen), strict=False):
            face = cast.cue(one).face
            if one.number != number or number not in cue.track or face is None:
                break
            tasks.insert(0, self._task(one, face))
        return tasks

    def _task(self, shot: ClipFrame, face: Face) -> SwapTask:
        return SwapTask(
            self.warrant,
            source=self.source,
            target=shot,
            source_face=self.source_face,
            target_face=face,
        )

    def _reach(self, shot: ClipFrame, cast: Cast) -> str:
        """Say in how many frames of its track the face of this one is beyond the range.

        Looked at are this frame and those after it; nothing of what is tried is kept.
        """
        track = cast.cue(shot).track
        later = [number for number in track if number > shot.number][:LOOKED_AHEAD]
        beyond = [shot.number]
        span = {"start": shot.number + 1, "stop": later[-1] + 1 if later else 0}
        with closing(watch(self.target, **span)) as shots:
            for one in shots:
                try:
                    if one.number in later:
                        self._swap(one, cast)
                except OutOfRange:
                    beyond.append(one.number)
                except FaceError:
                    break  # that frame is refused for something else
        return (
            f"so in {len(beyond)} of the {len(later) + 1} frames of this face looked at from here "
            f"on (last: frame {beyond[-1]}); it is followed through {len(track)}"
        )
