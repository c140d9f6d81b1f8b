"""Files that hold keys: readable by their owner alone, in a folder nobody else can change.

Refused: symbolic links, other owners, any permission for group or others, and a folder in which
somebody else could replace the file. Needs POSIX permissions and `flock`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from policies.keyprovider import KeyDenied, KeyExposed, KeyUnavailable

Mark = tuple[int, int, int]
"""Which writing of a file was read: inode, time of change in ns, size in bytes."""

# Without O_NONBLOCK a named pipe in the file's place would hang the reader.
_PLAINLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_private(path: Path, *, max_bytes: int) -> tuple[bytes, Mark]:
    """Return a private file's bytes and the mark of this writing of it.

    Raises KeyExposed when it or its folder is open to others, KeyUnavailable when it is missing,
    unreadable or longer than `max_bytes`.
    """
    refuse_open_folder(path.parent)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _PLAINLY), "rb") as file:
            found = os.fstat(file.fileno())
            refuse_exposed(path, found)
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > max_bytes:
        raise KeyUnavailable(f"{path} has more than {max_bytes} bytes: it is no key file")
    return data, _mark(found)


def mark_of(path: Path) -> Mark:
    """Return the mark of the file as it lies there now; raise KeyUnavailable."""
    try:
        return _mark(path.lstat())
    except OSError as error:
        raise _unreadable(path, error) from error


def claim_private(path: Path) -> None:
    """Create an empty file of mode 0600, or accept one that is private already.

    Raises KeyExposed and KeyUnavailable as `read_private` does.
    """
    refuse_open_folder(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _PLAINLY, 0o600)
        try:
            refuse_exposed(path, os.fstat(handle))
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(path, error) from error


def refuse_exposed(path: Path, found: os.stat_result) -> None:
    """Raise KeyExposed unless this is a plain file of ours that nobody else may open."""
    if not stat.S_ISREG(found.st_mode):
        raise KeyExposed(f"{path} is not a plain file")
    if found.st_uid != os.geteuid():
        raise KeyExposed(f"{path} belongs to another user", mend="run as the owner of the key")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeyExposed(
            f"{path} can be opened by others",
            mend=f"chmod 600 {path}, and rotate: the key may have been read",
        )


def refuse_open_folder(folder: Path) -> None:
    """Raise KeyExposed when others could replace files in the folder, KeyUnavailable if missing.

    A sticky folder (mode 1777, such as a temporary one) passes: there only owners replace files.
    """
    try:
        found = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    sticky = found.st_mode & stat.S_ISVTX
    if found.st_uid not in (os.geteuid(), 0) or (found.st_mode & 0o022 and not sticky):
        raise KeyExposed(
            f"others could replace files in {folder}", mend=f"chmod 700 {folder}, and own it"
        )


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder alone among all processes that ask for it; raise KeyUnavailable."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _mark(found: os.stat_result) -> Mark:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _unreadable(path: Path, error: OSError) -> KeyDenied:
    if error.errno == errno.ELOOP:
        return KeyExposed(f"{path} is a symbolic link", mend="put the file itself there")
    return KeyUnavailable(
        f"cannot open {path}: {error.strerror}",
        mend="restore it from its backup; a new key does not open what the old one closed",
    )
