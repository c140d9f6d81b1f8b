"""The only module that touches insightface: alignment, the identity net, an operator's own pack.

Decides how a face is turned into an identity vector and refuses every way in which the library
would fetch something by itself: models are opened from files that exist and were checked, never
by name, never from the library's default folder, and nothing is downloaded. The library's code is
MIT; the packs its authors publish are for non-commercial research, so none is shipped here and an
operator's pack is used under the operator's own licence. Its warnings, prints and error types end
in this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generator.detection import LEFT_EYE, MOUTH, NOSE, RIGHT_EYE
from generator.errors import PackMissing, WeightRefused
from generator.faces import (
    MESH_POINTS,
    Face,
    FaceBox,
    FloatArray,
    Frame,
    IdThresholds,
    face_area,
    require_array,
    require_frame,
)
from generator.fit import fit_similarity_2d
from generator.landmarks import FaceMesher, open_mesher, shrink_for
from generator.weights import WeightCard, read_weight, require_plain_onnx, session_options

with warnings.catch_warnings():
    # insightface imports parts of scikit-image that announce their own future; not ours to mend.
    warnings.simplefilter("ignore")
    from insightface.app import FaceAnalysis
    from insightface.model_zoo import get_model
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.utils import face_align

ID_NET = "idnet"

_CPU = ["CPUExecutionProvider"]


class IdNet:
    """The shipped identity net behind insightface's recognition class."""

    def __init__(self, card: WeightCard, net: ArcFaceONNX) -> None:
        if card.thresholds is None or len(card.alignment) < 2:
            raise WeightRefused(f"the card of {card.name} states no thresholds or no alignment")
        self._net = net
        self._side = card.picture.side_px
        self._indices = [index for index, _, _ in card.alignment]
        self._places = np.array([[x, y] for _, x, y in card.alignment], np.float64)
        self.name = card.name
        self.models: Mapping[str, str] = {card.name: card.sha256}
        self.thresholds = IdThresholds(card.thresholds.match, card.thresholds.mismatch)

    def embed(self, frame: Frame, mesh: FloatArray) -> FloatArray:
        """Return the identity vector, float32 (128,), of the face whose mesh (468, 3) is given.

        Raises ShapeError on a wrong frame or mesh and when the net answers anything else than
        128 finite numbers.
        """
        require_frame(frame)
        crop = self.align(frame, mesh)
        vector = np.asarray(self._net.get_feat(crop), np.float32).reshape(-1)
        require_array(vector, (128,), "identity vector")
        return vector

    def align(self, frame: Frame, mesh: FloatArray) -> Frame:
        """Return the BGR uint8 square that the net sees, cut by insightface's `norm_crop`.

        `norm_crop` fits its own five-point template. It is given that template carried back into
        the frame by the least-squares similarity of the card's mesh points, so the crop follows
        eye corners and nose base, as the net was trained, and not the corners of the mouth.
        """
        require_array(mesh, (MESH_POINTS, 3), "face mesh")
        turn, shift = fit_similarity_2d(mesh[self._indices, :2].astype(np.float64), self._places)
        marks = (crop_template(self._side) - shift) @ np.linalg.inv(turn).T
        source, shrunk = shrink_for(frame, float(np.hypot(turn[0, 0], turn[1, 0])))
        # Pixel centres: a frame shrunk by s has its pixel x at s * (x + .5) - .5.
        marks = ((marks + 0.5) * shrunk - 0.5).astype(np.float32)
        with _no_future_warnings():
            crop: Frame = face_align.norm_crop(source, marks, image_size=self._side)
        return crop


def open_id_net(*, threads: int = 1) -> IdNet:
    """Load the shipped identity net through insightface's model zoo; raises WeightRefused.

    The zoo routes by input shape alone and reads the file again by its path, so it is given a
    private copy of the bytes whose digest was checked.
    """
    card, content = read_weight(ID_NET)
    require_plain_onnx(content, card.file)
    with tempfile.TemporaryDirectory(prefix="facewarrant-") as folder:
        path = Path(folder) / card.file
        path.write_bytes(content)
        with _quiet():
            try:
                net = get_model(str(path), providers=_CPU, sess_options=session_options(threads))
            except Exception as error:  # the zoo lets every error of onnx and onnxruntime through
                raise WeightRefused(f"{card.file} could not be loaded") from error
    if not isinstance(net, ArcFaceONNX):
        raise WeightRefused(f"{card.file} is not routed as a recognition net")
    return IdNet(card, net)


class InsightFacePack:
    """FaceAnalyser over an operator's own InsightFace pack: its detector and identity net.

    Mesh, irises and pose come from our own mesh graph. `thresholds` are the operator's: distances
    depend on the net, and none is known for a pack that we have never seen. Identity vectors have
    unit length, so Euclidean distances lie in 0..2. `models` names the pack's files as
    `pack/<path without suffix>`. Raises PackMissing and WeightRefused.
    """

    def __init__(self, folder: Path, *, thresholds: IdThresholds, threads: int = 1) -> None:
        digests = _pack_digests(folder)
        self._analysis = _open_pack(folder, threads)
        if _pack_digests(folder) != digests:
            raise WeightRefused(f"the pack {folder.name} changed while it was loaded")
        recognition = self._analysis.models.get("recognition")
        if recognition is None:
            raise PackMissing(
                f"the pack {folder.name} has no identity net",
                mend="add a recognition model (square input, 112 px or a multiple of 16)",
            )
        self._mesher: FaceMesher = open_mesher(threads=threads)
        self.thresholds = thresholds
        self.id_model = _pack_name(Path(recognition.model_file), folder)
        self.models: Mapping[str, str] = {**digests, **self._mesher.models}

    def analyse(self, frame: Frame) -> list[Face]:
        """Return all faces of a BGR uint8 frame, largest box first; raises ShapeError."""
        found = self._find(frame)
        faces = [face for item in found if (face := self._as_face(frame, item)) is not None]
        return sorted(faces, key=face_area, reverse=True)

    def locate(self, frame: Frame) -> list[FaceBox]:
        """Return every box the pack's detector finds, before our mesh judges it."""
        return [_as_box(item) for item in self._find(frame)]

    def _find(self, frame: Frame) -> list[Any]:
        require_frame(frame)
        try:
            with _no_future_warnings():
                return list(self._analysis.get(frame))
        except Exception as error:  # whatever the operator's nets make the library raise
            raise WeightRefused(f"the pack failed on a frame of {frame.shape}") from error

    def _as_face(self, frame: Frame, item: Any) -> Face | None:
        marks = self._mesher.fit(frame, six_points(item.kps))
        if marks is None:
            return None
        vector = np.asarray(item.normed_embedding, np.float32)
        score = float(item.det_score)
        return Face(_as_box(item), score, marks.mesh, marks.iris, marks.pose, vector)


def _as_box(item: Any) -> FaceBox:
    x0, y0, x1, y1 = (float(v) for v in item.bbox)
    return x0, y0, x1, y1


def crop_template(side_px: int) -> npt.NDArray[np.float64]:
    """Return insightface's five template points (5, 2) in a crop that is a multiple of 128 px."""
    ratio = side_px / 128
    template = np.array(face_align.arcface_dst, np.float64) * ratio
    template[:, 0] += 8.0 * ratio
    return template


def six_points(five: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Return our six key points (6, 2) from the library's five; the ears are put at the eyes.

    Five: image-left eye, image-right eye, nose, image-left and image-right mouth corner.
    """
    points = np.zeros((6, 2), np.float32)
    points[[RIGHT_EYE, LEFT_EYE, NOSE]] = five[:3]
    points[MOUTH] = five[3:5].mean(axis=0)
    points[4:6] = five[:2]
    return points


def _open_pack(folder: Path, threads: int) -> FaceAnalysis:
    """Build the library's analyser on a folder that exists, so that it never downloads."""
    with _quiet():
        try:
            analysis = FaceAnalysis(
                name=str(folder.resolve()),
                allowed_modules=["detection", "recognition"],
                providers=_CPU,
                sess_options=session_options(threads),
                static_shape_sessions=False,
            )
            analysis.prepare(ctx_id=-1, det_size=(640, 640))
        except AssertionError as error:
            raise PackMissing(f"the pack {folder.name} has no face detector") from error
        except Exception as error:  # the library lets every error of onnx and onnxruntime through
            raise WeightRefused(f"the pack {folder.name} could not be loaded") from error
    return analysis


def _pack_digests(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of a pack's graphs, each checked to be plain ONNX."""
    paths = sorted(folder.rglob("*.onnx")) if folder.is_dir() else []
    if not paths:
        raise PackMissing(
            f"there is no InsightFace pack in {folder}",
            mend="put your own licensed *.onnx files there; FaceWarrant never downloads a pack",
        )
    digests = {}
    for path in paths:
        content = path.read_bytes()
        require_plain_onnx(content, path.name)
        digests[_pack_name(path, folder)] = hashlib.sha256(content).hexdigest()
    return digests


def _pack_name(path: Path, folder: Path) -> str:
    relative = path.resolve().relative_to(folder.resolve())
    return f"pack/{relative.with_suffix('').as_posix()}"


@contextlib.contextmanager
def _no_future_warnings() -> Iterator[None]:
    """Silence one known warning: norm_crop calls a method that scikit-image will remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what the library prints and warns while it loads; errors pass."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
