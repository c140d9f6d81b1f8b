"""Names for bytes: plain SHA-256 where anyone may guess them, keyed where nobody should.

Refuses short keys and unnamed domains: an unkeyed hash of a face, a name or a warrant can be
reversed by trying candidates, and a commitment without a domain can be replayed in another place.
"""

from __future__ import annotations

import hashlib
import hmac

from policies.digest import sha256_hex
from policies.errors import Malformed

__all__ = ["KEY_BYTES", "commit", "sha256_hex"]

KEY_BYTES = 32
"""Smallest key for a commitment: the output size of SHA-256 (RFC 2104, section 3)."""


def commit(data: bytes, *, key: bytes, domain: str) -> str:
    """Return the keyed, domain-separated commitment to `data`: HMAC-SHA256 as 64 hex digits.

    `key` is at least 32 secret bytes; `domain` is a non-empty ASCII name such as
    "facewarrant/registry/warrant". The domain goes in with its length (8 bytes, big-endian), so no
    two pairs of domain and data give the same input. Raises `Malformed` for a bad key or domain.
    """
    if len(key) < KEY_BYTES:
        raise Malformed(
            f"a commitment key has at least {KEY_BYTES} bytes, got {len(key)}",
            mend="draw the key from the operating system's random source",
        )
    if not domain or not domain.isascii():
        raise Malformed("a commitment needs a non-empty ASCII domain", mend="name the use")
    name = domain.encode("ascii")
    return hmac.new(key, len(name).to_bytes(8, "big") + name + data, hashlib.sha256).hexdigest()
