"""Enrolment at a deployment: a challenge counts once, a video answers it, nobody gets lost."""

from __future__ import annotations

import functools
import hashlib
import io
import sqlite3
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import pipelines.enrol
from generator.enrolment import Enrolled, LivenessFailed, LivenessRecord
from generator.errors import OtherPerson
from pipelines.demo import RENDERED
from pipelines.deployment import Deployment
from pipelines.enrol import Enrolment, compare_with_everybody, issue_challenge, read_enrolment
from pipelines.jobs import FileUnreadable
from pipelines.people import Assurance, Scope, grant, withdraw
from policies.audit import ClockRollback
from policies.challenge import (
    CHALLENGE_SECONDS,
    ChallengeExpired,
    ChallengeSpent,
    ChallengeUnknown,
    Step,
)
from policies.errors import Error, Malformed, StoreUnavailable
from policies.keyprovider import KeyUnavailable
from provenance.errors import MediaError
from provenance.media import DEFAULT_LIMITS
from provenance.video import VideoLimits, VideoTooShort, read_frames
from provenance.video_sandbox import read_apart

DEMO = Path(__file__).parents[2] / "docs" / "demo"
CLIP = Path(__file__).parents[1] / "vectors" / "enrolment" / "rendered.mp4"
STEPS: tuple[Step, ...] = ("turn_right", "close_eyes", "turn_left", "close_eyes", "turn_right")
SCOPE = Scope(("bystander",), ("personal",), ("DE",))
UNCOMPARED = "1 enrolled people could not be compared with"


def picture(name: str) -> bytes:
    return (DEMO / f"{name}.webp").read_bytes()


def encoded(frames: Sequence[Any], rate: int = 5) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, rate)
        stream.options = {"crf": "20"}
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def performed() -> list[Any]:
    """The rendered clip, in the order of STEPS: right, eyes, left, eyes, and right once more."""
    clip = [f for _, f in read_frames(CLIP.read_bytes(), limits=VideoLimits(min_seconds=2))]
    kept = [i for i in range(60) if i % 4 == 0 or i in (13, 14, 15, 43, 45)]
    again = list(range(0, 13, 4))
    return [clip[i] for i in (*kept, *again, *reversed(again))]


def empty(seconds: int) -> bytes:
    """A wall: nobody is in view."""
    return encoded([np.full((320, 320, 3), 90, np.uint8)] * seconds * 5)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every challenge asks for STEPS; the rendered clip shows no others."""
    monkeypatch.setattr("policies.challenge.SEQUENCES", (STEPS,))


# ------------------------------------------------------------------------------ the challenge


def test_a_video_that_answers_its_challenge_shows_presence(
    at: Deployment, asked: None, performed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half as long as people are asked for: a tenth of a second of analysis for every picture.
    short = functools.partial(read_apart, limits=VideoLimits(min_seconds=5))
    monkeypatch.setattr(pipelines.enrol, "read_apart", short)
    challenge = issue_challenge(at)
    assert challenge.steps == STEPS
    enrolment = Enrolment((encoded(performed),), challenge.nonce)
    assurance = Assurance(adult=True, age="document", evidence="check 1", in_person=True)
    granted = grant(enrolment, SCOPE, assurance, at=at)
    liveness = at.consents.read(granted.record_id).record.binding.liveness
    assert liveness.method == "video_challenge", "the stronger word stays"
    assert liveness.nonce_sha256 == hashlib.sha256(challenge.nonce.encode()).hexdigest()
    assert 0 < liveness.score_milli <= 1000
    with pytest.raises(ChallengeSpent):
        enrolment.run(at)


def test_a_challenge_is_spent_even_when_the_video_fails(
    at: Deployment, performed: list[Any]
) -> None:
    before = at.consents.record_ids()
    for media, error in (
        (empty(1), LivenessFailed),
        (encoded(performed[:3]), VideoTooShort),
        (b"no video", MediaError),
    ):
        nonce = issue_challenge(at).nonce
        with pytest.raises(error) as refused:
            grant(Enrolment((media,), nonce), SCOPE, RENDERED, at=at)
        assert refused.value.mend
        with pytest.raises(ChallengeSpent) as again:
            Enrolment((media,), nonce).run(at)
        assert again.value.code == "CHALLENGE-SPENT"
    assert at.consents.record_ids() == before


def test_two_files_or_none_answer_no_challenge_and_spend_none(at: Deployment) -> None:
    nonce = issue_challenge(at).nonce
    for media in ((), (empty(1), empty(1))):
        with pytest.raises(Malformed, match="answer one challenge"):
            Enrolment(media, nonce).run(at)
    with pytest.raises(LivenessFailed):
        Enrolment((empty(1),), nonce).run(at)


@pytest.mark.parametrize("nonce", ["ab" * 32, "../x", "' or 1=1 --"])
def test_a_nonce_that_nobody_issued_is_refused(at: Deployment, nonce: str) -> None:
    with pytest.raises(ChallengeUnknown):
        Enrolment((b"never read",), nonce).run(at)


def test_a_challenge_that_is_too_old_is_spent_too(at: Deployment) -> None:
    nonce = issue_challenge(at).nonce
    later = at.clock() + CHALLENGE_SECONDS
    at.__dict__["clock"] = lambda: later
    with pytest.raises(ChallengeExpired):
        Enrolment((empty(1),), nonce).run(at)
    with pytest.raises(ChallengeSpent):
        Enrolment((empty(1),), nonce).run(at)


def test_files_are_read_to_the_cap_of_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.file_bytes + 10)
    assert len(read_enrolment([path], "").media[0]) == DEFAULT_LIMITS.file_bytes + 1
    assert len(read_enrolment([path], "ab").media[0]) == DEFAULT_LIMITS.file_bytes + 10
    with pytest.raises(FileUnreadable):
        read_enrolment([tmp_path / "missing"], "")


# ------------------------------------------------------------------------------ the others


def enrolled(at: Deployment, *names: str, moved: float = 0.0) -> Enrolled:
    """Somebody from pictures, their template moved by a distance."""
    made = Enrolment(tuple(map(picture, names))).run(at)
    step = np.zeros_like(made.template)
    step[0] = moved
    return Enrolled(made.template + step, 2, 0.0, LivenessRecord("none"), None, ())


def test_a_stranger_is_compared_and_nothing_stands_out(at: Deployment) -> None:
    assert compare_with_everybody(enrolled(at, "persona3_1", "persona3_2"), pid="", at=at) == ()


def test_one_picture_and_a_neighbour_are_both_told(at: Deployment) -> None:
    alone = Enrolment((picture("persona1_0"),)).run(at)
    first, second = compare_with_everybody(alone, pid="", at=at)
    assert first.startswith("one shot")
    assert second == "the face looks like somebody who is enrolled already"


def spoil_template(home: Path, record_id: str) -> None:
    connection = sqlite3.connect(home / "facewarrant.db")
    connection.execute("update template set ciphertext = x'00' where record_id = ?", (record_id,))
    connection.commit()
    connection.close()


def test_whoever_is_named_as_known_has_to_be_clearly_that_person(at: Deployment, home: Any) -> None:
    pid = home.pid(home.source)
    own = enrolled(at, "persona1_1", "persona1_2")
    assert compare_with_everybody(own, pid=pid, at=at) == ()
    unclear, other = enrolled(at, "persona1_1", "persona1_2", moved=0.5), enrolled(at, "persona3_1")
    for made in (unclear, other):
        with pytest.raises(OtherPerson) as refused:
            compare_with_everybody(made, pid=pid, at=at)
        assert (refused.value.code, bool(refused.value.mend)) == ("OTHER-PERSON", True)


def test_where_the_own_face_cannot_be_compared_nobody_is_taken_for_known(
    at: Deployment, home: Any
) -> None:
    own, pid = enrolled(at, "persona1_1", "persona1_2"), home.pid(home.source)
    with pytest.raises(OtherPerson):
        compare_with_everybody(own, pid="ps_" + "a" * 26, at=at)
    spoil_template(home.path, home.source)  # the consent stands, the template opens no more
    with pytest.raises(OtherPerson):
        compare_with_everybody(own, pid=pid, at=at)
    assert compare_with_everybody(own, pid="", at=at) == (UNCOMPARED,)


def test_whoever_cannot_be_compared_with_is_counted(at: Deployment, home: Any) -> None:
    made = enrolled(at, "persona3_1", "persona3_2")
    spoil_template(home.path, home.source)
    assert compare_with_everybody(made, pid="", at=at) == (UNCOMPARED,)
    spoil_template(home.path, home.target)
    assert compare_with_everybody(made, pid="", at=at) == (UNCOMPARED.replace("1", "2"),)


@pytest.mark.parametrize("error", [ClockRollback, KeyUnavailable, StoreUnavailable])
def test_a_clock_token_or_database_that_fails_is_nobodys_fault(
    at: Deployment, monkeypatch: pytest.MonkeyPatch, error: type[Error]
) -> None:
    made = enrolled(at, "persona3_1", "persona3_2")

    def fail(*_: object) -> None:
        raise error("not now")

    monkeypatch.setattr(type(at.consents), "template", fail)
    with pytest.raises(error):
        compare_with_everybody(made, pid="", at=at)


def test_whose_consents_have_ended_is_nobody_to_compare_with(at: Deployment, home: Any) -> None:
    made = enrolled(at, "persona1_1", "persona1_2")
    assert compare_with_everybody(made, pid="", at=at) != ()
    withdraw(home.source, at=at)
    assert compare_with_everybody(made, pid="", at=at) == ()


def test_a_broken_consent_stops_no_enrolment_and_a_database_that_is_away_does(
    at: Deployment, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite3.connect(home.path / "facewarrant.db")
    connection.execute("drop trigger consent_event_delete")
    connection.execute("delete from consent_event where seq = 1 and record_id = ?", (home.source,))
    connection.commit()
    connection.close()
    made = enrolled(at, "persona1_1", "persona1_2")
    assert compare_with_everybody(made, pid="", at=at) == ()

    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(type(at.consents), "read", away)
    with pytest.raises(StoreUnavailable):
        compare_with_everybody(made, pid="", at=at)
