"""The search finds exactly what counting out every pair finds, wherever the bits differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.hamming import BYTES, RADIUS, HammingIndex, count_bits, pack


def turned_over(value: bytes, bits: Sequence[int]) -> bytes:
    number = int.from_bytes(value, "little")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(BYTES, "little")


def random_values(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count * BYTES)


def test_bits_are_counted() -> None:
    values = pack(bytes(BYTES) + b"\xff" * BYTES + turned_over(bytes(BYTES), [0, 100, 255]))
    assert count_bits(values, values[0]).tolist() == [0, 256, 3]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    bits=st.sets(st.integers(0, 255), max_size=40),
    row=st.integers(0, 499),
)
def test_a_planted_value_is_found_exactly_up_to_the_radius(bits: set[int], row: int) -> None:
    data = random_values(500)
    index = HammingIndex(pack(data))
    asked = pack(turned_over(data[row * BYTES : (row + 1) * BYTES], sorted(bits)))[0]
    rows, counts = index.near(asked)
    wanted = [(row, len(bits))] if len(bits) <= RADIUS else []
    assert list(zip(rows.tolist(), counts.tolist(), strict=True)) == wanted


def test_the_worst_spread_of_bits_is_found() -> None:
    """31 bits as evenly over the 16 parts as they go: two in each of 15, one in the last."""
    data = random_values(2000)
    index = HammingIndex(pack(data))
    evenly = [16 * part + place for part in range(16) for place in (3, 11)]
    rows, counts = index.near(pack(turned_over(data[:BYTES], evenly[:31]))[0])
    assert (rows.tolist(), counts.tolist()) == ([0], [31])
    assert index.near(pack(turned_over(data[:BYTES], evenly))[0])[0].tolist() == []


@pytest.mark.parametrize("spread", [3, 256])
def test_crowded_and_scattered_values_are_found_as_by_counting(spread: int) -> None:
    rng = np.random.default_rng(5)
    base = random_values(1)
    data = b"".join(
        turned_over(base, (rng.choice(256, rng.integers(0, 45), replace=False) % spread).tolist())
        for _ in range(600)
    )
    values = pack(data)
    index = HammingIndex(values)
    rows, counts = index.near(values[7])
    every = count_bits(values, values[7])
    assert rows.tolist() == np.flatnonzero(every <= RADIUS).tolist()
    assert counts.tolist() == every[every <= RADIUS].tolist()


def test_an_empty_index_finds_nothing() -> None:
    index = HammingIndex(pack(b""))
    assert len(index) == 0
    assert index.near(pack(bytes(BYTES))[0])[0].tolist() == []
