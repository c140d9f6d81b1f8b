from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.outcome import Job, Outcome, refused, rejected, released
from policies.decide import Refused, decide
from policies.digest import sha256_hex
from policies.errors import Malformed
from policies.house import shipped_house
from provenance.release import Released


@pytest.fixture
def job(office: Any) -> Job:
    return Job(office.swap_request(), b"source bytes", b"target bytes")


def test_a_release_is_told_without_its_pixels(job: Job) -> None:
    data = b"\xff\xd8 pixels"
    made = Released(data, "image/jpeg", sha256_hex(data), "aabb", "urn:c2pa:1", 7)
    outcome = released(job, made)
    told = outcome.as_json()
    assert (outcome.status, outcome.codes, told["message"]) == ("released", (), "")
    assert told["release"] == {
        "mime": "image/jpeg",
        "sha256": sha256_hex(data),
        "mark_id": "aabb",
        "manifest_id": "urn:c2pa:1",
        "log_index": 7,
    }
    assert json.loads(json.dumps(told)) == told
    assert "pixels" not in repr(job) + repr(outcome) + json.dumps(told)


def test_a_refusal_keeps_every_reason(job: Job) -> None:
    decision = decide(
        {},
        request_sha256=job.request.sha256,
        decision_id=f"{0:08}-0000-0000-0000-{0:012}",
        now=1,
        house=shipped_house([]),
    )
    outcome = refused(job, Refused(decision))
    told = outcome.as_json()
    assert (outcome.status, outcome.codes) == ("refused", ("FACTS",))
    assert told["findings"][0]["cites"] == ["FLOOR"]
    assert told["mend"]
    assert "release" not in told


def test_a_rejection_says_why_and_how_to_mend_it() -> None:
    outcome = rejected("r-1", Malformed("it is wrong", mend="make it right"))
    assert outcome == Outcome(
        "r-1", "rejected", codes=("MALFORMED",), message="it is wrong", mend="make it right"
    )
    assert outcome.as_json()["findings"] == []
