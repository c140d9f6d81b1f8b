"""Where the faces are: two detectors that vote, decoded to boxes with six key points.

Decides for recall: a missed face is a person whom nobody asked, so both detectors see every frame,
large frames are searched in tiles as well, and every hit is kept. What is no face is thrown out
later by the mesh graph's own flag. Anchors, sizes and thresholds come from
the cards of the two weight files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from generator.faces import FloatArray, Frame
from generator.weights import WeightCard, WeightSession, open_session, session_options

FIRST = "blazeface"
SECOND = "facemesh-detection-full"

# Order of the six key points in both graphs ("right" is the subject's right, left in the image).
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH, RIGHT_EAR, LEFT_EAR = range(6)

# Larger frames are also searched in tiles; 25 % overlap (faces.md) keeps a face whole in one.
TILE_FROM_PX = 1024
TILE_MIN_PX = 640
TILES_ALONG = 3
TILE_OVERLAP = 0.25

# A tile's hit this close to an inner border may be half a face; the neighbour sees all of it.
CUT_MARGIN_PX = 4.0

# Two boxes of one face overlap more than this (faces.md: NMS at intersection over union .3).
NMS_IOU = 0.3

# Far beyond where a logistic function saturates in float32; keeps exp() from overflowing.
_LOGIT_LIMIT = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One hit: box x0, y0, x1, y1 in pixels, score 0..1, six key points float32 (6, 2)."""

    box: tuple[float, float, float, float]
    score: float
    points: FloatArray


class BoxNet:
    """One detector graph with its anchors; finds faces in a frame of any size by letterboxing."""

    def __init__(self, session: WeightSession) -> None:
        self._session = session
        self.card: WeightCard = session.card
        self._side = session.card.picture.side_px
        self._anchors = anchor_centres(self._side, session.card.levels)
        self._threshold = session.card.number("score_threshold")

    def detect(self, frame: Frame) -> list[Detection]:
        """Return hits above the card's threshold in a BGR frame, best first, overlaps merged."""
        square, scale, shift = letterbox(frame, self._side)
        rows = _join_levels(self._session.run(square))
        scores = 1 / (1 + np.exp(-np.clip(rows[:, 0], -_LOGIT_LIMIT, _LOGIT_LIMIT)))
        hits = np.flatnonzero(scores > self._threshold)
        anchors = self._anchors[hits]
        centre, half = rows[hits, 1:3] + anchors, rows[hits, 3:5] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1)
        boxes = (corners - np.tile(shift, 2)) / np.tile(scale, 2)
        points = (rows[hits, 5:17].reshape(-1, 6, 2) + anchors[:, None] - shift) / scale
        return merge(
            Detection(_as_box(box), float(score), marks.astype(np.float32))
            for box, score, marks in zip(boxes, scores[hits], points, strict=True)
        )


class FaceDetector:
    """Two detectors and tiles, merged by non-maximum suppression.

    Asking the second only after the first has found something small saves 10 ms and misses the
    bystander behind a large face; asking both gave no false face on 468 pictures (measured).
    """

    def __init__(self, first: BoxNet, second: BoxNet, *, threads: int = 1) -> None:
        self._first = first
        self._second = second
        self._threads = threads
        self.models: Mapping[str, str] = {net.card.name: net.card.sha256 for net in (first, second)}

    def detect(self, frame: Frame) -> list[Detection]:
        """Return every face of a BGR uint8 frame, best score first; [] when there is none."""
        tiles = tiles_of(frame.shape[1], frame.shape[0])
        looks = [(self._first, frame), (self._second, frame)]
        looks += [(self._first, frame[y0:y1, x0:x1]) for x0, y0, x1, y1 in tiles]
        with ThreadPoolExecutor(self._threads) as pool:
            first, second, *in_tiles = pool.map(lambda look: look[0].detect(look[1]), looks)
        hits = first + second
        for tile, found in zip(tiles, in_tiles, strict=True):
            hits += [
                _moved(hit, *tile[:2]) for hit in found if not _is_cut(hit.box, tile, frame.shape)
            ]
        return merge(hits)


def open_detector(*, threads: int = 1) -> FaceDetector:
    """Load both shipped detectors; raises WeightRefused.

    The nets are so small that one thread each and several looks at a time take a third of the
    processor time of several threads on one look (measured: .10 and .30 s at 1080p).
    """
    session_options(threads)  # refuses fewer than one
    return FaceDetector(BoxNet(open_session(FIRST)), BoxNet(open_session(SECOND)), threads=threads)


def anchor_centres(side_px: int, levels: Iterable[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """Return anchor centres (n, 2) in input pixels: per level (stride, anchors per cell).

    Centres are (i + .5) * stride, row by row, the anchors of one cell next to each other.
    """
    parts = []
    for stride, per_cell in levels:
        rows, columns = np.mgrid[: side_px // stride, : side_px // stride]
        centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * stride
        parts.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(parts).astype(np.float32)


def letterbox(
    frame: Frame, side_px: int
) -> tuple[Frame, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit a BGR frame into a centred RGB square with black bars.

    Returns the square, and scale (2,) and shift (2,) such that square = frame * scale + shift.
    Shrinks by area averaging, so that small faces do not fall between the samples.
    """
    height, width = frame.shape[:2]
    factor = side_px / max(height, width)
    new_w, new_h = max(1, round(width * factor)), max(1, round(height * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(frame, (new_w, new_h), interpolation=method)
    left, top = (side_px - new_w) // 2, (side_px - new_h) // 2
    square = np.zeros((side_px, side_px, 3), np.uint8)
    square[top : top + new_h, left : left + new_w] = small[:, :, ::-1]
    return square, np.array([new_w / width, new_h / height]), np.array([left, top], np.float64)


def tiles_of(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return overlapping square tiles x0, y0, x1, y1 of a large frame; [] below 1024 px.

    At most 4 x 4 tiles whatever the size: the tile grows with the frame.
    """
    if max(width, height) < TILE_FROM_PX:
        return []
    side = max(TILE_MIN_PX, -(-max(width, height) // TILES_ALONG))
    starts = [_starts(length, side) for length in (width, height)]
    return [
        (x, y, min(x + side, width), min(y + side, height))
        for y, x in product(starts[1], starts[0])
    ]


def _starts(length: int, side: int) -> list[int]:
    """Return evenly spread tile starts that cover a length with at least the stated overlap."""
    if length <= side:
        return [0]
    steps = int(np.ceil((length - side) / (side * (1 - TILE_OVERLAP))))
    return [round(i * (length - side) / steps) for i in range(steps + 1)]


def _is_cut(
    box: tuple[float, float, float, float],
    tile: tuple[int, int, int, int],
    frame_shape: tuple[int, ...],
) -> bool:
    """Return whether a box touches a tile border that is not a border of the frame."""
    x0, y0, x1, y1 = tile
    height, width = frame_shape[:2]
    low, high = CUT_MARGIN_PX, -CUT_MARGIN_PX
    return (
        (x0 > 0 and box[0] < low)
        or (y0 > 0 and box[1] < low)
        or (x1 < width and box[2] > x1 - x0 + high)
        or (y1 < height and box[3] > y1 - y0 + high)
    )


def merge(hits: Iterable[Detection]) -> list[Detection]:
    """Return the hits without overlapping weaker ones (greedy suppression), best score first."""
    kept: list[Detection] = []
    for hit in sorted(hits, key=lambda d: d.score, reverse=True):
        if all(overlap(hit.box, other.box) <= NMS_IOU for other in kept):
            kept.append(hit)
    return kept


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return intersection over union of two boxes; 0 for empty ones."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = box_area(a) + box_area(b) - shared
    return shared / union if union > 0 else 0.0


def box_area(box: tuple[float, float, float, float]) -> float:
    """Return the area of a box in square pixels; 0 when it is inside out."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _join_levels(outputs: Mapping[str, FloatArray]) -> FloatArray:
    """Return rows (anchors, 17): score logit, then 16 coordinates, finest level first.

    A graph gives either such rows at once, or scores and coordinates apart, level by level.
    """
    if "rows" in outputs:
        only: FloatArray = outputs["rows"][0]
        return only
    levels = ("near", "far")
    scores = np.concatenate([outputs[f"scores_{level}"][0] for level in levels])
    boxes = np.concatenate([outputs[f"boxes_{level}"][0] for level in levels])
    rows: FloatArray = np.concatenate([scores, boxes], axis=1)
    return rows


def _as_box(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in values)
    return x0, y0, x1, y1


def _moved(hit: Detection, x: int, y: int) -> Detection:
    box = (hit.box[0] + x, hit.box[1] + y, hit.box[2] + x, hit.box[3] + y)
    return Detection(box, hit.score, hit.points + np.array([x, y], np.float32))
