"""The 104 bits of the learned mark, and when a reader may say that they are there.

32 pilot bits (zeros) and the 72 packed bits of a payload, all XORed with a pad derived from the
key. Uncoded: the code of the default mark would make 248 raw bits of them, and for networks trained
half an hour 64-100 are plausible. Soft decisions come back through a
list of eight candidates and the payload's checksum.

The pad is secret and uniform. Whatever a reader answers for a picture that was made without the
key, each pilot therefore matches with chance exactly 1/2, independently of the others: the number
of matches is binomial, for any picture and any network. A picture made with the key, or with a mark
copied from one, is not covered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provenance.errors import MarkKeyRefused
from provenance.watermark.coding import Bits
from provenance.watermark.pattern import KEY_BYTES
from provenance.watermark.payload import PAYLOAD_BITS, Payload, pack_bits, unpack_bits

PILOTS: Final = 32
"""With one key and 8 orientations 30 must match (8 * 529 / 2^32 = 9.9e-7), with four keys 31."""
MESSAGE_BITS: Final = PILOTS + PAYLOAD_BITS
DOUBTFUL_BITS: Final = 3
"""All eight settings of the three least certain bits are tried against the checksum: a damaged id
passes as another with chance at most 8 * 2^-20."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MessageKey:
    """What one deployment key means for the bits: the pad, uint8 (104,), and the checksum's key."""

    pad: Bits = field(repr=False)
    mac_key: bytes = field(repr=False)


def derive_message_key(key: bytes) -> MessageKey:
    """Return pad and checksum key of a 32-byte key (HKDF-SHA256); raises `MarkKeyRefused`."""
    if len(key) != KEY_BYTES:
        raise MarkKeyRefused(f"a watermark key has {KEY_BYTES} bytes, got {len(key)}")
    stream = np.frombuffer(_derive(key, "pad", -(-MESSAGE_BITS // 8)), np.uint8)
    return MessageKey(np.unpackbits(stream)[:MESSAGE_BITS], _derive(key, "mac", 32))


def write_message(payload: Payload, key: MessageKey) -> Bits:
    """Return the 104 bits to embed, each 0 or 1."""
    packed = pack_bits(payload.mark_id, payload.version, key=key.mac_key)
    return np.concatenate([np.zeros(PILOTS, np.uint8), packed]) ^ key.pad


def count_pilots(logits: Logits, key: MessageKey) -> int:
    """Return how many of the 32 pilots match in `logits`, float32 (104,), positive for a 1."""
    return int(np.sum((logits[:PILOTS] > 0) == (key.pad[:PILOTS] == 1)))


def read_message(logits: Logits, key: MessageKey) -> tuple[str, int] | None:
    """Return (mark id, version) of the likeliest of eight candidates that holds, else None."""
    soft = logits[PILOTS:]
    bits = (soft > 0).astype(np.uint8) ^ key.pad[PILOTS:]
    doubtful = np.argsort(np.abs(soft), kind="stable")[:DOUBTFUL_BITS]
    flips = np.array(list(np.ndindex((2,) * DOUBTFUL_BITS)), np.uint8)
    for flip in flips[np.argsort(flips @ np.abs(soft[doubtful]), kind="stable")]:
        candidate = bits.copy()
        candidate[doubtful] ^= flip
        found = unpack_bits(candidate, key=key.mac_key)
        if found is not None:
            return found
    return None


def bound_false_presence(matches: int, searched: int) -> float:
    """Return P(at least `matches` pilots in any of `searched` places) at most, without our mark.

    The exact binomial tail times the places, however the answers at the places hang together.
    """
    tail = sum(math.comb(PILOTS, count) for count in range(matches, PILOTS + 1))
    return min(1.0, math.ldexp(searched * tail, -PILOTS))


def _derive(key: bytes, use: str, length: int) -> bytes:
    info = f"facewarrant/wm/learned/v1/{use}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)
