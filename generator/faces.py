"""What a face is to this project, and the one way to find faces in a frame.

`Face` is the only form in which faces leave this module: box, dense mesh, irises, head pose and
identity vector, all in pixels of the given frame. `open_analyser` builds the default stack from
the shipped weight files; `generator.insight.InsightFacePack` is the second implementation of the
same protocol, over an operator's own models. Refused: frames that are not BGR uint8 (ShapeError),
weight files that differ from their cards (WeightRefused).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from generator.errors import ManyFaces, NoFace, ShapeError

if TYPE_CHECKING:
    from generator.detection import Detection, FaceDetector
    from generator.insight import IdNet
    from generator.landmarks import FaceMesher

Frame = npt.NDArray[np.uint8]
"""BGR uint8 (h, w, 3)."""

FloatArray = npt.NDArray[np.float32]
"""float32, any shape; the shape stands where the name is used."""

FaceBox = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; may reach outside the frame."""

MESH_POINTS = 468
IRIS_POINTS = 5

# A 50,000 px side is refused by the media decoder; below this many pixels there is no face either.
MIN_SIDE_PX = 16


@dataclass(frozen=True, slots=True)
class IdThresholds:
    """Euclidean distances between identity vectors, from the identity net's card.

    A distance <= `match` is the same person; > `mismatch` is somebody else; between the two the
    answer is "ambiguous", which no automatic step may treat as a match. 0 < match <= mismatch.
    """

    match: float
    mismatch: float

    def __post_init__(self) -> None:
        if not 0 < self.match <= self.mismatch < np.inf:
            raise ShapeError(
                "identity thresholds are not usable",
                actual=f"match={self.match}, mismatch={self.mismatch}",
                expected="0 < match <= mismatch < inf",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one frame; all positions in pixels of that frame, origin top left.

    box: x0, y0, x1, y1 (may reach outside the frame). score: detector probability 0..1.
    mesh: float32 (468, 3), MediaPipe face-mesh topology; x, y pixels, z in the same scale with
    smaller = nearer to the camera. iris: float32 (2, 5, 2); row 0 = the subject's right eye
    (left in the image), row 1 = the subject's left eye; point 0 = centre, 1..4 = the rim.
    pose: yaw, pitch, roll in degrees (see `generator.landmarks.pose_of`). id_vector: float32 (d,),
    d = 128 for the default net; compare by Euclidean distance only.
    Raises ShapeError on wrong shapes and on NaN or infinity.
    """

    box: FaceBox
    score: float
    mesh: FloatArray = field(repr=False)
    iris: FloatArray = field(repr=False)
    pose: tuple[float, float, float]
    id_vector: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        require_array(self.mesh, (MESH_POINTS, 3), "face mesh")
        require_array(self.iris, (2, IRIS_POINTS, 2), "irises")
        require_array(self.id_vector, (None,), "identity vector")


class FaceAnalyser(Protocol):
    """Finds every face in a frame; what it loaded is on record in `models`."""

    @property
    def models(self) -> Mapping[str, str]:
        """Model name -> sha256 (hex) of its weight file."""
        ...

    @property
    def id_model(self) -> str:
        """Key into `models` of the net that makes `Face.id_vector`."""
        ...

    @property
    def thresholds(self) -> IdThresholds:
        """Distances that belong to `id_model`."""
        ...

    def analyse(self, frame: Frame) -> list[Face]:
        """Return all faces of a BGR uint8 frame, largest box first; [] when there is none."""
        ...

    def locate(self, frame: Frame) -> list[FaceBox]:
        """Return every place that may be a face, also those too covered to be measured.

        At least as many as `analyse` returns: whoever counts people counts these.
        """
        ...


def require_array(value: object, shape: tuple[int | None, ...], what: str) -> None:
    """Raise ShapeError unless `value` is a finite float32 array of `shape` (None = any length)."""
    expected = f"finite float32 {tuple('n' if n is None else n for n in shape)}"
    if not isinstance(value, np.ndarray):
        raise ShapeError(what, actual=type(value).__name__, expected=expected)
    fits = value.ndim == len(shape) and all(
        have > 0 and want in (None, have) for have, want in zip(value.shape, shape, strict=True)
    )
    if value.dtype != np.float32 or not fits:
        raise ShapeError(what, actual=f"{value.dtype} {value.shape}", expected=expected)
    if not np.isfinite(value).all():
        raise ShapeError(what, actual="NaN or infinity", expected=expected)


def require_frame(frame: object) -> None:
    """Raise ShapeError unless `frame` is a BGR uint8 (h, w, 3) array of at least 16 x 16 pixels."""
    expected = f"uint8 (h, w, 3), h and w >= {MIN_SIDE_PX}"
    if not isinstance(frame, np.ndarray):
        raise ShapeError("frame", actual=type(frame).__name__, expected=expected)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ShapeError("frame", actual=f"{frame.dtype} {frame.shape}", expected=expected)
    if min(frame.shape[:2]) < MIN_SIDE_PX:
        raise ShapeError("frame", actual=frame.shape, expected=expected)


def only_face(faces: list[Face]) -> Face:
    """Return the single face of a list; raise NoFace or ManyFaces otherwise."""
    if not faces:
        raise NoFace("no face was found", mend="use a picture that shows the face clearly")
    if len(faces) > 1:
        raise ManyFaces(
            f"{len(faces)} faces were found where exactly one is needed",
            mend="crop the picture to the one person who is meant",
        )
    return faces[0]


class StackAnalyser:
    """The default stack: two detectors, one mesh graph with irises, one identity net."""

    def __init__(self, detector: FaceDetector, mesher: FaceMesher, id_net: IdNet) -> None:
        self._detector = detector
        self._mesher = mesher
        self._id_net = id_net
        self.id_model = id_net.name
        self.thresholds = id_net.thresholds
        self.models: Mapping[str, str] = {**detector.models, **mesher.models, **id_net.models}
        self._found: tuple[Frame, list[Detection]] | None = None

    def _detect(self, frame: Frame) -> list[Detection]:
        """Return every detected box; those of the last frame again, if nobody can have written it.

        Whoever counts people asks `analyse` and then `locate` of one frame: half of the time.
        """
        kept = self._found
        if kept is not None and kept[0] is frame:
            return list(kept[1])
        found = self._detector.detect(frame)
        self._found = None if frame.flags.writeable else (frame, found)
        return list(found)

    def locate(self, frame: Frame) -> list[FaceBox]:
        """Return every detected box of a BGR uint8 frame, before the mesh judges it."""
        require_frame(frame)
        return [found.box for found in self._detect(frame)]

    def analyse(self, frame: Frame) -> list[Face]:
        """Return all faces of a BGR uint8 (h, w, 3) frame, largest box first; [] when none.

        A detected box whose mesh graph sees no face in the crop is dropped (the detectors vote
        for recall, the mesh flag removes what is not a face), and so is a second box whose mesh
        falls onto an earlier one. Raises ShapeError.
        """
        require_frame(frame)
        faces: list[Face] = []
        for found in self._detect(frame):
            marks = self._mesher.fit(frame, found.points)
            if marks is None or any(_same_place(marks.mesh, face.mesh) for face in faces):
                continue
            vector = self._id_net.embed(frame, marks.mesh)
            faces.append(Face(found.box, found.score, marks.mesh, marks.iris, marks.pose, vector))
        return sorted(faces, key=face_area, reverse=True)


def open_analyser(*, threads: int = 1) -> FaceAnalyser:
    """Load the default stack from the shipped weight files (checked by sha256), on `threads` CPUs.

    Raises WeightRefused. The imports are local because insightface takes about a second to load
    and `Face` alone must stay cheap to import.
    """
    from generator.detection import open_detector  # noqa: PLC0415
    from generator.insight import open_id_net  # noqa: PLC0415
    from generator.landmarks import open_mesher  # noqa: PLC0415

    return StackAnalyser(
        open_detector(threads=threads), open_mesher(threads=threads), open_id_net(threads=threads)
    )


def _same_place(a: FloatArray, b: FloatArray) -> bool:
    """Return whether two meshes lie on one face: points closer than a tenth of the face width."""
    width = float(np.ptp(b[:, 0]))
    return float(np.linalg.norm(a[:, :2] - b[:, :2], axis=1).mean()) < 0.1 * width


def face_area(face: Face) -> float:
    """Return the area of a face's box in square pixels; the order in which faces are listed."""
    x0, y0, x1, y1 = face.box
    return (x1 - x0) * (y1 - y0)
