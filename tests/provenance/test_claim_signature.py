"""Chain and stapled answers come from the manifest that was verified, or from nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

import provenance.claim_signature
from policies.errors import Malformed
from provenance.claim_signature import MAX_ANSWERS, read_claim_signature
from provenance.containers import Mime
from provenance.embedding import find_store
from provenance.jumbf import find_signature

Encode = Callable[[Any], bytes]
ID = "urn:c2pa:1"


def box(kind: bytes, inner: bytes = b"") -> bytes:
    return (8 + len(inner)).to_bytes(4, "big") + kind + inner


def named(label: str, *inner: bytes, flags: int = 3) -> bytes:
    description = box(b"jumd", bytes(16) + bytes([flags]) + label.encode() + b"\x00")
    return box(b"jumb", description + b"".join(inner))


def store_of(cose: bytes, *, label: str = ID) -> bytes:
    signature = named("c2pa.signature", box(b"cbor", cose))
    return named("c2pa", named(label, named("c2pa.assertions"), signature))


def ders(authority: Any) -> list[bytes]:
    return [c.public_bytes(Encoding.DER) for c in authority.chain.certificates]


@pytest.fixture(scope="session")
def make(authority: Any, encode_cbor: Encode) -> Callable[..., bytes]:
    """`make(signed header, other header)`: a store with such a signature."""

    def make(protected: Any = None, loose: Any = None) -> bytes:
        signed = {1: -7, 33: ders(authority)} if protected is None else protected
        raw = signed if isinstance(signed, bytes) else encode_cbor(signed)
        return store_of(b"\xd2" + encode_cbor([raw, {} if loose is None else loose, None, b"s"]))

    return make


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png", "image/webp"])
def test_chain_of_a_released_file_is_read(gallery: Any, mime: Mime) -> None:
    studio, released = gallery
    one = released[mime]
    store = find_store(one.data, mime)
    row = studio.registry.by_mark(one.mark_id)
    assert store == studio.store.get(row.manifest_sha256)
    found = read_claim_signature(store, one.manifest_id, serial=studio.pki.leaf.serial_number)
    assert found.chain == studio.pki.chain.certificates
    assert found.leaf == studio.pki.leaf
    assert found.answers == ()


def test_chain_is_read_under_either_name_and_from_either_header(
    authority: Any, make: Callable[..., bytes]
) -> None:
    chain = ders(authority)
    for protected, loose in (
        (None, {"pad": b"\x00" * 9}),
        ({33: chain}, {"rVals": {"ocspVals": []}}),
        ({1: -7}, {"x5chain": chain}),
        (b"", {33: chain}),
    ):
        found = read_claim_signature(make(protected, loose), ID)
        assert (found.chain, found.answers) == (authority.chain.certificates, ())
    alone = read_claim_signature(make({33: chain[0]}), ID)
    assert alone.chain == (authority.leaf,)


def test_answers_are_read(make: Callable[..., bytes]) -> None:
    found = read_claim_signature(make(None, {"rVals": {"ocspVals": [b"one", b"two"]}}), ID)
    assert found.answers == (b"one", b"two")


def test_serial_number_of_another_leaf_is_refused(authority: Any, make: Any) -> None:
    own = authority.leaf.serial_number
    assert read_claim_signature(make(), ID, serial=own).leaf == authority.leaf
    with pytest.raises(Malformed, match="not the one that was verified"):
        read_claim_signature(make(), ID, serial=own + 1)


@pytest.mark.parametrize(
    ("protected", "loose", "why"),
    [
        ({}, {}, "one chain, this has 0"),
        (None, {33: [b"x"]}, "one chain, this has 2"),
        (None, {"x5chain": [b"x"]}, "one chain, this has 2"),
        ({33: []}, {}, "1 to 5 certificates, not 0"),
        ({33: [b"x"] * 6}, {}, "1 to 5 certificates, not 6"),
        ({33: [b"x"]}, {}, "cannot be read"),
        ({33: ["x"]}, {}, "something else where a certificate"),
        ({33: 1}, {}, "something else where a certificate"),
        (b"\x80", {}, "signed header of a claim signature is a map"),
        (b"\xa1", {}, "ends early"),
        (None, [], "header that is not signed"),
        (None, {"rVals": []}, "stapled answers are no list"),
        (None, {"rVals": {"ocspVals": b"x"}}, "stapled answers are no list"),
        (None, {"rVals": {"ocspVals": [b"x"] * (MAX_ANSWERS + 1)}}, "or too many"),
        (None, {"rVals": {"ocspVals": [1]}}, "something else where"),
    ],
)
def test_other_headers_are_refused(make: Any, protected: Any, loose: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_claim_signature(make(protected, loose), ID)


@pytest.mark.parametrize(
    ("cose", "why"),
    [
        ({}, "four parts"),
        ([b"", {}, None], "four parts"),
        ([{}, {}, None, b""], "is bytes"),
    ],
)
def test_other_structures_are_refused(encode_cbor: Encode, cose: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_claim_signature(store_of(encode_cbor(cose)), ID)


def test_signature_has_a_largest_size(
    make: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(None, {"pad": bytes(5_000)})
    size = len(find_signature(store, ID))
    monkeypatch.setattr(provenance.claim_signature, "MAX_SIGNATURE_BYTES", size)
    assert read_claim_signature(store, ID)
    monkeypatch.setattr(provenance.claim_signature, "MAX_SIGNATURE_BYTES", size - 1)
    monkeypatch.setattr(provenance.claim_signature, "decode_cbor", pytest.fail)
    with pytest.raises(Malformed, match=f"at most {size - 1} bytes"):
        read_claim_signature(store, ID)


def test_signature_is_that_of_the_active_manifest() -> None:
    cose = box(b"cbor", b"\x01")
    signed = named(ID, named("c2pa.signature", cose))
    other = named("urn:c2pa:2", named("c2pa.signature", box(b"cbor", b"\x02")))
    assert find_signature(named("c2pa", other, signed), ID) == b"\x01"
    unnamed = named(ID, named("c2pa.signature", cose), flags=1)
    for store, why in (
        (named("c2pa", signed, other), "not the active one"),
        (named("c2pa", unnamed), "not the active one"),
        (named("c2pa"), "not the active one"),
        (box(b"jumb", box(b"jumd") + box(b"jumb", box(b"jumd"))), "not the active one"),
        (named("c2pa", named(ID)), "this has 0"),
        (named("c2pa", named(ID, *[named("c2pa.signature", cose)] * 2)), "this has 2"),
        (named("c2pa", named(ID, named("c2pa.signature"))), "one CBOR box"),
        (named("c2pa", named(ID, named("c2pa.signature", cose, cose))), "one CBOR box"),
        (named("c2pa", named(ID, named("c2pa.signature", box(b"json")))), "one CBOR box"),
        (named("c2pa", box(b"cbor")), "one JUMBF superbox"),
    ):
        with pytest.raises(Malformed, match=why):
            find_signature(store, ID)


@settings(derandomize=True, max_examples=200)
@given(at=st.integers(0, 5_000), byte=st.integers(0, 255))
def test_any_change_is_read_or_refused(make: Any, at: int, byte: int) -> None:
    changed = bytearray(make())
    changed[at % len(changed)] = byte
    try:
        read_claim_signature(bytes(changed), ID)
    except Malformed as error:
        assert error.message  # noqa: PT017
