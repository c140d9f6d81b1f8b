"""Train the learned mark: `python -m provenance.watermark.train --preset smoke --out FOLDER`.

Two networks learn together to write bits into pictures and to read them back after attacks. Bits
first, without attacks and loudly; then geometry; then codecs; and all the while quieter, down to
the final PSNR. A run leaves `checkpoint.safetensors`, `metrics.jsonl` and `ledger.jsonl` in its
folder and goes on from there, on a CPU to the bit. Refused: pictures the ledger does not admit.
Stopped: runs that diverge, or that have not learned to read by the time the attacks begin.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from policies.digest import sha256_hex
from policies.errors import Error
from policies.files import replace_file
from provenance.data_ledger import DataLedger, read_ledger
from provenance.data_sets import list_pictures, list_rendered
from provenance.watermark.learned.attacks import ATTACKS, CODECS, GEOMETRY, fit_square, to_luma
from provenance.watermark.learned.checkpoint import read_checkpoint, restore, write_checkpoint
from provenance.watermark.learned.data import TrainingSet, load_training_set
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped
from provenance.watermark.learned.export import export_mark
from provenance.watermark.learned.losses import (
    mark_loss,
    measure_accuracy,
    measure_psnr_db,
    measure_ssim,
)
from provenance.watermark.learned.network import MarkNetworks, add_at_psnr
from provenance.watermark.learned.presets import GEOMETRY_FROM, PRESETS, Preset, plan

ROOT: Final = Path(__file__).parents[2]
CHECKPOINT: Final = "checkpoint.safetensors"
STALLED: Final = 0.55
"""Bit accuracy without attack that a run must have passed when geometry begins; chance is 0.5."""
DIVERGED: Final = 10.0
"""No healthy loss comes near: chance is 0.69 for the bits plus at most 2 for what is seen."""


class Run:
    """A training run in memory: networks, their averages, optimiser, random source, counters."""

    def __init__(self, preset: Preset, training: TrainingSet) -> None:
        if preset.device == "cuda" and not torch.cuda.is_available():
            raise TrainingRefused("this machine has no CUDA device", mend="use --preset smoke")
        self.preset, self.training = preset, training
        self.done, self.seconds = 0, 0.0
        # What a checkpoint must agree with to be gone on with; how long to go on may change.
        settings = repr(replace(preset, minutes=0.0, steps=0))
        self.digest = sha256_hex(settings.encode("utf-8") + training.ledger)
        self.rng = torch.Generator(preset.device).manual_seed(preset.seed)
        self.pool = training.pictures.to(preset.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.seed)
            networks = MarkNetworks(preset.shape)
        layout = getattr(torch, preset.layout)
        self.networks: MarkNetworks = networks.to(preset.device, memory_format=layout)  # type: ignore[call-overload]
        self.averages = copy.deepcopy(self.networks).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.networks.parameters(), weight_decay=0.01)
        self.encode: Callable[..., Tensor] = torch.compile(
            self.networks.encoder, disable=not preset.compiled
        )
        self.read: Callable[..., Tensor] = torch.compile(
            self.networks.reader, disable=not preset.compiled
        )

    @property
    def progress(self) -> float:
        """How much of the run is done, 0..1: by the clock where the preset has minutes."""
        if self.preset.minutes:
            return min(1.0, self.seconds / (60 * self.preset.minutes))
        return min(1.0, self.done / self.preset.steps)

    def step(self) -> float:
        """Learn from one batch; return its loss. Raises `TrainingStopped` where it diverges."""
        preset, stage = self.preset, plan(self.progress, self.preset)
        images, message = self.draw()
        luma = to_luma(images)
        with torch.autocast(preset.device, torch.bfloat16, enabled=preset.bf16):
            residual = self.encode(luma, message)
        marked = add_at_psnr(images, residual.float(), stage.psnr_db)
        attacked = marked
        for attacks, strength in ((GEOMETRY, stage.geometry), (CODECS, stage.codecs)):
            names = list(attacks) if strength > 0 else ["none"]
            chosen = int(torch.randint(len(names), (), generator=self.rng, device=preset.device))
            attacked = attacks[names[chosen]](attacked, strength, self.rng)
        seen = fit_square(to_luma(attacked), preset.shape.side_px)
        with torch.autocast(preset.device, torch.bfloat16, enabled=preset.bf16):
            logits = self.read(seen)
        loss = mark_loss(logits, message, marked, images)
        value = float(loss.detach())
        if not value < DIVERGED:  # NaN is not below anything
            wrong = f"the loss is {value:.3g} at step {self.done}"
            raise TrainingStopped(wrong, mend="start anew with a lower learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimiser.param_groups[0]["lr"] = preset.learning_rate * stage.rate
        self.optimiser.step()
        self.done += 1
        self._average()
        return value

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return pictures float (n, 3, side, side) in 0..1 and messages (n, bits) of 0 and 1."""
        n, side = self.preset.batch, self.preset.shape.side_px
        rng, device = self.rng, self.preset.device
        chosen = torch.randint(len(self.pool), (n,), generator=rng, device=device)
        free = self.pool.shape[-1] - side + 1
        y, x, mirrored = torch.randint(free, (3,), generator=rng, device=device).tolist()
        images = self.pool[chosen, :, y : y + side, x : x + side].float() / 255
        size = (n, self.preset.shape.bits)
        message = torch.randint(2, size, generator=rng, device=device).float()
        return images.flip(-1) if mirrored % 2 else images, message

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Return bit accuracy under each attack at full hardness, PSNR and SSIM, of the averages.

        At the present stage's PSNR, on pictures of the training set: for watching, not for claims.
        """
        psnr_db, batches = plan(self.progress, self.preset).psnr_db, self.preset.report_batches
        accuracy, seen = dict.fromkeys(ATTACKS, 0.0), {"psnr_db": 0.0, "ssim": 0.0}
        for _ in range(batches):
            images, message = self.draw()
            residual = self.averages.encoder(to_luma(images), message)
            marked = add_at_psnr(images, residual, psnr_db)
            seen["psnr_db"] += measure_psnr_db(marked, images) / batches
            seen["ssim"] += float(measure_ssim(marked, images)) / batches
            for name, attack in ATTACKS.items():
                attacked = to_luma(attack(marked, 1.0, self.rng))
                logits = self.averages.reader(fit_square(attacked, self.preset.shape.side_px))
                accuracy[name] += measure_accuracy(logits, message) / batches
        return {**seen, "n": batches * self.preset.batch, "accuracy": accuracy}

    def save(self, folder: Path) -> None:
        """Write the checkpoint; raises `StoreUnavailable`."""
        state = {"done": self.done, "seconds": self.seconds, "digest": self.digest}
        write_checkpoint(folder / CHECKPOINT, **self._parts(), state=state)

    def resume(self, folder: Path) -> None:
        """Go on from the checkpoint in `folder`; raises `TrainingRefused` for another run's."""
        tensors, state = read_checkpoint(folder / CHECKPOINT)
        if state.get("digest") != self.digest:
            raise TrainingRefused(
                "the checkpoint is of a run with other settings or pictures",
                mend="use another folder, or the settings and pictures of that run",
            )
        restore(tensors, **self._parts())
        self.done, self.seconds = state["done"], state["seconds"]

    def _parts(self) -> dict[str, Any]:
        modules = {"networks": self.networks, "averages": self.averages}
        optimisers = {"optimiser": self.optimiser}
        return {"modules": modules, "optimisers": optimisers, "rng": self.rng}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.preset.ema_decay, self.done / (10 + self.done))
        for mean, now in zip(self.averages.parameters(), self.networks.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def train(
    run: Run, folder: Path, *, clock: Callable[[], float], show: Callable[[str], object]
) -> None:
    """Take `run` to its end, with a report every so many steps; raises `TrainingStopped`.

    `clock` gives seconds; `show` is handed every metrics line, each after its checkpoint.
    """
    while run.progress < 1:
        started, loss = clock(), run.step()
        run.seconds += clock() - started
        if run.done % run.preset.report_every and run.progress < 1:
            continue
        row = {"step": run.done, "seconds": round(run.seconds, 1), "loss": loss, **run.measure()}
        run.save(folder)
        line = json.dumps(row)
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        show(line)
        if run.progress >= GEOMETRY_FROM and row["accuracy"]["none"] < STALLED:
            raise TrainingStopped(
                f"{row['accuracy']['none']:.1%} of the bits are read without any attack",
                mend="a longer run, a louder start or another learning rate",
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after saying on stderr what was refused or stopped."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    chosen = {k: v for k in ("steps", "minutes", "seed") if (v := getattr(options, k)) is not None}
    preset = replace(PRESETS[options.preset], **chosen)
    try:
        if options.pictures is None:
            rendered = list(list_rendered(ROOT, "train"))
            files, ledger = [file for file, _ in rendered], DataLedger(row for _, row in rendered)
        else:
            files = list_pictures(options.pictures)
            ledger = read_ledger(options.ledger, withdrawn=options.withdrawn)
        now, size = datetime.now(UTC), (preset.shape.side_px, preset.most_pictures)
        run = Run(preset, load_training_set(files, ledger, size, release=options.release, now=now))
        options.out.mkdir(parents=True, exist_ok=True)
        replace_file(options.out / "ledger.jsonl", run.training.ledger)
        if (options.out / CHECKPOINT).exists():
            run.resume(options.out)
        train(run, options.out, clock=time.monotonic, show=print)
        if options.export is not None:
            export_mark(run.averages, preset, run.training, run.measure(), options.export)
    except Error as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m provenance.watermark.train", description="Train the learned mark."
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument("--steps", type=int, help="length of the run in steps")
    parser.add_argument("--minutes", type=float, help="length of the run by the clock; 0: by steps")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--pictures", type=Path, action="append", help="a folder, with its --ledger"
    )
    parser.add_argument("--ledger", type=Path, default=Path("ledger.jsonl"), help="JSON lines")
    parser.add_argument(
        "--withdrawn", nargs="+", default=[], help="ids of consents that hold no longer"
    )
    parser.add_argument("--release", action="store_true", help="only what released weights may use")
    parser.add_argument("--export", type=Path, help="write ONNX files and their card here at last")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
