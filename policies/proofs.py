"""Proofs as files: what is handed to an auditor, a witness or a court, and read back strictly.

An inclusion proof is one JSON document. A consistency proof is the text that C2SP tlog-witness
takes: `old` and a size, one base64 hash a line, an empty line, the checkpoint it leads to. Refused:
anything that is not exactly of these forms; what they say is verified elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from policies.audit import InclusionProof
from policies.canonical import MAX_DOCUMENT_BYTES, canonical, parse
from policies.errors import Malformed
from policies.terms import Digest, Document

MAX_HASHES = 63
"""No proof in a tree of up to 2**63 entries is longer (C2SP tlog-witness)."""


class _Inclusion(Document):
    schema_: Literal["facewarrant/log-proof/1"] = Field(alias="schema")
    index: Annotated[int, Field(ge=0)]
    entry: dict[str, Any]
    path: Annotated[list[Digest], Field(max_length=MAX_HASHES)]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log under `checkpoint` (a signed note) only appended to its first `old` entries."""

    old: int
    path: tuple[bytes, ...]
    checkpoint: str


def encode_inclusion(proof: InclusionProof) -> bytes:
    """Return the canonical JSON of an inclusion proof: all an auditor needs but the log's key."""
    return canonical(
        {
            "schema": "facewarrant/log-proof/1",
            "index": proof.index,
            "entry": dict(proof.entry),
            "path": [value.hex() for value in proof.path],
            "checkpoint": proof.checkpoint,
        }
    )


def read_inclusion(data: bytes) -> InclusionProof:
    """Read what `encode_inclusion` wrote, with or without a last newline; raise Malformed."""
    data = data.removesuffix(b"\n")
    parse(data)
    try:
        read = _Inclusion.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Malformed(f"not an inclusion proof: {where}: {error.errors()[0]['msg']}") from error
    path = tuple(bytes.fromhex(value) for value in read.path)
    return InclusionProof(read.entry, read.index, path, read.checkpoint)


def encode_consistency(proof: ConsistencyProof) -> str:
    """Return a consistency proof as the text that a witness takes (C2SP tlog-witness)."""
    hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof.path)
    return f"old {proof.old}\n{hashes}\n{proof.checkpoint}"


def read_consistency(text: str) -> ConsistencyProof:
    """Read what `encode_consistency` wrote; raise Malformed."""
    head, separator, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    number = first.removeprefix("old ")
    plain = number.isascii() and number.isdigit() and len(number) < 19
    if len(text) > 2 * MAX_DOCUMENT_BYTES or not separator or first == number or not plain:
        raise Malformed("not a consistency proof: 'old' and a size, hashes, an empty line")
    if number != str(int(number)) or len(lines) > MAX_HASHES:
        raise Malformed("the consistency proof's size has leading zeros, or it is too long")
    try:
        path = tuple(base64.b64decode(line, validate=True) for line in lines)
    except (binascii.Error, ValueError) as error:
        raise Malformed("the consistency proof holds a line that is not base64") from error
    if any(len(value) != 32 for value in path):
        raise Malformed("the consistency proof holds a hash that does not have 32 bytes")
    return ConsistencyProof(int(number), path, checkpoint)
