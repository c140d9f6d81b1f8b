"""Which release is this picture a copy of, when its manifest and perhaps its mark are gone?

The register names candidates: by the mark's id, or by a fingerprint within 31 of 256 bits, of the
picture as it lies or turned back. A candidate counts only when the kept output itself agrees: its
own fingerprint, since a row of the register is not signed, and a comparison block by block, since a
fingerprint does not see a face that was pasted in. What agrees is a copy of what was released;
nobody is told so because of an id alone.

A copy that was cropped, turned or framed is compared where its mark says how it lies: the part of
the released picture that it shows, and nothing else is then said of. Without a mark such a copy is
not found, nor is a picture of too little structure to be compared. A release whose kept output
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
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block, worst_covered_block
from provenance.media import MIMES, Picture, decode
from provenance.pixels import Frame
from provenance.registration import Shown, register
from provenance.registry import Registry, ReleaseRow
from provenance.store import Store
from provenance.watermark import Geometry

MAX_COMPARED: Final = 8
"""Releases whose kept output is decoded and compared for one search: each costs about a tenth of a
second at 1080p, and whoever asks must not make us decode the whole store."""


MAX_AROUND: Final = 32.0
"""Grey levels by which what lies around the released picture may depart from one colour and still
be a border. Measured on 24 portraits, turned by 5 or 30 degrees or with bars, then JPEG 30 to 60:
at most 23.6 beside black corners, 4.6 in bars; a mirrored rim 190."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A release, and how far a copy is from what was released.

    `original`: the kept output; `turn`: how the copy lies; `bits`: of 256, between the fingerprints
    of both; `levels`: of 255, mean difference of the block that differs most; `quality`: PDQ's, of
    the poorer one. With `shown`, all of that is of the part that the copy shows, in its frame.
    """

    row: ReleaseRow
    original: Picture
    turn: Turn
    bits: int
    levels: float
    shown: Shown | None = None
    quality: int = 100

    @property
    def comparable(self) -> bool:
        """Whether a part has structure enough: somewhere, flat areas fit every flat picture."""
        return self.shown is None or self.quality >= MIN_QUALITY

    @property
    def alike(self) -> bool:
        """Whether what was compared is the same as a whole and in every block."""
        within = self.bits <= MATCH_DISTANCE and self.levels <= MAX_BLOCK_DIFFERENCE
        return within and self.comparable

    @property
    def framed(self) -> bool:
        """Whether other content lies around what was compared: the file is more than a copy."""
        return self.shown is not None and self.shown.around > MAX_AROUND

    @property
    def agrees(self) -> bool:
        """Whether it is a copy of that release: alike, and nothing else beside a border."""
        return self.alike and not self.framed

    @property
    def score(self) -> int:
        """The likeness of the fingerprints, 0..100: the share of bits that are the same."""
        return 100 * (256 - self.bits) // 256


def compare(
    row: ReleaseRow,
    frame: Frame,
    *,
    store: Store,
    turn: Turn = TURNS[0],
    geometry: Geometry | None = None,
) -> Recovered:
    """Return how far a copy, BGR uint8 (h, w, 3), is from the kept output of a release.

    With the `geometry` of the copy's mark, a copy that does not agree as a whole is compared where
    it lies on the released picture. Raises StoreUnavailable for an output that is not kept any
    more, MediaError for one that is no picture, ShapeError.
    """
    original = decode(store.get(row.output_sha256))
    copy = turn_back(frame, turn)
    bits = distance(fingerprint(original.frame), fingerprint(copy))
    whole = Recovered(row, original, turn, bits, worst_block(original.frame, copy))
    if whole.agrees or geometry is None:
        return whole
    shown = register(original.frame, frame, geometry)
    return whole if shown is None else _compare_shown(row, original, shown)


def _compare_shown(row: ReleaseRow, original: Picture, shown: Shown) -> Recovered:
    prints = fingerprint(shown.released), fingerprint(shown.copy)
    levels = worst_covered_block(shown.released, shown.copy, shown.covered)
    quality = min(one.quality for one in prints)
    return Recovered(row, original, TURNS[0], distance(*prints), levels, shown, quality)


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
    """Return what a comparison by looks says; one that does not agree only warns."""
    if not found.agrees:
        words = "alike as a whole to a release, but not in every part: not a copy of it"
        return (Evidence("likeness", "warns", words),)
    return (
        Evidence("fingerprint", "holds", f"{_count_bits(found)}; it lies {found.turn}"),
        Evidence("likeness", "holds", _say_levels(found)),
    )


def state_marked(found: Recovered) -> tuple[Evidence, ...]:
    """Return what a comparison with the release that a mark names says, line by line.

    Of a part, how much of the released picture it is and how it lies; never more than was compared.
    """
    part = "" if found.shown is None else f"{describe(found.shown)}; only that was compared: "
    if not found.comparable:
        words = f"{part}it has too little structure to be compared"
        return (Evidence("fingerprint", "warns", words),)
    same = found.bits <= MATCH_DISTANCE
    lines = [Evidence("fingerprint", "holds" if same else "fails", part + _count_bits(found))]
    if same:
        close = found.levels <= MAX_BLOCK_DIFFERENCE
        lines.append(Evidence("likeness", "holds" if close else "fails", _say_levels(found)))
    if found.alike and found.framed:
        lines.append(Evidence("likeness", "fails", "other content lies around the released part"))
    return tuple(lines)


def describe(shown: Shown) -> str:
    """Return in words how much of the released picture is shown, and how it lies in the copy."""
    lies, words = shown.lies, [f"shows {100 * shown.share:.0f} % of the released picture"]
    angle = round((lies.rotation_deg + 180) % 360 - 180, 1)
    if lies.mirrored:
        words.append("mirrored")
    if angle:
        way = "left" if angle > 0 else "right"
        words.append(f"turned {abs(angle):.1f} degrees to the {way}")
    if round(100 * lies.scale) != 100:
        words.append(f"at {100 * lies.scale:.0f} % size")
    return ", ".join(words)


def _count_bits(found: Recovered) -> str:
    return f"{found.bits} of 256 bits differ from a released picture, {MATCH_DISTANCE} may"


def _say_levels(found: Recovered) -> str:
    return (
        f"the block that differs most does so by {found.levels:.1f} of 255 levels, "
        f"{MAX_BLOCK_DIFFERENCE:g} may; finer changes are not seen"
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
