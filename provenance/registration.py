"""Where does a copy that was cropped, turned or scaled lie on the picture that was released?

A mark says how its pattern lies in a copy, but every tile is alike: which part of the released
picture is shown is known up to whole tiles only. Decides that from the content (normalised
correlation over all shifts, masked: Padfield 2012), refines it (ECC: Evangelidis and Psarakis 2008)
and draws the released picture as this copy should show it. Decides nothing about likeness. Refuses
to place a part that is too small to mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from provenance.media import require_frame
from provenance.pixels import Frame
from provenance.watermark import Geometry
from provenance.watermark.geometry import Matrix, shift
from provenance.watermark.pattern import TILE_PX

Points: TypeAlias = npt.NDArray[np.float64]
Plane: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

MIN_SHARE: Final = 0.1
"""Less of the released picture is no copy of it."""
MIN_SHOWN_PX: Final = 64
"""Least side, in pixels of the copy, of what it shows."""

_COARSE_PX: Final = 384
"""Longest side at which shifts are tried."""
_TILE_STEPS: Final = (32, 16, 8, 4, 2, 1)
_NOISE: Final = 4.0
"""Variance that counts as none, in grey levels squared: flat areas fit everything."""
_FINE_PX: Final = 512
"""Longest side at which the part is refined and drawn."""
_ECC_PX: Final = (96, 256)
_ECC_ROUNDS, _ECC_BLUR_PX = 40, 5
_MOST_REFINED: Final = 0.08
"""How far refining may move a corner, of the longer side; more is another place. A reader's
geometry of a slanted picture is up to 4 % off at the corners (seen)."""
_BESIDE_PX: Final = 9
"""Pixels beside an edge that are judged neither way: codecs ring there, and scaling mixes."""
_EDGE_PX: Final = 7
_CALM_PX: Final = 2.0
_AHEAD: Final = 1e-3
"""Points nearer to the horizon of a slant than this are not drawn."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a released picture that a copy shows, drawn over the part that shows it.

    `released`, `copy`: BGR uint8 (h, w, 3), at most 512 px a side, the box around what is covered;
    where `covered` (h, w) is False the copy's own pixels stand in both. `share`: how much of the
    released picture is shown, 0..1. `around`: how far what lies outside departs from one colour, in
    grey levels 0..255; 0 where nothing does. `lies`: how the released picture lies in the copy.
    """

    released: Frame = field(repr=False)
    copy: Frame = field(repr=False)
    covered: Mask = field(repr=False)
    share: float
    around: float
    lies: Geometry


def register(original: Frame, copy: Frame, geometry: Geometry) -> Shown | None:
    """Place a copy on the released picture, both BGR uint8 (h, w, 3); None where it has no place.

    `geometry`: how the mark's pattern lies in the copy; in the released picture it begins at the
    corner, upright. Raises ShapeError.
    """
    require_frame(original)
    require_frame(copy)
    start = _find_shift(original, copy, np.array(geometry.homography))
    view = None if start is None else _View.of(original, copy, start)
    if view is None:
        return None
    for side in _ECC_PX:
        view = _View.of(original, copy, view.refined(side)) or view
    if view.share < MIN_SHARE:
        return None
    return Shown(
        np.where(view.covered[..., None], view.drawn, view.part),
        view.part,
        view.covered,
        view.share,
        _measure_around(original, copy, view.matrix),
        _lies(copy, view.matrix),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """The covered part of the copy, reduced, and the released picture drawn into its frame.

    `matrix`: from released picture to copy; `small`: from copy to the reduced part.
    """

    matrix: Matrix
    small: Matrix
    part: Frame
    drawn: Frame
    covered: Mask
    share: float

    @classmethod
    def of(cls, original: Frame, copy: Frame, matrix: Matrix) -> _View | None:
        """Return the view under a matrix; None where too little would be seen."""
        common = _overlap(original, copy, matrix)
        if common is None:
            return None
        (x, y), (right, bottom), share = common
        crop = copy[y:bottom, x:right]
        part, small = _reduce(crop, _FINE_PX)
        small = small @ shift(-x, -y)
        drawn, covered = _draw(original, small @ matrix, part.shape[1::-1])
        return cls(matrix, small, part, drawn, covered, share)

    def refined(self, side: int) -> Matrix:
        """Return the matrix moved to where drawing and copy agree best, at most `side` px large.

        As it is where that would be far.
        """
        (part, small), (drawn, _) = _reduce(self.part, side), _reduce(self.drawn, side)
        size = part.shape[1::-1]
        inside = cv2.resize(self.covered.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        # What lies around must not bleed into what is compared.
        inside = cv2.erode(inside, np.ones((_EDGE_PX, _EDGE_PX), np.uint8), borderValue=1)
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_ROUNDS, 1e-5)
        grey, wanted = (cv2.cvtColor(one, cv2.COLOR_BGR2GRAY) for one in (part, drawn))
        still = np.eye(3, dtype=np.float32)
        try:
            _, found = cv2.findTransformECC(
                grey, wanted, still, cv2.MOTION_HOMOGRAPHY, stop, inside, _ECC_BLUR_PX
            )
        except cv2.error:  # it does not converge
            return self.matrix
        step = np.asarray(found, np.float64)
        moved = _map(step, _corners(part)) - _corners(part)
        if not np.abs(moved).max() <= _MOST_REFINED * max(size):
            return self.matrix
        to_part = small @ self.small
        fine = _invert(to_part) @ _invert(step) @ to_part @ self.matrix
        return np.asarray(fine / fine[2, 2], np.float64)


def _find_shift(original: Frame, copy: Frame, pattern: Matrix) -> Matrix | None:
    """Return the matrix from released picture to copy at the tile shift that agrees best."""
    back = _invert(pattern)
    if not _sees(back, _corners(copy)):
        return None
    corners = _map(back, _corners(copy))
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    longest = max(*original.shape[:2], *extent)
    steps = next((n for n in _TILE_STEPS if longest * n / TILE_PX <= _COARSE_PX), 0)
    if steps == 0:
        return None
    to_grid = _scaling(steps / TILE_PX, steps / TILE_PX)
    first = np.floor(low * steps / TILE_PX).astype(int)
    width, height = np.ceil(extent * steps / TILE_PX).astype(int) + 2
    seen = _draw(copy, shift(*-first) @ to_grid @ back, (int(width), int(height)))
    height, width = (-(-n * steps // TILE_PX) for n in original.shape[:2])
    scores = _correlate(_draw(original, to_grid, (int(width), int(height))), seen)
    # Row and column say where the copy's plane begins on the released picture's.
    rows, columns = (
        np.arange(n) - (m - 1) - start
        for n, m, start in zip(scores.shape, seen[1].shape, first[::-1], strict=True)
    )
    whole = (rows % steps == 0)[:, None] & (columns % steps == 0)
    scores = np.where(whole, scores, -np.inf)
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    if scores[row, column] == -np.inf:
        return None
    x, y = columns[column] // steps, rows[row] // steps
    return pattern @ shift(-TILE_PX * float(x), -TILE_PX * float(y))


def _correlate(fixed: tuple[Frame, Mask], moved: tuple[Frame, Mask]) -> Plane:
    """Return how well two drawings agree at every shift, where both have a value.

    Entry (i, j): the second begins at (i, j) - (its size - 1) of the first. Normalised correlation
    times the root of the number of pixels; -inf where they hardly overlap.
    """
    shape = tuple(n + m - 1 for n, m in zip(fixed[1].shape, moved[1].shape, strict=True))
    fast = [scipy.fft.next_fast_len(n, real=True) for n in shape]
    a, b = _spectra(fixed, fast), _spectra((moved[0][::-1, ::-1], moved[1][::-1, ::-1]), fast)

    def sums(left: int, right: int) -> Plane:
        whole = scipy.fft.irfft2(a[left] * b[right], s=fast)
        return np.asarray(whole[: shape[0], : shape[1]])

    count = np.maximum(sums(0, 0), 1.0)
    mean_a, mean_b = sums(1, 0) / count, sums(0, 1) / count
    spread_a = np.maximum(sums(2, 0) / count - mean_a**2, 0.0) + _NOISE
    spread_b = np.maximum(sums(0, 2) / count - mean_b**2, 0.0) + _NOISE
    agreement = (sums(1, 1) / count - mean_a * mean_b) / np.sqrt(spread_a * spread_b)
    # Half of the least share: grids are coarse, the share is measured later.
    enough = count >= max(1.0, MIN_SHARE / 2 * fixed[1].sum())
    return np.where(enough, agreement * np.sqrt(count), -np.inf)


def _spectra(drawing: tuple[Frame, Mask], fast: Sequence[int]) -> list[npt.NDArray[np.complex128]]:
    """Return the spectra of the mask, of the luma in it, and of its squares."""
    frame, inside = drawing
    luma = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float64) - 128
    planes = (inside.astype(np.float64), luma * inside, luma**2 * inside)
    return [scipy.fft.rfft2(one, s=fast) for one in planes]


def _overlap(
    original: Frame, copy: Frame, matrix: Matrix
) -> tuple[tuple[int, int], tuple[int, int], float] | None:
    """Return the box (x, y) to (x, y) of the copy that is covered, and the share that is shown.

    None where that is too small, or behind the horizon.
    """
    back = _invert(matrix)
    if not (_sees(matrix, _corners(original)) and _sees(back, _corners(copy))):
        return None
    area, common = cv2.intersectConvexConvex(
        _map(matrix, _corners(original)).astype(np.float32), _corners(copy).astype(np.float32)
    )
    if area <= 0:
        return None
    outline = np.asarray(common, np.float64).reshape(-1, 2)
    seen = cv2.contourArea(_map(back, outline).astype(np.float32))
    low = np.floor(outline.min(axis=0) + 0.5).astype(int)
    high = np.ceil(outline.max(axis=0) + 0.5).astype(int)
    # A sliver that lies aslant is thin, though its box is not.
    if min(*(high - low), area / (high - low).max()) < MIN_SHOWN_PX:
        return None
    height, width = original.shape[:2]
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1])), seen / (height * width)


def _draw(frame: Frame, matrix: Matrix, size: tuple[int, int]) -> tuple[Frame, Mask]:
    """Draw a frame under a matrix into (width, height); returns it and where it lies."""
    scale = _lies_at(matrix, _middle(frame)).scale
    reduced, small = frame, np.eye(3)
    if scale < 1:  # lines finer than the result would alias
        reduced, small = _reduce(frame, max(1.0, scale * max(frame.shape[:2])))
    matrix = matrix @ _invert(small)
    edge = cv2.BORDER_REPLICATE
    drawn = cv2.warpPerspective(reduced, matrix, size, flags=cv2.INTER_CUBIC, borderMode=edge)
    whole = np.ones(reduced.shape[:2], np.uint8)
    covered = cv2.warpPerspective(whole, matrix, size, flags=cv2.INTER_NEAREST)
    return np.asarray(drawn, np.uint8), np.asarray(covered, np.bool_)


def _reduce(frame: Frame, side: float) -> tuple[Frame, Matrix]:
    """Return the frame at most `side` px a side, and the matrix from it to that."""
    height, width = frame.shape[:2]
    step = min(1.0, side / max(width, height))
    size = (max(1, round(width * step)), max(1, round(height * step)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), _scaling(size[0] / width, size[1] / height)


def _measure_around(original: Frame, copy: Frame, matrix: Matrix) -> float:
    """Return how far the pixels that the released picture does not cover depart from one colour."""
    small, to_small = _reduce(copy, _FINE_PX)
    _, covered = _draw(original, to_small @ matrix, small.shape[1::-1])
    kernel = np.ones((_BESIDE_PX, _BESIDE_PX), np.uint8)
    outside = (cv2.dilate(covered.astype(np.uint8), kernel) == 0).astype(np.float32)
    if not outside.any():
        return 0.0
    # Averaged outside alone, as the picture's own edge must not bleed into its surroundings.
    weight = cv2.GaussianBlur(outside, (0, 0), _CALM_PX)
    calm = cv2.GaussianBlur(small * outside[..., None], (0, 0), _CALM_PX)
    values = (calm / (weight + 1e-6)[..., None])[outside > 0]
    return float(np.abs(values - np.median(values, axis=0)).max())


def _lies(copy: Frame, matrix: Matrix) -> Geometry:
    """Return how the released picture lies at the copy's middle, where a slant weighs least."""
    return _lies_at(matrix, _map(_invert(matrix), _middle(copy)))


def _lies_at(matrix: Matrix, place: Points) -> Geometry:
    """Return the geometry of a matrix seen from one place (1, 2): there it says what it does."""
    return Geometry.of(shift(*-_map(matrix, place)[0]) @ matrix @ shift(*place[0]))


def _invert(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _sees(matrix: Matrix, points: Points) -> bool:
    """Tell whether all points (n, 2) stay on this side of the horizon."""
    depth = np.column_stack([points, np.ones(len(points))]) @ matrix[2]
    return bool((depth > _AHEAD * np.abs(depth).max()).all())


def _map(matrix: Matrix, points: Points) -> Points:
    """Return points (n, 2), as x, y, under a matrix."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)


def _corners(frame: Frame) -> Points:
    """Return the outer corners, in turn; pixels are squares around whole places."""
    height, width = frame.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) - 0.5


def _middle(frame: Frame) -> Points:
    return np.asarray(_corners(frame).mean(axis=0, keepdims=True), np.float64)


def _scaling(x: float, y: float) -> Matrix:
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])
