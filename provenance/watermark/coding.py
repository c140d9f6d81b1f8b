"""The error-correcting code of the mark: 72 bits in, 216 out, read back from soft values.

A rate-1/3 tail-biting convolutional code with constraint length 9, decoded with a list: the best
few messages come back in order, and the caller's checksum picks. Tail-biting costs no tail bits and
treats all bits alike, which suits a tile that has neither start nor end.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Bits: TypeAlias = npt.NDArray[np.uint8]
Soft: TypeAlias = npt.NDArray[np.float64]

GENERATORS: Final = (0o557, 0o663, 0o711)
"""Rate 1/3, K = 9, free distance 18 (the rate-1/3 convolutional code of 3GPP2 C.S0002)."""
RATE: Final = len(GENERATORS)
LIST_SIZE: Final = 4
"""Messages tried against the checksum; each one adds its share to the chance of a wrong id."""

_MEMORY = 8
_STATES = 1 << _MEMORY
_REGISTERS = np.arange(2 * _STATES)
_PARITY = np.array([[bin(r & g).count("1") & 1 for g in GENERATORS] for r in _REGISTERS])
_SIGNS = 1.0 - 2.0 * _PARITY
# A state is its eight newest bits, newest lowest; register = oldest bit, state.
_FROM = np.stack([np.arange(_STATES) >> 1, (np.arange(_STATES) >> 1) | (_STATES >> 1)])


def encode_bits(bits: Bits) -> Bits:
    """Return the coded bits, three for each of `bits` (0 or 1, at least 9 of them)."""
    register = np.zeros(len(bits), np.int64)
    for delay in range(_MEMORY + 1):
        register |= np.roll(bits, delay).astype(np.int64) << delay
    return _PARITY[register].astype(np.uint8).reshape(-1)


def decode_list(soft: Soft, *, count: int = LIST_SIZE) -> list[Bits]:
    """Return up to `count` messages, most likely first.

    `soft` has three values for each message bit, positive where a coded 0 is more likely; the scale
    does not matter. One wrap-around pass settles the start state, a second keeps a list.
    """
    branches = soft.reshape(-1, RATE) @ _SIGNS.T
    start = np.zeros(_STATES)
    for branch in branches:
        start = np.maximum(start[_FROM[0]] + branch[:_STATES], start[_FROM[1]] + branch[_STATES:])
    metrics = np.full((_STATES, count), -np.inf)
    metrics[:, 0] = start
    back = np.empty((len(branches), _STATES, count), np.uint8)
    for step, branch in enumerate(branches):
        both = np.concatenate(
            [
                metrics[_FROM[0]] + branch[:_STATES, None],
                metrics[_FROM[1]] + branch[_STATES:, None],
            ],
            axis=1,
        )
        order = np.argsort(-both, axis=1)[:, :count]
        metrics, back[step] = np.take_along_axis(both, order, axis=1), order
    return _best_circles(metrics, back, start, count)


def _best_circles(
    metrics: npt.NDArray[np.float64], back: npt.NDArray[np.uint8], start: Soft, count: int
) -> list[Bits]:
    """Trace every survivor to its start; keep those that end in the state they began in."""
    end = np.repeat(np.arange(_STATES), count)
    state, rank = end.copy(), np.tile(np.arange(count), _STATES)
    messages = np.empty((len(end), len(back)), np.uint8)
    for step in range(len(back) - 1, -1, -1):
        messages[:, step] = state & 1
        choice = back[step][state, rank].astype(np.int64)
        state, rank = _FROM[choice // count, state], choice % count
    gain = metrics.reshape(-1) - start[state]
    gain[(state != end) | ~np.isfinite(gain)] = -np.inf
    best = np.argsort(-gain)[:count]
    return [messages[i] for i in best if np.isfinite(gain[i])]
