from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from policies import keyfile as module
from policies.canonical import canonical
from policies.errors import Error, StoreUnavailable
from policies.keyfile import FileKeys, Passphrase
from policies.keyprovider import KeyDenied, KeyGone, Standing, Wrapped

NOW = 1_795_219_200
KEY = b"d" * 32
# The least work scrypt takes here: these tests are about the file, not about guessing.
WORDS = Passphrase("correct horse battery staple", scrypt_n=2**10)


def counting(size: int) -> bytes:
    """Fixed "randomness": 00 01 02 ... up to the size asked for."""
    return bytes(range(size))


def create(path: Path, passphrase: Passphrase | None = None) -> FileKeys:
    return FileKeys.create(path, clock=lambda: NOW, passphrase=passphrase)


def reopen(path: Path, passphrase: Passphrase | None = None) -> FileKeys:
    return FileKeys(path, clock=lambda: NOW, passphrase=passphrase)


def refused(path: Path, passphrase: Passphrase | None = None) -> str:
    with pytest.raises(Error) as caught:
        reopen(path, passphrase)
    return caught.value.code


@pytest.fixture(params=[None, WORDS], ids=["plain", "sealed"])
def passphrase(request: pytest.FixtureRequest) -> Passphrase | None:
    found: Passphrase | None = request.param
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kek"


def test_wrapped_keys_open_again_after_a_restart(path: Path, passphrase: Passphrase | None) -> None:
    wrapped = create(path, passphrase).wrap(KEY)
    assert (len(wrapped.blob), wrapped.version) == (40, "v1")
    assert reopen(path, passphrase).unwrap(wrapped) == KEY
    assert path.stat().st_mode & 0o777 == 0o600


def test_golden_vector_of_the_wrap(path: Path) -> None:
    # RFC 3394, section 4.6: 256 bits of key data under a 256-bit KEK 00 01 .. 1f.
    keys = FileKeys.create(path, clock=lambda: NOW, random=counting)
    data = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
    assert keys.wrap(data).blob.hex() == (
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    )
    assert path.read_bytes() == canonical(
        {"schema": "facewarrant/kek/1", "keys": {"v1": counting(32).hex()}, "destroyed": {}}
    )


def test_golden_vector_of_the_sealed_file(path: Path) -> None:
    FileKeys.create(path, clock=lambda: NOW, passphrase=WORDS, random=counting)
    body = json.loads(path.read_bytes())
    ciphertext = body.pop("ciphertext")
    assert body == {
        "schema": "facewarrant/kek-sealed/1",
        "scrypt_n": 1024,
        "salt": counting(16).hex(),
        "nonce": counting(12).hex(),
    }
    # The standard library's scrypt as the second opinion.
    key = hashlib.scrypt(WORDS.text.encode(), salt=counting(16), n=1024, r=8, p=1, dklen=32)
    plain = AESGCM(key).decrypt(counting(12), bytes.fromhex(ciphertext), canonical(body))
    assert json.loads(plain)["keys"] == {"v1": counting(32).hex()}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == (
        "e1eab0094908807959f66c665bbd773c3440506097ee148094351062ab68ad61"
    )


def test_rotation_and_destruction(path: Path, passphrase: Passphrase | None) -> None:
    keys = create(path, passphrase)
    old = keys.wrap(KEY)
    assert keys.rotate() == keys.version == "v2"
    new = keys.wrap(KEY)
    assert new.version == "v2"
    assert keys.unwrap(old) == keys.unwrap(new) == KEY
    keys.destroy("v1")
    again = reopen(path, passphrase)
    for either in (keys, again):
        assert either.standing("v1") == Standing("destroyed", NOW)
        assert either.standing("v2") == Standing("kept")
        assert either.unwrap(new) == KEY
        with pytest.raises(KeyGone) as caught:
            either.unwrap(old)
        assert caught.value.code == "KEY-GONE"
    keys.destroy("v1")
    assert keys.rotate() == "v3"


def test_the_version_in_use_is_not_destroyed(path: Path) -> None:
    keys = create(path)
    for version in ("v1", "v2", "x"):
        with pytest.raises(KeyDenied) as caught:
            keys.destroy(version)
        assert caught.value.code == "KEY-DENIED"
    assert keys.unwrap(keys.wrap(KEY)) == KEY


def test_unknown_versions_are_denied_and_not_called_gone(path: Path) -> None:
    keys = create(path)
    for version in ("v2", "", "v01"):
        with pytest.raises(KeyDenied):
            keys.unwrap(Wrapped(keys.wrap(KEY).blob, version))
        with pytest.raises(KeyDenied):
            keys.standing(version)


def test_changed_moved_and_foreign_wraps_are_denied(path: Path, tmp_path: Path) -> None:
    keys = create(path)
    wrapped = keys.wrap(KEY)
    keys.rotate()
    kek = bytes.fromhex(json.loads(path.read_bytes())["keys"]["v1"])
    blobs = [
        bytes([wrapped.blob[0] ^ 1]) + wrapped.blob[1:],
        wrapped.blob[:-1],
        b"",
        create(tmp_path / "other").wrap(KEY).blob,
        aes_key_wrap(kek, b"s" * 16),
    ]
    for blob in blobs:
        with pytest.raises(KeyDenied):
            keys.unwrap(Wrapped(blob, "v1"))
    with pytest.raises(KeyDenied):
        keys.unwrap(Wrapped(wrapped.blob, "v2"))
    with pytest.raises(KeyDenied):
        keys.wrap(b"short")


def test_two_processes_share_one_file(path: Path) -> None:
    one, other = create(path), reopen(path)
    assert one.rotate() == "v2"
    assert other.version == "v2"
    assert other.rotate() == "v3"
    one.destroy("v1")
    assert one.unwrap(other.wrap(KEY)) == KEY
    assert other.standing("v1").state == "destroyed"


def test_rotations_at_once_lose_no_version(path: Path) -> None:
    keys = create(path)
    threads = [threading.Thread(target=reopen(path).rotate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys.version == "v7"
    assert all(keys.standing(f"v{number}").state == "kept" for number in range(1, 8))


def test_a_sealed_file_holds_no_key_in_the_clear(path: Path) -> None:
    FileKeys.create(path, clock=lambda: NOW, passphrase=WORDS, random=lambda size: b"\x5a" * size)
    assert (b"\x5a" * 32).hex().encode() not in path.read_bytes()
    assert refused(path, Passphrase("a different passphrase")) == "KEY-DENIED"


def test_the_same_words_in_another_unicode_form_open_it(path: Path) -> None:
    create(path, Passphrase("gr\u00fc\u00dfe an die welt", scrypt_n=2**10))
    reopen(path, Passphrase("gru\u0308\u00dfe an die welt", scrypt_n=2**12))


def test_plain_and_sealed_are_not_taken_for_each_other(path: Path, tmp_path: Path) -> None:
    create(path)
    create(tmp_path / "sealed", WORDS)
    assert refused(path, WORDS) == "KEY-DENIED"
    assert refused(tmp_path / "sealed") == "KEY-DENIED"


@pytest.mark.parametrize("change", ["salt", "nonce", "ciphertext", "scrypt_n"])
def test_any_changed_part_of_a_sealed_file(change: str, path: Path) -> None:
    create(path, WORDS)
    body = json.loads(path.read_bytes())
    was = body[change]
    body[change] = 2**11 if change == "scrypt_n" else f"{int(was[0], 16) ^ 1:x}{was[1:]}"
    path.write_bytes(canonical(body))
    assert refused(path, WORDS) == "KEY-DENIED"


@pytest.mark.parametrize(
    ("field", "value"),
    [("scrypt_n", 2**9), ("scrypt_n", 2**21), ("scrypt_n", 2**11 + 1), ("salt", ""), ("more", 1)],
)
def test_forms_a_sealed_file_must_not_have(field: str, value: object, path: Path) -> None:
    create(path, WORDS)
    path.write_bytes(canonical(json.loads(path.read_bytes()) | {field: value}))
    assert refused(path, WORDS) == "KEY-DENIED"


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff", b"[]", b'{"schema":"facewarrant/kek/1"}',
     b'{"destroyed":{},"keys":{},"schema":"facewarrant/kek/1"}',
     b'{"destroyed":{},"keys":{"v0":"' + b"0" * 64 + b'"},"schema":"facewarrant/kek/1"}',
     b'{"destroyed":{},"keys":{"v1":"00"},"schema":"facewarrant/kek/1"}'],
)  # fmt: skip
def test_damaged_files(data: bytes, path: Path) -> None:
    create(path)
    path.write_bytes(data)
    assert refused(path) == "KEY-DENIED"


def test_no_message_quotes_a_key(path: Path) -> None:
    create(path)
    body = json.loads(path.read_bytes())
    secret = body["keys"]["v1"]
    path.write_bytes(canonical(body | {"more": 1}))
    with pytest.raises(KeyDenied) as caught:
        reopen(path)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert secret not in str(caught.value)
    assert "horse" not in repr(WORDS)


def test_missing_exposed_and_oversize_files(path: Path) -> None:
    assert refused(path) == "KEY-UNAVAILABLE"
    keys = create(path)
    path.chmod(0o640)
    assert refused(path) == "KEY-EXPOSED"
    path.chmod(0o600)
    path.write_bytes(b"x" * 65_537)
    assert refused(path) == "KEY-UNAVAILABLE"
    with pytest.raises(KeyDenied):
        keys.wrap(KEY)
    path.unlink()
    with pytest.raises(KeyDenied) as caught:
        keys.unwrap(Wrapped(bytes(40), "v1"))
    assert caught.value.code == "KEY-UNAVAILABLE"


def test_creation_never_replaces(path: Path) -> None:
    wrapped = create(path).wrap(KEY)
    with pytest.raises(KeyDenied):
        create(path)
    path.with_name("link").symlink_to(path.with_name("nowhere"))
    with pytest.raises(KeyDenied):
        create(path.with_name("link"))
    path.parent.chmod(0o777)
    with pytest.raises(KeyDenied) as caught:
        create(path.with_name("fresh"))
    assert caught.value.code == "KEY-EXPOSED"
    path.parent.chmod(0o700)
    assert reopen(path).unwrap(wrapped) == KEY


def test_what_the_old_file_held_is_overwritten(path: Path) -> None:
    keys = create(path)
    os.link(path, path.with_name("the old blocks"))
    before = path.read_bytes()
    keys.rotate()
    assert path.with_name("the old blocks").read_bytes() == bytes(len(before))


def test_a_crash_leaves_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = create(path)
    wrapped = keys.wrap(KEY)

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("no space left")

    monkeypatch.setattr(module, "replace_file", fail)
    with pytest.raises(StoreUnavailable):
        keys.rotate()
    assert keys.version == reopen(path).version == "v1"
    assert reopen(path).unwrap(wrapped) == KEY


def test_a_file_that_cannot_be_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = create(path)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "fsync", fail)
    monkeypatch.setattr(module, "replace_file", lambda *_, **__: None)
    with pytest.raises(KeyDenied) as caught:
        keys.rotate()
    assert caught.value.code == "KEY-UNAVAILABLE"


def test_a_short_passphrase_is_refused() -> None:
    Passphrase("fifteen letters")
    with pytest.raises(KeyDenied) as caught:
        Passphrase("fourteen chars")
    assert caught.value.code == "KEY-DENIED"


def test_the_work_of_a_guess_is_what_owasp_asks() -> None:
    assert Passphrase("fifteen letters").scrypt_n == 2**17
