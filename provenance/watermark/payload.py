"""What a mark says: a random id and a version, and who may make one say it.

A `Payload` is a capability: only `issue_payload` makes one, and only for a warrant that is active
at that moment. The id is random and holds nothing about people; it leads to a registry row. Sixteen
keyed bits after it make a damaged or invented id read as unreadable, not as another id.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Final, Literal

import numpy as np

from policies.errors import Malformed
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.watermark.coding import Bits

ID_BYTES: Final = 6
"""48 bits: a random id collides with one of a million others at 4e-9 (watermark.md, section 7)."""
VERSION: Final = 1
PAYLOAD_BITS: Final = 68
"""4 version + 48 id + 16 keyed checksum."""

_MAC_BYTES = 2
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


@dataclass(frozen=True, slots=True)
class Detection:
    """What a reader found in one picture.

    `state`: "read" (mark and id), or "present_unreadable" (a mark of this key, its id damaged; then
    `mark_id` and `version` are None). `p_value`: upper bound on the chance that any picture
    without this key's mark gives such a statistic, `searched` positions included. `statistic`: z.
    """

    mark_id: str | None
    version: int | None
    state: Literal["read", "present_unreadable"]
    p_value: float
    statistic: float
    searched: int


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
    """Return the 68 bits to embed, each 0 or 1: version, id, keyed checksum."""
    body = bytes([version]) + bytes.fromhex(mark_id)
    bits = np.unpackbits(np.frombuffer(body + _checksum(body, key), np.uint8))
    return bits[4:]


def unpack_bits(bits: Bits, *, key: bytes) -> tuple[str, int] | None:
    """Return (mark id, version), or None unless version and checksum hold.

    Random bits pass with chance 2^-20: 16 checksum bits, and one of 16 versions is known.
    """
    whole = np.packbits(np.concatenate([np.zeros(4, np.uint8), bits])).tobytes()
    body, checksum = whole[: 1 + ID_BYTES], whole[1 + ID_BYTES :]
    if body[0] != VERSION or not hmac.compare_digest(checksum, _checksum(body, key)):
        return None
    return body[1:].hex(), body[0]


def _checksum(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()[:_MAC_BYTES]
