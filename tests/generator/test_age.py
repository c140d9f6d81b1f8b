"""The age tripwire: two nets, four crops, and doubt never clears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from generator.age import (
    CROPS,
    FIRST,
    SECOND,
    AgeGate,
    AgeNet,
    Estimate,
    TwoAgeNets,
    crops_of,
    open_age_gate,
    state_for,
)
from generator.errors import MeasurementFailed, ShapeError, WeightRefused
from generator.faces import Face, FaceAnalyser, only_face, open_analyser
from generator.weights import load_card, open_session
from provenance.media import decode

Frame = npt.NDArray[np.uint8]
MARGINS = {FIRST: 8.0, SECOND: 8.0}


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return open_analyser()


@pytest.fixture(scope="module")
def gate() -> AgeGate:
    return open_age_gate()


@pytest.fixture
def shown(
    analyser: FaceAnalyser, demo_picture: Callable[[str], bytes]
) -> Callable[[str], tuple[Frame, Face]]:
    def show(name: str) -> tuple[Frame, Face]:
        frame = decode(demo_picture(name)).frame
        return frame, only_face(analyser.analyse(frame))

    return show


class Told:
    """A session that answers what it is told, with a shipped card."""

    def __init__(self, name: str, *answers: object, **changes: object) -> None:
        self.card = load_card(name).model_copy(update=changes)
        self._answers = list(answers)
        self.calls = 0

    def run(self, image: Frame) -> dict[str, npt.NDArray[np.float32]]:
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        if "age" in self.card.outputs:
            return {"age": np.array([[answer]], np.float32)}
        return {"ages": np.array([answer], np.float32)}


def net(name: str, *answers: object, **changes: object) -> AgeNet:
    return AgeNet(Told(name, *answers, **changes))  # type: ignore[arg-type]


def years(value: float) -> list[float]:
    """A distribution over 0..99 with this mean."""
    low = int(value)
    shares = [0.0] * 100
    shares[low], shares[low + 1] = 1 - (value - low), value - low
    return shares


def gate_of(first: object, second: object) -> TwoAgeNets:
    return TwoAgeNets([net(FIRST, first), net(SECOND, second)])


def blocks(side: int, cell: int) -> Frame:
    """Coloured squares, RGB; the same values for both sizes as far as they go."""
    colours = np.random.default_rng(2028).integers(0, 256, (side // cell,) * 2 + (3,), np.uint8)
    return np.kron(colours, np.ones((cell, cell, 1), np.uint8))


@pytest.mark.parametrize(
    ("name", "side", "cell", "wanted"), [(FIRST, 224, 32, 36.594853), (SECOND, 64, 8, 28.062551)]
)
def test_the_nets_answer_as_under_tensorflow_js(
    name: str, side: int, cell: int, wanted: float
) -> None:
    """tfjs 4.22, CPU back end: channels BGR, the first net less its means, the second raw."""
    crop = blocks(side, cell)[:, :, ::-1]
    estimate = AgeNet(open_session(name)).estimate(crop)
    assert estimate == pytest.approx(wanted, abs=2e-3)
    other = AgeNet(open_session(name)).estimate(crop[:, :, ::-1])
    assert abs(other - wanted) > 0.2


@pytest.mark.parametrize("name", ["persona1_0", "persona6_0", "persona8_0"])
def test_demo_people_are_challenged_and_never_minors(
    gate: AgeGate, shown: Callable[[str], tuple[Frame, Face]], name: str
) -> None:
    reading = gate.measure(*shown(name))
    assert reading.state == "challenge"
    assert len(reading.estimates) == 2 * len(CROPS)
    assert all(18 <= e.years <= 60 for e in reading.estimates)
    assert {e.net for e in reading.estimates} == {FIRST, SECOND}


def test_nothing_else_in_the_frame_matters(
    gate: AgeGate, shown: Callable[[str], tuple[Frame, Face]]
) -> None:
    frame, face = shown("persona1_0")
    wide = np.concatenate([frame, np.full_like(frame, 90)], axis=1)
    for a, b in zip(
        gate.measure(frame, face).estimates, gate.measure(wide, face).estimates, strict=True
    ):
        assert a.years == pytest.approx(b.years, abs=1.5)


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (17.9, 40, "minor"),
        (40, 17.9, "minor"),
        (18, 22, "challenge"),
        (24, 24, "challenge"),
        (32.9, 40, "challenge"),
        (40, 32.9, "challenge"),
        (33, 33, "clear"),
        (45, 33.5, "clear"),
        (46, 33.5, "challenge"),
        (33.5, 46, "challenge"),
        (60, 60, "clear"),
    ],
)
def test_the_rule_at_its_limits(
    shown: Callable[[str], tuple[Frame, Face]], first: float, second: float, state: str
) -> None:
    assert gate_of(years(first), second).measure(*shown("persona1_0")).state == state


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("value", [17.0, 24.0])
def test_one_crop_of_one_net_is_enough(
    shown: Callable[[str], tuple[Frame, Face]], position: int, value: float
) -> None:
    answers = [50.0] * position + [value] + [50.0] * 4
    gate = TwoAgeNets([net(FIRST, years(50)), net(SECOND, *answers)])
    reading = gate.measure(*shown("persona1_0"))
    assert reading.state == ("minor" if value < 18 else "challenge")


def test_a_larger_margin_challenges_more() -> None:
    estimates = [Estimate(FIRST, "1.9", 40.0), Estimate(SECOND, "1.9", 40.0)]
    assert state_for(estimates, MARGINS) == "clear"
    assert state_for(estimates, MARGINS | {FIRST: 16.0}) == "challenge"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 101.5])
def test_answers_that_are_no_ages_are_refused(
    shown: Callable[[str], tuple[Frame, Face]], value: float
) -> None:
    with pytest.raises(MeasurementFailed) as caught:
        gate_of(years(40), value).measure(*shown("persona1_0"))
    assert caught.value.code == "MEASUREMENT-FAILED"


@pytest.mark.parametrize("shares", [[0.0] * 100, [0.5] * 100, [float("nan")] * 100])
def test_answers_that_are_no_distribution_are_refused(
    shown: Callable[[str], tuple[Frame, Face]], shares: list[float]
) -> None:
    with pytest.raises(MeasurementFailed, match="no distribution"):
        gate_of(shares, 40).measure(*shown("persona1_0"))


def test_a_net_that_fails_late_fails_the_measurement(
    shown: Callable[[str], tuple[Frame, Face]],
) -> None:
    gate = TwoAgeNets([net(FIRST, years(50)), net(SECOND, 50, 50, WeightRefused("gone"))])
    with pytest.raises(WeightRefused, match="gone"):
        gate.measure(*shown("persona1_0"))


@pytest.mark.parametrize(
    "estimates",
    [
        [],
        [Estimate(FIRST, "1.9", 40.0)],
        [Estimate(SECOND, "1.9", 40.0)],
        [Estimate(FIRST, "1.9", 40.0), Estimate(SECOND, "1.9", float("nan"))],
    ],
    ids=["none", "first", "second", "nan"],
)
def test_a_missing_estimate_is_never_clear(estimates: list[Estimate]) -> None:
    with pytest.raises(MeasurementFailed, match="no estimate"):
        state_for(estimates, MARGINS)


def test_a_face_without_extent_is_refused(
    gate: AgeGate, shown: Callable[[str], tuple[Frame, Face]]
) -> None:
    frame, face = shown("persona1_0")
    point = replace(face, mesh=np.full_like(face.mesh, 100))
    with pytest.raises(MeasurementFailed, match="too small"):
        gate.measure(frame, point)


@pytest.mark.parametrize("frame", [None, np.zeros((8, 8, 3), np.uint8)], ids=["none", "small"])
def test_what_is_no_frame_is_refused(
    gate: AgeGate, shown: Callable[[str], tuple[Frame, Face]], frame: object
) -> None:
    with pytest.raises(ShapeError):
        gate.measure(frame, shown("persona1_0")[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [7.9, 0.0, -5.0, float("nan")])
def test_a_smaller_margin_than_measured_is_refused(margin: float) -> None:
    with pytest.raises(WeightRefused, match="margin") as caught:
        net(SECOND, 40, numbers={"margin_years": margin})
    assert caught.value.code == "WEIGHT-REFUSED"


def test_other_cards_are_refused() -> None:
    with pytest.raises(WeightRefused, match="not the card of an age net"):
        AgeNet(open_session("nsfwjs-mid"))
    with pytest.raises(WeightRefused, match="does not state margin_years"):
        net(SECOND, 40, numbers={})


@pytest.mark.parametrize("names", [(), (FIRST,), (FIRST, FIRST), (FIRST, SECOND, SECOND)])
def test_one_net_alone_is_no_gate(names: tuple[str, ...]) -> None:
    with pytest.raises(WeightRefused, match="two different age nets"):
        TwoAgeNets([net(name, 40) for name in names])


def test_crops_hold_the_face_and_its_mirror(shown: Callable[[str], tuple[Frame, Face]]) -> None:
    crops = dict(crops_of(*shown("persona1_0"), 64))
    assert list(crops) == ["1.9", "1.9m", "1.7", "2.2m"]
    np.testing.assert_array_equal(crops["1.9m"], crops["1.9"][:, ::-1])
    assert all(crop.shape == (64, 64, 3) for crop in crops.values())


def test_the_gate_says_what_it_loaded(gate: AgeGate) -> None:
    assert gate.models == {name: load_card(name).sha256 for name in (FIRST, SECOND)}
