"""What a log entry may say: its kinds, the field names of each, and its one byte form.

The names are closed, so that personal data cannot slip in under a name of its own: an entry holds
commitments, digests, rule ids and counts. Refused: an unknown kind, a field that its kind does not
have, a nested or floating value, an entry over 4 kB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from policies.canonical import MAX_INTEGER
from policies.errors import Malformed

EntryKind = Literal[
    "consent_event",
    "decision",
    "warrant",
    "release",
    "abort",
    "erasure",
    "key_event",
    "opt_out",
    "sweep",
    "policy",
    "trust",
    "update",
]

MAX_ENTRY_BYTES = 4096
"""Entries name digests, not data; anything longer is a mistake about what belongs in a log."""

FIELDS: Mapping[EntryKind, frozenset[str]] = MappingProxyType(
    {
        "consent_event": frozenset({"subject", "event", "seq", "head"}),
        "decision": frozenset(
            {"request", "decision", "allow", "reasons", "facts", "policy", "subjects", "notes"}
        ),
        "warrant": frozenset({"warrant", "decision"}),
        "release": frozenset({"warrant", "manifest", "output", "time_stamp"}),
        "abort": frozenset({"warrant", "reason"}),
        "erasure": frozenset({"receipt", "subject"}),
        "key_event": frozenset({"event", "role", "kid"}),
        "opt_out": frozenset({"event", "entry"}),
        "sweep": frozenset({"what", "count", "due"}),
        "policy": frozenset({"event", "policy"}),
        # Whoever has the file reads the id of its manifest inside it, so its digest tells no more.
        "update": frozenset({"manifest", "update", "file", "store", "subjects"}),
        "trust": frozenset({"event", "name", "sha256"}),
    }
)
"""The only field names that an entry of each kind may have.

The log alone sets the others: `v` (of this form), `kind` and `at` (unix seconds).
"""

_OF_WARRANT = frozenset({"warrant", "release", "abort"})
POLICY = "policy"
"""What every entry about the policy in force is about, so that the newest is one look-up."""

# Plain json is four to five times faster than a JCS library (measured: 4 against 20 us an
# entry) and gives the same bytes here: names are ASCII, values flat, numbers bounded integers.
_ENCODE = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode

_DECODE = json.JSONDecoder().decode


def encode_entry(kind: EntryKind, content: Mapping[str, Any], *, at: int) -> bytes:
    """Return the canonical bytes (RFC 8785) of an entry dated `at`, unix seconds.

    Values are text, booleans, integers within +-(2**53 - 1), or lists of these. Raises Malformed
    for anything else, for an unknown kind or field, and for more than `MAX_ENTRY_BYTES`.
    """
    if kind not in FIELDS:
        raise Malformed(f"no log entry is of kind {kind!r}")
    if not content.keys() <= FIELDS[kind]:
        raise Malformed(
            f"a log entry of kind '{kind}' has no field {sorted(content.keys() - FIELDS[kind])!r}",
            mend="log digests and commitments only, under the names in policies.entries.FIELDS",
        )
    for value in content.values():
        if type(value) is not str:
            _refuse_foreign(value if type(value) is list else [value])
    try:
        data = _ENCODE({"v": 1, "kind": kind, "at": at, **content}).encode()
    except UnicodeEncodeError as error:
        raise Malformed("a log entry holds text that is not Unicode") from error
    if len(data) > MAX_ENTRY_BYTES:
        raise Malformed(f"a log entry of {len(data)} bytes; at most {MAX_ENTRY_BYTES}")
    return data


def read_entry(data: bytes) -> dict[str, Any]:
    """Return the content of an entry's bytes.

    Raises Malformed for bytes that are no canonical entry of version 1, with a kind and a time. Its
    fields are not held against `FIELDS`: an old entry stays what it was.
    """
    try:
        entry = _DECODE(data.decode())
        if type(entry) is dict and _ENCODE(entry).encode() == data:
            kind, at = entry.get("kind"), entry.get("at")
            if entry.get("v") == 1 and type(kind) is str and type(at) is int and at >= 0:
                return entry
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not valid JSON: {error}") from error
    raise Malformed("not a canonical log entry with version, kind and time")


def about_of(kind: str, content: Mapping[str, Any]) -> str | None:
    """Return whose newest step an entry is: a consent's, a warrant's, the policy's, a release's.

    A consent is named by its commitment, a release that was updated by its manifest. None for the
    others. An erasure has a subject too, but is no step of the consent.
    """
    if kind == "consent_event":
        about: str | None = content.get("subject")
        return about
    if kind == POLICY:
        return POLICY
    if kind == "update":
        released: str | None = content.get("manifest")
        return released
    return content.get("warrant") if kind in _OF_WARRANT else None


def _refuse_foreign(values: list[Any]) -> None:
    for value in values:
        if type(value) is int and abs(value) <= MAX_INTEGER:
            continue
        if type(value) not in (str, bool):
            raise Malformed(
                f"a log entry cannot hold {value!r}: text, whole numbers and lists of them"
            )
