"""The golden decisions: every reason, citation and word of every twin, as the file says them."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from policies.decide import decide
from policies.facts import read_facts
from policies.house import shipped_house
from policies.rules import RULES

FOLDER = Path(__file__).parent.parent / "vectors" / "decisions"
FILE: dict[str, Any] = json.loads((FOLDER / "decisions.json").read_bytes())
HOUSE = shipped_house([])


def put(facts: dict[str, Any], path: str, value: Any) -> None:
    spot: Any = facts
    *parents, last = path.split(".")
    for part in parents:
        spot = spot[int(part) if part.isdigit() else part]
    spot[last] = value


@pytest.mark.parametrize("case", FILE["decisions"], ids=lambda case: case["name"])
def test_the_decision_is_the_one_on_file(case: dict[str, Any]) -> None:
    facts = copy.deepcopy(FILE["good"])
    for path, value in case["changed"].items():
        put(facts, path, value)
    expected = case["decision"]
    made = decide(
        facts,
        request_sha256=expected["request_sha256"],
        decision_id=expected["decision_id"],
        now=expected["evaluated_at"],
        house=HOUSE,
    )
    told = made.model_dump(mode="json")
    assert told | {name: told[name] for name in expected} == told | expected
    assert told.keys() - expected.keys() == {"engine", "policy_sha256"}
    assert expected["facts_sha256"] == read_facts(facts).sha256
    assert expected["allow"] is (case["name"] == "GOOD-1")


def test_every_reason_is_on_file() -> None:
    found = {f["code"] for case in FILE["decisions"] for f in case["decision"]["findings"]}
    assert found == {rule.code for rule in RULES}


def test_the_file_is_the_one_that_is_regenerated() -> None:
    spec = importlib.util.spec_from_file_location("regenerate_decisions", FOLDER / "regenerate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (FOLDER / "decisions.json").read_text("utf-8") == module.build()
