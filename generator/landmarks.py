"""The dense mesh, the irises and the head pose of one detected face.

Decides how a face is cut out for the mesh graph (level eyes, a margin around eyes and mouth) and
refuses what the graph itself does not take for a face: its presence flag below the card's
threshold gives None. The attention graph refines lips, eyes and irises; the refined points
replace the coarse ones at the same places of the MediaPipe topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator.detection import LEFT_EYE, MOUTH, RIGHT_EYE
from generator.faces import IRIS_POINTS, MESH_POINTS, FloatArray, Frame
from generator.weights import WeightSession, open_session

MESH = "facemesh-attention-pinto"

# Mesh indices (MediaPipe face-mesh topology) used for measuring; right = subject's right.
RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (263, 362)
MOUTH_CORNERS = (61, 291)
FOREHEAD, CHIN = 10, 152
RIGHT_CHEEKS = (234, 93, 127, 132)
LEFT_CHEEKS = (454, 323, 356, 361)

# Where the attention graph's 80 lip and 71 points per eye belong in the 468-point mesh
# (MediaPipe's published landmark refinement table, Apache-2.0).
LIP_INDICES = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
RIGHT_EYE_INDICES = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65),
    *(143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
)
LEFT_EYE_INDICES = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295),
    *(372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
)


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Mesh float32 (468, 3), iris float32 (2, 5, 2), pose degrees, presence flag 0..1."""

    mesh: FloatArray
    iris: FloatArray
    pose: tuple[float, float, float]
    flag: float


class FaceMesher:
    """The mesh graph: cuts a face out of a frame and returns its landmarks in frame pixels."""

    def __init__(self, session: WeightSession) -> None:
        card = session.card
        self._session = session
        self._side = card.picture.side_px
        self._reach = card.number("crop_reach")
        self._drop = card.number("crop_drop")
        self._flag_threshold = card.number("flag_threshold")
        self.models: Mapping[str, str] = {card.name: card.sha256}

    def fit(self, frame: Frame, points: FloatArray) -> Landmarks | None:
        """Return the landmarks of the face with six detector key points (6, 2); None if no face.

        Runs the graph twice: the second crop is placed by the first mesh, which is steadier than
        the detector's points. Where only one of the two passes sees a face, that one is kept, so
        that a face half under hair is not lost. Pixels outside the frame count as black.
        """
        rough = self._fit_once(frame, points[[RIGHT_EYE, LEFT_EYE, MOUTH]])
        fine = rough and self._fit_once(frame, crop_points(rough.mesh))
        passes = [marks for marks in (fine, rough) if marks and marks.flag >= self._flag_threshold]
        return passes[0] if passes else None

    def _fit_once(self, frame: Frame, anchors: FloatArray) -> Landmarks | None:
        matrix = crop_matrix(anchors, self._side, reach=self._reach, drop=self._drop)
        if matrix is None:
            return None
        crop = warp_square(frame, matrix, self._side)
        outputs = self._session.run(np.ascontiguousarray(crop[:, :, ::-1]))
        flag = float(1 / (1 + np.exp(-np.clip(outputs["flag"].item(), -60, 60))))
        mesh = to_frame(refined_mesh(outputs), matrix)
        pair = [outputs[f"{side}_iris"].reshape(IRIS_POINTS, 2) for side in ("right", "left")]
        iris = to_frame(np.stack(pair), matrix)
        return Landmarks(mesh, iris, pose_of(mesh), flag)


def open_mesher(*, threads: int = 1) -> FaceMesher:
    """Load the shipped mesh graph; raises WeightRefused."""
    return FaceMesher(open_session(MESH, threads=threads))


def crop_points(mesh: FloatArray) -> FloatArray:
    """Return right eye, left eye and mouth centres (3, 2) of a mesh (468, 3)."""
    groups = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS, MOUTH_CORNERS)
    return np.stack([mesh[list(group), :2].mean(axis=0) for group in groups]).astype(np.float32)


def crop_matrix(
    anchors: FloatArray, side_px: int, *, reach: float, drop: float
) -> npt.NDArray[np.float64] | None:
    """Return the frame-to-crop similarity (2, 3) that levels the eyes; None for a point-like face.

    anchors: right eye, left eye, mouth (3, 2). The crop's half side is `reach` times the larger of
    eye distance and eye-to-mouth distance; its centre lies `drop` of the way from eyes to mouth.
    """
    right, left, mouth = anchors.astype(np.float64)
    eyes = (right + left) / 2
    half = reach * max(float(np.hypot(*(left - right))), float(np.hypot(*(mouth - eyes))))
    if not 1.0 <= half < np.inf:
        return None
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    cos, sin = np.array([np.cos(angle), np.sin(angle)]) * side_px / (2 * half)
    turn = np.array([[cos, sin], [-sin, cos]])
    centre = eyes + drop * (mouth - eyes)
    return np.column_stack([turn, side_px / 2 - turn @ centre])


def warp_square(frame: Frame, matrix: npt.NDArray[np.float64], side_px: int) -> Frame:
    """Cut a square out of a frame by a similarity (2, 3); shrinks first where it would alias."""
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    source, shrunk = shrink_for(frame, scale)
    # Pixel centres: a frame shrunk by s has its pixel x at s * (x + .5) - .5.
    fitted = matrix.copy()
    fitted[:, :2] = matrix[:, :2] / shrunk
    fitted[:, 2] += matrix[:, :2] @ np.full(2, (1 / shrunk - 1) / 2)
    return cv2.warpAffine(source, fitted, (side_px, side_px)).astype(np.uint8, copy=False)


def shrink_for(frame: Frame, scale: float) -> tuple[Frame, float]:
    """Return a frame averaged down for sampling at `scale`, and the exact factor (1 = unchanged).

    Bilinear sampling reads two pixels per axis, so it aliases below one half; above, no change.
    """
    step = int(0.5 / scale) if scale > 0 else 1
    if step < 2:
        return frame, 1.0
    height, width = (length // step * step for length in frame.shape[:2])
    if min(height, width) < step:
        return frame, 1.0
    small = cv2.resize(
        frame[:height, :width], (width // step, height // step), interpolation=cv2.INTER_AREA
    )
    return small.astype(np.uint8, copy=False), 1 / step


def to_frame(points: FloatArray, matrix: npt.NDArray[np.float64]) -> FloatArray:
    """Map crop points (..., 2 or 3) back into the frame; z is scaled like x and y."""
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    back = np.linalg.inv(matrix[:, :2])
    mapped = points.astype(np.float64) / scale
    mapped[..., :2] = (points[..., :2] - matrix[:, 2]) @ back.T
    return mapped.astype(np.float32)


def refined_mesh(outputs: Mapping[str, FloatArray]) -> FloatArray:
    """Return the mesh (468, 3) in crop pixels, x and y of lips and eyes from their own heads."""
    mesh = outputs["mesh"].reshape(MESH_POINTS, 3).copy()
    heads = (
        ("right_eye", RIGHT_EYE_INDICES),
        ("left_eye", LEFT_EYE_INDICES),
        ("lips", LIP_INDICES),
    )
    for name, indices in heads:
        mesh[list(indices), :2] = outputs[name].reshape(-1, 2)
    return mesh


def pose_of(mesh: FloatArray) -> tuple[float, float, float]:
    """Return yaw, pitch and roll of a mesh (468, 3) in degrees; all near 0 for a level portrait.

    yaw > 0: the face points to the right side of the image. pitch > 0: it points upwards.
    roll > 0: the head is tilted clockwise as the viewer sees it. Read from two directions of the
    mesh, across the cheeks and from forehead to chin.
    """
    points = mesh.astype(np.float64)
    across = points[list(LEFT_CHEEKS)].mean(axis=0) - points[list(RIGHT_CHEEKS)].mean(axis=0)
    down = points[CHIN] - points[FOREHEAD]
    across /= np.linalg.norm(across)
    down -= across * (down @ across)
    down /= np.linalg.norm(down)
    ahead = np.cross(down, across)  # out of the face, towards the camera (z < 0) when frontal
    yaw = np.degrees(np.arctan2(ahead[0], -ahead[2]))
    pitch = np.degrees(np.arctan2(-ahead[1], np.hypot(ahead[0], ahead[2])))
    roll = np.degrees(np.arctan2(across[1], across[0]))
    return float(yaw), float(pitch), float(roll)
