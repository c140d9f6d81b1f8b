"""From pictures or a video of one person to the template that stands for them.

Decides whether the shots are good enough to compare with, whether they show one person, and for a
video whether that person was there (`generator.liveness`). Refused with measured reasons: faces too
small, too blurred, too dark, too bright or too far turned, shots that do not agree, a failed
challenge. Pictures alone show nobody present: such an enrolment says so (`method` none).

A morph, one picture blended of two people, is meant to match both. It cannot be told from one
picture, nor where only one of the two is enrolled; `check_morph` finds it where both are, and a
video challenge makes it as hard as a live face replacement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Literal, NamedTuple

import numpy as np

from generator.errors import EnrolmentRefused, FaceError, NoFace
from generator.faces import (
    Face,
    FaceAnalyser,
    FloatArray,
    Frame,
    IdThresholds,
    only_face,
    require_array,
)
from generator.liveness import LivenessReading, check_liveness, refused_frame
from generator.matching import template_of
from generator.motion import (
    FRONTAL_DEGREES,
    OPEN_SHARE,
    Rest,
    Sample,
    open_share,
    rest_of,
    steps_seen,
)
from generator.texture import FaceQuality, quality_of
from policies.challenge import Challenge, Step
from policies.digest import sha256_hex

MIN_FACE_PX: Final = 64
"""Width of the face. Measured on 40 photographs and 18 renders against themselves at full size: at
56 to 68 px the identity vector moves by .2 at most, at 40 px by .28, at 24 px by .48."""

MIN_SHARPNESS: Final = 0.03
"""See `generator.texture.quality_of`. Below it lies what moves the vector by .25 or more: blur of 3
px of 224. The softest picture as it was taken has .12; filmed faces of 56 to 68 px lie on both
sides of the limit."""

MIN_BRIGHTNESS: Final = 30.0
"""Mean luma of the face; darkest unaltered face 68. Pictures darkened to a quarter (mean 17 to 48)
move the vector by .29 at most. Low, so that dark skin in ordinary light is not refused."""

MAX_CLIPPED: Final = 0.35
"""Share of the face without shape. Renders made brighter by half lose .65 of it (median), and the
vector moves by .23, .39 at most; the worst unaltered picture has .02."""

MAX_YAW_DEGREES, MAX_PITCH_DEGREES, MAX_ROLL_DEGREES = 35.0, 30.0, 30.0
"""One filmed person lies .32 from the mean of their own views at 42 degrees; beyond it half a face
is seen, which is not measured here."""

MAX_DISAGREEMENT: Final = 0.45
"""Largest distance between two shots that goes without a word. One person's: .43 at most on 72
pairs of photographs and within three filmed clips; .45 between rendered views 31 degrees apart."""

SAMPLE_SECONDS: Final = 0.095
"""Ten samples a second, with room for times that are rounded."""

FRONTAL_SHOTS: Final = 5
"""Of a video: this many shots at rest, and one of each turn."""

LivenessMethod = Literal["none", "video_challenge"]
MorphAnswer = Literal["clear", "review", "refused"]


class LivenessFailed(FaceError):
    """The video does not show the asked movements of one living person; `reading` says why."""

    code = "LIVENESS-FAILED"

    def __init__(self, reading: LivenessReading) -> None:
        super().__init__(
            "; ".join(reason.text for reason in reading.reasons),
            mend="ask for a new challenge and record again: slowly, well lit, face alone in view",
        )
        self.reading = reading


class MorphSuspected(FaceError):
    """A new template matches people who are enrolled already; `reading` says whom and how near."""

    code = "MORPH-SUSPECTED"

    def __init__(self, reading: MorphReading) -> None:
        super().__init__(
            f"the new face is near {len(reading.near)} other people",
            mend="let a person compare the faces; enrol from a video taken in front of a witness",
        )
        self.reading = reading


@dataclass(frozen=True, slots=True)
class LivenessRecord:
    """What goes into the consent record: how presence was shown, by which challenge, how clearly.

    `nonce_sha256` is the digest of the nonce's 64 hex digits, empty without a challenge;
    `score_milli` is 0 without one (`LivenessReading.score_milli`).
    """

    method: LivenessMethod
    nonce_sha256: str = ""
    score_milli: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """One person's template, float32 (d,), and what it rests on.

    `disagreement`: the largest distance between two shots. `warnings`: what a person should look
    at before the enrolment is believed; empty where nothing stands out.
    """

    template: FloatArray = field(repr=False)
    shots: int
    disagreement: float
    liveness: LivenessRecord
    reading: LivenessReading | None
    warnings: tuple[str, ...]


class Near(NamedTuple):
    """Somebody already enrolled who looks like the new person: their id, and the distance."""

    who: str
    distance: float


@dataclass(frozen=True, slots=True)
class MorphReading:
    """Who, among the enrolled, a new template is near; nearest first."""

    answer: MorphAnswer
    near: tuple[Near, ...]

    def require_clear(self) -> None:
        """Raise MorphSuspected unless the answer is `clear`."""
        if self.answer != "clear":
            raise MorphSuspected(self)


def enrol_pictures(pictures: Sequence[Frame], analyser: FaceAnalyser) -> Enrolled:
    """Return the template of the one person in some BGR uint8 pictures, each with one face.

    Raises NoFace, ManyFaces, ShapeError, and EnrolmentRefused with the figures of every fault.
    """
    if not pictures:
        raise NoFace("an enrolment needs at least one picture")
    shots = [_shot(frame, analyser) for frame in pictures]
    return _enrolled(shots, analyser.thresholds, LivenessRecord("none"), None)


def enrol_video(
    frames: Iterable[tuple[float, Frame]], challenge: Challenge, analyser: FaceAnalyser
) -> Enrolled:
    """Return the template of the one person in a video that answers a challenge.

    frames: seconds since the first one and BGR uint8 pictures (`provenance.video.read_frames`);
    read to the end. The challenge must be spent before. Raises what `frames` raises, LivenessFailed
    with the whole reading, EnrolmentRefused and ShapeError.
    """
    samples = tuple(_watch(frames, challenge.steps, analyser))
    shots = _best_shots(samples)
    template = template_of([sample.face for sample in shots], thresholds=analyser.thresholds)
    reading = check_liveness(
        samples, steps=challenge.steps, template=template, thresholds=analyser.thresholds
    )
    if reading.state != "passed":
        raise LivenessFailed(reading)
    record = LivenessRecord(
        "video_challenge", sha256_hex(challenge.nonce.encode()), reading.score_milli
    )
    return _enrolled(shots, analyser.thresholds, record, reading)


def check_morph(
    template: FloatArray, others: Sequence[tuple[str, FloatArray]], thresholds: IdThresholds
) -> MorphReading:
    """Compare a new template with those of other people, each `(id, float32 (d,))`.

    refused: it matches two of them, as a picture blended of both would. review: it matches one, or
    is near two (at most `thresholds.mismatch`). Measured on blends half and half whose two people
    were enrolled: refused are all that match both, which alone are of use to a forger (8 of 15 of
    rendered people, 9 of 80 of photographs); half or more of the others go to review. Of 72 real
    people 6 are near two others: with many enrolled, review becomes the rule, and a person has to
    decide. One person enrolled twice looks the same: ids must be of people, not of records.
    """
    near = sorted(
        (
            Near(who, distance)
            for who, other in others
            if (distance := _distance(template, other)) <= thresholds.mismatch
        ),
        key=lambda found: (found.distance, found.who),
    )
    matched = sum(found.distance <= thresholds.match for found in near)
    if matched >= 2:
        answer: MorphAnswer = "refused"
    else:
        answer = "review" if matched or len(near) >= 2 else "clear"
    return MorphReading(answer, tuple(near))


def faults_of(face: Face, quality: FaceQuality) -> tuple[str, ...]:
    """Return what makes a shot unfit to compare with, each with its figure; empty when fit."""
    yaw, pitch, roll = (abs(angle) for angle in face.pose)
    checks = (
        (quality.width_px >= MIN_FACE_PX, f"the face is {quality.width_px:.0f} px wide"),
        (quality.sharpness >= MIN_SHARPNESS, f"its sharpness is {quality.sharpness:.3f}"),
        (quality.brightness >= MIN_BRIGHTNESS, f"its brightness is {quality.brightness:.0f}"),
        (quality.clipped <= MAX_CLIPPED, f"{quality.clipped:.0%} of it is black or white"),
        (yaw <= MAX_YAW_DEGREES, f"it is turned by {yaw:.0f} degrees"),
        (pitch <= MAX_PITCH_DEGREES, f"it is lifted or lowered by {pitch:.0f} degrees"),
        (roll <= MAX_ROLL_DEGREES, f"it is tilted by {roll:.0f} degrees"),
    )
    return tuple(text for holds, text in checks if not holds)


def _shot(frame: Frame, analyser: FaceAnalyser) -> Sample:
    face = only_face(analyser.analyse(frame))
    return Sample(0.0, face, quality_of(frame, face.mesh))


def _watch(
    frames: Iterable[tuple[float, Frame]], steps: Sequence[Step], analyser: FaceAnalyser
) -> Iterator[Sample]:
    """Yield a sample ten times a second; raise LivenessFailed at one that shows not one face."""
    due = 0.0
    for at, frame in frames:
        if at < due:
            continue
        due = at + SAMPLE_SECONDS
        faces = analyser.analyse(frame)
        if len(faces) != 1:
            raise LivenessFailed(refused_frame(steps, len(faces), at))
        yield Sample(at, faces[0], quality_of(frame, faces[0].mesh))


def _best_shots(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return shots at rest with open eyes, spread over the video, and the start of each turn."""
    rest = rest_of(samples)
    if rest is None:
        return tuple(samples[:FRONTAL_SHOTS])
    calm = [sample for sample in samples if _is_calm(sample, rest)] or [rest.sample]
    picks = np.linspace(0, len(calm) - 1, min(FRONTAL_SHOTS, len(calm))).round().astype(int)
    turns = [
        each.samples[0]
        for each in steps_seen(samples, rest)
        if each.step in ("turn_left", "turn_right")
    ]
    return (*(calm[i] for i in picks), *turns)


def _is_calm(sample: Sample, rest: Rest) -> bool:
    turned = abs(sample.face.pose[0] - rest.yaw)
    return turned <= FRONTAL_DEGREES and open_share(sample, rest) > OPEN_SHARE


def _enrolled(
    shots: Sequence[Sample],
    thresholds: IdThresholds,
    record: LivenessRecord,
    reading: LivenessReading | None,
) -> Enrolled:
    """Return the enrolment of fit shots of one person; raise EnrolmentRefused for others."""
    faults = [
        f"shot {number}: {', '.join(found)}"
        for number, shot in enumerate(shots, 1)
        if (found := faults_of(shot.face, shot.quality))
    ]
    if faults:
        raise EnrolmentRefused(
            "; ".join(faults),
            mend="take the picture nearer, sharper, evenly lit, looking towards the camera",
        )
    faces = [shot.face for shot in shots]
    template = template_of(faces, thresholds=thresholds)
    apart = max((_distance(a.id_vector, b.id_vector) for a, b in combinations(faces, 2)), default=0)
    return Enrolled(template, len(shots), apart, record, reading, tuple(_warnings(shots, apart)))


def _warnings(shots: Sequence[Sample], apart: float) -> Iterator[str]:
    if len(shots) == 1:
        yield "one shot: nothing shows that the face is not a blend of two people's"
    if apart > MAX_DISAGREEMENT:
        yield f"two shots are {apart:.2f} apart, more than one person's usually are"


def _distance(a: FloatArray, b: FloatArray) -> float:
    """Return the distance of two vectors; raise ShapeError where one of them is none."""
    require_array(a, (None,), "identity vector")
    require_array(b, (len(a),), "identity vector")
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
