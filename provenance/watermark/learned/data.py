"""The pool of pictures that the learned mark is trained on.

Decides nothing of its own: every picture comes from the data ledger, for weights that are to be
released or for ones that are not. Refused: what the ledger refuses (DataRefused), and a run without
pictures (TrainingRefused).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor

from policies.files import read_bounded
from provenance.data_ledger import DataLedger, LedgerRow, Purpose, ledger_bytes
from provenance.media import DEFAULT_LIMITS
from provenance.watermark.learned.errors import TrainingRefused

POOL_MARGIN: Final = 1.25
"""Pictures are kept this much larger than the networks' square, so that crops of them differ."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures uint8 (n, 3, side, side), RGB, and the rows that let them in, sorted by digest.

    `release`: every row allows weights that are released.
    """

    pictures: Tensor
    rows: tuple[LedgerRow, ...]
    release: bool

    @property
    def ledger(self) -> bytes:
        """The rows as JSON lines."""
        return ledger_bytes(self.rows)


def load_training_set(
    files: Sequence[Path],
    ledger: DataLedger,
    size: tuple[int, int],
    *,
    release: bool,
    now: datetime,
) -> TrainingSet:
    """Return pictures for networks of `size[0]` pixels, the first `size[1]` of `files`.

    Every one is admitted by its own bytes. Raises `DataRefused` for the first picture that may not
    be used, `TrainingRefused` where there is none, `StoreUnavailable` and `MediaError`.
    """
    purpose: Purpose = "release_training" if release else "research_training"
    pool = []
    side_px, most = size
    for file in files[:most]:
        data = read_bounded(file, max_bytes=DEFAULT_LIMITS.file_bytes)
        name = "/".join(file.resolve().parts[-2:])
        picture = ledger.admit(data, name, purpose=purpose, now=now)
        pool.append(_square(picture.frame, round(side_px * POOL_MARGIN)))
    if not pool:
        raise TrainingRefused("there are no pictures to train on", mend="name a folder of pictures")
    pictures = torch.from_numpy(np.stack(pool)).permute(0, 3, 1, 2).contiguous()
    return TrainingSet(pictures, ledger.used, release)


def _square(frame: np.ndarray[Any, np.dtype[np.uint8]], side_px: int) -> np.ndarray[Any, Any]:
    """Return the middle square of BGR uint8 as RGB uint8 (side, side, 3)."""
    side = min(frame.shape[:2])
    y, x = ((n - side) // 2 for n in frame.shape[:2])
    middle = frame[y : y + side, x : x + side, ::-1]
    way = cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(middle), (side_px, side_px), interpolation=way)
