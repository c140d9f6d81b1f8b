"""Contact sheets: what every row made of the same pairs, side by side. Rendered people only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from generator.faces import Frame

CELL_PX, HEAD_PX = 176, 22
GREY = 245


def write_sheet(path: Path, frames: Mapping[str, Mapping[str, Frame]], rows: Sequence[str]) -> None:
    """Write one line of pictures for each pair, the rows' names above, as WebP."""
    columns = ["source", *rows, "label"]
    lines = [_heading(columns)]
    for shown in frames.values():
        cells = [_cell(shown[name]) for name in columns if name in shown]
        lines.append(np.hstack(cells))
    wide = max(line.shape[1] for line in lines)
    padded = [
        np.pad(line, ((0, 0), (0, wide - line.shape[1]), (0, 0)), constant_values=GREY)
        for line in lines
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(padded), [cv2.IMWRITE_WEBP_QUALITY, 88])


def _cell(frame: Frame) -> Frame:
    return np.asarray(cv2.resize(frame, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _heading(names: Sequence[str]) -> Frame:
    line = np.full((HEAD_PX, CELL_PX * len(names), 3), GREY, np.uint8)
    for number, name in enumerate(names):
        place = number * CELL_PX + 4, HEAD_PX - 7
        cv2.putText(line, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return line
