"""The boxes of a manifest store (JUMBF, ISO/IEC 19566-5): which manifest is the active one.

Cuts a store down to its active manifest, the last one in it (C2PA specification 2.2, 11.1.4).
Nothing is verified here. Refused: a store whose boxes do not fill it exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.errors import Malformed

MAX_BOXES: Final = 10_000
"""Manifests in one store; a chain of edits has dozens."""

_HEAD = 8  # length of the box and its type, four bytes each


def cut_active(store: bytes) -> bytes:
    """Return a manifest store that holds the active manifest of `store` alone.

    Its ingredients are not in it, so it proves less than the whole. Raises Malformed.
    """
    outer = list(_boxes(store))
    if len(outer) != 1 or outer[0][0] != b"jumb":
        raise Malformed("a manifest store is one JUMBF superbox")
    description, *manifests = _boxes(outer[0][1][_HEAD:])
    if description[0] != b"jumd" or not manifests:
        raise Malformed("a manifest store has a description and at least one manifest")
    inner = description[1] + manifests[-1][1]
    return (_HEAD + len(inner)).to_bytes(4, "big") + b"jumb" + inner


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and bytes of every box, head included."""
    place = count = 0
    while place < len(data):
        count += 1
        length = int.from_bytes(data[place : place + 4], "big")
        # 0 (to the end) and 1 (64-bit length) are legal elsewhere; no store of ours needs them.
        if length < _HEAD or place + length > len(data) or count > MAX_BOXES:
            raise Malformed("the boxes of the manifest store do not fill it")
        yield data[place + 4 : place + _HEAD], data[place : place + length]
        place += length
    if count == 0:
        raise Malformed("the manifest store is empty")
