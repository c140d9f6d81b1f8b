from __future__ import annotations

from policies.digest import sha256_hex


def test_known_answer_of_fips_180_4() -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(b"abc") == expected


def test_one_bit_changes_it() -> None:
    assert sha256_hex(b"\x00") != sha256_hex(b"\x01")
