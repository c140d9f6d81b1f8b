"""The boxes of a manifest store (JUMBF, ISO/IEC 19566-5): which manifest is the active one.

Cuts a store down to its active manifest, the last one in it (C2PA specification 2.2, 11.1.4), and
finds the signature of that manifest. Nothing is verified here. Refused: a store whose boxes do not
fill it exactly; for a signature, a store whose last manifest has another name than the one asked
for, or has not exactly one signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.errors import Malformed

MAX_BOXES: Final = 10_000
"""Manifests in one store; a chain of edits has dozens."""

_HEAD = 8  # length of the box and its type, four bytes each
_FLAGS_AT = _HEAD + 16  # in a description: after its head and the 16 bytes of a type
_HAS_LABEL = 0x02  # ISO/IEC 19566-5, table B.1


def cut_active(store: bytes) -> bytes:
    """Return a manifest store that holds the active manifest of `store` alone.

    Its ingredients are not in it, so it proves less than the whole. Raises Malformed.
    """
    description, *manifests = _inside(store)
    if not manifests:
        raise Malformed("a manifest store has a description and at least one manifest")
    inner = description + manifests[-1]
    return (_HEAD + len(inner)).to_bytes(4, "big") + b"jumb" + inner


def find_signature(store: bytes, manifest_id: str) -> bytes:
    """Return the claim signature (COSE, as CBOR) of the active manifest, which is `manifest_id`.

    Raises Malformed.
    """
    _description, *manifests = _inside(store)
    if not manifests or _label(manifests[-1]) != manifest_id:
        raise Malformed("the last manifest of the store is not the active one")
    _description, *parts = _inside(manifests[-1])
    found = [part for part in parts if _label(part) == "c2pa.signature"]
    if len(found) != 1:
        raise Malformed(f"a manifest has one signature, this has {len(found)}")
    _description, *content = _inside(found[0])
    if len(content) != 1 or content[0][4:_HEAD] != b"cbor":
        raise Malformed("a claim signature is one CBOR box")
    return content[0][_HEAD:]


def _inside(superbox: bytes) -> list[bytes]:
    """Return the boxes in a superbox, whole; the first is its description."""
    outer = list(_boxes(superbox))
    if len(outer) != 1 or outer[0][0] != b"jumb":
        raise Malformed("a manifest store is one JUMBF superbox")
    inner = list(_boxes(superbox[_HEAD:]))
    if inner[0][0] != b"jumd":
        raise Malformed("a JUMBF superbox starts with its description")
    return [whole for _kind, whole in inner]


def _label(superbox: bytes) -> str:
    """Return the name in a superbox's description; empty where it has none."""
    description = _inside(superbox)[0]
    if len(description) <= _FLAGS_AT or not description[_FLAGS_AT] & _HAS_LABEL:
        return ""
    return description[_FLAGS_AT + 1 :].partition(b"\x00")[0].decode("utf-8", "replace")


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
