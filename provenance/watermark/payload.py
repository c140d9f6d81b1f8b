"""What a mark says: a random id and a version, and who may make one say it.

A `Payload` is a capability: only `issue_payload` makes one, and only for a warrant that is active
at that moment. The id is random and holds nothing about people; it leads to a registry row. Twenty
keyed bits after it make a damaged or invented id read as unreadable, not as another id.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Final

import numpy as np

from policies.errors import Malformed
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.watermark.coding import Bits

ID_BYTES: Final = 6
"""48 bits: a random id collides with one of a million others at 4e-9."""
VERSION: Final = 2
CHECK_BITS: Final = 20
PAYLOAD_BITS: Final = 72
"""4 version + 48 id + 20 keyed checksum: with the carrier, which follows from the id, 32 bits of a
word that was not written with the key must be right by chance (`reading`)."""

_DOOR = object()


@dataclass(frozen=True, slots=True)
class Payload:
    """The id and version one picture will carry, bound to its warrant; see `issue_payload`."""

    mark_id: str
    version: int
    warrant: ActiveWarrant = field(repr=False)
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise WarrantInvalid(
                "a Payload cannot be built by hand",
                code="WARRANT-REQUIRED",
                mend="use issue_payload(warrant)",
            )

    def __reduce__(self) -> tuple[object, ...]:
        raise WarrantInvalid("a Payload cannot leave its process", code="WARRANT-REQUIRED")


def issue_payload(warrant: ActiveWarrant, *, rng: Callable[[int], bytes]) -> Payload:
    """Return a payload with a fresh random id for one picture made under `warrant`.

    `rng(n)` returns n secret random bytes (`os.urandom` in production). Raises `WarrantInvalid`
    unless the warrant holds now, `Malformed` where `rng` does not give six bytes.
    """
    require_active(warrant).require()
    drawn = rng(ID_BYTES)
    if len(drawn) != ID_BYTES:
        raise Malformed(f"the random source gave {len(drawn)} bytes instead of {ID_BYTES}")
    return Payload(drawn.hex(), VERSION, warrant, door=_DOOR)


def require_payload(value: object) -> Payload:
    """Return `value` if it is a Payload whose warrant holds now; else raise `WarrantInvalid`."""
    if type(value) is not Payload or not hasattr(value, "warrant"):
        raise WarrantInvalid(
            "marking needs a payload issued under an active warrant", code="WARRANT-REQUIRED"
        )
    require_active(value.warrant).require()
    return value


def pack_bits(mark_id: str, version: int, *, key: bytes) -> Bits:
    """Return the 72 bits to embed, each 0 or 1: version, id, keyed checksum."""
    said = int.from_bytes(bytes.fromhex(mark_id)) | version << 8 * ID_BYTES
    word = said << CHECK_BITS | _checksum(mark_id, version, key)
    return np.unpackbits(np.frombuffer(word.to_bytes(PAYLOAD_BITS // 8), np.uint8))


def unpack_bits(bits: Bits, *, key: bytes) -> tuple[str, int] | None:
    """Return (mark id, version), or None unless version and checksum hold.

    Random bits pass with chance 2^-24: 20 checksum bits, and one of 16 versions is known.
    """
    word = int.from_bytes(np.packbits(bits).tobytes())
    said, check = word >> CHECK_BITS, word & (1 << CHECK_BITS) - 1
    version = said >> 8 * ID_BYTES
    mark_id = (said & (1 << 8 * ID_BYTES) - 1).to_bytes(ID_BYTES).hex()
    if version != VERSION or check != _checksum(mark_id, version, key):
        return None
    return mark_id, version


def _checksum(mark_id: str, version: int, key: bytes) -> int:
    code = hmac.digest(key, bytes([version]) + bytes.fromhex(mark_id), hashlib.sha256)
    return int.from_bytes(code[:4]) >> 32 - CHECK_BITS
