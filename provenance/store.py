"""A content-addressed store of what was released: outputs and manifest stores, by SHA-256.

A write is whole or not there (`policies.files`); a read is checked against its name.
Refused: a name that is no digest, an object whose bytes changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from policies.files import replace_file, sync_folder

_PIECE_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Store(Protocol):
    """Bytes by their SHA-256."""

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; raise StoreUnavailable when it cannot be kept."""

    def get(self, sha256: str) -> bytes:
        """Return what was kept under a digest; raise StoreUnavailable when it is not there."""

    def put_file(self, path: Path) -> str:
        """Keep a file too large for memory; return its digest, raise StoreUnavailable."""

    def get_file(self, sha256: str, to: Path) -> None:
        """Copy what was kept to `to`, whole and mode 0600; raise StoreUnavailable."""

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

    def put_file(self, path: Path) -> str:
        """Keep a file and return its digest; raise StoreUnavailable when it cannot be written."""
        with _translated(f"cannot keep {path.name}"):
            sha256 = file_digest(path)
            copy_file(path, self._path(sha256), sha256=sha256)
            return sha256

    def get_file(self, sha256: str, to: Path) -> None:
        """Copy the file of a digest to `to`.

        Raises StoreUnavailable when it is missing, cannot be written or is no longer what it was;
        nothing is at `to` then that was not there before.
        """
        with _translated(f"the store does not give {sha256}"):
            copy_file(self._path(sha256), to, sha256=sha256)

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
    """Write a file with `replace_file`, mode 0600, and make its folder where there is none.

    Raises StoreUnavailable when folder or file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot make the folder {path.parent}: {error.strerror}",
            mend="choose a folder that can be written and has space left",
        ) from error
    replace_file(path, data, mode=0o600)


def copy_file(source: Path, to: Path, *, sha256: str) -> None:
    """Copy a file in pieces so that it is there whole or not at all, mode 0600, and is `sha256`.

    Raises StoreUnavailable when the bytes are others; OSError passes through.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=to.parent, prefix=".partial-")
    try:
        hasher = hashlib.sha256()
        with os.fdopen(handle, "wb") as out, source.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if hasher.hexdigest() != sha256:
            raise StoreUnavailable(f"the stored object {sha256} was changed")
        os.replace(temporary, to)
        sync_folder(to.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex; OSError passes through."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{what}: {error.strerror}", mend="check the disk, its space and its permissions"
        ) from error
