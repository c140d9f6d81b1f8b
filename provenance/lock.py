"""A folder that one process holds at a time.

Decides who may work in a folder of a video that is being made. Refused: a folder that another
process has, and one that was taken away while it was waited for.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from policies.errors import StoreUnavailable
from provenance.errors import ClipInUse


@contextmanager
def hold_alone(folder: Path) -> Iterator[None]:
    """Make a private folder and hold it.

    Raises ClipInUse while another process has it, StoreUnavailable where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreUnavailable(f"cannot use {folder}: {error.strerror}") from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it may have deleted it after we opened it: the lock is then on no folder at all,
        # and somebody else may hold a new one of the same name.
        held = os.path.samestat(os.fstat(handle), os.stat(folder))
    except OSError as error:
        raise ClipInUse from error
    if not held:
        raise ClipInUse
