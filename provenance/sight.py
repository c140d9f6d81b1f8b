"""What is looked at of a picture or a video when it is verified: some frames, their marks, prints.

Decides which frames stand for a video. Every frame gets a fingerprint. One frame of every second,
at a place that nobody can foresee, is kept to be looked at in its parts and for its mark; beyond
`MOST_LOOKS` of them the seconds are joined in pairs, again and again. The register is asked with
the first frame of a second, since that is what it knows. Two marks are two releases in one file.

Looks are read as they lie. Where none gives an id, up to `MOST_TOGETHER` frames are searched
together and thoroughly: that reads what was made smaller, turned or coded strongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

import cv2
import numpy as np

from provenance.fingerprints import MIN_QUALITY, Fingerprint, fingerprint
from provenance.pixels import Frame
from provenance.watermark import Detection, Watermark

MOST_LOOKS: Final = 60
"""A minute at one look a second; of a longer video between 30 and 60 looks are kept."""

_SIDE_PX: Final = 512
"""Frames are kept and printed no larger than this: PDQ works at this size, and comparisons shrink
them to 128 px anyway. Prints of 720p and 1080p differ from those of the whole frame in at most 14
of 256 bits (measured), so they are only held against prints that were made the same way."""


MOST_TOGETHER: Final = 8
"""Whole frames kept to be searched together: eight of 4K are 200 MB, and more add little."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame that was looked at: BGR uint8 (h, w, 3) at most 512 px a side, its second, print.

    `print` is that of the frame as it is kept here. `mark`: what the watermark's reader found in
    the whole frame; None also where it was not asked.
    """

    second: int
    frame: Frame = field(repr=False)
    print: Fingerprint
    mark: Detection | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """The looks at one file, in order, and how many seconds it has; a picture has one of each.

    `asked`: fingerprints of whole frames, for the register. `prints`: of every frame, at most 512
    px a side, 32 bytes each; `weak`: frames without one, too poor in structure to be compared.
    `together`: the mark that several frames of a video carry, where no look alone gives an id.
    """

    looks: tuple[Look, ...]
    seconds: int
    asked: tuple[Fingerprint, ...] = ()
    prints: bytes = field(default=b"", repr=False)
    weak: int = 0
    together: Detection | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Every mark id that was read, sorted; more than one: releases were cut together."""
        return tuple(sorted({mark.mark_id for mark in self._found if mark.mark_id}))

    @property
    def marked(self) -> tuple[Look, ...]:
        """The looks that carry a mark, readable or not."""
        return tuple(look for look in self.looks if look.mark is not None)

    @property
    def mark(self) -> Detection | None:
        """The one mark that was read, None where there is none; looks without any do not count.

        Its `p_value` is that of the clearest look, or of frames together, times how often the file
        can be asked: once for every look and once together (Bonferroni; whether that last question
        was needed makes no difference). Where looks disagree, or none is readable, it has no id.
        """
        found, asked = self._found, len(self.looks) + 1
        if not found:
            return None
        named = [mark for mark in found if mark.mark_id is not None]
        clearest = min(named if len(self.ids) == 1 else found, key=lambda mark: mark.p_value)
        counted = replace(
            clearest,
            p_value=min(1.0, clearest.p_value * asked),
            searched=clearest.searched * asked,
        )
        if len(self.ids) < 2:
            return counted
        return replace(counted, mark_id=None, version=None, state="present_unreadable")

    @property
    def _found(self) -> list[Detection]:
        found = [*(look.mark for look in self.looks), self.together]
        return [mark for mark in found if mark is not None]


def look_at(frame: Frame) -> Sight:
    """Look at a picture, BGR uint8 (h, w, 3), as the only frame there is; for no mark."""
    asked = fingerprint(frame)
    small = shrink(frame)
    own = asked if small is frame else fingerprint(small)
    prints, weak = (b"", 1) if own.quality < MIN_QUALITY else (bytes.fromhex(own.bits), 0)
    return Sight((Look(0, small, own),), 1, (asked,), prints, weak)


def look_through(
    frames: Iterable[tuple[float, Frame]], watermark: Watermark | None, *, rng: Random
) -> Sight:
    """Look at a video, given as (seconds since its first frame, BGR uint8 (h, w, 3)).

    Every frame is taken, so that one that does not decode is found; memory stays that of
    `MOST_LOOKS` small and `MOST_TOGETHER` whole frames, and 32 bytes for each other. `rng` chooses
    the looks.
    """
    view = _View(watermark, rng)
    for at, frame in frames:
        view.take(int(at), frame)
    return view.close()


def shrink(frame: Frame) -> Frame:
    """Return the frame, or a copy of at most 512 px a side; BGR uint8 (h, w, 3)."""
    height, width = frame.shape[:2]
    scale = _SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


class Printer:
    """Makes prints of frames that follow each other; one that is the same as the last costs little.

    `fresh`: whether the last frame was another one than that before it.
    """

    def __init__(self) -> None:
        self._last: tuple[Frame, Fingerprint] | None = None
        self.fresh = False

    def take(self, frame: Frame) -> tuple[Frame, Fingerprint]:
        """Return the frame as it is kept, and the print of that."""
        small = shrink(frame)
        self.fresh = self._last is None or not np.array_equal(small, self._last[0])
        if self._last is None or self.fresh:
            self._last = small, fingerprint(small)
        return self._last


@dataclass(slots=True)
class _Chosen:
    """The frame that stands for a span of seconds, so far: one of `count`."""

    start: int
    second: int
    whole: Frame
    small: Frame
    print: Fingerprint
    count: int = 1


class _Spread:
    """Keeps at most `MOST_TOGETHER` whole frames, evenly spread, until it is closed."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._step, self._seen, self._is_open = 1, 0, True

    def take(self, frame: Frame) -> None:
        if self._is_open and self._seen % self._step == 0:
            if len(self.frames) == MOST_TOGETHER:
                self._step *= 2
                self.frames = self.frames[::2]
            self.frames.append(frame)
        self._seen += 1

    def close(self) -> None:
        self.frames, self._is_open = [], False


class _View:
    """Gathers what is seen of a video, frame by frame."""

    def __init__(self, watermark: Watermark | None, rng: Random) -> None:
        self._watermark, self._rng = watermark, rng
        self._looks: list[Look] = []
        self._asked: list[Fingerprint] = []
        self._prints, self._weak = bytearray(), 0
        self._step, self._seconds = 1, 0
        self._chosen: _Chosen | None = None
        self._printer = Printer()
        self._whole = _Spread()

    def take(self, second: int, frame: Frame) -> None:
        small, own = self._printer.take(frame)
        if self._printer.fresh:
            self._whole.take(frame)
        if own.quality < MIN_QUALITY:
            self._weak += 1
        else:
            self._prints += bytes.fromhex(own.bits)
        chosen = self._chosen
        if chosen is None or second >= chosen.start + self._step:
            self._look()
            if len(self._looks) == MOST_LOOKS:
                self._thin()
            self._chosen = _Chosen(second, second, frame, small, own)
            self._asked.append(own if small is frame else fingerprint(frame))
        else:
            # Each of the span's frames is as likely as any other (reservoir sampling).
            chosen.count += 1
            if self._rng.randrange(chosen.count) == 0:
                chosen.second, chosen.whole = second, frame
                chosen.small, chosen.print = small, own
        self._seconds = second + 1

    def close(self) -> Sight:
        self._look()
        kept = (tuple(self._looks), self._seconds, tuple(self._asked))
        return Sight(*kept, bytes(self._prints), self._weak, self._look_together())

    def _look(self) -> None:
        """Look at the frame that was chosen."""
        if self._chosen is None:
            return
        chosen = self._chosen
        mark = None
        if self._watermark is not None:
            mark = self._watermark.detect(chosen.whole, thorough=False)
            if mark is not None and mark.state == "read":
                self._whole.close()
        self._looks.append(Look(chosen.second, chosen.small, chosen.print, mark))

    def _look_together(self) -> Detection | None:
        whole = self._whole.frames
        if self._watermark is None or not whole:
            return None
        # A search may use its first frames only: these are spread over all of the video too.
        return self._watermark.detect_clip(whole[::2] + whole[1::2])

    def _thin(self) -> None:
        """Join spans in pairs; either look of a pair may stay."""
        self._step *= 2
        pairs = zip(self._looks[::2], self._looks[1::2], strict=True)
        self._looks = [self._rng.choice(pair) for pair in pairs]
        self._asked = self._asked[::2]
