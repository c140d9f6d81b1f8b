"""Write the golden decisions anew: `python tests/vectors/decisions/regenerate.py`.

Good facts, and every twin of them that the policy tests know (`tests/policies/conftest.py`), each
with the decision of the shipped policy. A change of any reason, citation or word is a change of
this file. The people do not exist.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from policies.decide import decide
from policies.house import shipped_house

HERE = Path(__file__).parent
TESTS = HERE.parent.parent / "policies" / "conftest.py"
NOW = 1_795_219_200  # 2026-11-21 00:00:00 UTC
CHANGING = {"engine", "policy_sha256"}
"""They change with every edit of the policy's files, whatever is decided."""


def changes(good: Any, twin: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What has to be put where into good facts to get the twin."""
    if isinstance(good, dict) and good.keys() == twin.keys():
        for name in good:
            yield from changes(good[name], twin[name], f"{path}.{name}".lstrip("."))
    elif path == "people" and len(good) == len(twin):
        for number, (before, after) in enumerate(zip(good, twin, strict=True)):
            yield from changes(before, after, f"{path}.{number}")
    elif good != twin:
        yield path, twin


def decision(facts: dict[str, Any]) -> dict[str, Any]:
    """The decision of the shipped policy, without what changes with its files."""
    made = decide(
        facts,
        request_sha256="0" * 64,
        decision_id="00000000-0000-4000-8000-000000000000",
        now=NOW,
        house=shipped_house([]),
    )
    return made.model_dump(mode="json", exclude=CHANGING)


def known() -> ModuleType:
    """The facts and twins of the policy tests."""
    spec = importlib.util.spec_from_file_location("policy_facts", TESTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dense(value: object) -> str:
    """JSON in one line."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def build() -> str:
    """The text of the golden file: one decision a line, so that a diff names it."""
    facts = known()
    listed = []
    numbers: Counter[str] = Counter()
    for codes, breach in [((), lambda good: None), *facts.TWINS]:
        twin = copy.deepcopy(facts.GOOD)
        breach(twin)
        name = "+".join(codes) or "GOOD"
        numbers[name] += 1
        listed.append(
            {
                "name": f"{name}-{numbers[name]}",
                "changed": dict(changes(facts.GOOD, twin)),
                "decision": decision(twin),
            }
        )
    lines = ",\n".join(map(dense, listed))
    return f'{{"good":{dense(facts.GOOD)},\n"decisions":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    (HERE / "decisions.json").write_text(build(), "utf-8")
