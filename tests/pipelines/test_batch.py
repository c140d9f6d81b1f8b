"""What `tests/flow` leaves: order, observer, and which faults leave a batch as faults."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from generator.templates import pack_template
from pipelines.batch import run_batch
from pipelines.deployment import Deployment, open_deployment
from pipelines.enrol import Enrolment
from pipelines.jobs import load_job
from pipelines.one import spec_of
from pipelines.outcome import Job, Outcome
from pipelines.terminal import exit_code_of
from policies.errors import StoreUnavailable

DEMO = Path(__file__).parents[2] / "docs" / "demo"
MEASURE = "measure faces, age, nudity, opt-outs"
STEPS = [
    "precheck consents",
    "decode pictures",
    MEASURE,
    "decide, issue warrant",
    "swap",
    "mark, label, sign, read back, log",
]


def job(home: Any, request_id: str, **changes: str) -> Job:
    options = {
        "operator": "test",
        "source": "persona1_0.webp",
        "target": "persona2_0.webp",
        "purpose": "personal",
        "audience": "internal",
    } | changes
    people = [(home.source, "source_identity"), (home.target, "target_body")]
    spec = spec_of(people, request_id=request_id, territories=["DE"], **options)
    return load_job(spec, folder=DEMO)


def test_outcomes_keep_the_order_and_steps_are_told_as_they_end(home: Any, at: Deployment) -> None:
    told: list[tuple[str, str]] = []
    jobs = [
        job(home, "no-picture", source="README.md"),
        job(home, "good"),
        job(home, "not-agreed", purpose="advertising"),
    ]
    outcomes = run_batch(
        jobs, deployment=at, observe=lambda name, step, seconds: told.append((name, step))
    )
    assert [(o.request_id, o.status) for o in outcomes] == [
        ("no-picture", "rejected"),
        ("good", "released"),
        ("not-agreed", "refused"),
    ]
    assert [step for name, step in told if name == "good"] == STEPS
    assert ("not-agreed", MEASURE) not in told, "no face is measured without a consent"


def test_no_jobs_no_outcomes(at: Deployment) -> None:
    assert run_batch([], deployment=at) == []


def opt_out(at: Deployment, person: str) -> str:
    views = tuple((DEMO / f"{person}_{view}.webp").read_bytes() for view in (1, 2))
    template = pack_template(Enrolment(views).run(at).template)
    model_sha256 = at.analyser.models[at.analyser.id_model]
    return at.optouts.add(template, model_sha256=model_sha256, pid="ps_" + "b" * 26)


@pytest.mark.parametrize("person", ["persona1", "persona2"])
def test_whoever_opted_out_since_is_not_handed_out_again(released_home: Any, person: str) -> None:
    told: list[str] = []
    with open_deployment(released_home.settings) as at:

        def again() -> Outcome:
            told.clear()
            [outcome] = run_batch(
                [job(released_home, "first")],
                deployment=at,
                observe=lambda name, step, seconds: told.append(step),
            )
            return outcome

        assert again().status == "released"
        assert told == ["ask the opt-outs again"], "nothing is made anew"
        entry = opt_out(at, person)
        outcome = again()
        assert (outcome.status, outcome.codes) == ("rejected", ("OPTED-OUT",))
        assert outcome.release is None
        assert outcome.mend
        assert exit_code_of(outcome) == 3
        at.optouts.remove(entry)
        assert again().release is not None


def test_nothing_is_handed_out_again_while_nobody_can_be_compared(released_home: Any) -> None:
    with open_deployment(released_home.settings) as at:
        with at.desk.database.transaction() as connection:
            connection.exec_driver_sql("update template set ciphertext = x'00'")
        [outcome] = run_batch([job(released_home, "first")], deployment=at)
        assert (outcome.status, outcome.codes) == ("rejected", ("REGISTRY-UNAVAILABLE",))
        assert outcome.release is None


class FullStore:
    """A store whose disk is full."""

    def put(self, data: bytes) -> str:
        raise StoreUnavailable("no space left on device", mend="make space")

    def get(self, sha256: str) -> bytes:
        raise StoreUnavailable("nothing here")

    def drop(self, sha256: str) -> None:
        pass


def test_a_full_disk_is_a_fault_and_no_answer_to_the_request(home: Any, at: Deployment) -> None:
    broken = dataclasses.replace(at, press=dataclasses.replace(at.press, store=FullStore()))
    with pytest.raises(StoreUnavailable, match="no space left") as fault:
        run_batch([job(home, "r-1")], deployment=broken)
    assert fault.value.mend
    [outcome] = run_batch([job(home, "r-1")], deployment=at)
    assert outcome.status == "released", "the same request is made when there is space again"
