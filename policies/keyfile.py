"""The key-encryption key in a file: for development and single machines without a token.

Either sealed under a passphrase (scrypt, AES-256-GCM) or plain with its permissions checked; both
demand a private file in a private folder (privatefile.py). Data keys are wrapped with AES key wrap
(RFC 3394). Refused: a changed file, another passphrase, a plain file where a sealed one is
expected and the other way round.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from pydantic import Field, StringConstraints, ValidationError

from policies.canonical import canonical, parse
from policies.errors import Malformed
from policies.files import replace_file
from policies.keyprovider import (
    KEY_BYTES,
    KeyDenied,
    KeyUnavailable,
    Standing,
    Wrapped,
    refuse_length,
    refuse_missing,
    version_name,
    version_number,
)
from policies.privatefile import Mark, folder_lock, mark_of, read_private, refuse_open_folder
from policies.terms import Document, KeyHex, UnixTime

SCRYPT_N = 2**17
"""CPU and memory cost, 128 MiB with r = 8 and p = 1 (OWASP Password Storage Cheat Sheet).

The function is RFC 7914. A file may say less or more, from 2**10 to 2**20 (1 GiB).
"""

MIN_PASSPHRASE = 15
"""Characters: what NIST SP 800-63B-4, section 3.1.1.2, asks of a password that stands alone."""

_SCRYPT_R, _SCRYPT_P = 8, 1
_SALT_BYTES, _NONCE_BYTES = 16, 12
_MAX_BYTES = 64 * 1024

VersionName = Annotated[str, StringConstraints(pattern=r"^v[1-9][0-9]{0,8}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$")]
Random = Callable[[int], bytes]


class Ring(Document):
    """The versions in a key file: those kept, and when the others were destroyed."""

    schema_: Literal["facewarrant/kek/1"] = Field(alias="schema")
    keys: dict[VersionName, KeyHex] = Field(min_length=1)
    destroyed: dict[VersionName, UnixTime]

    @property
    def newest(self) -> str:
        """The current version: the highest kept."""
        return version_name(max(version_number(name) for name in self.keys))


class SealedRing(Document):
    """A ring under a passphrase; everything but the ciphertext is its associated data."""

    schema_: Literal["facewarrant/kek-sealed/1"] = Field(alias="schema")
    scrypt_n: Annotated[int, Field(ge=2**10, le=2**20)]
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
    ciphertext: Hex


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What seals a key file, and how much work it costs to try one."""

    text: str
    scrypt_n: int = SCRYPT_N

    def __post_init__(self) -> None:
        if len(self.text) < MIN_PASSPHRASE:
            raise KeyDenied(
                f"the passphrase has fewer than {MIN_PASSPHRASE} characters",
                mend="take several words that nobody else would put together",
            )

    def __repr__(self) -> str:
        return "Passphrase(...)"

    def derive(self, salt: bytes, *, scrypt_n: int) -> bytes:
        """Return the 32-byte key; the text is taken in Unicode form NFC (RFC 8265, 4.2)."""
        try:
            kdf = Scrypt(salt=salt, length=KEY_BYTES, n=scrypt_n, r=_SCRYPT_R, p=_SCRYPT_P)
            return kdf.derive(unicodedata.normalize("NFC", self.text).encode())
        except (ValueError, MemoryError) as error:
            raise KeyDenied(f"scrypt does not run with n = {scrypt_n}") from error


class FileKeys:
    """A KeyProvider over one file, shared by any number of processes on one machine."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int],
        passphrase: Passphrase | None = None,
        random: Random = os.urandom,
    ) -> None:
        """Open the file; `clock` gives unix seconds.

        Raises KeyExposed, KeyUnavailable and, for a file that does not open, KeyDenied.
        """
        self._path, self._clock = path, clock
        self._passphrase, self._random = passphrase, random
        self._ring, self._mark = self._load()

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        clock: Callable[[], int],
        passphrase: Passphrase | None = None,
        random: Random = os.urandom,
    ) -> FileKeys:
        """Make a key file with version v1; raise KeyDenied when there is one already."""
        refuse_open_folder(path.parent)
        first = {version_name(1): random(KEY_BYTES).hex()}
        ring = Ring(schema="facewarrant/kek/1", keys=first, destroyed={})
        with folder_lock(path.parent):
            if os.path.lexists(path):
                raise KeyDenied(f"{path} is there already: what it wrapped needs it")
            replace_file(path, _encode(ring, passphrase, random), mode=0o600)
        return cls(path, clock=clock, passphrase=passphrase, random=random)

    @property
    def version(self) -> str:
        """The current version."""
        return self._current().newest

    def wrap(self, key: bytes) -> Wrapped:
        """Wrap a data key of 32 bytes into 40 (RFC 3394); raise KeyDenied for another length."""
        refuse_length(key)
        ring = self._current()
        kek = bytes.fromhex(ring.keys[ring.newest])
        return Wrapped(aes_key_wrap(kek, key), ring.newest)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the data key; raise KeyGone or KeyDenied."""
        ring = self._current()
        if wrapped.version not in ring.keys:
            refuse_missing(wrapped.version, newest=version_number(ring.newest))
        try:
            key = aes_key_unwrap(bytes.fromhex(ring.keys[wrapped.version]), wrapped.blob)
        except InvalidUnwrap as error:
            raise KeyDenied(f"this was not wrapped under {wrapped.version}, or changed") from error
        refuse_length(key)
        return key

    def rotate(self) -> str:
        """Add a new current version, durably before it is used, and return it."""
        with folder_lock(self._path.parent):
            ring, _ = self._load()
            name = version_name(version_number(ring.newest) + 1)
            keys = ring.keys | {name: self._random(KEY_BYTES).hex()}
            self._store(ring.model_copy(update={"keys": keys}))
        return name

    def destroy(self, version: str) -> None:
        """Remove a version and overwrite the file that held it; KeyDenied while it is current.

        Overwriting is an attempt: a copying file system, flash memory or a backup may keep it.
        """
        with folder_lock(self._path.parent):
            ring, _ = self._load()
            if version == ring.newest:
                raise KeyDenied(f"{version} is the key version in use", mend="rotate first")
            if version not in ring.keys:
                _standing(ring, version)
                return
            keys = {name: key for name, key in ring.keys.items() if name != version}
            destroyed = ring.destroyed | {version: self._clock()}
            self._store(ring.model_copy(update={"keys": keys, "destroyed": destroyed}))

    def standing(self, version: str) -> Standing:
        """Return whether a version is kept or when it was destroyed; raise KeyDenied."""
        return _standing(self._current(), version)

    def _current(self) -> Ring:
        # Another process may have rotated; wrapping under a version it destroys would lose a key.
        if mark_of(self._path) != self._mark:
            self._ring, self._mark = self._load()
        return self._ring

    def _load(self) -> tuple[Ring, Mark]:
        data, mark = read_private(self._path, max_bytes=_MAX_BYTES)
        return _decode(data, self._passphrase), mark

    def _store(self, ring: Ring) -> None:
        _write(self._path, _encode(ring, self._passphrase, self._random))
        self._ring, self._mark = self._load()


def _standing(ring: Ring, version: str) -> Standing:
    if version in ring.keys:
        return Standing("kept")
    if version in ring.destroyed:
        return Standing("destroyed", ring.destroyed[version])
    raise KeyDenied(f"{version[:32]!r} is no key version of this file")


def _write(path: Path, data: bytes) -> None:
    """Replace the file as a whole, then overwrite what the old one held on the disk."""
    try:
        with path.open("r+b") as old:
            replace_file(path, data, mode=0o600)
            old.write(bytes(os.fstat(old.fileno()).st_size))
            old.flush()
            os.fsync(old.fileno())
    except OSError as error:
        raise KeyUnavailable(f"cannot write {path}: {error.strerror}") from error


def _encode(ring: Ring, passphrase: Passphrase | None, random: Random) -> bytes:
    plain = canonical(ring.model_dump(by_alias=True))
    if passphrase is None:
        return plain
    salt, nonce = random(_SALT_BYTES), random(_NONCE_BYTES)
    head: dict[str, Any] = {
        "schema": "facewarrant/kek-sealed/1",
        "scrypt_n": passphrase.scrypt_n,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
    }
    key = passphrase.derive(salt, scrypt_n=passphrase.scrypt_n)
    sealed = AESGCM(key).encrypt(nonce, plain, canonical(head))
    return canonical({**head, "ciphertext": sealed.hex()})


def _decode(data: bytes, passphrase: Passphrase | None) -> Ring:
    try:
        body = parse(data)
    except Malformed as error:
        raise KeyDenied("the key file is damaged", mend="restore it from its backup") from error
    if passphrase is None:
        return _read(Ring, body)
    sealed = _read(SealedRing, body)
    salt, nonce = bytes.fromhex(sealed.salt), bytes.fromhex(sealed.nonce)
    key = passphrase.derive(salt, scrypt_n=sealed.scrypt_n)
    head = canonical(sealed.model_dump(by_alias=True, exclude={"ciphertext"}))
    try:
        plain = AESGCM(key).decrypt(nonce, bytes.fromhex(sealed.ciphertext), head)
    except InvalidTag as error:
        raise KeyDenied("the key file does not open with this passphrase") from error
    return _read(Ring, parse(plain))


_Read = TypeVar("_Read", Ring, SealedRing)


def _read(kind: type[_Read], body: Mapping[str, Any]) -> _Read:
    try:
        return kind.model_validate(body)
    except ValidationError:
        # Not chained: what pydantic says quotes the keys.
        raise KeyDenied(
            "the key file is not of the form expected",
            mend="give a passphrase for a sealed file, and none for a plain one",
        ) from None
