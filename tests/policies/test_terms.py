from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from policies import terms
from policies.terms import ASSURED_AGES, NEVER_OPTED_IN, REQUIRED_MARKS, Document

GOOD = {
    "Digest": "0" * 64,
    "Signature": "f" * 128,
    "KeyHex": "a" * 64,
    "KeyId": "0123456789abcdef",
    "Pseudonym": "ps_" + "a2" * 13,
    "Uuid": "00000000-0000-7000-8000-00000000000a",
    "RequestId": "request-1_a",
    "Territory": "US-IL",
    "ModelName": "id.net:v1",
}
CYRILLIC_A = "\N{CYRILLIC SMALL LETTER A}"
VOCABULARIES = (
    "PersonRole", "KnownPurpose", "Medium", "Audience", "Category", "Mark", "FaceMatch", "AgeLook",
    "NudityLook", "RegistryAnswer", "AgeMethod", "LivenessMethod", "AddendumForm",
    "BystanderPolicy",
)  # fmt: skip


def adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(getattr(terms, name))


@pytest.mark.parametrize("name", GOOD)
def test_the_good_form_passes(name: str) -> None:
    assert adapter(name).validate_python(GOOD[name], strict=True) == GOOD[name]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t + "\n",
        lambda t: "\n" + t,
        lambda t: t + "\x00",
        lambda t: " " + t,
        lambda t: t[:-1] + CYRILLIC_A,
        lambda t: t[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        lambda t: t[:-1] + "\u2215",
        lambda t: t[:-1] + "\ud800",
        lambda t: "",
        lambda t: t * 200,
        lambda t: t.encode(),
        lambda t: None,
        lambda t: 1,
        lambda t: [t],
    ],
)
def test_look_alikes_and_paths_are_refused(name: str, spoil: Any) -> None:
    with pytest.raises(ValidationError):
        adapter(name).validate_python(spoil(GOOD[name]), strict=True)


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"ModelName"}))  # models have slashes
def test_ids_are_never_paths(name: str) -> None:
    for path in ("../" + GOOD[name], GOOD[name] + "/", "/" + GOOD[name], "a/../b", "a\\b"):
        with pytest.raises(ValidationError):
            adapter(name).validate_python(path, strict=True)


@pytest.mark.parametrize("name", ["Digest", "KeyHex", "Signature", "KeyId"])
def test_hex_is_lower_case_only(name: str) -> None:
    with pytest.raises(ValidationError):
        adapter(name).validate_python("A" * len(GOOD[name]), strict=True)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabularies_are_closed(name: str) -> None:
    words = get_args(getattr(terms, name))
    assert len(words) == len(set(words)) >= 2
    for word in words:
        for wrong in (word.swapcase(), word + " ", word.replace("a", CYRILLIC_A) + "x", ""):
            with pytest.raises(ValidationError):
                adapter(name).validate_python(wrong, strict=True)


def test_nobody_can_opt_in_to_minors() -> None:
    """The word exists so that a request can be denied for it; the rules take no opt-in to it."""
    minors = {word for word in get_args(terms.Category) if "minor" in word}
    assert minors == NEVER_OPTED_IN == {"minors_context"}


def test_neither_word_nor_eye_answers_a_challenge() -> None:
    assert ASSURED_AGES < set(get_args(terms.AgeMethod))
    assert not ASSURED_AGES & {"self_declared", "in_person"}


@pytest.mark.parametrize("word", [*get_args(terms.KnownPurpose), "studio:parade", "a1-b:cc_d"])
def test_a_purpose_is_a_word_or_a_word_of_a_house(word: str) -> None:
    assert adapter("Purpose").validate_python(word, strict=True) == word


@pytest.mark.parametrize(
    "word",
    ["", "a", ":film", "studio:", "studio::parade", "a:b:c", "Studio:parade", "studio:Parade",
     "studio:parade\n", "1studio:parade", "s:parade", "studio: parade", "studio/parade",
     "film_vfx ", "x" * 43, f"{'s' * 31}:{'p' * 42}", f"{CYRILLIC_A}bc", None, 1, ["film_vfx"]],
)  # fmt: skip
def test_what_is_no_purpose(word: object) -> None:
    with pytest.raises(ValidationError):
        adapter("Purpose").validate_python(word, strict=True)


def test_every_release_carries_three_marks() -> None:
    assert REQUIRED_MARKS == {"watermark", "c2pa", "label"} == set(get_args(terms.Mark))


@pytest.mark.parametrize("value", [-1, 253_402_300_800, 10**30, True, 1.0, "1", None])
def test_times_are_bounded_integers(value: object) -> None:
    with pytest.raises(ValidationError):
        adapter("UnixTime").validate_python(value, strict=True)


@pytest.mark.parametrize("value", ["", "x" * 401, 1, b"x"])
def test_text_is_bounded(value: object) -> None:
    with pytest.raises(ValidationError):
        adapter("Text").validate_python(value, strict=True)


class Sample(Document):
    n: int


def test_documents_are_strict_closed_and_frozen() -> None:
    for wrong in ({"n": "1"}, {"n": 1.0}, {"n": True}, {"n": 1, "m": 2}, {}):
        with pytest.raises(ValidationError):
            Sample.model_validate(wrong)
    sample = Sample(n=1)
    with pytest.raises(ValidationError):
        sample.n = 2  # type: ignore[misc]
