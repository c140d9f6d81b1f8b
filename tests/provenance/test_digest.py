"""Commitments are keyed, domain-separated, and refuse what would make them guessable."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import Malformed
from provenance.digest import commit, sha256_hex

KEY = bytes(range(32))


def test_sha256_of_the_published_vector() -> None:
    # FIPS 180-4, example "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(b"abc") == expected


def test_a_commitment_is_hmac_over_domain_length_domain_and_data() -> None:
    plain = (3).to_bytes(8, "big") + b"a/b" + b"data"
    expected = hmac.new(KEY, plain, hashlib.sha256).hexdigest()
    assert commit(b"data", key=KEY, domain="a/b") == expected


@settings(derandomize=True, max_examples=50)
@given(st.binary(max_size=20), st.text("ab/", min_size=1, max_size=5))
def test_moving_bytes_between_domain_and_data_changes_the_commitment(
    data: bytes, domain: str
) -> None:
    shifted = commit(b"a" + data, key=KEY, domain=domain)
    assert shifted != commit(data, key=KEY, domain=domain + "a")


def test_key_domain_and_data_all_count() -> None:
    base = commit(b"x", key=KEY, domain="d")
    assert base != commit(b"y", key=KEY, domain="d")
    assert base != commit(b"x", key=KEY, domain="e")
    assert base != commit(b"x", key=KEY[::-1], domain="d")


@pytest.mark.parametrize(
    ("key", "domain"), [(KEY[:31], "d"), (b"", "d"), (KEY, ""), (KEY, "d\u00f6main")]
)
def test_short_keys_and_unnamed_domains_are_refused(key: bytes, domain: str) -> None:
    with pytest.raises(Malformed) as caught:
        commit(b"data", key=key, domain=domain)
    assert caught.value.code == "MALFORMED"
