"""What is looked at of a picture or a video when it is verified: some frames, their marks, prints.

Decides which frames stand for a video: the first of every second, thinned out evenly beyond
`MOST_LOOKS`, so that what a verdict rests on can be said in numbers. A mark counts for a whole
video only when every frame that can be read names the same one; two of them are two releases cut
together. What lies between the looks was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from provenance.fingerprints import Fingerprint, fingerprint
from provenance.pixels import Frame
from provenance.watermark import Detection, Watermark

MOST_LOOKS: Final = 60
"""A minute at one look a second; of a longer video every second, fourth, ... second is kept."""

_SIDE_PX: Final = 512
"""Frames are kept no larger than this: comparisons shrink them to 128 px anyway."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame that was looked at: BGR uint8 (h, w, 3) at most 512 px a side, its second, print.

    `mark`: what the watermark's reader found in the whole frame; None also where it was not asked.
    """

    second: int
    frame: Frame = field(repr=False)
    print: Fingerprint
    mark: Detection | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """The looks at one file, in order, and how many seconds it has; a picture has one of each."""

    looks: tuple[Look, ...]
    seconds: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Every mark id that was read, sorted; more than one: releases were cut together."""
        return tuple(sorted({look.mark.mark_id for look in self.marked if look.mark.mark_id}))  # type: ignore[union-attr]

    @property
    def marked(self) -> tuple[Look, ...]:
        """The looks that carry a mark, readable or not."""
        return tuple(look for look in self.looks if look.mark is not None)

    @property
    def mark(self) -> Detection | None:
        """The one mark of the whole, None where there is none.

        Its `p_value` is that of the clearest look, times the number of looks (Bonferroni). Where
        looks disagree, or none is readable, it has no id.
        """
        found = [look.mark for look in self.looks if look.mark is not None]
        if not found:
            return None
        named = [mark for mark in found if mark.mark_id is not None]
        clearest = min(named if len(self.ids) == 1 else found, key=lambda mark: mark.p_value)
        chance = min(1.0, clearest.p_value * len(self.looks))
        if len(self.ids) == 1:
            state, mark_id, version = clearest.state, clearest.mark_id, clearest.version
        else:
            state, mark_id, version = "present_unreadable", None, None
        return Detection(
            mark_id, version, state, chance, clearest.statistic, clearest.searched * len(self.looks)
        )


def look_at(frame: Frame, watermark: Watermark | None, *, second: int = 0) -> Look:
    """Look at one frame, BGR uint8 (h, w, 3), of at least 64 px a side for marks."""
    mark = watermark.detect(frame) if watermark else None
    return Look(second, _shrink(frame), fingerprint(frame), mark)


def look_through(frames: Iterable[tuple[float, Frame]], watermark: Watermark | None) -> Sight:
    """Look at a video, given as (seconds since its first frame, BGR uint8 (h, w, 3)).

    Every frame is taken, so that one that does not decode is found; memory stays that of
    `MOST_LOOKS` small frames.
    """
    looks: list[Look] = []
    step, seconds = 1, 0
    for at, frame in frames:
        if int(at) < seconds:
            continue
        second, seconds = int(at), int(at) + 1
        if second % step == 0:
            looks.append(look_at(frame, watermark, second=second))
        if len(looks) > MOST_LOOKS:
            step *= 2
            looks = [look for look in looks if look.second % step == 0]
    return Sight(tuple(looks), seconds)


def _shrink(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = _SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
