"""The whole chain over rendered people: what is released, delivered again, and stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.scan import scan
from pipelines.batch import run_batch
from pipelines.people import withdraw
from policies.errors import StoreUnavailable
from provenance.errors import Tampered
from provenance.media import decode, encode

MEASURE = "measure faces, age, nudity, opt-outs"
STEPS = [
    "precheck consents",
    "decode pictures",
    MEASURE,
    "decide, issue warrant",
    "swap",
    "mark, label, sign, read back, log",
]


# ------------------------------------------------------------------------------ released


@pytest.mark.parametrize("mime", ["image/webp", "image/jpeg", "image/png"])
def test_consented_swap_is_released_and_verified(
    house: Any, assert_only_marked: Callable[..., int], tmp_path: Path, mime: Any
) -> None:
    target = house.picture("persona2_0")
    if mime != "image/webp":
        target = encode(decode(target).frame, mime)
    seen: list[tuple[str, str]] = []
    job = house.job(target=target)
    outcome = house.run(job, lambda request_id, step, _seconds: seen.append((request_id, step)))
    assert outcome.status == "released", outcome
    assert (outcome.codes, outcome.findings, outcome.message) == ((), (), "")
    out = outcome.release
    assert out is not None
    assert out.mime == mime
    assert seen == [(job.request.request_id, step) for step in STEPS]

    report = house.at.verifier.verify(out.data)
    assert (report.verdict, report.origin, report.consent) == (
        "authentic",
        "facewarrant",
        "current",
    )
    verdict = scan(out.data, verifier=house.at.verifier)
    assert verdict.outcome == "declared_synthetic"

    assert house.states() == ["released"]
    assert house.uses() == 2
    assert house.kinds()[-3:] == ["decision", "warrant", "release"]
    assert assert_only_marked(tmp_path, house.at) == 1
    said = json.dumps(outcome.as_json())
    assert json.loads(said)["release"]["mark_id"] == out.mark_id
    assert len(said) < 1000


def test_the_face_has_changed_and_the_surroundings_have_not(house: Any) -> None:
    job = house.job()
    out = house.run(job).release
    before, after = decode(job.target).frame.astype(int), decode(out.data).frame.astype(int)
    change = np.abs(after - before).mean(axis=2)
    # persona2_0: face box 92..419 x 119..446; the label finds its place above it.
    assert change[180:380, 160:350].mean() > 5 * change[470:].mean()
    faces = house.at.analyser.analyse(decode(out.data).frame)
    assert len(faces) == 1


def test_running_again_delivers_identical_bytes(house: Any) -> None:
    job = house.job()
    first = house.run(job)
    kinds, kept = house.kinds(), house.kept()
    second = house.run(job)
    assert second == first
    assert second.release.data == first.release.data
    assert (house.kinds(), house.kept(), house.uses()) == (kinds, kept, 2)
    assert house.states() == ["released"]


def test_same_swap_under_another_id_is_another_output(house: Any) -> None:
    first, second = house.run(house.job()), house.run(house.job())
    assert first.release.mark_id != second.release.mark_id
    assert first.release.sha256 != second.release.sha256
    assert house.states() == ["released", "released"]


def test_consented_bystander_is_let_stand(house: Any, side_by_side: Any) -> None:
    target = side_by_side(house, "persona2_0", "persona3_0")
    job = house.job(target=target, people=("persona1", "persona2", "persona3"))
    outcome = house.run(job)
    assert outcome.status == "released", outcome
    before = decode(target).frame[:400, 512:].astype(int)
    after = decode(outcome.release.data).frame[:400, 512:].astype(int)
    # Only the mark has touched them: at most a few grey levels anywhere.
    assert np.abs(after - before).max() <= 40
    assert np.abs(after - before).mean() < 3
    assert house.uses() == 3


def test_batch_gives_one_outcome_each_in_order(house: Any) -> None:
    jobs = [
        house.job(target=b"a letter"),
        house.job(),
        house.job(purpose="film_vfx"),
        house.job("persona2_0", "persona1_0", people=("persona2", "persona1")),
    ]
    outcomes = run_batch(jobs, deployment=house.at)
    assert [o.request_id for o in outcomes] == [j.request.request_id for j in jobs]
    assert [o.status for o in outcomes] == ["rejected", "released", "refused", "released"]
    assert outcomes[2].codes == ("PURPOSE-SCOPE",)


def test_empty_batch_gives_nothing(house: Any) -> None:
    assert run_batch([], deployment=house.at) == []
    assert set(house.kinds()) <= {"policy"}, "what is in force is logged, and nothing else"


# ------------------------------------------------------------------------------ withdrawn, reused


@pytest.mark.parametrize("person", ["persona1", "persona2"])
def test_withdrawal_refuses_what_comes_and_what_was_asked_again(house: Any, person: str) -> None:
    job = house.job()
    first = house.run(job)
    withdraw(house.consent(person), at=house.at)
    for again in (job, house.job()):
        outcome = house.run(again)
        assert (outcome.status, outcome.codes) == ("refused", ("CONSENT-STATUS",))
        [finding] = outcome.findings
        assert "GDPR-6-7-9" in finding.cites
        assert house.consent(person) in finding.subject
        assert "withdrawn" in finding.explain
        assert outcome.release is None
    # What is out in the world stays traceable, and says so.
    report = house.at.verifier.verify(first.release.data)
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")
    assert house.states() == ["released"]


def test_request_id_names_one_request(house: Any) -> None:
    first = house.job()
    assert house.run(first).status == "released"
    other = house.job(
        "persona2_0",
        "persona1_0",
        people=("persona2", "persona1"),
        request_id=first.request.request_id,
    )
    outcome = house.run(other)
    assert (outcome.status, outcome.codes) == ("rejected", ("REQUEST-ID-REUSED",))
    assert outcome.release is None
    assert house.states() == ["released"]


def test_kept_bytes_that_were_changed_are_not_delivered(house: Any) -> None:
    job = house.job()
    sha256 = house.run(job).release.sha256
    path = house.at.settings.home / "store" / sha256[:2] / sha256[2:]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StoreUnavailable):
        house.run(job)


def test_tampering_with_an_output_is_seen(house: Any) -> None:
    job = house.job(target=encode(decode(house.picture("persona2_0")).frame, "image/jpeg"))
    data = bytearray(house.run(job).release.data)
    data[-1000] ^= 1
    with pytest.raises(Tampered) as caught:
        house.at.verifier.verify(bytes(data))
    assert caught.value.code == "TAMPERED"
    assert scan(bytes(data), verifier=house.at.verifier).outcome == "provenance_conflict"


# ------------------------------------------------------------------------------ on the way


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("precheck consents", "CONSENT-STATUS"),
        ("decode pictures", "CONSENT-STATUS"),
        (MEASURE, "CONSENT-STATUS"),
        ("decide, issue warrant", "CONSENT-CHANGED"),
        ("swap", "NOT-RELEASED"),
    ],
)
@pytest.mark.parametrize("person", ["persona1", "persona2"])
def test_withdrawal_on_the_way_stops_it(
    house: Any, step: str, code: str, person: str, assert_nothing_made: Any
) -> None:
    job = house.job()

    def observe(_request_id: str, done: str, _seconds: float) -> None:
        if done == step:
            withdraw(house.consent(person), at=house.at)

    outcome = house.run(job, observe)
    # Withdrawing erases the template too: whoever is measured after that matches nobody.
    assert code in outcome.codes
    assert outcome.status == ("refused" if code == "CONSENT-STATUS" else "rejected")
    assert_nothing_made(house, outcome)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_stop_after_the_swap_ends_the_warrant(house: Any, stop: type[BaseException]) -> None:
    job = house.job()

    def observe(_request_id: str, done: str, _seconds: float) -> None:
        if done == "swap":
            raise stop

    with pytest.raises(stop):
        house.run(job, observe)
    assert house.states() == ["aborted"]
    assert house.uses() == 0
    assert house.kept() == []
    assert house.run(job).status == "released"
