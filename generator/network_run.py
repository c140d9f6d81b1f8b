"""One network's training run: its averages, optimiser, random source, checkpoints and command line.

What a network learns stands in the script of that network (`train_detail`, `train_style`); how a
run goes on to the bit, reports, stops and is asked for stands here. Refused: checkpoints of other
runs (TrainingRefused). Stopped: runs that diverge (TrainingStopped).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import torch
from torch import Tensor, nn

from generator.scalars import ScalarLog
from policies.digest import sha256_hex
from policies.files import replace_file
from provenance.watermark.learned.checkpoint import read_checkpoint, restore, write_checkpoint
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped

CHECKPOINT: Final = "checkpoint.safetensors"

Net = TypeVar("Net", bound=nn.Module)


class NetworkRun(ABC, Generic[Net]):
    """A training run in memory. `preset` is a dataclass with `steps`, `learning_rate`, `ema_decay`,
    `report_every` and `seed`; `settings`, as text, and `ledger` are what the run is known by.

    diverged: a loss that no healthy step comes near.
    """

    diverged: ClassVar[float]

    def __init__(self, preset: Any, settings: str, ledger: bytes, make: Callable[[], Net]) -> None:
        self.preset, self.ledger, self.done = preset, ledger, 0
        self.digest = sha256_hex(settings.encode() + ledger)
        self.rng = torch.Generator().manual_seed(preset.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.seed)
            self.net = make()
        self.averages = copy.deepcopy(self.net).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=preset.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )

    @abstractmethod
    def look(self) -> Mapping[str, Tensor]:
        """Return the losses of the next batch, weighed."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return the figures of the averages on validation people."""

    def step(self) -> dict[str, float]:
        """Learn from one batch; return its losses. Raises `TrainingStopped` where it diverges."""
        losses = self.look()
        total = torch.stack(list(losses.values())).sum()
        if not float(total.detach()) < self.diverged:  # NaN is not below anything
            wrong = f"the loss is {float(total.detach()):.3g} at step {self.done}"
            raise TrainingStopped(wrong, mend="start anew with a lower learning rate")
        self.optimiser.param_groups[0]["lr"] = self.preset.learning_rate * self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.done += 1
        self._average()
        return {"loss": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}}

    def save(self, path: Path) -> None:
        """Write the checkpoint; raises `StoreUnavailable`."""
        state = {"done": self.done, "digest": self.digest, "preset": asdict(self.preset)}
        write_checkpoint(path, **self._parts(), state=state)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises `TrainingRefused` for another run's."""
        tensors, state = read_checkpoint(path)
        if state.get("digest") != self.digest:
            raise TrainingRefused(
                "the checkpoint is of a run with other settings or pictures",
                mend="use another folder, or the settings and pictures of that run",
            )
        restore(tensors, **self._parts())
        self.done = state["done"]

    def open(self, folder: Path, show: Callable[[str], object]) -> None:
        """Write the run's ledger into its folder, and go on where a checkpoint lies there."""
        replace_file(folder / "ledger.jsonl", self.ledger)
        if (folder / CHECKPOINT).exists():
            self.resume(folder / CHECKPOINT)
            show(f"going on at step {self.done}")

    def _parts(self) -> dict[str, Any]:
        nets = {"net": self.net, "averages": self.averages}
        return {"modules": nets, "optimisers": {"optimiser": self.optimiser}, "rng": self.rng}

    def _rate(self) -> float:
        """Warm-up over the first fiftieth, then a cosine; a share of the learning rate."""
        progress = self.done / self.preset.steps
        cosine = 0.51 + 0.49 * math.cos(math.pi * progress)
        return float(min(1.0, 50 * progress + 0.02) * cosine)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.preset.ema_decay, self.done / (10 + self.done))
        for mean, now in zip(self.averages.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def train(
    run: NetworkRun[Any],
    folder: Path,
    *,
    clock: Callable[[], float],
    show: Callable[[str], object],
) -> None:
    """Take `run` to its end, reporting and saving every so many steps; raises `TrainingStopped`.

    `clock` gives seconds; `show` is handed every line of metrics, each after its checkpoint.
    """
    began = clock()
    with closing(ScalarLog(folder)) as log:
        while run.done < run.preset.steps:
            losses = run.step()
            if run.done % run.preset.report_every and run.done < run.preset.steps:
                continue
            row = {"step": run.done, "seconds": round(clock() - began, 1), **losses, **run.report()}
            run.save(folder / CHECKPOINT)
            log.write(row)
            show(json.dumps(row))


def make_parser(script: str, presets: Iterable[str]) -> argparse.ArgumentParser:
    """Return the options that every such command has; `script`: its module in this package."""
    parser = argparse.ArgumentParser(prog=f"python -m generator.{script}")
    parser.add_argument("--preset", choices=sorted(presets), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument("--release", action="store_true", help="only what released weights may use")
    parser.add_argument("--steps", type=int, help="length of the run")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--code", default="unknown", help="the commit that trains, for the card")
    parser.add_argument("--export", type=Path, help="write weights and their card here at last")
    return parser
