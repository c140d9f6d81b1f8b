"""Files that must be there whole or not at all: a crash leaves the old one or the new one.

Refused: a folder that cannot be written, a file that cannot be read or is longer than it may be.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from policies.errors import StoreUnavailable


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that after a crash it holds the old bytes or all of the new ones.

    Temporary file, fsync, rename, fsync of the folder: without the last one the rename itself can
    be lost. Raises StoreUnavailable.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreUnavailable(
            f"cannot write {path}: {error.strerror}",
            mend="choose a folder that is there, can be written and has space left",
        ) from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync of the folder); OSError passes through."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bounded(path: Path, *, max_bytes: int) -> bytes:
    """Read a file of at most `max_bytes`; raise StoreUnavailable."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot read {path}: {error.strerror}", mend="check the path and its permissions"
        ) from error
    if len(data) > max_bytes:
        raise StoreUnavailable(f"{path} has more than {max_bytes} bytes")
    return data
