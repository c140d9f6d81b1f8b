"""Perceptual fingerprints: is this the picture we released, whatever was done to its file?

Decides only likeness of whole pictures (PDQ, 256 bits). Survives re-encoding and resizing, not
crops, turns or mirroring; it is no proof and no identity of a person. A mark's id counts only where
the fingerprint agrees too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pdqhash

from provenance.errors import ShapeError
from provenance.media import Frame, require_frame

MATCH_DISTANCE: Final = 31
"""Distance up to which two pictures count as the same (PDQ's published threshold; watermark.md,
section 8)."""
MIN_QUALITY: Final = 50
"""Below it PDQ's own guide says not to compare: the picture has too little structure."""

_BITS = 256


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
