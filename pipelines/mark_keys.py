"""The ring of watermark keys: the newest writes, all of them read.

One file, 32 bytes a key, newest first. Decides which key comes and goes, and says each step in the
log before and after. Refused: a fifth key, a damaged ring, and taking away the key that writes.
A key is named by a digest of it, which gives nothing of the key away.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.keyfiles import KeyFileRefused, read_secret, write_secret
from pipelines.settings import Settings
from policies.audit import AuditLog
from policies.files import replace_file
from policies.privatefile import folder_lock
from provenance.watermark.pattern import KEY_BYTES
from provenance.watermark.spread import MOST_KEYS

Random = Callable[[int], bytes]

_NAME = b"facewarrant watermark key id"
_NAME_BYTES = 8


def create_mark_keys(settings: Settings, *, random: Random = os.urandom) -> None:
    """Make the first key; raises KeyFileRefused where a ring is there, or cannot be written."""
    write_secret(_path(settings), random(KEY_BYTES))


def read_mark_keys(settings: Settings) -> tuple[bytes, ...]:
    """Return the ring, newest first: 1 to 4 keys of 32 bytes.

    Raises KeyFileRefused for a file that is missing, open to others, or no ring.
    """
    path = _path(settings)
    data = read_secret(path)
    keys = tuple(data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES))
    whole = len(data) % KEY_BYTES == 0 and 1 <= len(keys) <= MOST_KEYS
    if not whole or len(set(keys)) != len(keys):
        raise KeyFileRefused(
            f"{path} is no ring of 1 to {MOST_KEYS} different keys of {KEY_BYTES} bytes",
            mend="restore it from its backup: a new key does not read what the old ones marked",
        )
    return keys


def name_mark_key(key: bytes) -> str:
    """Return a key's name in the log and on the console: 16 hex digits of an HMAC-SHA256."""
    return hmac.digest(key, _NAME, "sha256")[:_NAME_BYTES].hex()


def rotate_mark_key(settings: Settings, log: AuditLog, *, random: Random = os.urandom) -> list[str]:
    """Make a new key that writes from now on; the older ones go on reading. Returns all names.

    Raises KeyFileRefused where the ring is full. Processes that run keep the ring they opened.
    """
    path = _path(settings)
    with folder_lock(path.parent):
        keys = read_mark_keys(settings)
        if len(keys) == MOST_KEYS:
            raise KeyFileRefused(
                f"the ring of watermark keys is full: {MOST_KEYS} keys",
                mend=f"'facewarrant keys destroy-watermark {name_mark_key(keys[-1])}' first; what "
                "that key marked cannot be read afterwards",
            )
        log.append("key_event", _event("rotating", keys[0]))
        ring = (random(KEY_BYTES), *keys)
        _write(path, ring)
        log.append("key_event", _event("rotated", ring[0]))
    return [name_mark_key(key) for key in ring]


def destroy_mark_key(settings: Settings, name: str, log: AuditLog) -> list[str]:
    """Take an old key out of the ring for good; returns the names that stay.

    No mark of that key is read afterwards. Raises KeyFileRefused for the newest key and for a name
    that is not in the ring.
    """
    path = _path(settings)
    with folder_lock(path.parent):
        keys = read_mark_keys(settings)
        if name == name_mark_key(keys[0]):
            raise KeyFileRefused(
                f"watermark key {name} is the one that writes",
                mend="run 'facewarrant keys rotate-watermark' first",
            )
        kept = tuple(key for key in keys if name_mark_key(key) != name)
        if len(kept) == len(keys):
            raise KeyFileRefused(
                f"there is no watermark key {name!r}", mend="see 'facewarrant keys show'"
            )
        [gone] = set(keys) - set(kept)
        log.append("key_event", _event("destroying", gone))
        _write(path, kept)
        log.append("key_event", _event("destroyed", gone))
    return [name_mark_key(key) for key in kept]


def _event(event: str, key: bytes) -> dict[str, str]:
    return {"event": event, "role": "watermark", "kid": name_mark_key(key)}


def _write(path: Path, keys: Sequence[bytes]) -> None:
    replace_file(path, b"".join(keys), mode=0o600)


def _path(settings: Settings) -> Path:
    return settings.home / "keys" / "watermark.key"
