"""Which of very many 256-bit values differ from one in few bits? Exact, never approximate.

Every value is cut into 16 parts of 16 bits. Of two values that differ in at most 31 bits, one part
differs in at most one bit: 16 parts with two changes or more are 32 (the pigeonhole principle, used
so by Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
2014). So 16 x 17 places of a table name every candidate, and only candidates are counted out.
Where values crowd in a few places, all of them are counted: slower, never less exact.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RADIUS: Final = 31
"""Bits up to which two values are near; the cut into 16 parts is proved for exactly this."""

BYTES: Final = 32
"""Length of a value."""

_PARTS = 16
_PLACES = 1 << 16
# A part itself, and the part with each of its 16 bits turned over.
_PROBES = np.array([0, *(1 << bit for bit in range(16))], np.uint16)
# Fetching scattered candidates costs about as much as counting four times as many in a row.
_CROWDED = 1 / 4

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]
Counts = npt.NDArray[np.uint16]


def pack(values: bytes) -> Words:
    """Return values of 32 bytes each, one after the other, as uint64 (n, 4)."""
    return np.frombuffer(values, np.uint64).reshape(-1, BYTES // 8)


def count_bits(values: Words, value: Words) -> Counts:
    """Return in how many bits each of `values` (n, 4) differs from `value` (4,), 0..256."""
    return np.asarray(np.bitwise_count(values ^ value).sum(axis=1, dtype=np.uint16))


class HammingIndex:
    """Values that do not change any more, uint64 (n, 4); 100 bytes of memory for each."""

    def __init__(self, values: Words) -> None:
        self.values = values
        parts = values.view(np.uint16)
        self._order = np.empty((_PARTS, len(values)), np.uint32)
        self._starts = np.zeros((_PARTS, _PLACES + 1), np.uint32)
        for part in range(_PARTS):
            column = parts[:, part]
            self._order[part] = np.argsort(column, kind="stable")
            self._starts[part, 1:] = np.cumsum(np.bincount(column, minlength=_PLACES))

    def __len__(self) -> int:
        return len(self.values)

    def near(self, value: Words) -> tuple[Rows, Counts]:
        """Return every row at most `RADIUS` bits from `value` (4,), ascending, and its bits."""
        rows = self._candidates(value)
        counts = count_bits(self.values if rows is None else self.values[rows], value)
        found = np.flatnonzero(counts <= RADIUS)
        return (found if rows is None else rows[found]), counts[found]

    def _candidates(self, value: Words) -> Rows | None:
        """Return the rows that share a part or nearly share it; None where that is too many."""
        probes = value.view(np.uint16)[:, None] ^ _PROBES
        part = np.arange(_PARTS)[:, None]
        low = self._starts[part, probes].astype(np.intp)
        sizes = self._starts[part, probes + np.intp(1)].astype(np.intp) - low
        total = int(sizes.sum())
        if total > _CROWDED * len(self.values):
            return None
        flat = sizes.ravel()
        before = np.cumsum(flat) - flat
        offsets = np.arange(total) - np.repeat(before, flat)
        places = np.repeat(low.ravel(), flat) + offsets
        columns = np.repeat(np.broadcast_to(part, sizes.shape).ravel(), flat)
        return np.unique(self._order[columns, places]).astype(np.intp)
