"""The whole chain over rendered people: what is released, what is refused, and with which codes."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.scan import scan
from generator.errors import SwapRefused
from generator.matching import match
from generator.templates import pack_template
from pipelines.batch import run_batch
from pipelines.enrol import Enrolment
from pipelines.outcome import Outcome
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


def assert_nothing_made(house: Any, outcome: Outcome) -> None:
    """No output anywhere, no use taken, and no warrant that still waits."""
    assert outcome.release is None
    assert house.kept() == []
    assert house.uses() == 0
    assert set(house.states()) <= {"aborted"}
    assert house.at.archive.registry.by_request(outcome.request_id) is None
    assert "release" not in house.kinds()


def check_refusal(house: Any, outcome: Outcome, *codes: str) -> None:
    assert (outcome.status, outcome.codes) == ("refused", codes)
    assert outcome.message
    assert outcome.mend
    assert {finding.code for finding in outcome.findings} == set(codes)
    for finding in outcome.findings:
        assert finding.cites, finding
        assert finding.explain, finding
        assert finding.mend, finding
    assert json.loads(json.dumps(outcome.as_json()))["codes"] == list(codes)
    assert_nothing_made(house, outcome)


def check_rejection(house: Any, outcome: Outcome, code: str) -> None:
    assert (outcome.status, outcome.codes) == ("rejected", (code,))
    assert outcome.message
    assert outcome.findings == ()
    assert_nothing_made(house, outcome)


def side_by_side(house: Any, *names: str) -> bytes:
    frames = [decode(house.picture(name)).frame for name in names]
    return encode(np.hstack(frames), "image/png")


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


def test_consented_bystander_is_let_stand(house: Any) -> None:
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


# ------------------------------------------------------------------------------ refused


def test_face_of_someone_else_as_source(house: Any) -> None:
    check_refusal(house, house.run(house.job("persona3_0")), "FACE-MISMATCH")


def test_face_of_someone_else_as_target(house: Any) -> None:
    check_refusal(house, house.run(house.job(target="persona4_0")), "BYSTANDER", "FACE-MISMATCH")


def test_pictures_exchanged(house: Any) -> None:
    outcome = house.run(house.job("persona2_0", "persona1_0"))
    check_refusal(house, outcome, "BYSTANDER", "FACE-MISMATCH")
    assert len([f for f in outcome.findings if f.code == "FACE-MISMATCH"]) == 2


def test_two_faces_in_the_source(house: Any) -> None:
    source = side_by_side(house, "persona1_0", "persona3_0")
    check_refusal(house, house.run(house.job(source)), "SOURCE-FACES")


def test_bystander_nobody_named(house: Any) -> None:
    target = side_by_side(house, "persona2_0", "persona3_0")
    outcome = house.run(house.job(target=target))
    check_refusal(house, outcome, "BYSTANDER")
    assert "consent of everyone shown" in outcome.findings[0].mend


def landscape() -> bytes:
    sky = np.linspace(220, 40, 400)[:, None, None] + np.zeros((400, 500, 3))
    grain = np.random.default_rng(0).normal(0, 3, (400, 500, 3))
    return encode(np.clip(sky + grain, 0, 255).astype(np.uint8), "image/png")


@pytest.mark.parametrize(
    ("which", "codes"),
    [
        ("source", ("SOURCE-FACES", "AGE-MINOR", "FACE-MISMATCH", "DO-NOT-SWAP")),
        ("target", ("BYSTANDER", "AGE-MINOR", "FACE-MISMATCH", "DO-NOT-SWAP")),
    ],
)
def test_no_face(house: Any, which: str, codes: tuple[str, ...]) -> None:
    check_refusal(house, house.run(house.job(**{which: landscape()})), *codes)


def test_photograph_of_a_person_who_never_consented(house: Any) -> None:
    """A real person whom anyone can download; no wording of the request makes it lawful."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image for its sample picture")
    target = encode(np.ascontiguousarray(data.astronaut()[..., ::-1]), "image/jpeg")
    outcome = house.run(house.job(target=target))
    check_refusal(house, outcome, "BYSTANDER", "FACE-MISMATCH")
    needed = " ".join(finding.mend for finding in outcome.findings)
    assert "signed consent of everyone shown" in needed
    assert "get the consent of the person shown" in needed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"purpose": "film_vfx"}, "PURPOSE-SCOPE"),
        ({"audience": "public"}, "AUDIENCE-SCOPE"),
        ({"territories": ["DE", "US"]}, "TERRITORY-SCOPE"),
        ({"categories": ["nudity"]}, "SENSITIVE-CATEGORY"),
    ],
)
def test_use_outside_the_consent(house: Any, changes: dict[str, Any], code: str) -> None:
    seen: list[str] = []
    outcome = house.run(house.job(**changes), lambda _id, step, _seconds: seen.append(step))
    check_refusal(house, outcome, code)
    # No picture is decoded for what the consents already forbid.
    assert seen == []


def test_consent_that_is_used_up(house: Any) -> None:
    house.enrol("persona1", max_uses=1)
    first, second = house.job(), house.job()
    assert house.run(first).status == "released"
    outcome = house.run(second)
    assert (outcome.status, outcome.codes) == ("refused", ("LIMIT-EXHAUSTED",))
    assert house.uses() == 2
    # The one use was for the first request, which may be delivered again.
    assert house.run(first).status == "released"


def test_failed_swap_gives_the_use_back(house: Any) -> None:
    house.enrol("persona1", max_uses=1)
    job, real = house.job(), house.at.swapper

    class Failing:
        name, version, models = real.name, real.version, real.models

        def render(self, _task: object) -> Any:
            raise SwapRefused("this cannot be swapped honestly")

    house.at.__dict__["swapper"] = Failing()
    check_rejection(house, house.run(job), "SWAP-REFUSED")
    assert house.kinds()[-1] == "abort"
    house.at.__dict__["swapper"] = real
    assert house.run(job).status == "released"
    assert sorted(house.states()) == ["aborted", "released"]


def test_picture_that_cannot_carry_the_mark_gives_the_use_back(house: Any) -> None:
    small = cv2.resize(decode(house.picture("persona2_0")).frame, (240, 240))
    outcome = house.run(house.job(target=encode(small, "image/png")))
    check_rejection(house, outcome, "NOT-RELEASED")
    assert "NOT-MARKABLE" in outcome.message
    assert "larger picture" in outcome.mend


def opt_out(house: Any, person: str) -> str:
    views = Enrolment(tuple(house.picture(f"{person}_{n}") for n in (1, 2)))
    at = house.at
    return str(
        at.optouts.add(
            pack_template(views.run(at).template),
            model_sha256=at.analyser.models[at.analyser.id_model],
            pid="ps_" + "b" * 26,
        )
    )


@pytest.mark.parametrize("person", ["persona1", "persona2"])
def test_whoever_opted_out_is_not_swapped_whatever_they_signed(house: Any, person: str) -> None:
    entry = opt_out(house, person)
    outcome = house.run(house.job())
    check_refusal(house, outcome, "DO-NOT-SWAP")
    said = json.dumps(outcome.as_json())
    assert entry not in said, "which entry it was is nobody's to learn"
    house.at.optouts.remove(entry)
    assert house.run(house.job()).status == "released"


def test_an_opt_out_that_comes_after_the_decision_stops_the_swap(house: Any) -> None:
    def observe(_request_id: str, done: str, _seconds: float) -> None:
        if done == "decide, issue warrant":
            opt_out(house, "persona1")

    check_rejection(house, house.run(house.job(), observe), "OPTED-OUT")
    assert house.states() == ["aborted"]


def test_a_stranger_is_blurred_beyond_recognition_where_that_was_asked(
    house: Any, assert_only_marked: Callable[..., int], tmp_path: Path
) -> None:
    target = side_by_side(house, "persona2_0", "persona3_0")
    check_refusal(house, house.run(house.job(target=target)), "BYSTANDER")
    outcome = house.run(house.job(target=target, bystanders="blur"))
    assert outcome.status == "released", outcome
    analyser = house.at.analyser
    before, after = (decode(data).frame for data in (target, outcome.release.data))
    stranger = min(analyser.analyse(before), key=lambda face: -face.box[0])
    [known] = analyser.analyse(decode(house.picture("persona3_1")).frame)
    assert match(stranger, known.id_vector, analyser.thresholds).answer == "match"
    for face in analyser.analyse(after):
        assert face.box[0] < 512, "the detector finds no face where the stranger was"
        assert match(face, known.id_vector, analyser.thresholds).answer == "mismatch"
    left, top, right, bottom = map(int, stranger.box)
    detail = [
        np.abs(np.diff(f[top:bottom, left:right].astype(int), axis=1)).mean()
        for f in (before, after)
    ]
    assert detail[1] < detail[0] / 2
    # Away from the heads only the mark has touched the picture.
    assert np.abs(after[470:, :512].astype(int) - before[470:, :512].astype(int)).mean() < 4
    assert house.at.verifier.verify(outcome.release.data).verdict == "authentic"
    assert house.uses() == 2, "the stranger agreed to nothing and nothing of theirs was used"
    assert assert_only_marked(tmp_path, house.at) == 1


# ------------------------------------------------------------------------------ rejected


def huge_png() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def truncated_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    data = encode(noise, "image/jpeg")
    return data[: len(data) // 2]


NO_PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "MEDIA-EMPTY"),
    "text": (lambda: b"Dear all, please find attached.", "MEDIA-UNSUPPORTED"),
    "truncated JPEG": (truncated_jpeg, "MEDIA-TRUNCATED"),
    "huge PNG": (huge_png, "MEDIA-TOO-LARGE"),
}


@pytest.mark.parametrize("which", ["source", "target"])
@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture(house: Any, kind: str, which: str) -> None:
    make, code = NO_PICTURES[kind]
    outcome = house.run(house.job(**{which: make()}))
    check_rejection(house, outcome, code)
    assert house.states() == []  # no warrant was even issued


def test_bytes_other_than_the_request_names(house: Any) -> None:
    """The digest in the request is checked against the bytes, whoever computed it."""
    job = house.job()
    other = type(job)(job.request, job.source, house.picture("persona2_1"))
    check_refusal(house, house.run(other), "INPUTS-MISMATCH")


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
def test_withdrawal_on_the_way_stops_it(house: Any, step: str, code: str, person: str) -> None:
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
