"""Only an active warrant can issue a payload, and damaged bits are not another id."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import Malformed
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.watermark import Payload, issue_payload
from provenance.watermark.payload import (
    CHECK_BITS,
    PAYLOAD_BITS,
    VERSION,
    pack_bits,
    require_payload,
    unpack_bits,
)

KEY = bytes(range(32))


def six(n: int) -> bytes:
    return bytes(range(n))


def test_a_payload_carries_the_drawn_id(active_warrant: Callable[..., ActiveWarrant]) -> None:
    payload = issue_payload(active_warrant(), rng=six)
    assert (payload.mark_id, payload.version) == ("000102030405", VERSION)
    assert require_payload(payload) is payload
    assert "warrant" not in repr(payload).lower()


@pytest.mark.parametrize("warrant", [None, True, object(), {"warrant_id": "x"}])
def test_no_warrant_no_payload(warrant: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        issue_payload(warrant, rng=six)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_an_expired_warrant_issues_nothing(
    office: Any, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    warrant = active_warrant()
    office.clock.now += 601
    with pytest.raises(WarrantInvalid) as caught:
        issue_payload(warrant, rng=six)
    assert caught.value.code == "WARRANT-EXPIRED"


def test_nothing_is_drawn_before_the_warrant_holds() -> None:
    def never(_: int) -> bytes:
        pytest.fail("drawn without a warrant")

    with pytest.raises(WarrantInvalid):
        issue_payload(None, rng=never)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [-6, -1, 1])
def test_a_random_source_of_another_length_is_refused(
    change: int, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    with pytest.raises(Malformed, match=f"{6 + change} bytes instead of 6"):
        issue_payload(active_warrant(), rng=lambda n: bytes(n + change))


def test_a_payload_cannot_be_forged_changed_or_carried_off(
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    warrant = active_warrant()
    payload = issue_payload(warrant, rng=six)
    with pytest.raises(WarrantInvalid):
        Payload("000102030405", VERSION, warrant)
    with pytest.raises(AttributeError):
        payload.mark_id = "ffffffffffff"  # type: ignore[misc]
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(WarrantInvalid):
            carry(payload)


@pytest.mark.parametrize("value", [None, "000102030405", object(), object.__new__(Payload)])
def test_only_a_payload_is_a_payload(value: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        require_payload(value)
    assert caught.value.code == "WARRANT-REQUIRED"


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.binary(min_size=6, max_size=6))
def test_bits_round_trip(drawn: bytes) -> None:
    bits = pack_bits(drawn.hex(), VERSION, key=KEY)
    assert bits.shape == (PAYLOAD_BITS,)
    assert set(bits.tolist()) <= {0, 1}
    assert unpack_bits(bits, key=KEY) == (drawn.hex(), VERSION)


def test_the_word_is_version_then_id_then_checksum() -> None:
    bits = "".join(map(str, pack_bits("0123456789ab", VERSION, key=KEY)))
    assert bits[:4] == f"{VERSION:04b}"
    assert int(bits[4:52], 2) == 0x0123456789AB
    assert len(bits[52:]) == CHECK_BITS == 20


def test_any_single_wrong_bit_is_unreadable() -> None:
    bits = pack_bits("0123456789ab", VERSION, key=KEY)
    for i in range(PAYLOAD_BITS):
        wrong = bits.copy()
        wrong[i] ^= 1
        assert unpack_bits(wrong, key=KEY) is None


@pytest.mark.parametrize("version", [v for v in range(16) if v != VERSION])
def test_another_version_is_unreadable_even_with_its_own_checksum(version: int) -> None:
    assert unpack_bits(pack_bits("0123456789ab", version, key=KEY), key=KEY) is None


def test_another_key_is_unreadable() -> None:
    assert unpack_bits(pack_bits("0123456789ab", VERSION, key=KEY), key=KEY[::-1]) is None


def test_random_bits_pass_never_in_five_thousand() -> None:
    # The chance is 2^-24 for each: 3e-4 for all of them, with a fixed seed.
    drawn = np.random.default_rng(4).integers(0, 2, (5000, PAYLOAD_BITS)).astype(np.uint8)
    assert all(unpack_bits(bits, key=KEY) is None for bits in drawn)


def test_every_bit_of_the_checksum_counts() -> None:
    # Of random checksums under the right version and id, one alone passes.
    bits = pack_bits("0123456789ab", VERSION, key=KEY)
    passed = 0
    for low in range(2**10):
        other = bits.copy()
        other[-10:] = [low >> shift & 1 for shift in range(9, -1, -1)]
        passed += unpack_bits(other, key=KEY) is not None
    assert passed == 1
