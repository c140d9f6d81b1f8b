"""Evidence: closed words, JSON-ready, and never the word "real"."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, get_args, get_type_hints

import pytest

import detector.scan
import provenance.case
import provenance.clash
import provenance.clip_recovery
import provenance.evidence
import provenance.records
import provenance.second_engine
import provenance.statements
import provenance.verify
from provenance.evidence import Evidence, LabelMeaning, Meaning, Report, State, Subject

REAL = re.compile(r"\breal(ly)?\b|\bgenuine\b|\bnot a (deep)?fake\b", re.IGNORECASE)


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "verdict": "authentic",
        "origin": "facewarrant",
        "consent": "current",
        "manifest_id": "urn:c2pa:1",
        "issuer": "Test Studio",
        "mark_id": "0" * 12,
        "evidence": (Evidence("log", "holds", "entry 1"),),
    }
    return Report(**(fields | changes))


def test_report_survives_json() -> None:
    data = json.loads(json.dumps(report().as_json()))
    assert data["verdict"] == "authentic"
    assert data["evidence"] == [{"subject": "log", "state": "holds", "words": "entry 1"}]
    assert set(data) == {field.name for field in dataclasses.fields(Report)}


@pytest.mark.parametrize("value", [report(), report().evidence[0]])
def test_findings_cannot_be_changed(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "authentic")


def test_no_verdict_and_no_state_says_real() -> None:
    hints = get_type_hints(Report)
    words = [*get_args(hints["verdict"]), *get_args(State), *get_args(Subject)]
    words += [*get_args(Meaning), *get_args(LabelMeaning)]
    assert {"authentic", "recovered", "holds", "absent", "unchecked"} <= set(words)
    assert not any(REAL.search(word) for word in words)


@pytest.mark.parametrize(
    "module",
    [
        provenance.clash,
        provenance.evidence,
        provenance.records,
        provenance.second_engine,
        provenance.statements,
        provenance.case,
        provenance.clip_recovery,
        provenance.verify,
    ],
)
def test_no_text_of_the_verifier_says_real(module: Any) -> None:
    assert not REAL.search(inspect.getsource(module))


def test_no_text_of_the_scan_says_real_but_to_forbid_it() -> None:
    found = REAL.findall(inspect.getsource(detector.scan))
    assert inspect.getsource(detector.scan).count('never says "real"') == len(found) == 1
