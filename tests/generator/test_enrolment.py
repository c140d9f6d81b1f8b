"""Enrolment: one person, fit shots, a video that answers the challenge; morphs are not let pass."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.enrolment import (
    LivenessFailed,
    LivenessRecord,
    MorphSuspected,
    check_morph,
    enrol_pictures,
    enrol_video,
    faults_of,
)
from generator.errors import EnrolmentRefused, ManyFaces, NoFace, ShapeError
from generator.faces import Face, FaceAnalyser, FaceBox, IdThresholds, open_analyser
from generator.landmarks import crop_points
from generator.matching import match
from generator.texture import FaceQuality, quality_of
from policies.challenge import Challenge, Step
from provenance.video import VideoLimits, VideoTooShort, read_frames

Frame = npt.NDArray[np.uint8]
Picture = Callable[[str], Frame]

CLIP = Path(__file__).parent.parent / "vectors" / "enrolment" / "rendered.mp4"
STEPS: tuple[Step, ...] = ("turn_right", "close_eyes", "turn_left", "close_eyes", "turn_right")
STEP_SECONDS = 0.2
THRESHOLDS = IdThresholds(match=0.45, mismatch=0.55)


def challenge(steps: Sequence[Step] = STEPS) -> Challenge:
    return Challenge(
        schema="facewarrant/challenge/1",
        nonce="ab" * 32,
        steps=tuple(steps),
        issued_at=0,
        expires_at=120,
    )


class Remembering:
    """The real stack, which analyses each picture once: tests show the same frames many times."""

    def __init__(self) -> None:
        self._stack = open_analyser(threads=1)
        self._known: dict[bytes, list[Face]] = {}
        self.id_model, self.models = self._stack.id_model, self._stack.models
        self.thresholds = self._stack.thresholds

    def analyse(self, frame: Frame) -> list[Face]:
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._stack.analyse(frame)
        return self._known[key]

    def locate(self, frame: Frame) -> list[FaceBox]:
        return self._stack.locate(frame)


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return Remembering()


@pytest.fixture
def picture(demo_picture: Callable[[str], bytes]) -> Picture:
    def read(name: str) -> Frame:
        data = np.frombuffer(demo_picture(name), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return read


@pytest.fixture(scope="module")
def clip() -> list[Frame]:
    """The frames of the rendered clip."""
    limits = VideoLimits(min_seconds=2)
    return [frame for _, frame in read_frames(CLIP.read_bytes(), limits=limits)]


def performed(clip: Sequence[Frame]) -> list[Frame]:
    """Frames in the order of STEPS, every fourth one and all closed eyes, then right and back."""
    kept = [i for i in range(60) if i % 4 == 0 or i in (13, 14, 15, 43, 45)]
    again = list(range(0, 13, 4))
    return [clip[i] for i in (*kept, *again, *reversed(again))]


def timed(frames: Sequence[Frame], step: float = STEP_SECONDS) -> Iterator[tuple[float, Frame]]:
    return ((i * step, frame) for i, frame in enumerate(frames))


def encoded(frames: Sequence[Frame]) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=5)
        stream.width = stream.height = 320
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 5)
        stream.options = {"crf": "20"}
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def codes(caught: pytest.ExceptionInfo[LivenessFailed]) -> set[str]:
    assert caught.value.code == "LIVENESS-FAILED"
    assert caught.value.reading.state == "failed"
    assert caught.value.message
    return {reason.code for reason in caught.value.reading.reasons}


def test_a_recorded_video_that_answers_its_challenge_is_enrolled(
    clip: list[Frame], analyser: FaceAnalyser, picture: Picture
) -> None:
    recorded = encoded(performed(clip))
    frames = read_frames(recorded, limits=VideoLimits(min_seconds=5))
    enrolled = enrol_video(frames, challenge(), analyser)
    assert enrolled.reading is not None
    assert enrolled.reading.seen == STEPS
    assert enrolled.liveness.method == "video_challenge"
    assert enrolled.liveness.nonce_sha256 == hashlib.sha256(("ab" * 32).encode()).hexdigest()
    assert 0 < enrolled.liveness.score_milli == enrolled.reading.score_milli
    assert enrolled.warnings == ()
    assert enrolled.disagreement < 0.45
    (known,) = analyser.analyse(clip[0])
    (other,) = analyser.analyse(picture("persona1_0"))
    assert match(known, enrolled.template, THRESHOLDS).answer == "match"
    assert match(other, enrolled.template, THRESHOLDS).answer == "mismatch"


def test_yesterdays_video_fails_todays_challenge(clip: list[Frame], analyser: FaceAnalyser) -> None:
    today: tuple[Step, ...] = ("turn_left", "close_eyes", "turn_right", "close_eyes", "turn_left")
    with pytest.raises(LivenessFailed) as caught:
        enrol_video(timed(performed(clip)), challenge(today), analyser)
    assert codes(caught) == {"other_steps"}
    assert caught.value.reading.seen == STEPS
    assert "asked for turn_left" in caught.value.message


def test_a_still_picture_fails(clip: list[Frame], analyser: FaceAnalyser) -> None:
    with pytest.raises(LivenessFailed) as caught:
        enrol_video(timed([clip[0]] * 60), challenge(), analyser)
    assert codes(caught) == {"other_steps", "flat"}


def test_pictures_exchanged_before_the_camera_fail(
    clip: list[Frame], analyser: FaceAnalyser
) -> None:
    held = [clip[0], clip[14], clip[0], clip[47], clip[44], clip[0], clip[12]]
    shown = [frame for frame in held for _ in range(6)]
    with pytest.raises(LivenessFailed) as caught:
        enrol_video(timed(shown), challenge(), analyser)
    assert "jump" in codes(caught)


def test_a_video_that_the_reader_refuses_is_not_enrolled(
    clip: list[Frame], analyser: FaceAnalyser
) -> None:
    short = encoded(performed(clip)[:3])
    with pytest.raises(VideoTooShort):
        enrol_video(read_frames(short), challenge(), analyser)


@pytest.mark.parametrize(("others", "code"), [(0, "no_face"), (2, "several_faces")])
def test_a_frame_without_exactly_one_face_ends_it(
    clip: list[Frame], analyser: FaceAnalyser, others: int, code: str
) -> None:
    frames = performed(clip)
    frames[5] = np.hstack([clip[0]] * others) if others else np.full((320, 320, 3), 90, np.uint8)
    with pytest.raises(LivenessFailed) as caught:
        enrol_video(timed(frames), challenge(), analyser)
    assert codes(caught) == {code}
    assert "1.0 s" in caught.value.message


def test_no_frames_are_no_enrolment(analyser: FaceAnalyser) -> None:
    with pytest.raises(NoFace):
        enrol_video(iter(()), challenge(), analyser)


def test_a_face_that_never_looks_straight_fails(clip: list[Frame], analyser: FaceAnalyser) -> None:
    with pytest.raises(LivenessFailed) as caught:
        enrol_video(timed([clip[48]] * 30), challenge(), analyser)
    assert codes(caught) == {"not_frontal"}


def test_eyes_that_never_open_at_rest_are_no_reason_to_crash(
    clip: list[Frame], analyser: FaceAnalyser
) -> None:
    with pytest.raises(LivenessFailed):
        enrol_video(timed([clip[0]] + [clip[14]] * 30), challenge(), analyser)


class Drawn:
    """An analyser that reports one face of our choice, whatever it is shown."""

    id_model, models = "idnet", {"idnet": "0" * 64}
    thresholds = THRESHOLDS

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = list(faces)
        self.asked = 0

    def analyse(self, frame: Frame) -> list[Face]:
        self.asked += 1
        return self.faces

    def locate(self, frame: Frame) -> list[FaceBox]:
        return [face.box for face in self.faces]


def test_ten_samples_a_second_are_analysed_however_fast_the_camera(
    clip: list[Frame], analyser: FaceAnalyser
) -> None:
    drawn = Drawn(analyser.analyse(clip[0]))
    with pytest.raises(LivenessFailed):
        enrol_video(timed([clip[0]] * 241, 1 / 120), challenge(), drawn)
    assert drawn.asked == 21


def test_pictures_of_one_person_are_enrolled_without_a_word_on_presence(
    picture: Picture, analyser: FaceAnalyser
) -> None:
    enrolled = enrol_pictures([picture(f"persona1_{view}") for view in range(3)], analyser)
    assert enrolled.liveness == LivenessRecord("none", "", 0)
    assert (enrolled.shots, enrolled.warnings, enrolled.reading) == (3, (), None)
    assert 0.2 < enrolled.disagreement < 0.45
    assert enrolled.template.shape == (128,)


def test_one_picture_alone_carries_a_warning(picture: Picture, analyser: FaceAnalyser) -> None:
    enrolled = enrol_pictures([picture("persona1_0")], analyser)
    assert len(enrolled.warnings) == 1
    assert "one shot" in enrolled.warnings[0]
    assert enrolled.disagreement == 0


def test_shots_that_agree_poorly_carry_a_warning(picture: Picture, analyser: FaceAnalyser) -> None:
    (face,) = analyser.analyse(picture("persona1_0"))
    away = np.zeros(128, np.float32)
    away[0] = 0.5
    apart = [face, replace(face, id_vector=face.id_vector + away)]

    class Turns(Drawn):
        def analyse(self, frame: Frame) -> list[Face]:
            return [self.faces[super().analyse(frame) is None or self.asked - 1]]

    enrolled = enrol_pictures([picture("persona1_0")] * 2, Turns(apart))
    assert enrolled.disagreement == pytest.approx(0.5, abs=1e-4)
    assert any("0.50 apart" in warning for warning in enrolled.warnings)


def test_pictures_of_two_people_are_refused(picture: Picture, analyser: FaceAnalyser) -> None:
    with pytest.raises(EnrolmentRefused, match="apart"):
        enrol_pictures([picture("persona1_0"), picture("persona2_0")], analyser)


def test_pictures_without_exactly_one_face_are_refused(
    picture: Picture, analyser: FaceAnalyser
) -> None:
    one = picture("persona1_0")
    with pytest.raises(NoFace):
        enrol_pictures([], analyser)
    with pytest.raises(NoFace):
        enrol_pictures([np.full((256, 256, 3), 90, np.uint8)], analyser)
    with pytest.raises(ManyFaces):
        enrol_pictures([np.hstack([one, picture("persona2_0")])], analyser)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda x: cv2.resize(x, (96, 96), interpolation=cv2.INTER_AREA), "px wide"),
        (lambda x: cv2.GaussianBlur(x, (0, 0), 5), "sharpness"),
        (lambda x: (x * 0.12).astype(np.uint8), "brightness"),
        (lambda x: np.clip(x * 1.7, 0, 255).astype(np.uint8), "black or white"),
    ],
)
def test_poor_pictures_are_refused_with_the_measured_reason(
    picture: Picture, analyser: FaceAnalyser, spoil: Callable[[Any], Any], word: str
) -> None:
    with pytest.raises(EnrolmentRefused, match=word) as caught:
        enrol_pictures([picture("persona1_0"), spoil(picture("persona1_0"))], analyser)
    assert caught.value.message.startswith("shot 2: ")
    assert caught.value.mend


@pytest.mark.parametrize(
    ("pose", "word"), [((36, 0, 0), "turned"), ((0, -31, 0), "lowered"), ((0, 0, 31), "tilted")]
)
def test_faces_turned_too_far_are_named(
    picture: Picture, analyser: FaceAnalyser, pose: tuple[float, float, float], word: str
) -> None:
    frame = picture("persona1_0")
    (face,) = analyser.analyse(frame)
    quality = quality_of(frame, face.mesh)
    assert faults_of(face, quality) == ()
    (fault,) = faults_of(replace(face, pose=pose), quality)
    assert word in fault


def test_every_limit_of_a_shot_is_used(picture: Picture, analyser: FaceAnalyser) -> None:
    (face,) = analyser.analyse(picture("persona1_0"))
    nothing = FaceQuality(float("nan"), float("nan"), float("nan"), float("nan"), 3.0)
    assert len(faults_of(face, nothing)) == 4


def blended(a: Frame, b: Frame, analyser: FaceAnalyser) -> Frame:
    """Two people half and half, the second laid onto the first by eyes and mouth."""
    onto, source = (crop_points(analyser.analyse(frame)[0].mesh) for frame in (a, b))
    rows = np.array([[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in source]).reshape(-1, 4)
    (turn, lean, right, down), *_ = np.linalg.lstsq(rows, onto.reshape(-1), rcond=None)
    matrix = np.array([[turn, -lean, right], [lean, turn, down]])
    laid = cv2.warpAffine(b, matrix, (a.shape[1], a.shape[0]), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.addWeighted(a, 0.5, laid, 0.5, 0), np.uint8)


@pytest.fixture
def people(picture: Picture, analyser: FaceAnalyser) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """The templates of four rendered people, each from three views."""
    return [
        (
            f"person {n}",
            enrol_pictures([picture(f"persona{n}_{view}") for view in range(3)], analyser).template,
        )
        for n in (1, 2, 3)
    ] + [("person 4", enrol_pictures([picture("persona4_0")], analyser).template)]


def test_a_blend_of_two_enrolled_people_is_not_silently_accepted(
    picture: Picture, analyser: FaceAnalyser, people: Any
) -> None:
    answers = {}
    for a, b in combinations((1, 2, 3, 4), 2):
        morph = blended(picture(f"persona{a}_0"), picture(f"persona{b}_0"), analyser)
        template = enrol_pictures([morph], analyser).template
        reading = check_morph(template, people, THRESHOLDS)
        answers[a, b] = reading.answer
        with pytest.raises(MorphSuspected) as caught:
            reading.require_clear()
        assert caught.value.code == "MORPH-SUSPECTED"
        assert caught.value.reading is reading
    assert "refused" in answers.values()
    assert "clear" not in answers.values()


def test_people_who_are_enrolled_for_the_first_time_are_clear(
    picture: Picture, analyser: FaceAnalyser, people: Any
) -> None:
    for number in (0, 1, 2):
        others = [known for i, known in enumerate(people) if i not in (number, 3)]
        reading = check_morph(people[number][1], others, THRESHOLDS)
        assert (reading.answer, reading.near) == ("clear", ())
        reading.require_clear()


def away(*distances: float) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """People at these distances from the unit vector."""
    made = []
    for number, distance in enumerate(distances):
        vector = np.eye(8, dtype=np.float32)[0]
        vector[number + 1] += distance
        made.append((f"p{number}", vector))
    return made


@pytest.mark.parametrize(
    ("distances", "answer", "near"),
    [
        ((), "clear", 0),
        ((0.9, 0.56), "clear", 0),
        ((0.5,), "clear", 1),
        ((0.4,), "review", 1),
        ((0.5, 0.54), "review", 2),
        ((0.4, 0.5), "review", 2),
        ((0.44, 0.3), "refused", 2),
        ((0.44, 0.3, 0.9, 0.1), "refused", 3),
    ],
)
def test_how_many_people_a_template_is_near_decides(
    distances: tuple[float, ...], answer: str, near: int
) -> None:
    template = np.eye(8, dtype=np.float32)[0]
    reading = check_morph(template, away(*distances), THRESHOLDS)
    assert (reading.answer, len(reading.near)) == (answer, near)
    assert [found.distance for found in reading.near] == sorted(f.distance for f in reading.near)


@pytest.mark.parametrize("bad", [np.ones(7, np.float32), np.full(8, np.nan, np.float32)])
def test_a_template_that_cannot_be_compared_is_an_error_and_not_a_stranger(bad: Any) -> None:
    template = np.eye(8, dtype=np.float32)[0]
    with pytest.raises(ShapeError):
        check_morph(template, [("p", bad)], THRESHOLDS)
    with pytest.raises(ShapeError):
        check_morph(bad, away(0.4), THRESHOLDS)
