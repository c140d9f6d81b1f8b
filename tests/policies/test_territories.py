from __future__ import annotations

import pytest

from policies.errors import Malformed
from policies.territories import ALIASES, EU, GROUPS, covers, reached_by, whole_countries


def test_the_unions_have_their_members() -> None:
    assert len(EU) == 27
    assert GROUPS["EEA"] - EU == {"IS", "LI", "NO"}
    assert not EU & {"GB", "CH", "UK", "EL"}


@pytest.mark.parametrize(
    ("place", "codes"),
    [
        ("DE", {"*", "DE", "EU", "EEA"}),
        ("DE-BY", {"*", "DE-BY", "DE", "EU", "EEA"}),
        ("NO", {"*", "NO", "EEA"}),
        ("US", {"*", "US"}),
        ("US-IL", {"*", "US-IL", "US"}),
        ("GB", {"*", "GB"}),
        ("UK", {"*", "GB"}),
        ("UK-ENG", {"*", "GB-ENG", "GB"}),
        ("EL", {"*", "GR", "EU", "EEA"}),
        ("PR", {"*", "US", "US-PR"}),
        ("RE", {"*", "FR", "FR-RE", "EU", "EEA"}),
        ("AX", {"*", "FI", "FI-AX", "EU", "EEA"}),
        ("EU", {"*", "EU", "EEA"} | EU),
        ("EEA", {"*", "EU", "EEA", "IS", "LI", "NO"} | EU),
    ],
)
def test_which_rules_reach_a_place(place: str, codes: set[str]) -> None:
    assert reached_by(place) == codes


@pytest.mark.parametrize(
    "place",
    [
        "",
        "*",
        "de",
        "Germany",
        "D",
        "DEU",
        "US-",
        "US-ILLI",
        "US_IL",
        " DE",
        "DE\n",
        "\uff24\uff25",
        "DE,FR",
        "EU-DE",
        "EEA-NO",
    ],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(Malformed, match="is not a territory") as refused:
        reached_by(place)
    assert refused.value.code == "MALFORMED"


@pytest.mark.parametrize(
    ("consented", "asked"),
    [
        (["DE"], "DE"),
        (["DE"], "DE-BY"),
        (["EU"], "DE"),
        (["EU"], "DE-BY"),
        (["EEA"], "DE"),
        (["EEA"], "NO"),
        (["EEA"], "EU"),
        (["EEA"], "EEA"),
        (["FR", "EU"], "EU"),
        (sorted(EU), "EU"),
        ([*sorted(EU), "IS", "LI", "NO"], "EEA"),
        (["EU", "IS", "LI", "NO"], "EEA"),
        (["US"], "US-IL"),
        (["US-IL"], "US-IL"),
    ],
)
def test_what_a_consent_covers(consented: list[str], asked: str) -> None:
    assert covers(consented, asked) is True


@pytest.mark.parametrize(
    ("consented", "asked"),
    [
        ([], "DE"),
        ([], "EU"),
        (["*"], "DE"),
        (["FR"], "DE"),
        (["DE-BY"], "DE"),
        (["DE-BY"], "DE-BE"),
        (["EU"], "NO"),
        (["EU"], "EEA"),
        (sorted(EU)[1:], "EU"),
        (sorted(EU), "EEA"),
        (["EU"], "CH"),
        (["EU"], "GB"),
        (["US-IL"], "US"),
        (["US-IL"], "US-TX"),
        (["US"], "PR"),
        (["FR"], "RE"),
        (["D"], "DE"),
        (["DEU"], "DE"),
        (["de"], "DE"),
    ],
)
def test_what_a_consent_does_not_cover(consented: list[str], asked: str) -> None:
    assert covers(consented, asked) is False


@pytest.mark.parametrize("asked", ["", "*", "de", "EU-DE", "Germany"])
def test_nothing_covers_what_is_no_place(asked: str) -> None:
    with pytest.raises(Malformed):
        covers([asked, "EU", "DE"], asked)


def test_a_consent_never_covers_a_place_whose_rules_it_cannot_know() -> None:
    """Whoever covers a place is in reach of every rule for it, or asks for all of its members."""
    places = [*sorted(GROUPS["EEA"]), "US", "US-IL", "GB", "GB-ENG", "DE-BY", *GROUPS]
    for asked in places:
        for consented in places:
            if covers([consented], asked):
                assert consented in GROUPS or reached_by(consented) <= reached_by(asked)


def test_aliases_point_at_codes_that_are_none_themselves() -> None:
    assert not set(ALIASES) & set(ALIASES.values())
    assert not set(ALIASES) & set(GROUPS["EEA"])


@pytest.mark.parametrize(
    ("asked", "wholes"),
    [
        (["US-IL"], set()),
        (["US"], {"US"}),
        (["UK"], {"GB"}),
        (["EL", "DE-BY"], {"GR"}),
        (["PR"], set()),
    ],
)
def test_which_places_are_asked_for_as_a_whole(asked: list[str], wholes: set[str]) -> None:
    assert whole_countries(asked) == wholes


def test_a_union_asks_for_each_member_as_a_whole() -> None:
    assert whole_countries(["EU"]) == EU
    assert whole_countries(["EEA", "US"]) == GROUPS["EEA"] | {"US"}
