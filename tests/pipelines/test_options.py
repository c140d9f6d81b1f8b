from __future__ import annotations

import pytest
import typer

from pipelines.options import PURPOSES, check_each, one_of
from policies.terms import Audience, Category, KnownPurpose, Territory


def test_the_words_of_a_closed_set_are_named() -> None:
    assert one_of(Audience) == "internal, public, paid_ads"
    assert one_of(KnownPurpose) in PURPOSES
    assert "house:word" in PURPOSES


@pytest.mark.parametrize("values", [None, [], ["nudity"], ["nudity", "alcohol"]])
def test_words_of_the_set_pass_as_they_are(values: list[str] | None) -> None:
    assert check_each(Category)(values) is values


@pytest.mark.parametrize("word", ["", "Nudity", "dull", "nudity ", "\x00"])
def test_any_other_word_is_wrong_use_and_names_the_set(word: str) -> None:
    with pytest.raises(typer.BadParameter) as wrong:
        check_each(Category)(["nudity", word])
    assert repr(word) in str(wrong.value)
    assert "sexual, nudity" in str(wrong.value)


@pytest.mark.parametrize("word", ["germany", "de", "D", "EU-DE", "DE-", "DE-ABCD"])
def test_a_place_that_is_none_is_wrong_use(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="ISO 3166"):
        check_each(Territory)([word])
    assert check_each(Territory)(["DE", "US-IL", "EU"]) == ["DE", "US-IL", "EU"]
