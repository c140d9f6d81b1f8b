"""What the style network learns on: squares of rendered faces with their regions, and the styles.

A square is cut as at a request. Its regions say where what makes a face readable lies: eyes, lips,
brows, and the skin around them. Refused: pictures that the data ledger does not admit, and a part
of the split in which no face is found (TrainingRefused).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from generator import blend
from generator.canonical import frame_square
from generator.detail_samples import VALIDATION_PEOPLE
from generator.faces import FaceAnalyser
from generator.styles import SIDE_PX, load_card, open_style
from generator.topology import draw_outlines
from provenance.data_ledger import DataLedger, LedgerRow, Purpose
from provenance.data_sets import Split
from provenance.watermark.learned.errors import TrainingRefused

MOST_PICTURES: Final = 200
"""Faces of a part; more would only take longer to find."""
LEVEL: Final = 127.5


class Batch(NamedTuple):
    """What one step sees.

    content (n, 3, h, w) BGR in -1..1; regions (n, 4, h, w) in 0..1; points (n, 468, 2) in its
    pixels; styles (n,) indices into the set.
    """

    content: Tensor
    regions: Tensor
    points: Tensor
    styles: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """picture: uint8 (256, 256, 3), BGR. regions: uint8 (256, 256, 4). points: float32 (468, 2)."""

    picture: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Samples, and the ledger's rows of the pictures that they were cut from."""

    samples: tuple[Sample, ...]
    rows: tuple[LedgerRow, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise TrainingRefused("no face is found in these pictures")

    def draw(self, size: int, side_px: int, styles: int, seed: int) -> Batch:
        """Return crops at random places, mirrored and tinted at random, all in one style."""
        rng = np.random.default_rng(seed)
        chosen = [self.samples[int(rng.integers(len(self.samples)))] for _ in range(size)]
        parts = [_crop(sample, side_px, rng) for sample in chosen]
        return stack(parts, np.full(size, rng.integers(styles)))


def build_samples(
    files: Sequence[tuple[Path, LedgerRow]],
    part: Split,
    analyser: FaceAnalyser,
    *,
    purpose: Purpose,
    now: datetime,
    most: int = MOST_PICTURES,
) -> SampleSet:
    """Return one sample for each picture with exactly one face, evenly thinned to `most`.

    Raises DataRefused for pictures that may not be used so, and TrainingRefused.
    """
    ledger, samples = DataLedger(row for _, row in files), []
    own = [
        path
        for path, row in sorted(files, key=lambda file: file[1].path)
        if row.set != "demo" or (row.person in VALIDATION_PEOPLE) == (part != "train")
    ]
    for path in own[:: max(1, -(-len(own) // most))]:
        picture = ledger.admit(path.read_bytes(), path.name, purpose=purpose, now=now)
        faces = analyser.analyse(picture.frame)
        if len(faces) == 1:
            samples.append(cut_sample(picture.frame, faces[0].mesh))
    return SampleSet(tuple(samples), ledger.used)


def cut_sample(frame: npt.NDArray[np.uint8], mesh: npt.NDArray[np.float32]) -> Sample:
    """Return the square of the face with this mesh (468, 3), as at a request."""
    square = frame_square(mesh, frame.shape, SIDE_PX)
    cut = np.clip(np.round(square.cut(frame.astype(np.float32))), 0, 255).astype(np.uint8)
    points = square.place(mesh)
    return Sample(cut, mark_regions(points), points)


def mark_regions(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return where eyes, lips, brows and skin are, uint8 (256, 256, 4), for a mesh (468, 2)."""
    lines = draw_outlines(np.column_stack([points, np.zeros(len(points), np.float32)]))

    def within(*polygons: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        drawn = blend.fill_polygons((SIDE_PX, SIDE_PX), [p[:, :2] for p in polygons])
        return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 2.0), np.float32)

    eyes, lips, brows = within(*lines.eyes), within(lines.lips), within(*lines.brows)
    skin = within(lines.oval) * (1 - eyes) * (1 - lips) * (1 - brows)
    return np.round(np.stack([eyes, lips, brows, skin], -1) * 255).astype(np.uint8)


def load_styles() -> tuple[tuple[str, ...], dict[str, str], Tensor]:
    """Return the names of the shipped styles, their digests, and the pictures (k, 3, 256, 256).

    Pictures are BGR in -1..1. Raises StyleRefused.
    """
    styles = [open_style(name) for name in load_card().styles]
    pictures = np.stack([style.picture for style in styles]).transpose(0, 3, 1, 2)
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).float() / LEVEL - 1
    return tuple(s.name for s in styles), {s.name: s.sha256 for s in styles}, tensor


def stack(
    parts: Sequence[tuple[npt.NDArray[np.float32], ...]], styles: npt.NDArray[np.integer]
) -> Batch:
    """Return pictures (h, w, 3) of 0..255, regions (h, w, 4) of 0..1 and points as a batch."""
    pictures, regions, points = (np.stack(one) for one in zip(*parts, strict=True))
    content = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))) / LEVEL - 1
    marked = torch.from_numpy(np.ascontiguousarray(regions.transpose(0, 3, 1, 2)))
    return Batch(content, marked, torch.from_numpy(points), torch.from_numpy(styles.astype(int)))


def whole(sample: Sample) -> tuple[npt.NDArray[np.float32], ...]:
    """Return a sample as `stack` takes it, uncropped."""
    regions = sample.regions.astype(np.float32) / np.float32(255)
    return sample.picture.astype(np.float32), regions, sample.points


def _crop(
    sample: Sample, side_px: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], ...]:
    picture, regions, points = whole(sample)
    x, y = rng.integers(0, SIDE_PX - side_px + 1, 2)
    picture, regions = (p[y : y + side_px, x : x + side_px] for p in (picture, regions))
    points = points - np.array([x, y], np.float32)
    if side_px < SIDE_PX and rng.random() < 0.5:  # whole squares keep their mesh
        picture, regions = picture[:, ::-1], regions[:, ::-1]
    gain, gamma = rng.uniform(0.75, 1.2) * rng.uniform(0.95, 1.05, 3), rng.uniform(0.8, 1.25)
    tinted = 255 * np.clip((picture / 255) ** gamma * gain, 0, 1)
    return tinted.astype(np.float32), np.ascontiguousarray(regions), points
