from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.canonical import (
    MAX_DOCUMENT_BYTES,
    MAX_INTEGER,
    canonical,
    digest,
    parse,
    parse_object,
    signing_input,
)
from policies.digest import sha256_hex
from policies.errors import Malformed

INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
ASCII = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=12)
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def documents(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, object]]:
    leaves = st.none() | st.booleans() | INTEGERS | text
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(text, values, max_size=5)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(documents(ASCII))
def test_ascii_documents_agree_with_sorted_compact_json(document: dict[str, object]) -> None:
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert canonical(document) == plain.encode()


@settings(max_examples=80, derandomize=True, deadline=None)
@given(documents(UNICODE))
def test_round_trip(document: dict[str, object]) -> None:
    data = canonical(document)
    assert data == rfc8785.dumps(document)
    assert parse(data) == document
    assert canonical(parse(data)) == data


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.binary(max_size=60) | documents(ASCII).map(canonical), st.data())
def test_hostile_bytes_give_a_document_or_malformed(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data)))
    hostile = data[:cut] + draw.draw(st.binary(max_size=3)) + data[cut:]
    try:
        value = parse(hostile)
    except Malformed:
        return  # any other error fails the test
    assert canonical(value) == hostile


def test_keys_beyond_the_bmp_sort_by_utf_16_units() -> None:
    # U+1F600 is D83D DE00 in UTF-16 and so sorts before U+FB33, unlike by code point.
    assert canonical({"\ufb33": 1, "\U0001f600": 2}).index("\U0001f600".encode()) == 2


@pytest.mark.parametrize(
    "data",
    [
        b'{"status":"given","status":"withdrawn"}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":123456789012345678901234567890}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}x',
        b'{"a":01}',
        b"{'a':1}",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"",
        b"\x00",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_neither_reader_takes(data: bytes) -> None:
    for read in (parse, parse_object):
        with pytest.raises(Malformed) as caught:
            read(data)
        assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize(
    "data", [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1}\n', b'{"a":-0}', b'{"a":"\\u0041"}']
)
def test_only_the_free_reader_takes_another_layout(data: bytes) -> None:
    assert set(parse_object(data)) >= {"a"}
    with pytest.raises(Malformed, match="canonical"):
        parse(data)


def test_a_lone_surrogate_is_refused_on_both_ways() -> None:
    for document in ({"a": "\ud800"}, {"\ud800": 1}):
        with pytest.raises(Malformed):
            canonical(document)
    with pytest.raises(Malformed):
        parse(b'{"a":"\\ud800"}')


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        {"a": [0.5]},
        {"a": ({"b": float("nan")},)},
        {"a": MAX_INTEGER + 1},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {1: "a"},
        {"a": Exception},
        None,
        7,
        "ab",
        [1, 2],
    ],
    ids=repr,
)
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(Malformed) as caught:
        canonical(value)  # type: ignore[arg-type]
    assert caught.value.code == "MALFORMED"


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    with pytest.raises(Malformed):
        canonical(loop)


def test_the_largest_integers_pass() -> None:
    for number in (MAX_INTEGER, -MAX_INTEGER, 0):
        assert parse(canonical({"a": number})) == {"a": number}


def test_the_byte_cap_is_exact() -> None:
    fits = canonical({"a": "x" * (MAX_DOCUMENT_BYTES - len(b'{"a":""}'))})
    assert len(fits) == MAX_DOCUMENT_BYTES
    parse(fits)
    for read in (parse, parse_object):
        with pytest.raises(Malformed, match="at most"):
            read(fits + b" ")
    with pytest.raises(Malformed, match="at most 8"):
        parse(b'{"ab":12}', max_bytes=8)


def test_digest_is_of_the_canonical_form() -> None:
    assert digest({"b": 1, "a": 2}) == sha256_hex(b'{"a":2,"b":1}')


def test_the_kind_separates_signatures() -> None:
    assert signing_input("consent", {"a": 1}) == b'facewarrant/consent/1\x00{"a":1}'
    assert signing_input("consent", {}) != signing_input("consent-event", {})
