"""Who keeps the key-encryption key (KEK): the interface that a file, a token or a cloud fulfils.

A provider wraps the 32-byte data keys of subjects and never hands out its own key. It keeps
versions: `rotate` makes a new current one, older ones still unwrap until they are destroyed. A
provider refuses, and never guesses: a version it destroyed is KeyGone, a version it does not know
or a wrapped key that does not fit is KeyDenied, a device that does not answer is KeyUnavailable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

from policies.errors import Error

KEY_BYTES = 32
"""Data keys and key-encryption keys alike are AES-256 keys."""

VersionState = Literal["kept", "scheduled", "destroyed"]

_VERSION = re.compile(r"v([1-9][0-9]{0,8})")


class KeyGone(Error):
    """The key was destroyed; what it sealed cannot be opened by anybody again."""

    code = "KEY-GONE"


class KeyDenied(Error):
    """A key was refused: unknown version, changed or foreign wrapped key, wrong passphrase or PIN.

    Also raised for what a provider must not do, such as destroying the version in use.
    """

    code = "KEY-DENIED"


class KeyUnavailable(KeyDenied):
    """The provider cannot be reached or read now; nothing it protects opens meanwhile."""

    code = "KEY-UNAVAILABLE"


class KeyExposed(KeyDenied):
    """A key lies where others than its owner could read or replace it."""

    code = "KEY-EXPOSED"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key under a version of the KEK; `blob` is the provider's own format."""

    blob: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a version of the KEK.

    `gone_at` is the unix time at which a destruction was or will be final; None for a version that
    is kept, and where the provider does not know the time of a destruction that is over.
    """

    state: VersionState
    gone_at: int | None = None


class KeyProvider(Protocol):
    """Wraps data keys under versions of a key-encryption key that never leaves it."""

    @property
    def version(self) -> str:
        """The current version, which `wrap` uses; raises KeyUnavailable."""

    def wrap(self, key: bytes) -> Wrapped:
        """Wrap a 32-byte data key under the current version; raise KeyDenied."""

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the data key of 32 bytes; raise KeyGone or KeyDenied."""

    def rotate(self) -> str:
        """Make a new current version and return it; older ones stay and still unwrap."""

    def destroy(self, version: str) -> None:
        """Destroy a version for good; KeyDenied while it is current. Nothing for one gone."""

    def standing(self, version: str) -> Standing:
        """Return what became of a version; raise KeyDenied for one that never was."""


def version_name(number: int) -> str:
    """Return how version `number` (from 1) is called: `v1`, `v2`, ..."""
    return f"v{number}"


def version_number(version: str) -> int:
    """Return the number of a version name; raise KeyDenied for anything else."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise KeyDenied(f"{version[:32]!r} is not the name of a key version")
    return int(found[1])


def refuse_length(key: bytes) -> None:
    """Raise KeyDenied unless a key has 32 bytes."""
    if len(key) != KEY_BYTES:
        raise KeyDenied(f"a data key has {KEY_BYTES} bytes, this one {len(key)}")


def refuse_missing(version: str, *, newest: int) -> NoReturn:
    """Raise for a version a provider does not hold, `newest` being the highest it ever made.

    KeyGone for one up to `newest`: versions count upwards and none is made twice, so it was there
    and was destroyed. KeyDenied for one above: an older backup of the provider must not make a
    living key look destroyed.
    """
    if version_number(version) <= newest:
        raise KeyGone(f"key version {version} was destroyed")
    raise KeyDenied(
        f"key version {version} is not one this provider made",
        mend="check that the provider is the right one and was not restored from an old backup",
    )
