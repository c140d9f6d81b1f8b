"""The bits of the learned mark: what is written is read, and nothing is claimed by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from provenance.errors import MarkKeyRefused
from provenance.watermark.learned.message import (
    DOUBTFUL_BITS,
    MESSAGE_BITS,
    PILOTS,
    bound_false_presence,
    count_pilots,
    derive_message_key,
    read_message,
    write_message,
)
from provenance.watermark.payload import Payload
from provenance.watermark.reading import MAX_FALSE_PRESENCE

KEY = derive_message_key(bytes(range(32)))
ID = "0123456789ab"


def logits_of(bits: np.ndarray) -> np.ndarray:
    """Logits of a reader that is right about every bit, each a little surer than the last."""
    return ((2.0 * bits - 1) * (1 + np.arange(len(bits)) / 100)).astype(np.float32)


def test_what_is_written_is_read(payload: Payload) -> None:
    logits = logits_of(write_message(payload, KEY))
    assert logits.shape == (MESSAGE_BITS,)
    assert count_pilots(logits, KEY) == PILOTS
    assert read_message(logits, KEY) == (ID, payload.version)


@pytest.mark.parametrize("wrong", range(1, 2**DOUBTFUL_BITS))
def test_any_of_the_least_certain_bits_may_be_wrong(payload: Payload, wrong: int) -> None:
    logits = logits_of(write_message(payload, KEY))
    for place in range(DOUBTFUL_BITS):
        logits[PILOTS + 7 * place] *= -0.01 if wrong >> place & 1 else 0.01
    assert read_message(logits, KEY) == (ID, payload.version)


def test_a_wrong_bit_that_is_certain_makes_the_id_unreadable(payload: Payload) -> None:
    logits = logits_of(write_message(payload, KEY))
    logits[-1] *= -1
    assert read_message(logits, KEY) is None


def test_the_likelier_of_two_candidates_is_taken_first(
    payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []
    monkeypatch.setattr(
        "provenance.watermark.learned.message.unpack_bits",
        lambda bits, *, key: tried.append(bits.tobytes()),
    )
    logits = logits_of(write_message(payload, KEY))
    read_message(logits, KEY)
    first = (logits[PILOTS:] > 0).astype(np.uint8) ^ KEY.pad[PILOTS:]
    apart = [sum(a != b for a, b in zip(first.tobytes(), one, strict=True)) for one in tried]
    assert len(set(tried)) == len(tried) == 2**DOUBTFUL_BITS
    assert apart[0] == 0
    assert apart[1:4] == [1, 1, 1]
    assert apart[-1] == DOUBTFUL_BITS


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(MarkKeyRefused):
        derive_message_key(bytes(length))


def test_a_key_is_not_shown() -> None:
    assert "pad" not in repr(KEY)
    assert "mac" not in repr(KEY)


def test_the_bound_is_the_binomial_tail_times_the_places() -> None:
    assert bound_false_presence(PILOTS, 1) == 2.0**-PILOTS
    assert bound_false_presence(PILOTS - 1, 8) == 8 * 33 / 2**32
    assert bound_false_presence(PILOTS // 2, 1) == pytest.approx(
        0.5 + math.comb(PILOTS, PILOTS // 2) / 2 ** (PILOTS + 1)
    )
    assert bound_false_presence(0, 1) == 1.0
    assert bound_false_presence(PILOTS // 2, 1_000) == 1.0


def test_what_a_claim_needs_with_one_key_and_with_four() -> None:
    def needed(searched: int) -> int:
        sure = [
            m for m in range(PILOTS + 1) if bound_false_presence(m, searched) <= MAX_FALSE_PRESENCE
        ]
        return min(sure)

    assert needed(1) == 30
    assert needed(8) == 30
    assert needed(8 * 4) == 31
    # A clip looks six times: with four keys every pilot must match, and then it still is a claim.
    assert needed(8 * 6) == 31
    assert needed(8 * 4 * 6) == 32


@pytest.mark.parametrize("answer", ["all ones", "all zeros", "nothing", "a message of another key"])
def test_whatever_a_reader_answers_other_keys_match_by_chance(
    payload: Payload, answer: str
) -> None:
    logits = {
        "all ones": np.ones(MESSAGE_BITS, np.float32),
        "all zeros": -np.ones(MESSAGE_BITS, np.float32),
        "nothing": np.full(MESSAGE_BITS, np.nan, np.float32),
        "a message of another key": logits_of(write_message(payload, KEY)),
    }[answer]
    keys = [derive_message_key(number.to_bytes(32, "big")) for number in range(2_000)]
    counts = np.array([count_pilots(logits, key) for key in keys])
    # Mean 16, deviation sqrt(8); a fixed set of keys, so these are no chances but facts.
    assert abs(counts.mean() - PILOTS / 2) < 4 * math.sqrt(8 / 2_000)
    assert abs(counts.var() - 8) < 1
    assert min(bound_false_presence(int(count), 1) for count in counts) > MAX_FALSE_PRESENCE
    assert [read_message(logits, key) for key in keys[:200]] == [None] * 200
