"""Train MDRN: `python -m generator.train_detail --preset cpu --out FOLDER --release`.

Pictures are blurred, shrunk, warped and compressed anew at every step, and the network is asked for
what they were, band by band (`generator.detail_samples` says what from). A run leaves
`checkpoint.safetensors`, `metrics.jsonl`, `ledger.jsonl` and TensorBoard events in its folder and
goes on from there, on a CPU to the bit. Refused: pictures the data ledger does not admit, and
checkpoints of other runs. Stopped: runs that diverge.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from generator.detail import SIDE_PX
from generator.detail_samples import KINDS, Batch, Kind, SampleSet, build_samples
from generator.faces import open_analyser
from generator.mdrn import Mdrn, haar_split
from generator.network_run import NetworkRun, make_parser, train
from generator.ship_detail import TrainedDetail, ship_detail
from policies.errors import Error
from provenance.data_ledger import LedgerRow, Purpose, ledger_bytes
from provenance.data_sets import Split, list_demo, list_rendered

ROOT: Final = Path(__file__).parents[1]
BAND_WEIGHTS: Final = (1.0, 1.0, 0.5)
"""Of the levels, finest first."""
PIXEL_WEIGHT: Final = 0.1
COHERENCE_WEIGHT: Final = 0.01
"""Differences are about .01 where a coherence is short of 1 by about .3."""
SILENT: Final = 1e-6
"""Energy below which a band has nothing to agree on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One run. Crops of `crop_px`, `batch` at a time; every `whole_every` steps whole squares,
    `whole_batch` at a time, for norms and attention see more in them than in a crop.

    shares: of a batch, by kind. watched: validation samples of each kind that a report looks at.
    """

    steps: int
    batch: int = 4
    crop_px: int = 96
    whole_every: int = 8
    whole_batch: int = 1
    learning_rate: float = 2e-3
    ema_decay: float = 0.998
    report_every: int = 50
    watched: int = 2
    shares: tuple[float, float, float] = (0.3, 0.3, 0.4)
    seed: int = 0


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "smoke": Preset(steps=8, batch=2, crop_px=64, report_every=4, watched=1),
        "cpu": Preset(steps=2000),
    }
)


class Run(NetworkRun[Mdrn]):
    """A training run of MDRN."""

    diverged = 10.0  # a healthy loss begins at about .03
    preset: Preset

    def __init__(self, preset: Preset, train: SampleSet, validation: SampleSet) -> None:
        self.train, self.validation = train, validation
        settings = json.dumps(asdict(replace(preset, steps=0)), sort_keys=True)
        super().__init__(preset, settings, ledger_bytes(train.rows), _make)

    def look(self) -> Mapping[str, Tensor]:
        """Return the losses of the next batch, weighed."""
        return detail_losses(*self._forward(self._draw()))

    @torch.no_grad()
    def report(self) -> dict[str, Any]:
        """Return kind -> band coherence with the label before and after, on validation people."""
        seen: dict[str, Any] = {}
        for kind in KINDS:
            rows = []
            for number, batch in enumerate(self.validation.whole(kind, 1)):
                if number == self.preset.watched:
                    break
                made = self.averages(batch.picture, batch.guide, batch.mask)
                both = (batch.picture, made)
                rows.append([coherences(image, batch.label, batch.mask) for image in both])
            if rows:
                before, after = torch.tensor(rows).mean(0).tolist()
                seen[kind] = {"before": _levels(before), "after": _levels(after), "n": len(rows)}
        return seen

    def _draw(self) -> Batch:
        preset = self.preset
        seed = int(torch.randint(2**62, (), generator=self.rng))
        shares: dict[Kind, float] = dict(zip(KINDS, preset.shares, strict=True))
        if (self.done + 1) % preset.whole_every == 0:
            return self.train.draw(preset.whole_batch, SIDE_PX, shares, seed)
        return self.train.draw(preset.batch, preset.crop_px, shares, seed)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        layout = torch.channels_last
        inputs = (batch.picture, batch.guide, batch.mask)
        made = self.net(*(value.contiguous(memory_format=layout) for value in inputs))
        return made, batch.label, batch.mask


def _make() -> Mdrn:
    net: Mdrn = Mdrn().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def detail_losses(made: Tensor, label: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return the losses of pictures (n, 3, h, w) in -1..1 where the mask (n, 1, h, w) is."""
    losses = {"pixel": PIXEL_WEIGHT * _mean((made - label).abs(), mask)}
    levels = zip(BAND_WEIGHTS, _bands(made, label, mask), strict=True)
    for level, (weight, (ours, theirs, where)) in enumerate(levels, 1):
        losses[f"band{level}"] = weight * _mean((ours - theirs).abs(), where)
        lacking = 1 - _coherence(ours, theirs, where).mean()
        losses[f"coherence{level}"] = COHERENCE_WEIGHT * weight * lacking
    return losses


def coherences(made: Tensor, label: Tensor, mask: Tensor) -> list[float]:
    """Return the mean sub-band correlation with the label at each level, finest first."""
    return [float(_coherence(*level).mean()) for level in _bands(made, label, mask)]


def _bands(made: Tensor, label: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return the detail bands (n, 9, ...) of two pictures and their mask, for each level."""
    levels = []
    for _ in BAND_WEIGHTS:
        (made, ours), (label, theirs) = (
            (bands[:, :3], bands[:, 3:]) for bands in (haar_split(made), haar_split(label))
        )
        mask = functional.avg_pool2d(mask, 2)
        levels.append((ours, theirs, mask))
    return levels


def _coherence(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    """Return the correlation of bands under a mask, (n,); 0 where one of them is silent."""
    both = (ours * theirs * mask).sum((1, 2, 3))
    energy = (ours.square() * mask).sum((1, 2, 3)) * (theirs.square() * mask).sum((1, 2, 3))
    return both / (energy + SILENT**2).sqrt()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / (values.shape[1] * mask.sum()).clamp(min=1)


def _levels(values: Sequence[float]) -> dict[str, float]:
    return {f"level{number}": round(value, 4) for number, value in enumerate(values, 1)}


def list_files(split: Split) -> list[tuple[Path, LedgerRow]]:
    """Return the personas of a split, where they lie beside the repository, and the demo people.

    Of these their stills alone: frames of a clip are nearly one picture.
    """
    personas = [(path, row) for path, row in list_rendered(ROOT, split) if row.set == "personas"]
    stills = [(path, row) for path, row in list_demo(ROOT) if row.path == f"demo/{path.name}"]
    return [*personas, *stills]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after saying on stderr what was refused or stopped."""
    options = make_parser("train_detail", PRESETS).parse_args(arguments)
    torch.set_num_threads(options.threads)
    chosen = {k: v for k in ("steps", "seed") if (v := getattr(options, k)) is not None}
    preset = replace(PRESETS[options.preset], **chosen)
    purpose: Purpose = "release_training" if options.release else "research_training"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        sets = {}
        for part in ("train", "validation"):
            split: Split = "train" if part == "train" else "validation"
            files, now = list_files(split), datetime.now(UTC)
            sets[part] = build_samples(
                files, split, open_analyser(), purpose=purpose, now=now, seed=preset.seed
            )
            rows = sets[part].rows
            print(f"{part}: {len(sets[part].samples)} samples, {len(rows)} pictures", flush=True)
        run = Run(preset, sets["train"], sets["validation"])
        run.open(options.out, print)
        train(run, options.out, clock=time.monotonic, show=lambda row: print(row, flush=True))
        if options.export is not None:
            settings, rows = asdict(preset), run.train.rows
            trained = TrainedDetail(run.averages, settings, run.done, rows, purpose, run.report())
            card = ship_detail(trained, options.export, now=datetime.now(UTC), code=options.code)
            print(f"shipped {card.file}, sha256 {card.sha256}", flush=True)
    except Error as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
