"""Training samples in memory: built once from rendered triplets, kept in a file, drawn in batches.

Every random choice of a batch comes from one torch generator, so that a resumed run draws what the
first would have drawn. Refused: pictures the data ledger does not admit (DataRefused), a part of
the split without samples, and a file that is not of these settings (TrainingRefused).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from generator.batches import Batch, disturb, drop_texture, mirror
from generator.faces import Face, FaceAnalyser
from generator.presets import Preset
from generator.triplets import (
    Kind,
    Sample,
    Shot,
    Triplet,
    list_triplets,
    make_sample,
    read_scenes,
    shot_path,
)
from policies.files import read_bounded, replace_file
from provenance.data_ledger import AdmittedPicture, DataLedger, LedgerRow, Purpose
from provenance.data_sets import Split
from provenance.media import DEFAULT_LIMITS
from provenance.watermark.learned.errors import TrainingRefused

KINDS: tuple[Kind, ...] = ("forward", "reverse", "same")


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Samples as tensors, by name as in `Sample`; `kind` int64 (n,), `rows` of the data ledger."""

    tensors: Mapping[str, Tensor]
    rows: tuple[LedgerRow, ...]

    def __len__(self) -> int:
        return len(self.tensors["kind"])

    def to(self, device: str) -> SampleSet:
        """Return the set on a device."""
        return SampleSet({k: v.to(device) for k, v in self.tensors.items()}, self.rows)

    def join(self, more: Sequence[Sample], rows: Sequence[LedgerRow]) -> SampleSet:
        """Return the set with more samples, which rest on these rows."""
        added = _stack(more)
        tensors = {name: torch.cat([own, added[name]]) for name, own in self.tensors.items()}
        known = {row.sha256: row for row in (*self.rows, *rows)}
        return SampleSet(tensors, tuple(known[digest] for digest in sorted(known)))

    def take(self, index: Tensor) -> Batch:
        """Return the samples of an index (n,), undisturbed."""
        chosen = {name: values[index] for name, values in self.tensors.items()}
        pictures = chosen["pictures"].permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        return Batch(
            inputs=pictures[:, :4].flatten(1, 2),
            label=pictures[:, 4],
            mask=chosen["mask"][:, None].float() / 255,
            label_points=chosen["label_points"],
            composite_points=chosen["composite_points"],
            id_source=chosen["id_source"],
            id_target=chosen["id_target"],
            kind=chosen["kind"],
        )

    def draw(self, preset: Preset, rng: torch.Generator) -> Batch:
        """Return a batch in the preset's shares, mirrored and disturbed at random."""
        shares = torch.tensor([preset.forward, preset.reverse, 1 - preset.forward - preset.reverse])
        wanted = torch.multinomial(shares, preset.batch, replacement=True, generator=rng)
        spot = torch.rand(preset.batch, generator=rng)
        groups = [(self.tensors["kind"] == k).nonzero()[:, 0] for k in range(len(KINDS))]
        index = torch.stack(
            [
                groups[k][int(s * len(groups[k]))]
                for k, s in zip(wanted.tolist(), spot.tolist(), strict=True)
            ]
        )
        batch = disturb(self.take(index), preset.disturbed, rng)
        batch = drop_texture(batch, preset.texture_dropout, rng)
        return mirror(batch) if bool(torch.rand((), generator=rng) < 0.5) else batch

    def parts(self, kind: Kind, size: int) -> Iterator[Batch]:
        """Yield all samples of a kind in order, `size` at a time."""
        wanted = (self.tensors["kind"] == KINDS.index(kind)).nonzero()[:, 0]
        for start in range(0, len(wanted), size):
            yield self.take(wanted[start : start + size])


@dataclass(frozen=True, slots=True)
class Stock:
    """A `personas` folder, the ledger that admits its pictures, and what they are wanted for.

    photos: a folder of photographs of people who consented to training, by the same ledger.
    """

    folder: Path
    ledger: DataLedger
    purpose: Purpose
    now: datetime
    photos: Path | None = None

    def admit(self, shot: Shot) -> AdmittedPicture:
        """Return one picture of a scene, as the ledger gives it out; raises DataRefused."""
        path = shot_path(self.folder, shot)
        content = read_bounded(path, max_bytes=DEFAULT_LIMITS.file_bytes)
        return self.ledger.admit(content, path.name, purpose=self.purpose, now=self.now)

    def require(self, rows: Sequence[LedgerRow]) -> None:
        """Raise DataRefused unless pictures laid out earlier may still be used, and for this."""
        for row in rows:
            self.ledger.require(row.sha256, row.path, purpose=self.purpose, now=self.now)


class Order(NamedTuple):
    """What one worker is to make: a triplet in several variants; faces of its shots."""

    triplet: Triplet
    variants: int
    side_px: int
    seed: int
    faces: Mapping[Shot, Face]


def build_samples(
    stock: Stock, part: Split, analyser: FaceAnalyser, preset: Preset, *, jobs: int = 1
) -> SampleSet:
    """Return all samples of one part of the split; raises DataRefused and TrainingRefused.

    Variants other than the plain one are made for training only. Deterministic by the preset's
    seed, whatever the number of jobs.
    """
    variants, side_px = preset.variants if part == "train" else 1, preset.shape.side_px
    triplets = list(list_triplets(read_scenes(stock.folder), part))
    faces, used = {}, {}
    for shot in sorted({shot for t in triplets for shot in (t.target, t.label, t.source)}):
        picture = stock.admit(shot)
        used[picture.sha256] = picture.row
        found = analyser.analyse(picture.frame)
        if len(found) == 1:
            faces[shot] = found[0]
    orders = [
        Order(t, variants, side_px, preset.seed * 1_000_003 + number, _known(t, faces))
        for number, t in enumerate(triplets)
    ]
    rows = tuple(used[digest] for digest in sorted(used))
    make = partial(_make, stock.folder, rows, stock.purpose, stock.now)
    samples = [sample for group in _map(make, orders, jobs) for sample in group]
    if missing := sorted(set(KINDS) - {sample.kind for sample in samples}):
        raise TrainingRefused(f"no {missing[0]} triplet of the {part} part can be laid out")
    return SampleSet(_stack(samples), rows)


def _known(triplet: Triplet, faces: Mapping[Shot, Face]) -> dict[Shot, Face]:
    return {s: faces[s] for s in (triplet.target, triplet.label, triplet.source) if s in faces}


def _make(
    folder: Path, rows: Sequence[LedgerRow], purpose: Purpose, now: datetime, order: Order
) -> list[Sample]:
    cv2.setNumThreads(1)
    stock, triplet = Stock(folder, DataLedger(rows), purpose, now), order.triplet
    rng = np.random.default_rng(order.seed)
    pictures = {shot: stock.admit(shot) for shot in (triplet.target, triplet.label, triplet.source)}
    made = [
        make_sample(triplet, v, pictures, order.faces, rng, order.side_px)
        for v in range(order.variants)
    ]
    return [sample for sample in made if sample is not None]


def _map(make: partial[list[Sample]], orders: Sequence[Order], jobs: int) -> Iterator[list[Sample]]:
    if jobs == 1:
        yield from map(make, orders)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, orders, chunksize=8)


def _stack(samples: Sequence[Sample]) -> dict[str, Tensor]:
    names = ("pictures", "mask", "label_points", "composite_points", "id_source", "id_target")
    tensors = {
        name: torch.from_numpy(np.stack([getattr(sample, name) for sample in samples]))
        for name in names
    }
    return tensors | {"kind": torch.tensor([KINDS.index(s.kind) for s in samples])}


def write_samples(path: Path, samples: SampleSet, digest: str) -> None:
    """Keep a set in a file, with the digest of the settings it was made by."""
    rows = json.dumps([row.model_dump_json() for row in samples.rows])
    replace_file(path, save(dict(samples.tensors), metadata={"digest": digest, "rows": rows}))


def read_samples(path: Path, digest: str) -> SampleSet:
    """Return a kept set; raises TrainingRefused where it was made by other settings."""
    samples, made_by = load_samples(path)
    if made_by != digest:
        raise TrainingRefused(
            f"{path.name} was made by other settings", mend="use another folder for this run"
        )
    return samples


def load_samples(path: Path) -> tuple[SampleSet, str]:
    """Return a kept set and the digest of its settings; raises TrainingRefused."""
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        rows = tuple(LedgerRow.model_validate_json(row) for row in json.loads(notes["rows"]))
        return SampleSet(tensors, rows), notes["digest"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingRefused(
            f"{path.name} is not a set of samples", mend="take it away; it is made anew"
        ) from error
