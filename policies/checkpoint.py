"""Signed tree heads in the C2SP tlog-checkpoint form, so that any transparency tool can read them.

The text is origin, size and base64 root, one a line; after an empty line come the signatures: em
dash, name, base64 of key id and signature (C2SP signed-note and tlog-checkpoint). Refused: another
origin, a size with leading zeros, no signature by the log's key, one that does not verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from policies.errors import BadSignature, Malformed
from policies.keys import PublicKey, SigningKey

_DASH = "\N{EM DASH}"
_ED25519 = b"\x01"  # signature type byte of C2SP signed-note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: `size` entries under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes


def sign_checkpoint(checkpoint: Checkpoint, *, key: SigningKey) -> str:
    """Return the signed note of a checkpoint."""
    text = _text(checkpoint)
    blob = _key_id(checkpoint.origin, key.public) + bytes.fromhex(key.sign_bytes(text.encode()))
    return f"{text}\n{_DASH} {checkpoint.origin} {base64.b64encode(blob).decode()}\n"


def open_checkpoint(note: str, *, origin: str, key: PublicKey) -> Checkpoint:
    """Return the checkpoint of a note signed by `key`; raise Malformed or BadSignature.

    Signature lines by other keys are ignored, as the note format demands.
    """
    text, separator, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3 or lines[0] != origin:
        raise Malformed(f"not a checkpoint of {origin}")
    checkpoint = Checkpoint(origin, _read_size(lines[1]), _read_root(lines[2]))
    for line in signatures.splitlines():
        prefix, _, blob = line.rpartition(" ")
        raw = _decode(blob)
        if prefix == f"{_DASH} {origin}" and raw[:4] == _key_id(origin, key):
            key.verify_bytes(f"{text}\n".encode(), raw[4:].hex())
            return checkpoint
    raise BadSignature(f"the checkpoint is not signed by the log key {key.kid}")


def _text(checkpoint: Checkpoint) -> str:
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def _key_id(name: str, key: PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def _read_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text):
        raise Malformed("the checkpoint's size is not a plain decimal number")
    return int(text)


def _read_root(text: str) -> bytes:
    root = _decode(text)
    if len(root) != 32:
        raise Malformed("the checkpoint's root does not have 32 bytes")
    return root


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("the checkpoint holds text that is not base64") from error
    if base64.b64encode(data).decode() != text:  # the last digit has bits that nobody reads
        raise Malformed("the checkpoint holds base64 that is not in canonical form")
    return data
