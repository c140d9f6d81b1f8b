"""Metrics of a training run: JSON lines, and TensorBoard events where TensorBoard is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class ScalarLog:
    """Appends rows to `metrics.jsonl` and to TensorBoard events in the run's folder.

    Without TensorBoard (`pip install 'facewarrant[train]'`) the JSON lines hold the same figures.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._board = folder / "metrics.jsonl", None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # heavy, optional

            self._board = SummaryWriter(str(folder / "events"))

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one row; `step` is its place, nested figures are named by their path."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(row)}\n")
        if self._board is not None:
            for name, value in flatten(row):
                self._board.add_scalar(name, value, row["step"])
            self._board.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._board is not None:
            self._board.close()


def flatten(row: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, float]]:
    """Yield path and value of every number in a row."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{start}{name}/")
        elif isinstance(value, int | float):
            yield f"{start}{name}", float(value)
