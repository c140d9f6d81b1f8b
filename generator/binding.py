"""Which named person each face of a video shows: asked of every frame, and of whole tracks.

Of every frame, as of a picture (`sight.assign`): each face is claimed by one named person at most,
the nearest pairs first. Of every track (`tracks`), as a whole: the mean identity vector of its best
frames matches one named person, and that person nearest; at least `MATCHED_SHARE` of its frames
match that person each by itself; no earlier track of the same person lasts into it.

A face stands for a person when its track is that person's and its frame claims it for the same one,
with a match; or only similar ("ambiguous"), where no other named person is as near and the face is
a match to its own track. A face that mismatches in its frame never stands, whatever its track says.
So a track pardons a blurred frame, never another face in the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from generator.clip_frames import ClipFrame
from generator.cuts import CutFinder
from generator.faces import Face, FaceAnalyser, FloatArray
from generator.matching import Answer, answer_for
from generator.sight import Claim, Templates, assign
from generator.tracks import Track, Tracker, distance, sighting_of
from policies.request import Person

MATCHED_SHARE: Final = 0.75
"""Of a track's frames at least this share matches by itself: a mean alone may lie near anybody."""

FaceKey: TypeAlias = tuple[int, int]
"""Number of a frame, index of a face in it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a face of one frame stands for: `person`, or nobody, and then `reason` says why.

    `track`: index of its track in `Bound.tracks`.
    """

    person: Person | None
    reason: str
    track: int


@dataclass(frozen=True, slots=True)
class Bound:
    """All tracks of a clip, and whom each face of each frame stands for."""

    tracks: Sequence[Track]
    standings: Mapping[FaceKey, Standing]


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What one frame by itself says of a face."""

    person: Person | None
    answer: Answer
    nearest: bool


class Follower:
    """Follows the faces of one clip; give it every frame in order, then `settle`.

    `time_base`: of the clip's form, seconds a unit. Raises ShapeError for a face without a usable
    mesh.
    """

    def __init__(
        self,
        named: Sequence[Person],
        templates: Templates,
        analyser: FaceAnalyser,
        *,
        time_base: tuple[int, int],
    ) -> None:
        self._named, self._templates, self._analyser = named, templates, analyser
        self._time_base = time_base
        self._cuts, self._tracker = CutFinder(), Tracker(analyser.thresholds)
        self._claimed: dict[FaceKey, _Claimed] = {}

    def seconds(self, pts: int) -> float:
        """Return a time of the clip in seconds."""
        return pts * self._time_base[0] / self._time_base[1]

    def add(self, shot: ClipFrame, faces: Sequence[Face]) -> list[Claim]:
        """Take the next frame with all of its faces; return whom it claims, by itself."""
        if self._cuts.is_cut(shot.frame):
            self._tracker.cut()
        at = self.seconds(shot.pts)
        self._tracker.add(
            [
                sighting_of(shot.frame, face, number=shot.number, index=index, at=at)
                for index, face in enumerate(faces)
            ]
        )
        claims = assign(self._named, faces, self._templates, self._analyser)
        by_face = {claim.face: claim for claim in claims if claim.face is not None}
        for index, face in enumerate(faces):
            claim = by_face.get(index)
            self._claimed[shot.number, index] = (
                _Claimed(None, "mismatch", nearest=False)
                if claim is None
                else _Claimed(
                    claim.person,
                    claim.found.answer,
                    nearest=self._nearest(face.id_vector) == claim.person,
                )
            )
        return claims

    def settle(self) -> Bound:
        """Return whom every face stands for, now that its whole track is known."""
        standings: dict[FaceKey, Standing] = {}
        until: dict[Person, int] = {}
        for index, track in enumerate(self._tracker.tracks):
            person, reason = self._bind(track, until)
            for sighting in track.sightings:
                key = sighting.frame, sighting.face
                standings[key] = self._stand(key, sighting.vector, (person, reason), index)
        return Bound(self._tracker.tracks, standings)

    def _bind(self, track: Track, until: dict[Person, int]) -> tuple[Person | None, str]:
        """Return the person of a track, or None and why; `until`: the last frame of each so far."""
        person = self._nearest(track.vector)
        answer = "mismatch" if person is None else self._answer(track.vector, person)
        if person is None or answer == "mismatch":
            return None, "a face matches nobody whom the warrant shows"
        first, last = track.span
        where = f"a face that is followed from frame {first} to frame {last}"
        own = [self._claimed[one.frame, one.face] for one in track.sightings]
        matched = sum(one.person == person and one.answer == "match" for one in own)
        if answer != "match" or matched < MATCHED_SHARE * len(own):
            return None, f"{where} is only similar to somebody whom the warrant shows"
        if until.get(person, -1) >= first:
            return None, f"{where} is shown twice at one time"
        until[person] = max(until.get(person, -1), last)
        return person, ""

    def _stand(
        self, key: FaceKey, vector: FloatArray, bound: tuple[Person | None, str], track: int
    ) -> Standing:
        (person, reason), own = bound, self._claimed[key]
        if person is None:
            return Standing(None, reason, track)
        if own.person != person or own.answer == "mismatch":
            return Standing(None, "a face matches nobody whom the warrant shows", track)
        if own.answer == "match":
            return Standing(person, "", track)
        apart = distance(vector, self._tracker.tracks[track].vector)
        like_its_track = answer_for(apart, self._analyser.thresholds) == "match"
        if own.nearest and like_its_track:
            return Standing(person, "", track)
        return Standing(None, "a face is only similar to somebody whom the warrant shows", track)

    def _nearest(self, vector: FloatArray) -> Person | None:
        """Return the named person who is nearer than every other one; None for a draw."""
        apart = sorted(
            (self._apart(vector, person), index) for index, person in enumerate(self._named)
        )
        if not apart or (len(apart) > 1 and apart[0][0] == apart[1][0]):
            return None
        return self._named[apart[0][1]]

    def _answer(self, vector: FloatArray, person: Person) -> Answer:
        return answer_for(self._apart(vector, person), self._analyser.thresholds)

    def _apart(self, vector: FloatArray, person: Person) -> float:
        template = self._templates[person.record_id]
        return float("inf") if template is None else distance(vector, template)
