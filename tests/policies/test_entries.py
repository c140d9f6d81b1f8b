"""What an entry can say is closed: names, values, size; and its bytes are RFC 8785."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.canonical import MAX_INTEGER, canonical
from policies.entries import FIELDS, EntryKind, about_of, encode_entry, read_entry
from policies.errors import Malformed

NOW = 1_795_219_200
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-MAX_INTEGER, MAX_INTEGER),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FIELDS["decision"])), VALUES))
def test_the_bytes_are_canonical_json(content: dict[str, Any]) -> None:
    data = encode_entry("decision", content, at=NOW)
    whole = {"v": 1, "kind": "decision", "at": NOW, **content}
    assert data == canonical(whole)
    assert read_entry(data) == whole


def test_every_kind_has_its_fields() -> None:
    assert set(FIELDS) == set(get_args(EntryKind))
    for kind, names in FIELDS.items():
        assert names.isdisjoint({"v", "kind", "at"})
        assert read_entry(encode_entry(kind, dict.fromkeys(names, "x"), at=0))["kind"] == kind


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("gossip", {}),
        ("", {}),
        ("decision", {"email": "alice@example.org"}),
        ("decision", {"subject": "x"}),
        ("release", {"output_sha256": "0" * 64}),
        ("release", {"file": "alice.png"}),
        ("consent_event", {"box": [1, 2, 3, 4]}),
        ("sweep", {"kind": "decision"}),
        ("sweep", {"at": 1}),
        ("sweep", {"v": 2}),
        ("decision", {"request": 0.5}),
        ("decision", {"request": None}),
        ("decision", {"request": b"x"}),
        ("decision", {"request": {"name": "Alice"}}),
        ("decision", {"subjects": [["a"]]}),
        ("decision", {"subjects": [{"name": "Alice"}]}),
        ("decision", {"subjects": [None]}),
        ("decision", {"request": MAX_INTEGER + 1}),
        ("decision", {"request": "\ud800"}),
        ("decision", {"request": "x" * 4096}),
    ],
)
def test_what_no_entry_can_say(kind: Any, content: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        encode_entry(kind, content, at=NOW)
    assert caught.value.code == "MALFORMED"


def test_the_names_cannot_be_widened_at_run_time() -> None:
    with pytest.raises(TypeError):
        FIELDS["decision"] = frozenset({"name"})  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"NaN",
        b'{"at":NaN,"kind":"abort","v":1}',
        b'{"at":1,"kind":"abort"}',
        b'{"at":1,"kind":"abort","v":2}',
        b'{"at":"1","kind":"abort","v":1}',
        b'{"at":-1,"kind":"abort","v":1}',
        b'{"at":1,"kind":7,"v":1}',
        b'{"at":1,"kind":"abort","v":1} ',
        b'{"kind":"abort","at":1,"v":1}',
        b'{"at":1,"at":1,"kind":"abort","v":1}',
        b"[" * 3000,
    ],
)
def test_what_is_not_read_as_an_entry(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_entry(data)


def test_an_old_field_is_still_read() -> None:
    data = b'{"at":1,"gone":"x","kind":"abort","v":1}'
    assert read_entry(data)["gone"] == "x"


@pytest.mark.parametrize(
    ("kind", "about"),
    [("consent_event", "s"), ("warrant", "w"), ("release", "w"), ("abort", "w"),
     ("decision", None), ("erasure", None), ("opt_out", None), ("policy", "policy")],
)  # fmt: skip
def test_whose_step_an_entry_is(kind: str, about: str | None) -> None:
    assert about_of(kind, {"subject": "s", "warrant": "w"}) == about
    assert about_of(kind, {}) == ("policy" if kind == "policy" else None)
