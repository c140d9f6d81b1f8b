from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from policies.canonical import canonical
from policies.errors import Error
from policies.keyprovider import (
    KeyDenied,
    KeyExposed,
    KeyGone,
    KeyProvider,
    KeyUnavailable,
    Standing,
    Wrapped,
    refuse_length,
    refuse_missing,
    version_name,
    version_number,
)
from policies.subjectkeys import SubjectKeys


@pytest.mark.parametrize("number", [1, 2, 10, 999_999_999])
def test_names_and_numbers_of_versions(number: int) -> None:
    assert version_number(version_name(number)) == number


@pytest.mark.parametrize("name", ["", "v0", "v01", "1", "v", "v-1", "V1", "v1 ", "v1\n", "v\u0661"])
def test_what_is_not_the_name_of_a_version(name: str) -> None:
    with pytest.raises(KeyDenied) as caught:
        version_number(name)
    assert caught.value.code == "KEY-DENIED"


@pytest.mark.parametrize(
    ("version", "code"),
    [("v1", "KEY-GONE"), ("v3", "KEY-GONE"), ("v4", "KEY-DENIED"), ("x", "KEY-DENIED")],
)
def test_a_missing_version_was_destroyed_or_never_made(version: str, code: str) -> None:
    with pytest.raises(Error) as caught:
        refuse_missing(version, newest=3)
    assert caught.value.code == code


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_data_key_has_32_bytes(length: int) -> None:
    refuse_length(bytes(32))
    with pytest.raises(KeyDenied) as caught:
        refuse_length(bytes(length))
    assert str(length) in caught.value.message


def test_unavailable_and_exposed_are_denials_but_gone_is_final() -> None:
    assert issubclass(KeyUnavailable, KeyDenied)
    assert issubclass(KeyExposed, KeyDenied)
    assert not issubclass(KeyGone, KeyDenied)
    codes = {kind.code for kind in (KeyGone, KeyDenied, KeyUnavailable, KeyExposed)}
    assert codes == {"KEY-GONE", "KEY-DENIED", "KEY-UNAVAILABLE", "KEY-EXPOSED"}


def test_a_version_that_is_kept_has_no_end() -> None:
    assert Standing("kept").gone_at is None


DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


class FakeKms:
    """Just enough of a client to run the page; no claim about any real KMS."""

    class Refused(Exception): ...

    class Unreachable(Exception): ...

    def __init__(self) -> None:
        self.held: list[SimpleNamespace] = []
        self.down, self.now = False, 0
        self.create("tenant")

    def create(self, _tenant: str) -> None:
        name = f"key-{len(self.held)}"
        kek = bytes([len(self.held)]) * 32
        self.held.append(SimpleNamespace(id=name, state="kept", gone_at=None, kek=kek))

    def keys(self, _tenant: str) -> list[SimpleNamespace]:
        if self.down:
            raise self.Unreachable
        return self.held

    def encrypt(self, name: str, data: bytes, context: dict[str, str]) -> bytes:
        return bytes(12) + AESGCM(self._find(name).kek).encrypt(bytes(12), data, canonical(context))

    def decrypt(self, name: str, data: bytes, context: dict[str, str]) -> bytes:
        try:
            key = AESGCM(self._find(name).kek)
            return key.decrypt(data[:12], data[12:], canonical(context))
        except InvalidTag as error:
            raise self.Refused from error

    def schedule_deletion(self, name: str, *, days: int) -> None:
        key = self._find(name)
        key.state, key.gone_at = "scheduled", self.now + days * 86_400

    def _find(self, name: str) -> SimpleNamespace:
        key = next(each for each in self.held if each.id == name)
        if key.state == "scheduled" and name != self.held[-1].id:
            raise self.Refused
        return key


@pytest.fixture
def kms() -> FakeKms:
    return FakeKms()


@pytest.fixture
def documented(kms: FakeKms) -> KeyProvider:
    """The adapter as the page prints it."""
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    page: dict[str, Any] = {}
    exec(compile(block, str(DOCS), "exec"), page)  # noqa: S102 - our own page
    made: KeyProvider = page["KmsKeys"](kms, "tenant")
    return made


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Error) as caught:
        act()
    return caught.value.code


def test_the_documented_adapter_wraps_and_rotates(documented: KeyProvider) -> None:
    old = documented.wrap(b"d" * 32)
    assert documented.rotate() == documented.version == "v2"
    assert documented.unwrap(old) == b"d" * 32
    assert refused(lambda: documented.unwrap(Wrapped(old.blob, "v2"))) == "KEY-DENIED"
    assert refused(lambda: documented.unwrap(Wrapped(old.blob, "v3"))) == "KEY-DENIED"
    assert refused(lambda: documented.destroy("v2")) == "KEY-DENIED"
    assert refused(lambda: documented.wrap(b"short")) == "KEY-DENIED"


def test_the_documented_adapter_says_scheduled_until_it_is_done(
    documented: KeyProvider, kms: FakeKms
) -> None:
    old = documented.wrap(b"d" * 32)
    documented.rotate()
    documented.destroy("v1")
    assert documented.standing("v1") == Standing("scheduled", 30 * 86_400)
    kms.now = 1
    documented.destroy("v1")
    assert documented.standing("v1") == Standing("scheduled", 30 * 86_400)
    # Refused, but not gone: the deletion can still be called off.
    assert refused(lambda: documented.unwrap(old)) == "KEY-DENIED"
    kms.held[0].state = "destroyed"
    assert refused(lambda: documented.unwrap(old)) == "KEY-GONE"


def test_the_documented_adapter_without_an_answer(documented: KeyProvider, kms: FakeKms) -> None:
    kms.down = True
    assert refused(lambda: documented.wrap(b"d" * 32)) == "KEY-UNAVAILABLE"


def test_the_documented_adapter_serves_subject_keys(documented: KeyProvider) -> None:
    pid = "ps_" + "a" * 26
    keys = SubjectKeys("sqlite://", documented, clock=lambda: 0)
    sealed = keys.seal(b"template", pid=pid, bound={})
    documented.rotate()
    assert keys.rewrap() == 1
    keys.retire("v1")
    assert keys.open(sealed, pid=pid, bound={}) == b"template"


def test_every_name_on_the_page_is_there() -> None:
    text = DOCS.read_text()
    for name in sorted(set(re.findall(r"`(policies\.[a-z]+\.[A-Za-z]+)`", text))):
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name
    codes = {kind.code for kind in (KeyGone, KeyDenied, KeyUnavailable)}
    assert codes <= set(re.findall(r"`(KEY-[A-Z]+)`", text))
