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
from provenance.errors import MarkKeyRefused, UnknownWatermark
from provenance.watermark import (
    DEFAULT_WATERMARK,
    Payload,
    issue_payload,
    list_watermarks,
    open_watermark,
)
from provenance.watermark.payload import PAYLOAD_BITS, pack_bits, require_payload, unpack_bits

KEY = bytes(range(32))


def six(n: int) -> bytes:
    return bytes(range(n))


def test_a_payload_carries_the_drawn_id(active_warrant: Callable[..., ActiveWarrant]) -> None:
    payload = issue_payload(active_warrant(), rng=six)
    assert (payload.mark_id, payload.version) == ("000102030405", 1)
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


def test_a_random_source_that_falls_short_is_refused(
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    with pytest.raises(Malformed):
        issue_payload(active_warrant(), rng=lambda n: bytes(n - 1))


def test_a_payload_cannot_be_forged_changed_or_carried_off(
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    warrant = active_warrant()
    payload = issue_payload(warrant, rng=six)
    with pytest.raises(WarrantInvalid):
        Payload("000102030405", 1, warrant)
    with pytest.raises(AttributeError):
        payload.mark_id = "ffffffffffff"  # type: ignore[misc]
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(WarrantInvalid):
            carry(payload)


@pytest.mark.parametrize("value", [None, "000102030405", object()])
def test_only_a_payload_is_a_payload(value: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        require_payload(value)
    assert caught.value.code == "WARRANT-REQUIRED"


@settings(derandomize=True, max_examples=50)
@given(st.binary(min_size=6, max_size=6))
def test_bits_round_trip(drawn: bytes) -> None:
    bits = pack_bits(drawn.hex(), 1, key=KEY)
    assert bits.shape == (PAYLOAD_BITS,)
    assert set(bits.tolist()) <= {0, 1}
    assert unpack_bits(bits, key=KEY) == (drawn.hex(), 1)


def test_any_single_wrong_bit_is_unreadable() -> None:
    bits = pack_bits("0123456789ab", 1, key=KEY)
    for i in range(PAYLOAD_BITS):
        wrong = bits.copy()
        wrong[i] ^= 1
        assert unpack_bits(wrong, key=KEY) is None


def test_another_key_or_an_unknown_version_is_unreadable() -> None:
    assert unpack_bits(pack_bits("0123456789ab", 1, key=KEY), key=KEY[::-1]) is None
    assert unpack_bits(pack_bits("0123456789ab", 2, key=KEY), key=KEY) is None


def test_random_bits_pass_about_once_in_a_million() -> None:
    rng = np.random.default_rng(4)
    found = [unpack_bits(b, key=KEY) for b in rng.integers(0, 2, (5000, 68)).astype(np.uint8)]
    assert sum(one is not None for one in found) == 0


def test_watermarks_open_by_name() -> None:
    assert DEFAULT_WATERMARK in list_watermarks()
    for name in list_watermarks():
        mark = open_watermark(name, key=KEY)
        assert mark.alg.startswith(f"org.facewarrant.{name}.")
        assert mark.detect(np.zeros((256, 256, 3), np.uint8)) is None


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(MarkKeyRefused):
        open_watermark(DEFAULT_WATERMARK, key=key)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownWatermark) as caught:
        open_watermark("none", key=KEY)
    assert DEFAULT_WATERMARK in caught.value.mend
