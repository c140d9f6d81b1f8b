from __future__ import annotations

import pytest

from policies.errors import Malformed
from policies.territories import ALIASES, EU, GROUPS, reached_by


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
        ("PR", {"*", "US"}),
        ("RE", {"*", "FR", "EU", "EEA"}),
        ("AX", {"*", "FI", "EU", "EEA"}),
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
    ],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(Malformed, match="is not a territory") as refused:
        reached_by(place)
    assert refused.value.code == "MALFORMED"


def test_aliases_point_at_codes_that_are_none_themselves() -> None:
    assert not set(ALIASES) & set(ALIASES.values())
    assert not set(ALIASES) & set(GROUPS["EEA"])
