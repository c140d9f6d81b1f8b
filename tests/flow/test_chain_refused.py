"""What the whole chain refuses or rejects over rendered people, and with which codes."""

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

from generator.errors import SwapRefused
from generator.matching import match
from generator.second_net import open_second_net
from generator.templates import pack_template
from pipelines.enrol import Enrolment
from provenance.media import decode, encode

# ------------------------------------------------------------------------------ refused


def test_face_of_someone_else_as_source(house: Any, check_refusal: Any) -> None:
    check_refusal(house, house.run(house.job("persona3_0")), "FACE-MISMATCH")


def test_face_of_someone_else_as_target(house: Any, check_refusal: Any) -> None:
    check_refusal(house, house.run(house.job(target="persona4_0")), "BYSTANDER", "FACE-MISMATCH")


def test_pictures_exchanged(house: Any, check_refusal: Any) -> None:
    outcome = house.run(house.job("persona2_0", "persona1_0"))
    check_refusal(house, outcome, "BYSTANDER", "FACE-MISMATCH")
    assert len([f for f in outcome.findings if f.code == "FACE-MISMATCH"]) == 2


def test_two_faces_in_the_source(house: Any, check_refusal: Any, side_by_side: Any) -> None:
    source = side_by_side(house, "persona1_0", "persona3_0")
    check_refusal(house, house.run(house.job(source)), "SOURCE-FACES")


def test_bystander_nobody_named(house: Any, check_refusal: Any, side_by_side: Any) -> None:
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
def test_no_face(house: Any, which: str, codes: tuple[str, ...], check_refusal: Any) -> None:
    check_refusal(house, house.run(house.job(**{which: landscape()})), *codes)


def test_photograph_of_a_person_who_never_consented(house: Any, check_refusal: Any) -> None:
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
def test_use_outside_the_consent(
    house: Any, changes: dict[str, Any], code: str, check_refusal: Any
) -> None:
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


def test_failed_swap_gives_the_use_back(house: Any, check_rejection: Any) -> None:
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


def test_picture_that_cannot_carry_the_mark_gives_the_use_back(
    house: Any, check_rejection: Any
) -> None:
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
def test_whoever_opted_out_is_not_swapped_whatever_they_signed(
    house: Any, person: str, check_refusal: Any
) -> None:
    entry = opt_out(house, person)
    outcome = house.run(house.job())
    check_refusal(house, outcome, "DO-NOT-SWAP")
    said = json.dumps(outcome.as_json())
    assert entry not in said, "which entry it was is nobody's to learn"
    house.at.optouts.remove(entry)
    assert house.run(house.job()).status == "released"


def test_an_opt_out_that_comes_after_the_decision_stops_the_swap(
    house: Any, check_rejection: Any
) -> None:
    def observe(_request_id: str, done: str, _seconds: float) -> None:
        if done == "decide, issue warrant":
            opt_out(house, "persona1")

    check_rejection(house, house.run(house.job(), observe), "OPTED-OUT")
    assert house.states() == ["aborted"]


def test_a_stranger_is_blurred_beyond_recognition_where_that_was_asked(
    house: Any,
    assert_only_marked: Callable[..., int],
    tmp_path: Path,
    check_refusal: Any,
    side_by_side: Any,
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


def test_a_stranger_gets_the_face_of_nobody_where_that_was_asked(
    house: Any, side_by_side: Any
) -> None:
    """T7: the request says persona, the release is verified, two nets know nobody there."""
    target = side_by_side(house, "persona2_0", "persona3_0")
    outcome = house.run(house.job(target=target, bystanders="persona"))
    assert outcome.status == "released", outcome
    analyser, second = house.at.analyser, open_second_net()
    before, after = (decode(data).frame for data in (target, outcome.release.data))
    stranger = max(analyser.analyse(before), key=lambda face: face.box[0])
    [known] = analyser.analyse(decode(house.picture("persona3_1")).frame)
    seen = max(analyser.analyse(after), key=lambda face: face.box[0])
    assert seen.box[0] > 512, "there is a face where the stranger was"
    for theirs in (stranger, known):
        assert match(seen, theirs.id_vector, analyser.thresholds).answer == "mismatch"
    vectors = second.embed(before, stranger), second.embed(after, seen)
    assert np.linalg.norm(vectors[0] - vectors[1]) > second.thresholds.mismatch
    assert house.at.verifier.verify(outcome.release.data).verdict == "authentic"
    assert b"+persona1" in outcome.release.data, "the manifest says that a face was replaced"
    assert b"personas" in outcome.release.data
    assert house.uses() == 2, "the stranger agreed to nothing and nothing of theirs was used"


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
def test_what_is_no_picture(house: Any, kind: str, which: str, check_rejection: Any) -> None:
    make, code = NO_PICTURES[kind]
    outcome = house.run(house.job(**{which: make()}))
    check_rejection(house, outcome, code)
    assert house.states() == []  # no warrant was even issued


def test_bytes_other_than_the_request_names(house: Any, check_refusal: Any) -> None:
    """The digest in the request is checked against the bytes, whoever computed it."""
    job = house.job()
    other = type(job)(job.request, job.source, house.picture("persona2_1"))
    check_refusal(house, house.run(other), "INPUTS-MISMATCH")
