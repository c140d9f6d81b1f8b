"""The mark "spread": a keyed, tiled pattern on luma, found again without the original.

Decides what is written and what may be claimed of a picture. Reads through crops, turns, flips,
changes of scale from 0.25 to 2 and mild perspective, and through what codecs do besides; says
"present" only where the chance of that for a picture without a mark of these keys, the whole search
included, is at most 1e-6. Refuses to mark what carries a mark already and what would not be read
back. A determined remover succeeds (docs/watermark.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from provenance.errors import AlreadyMarked, MarkKeyRefused, NotMarkable, ShapeError
from provenance.media import require_frame
from provenance.pixels import Frame
from provenance.watermark.alignment import fold, transform
from provenance.watermark.detection import Detection
from provenance.watermark.geometry import Geometry
from provenance.watermark.pattern import CARRIERS, TILE_PX, Pattern, Plane
from provenance.watermark.payload import Payload, require_payload
from provenance.watermark.reading import measure_identity
from provenance.watermark.search import (
    MIN_READ_PX,
    MOST_LOOKS,
    UPRIGHT_LOOKS,
    Found,
    Search,
)
from provenance.watermark.whitening import luma, measure_capacity, whiten
from provenance.watermark.writing import (
    LEAST_DB,
    add_at,
    choose_psnr,
    lay_tile,
    recode_as_jpeg,
)

MOST_KEYS: Final = 4
"""Keys that are tried when reading; each one counts in the bound."""
MIN_SIDE_PX: Final = 256
"""Four whole tiles; fewer do not carry the id through a crop."""

_READ_AFTER: Final = (1, 2, 4, 8)
_MOST_FRAMES, _SEARCHED_FRAMES = 8, 4
_GROUPS: Final = len(_READ_AFTER) + 2
"""How often the frames of one clip are read."""

_NEED: Final = 16.0
"""Asked of the poor JPEG copy; see `choose_psnr`. Decoding takes about 12."""
_FIRM_COPY: Final = 70


class SpreadMark:
    """One key ring: the newest of its 32-byte keys writes, all of them read.

    The keys embed and read, and are as secret as signing keys. Raises `MarkKeyRefused` unless
    there are 1 to 4 different keys of 32 bytes.
    """

    alg: Final = "org.facewarrant.spread.2"

    def __init__(self, *, keys: Sequence[bytes]) -> None:
        if not 1 <= len(keys) <= MOST_KEYS:
            raise MarkKeyRefused(f"a key ring has 1 to {MOST_KEYS} keys, got {len(keys)}")
        self._patterns = [Pattern(key=key) for key in keys]
        if len(set(keys)) < len(keys):
            raise MarkKeyRefused("a key is in the ring twice")

    def embed(self, image: Frame, payload: Payload) -> Frame:
        """Return a copy of `image` (BGR uint8, at least 256 px a side) that carries `payload`.

        Raises `WarrantInvalid` unless the payload's warrant holds now, `ShapeError`,
        `AlreadyMarked` where a mark of these keys is read at scale 1 (crops, turns and flips
        included; `detect` looks further), and `NotMarkable` where the id cannot be read back from
        the result and its JPEG 70 copy.
        """
        require_payload(payload)
        require_frame(image)
        if min(image.shape[:2]) < MIN_SIDE_PX:
            raise NotMarkable(
                f"a side has fewer than {MIN_SIDE_PX} px", mend="use a larger picture"
            )
        light = luma(image)
        if self._detect([light], 1, thorough=False) is not None:
            raise AlreadyMarked("the picture already carries a mark of these keys")
        pattern = self._patterns[0]
        plane = lay_tile(pattern.tile(payload.mark_id, payload.version), measure_capacity(light))

        def hear(copy: Frame) -> float:
            return self._hear(copy, payload)

        psnr_db = choose_psnr(image, plane, heard=hear, need=_NEED)
        for strength_db in (psnr_db, LEAST_DB):
            marked = add_at(image, plane, strength_db)
            if self._reads_back(marked, payload):
                return marked
        raise NotMarkable(
            "the mark cannot be read back from the picture: it is too small, noisy or clipped",
            mend="use a larger picture, or one with less noise and less pure black or white",
        )

    def detect(self, image: Frame, *, thorough: bool = True) -> Detection | None:
        """Look for a mark of these keys in BGR uint8 (h, w, 3); None where no claim can be made.

        Without `thorough` only scale 1 is read (crops, quarter turns and flips included), which
        takes some ten milliseconds; the whole search of an unmarked picture takes a second or two
        for each key. The bound is that of this call.
        Raises `ShapeError`. A read id is not proof of origin: marks can be copied.
        """
        require_frame(image)
        return self._detect([luma(image)], 1, thorough=thorough)

    def detect_clip(self, frames: Iterable[Frame]) -> Detection | None:
        """Look for one mark in frames of one clip, all of a size: BGR uint8 (h, w, 3) each.

        Frames are summed; after 1, 2, 4 and 8 of them the sum is read at scale 1, and reading stops
        as soon as an id is read. What is left unread is then searched thoroughly: the first frame
        alone, since codecs move a mark along with what moves, then four together. Give keyframes
        first: they are the clearest. Raises `ShapeError`.
        """
        lumas: list[Plane] = []
        best: Detection | None = None
        for frame in islice(frames, _MOST_FRAMES):
            require_frame(frame)
            if lumas and frame.shape[:2] != lumas[0].shape:
                height, width = lumas[0].shape
                raise ShapeError(
                    actual=frame.shape, expected=f"frames of one size, ({height}, {width}, 3)"
                )
            lumas.append(luma(frame))
            if len(lumas) in _READ_AFTER:
                found = self._detect(lumas, _GROUPS, thorough=False)
                if found is not None and found.state == "read":
                    return found
                best = best or found
        for count in (1, _SEARCHED_FRAMES)[: len(lumas)]:
            found = self._detect(lumas[:count], _GROUPS, thorough=True)
            if found is not None and found.state == "read":
                return found
            best = best or found
        return best

    def survey(self, image: Frame) -> tuple[float, bool]:
        """Return the highest presence statistic of the whole search, and whether it has a claim.

        For benchmarks and reports; raises `ShapeError`.
        """
        require_frame(image)
        search, looks = Search([luma(image)]), MOST_LOOKS * len(self._patterns)
        readings = [
            found.reading
            for pattern in self._patterns
            for stage in search.stages
            for found in stage(pattern)
        ]
        claimed = any(reading.claims(looks) for reading in readings)
        return max(reading.presence for reading in readings), claimed

    def _detect(self, lumas: list[Plane], groups: int, *, thorough: bool) -> Detection | None:
        if min(lumas[0].shape) < MIN_READ_PX:
            return None
        best: Detection | None = None
        looks = (MOST_LOOKS if thorough else UPRIGHT_LOOKS) * len(self._patterns)
        search = Search(lumas)
        # Every key is tried where most marks lie before one key is tried everywhere.
        for stage in search.stages if thorough else search.stages[:1]:
            for number, pattern in enumerate(self._patterns):
                found = self._settle(stage(pattern), looks * groups, number)
                if found is not None and found.state == "read":
                    return found
                best = best or found
        return best

    def _settle(self, found: Iterable[Found], looks: int, key: int) -> Detection | None:
        """Return the first id that may be claimed, else the first presence, else None."""
        present: Detection | None = None
        for one in found:
            if one.reading.claims(looks):
                detection = _report(one, looks, key, self._patterns[key])
                if detection.state == "read":
                    return detection
                present = present or detection
        return present

    def _reads_back(self, marked: Frame, payload: Payload) -> bool:
        pattern = self._patterns[0]
        for copy in (marked, recode_as_jpeg(marked, _FIRM_COPY)):
            found = self._settle(Search([luma(copy)]).upright(pattern), UPRIGHT_LOOKS, 0)
            if found is None or found.mark_id != payload.mark_id:
                return False
        return True

    def _hear(self, copy: Frame, payload: Payload) -> float:
        pattern = self._patterns[0]
        spectrum = transform(fold([whiten(luma(copy))])[None], pattern)[0]
        return measure_identity(spectrum, pattern, payload.mark_id, payload.version)


def _report(found: Found, looks: int, key: int, pattern: Pattern) -> Detection:
    reading = found.reading
    named = reading.mark_id is not None
    return Detection(
        mark_id=reading.mark_id,
        version=reading.version,
        state="read" if named else "present_unreadable",
        p_value=reading.bound(looks),
        statistic=reading.identity if named else reading.presence,
        searched=looks * CARRIERS,
        key_index=key,
        geometry=Geometry.of(found.matrix),
        confidence=_map_confidence(found, pattern),
    )


def _map_confidence(found: Found, pattern: Pattern) -> npt.NDArray[np.float32] | None:
    """Return how far each tile agrees with the mark that was read: float32 (rows, columns).

    Tiles are those of the grid, from its first whole one on; the last ones may lie over the edge.
    """
    reading, (x, y) = found.reading, found.start
    if reading.mark_id is None or reading.version is None:
        return None
    tile = pattern.tile(reading.mark_id, reading.version) / TILE_PX
    total = None
    for plane in found.place.planes:
        cut = plane[y:, x:]
        rows, columns = (n // TILE_PX for n in cut.shape)
        cut = cut[: rows * TILE_PX, : columns * TILE_PX]
        tiles = cut.reshape(rows, TILE_PX, columns, TILE_PX)
        along = np.einsum("aibj,ij->ab", tiles, tile)
        size = np.sqrt(np.einsum("aibj,aibj->ab", tiles, tiles)) + 1e-6
        share = along / size
        total = share if total is None else total + share
    return None if total is None else np.asarray(total / len(found.place.planes), np.float32)
