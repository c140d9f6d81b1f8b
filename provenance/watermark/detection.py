"""What a reader reports of a mark: which id, how sure, and how it lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from provenance.watermark.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Detection:
    """What a reader found in one picture, or in frames of one clip.

    `state`: "read" (mark and id), or "present_unreadable" (a mark of these keys, its id damaged;
    then `mark_id` and `version` are None). `p_value`: upper bound on the chance that any picture
    without a mark of these keys gives such a `statistic`, the whole search (`searched` trials)
    included. `key_index`: which key of the ring, 0 the newest. `geometry`: how the pattern lies in
    the picture. `confidence`: how far each 128-px tile agrees with the mark, -1 to 1, float32
    (rows, columns) on the pattern's grid from its first whole tile on; None where no id is read.
    """

    mark_id: str | None
    version: int | None
    state: Literal["read", "present_unreadable"]
    p_value: float
    statistic: float
    searched: int
    key_index: int = 0
    geometry: Geometry | None = field(default=None, repr=False)
    confidence: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
