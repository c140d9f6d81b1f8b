"""A style that stays where it is put from frame to frame: the drawing before is moved along.

Where the optical flow from this frame to the one before and back agrees, the drawing of the frame
before lies under this frame's own, moved by the flow; elsewhere something was uncovered, and this
frame's own is taken. How a frame looks follows from a fixed number of frames before it, so a job
that was killed goes on to the same pixels. Refused: rows of different length (ShapeError).

Dense flow by inverse search: Kroeger, Timofte, Dai and Van Gool, ECCV 2016. Agreement: Sundaram,
Brox and Keutzer, ECCV 2010 [generator reference, section 9].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from generator.errors import ShapeError

Image = npt.NDArray[np.float32]

VERSION: Final = "f1"
LOOKS_BACK: Final = 2
"""Frames before this one that have a part in it: of the third, a third would be left (.7 ** 3)."""
KEPT: Final = 0.7
"""Share of what was drawn before, where it is still seen."""
SLACK, SLACK_PX2 = 0.01, 0.5
"""Flow there and back may disagree by this share of their squares, and this many pixels squared."""


class Drawing(NamedTuple):
    """One frame's square: content and image float32 (h, w, 3), 0..255; alpha float32 (h, w)."""

    content: Image
    image: Image
    alpha: Image


class Motion(NamedTuple):
    """Where a frame's pixels were before: flow float32 (h, w, 2), x and y in pixels, and whether
    they were seen there, float32 (h, w), 0 or 1."""

    flow: Image
    seen: Image


def find_motion(now: Image, before: Image) -> Motion:
    """Return the motion between two pictures (h, w, 3), 0..255, BGR, of one size."""
    grey = [
        cv2.cvtColor(np.clip(x, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY) for x in (now, before)
    ]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there = np.asarray(finder.calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]  # None = none yet
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = np.asarray(finder.calc(grey[1], grey[0], None), np.float32)  # type: ignore[call-overload]
    back = carry(back, there)
    apart = np.square(there + back).sum(-1)
    size = np.square(there).sum(-1) + np.square(back).sum(-1)
    return Motion(there, (apart <= SLACK * size + SLACK_PX2).astype(np.float32))


def carry(before: Image, flow: Image) -> Image:
    """Return what was before (h, w[, c]), each pixel taken from where the flow says it was."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    moved = cv2.remap(
        before, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def follow(drawings: Sequence[Drawing]) -> Drawing:
    """Return the last of consecutive frames' drawings with those before it laid under; ShapeError
    for none at all, and for squares of different sizes."""
    if len({drawing.content.shape for drawing in drawings}) != 1:
        shapes = [drawing.content.shape for drawing in drawings]
        raise ShapeError("drawings to follow", actual=shapes, expected="one shape, at least once")
    made = drawings[0]
    for own in drawings[1:]:
        flow, seen = find_motion(own.content, made.content)
        share = KEPT * cv2.GaussianBlur(seen, (0, 0), 1.0) * seen
        image = own.image + share[..., None] * (carry(made.image, flow) - own.image)
        alpha = own.alpha + share * (carry(made.alpha, flow) - own.alpha)
        made = Drawing(own.content, image.astype(np.float32), alpha.astype(np.float32))
    return made


def flicker(now: Image, before: Image, motion: Motion, mask: Image) -> float:
    """Return the mean |now - before moved along|, grey levels, where seen and inside a mask."""
    where = motion.seen * mask
    apart = np.abs(now - carry(before, motion.flow)).mean(-1)
    return float((apart * where).sum() / max(float(where.sum()), 1e-6))
