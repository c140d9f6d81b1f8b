"""China's label has seven keys and no others, however it is wrapped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provenance.aigc import (
    MAX_AIGC_CHARS,
    AigcLabel,
    looks_like_aigc,
    produced_by,
    read_aigc,
    write_aigc,
)
from provenance.errors import LabelRefused

KEYS = dict.fromkeys(AigcLabel.model_fields, "x") | {"Label": "1"}


def test_the_keys_stand_in_the_order_of_the_standard() -> None:
    assert write_aigc(produced_by("Ä", "id"), wrapped=False) == (
        '{"Label":"1","ContentProducer":"Ä","ProduceID":"id","ReservedCode1":"",'
        '"ContentPropagator":"","PropagateID":"","ReservedCode2":""}'
    )
    assert write_aigc(produced_by("Ä", "id"), wrapped=True).startswith(
        '{"AIGC":{"Label":"1","ContentProducer":"\\u00c4",'
    )


@pytest.mark.parametrize("wrapped", [True, False])
def test_what_is_written_is_read(wrapped: bool) -> None:
    label = AigcLabel(**{**KEYS, "Label": "3"})
    assert read_aigc(write_aigc(label, wrapped=wrapped)) == label


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(KEYS | {"Label": 1}), "a value is no text"),
        (json.dumps(KEYS | {"Label": "4"}), "Label is none of 1, 2, 3"),
        (json.dumps(KEYS | {"Extra": ""}), "unknown keys: 1"),
        (json.dumps(dict(list(KEYS.items())[:5])), "PropagateID, ReservedCode2; unknown keys: 0"),
        (json.dumps({"AIGC": KEYS, "more": 1}), "unknown keys: 2"),
        (json.dumps({"AIGC": [1]}), "no JSON object"),
        (json.dumps(KEYS)[:-1] + ',"Label":"1"}', "every key once"),
        ("[" * 9000, "not JSON"),
        ("9" * 9000, "not JSON"),
        ("true", "no JSON object"),
        ("", "not JSON"),
        (" " * (MAX_AIGC_CHARS + 1), f"the cap is {MAX_AIGC_CHARS}"),
    ],
)
def test_anything_else_is_refused_and_says_why(text: str, words: str) -> None:
    with pytest.raises(LabelRefused) as caught:
        read_aigc(text)
    assert caught.value.code == "LABEL-REFUSED"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("comment", "is_label"),
    [
        ('{"AIGC":{}}', True),
        (' {"ContentProducer":""}', True),
        ("Holiday 2026", False),
        ('{"camera":"x"}', False),
        ('see "AIGC"', False),
    ],
)
def test_a_free_comment_is_a_label_only_if_it_means_to_be(comment: str, is_label: Any) -> None:
    assert looks_like_aigc(comment) is is_label
