"""Which faces of following frames are one face: tracks, linked by place and by identity.

A face goes on with a track when its box overlaps the track's last one, its identity vector is no
mismatch to the track's own, and not too much time lies between; of several the nearest in
identity, so that faces which cross keep their tracks. Anything else begins a track of its own:
somebody else who steps into the same place is never taken over. Tracks end at a cut. Which person
a track shows is not decided here (`binding`).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from generator.faces import Face, FaceBox, FloatArray, Frame, IdThresholds
from generator.swapper import overlap
from generator.texture import quality_of

MIN_OVERLAP: Final = 0.3
"""Intersection over union of a face's box with the one before."""
MAX_GAP_SECONDS: Final = 0.5
"""A face that was away for longer begins a new track."""
BEST_FRAMES: Final = 10
"""A track's identity is the mean of this many of its frames [generator reference, section 9]."""

_FULL_WIDTH_PX = 112.0  # what the identity net's crop resolves: wider faces show it no more


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One face in one frame: where, when (seconds), its identity vector, how well it is seen.

    `frame`: number of the frame; `face`: its index among the frame's faces; `vector` float32 (d,);
    `quality`: 0 and up, the higher the better.
    """

    frame: int
    face: int
    at: float
    box: FaceBox
    vector: FloatArray
    quality: float


@dataclass(slots=True, eq=False)
class Track:
    """One face through the frames of one shot; `sightings` in the order of time."""

    sightings: list[Sighting]
    _best: list[Sighting] = field(init=False)
    _vector: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        first, *later = self.sightings
        self.sightings, self._best, self._vector = [first], [first], first.vector
        for sighting in later:
            self.add(sighting)

    @property
    def vector(self) -> FloatArray:
        """The mean identity vector, float32 (d,), of the best frames so far."""
        return self._vector

    @property
    def last(self) -> Sighting:
        """Where it was seen last."""
        return self.sightings[-1]

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first and the last frame."""
        return self.sightings[0].frame, self.last.frame

    def add(self, sighting: Sighting) -> None:
        """Go on with this sighting, later than the last."""
        self.sightings.append(sighting)
        # Of two that are equally good the earlier one comes first.
        bisect.insort_right(self._best, sighting, key=lambda one: -one.quality)
        del self._best[BEST_FRAMES:]
        wide = np.stack([one.vector for one in self._best]).astype(np.float64)
        self._vector = np.asarray(wide.mean(axis=0), np.float32)


class Tracker:
    """Links the sightings of one video, frame after frame; `tracks` in the order they began."""

    def __init__(self, thresholds: IdThresholds) -> None:
        self._mismatch = thresholds.mismatch
        self._open: list[Track] = []
        self.tracks: list[Track] = []

    def cut(self) -> None:
        """End all tracks: the next frame belongs to another shot."""
        self._open = []

    def add(self, sightings: Sequence[Sighting]) -> None:
        """Link all sightings of one more frame; every track goes on with one of them at most."""
        if sightings:
            now = sightings[0].at
            self._open = [t for t in self._open if now - t.last.at <= MAX_GAP_SECONDS]
        pairs = sorted(
            (near, t, s)
            for t, track in enumerate(self._open)
            for s, sighting in enumerate(sightings)
            if (near := self._nearness(track, sighting)) is not None
        )
        taken: dict[int, int] = {}
        for _, t, s in pairs:
            if s not in taken and t not in taken.values():
                taken[s] = t
        begun = []
        for s, sighting in enumerate(sightings):
            if s in taken:
                self._open[taken[s]].add(sighting)
            else:
                begun.append(Track([sighting]))
        self.tracks += begun
        self._open += begun

    def _nearness(self, track: Track, sighting: Sighting) -> float | None:
        """Return the distance of identities if the sighting may go on with the track."""
        if overlap(track.last.box, sighting.box) < MIN_OVERLAP:
            return None
        apart = distance(track.vector, sighting.vector)
        return apart if apart <= self._mismatch else None


def distance(first: FloatArray, second: FloatArray) -> float:
    """Return the Euclidean distance of two identity vectors; infinity where they do not compare."""
    if first.shape != second.shape:
        return float("inf")
    apart = float(np.linalg.norm(first.astype(np.float64) - second.astype(np.float64)))
    return apart if np.isfinite(apart) else float("inf")


def sighting_of(frame: Frame, face: Face, *, number: int, index: int, at: float) -> Sighting:
    """Return what is kept of a face of a BGR uint8 frame; raises ShapeError.

    Quality is frontality x size x sharpness: cosines of yaw and pitch, mesh width up to what the
    identity net resolves, and `texture.FaceQuality.sharpness`.
    """
    seen = quality_of(frame, face.mesh)
    yaw, pitch = np.radians(face.pose[:2])
    frontal = max(float(np.cos(yaw)), 0.0) * max(float(np.cos(pitch)), 0.0)
    size = min(seen.width_px / _FULL_WIDTH_PX, 1.0)
    quality = frontal * size * seen.sharpness
    return Sighting(number, index, at, face.box, face.id_vector, quality)
