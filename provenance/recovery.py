"""Which release is this picture a copy of, when its manifest and perhaps its mark are gone?

The register names candidates: by the mark's id, or by a fingerprint within 31 of 256 bits, of the
picture as it lies or turned back. A candidate counts only when the kept output itself agrees: its
own fingerprint, since a row of the register is not signed, and a comparison block by block, since a
fingerprint does not see a face that was pasted in. What agrees is a copy of what was released;
nobody is told so because of an id alone.

Not found: crops, and a picture of too little structure to be compared. A release whose kept output
cannot be read stops the search with that error: "nothing found" must not be said of what was not
looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from provenance.evidence import Evidence
from provenance.fingerprints import (
    MATCH_DISTANCE,
    MIN_QUALITY,
    TURNS,
    Fingerprint,
    Turn,
    distance,
    fingerprint,
    fingerprint_turns,
    turn_back,
)
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block
from provenance.media import MIMES, Picture, decode
from provenance.pixels import Frame
from provenance.registry import Registry, ReleaseRow
from provenance.store import Store

MAX_COMPARED: Final = 8
"""Releases whose kept output is decoded and compared for one search: each costs about a tenth of a
second at 1080p, and whoever asks must not make us decode the whole store."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A release, and how far a copy is from what was released.

    `original`: the kept output; `turn`: how the copy lies; `bits`: of 256, between the fingerprints
    of both; `levels`: of 255, mean difference of the block that differs most.
    """

    row: ReleaseRow
    original: Picture
    turn: Turn
    bits: int
    levels: float

    @property
    def agrees(self) -> bool:
        """Whether it is a copy of that release: alike as a whole and in every block."""
        return self.bits <= MATCH_DISTANCE and self.levels <= MAX_BLOCK_DIFFERENCE

    @property
    def score(self) -> int:
        """The likeness of the fingerprints, 0..100: the share of bits that are the same."""
        return 100 * (256 - self.bits) // 256


def compare(row: ReleaseRow, frame: Frame, *, store: Store, turn: Turn = TURNS[0]) -> Recovered:
    """Return how far a copy, BGR uint8 (h, w, 3), is from the kept output of a release.

    Raises StoreUnavailable for an output that is not kept any more, MediaError for one that is no
    picture, ShapeError.
    """
    original = decode(store.get(row.output_sha256))
    copy = turn_back(frame, turn)
    bits = distance(fingerprint(original.frame), fingerprint(copy))
    return Recovered(row, original, turn, bits, worst_block(original.frame, copy))


def recover(frame: Frame, *, registry: Registry, store: Store) -> tuple[Recovered, ...]:
    """Return the releases that look like a picture, BGR uint8 (h, w, 3), most alike first.

    Those that agree are copies; one that does not agree is only alike as a whole, and may be what
    the release was made from. A turned copy is looked for only where none agrees as it lies. Raises
    StoreUnavailable and MediaError for a kept output that cannot be read, ShapeError.
    """
    own = fingerprint(frame)
    if own.quality < MIN_QUALITY:
        return ()
    found = _look_up({TURNS[0]: own}, frame, registry, store)
    if not any(one.agrees for one in found):
        found += _look_up(fingerprint_turns(frame), frame, registry, store)
    return tuple(sorted(found, key=lambda one: (not one.agrees, one.levels)))


def state_copy(found: Recovered) -> tuple[Evidence, ...]:
    """Return what a comparison says, as lines of evidence; one that does not agree only warns."""
    if not found.agrees:
        words = "alike as a whole to a release, but not in every part: not a copy of it"
        return (Evidence("likeness", "warns", words),)
    bits = f"{found.bits} of 256 bits differ from a released picture, {MATCH_DISTANCE} may"
    block = f"the block that differs most does so by {found.levels:.1f} of 255 levels"
    limit = f"{MAX_BLOCK_DIFFERENCE:g} may; finer changes are not seen"
    return (
        Evidence("fingerprint", "holds", f"{bits}; it lies {found.turn}"),
        Evidence("likeness", "holds", f"{block}, {limit}"),
    )


def _look_up(
    asked: Mapping[Turn, Fingerprint], frame: Frame, registry: Registry, store: Store
) -> list[Recovered]:
    turns = list(asked)
    near = registry.near(list(asked.values()), limit=MAX_COMPARED)
    pictures = (one for one in near if one.row.mime in MIMES)
    return list(
        _within(compare(one.row, frame, store=store, turn=turns[one.asked]) for one in pictures)
    )


def _within(compared: Iterable[Recovered]) -> Iterable[Recovered]:
    """Yield what is alike as a whole; a row of the register can claim a likeness that is none."""
    return (one for one in compared if one.bits <= MATCH_DISTANCE)
