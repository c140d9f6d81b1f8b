"""Train StyleMixNet: `python -m generator.train --preset cpu --out FOLDER --release`.

The network learns from rendered triplets, whose true swaps are known: pixels and structure first,
then identity, at last and only where the preset says so unlabelled pairs and an adversary. A run
leaves `checkpoint.safetensors`, `best.safetensors`, `metrics.jsonl`, `ledger.jsonl` and TensorBoard
events in its folder and goes on from there, on a CPU to the bit. Refused: pictures the data ledger
does not admit. Stopped: runs that diverge or fall back to showing the target.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from generator.batches import Batch
from generator.discriminator import PatchDiscriminator, fool_loss, judge_loss
from generator.faces import open_analyser
from generator.losses import (
    EMBEDDING,
    FaceJudge,
    chip_grids,
    colour_loss,
    flow_loss,
    identity_loss,
    mask_loss,
    pixel_loss,
    structure_loss,
)
from generator.photo_triplets import Album, build_photo_samples
from generator.presets import PRESETS, Preset, plan
from generator.samples import SampleSet, Stock, build_samples, read_samples, write_samples
from generator.scalars import ScalarLog
from generator.ship import NAME, Trained, ship
from generator.stylemix import Output, StyleMixNet
from generator.trained import Parent
from generator.watch import CollapseGuard, watch_all
from policies.digest import sha256_hex
from policies.errors import Error
from policies.files import replace_file
from provenance.data_ledger import DataLedger, Purpose, ledger_bytes, read_ledger
from provenance.data_sets import Split, list_pictures, list_rendered
from provenance.watermark.learned.checkpoint import read_checkpoint, restore, write_checkpoint
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped

ROOT: Final = Path(__file__).parents[1]
CHECKPOINT: Final = "checkpoint.safetensors"
BEST: Final = "best.safetensors"
DIVERGED: Final = 100.0
"""No healthy loss comes near: all terms together begin at about 3."""


class Run:
    """A training run in memory: networks, averages, optimisers, random source, counters."""

    def __init__(
        self,
        preset: Preset,
        train: SampleSet,
        validation: SampleSet,
        teacher: Parent | None = None,
        start: Parent | None = None,
    ) -> None:
        if preset.device == "cuda" and not torch.cuda.is_available():
            raise TrainingRefused("this machine has no CUDA device", mend="use --preset cpu")
        self.preset, self.done, self.best = preset, 0, float("-inf")
        self.train, self.validation = train.to(preset.device), validation.to(preset.device)
        self.ledger = ledger_bytes(train.rows)
        parents = [one for one in (start, teacher) if one is not None]
        self.parents = tuple(one.sha256 for one in parents)
        self.inherited = tuple(one.training for one in parents)
        settings = json.dumps(replace(preset, steps=0).as_json(), sort_keys=True)
        self.digest = sha256_hex(settings.encode() + self.ledger + "".join(self.parents).encode())
        self.rng = torch.Generator().manual_seed(preset.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.seed)
            net, adversary = StyleMixNet(preset.shape), PatchDiscriminator()
        net.id_mean.copy_(train.tensors["id_source"].mean(0))
        if start is not None:
            start.give(net)
        layout = getattr(torch, preset.layout)
        self.net: StyleMixNet = net.to(preset.device, memory_format=layout)  # type: ignore[call-overload]
        self.averages = copy.deepcopy(self.net).requires_grad_(False)
        self.adversary = adversary.to(preset.device)
        self.judge = FaceJudge().to(preset.device)
        self.teacher = None if teacher is None else teacher.net.to(preset.device)
        rate = {"lr": preset.learning_rate, "betas": (0.5, 0.99)}
        self.optimiser = torch.optim.AdamW(self.net.parameters(), weight_decay=1e-2, **rate)  # type: ignore[arg-type]
        self.opponent = torch.optim.Adam(self.adversary.parameters(), **rate)  # type: ignore[arg-type]
        self.forward: Callable[..., Any] = torch.compile(self.net, disable=not preset.compiled)
        self.guard = CollapseGuard()

    @property
    def progress(self) -> float:
        """How much of the run is done, 0..1."""
        return min(1.0, self.done / self.preset.steps)

    def step(self) -> dict[str, float]:
        """Learn from one batch; return its losses. Raises `TrainingStopped` where it diverges."""
        preset, stage = self.preset, plan(self.progress)
        batch = self.train.draw(preset, self.rng)
        with self.half():
            made = self.forward(batch.inputs, batch.mask, batch.id_source, batch.id_target)
        losses = self.labelled(batch, made)
        if self.teacher is not None:
            losses["distilled"] = self.distilled(batch, made)
        if preset.weights.unlabelled * stage.unlabelled > 0:
            losses["unlabelled"] = self.unlabelled(batch)
        if preset.weights.adversarial * stage.adversarial > 0:
            # Its own step first: it changes in place what the other loss runs through.
            self._learn(self.opponent, judge_loss(self.adversary, batch.label, made.image))
            losses["adversarial"] = fool_loss(self.adversary, made.image)
        grown = {"identity": stage.identity, "unlabelled": stage.unlabelled}
        weigh = {name: getattr(preset.weights, name) * grown.get(name, 1.0) for name in losses}
        total = torch.stack([weigh[name] * loss for name, loss in losses.items()]).sum()
        if not float(total.detach()) < DIVERGED:  # NaN is not below anything
            wrong = f"the loss is {float(total.detach()):.3g} at step {self.done}"
            raise TrainingStopped(wrong, mend="start anew with a lower learning rate")
        self.optimiser.param_groups[0]["lr"] = preset.learning_rate * stage.rate
        self._learn(self.optimiser, total)
        self.done += 1
        self._average()
        return {"loss": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}}

    def half(self) -> torch.autocast:
        """Return the context of the networks: bf16 where the preset says so; losses stay float32.

        Differences of squares, as in SSIM, have no sign left in bf16.
        """
        return torch.autocast(self.preset.device, torch.bfloat16, enabled=self.preset.bf16)

    def labelled(self, batch: Batch, made: Output) -> dict[str, Tensor]:
        """Return the losses against true swaps."""
        few = slice(0, self.preset.judged)
        points = torch.where(
            torch.isfinite(batch.label_points[few]),
            batch.label_points[few],
            batch.composite_points[few],
        )
        chips = chip_grids(points.cpu().numpy(), made.image.shape[-1]).to(made.image.device)
        with self.half():
            face = self.judge(made.image[few], batch.label[few], batch.id_source[few], chips)
        return {
            "pixel": pixel_loss(made.image, batch.target, batch.label, made.reach),
            "structure": structure_loss(made.image, batch.label, made.reach),
            "colour": colour_loss(made.image, batch.label, made.reach),
            "landmarks": flow_loss(made.flow, batch.label_points, batch.composite_points),
            "mask": mask_loss(made.mask, batch.mask),
            "perceptual": face.perceptual,
            "identity": face.identity,
        }

    def distilled(self, batch: Batch, made: Output) -> Tensor:
        """Return how far the result is from the teacher's, as `pixel_loss` counts."""
        if self.teacher is None:
            raise TrainingRefused("there is no teacher to learn from")
        with torch.no_grad(), self.half():
            shown = self.teacher(batch.inputs, batch.mask, batch.id_source, batch.id_target).image
        return pixel_loss(made.image, batch.target, shown, made.reach)

    def unlabelled(self, batch: Batch) -> Tensor:
        """Return the loss of pairs without a label: neighbours in the batch lend identities.

        The result must look like the lender to the identity net, keep the target's colours, and
        become the target again when the identities are exchanged (cycle).
        """
        lender, own, mask = batch.id_source.roll(1, 0), batch.id_target, batch.mask
        chips = chip_grids(batch.composite_points.cpu().numpy(), batch.label.shape[-1])
        with self.half():
            there = self.forward(batch.target.repeat(1, 4, 1, 1), mask, lender, own)
            again = self.forward(there.image.repeat(1, 4, 1, 1), mask, own, lender).image
            seen = self.judge.look(there.image, chips.to(mask.device))[EMBEDDING]
        back = functional.l1_loss(again, batch.target)
        return (
            identity_loss(seen, lender) + colour_loss(there.image, batch.target, there.reach) + back
        )

    def report(self) -> dict[str, Any]:
        """Return the figures of the averages on validation people."""
        seen = watch_all(self.averages, self.judge, self.validation)
        return {kind: figures.as_json() for kind, figures in seen.items()}

    def save(self, path: Path) -> None:
        """Write the checkpoint; raises `StoreUnavailable`."""
        state = {"done": self.done, "best": self.best, "strikes": self.guard.strikes}
        about = {"digest": self.digest, "preset": self.preset.as_json()}
        write_checkpoint(path, **self._parts(), state={**state, **about})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises `TrainingRefused` for another run's."""
        tensors, state = read_checkpoint(path)
        if state.get("digest") != self.digest:
            raise TrainingRefused(
                "the checkpoint is of a run with other settings or pictures",
                mend="use another folder, or the settings and pictures of that run",
            )
        restore(tensors, **self._parts())
        self.done, self.best = state["done"], state["best"]
        self.guard.strikes = state["strikes"]

    def _parts(self) -> dict[str, Any]:
        nets = {"net": self.net, "averages": self.averages, "adversary": self.adversary}
        optimisers = {"optimiser": self.optimiser, "opponent": self.opponent}
        return {"modules": nets, "optimisers": optimisers, "rng": self.rng}

    def _learn(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
        optimiser.step()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.preset.ema_decay, self.done / (10 + self.done))
        for mean, now in zip(self.averages.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def train(
    run: Run, folder: Path, *, clock: Callable[[], float], show: Callable[[str], object]
) -> None:
    """Take `run` to its end, reporting and saving every so many steps; raises `TrainingStopped`.

    `clock` gives seconds; `show` is handed every line of metrics, each after its checkpoint. Every
    tenth of the run is kept in `backups`, the best report in `best.safetensors`.
    """
    began, tenth = clock(), int(10 * run.progress)
    with closing(ScalarLog(folder)) as log:
        while run.done < run.preset.steps:
            losses = run.step()
            if run.done % run.preset.report_every and run.done < run.preset.steps:
                continue
            seen = run.report()
            row = {"step": run.done, "seconds": round(clock() - began, 1), **losses, **seen}
            run.guard.look(run.progress, seen["forward"], show)
            if seen["forward"]["progress"] > run.best:
                run.best = seen["forward"]["progress"]
                run.save(folder / BEST)
            run.save(folder / CHECKPOINT)
            if int(10 * run.progress) > tenth:
                tenth = int(10 * run.progress)
                (folder / "backups").mkdir(exist_ok=True)
                run.save(folder / "backups" / f"step-{run.done:06d}.safetensors")
            log.write(row)
            show(json.dumps(row))
            run.guard.require()


def lay_out_part(stock: Stock, part: Split, preset: Preset, *, jobs: int) -> SampleSet:
    """Return the samples of one part; those of photographs are all trained on, as reverse ones."""
    analyser = open_analyser()
    made = build_samples(stock, part, analyser, preset, jobs=jobs)
    if stock.photos is None or part != "train":
        return made
    album = Album(stock.photos, stock.ledger, stock.purpose, stock.now)
    how = {"variants": preset.variants, "side_px": preset.shape.side_px, "seed": preset.seed}
    return made.join(*build_photo_samples(album, analyser, **how))


def open_run(
    preset: Preset,
    stock: Stock,
    folder: Path,
    *,
    teacher: Parent | None = None,
    start: Parent | None = None,
    jobs: int,
    show: Callable[[str], object],
) -> Run:
    """Return the run of a folder, its samples made or read again, resumed where it stopped."""
    sets: dict[str, SampleSet] = {}
    parts: tuple[Split, ...] = ("train", "validation")
    photos = [] if stock.photos is None else list_pictures([stock.photos])
    made_by = [preset.variants, preset.seed, preset.shape.side_px, *(one.name for one in photos)]
    digest = sha256_hex(ledger_bytes(stock.ledger) + json.dumps(made_by).encode())
    for part in parts:
        path = folder / f"samples-{part}.safetensors"
        if not path.exists():
            show(f"laying out the {part} part")
            made = lay_out_part(stock, part, preset, jobs=jobs)
            write_samples(path, made, digest)
        sets[part] = read_samples(path, digest)
        stock.require(sets[part].rows)
        show(f"{part}: {len(sets[part])} samples of {len(sets[part].rows)} pictures")
    run = Run(preset, sets["train"], sets["validation"], teacher, start)
    replace_file(folder / "ledger.jsonl", run.ledger)
    if (folder / CHECKPOINT).exists():
        run.resume(folder / CHECKPOINT)
        show(f"going on at step {run.done}")
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after saying on stderr what was refused or stopped."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    chosen = {k: v for k in ("steps", "seed") if (v := getattr(options, k)) is not None}
    preset = replace(PRESETS[options.preset], **chosen)
    try:
        stock = _open_stock(options)
        options.out.mkdir(parents=True, exist_ok=True)
        print(f"device: {describe_device(preset)}", flush=True)
        teacher, start = (
            None if name is None else Parent(name, stock.purpose)
            for name in (options.teacher, options.start)
        )
        parents = {"teacher": teacher, "start": start}
        run = open_run(preset, stock, options.out, **parents, jobs=options.threads, show=print)
        train(run, options.out, clock=time.monotonic, show=print)
        if options.export is not None:
            made_of = run.train.rows, stock.purpose, run.report(), run.parents, run.inherited
            trained = Trained(run.averages, preset, *made_of)
            ship(trained, options.export, options.name, now=stock.now, code=options.code)
    except Error as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    return 0


def _open_stock(options: argparse.Namespace) -> Stock:
    """Return the pictures that were named, or else the rendered personas beside the repository."""
    purpose: Purpose = "release_training" if options.release else "research_training"
    named = read_ledger(options.ledger) if options.data or options.photos else ()
    rows, folder = list(named), options.data
    if folder is None:
        rendered = list(list_rendered(ROOT))
        if not rendered:
            raise TrainingRefused("no rendered people are at hand", mend="name them by --data")
        rows, folder = [*rows, *(row for _, row in rendered)], rendered[0][0].parents[1]
    ledger = DataLedger(rows, withdrawn=options.withdrawn)
    return Stock(folder, ledger, purpose, datetime.now(UTC), options.photos)


def describe_device(preset: Preset) -> str:
    """Return what the run will use, in words; never another device than the preset's."""
    if preset.device == "cuda":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return f"CPU, {torch.get_num_threads()} threads"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m generator.train", description="Train StyleMixNet."
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument("--data", type=Path, help="rendered triplets, with their --ledger")
    parser.add_argument(
        "--photos", type=Path, help="photographs of people who consented to training, by --ledger"
    )
    parser.add_argument("--ledger", type=Path, default=Path("ledger.jsonl"), help="JSON lines")
    parser.add_argument(
        "--withdrawn", nargs="+", default=[], help="ids of consents that hold no longer"
    )
    parser.add_argument("--release", action="store_true", help="only what released weights may use")
    parser.add_argument("--steps", type=int, help="length of the run")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, and jobs that lay out")
    parser.add_argument("--code", default="unknown", help="the commit that trains, for the card")
    parser.add_argument("--teacher", help="name of shipped weights to learn from as well")
    parser.add_argument("--start", help="name of shipped weights to begin with, of this shape")
    parser.add_argument("--export", type=Path, help="write weights and their card here at last")
    parser.add_argument("--name", default=NAME, help="what the exported weights are called")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
