"""The strictest rule that reaches a place decides how large a visible label is and what it says."""

from __future__ import annotations

from importlib.resources import files

import pytest

from policies.errors import Malformed
from provenance.label_rules import Demand, VisibleRule, combine_rules, label_demand, read_rules

OWN = VisibleRule(
    id="OWN", territories=("*",), text_height_share=0.05, words="AI", text_read="none", source=""
)


def rule(name: str, place: str, share: float, words: str = "") -> VisibleRule:
    changes = {"id": name, "territories": (place,), "text_height_share": share, "words": words}
    return OWN.model_copy(update=changes)


def test_the_products_own_rule_holds_everywhere() -> None:
    assert label_demand() == Demand(0.05, ("AI-generated face swap",), ("FLOOR",))
    assert label_demand(["GB"]) == label_demand()
    assert label_demand().text == "AI-generated face swap"


def test_china_asks_for_chinese_words() -> None:
    demand = label_demand(["FR", "CN"])
    assert demand.rule_ids == ("FLOOR", "CN-LABEL", "EU-AIA-50-4-5")
    assert demand.text == "AI-generated face swap AI生成"
    assert demand.share == 0.05


def test_the_largest_share_that_reaches_a_place_wins() -> None:
    rules = [OWN, rule("A", "EU", 0.08), rule("B", "US", 0.1, "X"), rule("C", "DE", 0.02, "AI")]
    assert combine_rules(rules, []).share == 0.05
    assert combine_rules(rules, ["DE"]) == Demand(0.08, ("AI",), ("OWN", "A", "C"))
    assert combine_rules(rules, ["DE", "US-CA"]) == Demand(0.1, ("AI", "X"), ("OWN", "A", "B", "C"))


def test_a_misspelt_place_is_not_a_place_without_rules() -> None:
    with pytest.raises(Malformed):
        label_demand(["China"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('schema = "facewarrant/visible-label/1"', 'schema = "other"'),
        ("text_height_share = 0.05", "text_height_share = 0.6"),
        ("text_height_share = 0.05", "text_height_share = 0"),
        ('territories = ["*"]', 'territories = ["FR"]'),
        ('words = "AI-generated face swap"', 'words = ""'),
        ('source = "own', 'more = "own'),
        ("[[rule]]", "[[rule"),
    ],
)
def test_another_table_is_refused(old: str, new: str) -> None:
    table = files("provenance").joinpath("label_rules.toml").read_text(encoding="utf-8")
    assert len(read_rules(table)) == 5
    with pytest.raises(Malformed) as caught:
        read_rules(table.replace(old, new))
    assert caught.value.code == Malformed.code
