"""One byte form for every signed document, and one strict way to read it back.

Documents are RFC 8785 (JCS) canonical JSON of objects, strings, booleans, null and integers.
Refused on reading: duplicate keys, floats, NaN and Infinity, integers beyond 2**53 - 1, text that
is not valid UTF-8, documents over the byte cap, and bytes that are not the canonical form of what
they say (so that one document has one signature and one digest).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import rfc8785

from policies.errors import Malformed

MAX_DOCUMENT_BYTES = 64 * 1024
"""A consent record is about 2 kB; 64 kB leaves room for lists and stops a parser bomb."""

MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8785, section 3.2.2.3)."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of a JSON object.

    Raises Malformed for floats and for anything JSON cannot hold.
    """
    try:
        body = dict(value)
        _refuse_floats(body)
        return rfc8785.dumps(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"not a canonical JSON document: {error}") from error


def digest(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical form, 64 lower-case hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def signing_input(kind: str, body: Mapping[str, Any]) -> bytes:
    """Return what is signed: a domain prefix, then the canonical body.

    The prefix keeps a signature over one kind of document from being used for another.
    """
    return f"facewarrant/{kind}/1".encode() + b"\x00" + canonical(body)


def parse(data: bytes, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """Read one canonical JSON object.

    Raises Malformed for oversize, invalid, duplicate-keyed, floating or non-canonical input.
    """
    value = parse_object(data, max_bytes=max_bytes)
    if canonical(value) != data:
        raise Malformed(
            "the document is not in canonical form",
            mend="write it as RFC 8785 JSON; any change of bytes breaks its signatures",
        )
    return value


def parse_object(data: bytes, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """Read a JSON object written by a person: as strict as `parse`, but free in layout."""
    if len(data) > max_bytes:
        raise Malformed(f"the document has {len(data)} bytes; at most {max_bytes} are read")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_bounded_int,
        )
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Malformed(f"expected a JSON object, got {type(value).__name__}")
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return found


def _refuse_floats(value: object) -> None:
    # The serializer writes 1.0 as 1: a float would turn into an integer between two readings.
    if isinstance(value, float):
        raise ValueError("floating point numbers are not signed")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:32]} is not an integer")


def _bounded_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"the integer {text[:32]} is beyond 2**53 - 1")
    return int(text)
