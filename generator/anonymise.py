"""Making a face unrecognisable: the head becomes a few smooth patches of its own mean colours.

Decides nothing about whom; whoever calls names the boxes. Every box is grown to cover the whole
head, cut into at most `CELLS` cells along its longer side, and painted anew from the cells' mean
colours alone, drawn smoothly: nothing of the original but these means enters, so no sharpening
brings it back. Every other pixel stays as it is. Refused: frames that are no pictures and boxes
that are inside out, or hold nothing of the frame (ShapeError).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2

from generator.errors import ShapeError
from generator.faces import Frame, require_frame

GROW_SIDES = 0.35
GROW_UP = 0.6
GROW_DOWN = 0.3
"""Shares of a face box's width or height by which it is grown: the detectors' boxes reach from the
brows to the chin, heads with hair, ears and jaw further (measured on the demo people)."""

CELLS = 5
"""Cells along the longer side of a grown box. Measured on 24 demo renders: the detectors find no
face with up to 8 cells and 5 of 24 with 12; with 5, the identity net's distance to the original
stays above its mismatch distance (.55) also after sharpening, at .569 and more."""

Region = tuple[int, int, int, int]


def blur_faces(frame: Frame, boxes: Iterable[Sequence[float]]) -> Frame:
    """Return a copy of a BGR uint8 (h, w, 3) frame in which the heads at `boxes` cannot be known.

    `boxes`: x0, y0, x1, y1 in pixels; may reach outside the frame, but not lie outside it. Only the
    pixels of `head_region` of each box change. Raises ShapeError.
    """
    require_frame(frame)
    result = frame.copy()
    for box in boxes:
        left, top, right, bottom = head_region(box, frame.shape)
        result[top:bottom, left:right] = _patches(result[top:bottom, left:right])
    return result


def head_region(box: Sequence[float], frame_shape: Sequence[int]) -> Region:
    """Return the pixels that a head with this face box covers: left, top, right, bottom.

    Right and bottom are exclusive; the region lies inside a frame of `frame_shape` (h, w, ...).
    Raises ShapeError for a box that is not finite, is inside out or has nothing in the frame.
    """
    values = [float(value) for value in box]
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise ShapeError("face box", actual=values, expected="four finite numbers")
    x0, y0, x1, y1 = values
    width, height = x1 - x0, y1 - y0
    left, right = x0 - GROW_SIDES * width, x1 + GROW_SIDES * width
    top, bottom = y0 - GROW_UP * height, y1 + GROW_DOWN * height
    region = (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(frame_shape[1], math.ceil(right)),
        min(frame_shape[0], math.ceil(bottom)),
    )
    if min(width, height) <= 0 or region[2] <= region[0] or region[3] <= region[1]:
        raise ShapeError("face box", actual=values, expected="a box with pixels of the frame in it")
    return region


def _patches(head: Frame) -> Frame:
    """Return a picture of the same size that is made of at most CELLS x CELLS mean colours."""
    height, width = head.shape[:2]
    scale = CELLS / max(height, width)
    cells = (max(1, round(width * scale)), max(1, round(height * scale)))
    means = cv2.resize(head, cells, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(means, (width, height), interpolation=cv2.INTER_LINEAR)
    return smooth.astype(head.dtype, copy=False)
