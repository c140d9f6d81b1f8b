"""The secret files of a deployment: made once, readable by their owner only, refused otherwise."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from policies.errors import BadSignature, Error
from policies.keys import SigningKey


class KeyFileRefused(Error):
    """A key file is missing, exposed to others, already there, or of the wrong size."""

    code = "KEY-FILE-REFUSED"


def write_secret(path: Path, data: bytes) -> None:
    """Create a file of mode 0600; raise KeyFileRefused when it exists or cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileRefused(
            f"{path} is there already and is not overwritten",
            mend="move it away first; what it signed or sealed needs it",
        ) from error
    except OSError as error:
        raise KeyFileRefused(
            f"cannot write {path}: {error.strerror}",
            mend="choose a home folder that can be written, with FACEWARRANT_HOME",
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_signing_key(path: Path) -> SigningKey:
    """Read an Ed25519 signing key; raise KeyFileRefused as `read_secret` does, or if it is none."""
    try:
        return SigningKey.from_pem(read_secret(path))
    except BadSignature as error:
        raise KeyFileRefused(
            f"{path}: {error.message}", mend="restore the key from its backup"
        ) from error


def read_secret(path: Path, *, size: int | None = None) -> bytes:
    """Read a secret file; raise KeyFileRefused unless its owner alone can, and its size fits."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileRefused(
            f"cannot read {path}: {error.strerror}",
            mend="run 'facewarrant init', or restore the key from its backup",
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileRefused(
            f"{path} can be read by others", mend=f"chmod 600 {path}, and consider it leaked"
        )
    if size is not None and len(data) != size:
        raise KeyFileRefused(
            f"{path} has {len(data)} bytes instead of {size}",
            mend="restore the key from its backup; a new one would not open what this one closed",
        )
    return data
