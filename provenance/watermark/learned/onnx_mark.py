"""The learned mark behind the interface of every mark, from ONNX weights and their card.

Decides presence by its pilots alone, with the bound of `message.bound_false_presence` over all
orientations, keys and looks; refuses weights that are not their card's, toys with fewer bits, and
pictures in which the mark cannot be read back. Turns by 90 degrees and mirroring are searched; what
else it survives is what its networks learned, and nothing is claimed about that here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from provenance.errors import AlreadyMarked, MarkKeyRefused, NotMarkable
from provenance.media import require_frame
from provenance.pixels import Frame
from provenance.watermark.detection import Detection
from provenance.watermark.learned.card import WeightFile, load_card, read_weights
from provenance.watermark.learned.errors import MarkWeightsRefused
from provenance.watermark.learned.message import (
    MESSAGE_BITS,
    PILOTS,
    Logits,
    bound_false_presence,
    count_pilots,
    derive_message_key,
    read_message,
    write_message,
)
from provenance.watermark.payload import Payload, require_payload
from provenance.watermark.reading import MAX_FALSE_PRESENCE
from provenance.watermark.spread import MIN_SIDE_PX, MOST_KEYS
from provenance.watermark.whitening import luma
from provenance.watermark.writing import add_at

ORIENTATIONS: Final = 8
LOOKS: Final = (1, 2, 4, 8, 16, 32)
"""Frames of a clip after which a reader asks whether it is sure; each time counts as a search."""

Plane = npt.NDArray[np.float32]


class LearnedMark:
    """One mark with a ring of keys, newest first; the weights and their card lie in `folder`."""

    alg: Final = "org.facewarrant.learned.1"

    def __init__(self, *, keys: Sequence[bytes], folder: Path) -> None:
        if not 1 <= len(keys) <= MOST_KEYS:
            raise MarkKeyRefused(f"a key ring has 1 to {MOST_KEYS} keys, got {len(keys)}")
        self._keys = [derive_message_key(key) for key in keys]
        self._card = load_card(folder)
        if self._card.bits != MESSAGE_BITS:
            raise MarkWeightsRefused(
                f"the networks carry {self._card.bits} bits, a mark has {MESSAGE_BITS}"
            )
        self._encoder = _open(folder, self._card.encoder)
        self._reader = _open(folder, self._card.reader)

    def embed(self, image: Frame, payload: Payload) -> Frame:
        """Return a copy of `image` (BGR uint8, at least 256 px a side) that carries `payload`.

        Raises `WarrantInvalid` unless the payload's warrant holds now, `ShapeError`,
        `AlreadyMarked` where a mark of the ring is in the picture, `NotMarkable` where the mark
        cannot be read back, and `MarkWeightsRefused`.
        """
        require_payload(payload)
        require_frame(image)
        if min(image.shape[:2]) < MIN_SIDE_PX:
            raise NotMarkable(
                f"a side has fewer than {MIN_SIDE_PX} px", mend="use a larger picture"
            )
        if self.detect(image) is not None:
            raise AlreadyMarked("the picture already carries a mark of this key ring")
        message = write_message(payload, self._keys[0]).astype(np.float32)
        feed = {"luma": self._see(image)[None, None], "message": message[None]}
        height, width = image.shape[:2]
        residual = _run(self._encoder, feed)[0, 0]
        plane = cv2.resize(residual, (width, height), interpolation=cv2.INTER_CUBIC)
        marked = add_at(image, np.asarray(plane, np.float32), self._card.psnr_db)
        found = self.detect(marked)
        if found is None or found.mark_id != payload.mark_id:
            raise NotMarkable("the mark cannot be read back", mend="use the default mark")
        return marked

    def detect(self, image: Frame, *, thorough: bool = True) -> Detection | None:
        """Look for a mark of the ring in BGR uint8 (h, w, 3); None where no claim can be made.

        Without `thorough` only upright. Raises `ShapeError` and `MarkWeightsRefused`. A read id is
        not proof of origin.
        """
        logits = self._ask(image, ORIENTATIONS if thorough else 1)
        return self._judge(logits, len(logits) * len(self._keys))

    def detect_clip(self, frames: Iterable[Frame]) -> Detection | None:
        """Add up what the first 32 frames say and stop as soon as an id is read.

        Raises as `detect`. An id found with more frames replaces an unreadable mark found before.
        """
        searched = ORIENTATIONS * len(self._keys) * len(LOOKS)
        total = np.zeros((ORIENTATIONS, MESSAGE_BITS), np.float32)
        best, unasked = None, False
        for seen, frame in enumerate(itertools.islice(frames, LOOKS[-1]), 1):
            total += self._ask(frame, ORIENTATIONS)
            unasked = seen not in LOOKS
            if not unasked:
                best = self._judge(total, searched) or best
            if best is not None and best.state == "read":
                return best
        # Fewer than 32 frames leave a look unused: this one takes its place in `searched`.
        return (self._judge(total, searched) if unasked else None) or best

    def _ask(self, image: Frame, orientations: int) -> Logits:
        """Return the reader's logits for the first orientations, upright first, (n, 104)."""
        require_frame(image)
        plane = self._see(image)
        sides = [np.rot90(one, turn) for one in (plane, plane[:, ::-1]) for turn in range(4)]
        return _run(self._reader, {"luma": np.stack(sides[:orientations])[:, None]})

    def _judge(self, logits: Logits, searched: int) -> Detection | None:
        places = [(row, number) for number in range(len(self._keys)) for row in logits]
        row, number = max(places, key=lambda place: count_pilots(place[0], self._keys[place[1]]))
        matches = count_pilots(row, self._keys[number])
        p_value = bound_false_presence(matches, searched)
        if p_value > MAX_FALSE_PRESENCE:
            return None
        statistic = (2 * matches - PILOTS) / math.sqrt(PILOTS)
        found = read_message(row, self._keys[number])
        if found is None:
            return Detection(None, None, "present_unreadable", p_value, statistic, searched, number)
        return Detection(*found, "read", p_value, statistic, searched, number)

    def _see(self, image: Frame) -> Plane:
        """Return what the card says the networks see: luma 0..1, float32 (side, side)."""
        side = self._card.input.side_px
        small = cv2.resize(luma(image), (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(small / 255, np.float32)


def _open(folder: Path, entry: WeightFile) -> onnxruntime.InferenceSession:
    content = read_weights(folder, entry)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise MarkWeightsRefused(f"{entry.file} is not a graph that can be run") from error


def _run(session: onnxruntime.InferenceSession, feed: dict[str, Plane]) -> Plane:
    try:
        return np.asarray(session.run(None, feed)[0], np.float32)
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise MarkWeightsRefused("a network of the learned mark cannot be run") from error
