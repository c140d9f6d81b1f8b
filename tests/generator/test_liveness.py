"""Liveness: what was asked, in that order, by one head with depth; all else fails by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.errors import ShapeError
from generator.faces import Face, FaceAnalyser, IdThresholds, open_analyser
from generator.landmarks import LEFT_CHEEKS, RIGHT_CHEEKS, pose_of
from generator.liveness import LivenessReading, check_liveness, refused_frame
from generator.motion import (
    LEFT_LIDS,
    RIGHT_LIDS,
    Sample,
    depth_of,
    eye_openings,
    rest_of,
    shape_of,
    steps_seen,
)
from generator.texture import FaceQuality, quality_of
from policies.challenge import SEQUENCES, Step

THRESHOLDS = IdThresholds(match=0.45, mismatch=0.55)
ANNA = np.eye(8, dtype=np.float32)[0]
BERT = np.eye(8, dtype=np.float32)[1]
ASKED: tuple[Step, ...] = ("turn_left", "close_eyes", "look_up", "turn_right", "close_eyes")
FINE = FaceQuality(140.0, 0.3, 120.0, 0.0, 3.0)

Mesh = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]


class Moment(NamedTuple):
    """How a head is held: degrees, and the opening of the eyes as a share of the usual."""

    yaw: float = 0.0
    pitch: float = 0.0
    eyes: float = 1.0


def head(eyes: float = 1.0) -> npt.NDArray[np.float64]:
    """A head of the mesh's numbering around the origin, in pixels; smaller z is nearer."""
    number = np.arange(468)
    height = 1 - 2 * (number + 0.5) / 468
    angle = np.pi * (3 - np.sqrt(5)) * number
    around = np.sqrt(1 - height**2)
    mesh = np.stack(
        [70 * around * np.cos(angle), 95 * height, -60 * abs(around * np.sin(angle))], 1
    )
    places: dict[int, tuple[float, ...]] = {10: (0, -95, -10), 152: (0, 95, -10)}
    nose = zip((168, 6, 197, 195, 5, 4, 1, 2), range(8), strict=True)
    places |= {point: (0, -20 + 7 * i, -58 - 5 * min(i, 14 - 2 * i)) for point, i in nose}
    places |= {98: (-14, 28, -62), 327: (14, 28, -62), 129: (-17, 24, -58), 358: (17, 24, -58)}
    lid = 4.0 * eyes
    for lids, corners in ((RIGHT_LIDS, (-45, -18)), (LEFT_LIDS, (18, 45))):
        xs = np.linspace(*corners, 4)
        rows = [(xs[0], 0), (xs[1], -lid), (xs[2], -lid), (xs[3], 0), (xs[2], lid), (xs[1], lid)]
        places |= {p: (x, -20 + y, -48) for p, (x, y) in zip(lids, rows, strict=True)}
    for cheeks, x in ((LEFT_CHEEKS, 70), (RIGHT_CHEEKS, -70)):
        places |= {point: (x, 10 * i - 15, 0) for i, point in enumerate(cheeks)}
    for point, place in places.items():
        mesh[point] = place
    return mesh


def turned(moment: Moment) -> Mesh:
    """The head as a far camera sees it, in the middle of a frame of 400 pixels."""
    yaw, pitch = np.radians([moment.yaw, moment.pitch])
    nod = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    held: Mesh = (head(moment.eyes) @ nod.T @ turn.T + 200).astype(np.float32)
    return held


def sample(at: float, mesh: Mesh, **changes: Any) -> Sample:
    fields: dict[str, Any] = {"who": ANNA, "pose": pose_of(mesh), "quality": FINE} | changes
    iris = np.zeros((2, 5, 2), np.float32)
    box = (130.0, 100.0, 270.0, 300.0)
    face = Face(box, 0.9, mesh, iris, fields["pose"], fields["who"])
    return Sample(at, face, fields["quality"])


REST = [Moment()] * 4
ACTS: dict[Step, list[Moment]] = {
    "turn_left": [Moment(yaw) for yaw in (8, 16, 24, 26, 24, 16, 8)],
    "turn_right": [Moment(-yaw) for yaw in (8, 16, 24, 26, 24, 16, 8)],
    "look_up": [Moment(pitch=pitch) for pitch in (6, 14, 20, 20, 14, 6)],
    "close_eyes": [Moment(eyes=eyes) for eyes in (0.6, *[0.25] * 6, 0.8)],
}


def moments(steps: Iterable[Step]) -> list[Moment]:
    """Somebody who does these steps, with a rest before, between and after."""
    return [*REST, *(moment for step in steps for moment in (*ACTS[step], *REST))]


def film(held: Sequence[Moment], seconds: float = 0.1, **changes: Any) -> list[Sample]:
    return [sample(i * seconds, turned(moment), **changes) for i, moment in enumerate(held)]


def check(samples: Sequence[Sample], steps: Sequence[Step] = ASKED) -> LivenessReading:
    return check_liveness(samples, steps=steps, template=ANNA, thresholds=THRESHOLDS)


def codes(reading: LivenessReading) -> set[str]:
    assert reading.state == "failed"
    assert reading.score_milli == 0
    assert all(reason.text for reason in reading.reasons)
    return {reason.code for reason in reading.reasons}


def test_the_drawn_head_reads_as_it_is_held() -> None:
    for moment in (Moment(), Moment(24), Moment(-30), Moment(pitch=15), Moment(10, -10)):
        yaw, pitch, roll = pose_of(turned(moment))
        assert (yaw, pitch) == pytest.approx((moment.yaw, moment.pitch), abs=0.01)
        assert abs(roll) < 5
    open_eyes, closed = eye_openings(turned(Moment())), eye_openings(turned(Moment(eyes=0.25)))
    assert open_eyes == pytest.approx((0.296, 0.296), abs=0.01)
    assert closed == pytest.approx((0.074, 0.074), abs=0.01)


def test_who_does_what_is_asked_passes() -> None:
    reading = check(film(moments(ASKED)))
    assert (reading.state, reading.reasons, reading.seen) == ("passed", (), ASKED)
    assert 0 < reading.score_milli <= 1000
    assert reading.figures["max_gap_s"] == pytest.approx(0.1)
    assert reading.figures["max_distance"] == 0
    assert reading.figures["min_depth"] > 0.09


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.sampled_from(SEQUENCES), st.sampled_from(SEQUENCES))
def test_a_video_passes_for_its_own_challenge_alone(
    shown: tuple[Step, ...], asked: tuple[Step, ...]
) -> None:
    samples = film(moments(shown))
    assert check(samples, shown).state == "passed"
    if shown != asked:
        reading = check(samples, asked)
        assert codes(reading) == {"other_steps"}
        assert reading.seen == shown


@pytest.mark.parametrize(
    "shown",
    [
        ASKED[:-1],
        ASKED[1:],
        (*ASKED, "turn_left"),
        ("turn_right", "close_eyes", "look_up", "turn_left", "close_eyes"),
        ("turn_left", "turn_right", "close_eyes", "look_up", "close_eyes"),
        ("turn_left", "close_eyes", "look_up", "turn_right"),
    ],
)
def test_missing_further_and_swapped_steps_fail(shown: tuple[Step, ...]) -> None:
    assert codes(check(film(moments(shown)))) == {"other_steps"}


def test_nothing_asked_is_never_answered() -> None:
    assert "other_steps" in codes(check(film([Moment()] * 30), ()))


def test_blinks_of_ordinary_length_do_not_count() -> None:
    held = moments(ASKED)
    blink = Moment(eyes=0.2)
    for at in (2, 3, len(held) - 3):
        held[at] = blink
    assert check(film(held)).state == "passed"


def test_a_movement_that_is_not_ended_does_not_count() -> None:
    held = moments(ASKED)
    whole = held[: -len(REST) - 1]
    assert codes(check(film(whole))) == {"other_steps"}


def test_one_stray_sample_is_no_turn() -> None:
    samples = film([Moment()] * 30)
    samples[10] = sample(1.0, turned(Moment(20)))
    rest = rest_of(samples)
    assert rest is not None
    assert steps_seen(samples, rest) == ()


def steps_of(held: Sequence[Moment]) -> tuple[Step, ...]:
    samples = film(held)
    rest = rest_of(samples)
    assert rest is not None
    return tuple(seen.step for seen in steps_seen(samples, rest))


def test_a_slight_turn_is_none() -> None:
    assert steps_of([*REST, *[Moment(16)] * 5, *REST]) == ()
    assert steps_of([*REST, *[Moment(19)] * 5, *REST]) == ("turn_left",)


def test_a_turn_counts_from_where_the_person_rests() -> None:
    aside = [Moment(8)] * 8
    assert steps_of([*aside, *[Moment(23)] * 5, *aside]) == ()
    assert steps_of([*aside, *[Moment(27)] * 5, *aside]) == ("turn_left",)
    assert steps_of([*aside, *[Moment(-11)] * 5, *aside]) == ("turn_right",)


def test_a_turn_that_wavers_counts_once() -> None:
    wavering = [Moment(yaw) for yaw in (20, 21, 15, 14, 20, 21)]
    assert steps_of([*REST, *wavering, *REST]) == ("turn_left",)


def test_a_wink_is_no_closing_of_the_eyes() -> None:
    samples = film([Moment()] * 30)
    for at in range(8, 18):
        mesh = samples[at].face.mesh.copy()
        mesh[list(LEFT_LIDS)] = turned(Moment(eyes=0.2))[list(LEFT_LIDS)]
        samples[at] = sample(at * 0.1, mesh)
    rest = rest_of(samples)
    assert rest is not None
    assert steps_seen(samples, rest) == ()


def test_a_person_whose_camera_stands_aside_passes_too() -> None:
    held = [Moment(m.yaw + 6, m.pitch - 9, m.eyes * 0.7) for m in moments(ASKED)]
    assert check(film(held)).state == "passed"


def test_a_still_picture_fails() -> None:
    assert codes(check(film([Moment()] * 100))) == {"other_steps", "flat"}


def plane(yaw: float) -> Mesh:
    """The resting face as a print that is turned."""
    flat = head()
    flat[:, 0] *= np.cos(np.radians(yaw))
    return (flat + 200).astype(np.float32)


def test_a_print_that_is_turned_is_flat_even_where_the_mesh_reports_a_turn() -> None:
    samples = [
        sample(i * 0.1, plane(m.yaw / 2) if m.yaw else turned(m), pose=(m.yaw, m.pitch, 0.0))
        for i, m in enumerate(moments(ASKED))
    ]
    reading = check(samples)
    assert reading.seen == ASKED
    assert codes(reading) == {"flat"}
    assert reading.figures["min_depth"] < 0.02


def test_every_turn_needs_depth() -> None:
    samples = film(moments(ASKED))
    for at, moment in enumerate(moments(ASKED)):
        if moment.yaw < 0:
            samples[at] = sample(at * 0.1, plane(0), pose=(moment.yaw, 0.0, 0.0))
    assert codes(check(samples)) == {"flat"}


def test_a_face_that_grows_narrow_is_no_head() -> None:
    samples = film(moments(ASKED))
    for at in (9, 10):
        samples[at] = sample(at * 0.1, plane(35))
    assert "shape" in codes(check(samples))


def test_depth_and_shape_of_heads_and_planes() -> None:
    frontal = turned(Moment())
    assert depth_of(frontal, frontal) < 1e-6
    assert depth_of(frontal, plane(50)) < 0.01
    assert depth_of(frontal, turned(Moment(20))) > 0.09
    assert depth_of(frontal, np.zeros((468, 3), np.float32)) == 0.0
    assert shape_of(turned(Moment(20))) / shape_of(frontal) == pytest.approx(1, abs=0.1)
    assert shape_of(plane(50)) / shape_of(frontal) == pytest.approx(
        np.cos(np.radians(50)), abs=0.01
    )


def test_exchanging_pictures_is_a_jump() -> None:
    held = [m for m in moments(ASKED) if abs(m.yaw) not in (8, 16)]
    assert "jump" in codes(check(film(held)))


@pytest.mark.parametrize("change", [60.0, 1.3])
def test_a_face_that_leaps_or_swells_is_a_jump(change: float) -> None:
    samples = film(moments(ASKED))
    for at in range(6):
        mesh = samples[at].face.mesh
        moved = (mesh - 200) * change + 200 if change < 2 else mesh + np.float32(change)
        wide = FaceQuality(float(np.ptp(moved[:, 0])), 0.3, 120.0, 0.0, 3.0)
        samples[at] = sample(at * 0.1, moved.astype(np.float32), quality=wide)
    assert codes(check(samples)) == {"jump"}


def test_a_gap_is_long_enough_for_a_change_of_places() -> None:
    samples = film(moments(ASKED))
    late = [Sample(s.at + (0.2 if s.at > 2.05 else 0), s.face, s.quality) for s in samples]
    assert codes(check(late)) == {"gap"}


def test_another_person_for_one_sample_fails() -> None:
    samples = film(moments(ASKED))
    between = (ANNA + BERT * np.float32(0.5)).astype(np.float32)  # neither match nor stranger
    samples[20] = sample(2.0, samples[20].face.mesh, who=between)
    assert codes(check(samples)) == {"other_person"}
    assert codes(check(film(moments(ASKED), who=BERT))) == {"other_person"}


def test_covered_eyes_cannot_be_read() -> None:
    held = [Moment(m.yaw, m.pitch, 0.3) for m in moments(ASKED)]
    assert "eyes_unreadable" in codes(check(film(held)))


def test_the_grid_of_a_screen_fails_only_when_most_samples_show_it() -> None:
    screen = FaceQuality(140.0, 0.3, 120.0, 0.0, 12.0)
    assert codes(check(film(moments(ASKED), quality=screen))) == {"screen"}
    samples = film(moments(ASKED))
    samples[:20] = [Sample(s.at, s.face, screen) for s in samples[:20]]
    assert check(samples).state == "passed"


def test_too_few_samples_and_no_straight_look_have_names() -> None:
    assert codes(check([])) == {"too_few"}
    assert codes(check(film(moments(ASKED))[:19])) == {"too_few"}
    assert codes(check(film([Moment(25)] * 40))) == {"not_frontal"}
    assert rest_of([]) is None


def test_figures_that_are_no_numbers_pass_nothing() -> None:
    lost = FaceQuality(140.0, 0.3, 120.0, 0.0, float("nan"))
    assert codes(check(film(moments(ASKED), quality=lost))) == {"screen"}


def test_a_template_of_another_net_is_refused() -> None:
    with pytest.raises(ShapeError):
        check_liveness(film(moments(ASKED)), steps=ASKED, template=ANNA[:4], thresholds=THRESHOLDS)


@pytest.mark.parametrize(("faces", "code"), [(0, "no_face"), (2, "several_faces")])
def test_a_frame_without_one_face_fails(faces: int, code: str) -> None:
    reading = refused_frame(ASKED, faces, 3.2)
    assert codes(reading) == {code}
    assert "3.2 s" in reading.reasons[0].text


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return open_analyser(threads=1)


@pytest.fixture
def persona(demo_picture: Callable[[str], bytes]) -> Frame:
    data = np.frombuffer(demo_picture("persona1_0"), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def waved(picture: Frame, yaw: float) -> Frame:
    """A print of a picture, turned about its upright axis, three widths away from the camera."""
    side = picture.shape[0]
    half = side / 2
    sine, cosine = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64) * half
    nearer = 3 * side / (3 * side + corners[:, 0] * sine)
    seen = np.stack([corners[:, 0] * cosine * nearer, corners[:, 1] * nearer], axis=1) * 0.8 + half
    matrix = cv2.getPerspectiveTransform(
        (corners + half).astype(np.float32), seen.astype(np.float32)
    )
    grey = (90, 90, 90)
    return np.asarray(
        cv2.warpPerspective(picture, matrix, (side, side), borderValue=grey), np.uint8
    )


def test_a_waved_print_of_a_rendered_person_does_not_read_as_turned_to_both_sides(
    analyser: FaceAnalyser, persona: Frame
) -> None:
    samples = []
    for i, yaw in enumerate((0, 15, 30, 45, 30, 15, 0, -15, -30, -45, -30, -15, 0)):
        frame = waved(persona, yaw)
        (face,) = analyser.analyse(frame)
        samples.append(Sample(i * 0.1, face, quality_of(frame, face.mesh)))
    rest = rest_of(samples)
    assert rest is not None
    assert steps_seen(samples, rest) == ()
    yaws = [each.face.pose[0] for each in samples]
    assert max(yaws) - min(yaws) < 18


def test_quality_tells_blur_darkness_and_a_grid_from_a_good_picture(
    analyser: FaceAnalyser, persona: Frame
) -> None:
    (face,) = analyser.analyse(persona)
    good = quality_of(persona, face.mesh)
    assert 250 < good.width_px < 320
    assert good.sharpness > 0.1
    assert good.grid < 5
    blurred = np.asarray(cv2.GaussianBlur(persona, (0, 0), 5), np.uint8)
    assert quality_of(blurred, face.mesh).sharpness < 0.03
    dark = (persona * 0.1).astype(np.uint8)
    assert quality_of(dark, face.mesh).brightness < 30
    bright = np.clip(persona.astype(np.int64) * 3, 0, 255).astype(np.uint8)
    assert quality_of(bright, face.mesh).clipped > 0.35
    lamps = persona.copy()
    lamps[::3] = (lamps[::3] * 0.5).astype(np.uint8)
    assert quality_of(lamps, face.mesh).grid > 8


def test_quality_of_a_face_outside_the_frame_is_poor_and_not_an_error(persona: Frame) -> None:
    for shift in (-5000.0, 5000.0):
        mesh = (turned(Moment()) + np.float32(shift)).astype(np.float32)
        assert quality_of(persona, mesh).sharpness < 0.03
    with pytest.raises(ShapeError):
        quality_of(persona, np.zeros((468, 2), np.float32))
