from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policies.errors import BadSignature
from policies.keys import CommitmentKey, PublicKey, SigningKey, refuse_small_order

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
KEY = SigningKey.from_seed(b"\x07" * 32)
BODY = {"a": 1}


def encodings() -> list[bytes]:
    """Every 32-byte string that decodes to one of the eight small-order points."""
    found = []
    for y in (0, 1, P - 1, Y8, P - Y8):
        for value in (y, y + P):
            if value < 2**255:
                found += [value.to_bytes(32, "little"), (value | 1 << 255).to_bytes(32, "little")]
    return found


def test_all_encodings_of_small_order_are_listed() -> None:
    # y = 0 and 1 also have a non-canonical twin below 2**255; with the sign bit, 14 in all.
    assert len(set(encodings())) == 14


@pytest.mark.parametrize("raw", encodings(), ids=bytes.hex)
def test_small_order_keys_are_refused_everywhere(raw: bytes) -> None:
    for use in (refuse_small_order, PublicKey, lambda r: PublicKey.from_hex(r.hex())):
        with pytest.raises(BadSignature) as caught:
            use(raw)
        assert caught.value.code == "BAD-SIGNATURE"


def test_why_the_library_accepts_a_forgery_under_such_a_key() -> None:
    one = (1).to_bytes(32, "little")
    forged = one + bytes(32)
    for message in (b"anything", b"whatever"):
        Ed25519PublicKey.from_public_bytes(one).verify(forged, message)


def test_a_non_canonical_y_is_refused() -> None:
    with pytest.raises(BadSignature):
        PublicKey((P + 3).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(BadSignature, match="32 bytes"):
        PublicKey(b"\x09" * length)
    with pytest.raises(BadSignature, match="32 bytes"):
        SigningKey.from_seed(b"\x09" * length)


def test_hex_round_trip_and_kid() -> None:
    public = KEY.public
    assert PublicKey.from_hex(public.hex) == public
    assert public.kid == hashlib.sha256(public.raw).hexdigest()[:16]


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda t: t[:-1], lambda t: t + "\n", lambda t: " " + t]
)
def test_a_key_has_one_spelling(spoil: object) -> None:
    with pytest.raises(BadSignature):
        PublicKey.from_hex(spoil(KEY.public.hex))  # type: ignore[operator]


def test_a_signature_verifies_for_its_kind_and_body_only() -> None:
    signature = KEY.sign("consent", BODY)
    KEY.public.verify("consent", BODY, signature)
    other = SigningKey.from_seed(b"\x08" * 32).public
    for key, kind, body in (
        (other, "consent", BODY),
        (KEY.public, "consent-event", BODY),
        (KEY.public, "warrant", BODY),
        (KEY.public, "consent", {"a": 2}),
        (KEY.public, "consent", {}),
    ):
        with pytest.raises(BadSignature) as caught:
            key.verify(kind, body, signature)
        assert caught.value.code == "BAD-SIGNATURE"


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    signature = bytes.fromhex(KEY.sign("consent", BODY))
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            KEY.public.verify("consent", BODY, flipped.hex())


def test_the_malleable_twin_of_a_signature_is_refused() -> None:
    raw = bytes.fromhex(KEY.sign("consent", BODY))
    s = int.from_bytes(raw[32:], "little") + L
    with pytest.raises(BadSignature):
        KEY.public.verify("consent", BODY, (raw[:32] + s.to_bytes(32, "little")).hex())


@pytest.mark.parametrize("signature", ["", "00", "zz" * 64, "0" * 127, "0" * 130])
def test_what_is_no_signature(signature: str) -> None:
    with pytest.raises(BadSignature):
        KEY.public.verify("consent", BODY, signature)


@pytest.mark.parametrize("respell", [str.upper, lambda s: s + " ", lambda s: s[:64] + " " + s[64:]])
def test_a_signature_has_one_spelling(respell: object) -> None:
    signature = KEY.sign("consent", BODY)
    with pytest.raises(BadSignature):
        KEY.public.verify("consent", BODY, respell(signature))  # type: ignore[operator]


def test_pem_round_trip() -> None:
    key = SigningKey.generate()
    assert SigningKey.from_pem(key.to_pem()).public == key.public
    assert SigningKey.generate().public != key.public


def pem(key: object, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def test_what_is_no_key_file() -> None:
    plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"x")
    for data in (
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        KEY.to_pem()[:40],
        pem(ec.generate_private_key(ec.SECP256R1()), plain),
        pem(x25519.X25519PrivateKey.generate(), plain),
        pem(KEY._key, locked),
    ):
        with pytest.raises(BadSignature) as caught:
            SigningKey.from_pem(data)
        assert caught.value.code == "BAD-SIGNATURE"


def test_secrets_are_not_printed() -> None:
    secret = bytes(range(32))
    shown = repr(SigningKey.from_seed(secret)) + repr(CommitmentKey(secret))
    assert secret.hex() not in shown
    assert repr(secret) not in shown
    assert "Ed25519PrivateKey" not in shown


def test_commitments_link_only_under_the_same_key_and_kind() -> None:
    key = CommitmentKey(b"p" * 32)
    one = key.commit("consent", "a")
    assert one == key.commit("consent", "a")
    others = {key.commit("output", "a"), key.commit("consent", "b")}
    others.add(CommitmentKey(b"q" * 32).commit("consent", "a"))
    assert len(others | {one}) == 4


@pytest.mark.parametrize("length", [0, 16, 33])
def test_a_commitment_key_has_32_bytes(length: int) -> None:
    with pytest.raises(BadSignature):
        CommitmentKey(b"p" * length)
