"""Who keeps the keys of this deployment: the file or token of its key-encryption keys, as set.

The data keys of the people lie in a database of their own beside it, wrapped; destroying one is
what erases a person. Refused: a token without its PIN, and keys that are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.settings import Settings
from policies.audit import AuditLog
from policies.errors import Malformed
from policies.hsm import TokenAddress, TokenKeys
from policies.keyfile import FileKeys, Passphrase
from policies.keyprovider import KeyProvider, version_number
from policies.subjectkeys import SubjectKeys

Clock = Callable[[], int]


def create_subject_keys(settings: Settings, *, clock: Clock) -> None:
    """Make the first key-encryption key and an empty database of people's keys.

    Raises KeyDenied when there is one already, KeyExposed and KeyUnavailable.
    """
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.pkcs11_library is not None:
        provider: KeyProvider = TokenKeys.create(_token(settings))
    else:
        provider = FileKeys.create(
            folder / "kek.json", clock=clock, passphrase=_passphrase(settings)
        )
    close_subject_keys(_subject_keys(settings, provider, clock))


def open_subject_keys(settings: Settings, *, clock: Clock) -> SubjectKeys:
    """Open people's keys; raises KeyDenied, KeyExposed, KeyUnavailable and StoreUnavailable."""
    return _subject_keys(settings, _open_provider(settings, clock), clock)


def close_subject_keys(keys: SubjectKeys) -> None:
    """Close people's keys, and the session with the token: a process may have one at a time."""
    keys.close()
    if isinstance(keys.provider, TokenKeys):
        keys.provider.close()


def rotate(keys: SubjectKeys, log: AuditLog) -> tuple[str, int]:
    """Make a new key-encryption key, wrap every data key anew, and log it.

    Returns the new version and how many keys were wrapped. The old version stays until it is
    destroyed: a backup of the data keys still needs it.
    """
    # Said before it is done: a clock or log that refuses must not leave a change nobody logged.
    log.append("key_event", {"event": "rotating", "role": "kek", "kid": keys.provider.version})
    version = keys.provider.rotate()
    count = keys.rewrap()
    log.append("key_event", {"event": "rotated", "role": "kek", "kid": version})
    return version, count


def destroy(keys: SubjectKeys, version: str, log: AuditLog) -> None:
    """Destroy an old key-encryption key for good, and log it; raises KeyDenied for the current."""
    version_number(version)
    log.append("key_event", {"event": "destroying", "role": "kek", "kid": version})
    keys.rewrap()
    keys.retire(version)
    log.append("key_event", {"event": "destroyed", "role": "kek", "kid": version})


def _open_provider(settings: Settings, clock: Clock) -> KeyProvider:
    if settings.pkcs11_library is not None:
        return TokenKeys(_token(settings))
    path = _folder(settings) / "kek.json"
    return FileKeys(path, clock=clock, passphrase=_passphrase(settings))


def _token(settings: Settings) -> TokenAddress:
    if settings.pkcs11_pin is None:
        raise Malformed("the token needs its PIN", mend="set FACEWARRANT_PKCS11_PIN")
    pin = settings.pkcs11_pin.get_secret_value()
    return TokenAddress(str(settings.pkcs11_library), settings.pkcs11_token, pin)


def _passphrase(settings: Settings) -> Passphrase | None:
    text = settings.key_passphrase
    return None if text is None else Passphrase(text.get_secret_value())


def _subject_keys(settings: Settings, provider: KeyProvider, clock: Clock) -> SubjectKeys:
    return SubjectKeys(f"sqlite:///{_folder(settings) / 'people.db'}", provider, clock=clock)


def _folder(settings: Settings) -> Path:
    return settings.home / "people-keys"
