"""Perceptual fingerprints: is this the picture we released, whatever was done to its file?

Decides only likeness of whole pictures (PDQ, 256 bits). Survives re-encoding and resizing, not
crops; a picture that was turned or mirrored is asked for in all eight ways it can lie. It is no
proof and no identity of a person. A mark's id counts only where the fingerprint agrees too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
import pdqhash

from provenance.errors import ShapeError
from provenance.media import require_frame
from provenance.pixels import Frame

MATCH_DISTANCE: Final = 31
"""Distance up to which two pictures count as the same (PDQ's published threshold; watermark.md,
section 8)."""
MIN_QUALITY: Final = 50
"""Below it PDQ's own guide says not to compare: the picture has too little structure."""

ALG: Final = "org.facewarrant.pdq.1"
"""Name in C2PA soft bindings and in the resolution API; a value is the 32 bytes of the bits."""

Turn = Literal[
    "as released",
    "turned by 90 degrees",
    "turned by 180 degrees",
    "turned by 270 degrees",
    "mirrored",
    "mirrored and turned by 90 degrees",
    "mirrored and turned by 180 degrees",
    "mirrored and turned by 270 degrees",
]
"""How a copy lies compared with what was released; PDQ calls them the dihedral variants."""

TURNS: Final[tuple[Turn, ...]] = get_args(Turn)

TURNED_FROM_PX: Final = 1024
"""Longest side of the picture that is turned: at 1080p it differs from the whole picture's own
fingerprint in at most 8 bits of 256 (14 at 512 pixels) and saves half the time (measured)."""

PRINT_BYTES: Final = 32
"""What a value of `ALG` has: the 256 bits."""

_BITS = 8 * PRINT_BYTES


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """256 bits as 64 hex digits, and PDQ's quality 0..100; raises `ShapeError` for other forms."""

    bits: str
    quality: int

    def __post_init__(self) -> None:
        digits = set(self.bits) <= set("0123456789abcdef")
        if len(self.bits) != _BITS // 4 or not digits or not 0 <= self.quality <= 100:
            raise ShapeError(
                actual=f"{len(self.bits)} characters, quality {self.quality}",
                expected="64 lower-case hex digits and a quality of 0..100",
            )


def fingerprint(frame: Frame) -> Fingerprint:
    """Return the PDQ fingerprint of BGR uint8 (h, w, 3); raises `ShapeError`."""
    require_frame(frame)
    vector, quality = pdqhash.compute(np.ascontiguousarray(frame[..., ::-1]))
    return Fingerprint(np.packbits(vector.astype(np.uint8)).tobytes().hex(), int(quality))


def distance(a: Fingerprint, b: Fingerprint) -> int:
    """Return the number of differing bits, 0..256; at most `MATCH_DISTANCE` means the same."""
    return (int(a.bits, 16) ^ int(b.bits, 16)).bit_count()


def turn_back(frame: Frame, turn: Turn) -> Frame:
    """Return a copy that lies in the way `turn` as it lay when it was released, BGR uint8."""
    place = TURNS.index(turn)
    turned = np.rot90(frame, -place % 4)
    return np.ascontiguousarray(turned[:, ::-1] if place >= 4 else turned)


def fingerprint_turns(frame: Frame) -> dict[Turn, Fingerprint]:
    """Return the fingerprints of a copy turned back from each of the seven ways it could lie.

    BGR uint8 (h, w, 3); how it lies as it is, is not among them. Made of a reduced copy. Raises
    `ShapeError`.
    """
    require_frame(frame)
    share = TURNED_FROM_PX / max(frame.shape[:2])
    if share < 1:
        size = [max(1, round(side * share)) for side in frame.shape[1::-1]]
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    return {turn: fingerprint(turn_back(frame, turn)) for turn in TURNS[1:]}
