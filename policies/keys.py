"""Ed25519 keys: who may sign what, and which keys are never accepted.

A key has one role. A signature is over a domain-prefixed canonical document (`canonical.py`), so it
cannot be moved between kinds of document. Small-order public keys are refused: such a key verifies
one fixed signature over almost any message (RFC 8032 leaves the check to the application; measured
with `cryptography`, which accepts them).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policies.canonical import signing_input
from policies.errors import BadSignature

Role = Literal["subject", "controller", "warrant", "log"]

_P = 2**255 - 19
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# y coordinates of the eight points of small order on edwards25519: 0, 1, -1 and +-y8.
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})

# bytes.fromhex also takes capitals and spaces; one key or signature has one spelling here.
_KEY_HEX = re.compile(r"[0-9a-f]{64}")
_SIGNATURE_HEX = re.compile(r"[0-9a-f]{128}")


def refuse_small_order(raw: bytes) -> None:
    """Raise BadSignature for a public key of small order or a non-canonical encoding."""
    if len(raw) != 32:
        raise BadSignature(f"an Ed25519 public key has 32 bytes, this one {len(raw)}")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER_Y:
        raise BadSignature(
            "the public key has small order: it would accept forged signatures",
            mend="enrol a freshly generated Ed25519 key",
        )


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, checked against small order; `raw` is its 32 bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        refuse_small_order(self.raw)

    @classmethod
    def from_hex(cls, text: str) -> PublicKey:
        """Read 64 lower-case hex digits; raise BadSignature for anything else."""
        if not _KEY_HEX.fullmatch(text):
            raise BadSignature("a public key is written as 64 lower-case hex digits")
        return cls(bytes.fromhex(text))

    @property
    def hex(self) -> str:
        """The key as 64 lower-case hex digits."""
        return self.raw.hex()

    @property
    def kid(self) -> str:
        """Key id: the first 16 hex digits of SHA-256 over the raw key."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def verify(self, kind: str, body: Mapping[str, Any], signature: str) -> None:
        """Return if `signature` (128 hex digits) is ours over `body`; else raise BadSignature."""
        self.verify_bytes(signing_input(kind, body), signature)

    def verify_bytes(self, message: bytes, signature: str) -> None:
        """The same over bytes that are already domain-separated."""
        if not _SIGNATURE_HEX.fullmatch(signature):
            raise BadSignature("a signature is written as 128 lower-case hex digits")
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(bytes.fromhex(signature), message)
        except (InvalidSignature, ValueError) as error:
            raise BadSignature(f"the signature is not by key {self.kid}") from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key; never printed, written only through `to_pem`."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Make the key of a 32-byte seed (RFC 8032), for golden vectors; else BadSignature."""
        if len(seed) != 32:
            raise BadSignature(f"the seed of an Ed25519 key has 32 bytes, this one {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, data: bytes) -> SigningKey:
        """Read an unencrypted PKCS#8 PEM file; raise BadSignature when it is no Ed25519 key."""
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadSignature("the key file is not an unencrypted PKCS#8 PEM file") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadSignature("the key file does not hold an Ed25519 key")
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the PKCS#8 PEM form, unencrypted; the caller keeps the file private."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, kind: str, body: Mapping[str, Any]) -> str:
        """Sign the canonical body under the domain of `kind`; 128 hex digits."""
        return self.sign_bytes(signing_input(kind, body))

    def sign_bytes(self, message: bytes) -> str:
        """Sign bytes that are already domain-separated; 128 hex digits."""
        return self._key.sign(message).hex()


@dataclass(frozen=True, slots=True)
class CommitmentKey:
    """A tenant's secret for commitments: what a log or manifest says instead of an identity."""

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != 32:
            raise BadSignature(f"a commitment key has 32 bytes, this one {len(self._secret)}")

    def commit(self, kind: str, value: str) -> str:
        """Return HMAC-SHA256 over kind and value, 64 hex digits; links nothing without the key."""
        message = f"facewarrant/commit/{kind}".encode() + b"\x00" + value.encode()
        return hmac.digest(self._secret, message, "sha256").hex()
