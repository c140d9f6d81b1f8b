"""Checkpoints of a training run: one safetensors file, its state as JSON in the header.

One file and one rename, so that weights, optimiser, averages, random source and counters always
belong together. Nothing is ever unpickled. Refused: a file that is none of ours or of another run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from policies.files import replace_file
from provenance.watermark.learned.errors import TrainingRefused


def write_checkpoint(
    path: Path,
    *,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    rng: torch.Generator,
    state: Mapping[str, Any],
) -> None:
    """Write everything a run needs to go on, whole or not at all; raises `StoreUnavailable`."""
    tensors = {"rng": rng.get_state()}
    for name, optimiser in optimisers.items():
        tensors |= {f"{name}/{key}": value for key, value in _name_slots(optimiser)}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    replace_file(path, save(plain, metadata={"state": json.dumps(state, sort_keys=True)}))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors by name and the state; raises `TrainingRefused`."""
    try:
        with safe_open(path, "pt") as file:
            state = dict(json.loads(file.metadata()["state"]))
            return {key: file.get_tensor(key) for key in file.keys()}, state
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise TrainingRefused(
            f"{path.name} is not a checkpoint of this training",
            mend="start anew in another folder",
        ) from error


def restore(
    tensors: Mapping[str, Tensor],
    *,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    rng: torch.Generator,
) -> None:
    """Put everything back where `write_checkpoint` took it from."""
    for name, module in modules.items():
        module.load_state_dict(take(tensors, name))
    for name, optimiser in optimisers.items():
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in take(tensors, name).items():
            index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": slots, "param_groups": groups})
    rng.set_state(tensors["rng"])


def take(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors below `name`, without it."""
    start = f"{name}/"
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}


def _name_slots(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, slots in optimiser.state_dict()["state"].items():
        for slot, value in slots.items():
            yield f"{index}/{slot}", value
