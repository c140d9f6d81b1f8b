"""What MDRN learns from: sharp squares of rendered faces, each with a picture of nearly the same.

A sample is a sharp picture (`label`) and what lies beside it at a request, the target (`guide`);
`degrade` makes of the label what a swap would have left of it. The guide is never the label:

* `view`: another view of the same person, laid on the label's; same skin, some pixels astray;
* `swap`: somebody laid on a target by geo is the label, the target the guide: as at a request,
  but the label is as good as geo;
* `scene`: a true swap is the label and the picture before it the guide, or the other way round.

Squares are cut as at a request. Refused: pictures that the data ledger does not admit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from generator.detail import LEVEL, SIDE_PX, detail_square
from generator.faces import Face, FaceAnalyser
from generator.laying import SHAPE_BLEND, Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.swapper import OutOfRange
from generator.triplets import disturb_mesh
from generator.view import Image
from provenance.data_ledger import AdmittedPicture, DataLedger, LedgerRow, Purpose
from provenance.data_sets import Split
from provenance.watermark.learned.errors import TrainingRefused

Kind = Literal["view", "swap", "scene"]
KINDS: Final[tuple[Kind, ...]] = ("view", "swap", "scene")
VALIDATION_PEOPLE: Final = frozenset(f"persona:demo-{number}" for number in (6, 7, 8))
"""Of the demo people, who are too few to be split by number. Of these three only 6 can be laid on
somebody: hair lies over the eyes of 7 and 8, or they are nearly shut."""

FAVOURED: Final = (33, 133, 362, 263, 129, 358, 61, 291)
"""Mesh points at eye corners, nose wings and mouth corners, where a swap loses most."""
FAVOURED_SHARE: Final = 0.5
AROUND_PX: Final = 12.0

PLAIN_SHARE: Final = 0.1
"""Of pictures that are left as they are: what is sharp must stay so."""
BLUR_PX: Final = (0.6, 1.6)
SHRUNK_SHARE, SHRUNK = 0.5, (0.5, 0.95)
WARPED_SHARE, WARP_PX = 0.7, 0.5
JPEG_SHARE, JPEG_QUALITY = 0.4, (60, 96)


class Batch(NamedTuple):
    """What one step sees: BGR (n, 3, h, w) in -1..1 and the mask (n, 1, h, w) in 0..1."""

    picture: Tensor
    guide: Tensor
    mask: Tensor
    label: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """label, guide: uint8 (256, 256, 3), BGR. mask: uint8 (256, 256). points: float32 (468, 2).

    person: who the target is, as the ledger names people.
    """

    label: npt.NDArray[np.uint8]
    guide: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    kind: Kind
    person: str


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Samples and the ledger's rows of every picture in them."""

    samples: tuple[Sample, ...]
    rows: tuple[LedgerRow, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise TrainingRefused("no face in these pictures can be laid out")

    def draw(self, size: int, side_px: int, shares: Mapping[Kind, float], seed: int) -> Batch:
        """Return crops at random places of faces, eye, nose and mouth corners favoured."""
        rng = np.random.default_rng(seed)
        groups = {kind: self.of(kind) for kind in KINDS}
        odds = np.array([shares[k] if groups[k] else 0.0 for k in KINDS])
        rows = []
        for kind in rng.choice(len(KINDS), size, p=odds / odds.sum()):
            group = groups[KINDS[int(kind)]]
            rows.append(_crop(group[int(rng.integers(len(group)))], side_px, rng))
        return _stack(rows)

    def whole(self, kind: Kind, size: int) -> Iterator[Batch]:
        """Yield all samples of a kind, uncropped, each always spoilt in its own way."""
        group = self.of(kind)
        for start in range(0, len(group), size):
            numbered = enumerate(group[start : start + size], start)
            yield _stack([_prepare(*_planes(s), np.random.default_rng(k)) for k, s in numbered])

    def of(self, kind: Kind) -> list[Sample]:
        """Return the samples of a kind, in order."""
        return [sample for sample in self.samples if sample.kind == kind]


class Row(NamedTuple):
    """One sample of a batch; pictures float32 (h, w, 3), 0..255, mask (h, w), 0..1."""

    picture: Image
    guide: Image
    mask: Image
    label: Image


def degrade(picture: Image, rng: np.random.Generator) -> Image:
    """Return what a swap would leave of a picture (h, w, 3), 0..255; sometimes all of it."""
    if rng.random() < PLAIN_SHARE:
        return picture
    height, width = picture.shape[:2]
    out = cv2.GaussianBlur(picture, (0, 0), rng.uniform(*BLUR_PX))
    if rng.random() < SHRUNK_SHARE:
        scale = rng.uniform(*SHRUNK)
        small = round(width * scale), round(height * scale)
        out = cv2.resize(out, small, interpolation=cv2.INTER_AREA)
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < WARPED_SHARE:
        shift = rng.uniform(-WARP_PX, WARP_PX, 2)
        for way in (1, -1):  # there and back: two interpolations, nothing moved
            there = np.column_stack([np.eye(2), way * shift])
            out = cv2.warpAffine(out, there, (width, height), borderMode=cv2.BORDER_REFLECT)
    if rng.random() < JPEG_SHARE:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*JPEG_QUALITY))]
        coded = cv2.imencode(".jpg", np.clip(np.round(out), 0, 255).astype(np.uint8), quality)[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float32)
    return np.asarray(out, np.float32)


def build_samples(
    files: Sequence[tuple[Path, LedgerRow]],
    part: Split,
    analyser: FaceAnalyser,
    *,
    purpose: Purpose,
    now: datetime,
    seed: int,
) -> SampleSet:
    """Return the samples of a part of the split, in an order that the seed decides.

    files: personas of that part, and the demo people, of whom the part's are taken. Raises
    DataRefused for pictures that may not be used so, and TrainingRefused where nothing is left.
    """
    rng, ledger = np.random.default_rng(seed), DataLedger(row for _, row in files)
    people: dict[str, list[Path]] = {}
    scenes: dict[tuple[str, str], dict[str, Path]] = {}
    for path, row in sorted(files, key=lambda file: file[1].path):
        if row.set == "demo":
            if (row.person in VALIDATION_PEOPLE) == (part != "train"):
                people.setdefault(row.person, []).append(path)
        else:
            scene, _, which = path.stem.rpartition("_")
            target = row.person.partition("+")[0]
            scenes.setdefault((scene, target), {})[which] = path
    seen = _Album(ledger, analyser, purpose, now)
    samples = [*_of_people(people, seen, rng), *_of_scenes(scenes, seen)]
    return SampleSet(tuple(samples), ledger.used)


class _Album:
    """Pictures as the ledger gives them out, with the one face in each."""

    def __init__(
        self, ledger: DataLedger, analyser: FaceAnalyser, purpose: Purpose, now: datetime
    ) -> None:
        self._ledger, self._analyser, self._purpose, self._now = ledger, analyser, purpose, now
        self._known: dict[Path, tuple[AdmittedPicture, Face | None]] = {}

    def admit(self, path: Path) -> AdmittedPicture:
        return self._ledger.admit(
            path.read_bytes(), path.name, purpose=self._purpose, now=self._now
        )

    def lay(
        self, source: Path, target: Path, rng: np.random.Generator | None = None
    ) -> Layers | None:
        """Return source laid on target, or None; with `rng` the source is disturbed first."""
        (lent, its_face), (under, own_face) = self._look(source), self._look(target)
        if its_face is None or own_face is None:
            return None
        if rng is not None:
            lent, its_face = lent.disturbed(rng), disturb_mesh(its_face, rng)
        try:
            return lay_out(LedgerPair(lent, under, its_face, own_face), SHAPE_BLEND)
        except OutOfRange:
            return None

    def _look(self, path: Path) -> tuple[AdmittedPicture, Face | None]:
        if path not in self._known:
            picture = self.admit(path)
            found = self._analyser.analyse(picture.frame)
            self._known[path] = picture, found[0] if len(found) == 1 else None
        return self._known[path]


def _of_people(
    people: Mapping[str, Sequence[Path]], seen: _Album, rng: np.random.Generator
) -> Iterator[Sample]:
    for person, views in people.items():
        others = [path for name, paths in people.items() if name != person for path in paths]
        for target in views:
            for source in views:
                layers = None if source == target else seen.lay(source, target, rng)
                if layers is not None:
                    yield _sample(layers, layers.target, layers.warped, "view", person)
            laid = (seen.lay(others[number], target) for number in rng.permutation(len(others)))
            for layers in islice(filter(None, laid), len(views)):
                yield _sample(layers, layers.composite, layers.target, "swap", person)


def _of_scenes(
    scenes: Mapping[tuple[str, str], Mapping[str, Path]], seen: _Album
) -> Iterator[Sample]:
    for (_, person), scene in scenes.items():
        if (layers := seen.lay(scene["target"], scene["target"])) is not None:
            (x0, y0), (height, width) = layers.origin, layers.mask.shape
            swap = seen.admit(scene["swap"]).frame[y0 : y0 + height, x0 : x0 + width]
            yield _sample(layers, swap.astype(np.float32), layers.target, "scene", person)


def _sample(layers: Layers, label: Image, guide: Image, kind: Kind, person: str) -> Sample:
    square = detail_square(layers)
    pictures = (square.cut(label), square.cut(guide), square.cut(layers.mask) * 255)
    cut = [np.clip(np.round(picture), 0, 255).astype(np.uint8) for picture in pictures]
    return Sample(cut[0], cut[1], cut[2], square.place(layers.mesh), kind, person)


def _planes(sample: Sample) -> tuple[Image, Image, Image]:
    label, guide = sample.label.astype(np.float32), sample.guide.astype(np.float32)
    return label, guide, sample.mask.astype(np.float32) / np.float32(255)


def _prepare(label: Image, guide: Image, mask: Image, rng: np.random.Generator) -> Row:
    """Return label and guide with a degraded picture: outside the mask nothing was swapped."""
    spoilt = degrade(label, rng)
    return Row(label + mask[..., None] * (spoilt - label), guide, mask, label)


def _crop(sample: Sample, side_px: int, rng: np.random.Generator) -> Row:
    """Return a crop, mirrored and tinted at random; the guide in a slightly other light."""
    among = FAVOURED if rng.random() < FAVOURED_SHARE else range(len(sample.points))
    middle = sample.points[rng.choice(among)] + rng.normal(0, AROUND_PX, 2)
    x, y = np.clip(middle - side_px / 2, 0, SIDE_PX - side_px).astype(int)
    label, guide, mask = (p[y : y + side_px, x : x + side_px] for p in _planes(sample))
    if sample.kind == "scene" and rng.random() < 0.5:
        label, guide = guide, label
    if rng.random() < 0.5:
        label, guide, mask = label[:, ::-1], guide[:, ::-1], mask[:, ::-1]
    gain, gamma = rng.uniform(0.7, 1.25) * rng.uniform(0.93, 1.07, 3), rng.uniform(0.8, 1.25)
    label, guide = (_tint(picture, gain, gamma) for picture in (label, guide))
    guide = _tint(guide, rng.uniform(0.9, 1.1) * rng.uniform(0.96, 1.04, 3), 1.0)
    return _prepare(label, guide, mask, rng)


def _tint(picture: Image, gain: npt.NDArray[np.float64], gamma: float) -> Image:
    tinted = 255 * np.clip((picture / 255) ** gamma * gain, 0, 1)
    return np.ascontiguousarray(tinted, np.float32)


def _stack(rows: Sequence[Row]) -> Batch:
    def tensor(pictures: Sequence[Image]) -> Tensor:
        return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2)).contiguous() / LEVEL - 1

    picture, guide, mask, label = zip(*rows, strict=True)
    masks = torch.from_numpy(np.stack(mask))[:, None].contiguous()
    return Batch(tensor(picture), tensor(guide), masks, tensor(label))
