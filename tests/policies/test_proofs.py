"""Proofs as files: read back to what they were, and anything else refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.audit import InclusionProof
from policies.canonical import canonical, parse
from policies.errors import Malformed
from policies.proofs import (
    MAX_HASHES,
    ConsistencyProof,
    encode_consistency,
    encode_inclusion,
    read_consistency,
    read_inclusion,
)

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_HASHES).map(tuple)
NOTE = "log.test\n7\nAAAA\n\n\N{EM DASH} log.test AAAA\n"
ENTRY = {"v": 1, "kind": "abort", "at": 5, "warrant": "w"}
INCLUSION = InclusionProof(ENTRY, 3, (b"a" * 32, b"b" * 32), NOTE)
CONSISTENCY = ConsistencyProof(4, (b"a" * 32, b"b" * 32), NOTE)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(HASHES, st.integers(0, 2**53 - 1))
def test_proofs_come_back(path: tuple[bytes, ...], number: int) -> None:
    inclusion = InclusionProof(ENTRY, number, path, NOTE)
    assert read_inclusion(encode_inclusion(inclusion)) == inclusion
    assert read_inclusion(encode_inclusion(inclusion) + b"\n") == inclusion
    consistency = ConsistencyProof(number, path, NOTE)
    assert read_consistency(encode_consistency(consistency)) == consistency


def test_the_form_that_a_c2sp_witness_takes() -> None:
    first, *hashes, empty, origin = encode_consistency(CONSISTENCY).split("\n")[:5]
    assert (first, empty, origin) == ("old 4", "", "log.test")
    assert [base64.b64decode(line) for line in hashes] == list(CONSISTENCY.path)
    assert encode_consistency(CONSISTENCY).endswith(NOTE)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "facewarrant/log-proof/2"},
        {"index": -1},
        {"index": "3"},
        {"path": ["a" * 63]},
        {"path": ["A" * 64]},
        {"path": ["a" * 64] * (MAX_HASHES + 1)},
        {"path": "a" * 64},
        {"entry": []},
        {"checkpoint": 7},
        {"more": 1},
    ],
)
def test_what_is_no_inclusion_proof(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        read_inclusion(canonical(parse(encode_inclusion(INCLUSION)) | change))
    assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", encode_inclusion(INCLUSION) + b"\n\n"]
)
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_inclusion(data)


TEXT = encode_consistency(CONSISTENCY)
LINE = base64.b64encode(b"a" * 32).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("old 4", "4"),
        TEXT.replace("old 4", "old x"),
        TEXT.replace("old 4", "old -4"),
        TEXT.replace("old 4", "old 04"),
        TEXT.replace("old 4", "old \N{ARABIC-INDIC DIGIT FOUR}"),
        TEXT.replace("old 4", "old " + "9" * 19),
        TEXT.replace("old 4", "old "),
        TEXT.partition("\n\n")[0],
        TEXT.replace(LINE, "*" + LINE[1:]),
        TEXT.replace(LINE, LINE[:-1]),
        TEXT.replace(LINE, "\N{EM DASH}"),
        TEXT.replace(LINE, "AAAA"),
        TEXT.replace(LINE, f"{LINE}\n" * 63 + LINE),
        TEXT + "x" * 2**17,
    ],
)
def test_what_is_no_consistency_proof(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_consistency(text)
    assert caught.value.code == "MALFORMED"
