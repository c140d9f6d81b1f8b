"""Training samples out of rendered triplets: target, another picture of the source, the true swap.

A scene of `personas` gives a forward sample (A's picture becomes the swap, from any other picture
of B) and a reverse one (the swap becomes A's picture again, from any other picture of A): in both
the label is a render, never a guess. A picture also swaps onto itself, which must change nothing.
Each sample is laid out by `geo` as at a request, with the source's picture and both meshes
disturbed anew for every variant, and kept as a square of bytes. Refused: pictures that the data
ledger does not admit (DataRefused) and a folder without scenes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from generator.canonical import SIDE_PX, Square, frame_square
from generator.errors import FaceError
from generator.faces import Face, Frame
from generator.laying import SHAPE_BLEND, Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.swapper import OutOfRange
from generator.topology import load_topology
from provenance.data_ledger import AdmittedPicture
from provenance.data_sets import Split, split_of

Kind = Literal["forward", "reverse", "same"]
Bytes = npt.NDArray[np.uint8]

MAX_YAW_GAP = 0.9
"""Radians of camera orbit between source and target; beyond it half the texture is missing."""


class Shot(NamedTuple):
    """One picture of a scene: `target` shows persona A, `swap` persona B's face on A."""

    scene: str
    kind: Literal["target", "swap"]


@dataclass(frozen=True, slots=True)
class Triplet:
    """What becomes what: `target` is to become `label`, given `source`."""

    target: Shot
    label: Shot
    source: Shot
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scene:
    """One line of `index.jsonl`, as far as samples need it."""

    scene: str
    target_persona: int
    source_persona: int
    yaw: float

    @property
    def split(self) -> Split:
        """Split by person, on both roles: test if either persona is one of the test people."""
        return split_of(self.target_persona, self.source_persona)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training sample in the canonical square.

    pictures: uint8 (5, side, side, 3), BGR: target, pulled, warped, composite, label. mask: uint8
    (side, side). label_points, composite_points: float32 (468, 2), where the mesh lies in the label
    (NaN where it was not found) and in the composite. id_source, id_target: float32 (128,).
    """

    pictures: Bytes
    mask: Bytes
    label_points: npt.NDArray[np.float32]
    composite_points: npt.NDArray[np.float32]
    id_source: npt.NDArray[np.float32]
    id_target: npt.NDArray[np.float32]
    kind: Kind


def read_scenes(folder: Path) -> list[Scene]:
    """Return the scenes of a `personas` folder; raises FaceError for a list that is not whole."""
    try:
        lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FaceError(
            f"{folder.name} holds no index.jsonl", mend="name a folder of rendered triplets"
        ) from error
    return [_read_scene(line, number) for number, line in enumerate(lines, 1)]


def _read_scene(line: str, number: int) -> Scene:
    try:
        row = json.loads(line)
        personas = int(row["target_persona"]), int(row["source_persona"])
        scene = Scene(str(row["scene"]), *personas, float(row["yaw"]))
    except (ValueError, KeyError, TypeError):
        raise FaceError(f"line {number} of index.jsonl is not a scene") from None
    if not re.fullmatch(r"[a-z0-9_]{1,40}", scene.scene):
        raise FaceError(f"line {number} of index.jsonl names a file outside its folder")
    return scene


def list_triplets(scenes: Sequence[Scene], split: Split) -> Iterator[Triplet]:
    """Yield every triplet of one part of the split; sources come from that part alone."""
    rows = [scene for scene in scenes if scene.split == split]
    for row in rows:
        own, swapped = Shot(row.scene, "target"), Shot(row.scene, "swap")
        for other in _views(rows, row.source_persona, row):
            yield Triplet(own, swapped, other, "forward")
        for other in _views(rows, row.target_persona, row):
            yield Triplet(swapped, own, other, "reverse")
        yield Triplet(own, own, own, "same")


def _views(rows: Sequence[Scene], persona: int, scene: Scene) -> Iterator[Shot]:
    """Yield the pictures in other scenes that show a persona's face: its own, or on somebody."""
    for row in rows:
        if row is scene or abs(row.yaw - scene.yaw) > MAX_YAW_GAP:
            continue
        if row.target_persona == persona:
            yield Shot(row.scene, "target")
        if row.source_persona == persona:
            yield Shot(row.scene, "swap")


def shot_path(folder: Path, shot: Shot) -> Path:
    """Return the file of a shot."""
    return folder / "images" / f"{shot.scene}_{shot.kind}.webp"


def make_sample(
    triplet: Triplet,
    variant: int,
    pictures: Mapping[Shot, AdmittedPicture],
    faces: Mapping[Shot, Face],
    rng: np.random.Generator,
    side_px: int = SIDE_PX,
) -> Sample | None:
    """Return one sample, or None where geo refuses it or no face was measured; variant 0 is plain.

    pictures and faces hold what is known of the triplet's shots; a label without a face is allowed.
    """
    if triplet.target not in faces or triplet.source not in faces:
        return None
    source, target = pictures[triplet.source], pictures[triplet.target]
    source_face, target_face = faces[triplet.source], faces[triplet.target]
    if variant:
        source = source.disturbed(rng)
        source_face, target_face = (disturb_mesh(f, rng) for f in (source_face, target_face))
    try:
        layers = lay_out(LedgerPair(source, target, source_face, target_face), SHAPE_BLEND)
    except OutOfRange:
        return None
    known = Known(pictures[triplet.label].frame, faces.get(triplet.label))
    return Sample(
        **cut_square(layers, known, side_px, rng if variant else None),
        id_source=source_face.id_vector,
        id_target=target_face.id_vector,
        kind=triplet.kind,
    )


class Known(NamedTuple):
    """A true swap: the whole picture, and its face where one was measured."""

    frame: Frame
    face: Face | None


def cut_square(
    layers: Layers, label: Known, side_px: int, rng: np.random.Generator | None
) -> dict[str, Any]:
    """Return the pictures, mask and points of a sample; the square is disturbed where `rng` is."""
    square = frame_square(layers.own_mesh, layers.mask.shape, side_px)
    if rng is not None:
        square = disturb_square(square, rng)
    shown = _window(label.frame, layers)
    stack = [layers.target, layers.pulled, layers.warped, layers.composite, shown]
    points = np.full((len(layers.mesh), 2), np.nan, np.float32)
    if label.face is not None:
        points = square.place(label.face.mesh[:, :2] - layers.origin)
    return {
        "pictures": np.stack([_as_bytes(square.cut(picture)) for picture in stack]),
        "mask": _as_bytes(square.cut(layers.mask) * 255),
        "label_points": points,
        "composite_points": square.place(layers.mesh),
    }


def disturb_mesh(face: Face, rng: np.random.Generator) -> Face:
    """Return a face whose mesh is off by about a pixel at 40 px eye distance, mostly as a whole.

    Teaches the network to live with the errors of the mesh.
    """
    unit = float(np.ptp(face.mesh[:, 0])) / 100
    neutral = load_topology().neutral[:, :2]
    low = neutral @ rng.normal(0, 0.3, (2, 3))
    own = rng.normal(0, 0.25, face.mesh.shape)
    return replace(face, mesh=(face.mesh + unit * (low + own)).astype(np.float32))


def disturb_square(square: Square, rng: np.random.Generator) -> Square:
    """Return a square turned by some degrees, scaled by some percent and shifted by some pixels."""
    angle, scale = rng.normal(0, 0.08), np.exp(rng.normal(0, 0.05))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, square.side_px / 2 - 0.5)
    shift = turn @ (square.matrix[:, 2] - middle) + middle + rng.normal(0, 2, 2)
    return replace(square, matrix=np.column_stack([turn @ square.matrix[:, :2], shift]))


def _window(frame: Frame, layers: Layers) -> npt.NDArray[np.float32]:
    (x0, y0), (height, width) = layers.origin, layers.mask.shape
    return frame[y0 : y0 + height, x0 : x0 + width].astype(np.float32)


def _as_bytes(values: npt.NDArray[np.floating]) -> Bytes:
    out: Bytes = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return out
