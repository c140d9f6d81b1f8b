"""Where does a copy differ from the picture that was released?

A perceptual hash says that two pictures are alike as wholes; it does not see a face that was pasted
in (measured: 12 of 256 bits where 31 may differ). Here both are brought to one small size and a
common brightness and contrast, and compared block by block: re-encoding spreads a little error
everywhere, an edit puts much of it in one place. Survives what `fingerprints` survives; of a crop
or a turned copy only the part that `registration` placed is compared.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from provenance.media import require_frame
from provenance.pixels import Frame

SIDE_PX: Final = 128
"""Both are compared at this size: codec noise averages out, an eye stays visible."""
BLOCK_PX: Final = 8
MAX_BLOCK_DIFFERENCE: Final = 6.0
"""Grey levels, mean over one block. Measured on 48 portraits: JPEG 30 at most 2.6, noise of sigma
10 3.1, blur of sigma 2 3.5, half size 4.0; half a face pasted in, colours matched, at least 9.1, a
whole one 27.7, words written across 36.7. Clipping brightness (+20 %) counts as an edit. Of parts
that `registration` placed, measured on 24 portraits: turned by 5 or 30 degrees then JPEG 30 at most
2.7, crops of a quarter to 64 % then JPEG 30 4.0, half size then JPEG 50 2.8, slanted 1.1, smaller
with another gamma (a screenshot) 5.9; on 8, before or after that, half a face at least 25, words in
thin letters 7.1."""
LEAST_COVERED: Final = 0.25
"""Share of a block that must be covered for it to be judged."""

_WHOLLY: Final = 0.99

Plane = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
"""A frame reduced to the size at which two are compared."""
Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def worst_block(released: Frame, copy: Frame) -> float:
    """Return the largest mean difference of any block, in grey levels 0..255; BGR uint8 (h, w, 3).

    Raises ShapeError.
    """
    return worst_block_of(reduce(released), reduce(copy))


def worst_block_of(released: Plane, copy: Plane) -> float:
    """Return what `worst_block` does, of frames that were reduced before.

    The copy is fitted to the released picture in brightness and contrast per channel (least squares
    over all pixels).
    """
    return _worst(released, copy, np.ones((SIDE_PX, SIDE_PX), np.float32))


def worst_covered_block(released: Frame, copy: Frame, covered: Mask) -> float:
    """Return what `worst_block` does, of the pixels that are `covered`: bool (h, w).

    Both frames are BGR uint8 (h, w, 3). Blocks of which less than a quarter is covered are not
    judged; where none is, the answer is 255. Raises ShapeError.
    """
    share = cv2.resize(covered.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    # Pixels that mix both sides of an edge are of neither.
    return _worst(reduce(released), reduce(copy), (share > _WHOLLY).astype(np.float32))


def reduce(frame: Frame) -> Plane:
    """Return BGR uint8 (h, w, 3) as it is compared: float32 (128, 128, 3). Raises ShapeError."""
    require_frame(frame)
    small = cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    # A half-pixel shift from resizing there and back must not count as a change.
    return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.0), np.float32)


def _worst(released: Plane, copy: Plane, weight: Plane) -> float:
    counts = _sum_blocks(weight)
    judged = counts >= LEAST_COVERED * BLOCK_PX**2
    if not judged.any():
        return 255.0
    fitted = _fit(copy, released, weight)
    differences = _sum_blocks(np.abs(released - fitted).mean(axis=2) * weight)
    return float((differences[judged] / counts[judged]).max())


def _sum_blocks(plane: Plane) -> Plane:
    blocks = plane.reshape(SIDE_PX // BLOCK_PX, BLOCK_PX, SIDE_PX // BLOCK_PX, BLOCK_PX)
    return np.asarray(blocks.sum(axis=(1, 3)), np.float32)


def _fit(have: Plane, wanted: Plane, weight: Plane) -> Plane:
    """Scale and shift every channel of `have` to lie nearest to `wanted` where there is weight."""
    share = (weight / weight.sum())[..., None]
    means, targets = ((plane * share).sum(axis=(0, 1)) for plane in (have, wanted))
    centred = have - means
    spread = (centred**2 * share).sum(axis=(0, 1))
    gain = (centred * (wanted - targets) * share).sum(axis=(0, 1)) / np.maximum(spread, 1e-6)
    return np.asarray(centred * gain + targets, np.float32)
