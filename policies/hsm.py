"""The key-encryption key in a PKCS#11 token: a smart card, a hardware module, or SoftHSM.

AES-256 keys are generated inside the token, sensitive and never extractable, one per version, and
wrap data keys with CKM_AES_KEY_WRAP (RFC 3394). The only module that touches `pkcs11`, which comes
with the extra `hsm`. Refused: a wrong PIN (never tried twice), a key of that name which could leave
the token or was brought in from outside, and a wrapped key that does not fit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from policies.keyprovider import (
    KEY_BYTES,
    KeyDenied,
    KeyExposed,
    KeyGone,
    KeyUnavailable,
    Standing,
    Wrapped,
    refuse_length,
    refuse_missing,
    version_name,
    version_number,
)

_Key = Any
"""A key in the token; the stubs of `pkcs11` know what it can do by mix-ins only."""

_WRAPPED_BYTES = KEY_BYTES + 8
"""RFC 3394 adds one block of 64 bits, its integrity check."""

# A token that is away or a session that ended is no verdict about a key.
_UNREACHABLE = (
    "DeviceError DeviceMemory DeviceRemoved HostMemory NoSuchToken SessionClosed "
    "SessionHandleInvalid TokenNotPresent TokenNotRecognised UserNotLoggedIn UserAlreadyLoggedIn"
).split()


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """Which token, and the name its key versions carry: labels `name-v1`, `name-v2`, ..."""

    library: str
    token: str
    pin: str = field(repr=False)
    name: str = "facewarrant-kek"


class TokenKeys:
    """A KeyProvider over one token; one instance per token and process, safe between threads."""

    def __init__(self, address: TokenAddress) -> None:
        """Log in; raises KeyDenied for a wrong PIN, KeyUnavailable for no token or no key in it."""
        self._open(address)
        try:
            self._versions()
        except KeyDenied:
            self.close()
            raise

    @classmethod
    def create(cls, address: TokenAddress) -> TokenKeys:
        """Make version v1 in the token; raise KeyDenied when a version is there already."""
        made = cls.__new__(cls)
        made._open(address)
        try:
            if made._labelled():
                raise KeyDenied(f"the token has keys named {address.name} already")
            made._generate(version_name(1))
        except KeyDenied:
            made.close()
            raise
        return made

    def _open(self, address: TokenAddress) -> None:
        self._pkcs11 = _load_pkcs11()
        self._name, self._lock = address.name, threading.Lock()
        with self._translated("open the token"):
            token = self._pkcs11.lib(address.library).get_token(token_label=address.token)
            self._session = token.open(rw=True, user_pin=address.pin)

    @property
    def version(self) -> str:
        """The current version: the highest in the token; raises KeyUnavailable without any."""
        with self._lock:
            return version_name(max(self._versions()))

    def wrap(self, key: bytes) -> Wrapped:
        """Wrap a data key of 32 bytes into 40; raise KeyDenied."""
        refuse_length(key)
        p11 = self._pkcs11
        content = {
            p11.Attribute.CLASS: p11.ObjectClass.SECRET_KEY,
            p11.Attribute.KEY_TYPE: p11.KeyType.AES,
            p11.Attribute.TOKEN: False,
            p11.Attribute.SENSITIVE: False,
            p11.Attribute.EXTRACTABLE: True,
            p11.Attribute.VALUE: key,
        }
        with self._lock, self._translated("wrap a key"):
            versions = self._versions()
            newest = max(versions)
            plain = self._session.create_object(content)
            try:
                blob = versions[newest][0].wrap_key(plain, mechanism=p11.Mechanism.AES_KEY_WRAP)
            finally:
                plain.destroy()
        return Wrapped(bytes(blob), version_name(newest))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the data key; raise KeyGone or KeyDenied."""
        if len(wrapped.blob) != _WRAPPED_BYTES:
            raise KeyDenied(f"a wrapped key has {_WRAPPED_BYTES} bytes")
        with self._lock:
            versions = self._versions()
            number = version_number(wrapped.version)
            if number not in versions:
                refuse_missing(wrapped.version, newest=max(versions))
            *others, last = versions[number]
            for key in others:
                try:
                    return self._unwrap(key, wrapped)
                except KeyDenied:
                    continue
            return self._unwrap(last, wrapped)

    def rotate(self) -> str:
        """Generate a new current version in the token and return it."""
        with self._lock:
            name = version_name(max(self._versions()) + 1)
            self._generate(name)
        return name

    def destroy(self, version: str) -> None:
        """Destroy a version in the token; KeyDenied while it is current. Nothing for one gone."""
        with self._lock, self._translated("destroy a key"):
            versions, number = self._versions(), version_number(version)
            if number >= (newest := max(versions)):
                raise KeyDenied(
                    f"{version} is not older than {version_name(newest)}, the key version in use",
                    mend="rotate first",
                )
            for key in versions.get(number, ()):
                key.destroy()

    def standing(self, version: str) -> Standing:
        """Return whether a version is in the token; raise KeyDenied for one that never was.

        A token does not keep the time of a destruction, so `gone_at` is None.
        """
        with self._lock:
            versions, number = self._versions(), version_number(version)
        if number in versions:
            return Standing("kept")
        try:
            refuse_missing(version, newest=max(versions))
        except KeyGone:
            return Standing("destroyed")

    def close(self) -> None:
        """Log out and end the session."""
        with self._lock, self._translated("close the session"):
            self._session.close()

    def _unwrap(self, key: _Key, wrapped: Wrapped) -> bytes:
        p11 = self._pkcs11
        with self._translated(f"unwrap a key of {wrapped.version}"):
            plain = key.unwrap_key(
                p11.ObjectClass.SECRET_KEY,
                p11.KeyType.AES,
                wrapped.blob,
                mechanism=p11.Mechanism.AES_KEY_WRAP,
                template={p11.Attribute.SENSITIVE: False, p11.Attribute.EXTRACTABLE: True},
            )
            try:
                return bytes(plain[p11.Attribute.VALUE])
            finally:
                plain.destroy()

    def _generate(self, version: str) -> None:
        p11 = self._pkcs11
        with self._translated("generate a key"):
            self._session.generate_key(
                p11.KeyType.AES,
                KEY_BYTES * 8,
                label=f"{self._name}-{version}",
                store=True,
                # Not ENCRYPT or DECRYPT: a key that wraps does nothing else.
                capabilities=p11.MechanismFlag.WRAP | p11.MechanismFlag.UNWRAP,
                template={p11.Attribute.SENSITIVE: True, p11.Attribute.EXTRACTABLE: False},
            )

    def _versions(self) -> dict[int, list[_Key]]:
        """Return the token's keys by version number, at least one.

        Two for one number, where two processes rotated at once: tokens know no unique labels, and
        the check value of RFC 3394 tells which of them wrapped a key.
        """
        found = self._labelled()
        if not found:
            raise KeyUnavailable(
                f"the token has no key named {self._name}",
                mend="check that this is the right token; a new key opens nothing that is there",
            )
        with self._translated("read a key's attributes"):
            for key in (key for keys in found.values() for key in keys):
                self._refuse_weak(key)
        return found

    def _labelled(self) -> dict[int, list[_Key]]:
        attribute = self._pkcs11.Attribute
        name = re.compile(re.escape(self._name) + r"-(v[1-9][0-9]{0,8})")
        ours = {attribute.CLASS: self._pkcs11.ObjectClass.SECRET_KEY, attribute.TOKEN: True}
        found: dict[int, list[_Key]] = {}
        with self._translated("list the keys"):
            for key in self._session.get_objects(ours):
                if version := name.fullmatch(key.label):
                    found.setdefault(version_number(version[1]), []).append(key)
        return found

    def _refuse_weak(self, key: _Key) -> None:
        attribute = self._pkcs11.Attribute
        safe = key[attribute.SENSITIVE] and key[attribute.NEVER_EXTRACTABLE]
        if not safe or key.key_length != KEY_BYTES * 8:
            raise KeyExposed(
                f"the key {key.label} is not a 256-bit key that was always locked in the token",
                mend="rotate to one generated inside, rewrap, and destroy this one",
            )

    @contextmanager
    def _translated(self, act: str) -> Iterator[None]:
        try:
            yield
        except self._pkcs11.PKCS11Error as error:
            kind = type(error).__name__
            unreachable = kind in _UNREACHABLE or type(error) is self._pkcs11.PKCS11Error
            refused = KeyUnavailable if unreachable else KeyDenied
            raise refused(
                f"the token did not {act}: {kind}",
                mend="check token, PIN and library; a PIN tried too often locks the token",
            ) from error


def _load_pkcs11() -> ModuleType:
    try:
        import pkcs11  # noqa: PLC0415 - an extra, which only deployments with a token install
    except ImportError as error:
        raise KeyUnavailable(
            "PKCS#11 support is not installed", mend="pip install 'facewarrant[hsm]'"
        ) from error
    return pkcs11
