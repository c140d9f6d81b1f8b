"""Bytes that must be nowhere any more: their fingerprint, and the search for copies in files.

A needle knows the first bytes, the length and the SHA-256 of what it looks for, never the whole: a
list of needles may be kept while an erasure is under way without being a copy of what it erases.
Refused: a needle too short to be told from chance, and a file that cannot be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from policies.errors import Malformed, StoreUnavailable
from policies.terms import Digest, Document

HEAD_BYTES = 4
"""Of a wrapped key of 40 bytes this tells 32 of 320 bits, and unwrapping needs them all."""

MIN_BYTES = 16
"""Shorter needles turn up by chance and say little about erasure."""

_CHUNK_BYTES = 4 << 20


class Needle(Document):
    """What to look for: `head` is the first 4 bytes in hex, `size` the whole length in bytes."""

    head: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    size: Annotated[int, Field(ge=MIN_BYTES, le=_CHUNK_BYTES)]
    sha256: Digest


def needle(data: bytes) -> Needle:
    """Return the fingerprint of `data`; raise Malformed below 16 bytes or above 4 MiB."""
    if not MIN_BYTES <= len(data) <= _CHUNK_BYTES:
        raise Malformed(f"{len(data)} bytes are too few or too many to search for")
    return Needle(
        head=data[:HEAD_BYTES].hex(), size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


def count_copies(paths: Sequence[Path], needles: Sequence[Needle]) -> int:
    """Return how often the needles stand in the files, at any place; missing files hold nothing.

    Raises StoreUnavailable when a file that is there cannot be read.
    """
    longest = max((each.size for each in needles), default=0)
    if not longest:
        return 0
    return sum(
        _count(window, fresh, each)
        for path in paths
        for window, fresh in _windows(path, overlap=longest - 1)
        for each in needles
    )


def _count(window: bytes, fresh: int, sought: Needle) -> int:
    """Count copies that end in the window's last `fresh` bytes; the rest was counted before."""
    head, found, at = bytes.fromhex(sought.head), 0, -1
    while (at := window.find(head, at + 1)) >= 0:
        end = at + sought.size
        if len(window) - fresh < end <= len(window):
            found += hashlib.sha256(window[at:end]).hexdigest() == sought.sha256
    return found


def _windows(path: Path, *, overlap: int) -> Iterator[tuple[bytes, int]]:
    """Yield pieces of a file, each with the end of the one before, and how much of it is new."""
    tail = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield tail + chunk, len(chunk)
                tail = (tail + chunk)[-overlap:]
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable(
            f"cannot search {path.name}: {error.strerror}", mend="make it readable, then go on"
        ) from error
