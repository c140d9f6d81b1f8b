"""The golden vectors: every file in the folder is read, and gives exactly the answer it names."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from policies.consent import fold, read_event
from policies.decide import decide
from policies.errors import Error
from policies.house import shipped_house
from policies.keys import PublicKey
from policies.record import read_record
from policies.warrant import read_warrant, verify_issuer, verify_warrant

FOLDER = Path(__file__).parent.parent / "vectors" / "consent"
HOUSE = shipped_house([])
VECTORS = sorted(path.name for path in FOLDER.glob("*.json"))
REQUIRED = """
    good consent_expired consent_wrong_key consent_duplicate_json_key consent_edited
    consent_forged_controller consent_unsigned consent_noncanonical consent_float
    opt_in_unsigned opt_in_moved opt_in_and_prohibited opt_in_minors
    consent_addendum_twice consent_retention_not_a_duration consent_future_age_check
    event_replayed_given_after_withdrawal event_gap event_future event_confirmation_replayed
    event_withdrawn_by_the_controller_without_reason event_expired_early event_clock_moved_back
    event_before_the_record event_signed_another_time event_withdrawn_ahead
    warrant_forged warrant_other_source warrant_expired
""".split()


def load(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((FOLDER / name).read_bytes())
    return vector


def read_consent(vector: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Read and fold as the book does, then ask the policy what such a consent is good for."""
    record = read_record(vector["record"].encode())
    events = [read_event(text.encode()) for text in vector["events"]]
    controllers = [PublicKey.from_hex(text) for text in vector["controllers"]]
    state = fold(record, events, controllers=controllers, now=vector["now"])
    facts |= {"now": vector["now"], "last_log_time": vector["now"]}
    facts["people"][1]["expires"] = vector["now"] + 1
    facts["people"][0] |= {
        "status": state.status,
        "status_since": state.since,
        "not_before": record.validity.not_before,
        "expires": record.validity.expires,
    }
    decision = decide(
        facts, request_sha256="0" * 64, now=vector["now"], house=HOUSE,
        decision_id="00000000-0000-4000-8000-000000000000",
    )  # fmt: skip
    assert decision.allow is not bool(decision.codes)
    return {"status": state.status, "denied": sorted(decision.codes)}


def read_desk(vector: dict[str, Any]) -> dict[str, Any]:
    warrant = read_warrant(vector["warrant"].encode())
    verify_warrant(
        warrant, key=PublicKey.from_hex(vector["desk"]), policy_sha256=HOUSE.sha256,
        now=vector["now"],
    )  # fmt: skip
    return {"status": "valid"}


@pytest.mark.parametrize("name", VECTORS)
def test_the_answer_is_the_one_the_vector_names(name: str, good_facts: dict[str, Any]) -> None:
    vector = load(name)
    assert vector["note"].endswith(".")
    try:
        found = read_desk(vector) if "warrant" in vector else read_consent(vector, good_facts)
    except Error as error:
        found = {"error": error.code}
    assert found == vector["expect"]


def test_only_the_good_vector_permits() -> None:
    permitted = [name for name in VECTORS if load(name)["expect"].get("denied") == []]
    assert permitted == ["good.json"]


def test_the_warrant_of_other_rules_is_genuine() -> None:
    vector = load("warrant_other_policy.json")
    warrant = read_warrant(vector["warrant"].encode())
    verify_issuer(warrant, key=PublicKey.from_hex(vector["desk"]))
    assert warrant.not_before <= vector["now"] < warrant.expires_at


def test_every_bad_twin_differs_from_the_good_one() -> None:
    seen = {
        json.dumps({**load(name), "note": "", "expect": ""}, sort_keys=True) for name in VECTORS
    }
    assert len(seen) == len(VECTORS)
    assert {f"{name}.json" for name in REQUIRED} <= set(VECTORS)


def test_the_folder_holds_nothing_untested() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.name != "__pycache__"}
    assert files == {*VECTORS, "README.md", "regenerate.py"}


def test_regenerating_gives_the_same_bytes() -> None:
    spec = importlib.util.spec_from_file_location("regenerate_consent", FOLDER / "regenerate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.build() == {name: (FOLDER / name).read_bytes() for name in VECTORS}
