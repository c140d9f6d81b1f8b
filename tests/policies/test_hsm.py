"""Against SoftHSM 2, the software token of Debian's package `softhsm2`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pkcs11
import pytest

from policies import hsm as module
from policies.errors import Error
from policies.hsm import TokenAddress, TokenKeys
from policies.keyprovider import KeyDenied, KeyGone, Standing, Wrapped
from policies.subjectkeys import SubjectKeys

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN, PIN, KEY = "facewarrant", "1234", b"d" * 32

needs_token = pytest.mark.skipif(
    not LIBRARY.exists(), reason="SoftHSM is not installed: apt-get install softhsm2"
)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenAddress]:
    """A fresh token; the library reads its settings once per process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", TOKEN,
             "--pin", PIN, "--so-pin", "5678"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        yield TokenAddress(library=str(LIBRARY), token=TOKEN, pin=PIN)


@pytest.fixture
def address(token: TokenAddress, request: pytest.FixtureRequest) -> TokenAddress:
    """The token under a name that no other test uses."""
    return replace(token, name=f"kek-{abs(hash(request.node.nodeid))}")


@pytest.fixture
def keys(address: TokenAddress) -> Iterator[TokenKeys]:
    with closing(TokenKeys.create(address)) as made:
        yield made


def refused(act: Any, *arguments: object) -> str:
    with pytest.raises(Error) as caught:
        act(*arguments)
    return caught.value.code


@needs_token
def test_a_wrapped_key_opens_again_in_a_new_session(address: TokenAddress) -> None:
    with closing(TokenKeys.create(address)) as keys:
        wrapped = keys.wrap(KEY)
    assert (len(wrapped.blob), wrapped.version) == (40, "v1")
    with closing(TokenKeys(address)) as keys:
        assert keys.unwrap(wrapped) == KEY


@needs_token
def test_the_key_was_made_in_the_token_and_cannot_leave(keys: TokenKeys) -> None:
    ((key,),) = keys._labelled().values()
    attribute = pkcs11.Attribute
    for name, value in (
        (attribute.SENSITIVE, True), (attribute.EXTRACTABLE, False), (attribute.LOCAL, True),
        (attribute.ALWAYS_SENSITIVE, True), (attribute.NEVER_EXTRACTABLE, True),
        (attribute.ENCRYPT, False), (attribute.DECRYPT, False),
    ):  # fmt: skip
        assert key[name] is value
    with pytest.raises(pkcs11.AttributeSensitive):
        key[attribute.VALUE]


@needs_token
def test_no_data_key_stays_in_the_token(keys: TokenKeys) -> None:
    def count() -> int:
        found = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
        return len(list(keys._session.get_objects(found)))

    before = count()
    wrapped = keys.wrap(KEY)
    keys.unwrap(wrapped)
    refused(keys.unwrap, Wrapped(wrapped.blob[:-1] + b"\0", "v1"))
    assert count() == before


@needs_token
def test_rotation_and_destruction(keys: TokenKeys) -> None:
    old = keys.wrap(KEY)
    assert keys.rotate() == keys.version == "v2"
    new = keys.wrap(KEY)
    assert new.version == "v2"
    assert keys.unwrap(old) == keys.unwrap(new) == KEY
    assert keys.standing("v1") == Standing("kept")
    keys.destroy("v1")
    keys.destroy("v1")
    assert keys.standing("v1") == Standing("destroyed")
    with pytest.raises(KeyGone) as caught:
        keys.unwrap(old)
    assert caught.value.code == "KEY-GONE"
    assert keys.unwrap(new) == KEY
    assert keys.rotate() == "v3"


@needs_token
def test_the_version_in_use_is_not_destroyed(keys: TokenKeys) -> None:
    for version in ("v1", "v2", "x"):
        assert refused(keys.destroy, version) == "KEY-DENIED"
    assert keys.unwrap(keys.wrap(KEY)) == KEY


@needs_token
def test_changed_foreign_and_unknown_wraps_are_denied(keys: TokenKeys) -> None:
    wrapped = keys.wrap(KEY)
    keys.rotate()
    for blob, version in (
        (bytes([wrapped.blob[0] ^ 1]) + wrapped.blob[1:], "v1"), (wrapped.blob[:-1], "v1"),
        (b"", "v1"), (wrapped.blob, "v2"), (wrapped.blob, "v3"), (wrapped.blob, "x"),
    ):  # fmt: skip
        assert refused(keys.unwrap, Wrapped(blob, version)) == "KEY-DENIED"
    assert refused(keys.wrap, b"short") == "KEY-DENIED"
    assert refused(keys.standing, "v3") == "KEY-DENIED"


@needs_token
def test_two_keys_of_one_version_both_unwrap(keys: TokenKeys) -> None:
    # Two processes that rotate at once: a token keeps no label unique.
    keys.rotate()
    first = keys.wrap(KEY)
    keys._generate("v2")
    assert keys.unwrap(first) == KEY
    keys._labelled()[2][0].destroy()
    keys._generate("v2")
    second = keys.wrap(KEY)
    assert keys.unwrap(second) == KEY
    assert refused(keys.unwrap, Wrapped(bytes(40), "v2")) == "KEY-DENIED"
    keys.rotate()
    keys.destroy("v2")
    assert keys.standing("v2").state == "destroyed"


@needs_token
@pytest.mark.parametrize("change", ["EXTRACTABLE", "IMPORTED", "SHORT"])
def test_a_key_that_could_leave_the_token_is_refused(change: str, address: TokenAddress) -> None:
    with closing(TokenKeys.create(address)) as keys:
        attribute = pkcs11.Attribute
        locked = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: change == "EXTRACTABLE"}
        label = f"{address.name}-v2"
        if change == "IMPORTED":
            content = {
                attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, attribute.TOKEN: True,
                attribute.KEY_TYPE: pkcs11.KeyType.AES, attribute.VALUE: KEY,
                attribute.LABEL: label,
            }  # fmt: skip
            keys._session.create_object(content | locked)
        else:
            keys._session.generate_key(
                pkcs11.KeyType.AES, 128 if change == "SHORT" else 256,
                label=label, store=True, template=locked,
            )  # fmt: skip
        assert refused(keys.wrap, KEY) == "KEY-EXPOSED"
    assert refused(TokenKeys, address) == "KEY-EXPOSED"


@needs_token
def test_other_labels_are_not_ours(keys: TokenKeys, address: TokenAddress) -> None:
    for label in (f"{address.name}-v0", f"{address.name}-spare", f"x{address.name}-v9"):
        keys._session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True)
    assert keys.version == "v1"


@needs_token
def test_creation_never_replaces(address: TokenAddress) -> None:
    with closing(TokenKeys.create(address)) as keys:
        wrapped = keys.wrap(KEY)
    assert refused(TokenKeys.create, address) == "KEY-DENIED"
    with closing(TokenKeys(address)) as keys:
        assert keys.unwrap(wrapped) == KEY


@needs_token
def test_wrong_pin_token_library_and_name(address: TokenAddress) -> None:
    for change, code in (
        ({"pin": "9999"}, "KEY-DENIED"),
        ({"token": "another"}, "KEY-UNAVAILABLE"),
        ({"library": "/nowhere.so"}, "KEY-UNAVAILABLE"),
        ({"name": "never-made"}, "KEY-UNAVAILABLE"),
    ):
        assert refused(TokenKeys, replace(address, **change)) == code
    assert PIN not in repr(address)


@needs_token
@pytest.mark.parametrize("kind", module._UNREACHABLE)
def test_a_token_that_is_away_is_no_verdict_about_a_key(kind: str, keys: TokenKeys) -> None:
    def fail() -> None:
        with keys._translated("answer"):
            raise getattr(pkcs11, kind)

    assert refused(fail) == "KEY-UNAVAILABLE"


@needs_token
def test_a_second_login_is_refused(keys: TokenKeys, address: TokenAddress) -> None:
    assert refused(TokenKeys, address) == "KEY-UNAVAILABLE"
    assert keys.unwrap(keys.wrap(KEY)) == KEY


@needs_token
def test_many_threads_share_one_session(keys: TokenKeys) -> None:
    found: list[bool] = []

    def work(number: int) -> None:
        key = bytes([number]) * 32
        found.extend(keys.unwrap(keys.wrap(key)) == key for _ in range(10))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 60


@needs_token
def test_subjects_under_a_token(keys: TokenKeys) -> None:
    pid = "ps_" + "a" * 26
    subjects = SubjectKeys("sqlite://", keys, clock=lambda: 0)
    sealed = subjects.seal(b"template", pid=pid, bound={})
    keys.rotate()
    assert subjects.rewrap() == 1
    subjects.retire("v1")
    assert subjects.open(sealed, pid=pid, bound={}) == b"template"
    subjects.destroy(pid)
    with pytest.raises(KeyGone):
        subjects.open(sealed, pid=pid, bound={})


def test_without_the_extra_only_tokens_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyDenied) as caught:
        TokenKeys(TokenAddress(library="x", token=TOKEN, pin=PIN))
    assert caught.value.code == "KEY-UNAVAILABLE"
    assert "facewarrant[hsm]" in caught.value.mend
