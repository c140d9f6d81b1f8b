"""A content-addressed store of what was released: outputs and manifest stores, by SHA-256.

A write is whole or not there (temporary file, fsync, rename); a read is checked against its name.
Refused: a name that is no digest, an object whose bytes changed.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Protocol

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Store(Protocol):
    """Bytes by their SHA-256."""

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; raise StoreUnavailable when it cannot be kept."""

    def get(self, sha256: str) -> bytes:
        """Return what was kept under a digest; raise StoreUnavailable when it is not there."""

    def drop(self, sha256: str) -> None:
        """Forget what is kept under a digest; nothing happens when there is nothing."""


class FolderStore:
    """A store in a local folder, readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; raise StoreUnavailable when it cannot be written."""
        sha256 = sha256_hex(data)
        write_whole(self._path(sha256), data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a digest.

        Raises StoreUnavailable when they are missing, unreadable or no longer what they were.
        """
        try:
            data = self._path(sha256).read_bytes()
        except OSError as error:
            raise StoreUnavailable(f"the store does not give {sha256}: {error.strerror}") from error
        if sha256_hex(data) != sha256:
            raise StoreUnavailable(f"the stored object {sha256} was changed")
        return data

    def drop(self, sha256: str) -> None:
        """Delete the object of a digest; raise StoreUnavailable when it is there and stays."""
        try:
            self._path(sha256).unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"the store keeps {sha256}: {error.strerror}") from error

    def _path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise StoreUnavailable("an object is named by its SHA-256")
        return self._root / sha256[:2] / sha256[2:]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there completely or not at all, mode 0600.

    Raises StoreUnavailable when folder or file cannot be written.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreUnavailable(
            f"cannot write {path}: {error.strerror}",
            mend="choose a folder that can be written and has space left",
        ) from error
