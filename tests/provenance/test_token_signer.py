"""A signer's key in a token: SoftHSM 2 in a process of its own, since it reads settings once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from policies.hsm import TokenAddress
from provenance import token_signer as module
from provenance.signers import KeyRefused
from provenance.token_signer import TokenKey, TokenUnavailable

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")

SCRIPT = """
import hashlib, sys
import pkcs11
from asn1crypto import keys as asn1
from cryptography.hazmat.primitives import serialization
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key
from policies.hsm import TokenAddress
from provenance.signers import KeyRefused, as_cose
from provenance.token_signer import TokenKey, TokenUnavailable

def address(name, pin="1234"):
    return TokenAddress(sys.argv[1], "facewarrant", pin, name)

def refused(kind, name, public, pin="1234"):
    try:
        TokenKey(address(name, pin), public=public)
    except kind as error:
        return error.message
    raise SystemExit(f"{name} was not refused")

attribute, mechanism = pkcs11.Attribute, pkcs11.MechanismFlag
token = pkcs11.lib(sys.argv[1]).get_token(token_label="facewarrant")
session = token.open(rw=True, user_pin="1234")

def make_ec(curve, label, template=None):
    oid = encode_named_curve_parameters(curve)
    parameters = session.create_domain_parameters(
        pkcs11.KeyType.EC, {attribute.EC_PARAMS: oid}, local=True
    )
    locked = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False} | (template or {})
    pair = parameters.generate_keypair(store=True, label=label, private_template=locked)
    return serialization.load_der_public_key(encode_ec_public_key(pair[0]))

p256, p384 = make_ec("secp256r1", "p256"), make_ec("secp384r1", "p384")
pair = session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="rsa")
spki = asn1.PublicKeyInfo.wrap(asn1.RSAPublicKey.load(encode_rsa_public_key(pair[0])), "rsa")
rsa = serialization.load_der_public_key(spki.dump())
for label, public, alg, size in (
    ("p256", p256, "ES256", 64), ("p384", p384, "ES384", 96), ("rsa", rsa, "PS256", 256)
):
    key = TokenKey(address(label), public=public)  # the process is logged in already
    assert key.public is public
    assert len(as_cose(key.sign(b"claim"), b"claim", public, alg)) == size, label
    key.close()
make_ec("secp256r1", "loose", {attribute.EXTRACTABLE: True, attribute.SENSITIVE: False})
for _ in range(2):
    make_ec("secp256r1", "twice")
assert "0 private keys" in refused(KeyRefused, "absent", p256)
assert "2 private keys" in refused(KeyRefused, "twice", p256)
assert "always locked" in refused(KeyRefused, "loose", p256)
session.close()
assert "PinIncorrect" in refused(TokenUnavailable, "p256", p256, pin="9999")
key = TokenKey(address("p256"), public=p256)  # alone: it logs in itself
assert len(key.sign(b"claim")) == 64
key.close()
try:
    key.sign(b"claim")
except TokenUnavailable as error:
    print("done", error.code)
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="SoftHSM is not installed")
def test_keys_of_a_token_sign_and_unfit_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n"
    )
    root = str(Path(module.__file__).parents[1])
    given: dict[str, Any] = {
        "env": {**os.environ, "SOFTHSM2_CONF": str(settings), "PYTHONPATH": root},
        "capture_output": True,
        "timeout": 60,
    }
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "facewarrant"),
            *("--pin", "1234", "--so-pin", "5678"),
        ],
        check=True,
        **given,
    )
    script = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(LIBRARY)]
    found = subprocess.run(script, check=False, **given)
    assert (found.returncode, found.stdout) == (0, b"done TOKEN-UNAVAILABLE\n"), found.stderr


# ------------------------------------------------------------------------------ a token by script


class Pkcs11Error(Exception):
    """The base of the library's errors."""


class UserAlreadyLoggedIn(Pkcs11Error):
    """The process has logged in before."""


class PinIncorrect(Pkcs11Error):
    """Not the PIN."""


class Names:
    """Constants that are their own name."""

    def __getattr__(self, name: str) -> str:
        return name


class Token:
    """A token, its session and the library around it; the keys are private keys of this process."""

    exceptions = SimpleNamespace(UserAlreadyLoggedIn=UserAlreadyLoggedIn)
    PKCS11Error = Pkcs11Error
    Attribute = Mechanism = MGF = ObjectClass = Names()

    def __init__(self, *keys: Any, on_login: Exception | None = None) -> None:
        self.keys, self.on_login = keys, on_login
        self.closed = False
        self.pins: list[str | None] = []

    def lib(self, _path: str) -> Token:
        return self

    def get_token(self, token_label: str) -> Token:
        assert token_label == "facewarrant"  # noqa: S105 - a label
        return self

    def open(self, *, rw: bool, user_pin: str | None = None) -> Token:
        assert not rw
        self.pins.append(user_pin)
        if user_pin is not None and self.on_login:
            raise self.on_login
        return self

    def get_objects(self, wanted: dict[str, object]) -> list[Any]:
        assert wanted == {"CLASS": "PRIVATE_KEY", "LABEL": "signer", "TOKEN": True}
        return list(self.keys)

    def close(self) -> None:
        if self.closed:
            raise Pkcs11Error
        self.closed = True


class Key(dict[str, bool]):
    """A private key in the token."""

    def __init__(self, *, sensitive: bool = True, locked: bool = True) -> None:
        super().__init__(SENSITIVE=sensitive, NEVER_EXTRACTABLE=locked)
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def sign(self, data: bytes, **how: Any) -> bytes:
        if self.error:
            raise self.error
        self.asked.append((data, how))
        return b"signature"


P256 = ec.generate_private_key(ec.SECP256R1()).public_key()
P384 = ec.generate_private_key(ec.SECP384R1()).public_key()
RSA = rsa.generate_private_key(65537, 2048).public_key()


def open_key(patch: pytest.MonkeyPatch, token: Token, public: Any = P256) -> TokenKey:
    patch.setitem(sys.modules, "pkcs11", token)  # type: ignore[arg-type]
    address = TokenAddress("lib.so", "facewarrant", "1234", "signer")
    return TokenKey(address, public=public)


@pytest.mark.parametrize(
    ("public", "data", "how"),
    [
        (P256, hashlib.sha256(b"claim").digest(), {"mechanism": "ECDSA"}),
        (P384, hashlib.sha384(b"claim").digest(), {"mechanism": "ECDSA"}),
        (
            RSA,
            b"claim",
            {"mechanism": "SHA256_RSA_PKCS_PSS", "mechanism_param": ("SHA256", "SHA256", 32)},
        ),
    ],
)
def test_each_key_is_asked_by_its_mechanism(
    monkeypatch: pytest.MonkeyPatch, public: Any, data: bytes, how: dict[str, Any]
) -> None:
    key = Key()
    found = open_key(monkeypatch, Token(key), public)
    assert (found.sign(b"claim"), found.public) == (b"signature", public)
    assert key.asked == [(data, how)]


def test_a_process_that_is_logged_in_opens_without_the_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    token = Token(Key(), on_login=UserAlreadyLoggedIn())
    open_key(monkeypatch, token)
    assert token.pins == ["1234", None]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), "0 private keys"),
        ((Key(), Key()), "2 private keys"),
        ((Key(sensitive=False),), "always locked"),
        ((Key(locked=False),), "always locked"),
    ],
)
def test_an_unfit_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, keys: tuple[Key, ...], words: str
) -> None:
    with pytest.raises(KeyRefused, match=words) as caught:
        open_key(monkeypatch, Token(*keys))
    assert caught.value.code == "KEY-REFUSED"


def test_another_kind_of_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyRefused, match="EC or RSA"):
        open_key(monkeypatch, Token(Key()), ed25519.Ed25519PrivateKey.generate().public_key())


def test_a_token_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TokenUnavailable, match="open the token: PinIncorrect") as caught:
        open_key(monkeypatch, Token(Key(), on_login=PinIncorrect()))
    assert caught.value.code == "TOKEN-UNAVAILABLE"
    assert "1234" not in caught.value.diagnostics()
    key = Key()
    found = open_key(monkeypatch, Token(key))
    key.error = Pkcs11Error()
    with pytest.raises(TokenUnavailable, match="sign"):
        found.sign(b"claim")
    found.close()
    with pytest.raises(TokenUnavailable, match="close"):
        found.close()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(TokenUnavailable, match="not installed") as caught:
        TokenKey(TokenAddress("lib.so", "facewarrant", "1234", "signer"), public=P256)
    assert "facewarrant[hsm]" in caught.value.mend
