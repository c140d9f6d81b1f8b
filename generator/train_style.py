"""Train the style network: `python -m generator.train_style --preset cpu --out FOLDER --release`.

Every step draws crops of rendered faces and, for each, one of the shipped styles; half of a batch
is drawn with alpha 1 (AdaIN), half with the network's own (IAST), which also answers for eyes,
lips, brows and skin, and, on whole squares, for the landmarks. A run leaves
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
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from generator.faces import open_analyser
from generator.network_run import NetworkRun, make_parser, train
from generator.ship_style import TrainedStyle, ship_style
from generator.style_losses import (
    LandmarkJudge,
    StyleJudge,
    content_loss,
    region_loss,
    shade_loss,
    statistics_loss,
    variation,
)
from generator.style_samples import Batch, SampleSet, build_samples, load_styles, stack, whole
from generator.styles import SIDE_PX
from generator.stylise_net import StyleNet, Stylised
from generator.train_detail import list_files
from policies.errors import Error
from provenance.data_ledger import Purpose, ledger_bytes
from provenance.data_sets import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One run. Crops of `crop_px`, `batch` at a time; every `whole_every` steps one whole square,
    which the identity net and the mesh net look at. The weights are those of the losses.

    plain: steps before alpha is the network's; while drawings are still bad, it would learn to take
    nothing of them. most: faces of a part. watched: validation faces that a report looks at.
    """

    steps: int
    batch: int = 2
    crop_px: int = 96
    whole_every: int = 8
    plain: int = 0
    learning_rate: float = 1.5e-3
    ema_decay: float = 0.998
    report_every: int = 250
    watched: int = 2
    most: int = 60
    texture: float = 4.0
    statistics: float = 1.0
    content: float = 0.5
    shade: float = 0.3
    regions: float = 0.25
    landmarks: float = 5.0
    variation: float = 0.1
    seed: int = 0


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "smoke": Preset(steps=4, batch=2, whole_every=3, report_every=2, watched=1, most=2),
        "cpu": Preset(steps=12_000, plain=4000),
        "cuda": Preset(
            steps=20_000, plain=6000, batch=16, crop_px=128, report_every=500, watched=16, most=1000
        ),
    }
)


class Run(NetworkRun[StyleNet]):
    """A training run of the style network."""

    diverged = 100.0
    preset: Preset

    def __init__(self, preset: Preset, train: SampleSet, validation: SampleSet) -> None:
        self.train, self.validation = train, validation
        self.names, self.digests, self.pictures = load_styles()
        settings = json.dumps([asdict(replace(preset, steps=0)), self.digests], sort_keys=True)
        super().__init__(preset, settings, ledger_bytes(train.rows), StyleNet)
        self.judge, self.landmarks = StyleJudge(), LandmarkJudge()
        self.studied = self.judge.study(self.pictures)

    def look(self) -> Mapping[str, Tensor]:
        """Return the losses of the next batch, weighed; every so often of a whole square."""
        preset, is_whole = self.preset, (self.done + 1) % self.preset.whole_every == 0
        size, side = (1, SIDE_PX) if is_whole else (preset.batch, preset.crop_px)
        seed = int(torch.randint(2**62, (), generator=self.rng))
        batch = self.train.draw(size, side, len(self.names), seed)
        instance = torch.ones(1) if is_whole else (torch.arange(size) % 2).float()
        if self.done < preset.plain:
            instance = torch.zeros_like(instance)
        return self.losses(self.net, batch, instance, with_nets=is_whole)

    def losses(
        self, net: StyleNet, batch: Batch, instance: Tensor, *, with_nets: bool
    ) -> dict[str, Tensor]:
        """Return the weighed losses of a batch, drawn in full strength; instance (n,): 1 = IAST."""
        preset, content = self.preset, batch.content
        image = self._draw(net, batch, instance).image
        wanted = self.studied.take(batch.styles)
        losses = {
            "texture": preset.texture * self.judge.texture_loss(image, wanted),
            "shade": preset.shade * shade_loss(image, content),
            "regions": preset.regions * region_loss(image, content, batch.regions, instance),
            "variation": preset.variation * variation(image),
        }
        if with_nets:
            with torch.no_grad():
                own = self.judge.look(content)
            seen = self.judge.look(image)
            moved = self.landmarks(image, content, batch.points[0])
            losses["statistics"] = preset.statistics * statistics_loss(seen, wanted)
            losses["content"] = preset.content * content_loss(seen, own)
            losses["landmarks"] = preset.landmarks * moved
        return losses

    @torch.no_grad()
    def report(self) -> dict[str, Any]:
        """Return the losses of both fusions, unweighed, and alpha on skin and features.

        On whole squares of validation faces, the styles in turn.
        """
        seen: dict[str, list[dict[str, float]]] = {"adain": [], "iast": []}
        for number, sample in enumerate(self.validation.samples[: self.preset.watched]):
            style = torch.tensor([number % len(self.names)]).numpy()
            batch = stack([whole(sample)], style)
            for instance, mode in enumerate(seen):
                told = torch.tensor([float(instance)])
                made = self._draw(self.averages, batch, told)
                lost = self.losses(self.averages, batch, told, with_nets=True)
                row = {k: float(v) / getattr(self.preset, k) for k, v in lost.items()}
                seen[mode].append(row | _alphas(made.alpha, batch.regions))
        return {
            mode: {k: round(sum(r[k] for r in rows) / len(rows), 4) for k in rows[0]}
            | {"n": len(rows)}
            for mode, rows in seen.items()
        }

    def _draw(self, net: StyleNet, batch: Batch, instance: Tensor) -> Stylised:
        # The encoder learns from the content alone: the style's features cost half a step.
        with torch.no_grad():
            chosen, place = torch.unique(batch.styles, return_inverse=True)
            fine, coarse = net.encode(self.pictures[chosen])
        style = fine[place], coarse[place]
        return net.paint(batch.content, style, torch.ones(len(batch.content)), instance)


def _alphas(alpha: Tensor, regions: Tensor) -> dict[str, float]:
    """Return the mean of alpha on skin, and on eyes, lips and brows."""
    small = torch.nn.functional.adaptive_avg_pool2d(regions, alpha.shape[-1])
    features = small[:, :3].amax(1, keepdim=True)
    return {
        name: float((alpha * where).sum() / where.sum().clamp(min=1))
        for name, where in (("alpha_skin", small[:, 3:]), ("alpha_features", features))
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after saying on stderr what was refused or stopped."""
    options = make_parser("train_style", PRESETS).parse_args(arguments)
    torch.set_num_threads(options.threads)
    chosen = {k: v for k in ("steps", "seed") if (v := getattr(options, k)) is not None}
    preset = replace(PRESETS[options.preset], **chosen)
    purpose: Purpose = "release_training" if options.release else "research_training"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        sets = {part: _build(part, preset, purpose) for part in ("train", "validation")}
        run = Run(preset, sets["train"], sets["validation"])
        run.open(options.out, print)
        train(run, options.out, clock=time.monotonic, show=lambda row: print(row, flush=True))
        if options.export is not None:
            settings = {**asdict(preset), "styles": run.digests}
            rows, report = run.train.rows, run.report()
            trained = TrainedStyle(run.averages, settings, run.done, rows, purpose, report)
            card = ship_style(trained, options.export, now=datetime.now(UTC), code=options.code)
            print(f"shipped {card.file}, sha256 {card.sha256}", flush=True)
    except Error as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    return 0


def _build(part: str, preset: Preset, purpose: Purpose) -> SampleSet:
    split: Split = "train" if part == "train" else "validation"
    built = build_samples(
        list_files(split), split, open_analyser(), purpose=purpose, now=datetime.now(UTC),
        most=preset.most,
    )  # fmt: skip
    print(f"{part}: {len(built.samples)} faces of {len(built.rows)} pictures", flush=True)
    return built


if __name__ == "__main__":
    raise SystemExit(main())
