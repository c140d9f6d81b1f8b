"""The code gives back what went in, through noise, and in order of likelihood."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.watermark.coding import GENERATORS, LIST_SIZE, RATE, decode_list, encode_bits

MESSAGES = st.lists(st.integers(0, 1), min_size=72, max_size=72).map(
    lambda bits: np.array(bits, np.uint8)
)


def soft(coded: np.ndarray) -> np.ndarray:
    return 1.0 - 2.0 * coded


def encode_by_hand(bits: np.ndarray) -> list[int]:
    """The textbook shift register, one bit at a time, started with the last eight bits."""
    register, coded = 0, []
    for bit in [*bits[-8:], *bits]:
        register = (register << 1 | int(bit)) & 0x1FF
        coded.append([(register & g).bit_count() % 2 for g in GENERATORS])
    return [bit for step in coded[8:] for bit in step]


@settings(derandomize=True, max_examples=20, deadline=None)
@given(MESSAGES)
def test_the_encoder_is_the_textbook_shift_register(bits: np.ndarray) -> None:
    assert encode_bits(bits).tolist() == encode_by_hand(bits)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(MESSAGES, st.integers(0, 71))
def test_turning_the_message_turns_the_code_word(bits: np.ndarray, by: int) -> None:
    assert np.array_equal(encode_bits(np.roll(bits, by)), np.roll(encode_bits(bits), RATE * by))


@settings(derandomize=True, max_examples=15, deadline=None)
@given(MESSAGES, st.floats(1e-3, 1e3))
def test_round_trip_at_any_scale(bits: np.ndarray, scale: float) -> None:
    assert np.array_equal(decode_list(scale * soft(encode_bits(bits)))[0], bits)


def test_any_eight_wrong_signs_are_corrected() -> None:
    # Free distance 18: up to eight hard errors lie nearer to the right word than to any other.
    rng = np.random.default_rng(1)
    for _ in range(20):
        bits = rng.integers(0, 2, 72).astype(np.uint8)
        received = soft(encode_bits(bits))
        received[rng.choice(216, 8, replace=False)] *= -1
        assert np.array_equal(decode_list(received)[0], bits)


def test_the_list_saves_messages_that_the_best_guess_loses() -> None:
    rng = np.random.default_rng(2)
    first = listed = 0
    for _ in range(60):
        bits = rng.integers(0, 2, 72).astype(np.uint8)
        received = soft(encode_bits(bits)) + rng.normal(0, 1.15, 216)
        found = decode_list(received)
        first += bool(found) and np.array_equal(found[0], bits)
        listed += any(np.array_equal(one, bits) for one in found)
    assert listed > first
    assert listed >= 52


def test_the_list_is_ordered_and_without_repeats() -> None:
    received = np.random.default_rng(3).normal(0, 1, 216)
    found = decode_list(received)
    likelihood = [float(soft(encode_bits(bits)) @ received) for bits in found]
    assert likelihood == sorted(likelihood, reverse=True)
    assert len({bits.tobytes() for bits in found}) == len(found)


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    received = np.random.default_rng(4).normal(0, 1, 216)
    few, many = decode_list(received, count=2), decode_list(received, count=8)
    assert len(few) <= 2 < len(many) <= 8
    assert few[0].tolist() == many[0].tolist()
    assert len(decode_list(received)) <= LIST_SIZE


def test_silence_says_nothing_in_particular() -> None:
    # No soft value at all: whatever comes back is a word of the code's length, never an error.
    assert all(len(bits) == 72 for bits in decode_list(np.zeros(216)))
