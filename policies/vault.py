"""Face templates at rest: encrypted under a key of their own, bound to their record.

AES-256-GCM with a fresh data key per record, wrapped by the deployment's key-encryption key
(RFC 3394). The record id and model are authenticated data, so a ciphertext moved to another record
or read as another model's template does not open. Refused: a wrong key, a moved or changed blob.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from policies.canonical import canonical
from policies.errors import Error

_NONCE_BYTES = 12


class TemplateUnreadable(Error):
    """A stored template does not open: wrong key, other record, other model, or changed bytes."""

    code = "TEMPLATE-UNREADABLE"


@dataclass(frozen=True, slots=True)
class SealedTemplate:
    """An encrypted template and its wrapped data key."""

    wrapped_key: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals and opens templates under one 32-byte key-encryption key."""

    _kek: bytes = field(repr=False)
    _random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def __post_init__(self) -> None:
        if len(self._kek) != 32:
            raise TemplateUnreadable(f"the vault key has 32 bytes, this one {len(self._kek)}")

    def seal(self, template: bytes, *, record_id: str, model_sha256: str) -> SealedTemplate:
        """Encrypt a template for one record and one model."""
        data_key, nonce = self._random(32), self._random(_NONCE_BYTES)
        sealed = AESGCM(data_key).encrypt(nonce, template, _bound_to(record_id, model_sha256))
        return SealedTemplate(aes_key_wrap(self._kek, data_key), nonce + sealed)

    def open(self, sealed: SealedTemplate, *, record_id: str, model_sha256: str) -> bytes:
        """Decrypt a template; raise TemplateUnreadable for anything but what was sealed."""
        nonce, body = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            data_key = aes_key_unwrap(self._kek, sealed.wrapped_key)
            return AESGCM(data_key).decrypt(nonce, body, _bound_to(record_id, model_sha256))
        except (InvalidUnwrap, InvalidTag, ValueError) as error:
            raise TemplateUnreadable("the stored face template does not open") from error


def _bound_to(record_id: str, model_sha256: str) -> bytes:
    return canonical({"kind": "template", "model_sha256": model_sha256, "record_id": record_id})
