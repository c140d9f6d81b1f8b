"""The vocabulary every measured mark speaks: ours and the other tools alike.

Pictures are RGB uint8 (h, w, 3), payloads are arrays of 0 and 1.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
Bits: TypeAlias = npt.NDArray[np.uint8]


class Refused(Exception):
    """The method says that it cannot mark this picture; the message says why."""


class Method(Protocol):
    """One mark. `bits`: payload length; `version`: changes when its results may change."""

    name: str
    bits: int
    version: str

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        """Return a marked copy, or raise `Refused`."""

    def decode(self, rgb: Rgb) -> Bits | None:
        """Return the payload that is read, None where the method says there is none."""


def draw_payload(method: Method, rng: np.random.Generator) -> Bits:
    """Return a random payload of the method's length."""
    return rng.integers(0, 2, method.bits, dtype=np.uint8)
