"""The first pass over a clip that is to be swapped: whose face is where, in every single frame.

Made once a job, before its first frame, of the whole clip: so a job that was killed and goes on
finds the same, wherever it stopped. Kept of every frame: the digest of its pixels, the identity
vectors of its faces, and the face to be swapped with its landmarks held steady (`steady`). Refused,
naming the frame (FrameRefused): a face, or a place that may be one, that stands for nobody named
(`binding`). Frames that are not those looked at are refused when they come to be made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from generator.binding import Bound, FaceKey, Follower
from generator.clip_frames import ClipFrame, watch
from generator.errors import FaceError, SwapRefused
from generator.faces import Face, FaceAnalyser, FloatArray, Frame
from generator.sight import Templates, unmeasured_boxes
from generator.steady import SteadyFace
from generator.swapper import UnnamedFace
from policies.request import Person
from provenance.clip import Clip

_MEND = "name every person in the video, each with their own consent, or cut this part out of it"


class FrameRefused(SwapRefused):
    """A frame of a video cannot be swapped; `code` is that of the reason, which is chained."""

    code: ClassVar[str] = "FRAME-REFUSED"

    def __init__(self, message: str, *, mend: str = "", code: str = "") -> None:
        super().__init__(message, mend=mend or "cut this part out of the video")
        if code:
            self.code = code  # type: ignore[misc]  # one class, the stable codes of its reasons


@dataclass(frozen=True, slots=True, eq=False)
class Cue:
    """One frame of the first pass.

    `sha256`: of its pixels; `vectors`: float32 (d,) of all its faces; `face`: the one to be
    swapped, landmarks held steady, or None; `track`: the frames in which that face is followed.
    """

    sha256: str
    vectors: Sequence[FloatArray]
    face: Face | None = None
    track: Sequence[int] = ()


class Cast:
    """What the first pass found of one clip; only `cast_clip` makes one."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self._cues = cues

    def cue(self, shot: ClipFrame) -> Cue:
        """Return what was found in this very frame; raise SwapRefused for other pixels."""
        cue = self._cues[shot.number]
        if cue.sha256 != digest_of(shot.frame):
            raise SwapRefused(
                "the frame is not the one that was looked at",
                mend="see who else writes into the work folder, then run the request again",
            )
        return cue


def cast_clip(
    clip: Clip, people: Sequence[Person], templates: Templates, analyser: FaceAnalyser
) -> Cast:
    """Look at every frame of a clip; `people` are those whom it may show.

    Raises FrameRefused, and what reading the clip raises.
    """
    follower = Follower(people, templates, analyser, time_base=clip.form.time_base)
    cues: list[Cue] = []
    wanted: dict[FaceKey, Face] = {}
    with closing(watch(clip)) as shots:
        for shot in shots:
            with _naming(shot.number, shot.second):
                faces = analyser.analyse(shot.frame)
                if unmeasured_boxes(shot.frame, faces, analyser):
                    raise UnnamedFace("a face matches nobody whom the warrant shows", mend=_MEND)
                claims = follower.add(shot, faces)
            cues.append(Cue(digest_of(shot.frame), [face.id_vector for face in faces]))
            for claim in claims:
                if claim.person.role == "target_body" and claim.face is not None:
                    wanted[shot.number, claim.face] = faces[claim.face]
    bound = follower.settle()
    _require_standing(bound, clip)
    return Cast(_with_faces(cues, wanted, bound, [follower.seconds(at) for at in clip.times]))


def digest_of(frame: Frame) -> str:
    """Return the SHA-256 of a frame's pixels, hex."""
    return hashlib.sha256(np.ascontiguousarray(frame).data).hexdigest()


@contextmanager
def _naming(number: int, second: int) -> Iterator[None]:
    """Turn every FaceError raised within into FrameRefused, which names the frame."""
    try:
        yield
    except FaceError as error:
        raise refusal(number, second, error) from error


def refusal(number: int, second: int, error: FaceError, *, more: str = "") -> FrameRefused:
    """Return the refusal of a frame, with the code of its reason; `more` goes on after that."""
    told = f"{error.message}; {more}" if more else error.message
    return FrameRefused(
        f"frame {number}, in second {second}: {told}", mend=error.mend, code=error.code
    )


def _require_standing(bound: Bound, clip: Clip) -> None:
    """Raise FrameRefused for the first face that stands for nobody."""
    for (number, _), standing in sorted(bound.standings.items()):
        with _naming(number, clip.form.second(clip.times[number])):
            if standing.person is None:
                raise UnnamedFace(standing.reason, mend=_MEND)


def _with_faces(
    cues: Sequence[Cue], wanted: Mapping[FaceKey, Face], bound: Bound, times: Sequence[float]
) -> list[Cue]:
    """Return the cues with the faces to be swapped, each held steady along its track."""
    made = list(cues)
    for track in bound.tracks:
        steady, numbers = SteadyFace(), tuple(one.frame for one in track.sightings)
        for one in track.sightings:
            standing = bound.standings[one.frame, one.face]
            if standing.person is None or standing.person.role != "target_body":
                continue
            face = wanted[one.frame, one.face]
            mesh, iris = steady.step(face.mesh, face.iris, at=times[one.frame])
            calm = replace(face, mesh=mesh, iris=iris)
            made[one.frame] = replace(made[one.frame], face=calm, track=numbers)
    return made
