"""The square in which the networks see a face: eyes level, one size, always the same place.

The square follows from the mesh alone: scale and tilt of the rigid fit to the neutral face, so a
turned head is not blown up as it would be by its eye distance. `Square` keeps the way in and the
way back, and brings back only what a network changed: detail that the square cannot hold stays.
Refused: meshes that cannot be fitted (ShapeError).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator import fit
from generator.topology import load_topology

Image = npt.NDArray[np.float32]

SIDE_PX = 128
MARGIN = 1.22
"""Side of the square over the larger extent of the neutral face."""
ALIASES_BELOW = 0.6
"""Pictures that shrink by more than this are blurred first."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """A square cut out of a picture: `matrix` (2, 3) maps picture pixels to square pixels.

    side_px: the side; size: width and height of the picture it was cut from.
    """

    matrix: npt.NDArray[np.float64]
    side_px: int
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Square pixels per picture pixel."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def cut(self, picture: Image) -> Image:
        """Return the square (side, side) or (side, side, c) of a picture (h, w) or (h, w, c)."""
        if self.scale < ALIASES_BELOW:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.3 / self.scale).astype(np.float32)
        way = cv2.INTER_LINEAR if picture.ndim == 2 else cv2.INTER_CUBIC
        side = self.side_px, self.side_px
        cut = cv2.warpAffine(picture, self.matrix, side, flags=way, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cut, np.float32)

    def put_back(self, change: Image) -> Image:
        """Return a change made in the square (side, side[, c]) in the picture; 0 outside of it."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(change, self.matrix, self.size, flags=flags), np.float32)

    def move(self, picture: Image, flow: Image) -> Image:
        """Return the picture (h, w, c), each pixel taken from where the square's flow says.

        flow: (side, side, 2), x and y in square pixels; outside the square nothing moves.
        """
        back = np.linalg.inv(self.matrix[:, :2])
        away = self.put_back(np.ascontiguousarray(flow)) @ back.T.astype(np.float32)
        y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
        out = cv2.remap(
            picture, x + away[..., 0], y + away[..., 1], cv2.INTER_CUBIC, None,
            cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(out, np.float32)

    def follow(self, points: npt.NDArray[np.floating], flow: Image) -> npt.NDArray[np.float64]:
        """Return points (n, 3) of the picture where `move` by this flow takes them; z stays.

        A pixel at q shows what was at q + flow(q), so q is looked for in three rounds.
        """
        start = self.place(points)
        place = start
        for _ in range(3):
            x, y = (np.ascontiguousarray(place[None, :, axis]) for axis in (0, 1))
            place = start - cv2.remap(flow, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)[0]
        moved = np.array(points, np.float64)
        moved[:, :2] += (place - start) @ np.linalg.inv(self.matrix[:, :2]).T
        return moved

    def place(self, points: npt.NDArray[np.floating]) -> Image:
        """Return points (n, 2 or more) of the picture as x, y in the square, float32 (n, 2)."""
        xy = points[:, :2].astype(np.float64)
        return (xy @ self.matrix[:, :2].T + self.matrix[:, 2]).astype(np.float32)


def frame_square(
    mesh: npt.NDArray[np.floating], shape: tuple[int, ...], side_px: int = SIDE_PX
) -> Square:
    """Return the square around the face with this mesh (468, 3) in a picture of `shape`."""
    neutral = load_topology().neutral
    low, high = neutral.min(0), neutral.max(0)
    middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, neutral[:, 2].mean()])
    pose = fit.fit_neutral(mesh)
    centre = pose.turn_back(middle - pose.shift)[:2]
    down = pose.turn_back(np.array([0.0, 1.0, 0.0]))[:2]
    down /= max(float(np.linalg.norm(down)), 1e-9)
    scale = side_px / (MARGIN * float((high - low)[:2].max())) * pose.scale
    turn = np.array([[down[1], -down[0]], [down[0], down[1]]]) * scale
    matrix = np.column_stack([turn, np.full(2, side_px / 2 - 0.5) - turn @ centre])
    return Square(matrix, side_px, (shape[1], shape[0]))
