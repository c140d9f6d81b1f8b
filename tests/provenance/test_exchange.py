"""Answers of a worker are believed as far as they can be true, and never read further."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import MediaError, TooLarge, Transparent, Truncated, Undecodable
from provenance.exchange import (
    ANSWER_BYTES,
    CHANNELS,
    HELLO_BYTES,
    MIMES,
    PROFILES,
    REQUEST_BYTES,
    SHIELDS,
    Coded,
    DecodeMemory,
    Form,
    pack_form,
    pack_hello,
    pack_refusal,
    pack_request,
    read_answer,
    read_hello,
    read_request,
    refusal,
)

ASKED = Coded("image/png", 48, 32, b"picture", b"icc")
FORM = Form(48, 32, True, 16, "grey", "converted", 1000)


def test_requests_and_answers_come_back_as_they_were() -> None:
    for mime in MIMES:
        header = pack_request(replace(ASKED, mime=mime))
        assert len(header) == REQUEST_BYTES
        assert read_request(header) == (mime, 48, 32, 7, 3)
    for channels in CHANNELS:
        for profile in PROFILES:
            form = replace(FORM, channels=channels, profile=profile)
            assert read_answer(pack_form(form), ASKED) == form
    for shields in (frozenset(SHIELDS), frozenset(SHIELDS[:1]), frozenset(SHIELDS[1:])):
        assert read_hello(pack_hello(shields)) == shields


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal(Truncated, "image/png"), "MEDIA-TRUNCATED"),
        (refusal(Undecodable, "image/png"), "MEDIA-UNDECODABLE"),
        (refusal(Transparent, "image/png"), "MEDIA-TRANSPARENT"),
        (refusal(DecodeMemory, "image/png"), "DECODE-MEMORY"),
        (TooLarge("another"), "MEDIA-UNDECODABLE"),
    ],
)
def test_a_refusal_passes_as_its_kind_alone(error: MediaError, code: str) -> None:
    answer = pack_refusal(error)
    assert len(answer) == ANSWER_BYTES
    with pytest.raises(MediaError) as caught:
        read_answer(answer, ASKED)
    assert caught.value.code == code


def answer(*numbers: int, magic: bytes = b"FWA1") -> bytes:
    return struct.pack(">4sBIIBBBBH", magic, *numbers)


@pytest.mark.parametrize(
    "lie",
    [
        answer(0, 48, 32, 0, 8, 0, 0, 0, magic=b"FWA2"),
        answer(1, 48, 32, 0, 8, 0, 0, 0, magic=b"FWA2"),
        answer(5, 48, 32, 0, 8, 0, 0, 0),
        answer(0, 49, 32, 0, 8, 0, 0, 0),
        answer(0, 48, 2**32 - 1, 0, 8, 0, 0, 0),
        answer(0, 48, 32, 2, 8, 0, 0, 0),
        answer(0, 48, 32, 0, 12, 0, 0, 0),
        answer(0, 48, 32, 0, 8, 3, 0, 0),
        answer(0, 48, 32, 0, 8, 0, 4, 0),
        answer(0, 48, 32, 0, 8, 0, 0, 1001),
    ],
)
def test_an_answer_that_cannot_be_true_is_a_crash(lie: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        read_answer(lie, ASKED)
    assert caught.value.code == "DECODE-CRASHED"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(min_size=ANSWER_BYTES, max_size=ANSWER_BYTES), st.booleans())
def test_no_answer_asks_for_more_than_was_requested(noise: bytes, known: bool) -> None:
    try:
        form = read_answer(b"FWA1" + noise[4:] if known else noise, ASKED)
    except MediaError:
        return
    assert (form.width, form.height) == (48, 32)


@pytest.mark.parametrize("words", [b"", b"FWW1", b"FWW2\x00", b"FWW1\x00\x00"])
def test_other_first_words_are_no_worker(words: bytes) -> None:
    assert HELLO_BYTES == 5
    with pytest.raises(MediaError) as caught:
        read_hello(words)
    assert caught.value.code == "DECODE-UNAVAILABLE"
