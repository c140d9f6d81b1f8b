"""CBOR (RFC 8949) as claim signatures are written: read whole, or refused.

Small on purpose: whole numbers, bytes, text, lists, maps, true, false and null; a tag is read past.
Refused: lengths left open, floats and other simple values, a map key twice or of another type than
number or text, deep nesting, more than `MAX_ITEMS` items, text that is not UTF-8, and bytes left
over. Nothing here is verified.
"""

from __future__ import annotations

from typing import Final

from policies.errors import Malformed

MAX_DEPTH: Final = 16
"""Deepest nesting; a claim signature has five levels."""
MAX_ITEMS: Final = 10_000
"""Items on all levels; a claim signature has dozens, and a byte each makes objects of 60."""

_SIMPLE: Final = {20: False, 21: True, 22: None}

Item = int | bytes | str | bool | None | list["Item"] | dict["int | str", "Item"]


def decode_cbor(data: bytes) -> Item:
    """Return the one item that `data` is; raise Malformed."""
    reader = _Reader(data)
    item = reader.read(0)
    if reader.at != len(data):
        raise Malformed("bytes follow the CBOR item")
    return item


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.items = 0

    def read(self, depth: int) -> Item:
        self._count(depth)
        major, number = self._head()
        match major:
            case 0:
                item: Item = number
            case 1:
                item = -1 - number
            case 2:
                item = self._take(number)
            case 3:
                item = self._text(number)
            case 4:
                item = [self.read(depth + 1) for _ in range(number)]
            case 5:
                item = self._map(number, depth)
            case 6:
                item = self.read(depth + 1)
            case _:
                if number not in _SIMPLE:
                    raise Malformed("the CBOR holds a float or a value without meaning here")
                item = _SIMPLE[number]
        return item

    def _count(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Malformed("the CBOR is nested too deep")
        self.items += 1
        if self.items > MAX_ITEMS:
            raise Malformed(f"the CBOR has more than {MAX_ITEMS} items")

    def _head(self) -> tuple[int, int]:
        """Return the major type and its number: a value, a length, a count or a tag."""
        first = self._take(1)[0]
        major, info = first >> 5, first & 0x1F
        if info < 24:
            return major, info
        if info > 27 or major == 7:
            raise Malformed("the CBOR has a length left open, or a float")
        return major, int.from_bytes(self._take(1 << (info - 24)), "big")

    def _take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Malformed("the CBOR ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def _text(self, count: int) -> str:
        try:
            return self._take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("the CBOR holds text that is not UTF-8") from error

    def _map(self, count: int, depth: int) -> dict[int | str, Item]:
        found: dict[int | str, Item] = {}
        for _ in range(count):
            key = self.read(depth + 1)
            if isinstance(key, bool) or not isinstance(key, int | str) or key in found:
                raise Malformed("a CBOR map has a key twice, or one that is no name")
            found[key] = self.read(depth + 1)
        return found
