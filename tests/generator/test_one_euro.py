"""The One-Euro filter, held against the paper's formulas worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from generator.errors import ShapeError
from generator.one_euro import OneEuro, smoothing


def at_once(*values: float) -> Any:
    return np.array([values], np.float64)


def test_alpha_is_the_papers() -> None:
    """alpha = 1 / (1 + tau / Te), tau = 1 / (2 pi fc): at 24 Hz and 1 Hz it is .2075."""
    assert float(smoothing(1 / 24, 1.0)) == pytest.approx(1 / (1 + 24 / (2 * math.pi)))
    assert float(smoothing(1 / 24, 1.0)) == pytest.approx(0.2075, abs=5e-5)
    assert float(smoothing(1e9, 1.0)) == pytest.approx(1.0)


def test_two_steps_by_hand() -> None:
    """Casiez, Roussel and Vogel 2012, Algorithm 1, with different times between the samples."""
    beta, cutoff, speed_cutoff = 0.5, 1.5, 2.0
    times, values = (0.0, 0.1, 0.35), (10.0, 11.0, 9.0)
    value, speed, before = values[0], 0.0, times[0]
    wanted = [value]
    for at, new in zip(times[1:], values[1:], strict=True):
        te = at - before
        a = 1 / (1 + 1 / (2 * math.pi * speed_cutoff * te))
        speed = a * (new - value) / te + (1 - a) * speed
        a = 1 / (1 + 1 / (2 * math.pi * (cutoff + beta * abs(speed)) * te))
        value, before = a * new + (1 - a) * value, at
        wanted.append(value)
    euro = OneEuro(beta=beta, min_cutoff_hz=cutoff, speed_cutoff_hz=speed_cutoff)
    made = [
        float(euro.step(at_once(new), at=at)[0, 0]) for at, new in zip(times, values, strict=True)
    ]
    assert made == pytest.approx(wanted, rel=1e-12)
    assert made[1] != values[1]


def test_the_first_sample_is_taken_as_it_is_and_what_rests_stays() -> None:
    euro = OneEuro(beta=1.0)
    points = np.arange(12, dtype=np.float64).reshape(4, 3)
    assert np.array_equal(euro.step(points, at=0.0), points)
    for step in range(1, 5):
        assert euro.step(points, at=step / 10) == pytest.approx(points)


def test_noise_falls_and_a_larger_beta_lags_less() -> None:
    rng = np.random.default_rng(7)
    times = np.arange(120) / 24
    still = rng.normal(0, 1, 120)
    moving = 60.0 * times
    calm, lag = [], []
    for beta in (0.0, 0.05, 1.0):
        euro = OneEuro(beta=beta)
        made = [euro.step(at_once(v), at=t)[0, 0] for v, t in zip(still, times, strict=True)]
        calm.append(float(np.std(made[24:])))
        euro = OneEuro(beta=beta)
        moved = [euro.step(at_once(v), at=t)[0, 0] for v, t in zip(moving, times, strict=True)]
        lag.append(float(moving[-1] - moved[-1]))
    assert calm[0] < 0.5 * float(np.std(still))
    assert lag[0] > lag[1] > lag[2] > 0
    assert lag[0] == pytest.approx(60 * (1 / (2 * math.pi) - 0), rel=0.2), "tau of 1 Hz"


def test_beta_counts_in_units_of_length() -> None:
    """The same movement, twice as large and with twice the unit, is filtered the same."""
    small, large = OneEuro(beta=3.0), OneEuro(beta=3.0)
    rng = np.random.default_rng(1)
    for step in range(10):
        points = rng.normal(0, 5, (6, 2))
        a = small.step(points, at=step / 30, unit=10.0)
        b = large.step(2 * points, at=step / 30, unit=20.0)
        assert b == pytest.approx(2 * a)


def test_every_point_has_a_speed_of_its_own() -> None:
    euro = OneEuro(beta=5.0)
    euro.step(np.zeros((2, 2)), at=0.0)
    made = euro.step(np.array([[0.1, 0.0], [6.0, 8.0]]), at=0.1)
    shares = made[0, 0] / 0.1, made[1, 0] / 6.0, made[1, 1] / 8.0
    assert shares[1] == pytest.approx(shares[2]), "one cutoff for all coordinates of a point"
    assert shares[1] > shares[0]


def test_it_depends_on_real_times() -> None:
    """A sample after a long pause counts nearly alone: what was before is long ago."""
    made = []
    for pause in (0.04, 10.0):
        euro = OneEuro(beta=0.0)
        euro.step(at_once(0.0), at=0.0)
        made.append(float(euro.step(at_once(1.0), at=pause)[0, 0]))
    assert made[0] < 0.25
    assert made[1] > 0.98


def test_what_it_returns_is_nobody_elses() -> None:
    euro = OneEuro(beta=1.0)
    points = at_once(1.0, 2.0)
    first = euro.step(points, at=0.0)
    first += 100
    points += 100
    assert euro.step(at_once(1.0, 2.0), at=1.0) == pytest.approx(at_once(1.0, 2.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": -0.1},
        {"beta": math.nan},
        {"beta": math.inf},
        {"beta": 1.0, "min_cutoff_hz": 0.0},
        {"beta": 1.0, "min_cutoff_hz": math.inf},
        {"beta": 1.0, "speed_cutoff_hz": -1.0},
        {"beta": 1.0, "speed_cutoff_hz": math.nan},
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ShapeError):
        OneEuro(**wrong)


@pytest.mark.parametrize(
    ("points", "at", "unit"),
    [
        (np.zeros(4), 1.0, 1.0),
        (np.full((4, 2), np.nan), 1.0, 1.0),
        (np.zeros((5, 2)), 1.0, 1.0),
        (np.zeros((4, 2)), 0.0, 1.0),
        (np.zeros((4, 2)), -1.0, 1.0),
        (np.zeros((4, 2)), math.nan, 1.0),
        (np.zeros((4, 2)), 1.0, 0.0),
        (np.zeros((4, 2)), 1.0, math.inf),
    ],
    ids=["flat", "nan", "others", "same time", "earlier", "no time", "no unit", "endless unit"],
)
def test_what_cannot_be_filtered_is_refused(points: Any, at: float, unit: float) -> None:
    euro = OneEuro(beta=1.0)
    euro.step(np.zeros((4, 2)), at=0.0)
    with pytest.raises(ShapeError):
        euro.step(points, at=at, unit=unit)
