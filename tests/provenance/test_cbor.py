"""CBOR is read whole or refused; nothing a hostile signature holds can end otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import Malformed
from provenance.cbor import MAX_DEPTH, MAX_ITEMS, decode_cbor

Encode = Callable[[Any], bytes]

ITEMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=300)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=4) | st.integers(-9, 9), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(derandomize=True, max_examples=200)
@given(ITEMS)
def test_what_is_written_is_read(encode_cbor: Encode, item: Any) -> None:
    found = decode_cbor(encode_cbor(item))
    assert found == item
    assert repr(found) == repr(item), "1 is not True"


def test_tag_is_read_past(encode_cbor: Encode) -> None:
    assert decode_cbor(b"\xd2" + encode_cbor([1])) == [1]
    assert decode_cbor(b"\xda\x00\x00\x00\x12" + encode_cbor("x")) == "x"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends early"),
        (b"\x18", "ends early"),
        (b"\x42\x00", "ends early"),
        (b"\x5b" + b"\xff" * 8, "ends early"),
        (b"\x9b" + b"\xff" * 8, "ends early"),
        (b"\x00\x00", "bytes follow"),
        (b"\x61\xff", "not UTF-8"),
        (b"\x9f\xff", "left open"),
        (b"\x5f\xff", "left open"),
        (b"\x1c", "left open"),
        (b"\xf9\x3c\x00", "a float"),
        (b"\xf8\x20", "a float"),
        (b"\xf7", "without meaning"),
        (b"\xe0", "without meaning"),
        (b"\xa2\x01\x00\x01\x00", "a key twice"),
        (b"\xa1\x80\x00", "no name"),
        (b"\xa1\xf5\x00", "no name"),
        (b"\xa1\x40\x00", "no name"),
        (b"\x81" * (MAX_DEPTH + 1) + b"\x00", "too deep"),
        (b"\xc6" * (MAX_DEPTH + 1) + b"\x00", "too deep"),
    ],
)
def test_what_is_not_for_us_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_cbor(data)


def test_deepest_nesting_is_read() -> None:
    assert decode_cbor(b"\x81" * MAX_DEPTH + b"\x00")


@pytest.mark.parametrize("one", [b"\x00", b"\xa0", b"\x81\x00", b"\xa1\x00\x00"])
def test_items_are_counted_on_all_levels(one: bytes) -> None:
    """A byte makes an object of dozens: eight million empty maps took 500 MB."""
    count = (MAX_ITEMS - 1) // {b"\x00": 1, b"\xa0": 1, b"\x81\x00": 2}.get(one, 3)
    found = decode_cbor(b"\x99" + count.to_bytes(2, "big") + one * count)
    assert isinstance(found, list)
    assert len(found) == count
    more = MAX_ITEMS
    with pytest.raises(Malformed, match="more than 10000 items"):
        decode_cbor(b"\x9a" + more.to_bytes(4, "big") + one * more)


@settings(derandomize=True, max_examples=500)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode_cbor(data)
    except Malformed as error:
        assert error.message  # noqa: PT017
