"""Which release was this video, or this still, cut out of?

As `recovery`, frame by frame: the register names candidates by a mark's id or by the fingerprints
of single seconds. A candidate counts only when every frame that has a fingerprint is like some
frame of the kept output, and every look, chosen where nobody can foresee it, is alike block by
block too. Refused to call a copy: a video with a frame of something else. Not compared are order,
length and sound, and of frames between the looks their parts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from provenance.asset import VIDEO, Content
from provenance.budget import Budget
from provenance.clip import frames, open_clip
from provenance.evidence import Evidence
from provenance.fingerprints import MATCH_DISTANCE, MIN_QUALITY
from provenance.hamming import BYTES, count_bits, pack
from provenance.likeness import MAX_BLOCK_DIFFERENCE, Plane, reduce, worst_block_of
from provenance.media import decode
from provenance.pixels import Frame
from provenance.recovery import MAX_COMPARED
from provenance.registry import Registry, ReleaseRow
from provenance.sight import Look, Printer, Sight
from provenance.store import Store

_NEAR_BITS: Final = 6
"""Frames that follow each other have nearly the same fingerprint; those this near are compared
block by block as well, since the nearest print need not be the same moment."""


@dataclass(frozen=True, slots=True)
class Match:
    """The frame of a kept output that one look is most like: bits of 256, levels of 255."""

    bits: int
    levels: float

    @property
    def agrees(self) -> bool:
        """Whether that frame is the one looked at, alike as a whole and in every block."""
        return self.bits <= MATCH_DISTANCE and self.levels <= MAX_BLOCK_DIFFERENCE


NOWHERE: Final = Match(256, 255.0)


@dataclass(frozen=True, slots=True)
class RecoveredClip:
    """A release, and for every look the frame of it that is most like it.

    `strange`: how many frames that have a fingerprint are like none of that release.
    """

    row: ReleaseRow
    matches: tuple[Match, ...]
    strange: int

    @property
    def agrees(self) -> bool:
        """Whether every frame is like one of that release, and every look in its parts too."""
        if self.strange:
            return False
        return all(match.agrees for match in self.matches)

    @property
    def score(self) -> int:
        """The likeness of the fingerprints, 0..100: the share of bits that are the same."""
        return 100 * (256 - max(match.bits for match in self.matches)) // 256

    @property
    def levels(self) -> float:
        """How much the block that differs most does so, of 255."""
        return self.worst.levels

    @property
    def worst(self) -> Match:
        """The look that is least like it."""
        return max(self.matches, key=lambda match: (not match.agrees, match.levels))


def compare_clip(row: ReleaseRow, sight: Sight, *, store: Store, budget: Budget) -> RecoveredClip:
    """Return how far a file is from the kept output of a release, a picture or a video.

    Raises StoreUnavailable for an output that is not kept any more, MediaError, CompareTooLong.
    """
    budget.spend()  # reading the kept output takes time as well
    comparison = _Comparison(sight, budget)
    for frame in _kept_frames(row, store):
        comparison.take(frame)
    return RecoveredClip(row, comparison.matches(), comparison.strange())


def recover_clip(
    sight: Sight,
    *,
    registry: Registry,
    store: Store,
    budget: Budget,
    stills: bool = True,
    limit: int = MAX_COMPARED,
) -> tuple[RecoveredClip, ...]:
    """Return the releases, at most `limit`, that seconds of a video are like; first what agrees.

    Without `stills`, released pictures are left out: `recovery` compares a picture with them as it
    lies and turned. Raises StoreUnavailable and MediaError for a kept output that cannot be read,
    CompareTooLong.
    """
    asked = [one for one in sight.asked if one.quality >= MIN_QUALITY]
    near = registry.near(asked, limit=limit)
    rows = [one.row for one in near if stills or one.row.mime == VIDEO]
    found = [compare_clip(row, sight, store=store, budget=budget) for row in rows]
    alike = [one for one in found if any(match.bits <= MATCH_DISTANCE for match in one.matches)]
    return tuple(sorted(alike, key=lambda one: (not one.agrees, one.worst.levels)))


def state_clip(found: RecoveredClip, sight: Sight) -> tuple[Evidence, ...]:
    """Return what a comparison says, as lines of evidence; one that does not agree only warns."""
    agreeing = [match for match in found.matches if match.agrees]
    compared = len(sight.prints) // BYTES
    looked = f"{len(agreeing)} of {len(found.matches)} looks, in {sight.seconds} seconds"
    every = f"{compared - found.strange} of {compared} frames"
    weak = f"; {sight.weak} frames have too little structure" if sight.weak else ""
    if not found.agrees:
        words = f"parts are alike to a release, not all: {looked}; {every} as a whole{weak}"
        return (Evidence("likeness", "warns", words),)
    return (
        Evidence(
            "fingerprint",
            "holds",
            f"every frame is like one of a released file as a whole: {every}, "
            f"{MATCH_DISTANCE} of 256 bits may differ{weak}; "
            "order, length and sound were not compared",
        ),
        Evidence(
            "likeness",
            "holds",
            f"parts were compared in looks alone: {looked}; "
            f"the block that differs most does so by {found.worst.levels:.1f} of 255 levels, "
            f"{MAX_BLOCK_DIFFERENCE:g} may; parts of the other frames were not compared",
        ),
    )


@contextmanager
def kept_output(row: ReleaseRow, store: Store) -> Iterator[Content]:
    """Give the kept output of a release; a video as a copy on disk that is gone afterwards."""
    if row.mime != VIDEO:
        yield store.get(row.output_sha256)
        return
    with tempfile.TemporaryDirectory(prefix="facewarrant-") as folder:
        copy = Path(folder) / "kept.mp4"
        store.get_file(row.output_sha256, copy)
        yield copy


def _kept_frames(row: ReleaseRow, store: Store) -> Iterator[Frame]:
    """Yield every frame of a kept output."""
    with kept_output(row, store) as output:
        if isinstance(output, bytes):
            yield decode(output).frame
            return
        for _, frame in frames(open_clip(output, workspace=output.parent)):
            yield frame


class _Comparison:
    """Holds one file against the frames of a kept output, one at a time."""

    def __init__(self, sight: Sight, budget: Budget) -> None:
        self._budget = budget
        self._printer = Printer()
        prints = np.unique(pack(sight.prints), axis=0, return_counts=True)
        self._open, self._counts = prints
        # Looks that are the same picture are one: a still has sixty of them.
        places = {look.frame.tobytes(): look for look in sight.looks}
        self._looks: tuple[Look, ...] = tuple(places.values())
        order = {frame: place for place, frame in enumerate(places)}
        self._place = [order[look.frame.tobytes()] for look in sight.looks]
        self._bits = pack(bytes.fromhex("".join(look.print.bits for look in self._looks)))
        self._planes: list[Plane | None] = [None] * len(self._looks)
        self._best = [NOWHERE] * len(self._looks)
        # The most bits at which a kept frame is still of interest to each look.
        self._within = np.full(len(self._looks), MATCH_DISTANCE)

    def take(self, kept: Frame) -> None:
        """Look for a kept frame, BGR uint8 (h, w, 3); raises CompareTooLong."""
        self._budget.spend()
        small, own = self._printer.take(kept)
        if not self._printer.fresh:
            return
        value = pack(bytes.fromhex(own.bits))[0]
        strange = count_bits(self._open, value) > MATCH_DISTANCE
        self._open, self._counts = self._open[strange], self._counts[strange]
        bits = count_bits(self._bits, value)
        near = np.flatnonzero(bits <= self._within)
        if near.size:
            plane = reduce(small)
            for place in near.tolist():
                self._compare(place, int(bits[place]), plane)

    def _compare(self, place: int, bits: int, kept: Plane) -> None:
        self._budget.spend()
        own = self._planes[place]
        if own is None:
            own = self._planes[place] = reduce(self._looks[place].frame)
        levels = worst_block_of(kept, own)
        if levels < self._best[place].levels:
            self._best[place] = Match(bits, levels)
        # What agrees is only held against frames that are nearer still.
        more = -1 if self._best[place].agrees else _NEAR_BITS
        self._within[place] = min(self._within[place], bits + more)

    def matches(self) -> tuple[Match, ...]:
        """Return for every look the best match among the kept frames."""
        return tuple(self._best[place] for place in self._place)

    def strange(self) -> int:
        """Return how many frames are like no kept frame."""
        return int(self._counts.sum())
