"""Which release was this video, or this still, cut out of?

As `recovery`, frame by frame: the register names candidates by a mark's id or by the fingerprints
of single seconds; a candidate counts only when every frame that was looked at is found in the kept
output, alike as a whole and block by block. Refused to call a copy: a video in which one second is
of something else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provenance.asset import VIDEO, Content
from provenance.clip import frames, open_clip
from provenance.evidence import Evidence
from provenance.fingerprints import MATCH_DISTANCE, MIN_QUALITY, distance
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block
from provenance.media import decode
from provenance.pixels import Frame
from provenance.recovery import MAX_COMPARED
from provenance.registry import Registry, ReleaseRow
from provenance.sight import Look, Sight, look_at
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
    """A release, and for every look the frame of it that is most like it."""

    row: ReleaseRow
    matches: tuple[Match, ...]

    @property
    def agrees(self) -> bool:
        """Whether everything that was looked at comes from that release."""
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


def compare_clip(row: ReleaseRow, sight: Sight, *, store: Store) -> RecoveredClip:
    """Return how far a file is from the kept output of a release, a picture or a video.

    Raises StoreUnavailable for an output that is not kept any more, MediaError.
    """
    return RecoveredClip(row, _match(sight.looks, _kept_frames(row, store)))


def recover_clip(
    sight: Sight, *, registry: Registry, store: Store, stills: bool = True
) -> tuple[RecoveredClip, ...]:
    """Return the releases that seconds of a video are like, those that agree first.

    Without `stills`, released pictures are left out: `recovery` compares a picture with them as it
    lies and turned. Raises StoreUnavailable and MediaError for a kept output that cannot be read.
    """
    asked = [look.print for look in sight.looks if look.print.quality >= MIN_QUALITY]
    near = registry.near(asked, limit=MAX_COMPARED)
    rows = [one.row for one in near if stills or one.row.mime == VIDEO]
    found = [compare_clip(row, sight, store=store) for row in rows]
    alike = [one for one in found if any(match.bits <= MATCH_DISTANCE for match in one.matches)]
    return tuple(sorted(alike, key=lambda one: (not one.agrees, one.worst.levels)))


def state_clip(found: RecoveredClip, sight: Sight) -> tuple[Evidence, ...]:
    """Return what a comparison says, as lines of evidence; one that does not agree only warns."""
    agreeing = [match for match in found.matches if match.agrees]
    looked = f"{len(agreeing)} of {len(found.matches)} looks, in {sight.seconds} seconds"
    if not found.agrees:
        words = f"parts are alike to a release, not all: {looked}"
        return (Evidence("likeness", "warns", words),)
    worst = found.worst
    return (
        Evidence(
            "fingerprint",
            "holds",
            f"every frame looked at is in a released file: {looked}; "
            f"at most {max(match.bits for match in found.matches)} of 256 bits differ, "
            f"{MATCH_DISTANCE} may",
        ),
        Evidence(
            "likeness",
            "holds",
            f"the block that differs most does so by {worst.levels:.1f} of 255 levels, "
            f"{MAX_BLOCK_DIFFERENCE:g} may; what lies between the looks was not compared",
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


def _match(looks: Sequence[Look], kept: Iterable[Frame]) -> tuple[Match, ...]:
    """Return for every look the best match among the kept frames; memory is that of one frame."""
    best = [NOWHERE] * len(looks)
    nearest = [256] * len(looks)
    for frame in kept:
        own = look_at(frame, None)
        for place, look in enumerate(looks):
            bits = distance(own.print, look.print)
            if bits > min(MATCH_DISTANCE, nearest[place] + _NEAR_BITS):
                continue
            nearest[place] = min(nearest[place], bits)
            levels = worst_block(own.frame, look.frame)
            if levels < best[place].levels:
                best[place] = Match(bits, levels)
    return tuple(best)
