"""The nudity gate: the package's numbers, the worst view, and no way to be clear unseen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.errors import MeasurementFailed, ShapeError, WeightRefused
from generator.nudity import (
    CLASSES,
    MAX_ALONG,
    NUDITY_NET,
    NsfwNet,
    NudityGate,
    average,
    open_nudity_gate,
    spans_along,
    squash,
    views_of,
)
from generator.weights import WeightSession, load_card, open_session
from provenance.media import decode

Frame = npt.NDArray[np.uint8]

# What the package's own code answers under TensorFlow.js (nsfwjs 4.3.0, tfjs 4.22, CPU back end)
# for random RGB pictures: seed, height, width, then Drawing, Hentai, Neutral, Porn, Sexy.
ORIGINAL = [
    (2026, 300, 500, (0.2257193, 0.1057355, 0.6640241, 0.0012236, 0.0032975)),
    (2027, 48, 64, (0.0027886, 0.0001367, 0.9970744, 0.0000002, 0.0000002)),
]


@pytest.fixture(scope="module")
def gate() -> NsfwNet:
    found = open_nudity_gate()
    assert isinstance(found, NsfwNet)
    return found


@pytest.fixture
def person(demo_picture: Callable[[str], bytes]) -> Callable[[str], Frame]:
    return lambda name: decode(demo_picture(name)).frame


class Told:
    """A session that answers what it is told, with the shipped card."""

    def __init__(self, *answers: object, **changes: object) -> None:
        self.card = load_card(NUDITY_NET).model_copy(update=changes)
        self._answers = list(answers)

    def run(self, image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"classes": np.array([answer], np.float32)}


def told(*answers: object, **changes: object) -> NsfwNet:
    session = Told(*answers, **changes)
    return NsfwNet(session)  # type: ignore[arg-type]


def with_score(porn_hentai: float) -> tuple[float, ...]:
    """Five probabilities with the given Porn + Hentai, the rest on Sexy and Drawing."""
    rest = (1 - porn_hentai) / 2
    return (rest, porn_hentai / 2, 0.0, porn_hentai / 2, rest)


GREY = np.full((64, 64, 3), 127, np.uint8)


@pytest.mark.parametrize(("seed", "height", "width", "wanted"), ORIGINAL)
def test_the_classes_are_those_of_the_original_package(
    gate: NsfwNet, seed: int, height: int, width: int, wanted: tuple[float, ...]
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    classes = gate.classify(rgb[:, :, ::-1])
    assert tuple(classes) == CLASSES
    np.testing.assert_allclose(list(classes.values()), wanted, atol=2e-5)


def test_another_resize_would_be_noticed(gate: NsfwNet) -> None:
    """The golden picture tells OpenCV's half-pixel resize from the package's aligned corners."""
    seed, height, width, wanted = ORIGINAL[0]
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    other = cv2.resize(rgb[:, :, ::-1], (224, 224)).astype(np.uint8)
    assert abs(gate.classify(other)["Drawing"] - wanted[0]) > 0.01


def test_squash_keeps_corners_and_ramps() -> None:
    rows, columns = np.mgrid[:7, :11]
    frame = np.stack([rows * 20, columns * 20, rows + columns], axis=-1).astype(np.uint8)
    small = squash(frame, 5)
    assert small.dtype == np.float32
    np.testing.assert_array_equal(
        small[[0, 0, -1, -1], [0, -1, 0, -1]], frame[[0, 0, -1, -1], [0, -1, 0, -1]]
    )
    np.testing.assert_allclose(small[:, 0, 0], np.linspace(0, 120, 5), atol=1e-4)
    np.testing.assert_allclose(small[0, :, 1], np.linspace(0, 200, 5), atol=1e-4)


def test_squash_leaves_a_square_of_its_size_alone() -> None:
    frame = np.random.default_rng(3).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(squash(frame, 9), frame)


@pytest.mark.parametrize("name", ["persona1_0", "persona2_1", "persona5_0", "persona7_0"])
def test_demo_people_are_clear(gate: NsfwNet, person: Callable[[str], Frame], name: str) -> None:
    reading = gate.measure(person(name))
    assert reading.state == "clear"
    assert reading.porn_hentai == max(reading.scores.values()) < 0.3
    assert len(reading.scores) == 8


def bare_skin(frame: Frame) -> Frame:
    """The lower half of a clothed portrait: a known false alarm that reaches `found`."""
    return frame[frame.shape[0] // 2 :]


def test_found_is_reachable(gate: NsfwNet, person: Callable[[str], Frame]) -> None:
    reading = gate.measure(bare_skin(person("persona4_1")))
    assert reading.state == "found"
    assert reading.porn_hentai > 0.9


def hidden_between_samples(shown: Frame, hidden: Frame, factor: int = 5) -> Frame:
    """A large picture that the plain resize reads as `shown` and everybody else as `hidden`."""
    side = 224 * factor
    large = cv2.resize(hidden, (side, side)).astype(np.uint8)
    small = cv2.resize(shown, (224, 224), interpolation=cv2.INTER_AREA)
    places = np.arange(224) * ((side - 1) / 223)
    for step in (0, 1):
        rows = np.minimum(places.astype(int) + step, side - 1)
        for other in (0, 1):
            columns = np.minimum(places.astype(int) + other, side - 1)
            large[np.ix_(rows, columns)] = small
    return large


def test_a_picture_hidden_from_the_plain_resize_is_not_clear(
    gate: NsfwNet, person: Callable[[str], Frame]
) -> None:
    """T34: views that disagree are never a silent allow."""
    attack = hidden_between_samples(person("persona4_0"), bare_skin(person("persona4_1")))
    reading = gate.measure(attack)
    assert reading.scores["whole"] < 0.3
    assert reading.state != "clear"


def rippled_until_clear(gate: NsfwNet, frame: Frame, tries: int) -> Frame:
    """A picture changed by smooth ripples, until the whole view calls it clear."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]] / np.array(
        frame.shape[:2]
    ).reshape(2, 1, 1)
    best, image = 1.0, frame
    for _ in range(tries):
        (down, along), phase = rng.uniform(0, 12, 2), rng.uniform(0, 2 * np.pi)
        wave = np.cos(2 * np.pi * (down * rows + along * columns) + phase)[..., None]
        ripple = wave * rng.uniform(-6, 6, 3)
        for tried in (image + ripple, image - ripple):
            changed = np.clip(tried, frame - 24.0, frame + 24.0).clip(0, 255).astype(np.uint8)
            classes = gate.classify(changed)
            if (score := classes["Porn"] + classes["Hentai"]) < best:
                best, image = score, changed
                break
        if best < 0.25:
            break
    return image


def test_a_perturbation_made_for_one_view_does_not_clear_the_others(
    gate: NsfwNet, person: Callable[[str], Frame]
) -> None:
    """T34: the whole view is turned, and the decision is not."""
    frame = bare_skin(person("persona4_1"))
    reading = gate.measure(rippled_until_clear(gate, frame, tries=200))
    assert reading.scores["whole"] < 0.3
    assert reading.state != "clear"


@pytest.mark.parametrize("change", ["mirror", "jpeg", "noise", "border", "dark"])
def test_perturbed_found_pictures_are_not_clear(
    gate: NsfwNet, person: Callable[[str], Frame], change: str
) -> None:
    frame = bare_skin(person("persona4_1"))
    rng = np.random.default_rng(5)
    changed = {
        "mirror": lambda: frame[:, ::-1],
        "jpeg": lambda: cv2.imdecode(
            cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
        ),
        "noise": lambda: np.clip(frame + rng.normal(0, 8, frame.shape), 0, 255).astype(np.uint8),
        "border": lambda: cv2.copyMakeBorder(
            frame, 30, 30, 60, 60, cv2.BORDER_CONSTANT, value=(127, 127, 127)
        ),
        "dark": lambda: (frame * 0.7).astype(np.uint8),
    }[change]()
    assert gate.measure(changed).state != "clear"


@pytest.mark.parametrize(
    ("score", "state"),
    [(0.0, "clear"), (0.29, "clear"), (0.31, "review"), (0.59, "review"), (0.61, "found")],
)
def test_the_states_lie_at_the_cards_limits(score: float, state: str) -> None:
    reading = told(with_score(score)).measure(GREY)
    assert reading.state == state
    assert reading.porn_hentai == pytest.approx(score, abs=1e-6)


def test_drawing_and_sexy_do_not_count() -> None:
    assert told((0.5, 0.0, 0.0, 0.0, 0.5)).measure(GREY).state == "clear"


@pytest.mark.parametrize("position", range(8))
def test_the_worst_view_decides_wherever_it_is(position: int) -> None:
    answers = [with_score(0.0)] * position + [with_score(0.7)] + [with_score(0.0)]
    reading = told(*answers).measure(GREY)
    assert reading.state == "found"
    assert sorted(reading.scores.values())[-2] == 0


@pytest.mark.parametrize(
    "answer",
    [
        (float("nan"), 0, 0, 0, 0),
        (0.2, 0.2, 0.2, 0.2, float("inf")),
        (0, 0, 0, 0, 0),
        (-0.2, 0.4, 0.4, 0.2, 0.2),
        (0.5, 0.5),
        (0, 0, 1, 0, 0, 0),
    ],
    ids=["nan", "inf", "nothing", "negative", "two", "six"],
)
def test_answers_that_are_no_probabilities_are_refused(answer: tuple[float, ...]) -> None:
    with pytest.raises(MeasurementFailed) as caught:
        told(answer).measure(GREY)
    assert caught.value.code == "MEASUREMENT-FAILED"


def test_one_failing_view_fails_the_measurement() -> None:
    """A runtime that fails late must not leave the views before it as the answer."""
    failing = told(with_score(0), with_score(0), WeightRefused("out of memory"))
    with pytest.raises(WeightRefused, match="out of memory"):
        failing.measure(GREY)


@pytest.mark.parametrize(
    "frame",
    [None, GREY[:8], GREY[:, :, 0], GREY.astype(np.float32), np.zeros((0, 0, 3), np.uint8)],
    ids=["none", "small", "grey", "float", "empty"],
)
def test_what_is_no_frame_is_refused(gate: NsfwNet, frame: object) -> None:
    with pytest.raises(ShapeError) as caught:
        gate.measure(frame)  # type: ignore[arg-type]
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize(
    "numbers",
    [
        {"review": 0.31, "found": 0.6},
        {"review": 0.3, "found": 0.61},
        {"review": 0.5, "found": 0.4},
        {"review": 0.0, "found": 0.6},
        {"review": float("nan"), "found": 0.6},
        {"review": 0.3, "found": float("nan")},
        {"review": 0.3},
        {},
    ],
)
def test_laxer_or_missing_limits_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(WeightRefused) as caught:
        told(with_score(0), numbers=numbers)
    assert caught.value.code == "WEIGHT-REFUSED"


def test_stricter_limits_are_followed() -> None:
    strict = told(with_score(0.2), numbers={"review": 0.1, "found": 0.2})
    assert strict.measure(GREY).state == "found"


def test_another_nets_card_is_refused() -> None:
    with pytest.raises(WeightRefused):
        NsfwNet(open_session("ssrnet"))
    with pytest.raises(WeightRefused, match="nudity limits"):
        told(with_score(0), task="age")


def test_the_gate_says_what_it_loaded(gate: NsfwNet) -> None:
    seen: NudityGate = gate
    assert seen.models == {NUDITY_NET: load_card(NUDITY_NET).sha256}


def test_a_gate_without_its_weights_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(name: str, *, threads: int) -> WeightSession:
        return open_session(name, threads=threads, folder=tmp_path)

    monkeypatch.setattr("generator.nudity.open_session", elsewhere)
    with pytest.raises(WeightRefused, match="no card"):
        open_nudity_gate()


@pytest.mark.parametrize("shape", [(512, 512), (1024, 700), (300, 1800), (4000, 40), (16, 16)])
def test_the_views_are_few_and_the_spans_cover_a_long_side(shape: tuple[int, int]) -> None:
    names = [name for name, _ in views_of(np.zeros((*shape, 3), np.uint8), 224)]
    assert names[:3] == ["whole", "even", "mirror"]
    assert len(names) == len(set(names)) <= 8 + MAX_ALONG
    long_px, short_px = max(shape), min(shape)
    spans = spans_along(long_px, short_px)
    assert len(names) == 8 + len(spans)
    if spans:
        assert (spans[0][0], spans[-1][1]) == (0, long_px)
        assert all(b[0] < a[1] for a, b in itertools.pairwise(spans))


def test_spans_are_about_as_long_as_the_picture_is_wide() -> None:
    assert spans_along(149, 100) == []
    assert spans_along(200, 100) == [(0, 100), (50, 150), (100, 200)]
    assert len(spans_along(100_000, 16)) == MAX_ALONG


def test_averaged_views_hold_every_pixel_and_no_more_than_the_net_takes() -> None:
    frame = np.zeros((900, 450, 3), np.uint8)
    frame[::2] = 200
    small = average(frame, 225)
    assert small.shape == (225, 225, 3)
    assert set(np.unique(small)) == {100}
    assert average(frame[:300], 224).shape == (224, 224, 3)
    assert average(frame[:100, :300], 224).shape == (100, 224, 3)


def test_averaged_views_are_as_sharp_as_before_they_were_averaged() -> None:
    """Softness alone reads as skin: an edge must stay an edge."""
    frame = np.full((64, 64, 3), 100, np.uint8)
    frame[:, 32:] = 140
    even = average(frame, 64).astype(int)
    assert (even[:, 31] < 100).all()
    assert (even[:, 32] > 140).all()
    assert (even[:, :25] == 100).all()
