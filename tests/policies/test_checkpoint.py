from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from policies.errors import BadSignature, Error, Malformed
from policies.keys import SigningKey

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
HEAD = Checkpoint(ORIGIN, 20_000, b"r" * 32)
NOTE = sign_checkpoint(HEAD, key=KEY)


def opened(note: str) -> Checkpoint:
    return open_checkpoint(note, origin=ORIGIN, key=KEY.public)


def test_the_form_of_the_c2sp_specification() -> None:
    origin, size, root, empty, signature, end = NOTE.split("\n")
    assert (origin, size, empty, end) == (ORIGIN, "20000", "", "")
    assert base64.b64decode(root) == HEAD.root
    dash, name, blob = signature.split(" ")
    assert (dash, name, len(base64.b64decode(blob))) == ("\N{EM DASH}", ORIGIN, 4 + 64)


def test_round_trip() -> None:
    assert opened(NOTE) == HEAD


def test_lines_of_unknown_signers_are_ignored() -> None:
    witness = sign_checkpoint(Checkpoint("witness", 20_000, HEAD.root), key=OTHER).split("\n\n")[1]
    same_name = sign_checkpoint(HEAD, key=OTHER).split("\n\n")[1]
    text, ours = NOTE.split("\n\n")
    assert opened(f"{text}\n\n{witness}{same_name}{ours}{witness}") == HEAD


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(0, len(NOTE) - 2), st.characters(exclude_categories=["Cs"]))
def test_any_changed_character_is_refused(at: int, character: str) -> None:
    edited = NOTE[:at] + character + NOTE[at + 1 :]
    if edited == NOTE:
        assert opened(edited) == HEAD
        return
    with pytest.raises(Error):
        opened(edited)


@pytest.mark.parametrize(
    "size",
    ["", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 19, "x"],
)
def test_sizes_that_are_not_plain_numbers(size: str) -> None:
    with pytest.raises(Malformed) as caught:
        opened(NOTE.replace("20000", size, 1))
    assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize("root", ["", "AAAA", "*" * 44, base64.b64encode(b"r" * 33).decode()])
def test_roots_that_are_not_32_bytes(root: str) -> None:
    with pytest.raises(Malformed):
        opened(NOTE.replace(base64.b64encode(HEAD.root).decode(), root, 1))


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", NOTE.split("\n\n")[0], "\n".join(NOTE.split("\n")[:2]) + "\n\n", "x" + NOTE],
)
def test_what_is_no_checkpoint(note: str) -> None:
    with pytest.raises(Malformed):
        opened(note)


def test_another_origin_or_key() -> None:
    with pytest.raises(Malformed):
        open_checkpoint(NOTE, origin="other", key=KEY.public)
    with pytest.raises(BadSignature) as caught:
        open_checkpoint(NOTE, origin=ORIGIN, key=OTHER.public)
    assert caught.value.code == "BAD-SIGNATURE"


def test_no_signature_at_all() -> None:
    with pytest.raises(BadSignature):
        opened(NOTE.split("\n\n")[0] + "\n\n")


def test_a_signature_over_another_head_is_not_moved() -> None:
    other = sign_checkpoint(Checkpoint(ORIGIN, 20_001, HEAD.root), key=KEY)
    with pytest.raises(BadSignature):
        opened(NOTE.split("\n\n")[0] + "\n\n" + other.split("\n\n")[1])


def test_unread_bits_of_the_base64_are_not_free() -> None:
    assert NOTE.endswith("=\n")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = digits[digits.index(NOTE[-3]) ^ 1]
    with pytest.raises(Malformed, match="canonical"):
        opened(NOTE[:-3] + twin + NOTE[-2:])
