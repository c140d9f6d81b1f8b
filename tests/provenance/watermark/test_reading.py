"""Every claim has a bound that holds for any picture whatever; here it is checked, not believed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from provenance.pixels import Frame
from provenance.watermark.alignment import fold, transform
from provenance.watermark.pattern import CARRIERS, Pattern
from provenance.watermark.payload import VERSION
from provenance.watermark.reading import (
    MAX_FALSE_PRESENCE,
    Reading,
    bound_tail,
    measure_identity,
    read,
)
from provenance.watermark.search import MOST_LOOKS
from provenance.watermark.whitening import luma, whiten

KEY, ID = bytes(range(32)), "0123456789ab"
LOOKS = st.integers(1, 10_000)
SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "equal": lambda rng, n: np.ones(n),
    "one above all": lambda rng, n: np.r_[50.0, np.ones(n - 1)],
    "two": lambda rng, n: np.r_[1.0, 1.0, np.zeros(n - 2)],
    "falling": lambda rng, n: 0.8 ** np.arange(n),
    "heavy-tailed": lambda rng, n: rng.pareto(1.5, n),
}


@pytest.fixture(scope="module")
def pattern() -> Pattern:
    return Pattern(key=KEY)


def spectrum_of(frame: Frame, pattern: Pattern) -> np.ndarray:
    return transform(fold([whiten(luma(frame))])[None], pattern)[0]


# --- the bound ------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.floats(0, 36))
def test_the_tail_is_rayleighs_and_above_the_gaussian(z: float) -> None:
    assert bound_tail(z) == pytest.approx(float(stats.rayleigh.sf(z)), rel=1e-9)
    assert bound_tail(z) >= float(stats.norm.sf(z))
    assert bound_tail(-z) == 1.0


@pytest.mark.parametrize(
    ("z", "bound"), [(0.0, 1.0), (5.0, 3.7267e-6), (7.0, 2.2897e-11), (7.63, 2.2823e-13)]
)
def test_the_tail_has_the_values_the_docs_state(z: float, bound: float) -> None:
    assert bound_tail(z) == pytest.approx(bound, rel=2e-3)


@pytest.mark.parametrize("name", list(SIZES))
def test_random_phases_never_exceed_the_bound(name: str) -> None:
    """The presence statistic: sizes as they are, phases secret and uniform."""
    rng = np.random.default_rng(10)
    sizes = SIZES[name](rng, 60)
    turns = np.cos(rng.uniform(0, 2 * np.pi, (60_000, 60)))
    found = turns @ sizes / math.sqrt(float(np.sum(sizes**2)) / 2)
    for z in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0):
        assert np.mean(found >= z) <= bound_tail(z), z


@pytest.mark.parametrize("name", list(SIZES))
def test_random_signs_never_exceed_the_bound(name: str) -> None:
    """The identity statistic: sizes as they are, signs fair coins."""
    rng = np.random.default_rng(11)
    sizes = SIZES[name](rng, 60)
    found = rng.choice((-1.0, 1.0), (60_000, 60)) @ sizes / math.sqrt(float(np.sum(sizes**2)))
    for z in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0):
        assert np.mean(found >= z) <= bound_tail(z), z


def test_presence_is_claimed_from_its_threshold_on() -> None:
    for looks in (1, MOST_LOOKS, 4 * MOST_LOOKS, 24 * MOST_LOOKS):
        left = MAX_FALSE_PRESENCE - looks * 8 / 2**32
        z = math.sqrt(2 * math.log(looks * CARRIERS / left))
        assert 6.0 < z < 8.0
        assert Reading(presence=z + 1e-6).claims(looks)
        assert not Reading(presence=z - 1e-3).claims(looks)
        assert Reading(presence=z).bound(looks) == pytest.approx(MAX_FALSE_PRESENCE)


def test_an_id_that_checks_is_claimed_by_its_32_keyed_bits() -> None:
    weak = Reading(presence=0.0, identity=0.0, mark_id=ID, version=VERSION)
    # Two carriers, four messages each, 2^-32 for each look.
    assert weak.bound(1) == pytest.approx(8 / 2**32)
    assert weak.claims(MOST_LOOKS * 4)
    assert not weak.claims(1000)
    assert Reading(presence=0.0).bound(1) == 1.0
    sure = Reading(presence=0.0, identity=12.0, mark_id=ID, version=VERSION)
    assert sure.bound(1) == pytest.approx(2**48 * math.exp(-72))
    # Without an id that checks, the identity counts for nothing.
    assert Reading(presence=0.0, identity=40.0).bound(1) == 1.0


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    presence=st.floats(-5, 40), identity=st.floats(-5, 40), looks=LOOKS, more=st.integers(0, 5000)
)
def test_the_bound_is_a_probability_and_grows_with_the_search(
    presence: float, identity: float, looks: int, more: int
) -> None:
    for mark_id in (None, ID):
        reading = Reading(presence, identity, mark_id, VERSION if mark_id else None)
        bound = reading.bound(looks)
        assert 0 <= bound <= reading.bound(looks + more) <= 1
        assert Reading(presence + 0.1, identity, mark_id, reading.version).bound(looks) <= bound
        assert Reading(presence, identity + 0.1, mark_id, reading.version).bound(looks) <= bound
        guessed = looks * 8 * 2.0**-32
        # Presence and ids are two ways to claim: what is claimed without an id pays for both.
        stated = looks * CARRIERS * float(stats.rayleigh.sf(max(presence, 0.0))) + guessed
        if mark_id is not None:
            stated = looks * 2.0**48 * float(stats.rayleigh.sf(max(identity, 0.0)))
            stated = min(stated, guessed)
        assert bound == pytest.approx(min(1.0, stated), rel=1e-9)
        assert reading.claims(looks) == (bound <= 1e-6)


# --- what is read ---------------------------------------------------------------------------------


def test_a_spelt_word_is_read_with_its_carrier(pattern: Pattern) -> None:
    for mark_id in (ID, "000000000000", "ffffffffffff"):
        found = read(100 * pattern.spell(mark_id, VERSION), pattern)
        assert (found.mark_id, found.version) == (mark_id, VERSION)
        assert found.carrier == pattern.carrier_of(mark_id)
        assert found.presence > 15
        assert found.identity > 25
        assert found.claims(MOST_LOOKS)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e4])
def test_the_size_of_the_whole_spectrum_means_nothing(pattern: Pattern, gain: float) -> None:
    rng = np.random.default_rng(12)
    rough = rng.normal(0, 1, (2, len(pattern.rows))) * 40
    spectrum = (100 * pattern.spell(ID, VERSION) + rough[0] + 1j * rough[1]).astype(np.complex64)
    one, other = read(spectrum, pattern), read(np.asarray(gain * spectrum, np.complex64), pattern)
    assert other.mark_id == one.mark_id == ID
    assert other.identity == pytest.approx(one.identity, rel=2e-2)


def test_a_damaged_word_is_present_and_not_another_id(pattern: Pattern) -> None:
    spectrum = 100 * pattern.spell(ID, VERSION)
    spectrum[pattern.pilot_count :] *= np.random.default_rng(13).choice(
        (-1, 1), len(pattern.groups)
    )
    found = read(spectrum, pattern)
    assert found.mark_id is None
    assert found.version is None
    assert found.identity == 0
    assert found.carrier == pattern.carrier_of(ID)
    assert found.claims(MOST_LOOKS)


def test_nothing_reads_as_nothing(pattern: Pattern) -> None:
    found = read(np.zeros(len(pattern.rows), np.complex64), pattern)
    assert found.mark_id is None
    assert not found.claims(1)


def test_what_is_there_under_an_id_is_not_there_under_another(
    pattern: Pattern, marked: Callable[..., Frame]
) -> None:
    spectrum = spectrum_of(marked("coffee"), pattern)
    assert measure_identity(spectrum, pattern, ID, VERSION) > 15
    for mark_id in ("0123456789ac", "000000000000"):
        assert abs(measure_identity(spectrum, pattern, mark_id, VERSION)) < 5


# --- what the bounds rest on ----------------------------------------------------------------------


def test_weights_of_the_identity_depend_on_sizes_and_never_on_signs(
    pattern: Pattern, marked: Callable[..., Frame]
) -> None:
    """z = sum of signed weights over their length: flips must add up, or weights saw the signs."""
    spectrum = spectrum_of(marked("coffee"), pattern)
    rng = np.random.default_rng(14)

    def z(flipped: np.ndarray) -> float:
        other = spectrum.copy()
        other[pattern.sync_count :] *= np.where(flipped, -1, 1)
        return measure_identity(other, pattern, ID, VERSION)

    count = len(spectrum) - pattern.sync_count
    none, part = z(np.zeros(count, bool)), rng.integers(0, 3, count)
    one, two, both = z(part == 1), z(part == 2), z(part != 0)
    assert none - both == pytest.approx((none - one) + (none - two), rel=1e-4)
    assert z(np.ones(count, bool)) == pytest.approx(-none, rel=1e-5)
    coins = [z(rng.integers(0, 2, count) == 1) for _ in range(300)]
    assert abs(float(np.mean(coins))) < 0.2
    assert 0.85 < float(np.std(coins)) < 1.15


def test_presence_rests_on_claim_phases_alone(
    pattern: Pattern, marked: Callable[..., Frame]
) -> None:
    # Any data phases, any sign of all claim phases together: the sizes and the sync decide weights.
    spectrum = spectrum_of(marked("coffee"), pattern)
    whole = read(spectrum, pattern).presence
    scrambled = spectrum.copy()
    data = slice(pattern.pilot_count, None)
    turns = np.exp(2j * np.pi * np.random.default_rng(15).random(len(pattern.groups)))
    scrambled[data] *= turns.astype(np.complex64)
    assert read(scrambled, pattern).presence == pytest.approx(whole, rel=1e-3)
    without = spectrum.copy()
    without[pattern.sync_count : pattern.pilot_count] *= np.exp(
        2j * np.pi * np.random.default_rng(16).random(pattern.claim_count)
    )
    assert read(without, pattern).presence < 5.5


def test_keys_that_did_not_mark_obey_the_bound(marked: Callable[..., Frame]) -> None:
    """One marked picture, one place, many keys: the largest of 256 carriers in each."""
    found = []
    for number in range(40):
        other = Pattern(key=(1000 + number).to_bytes(32))
        reading = read(spectrum_of(marked("coffee"), other), other)
        assert reading.mark_id is None
        found.append(reading.presence)
    for z in (3.4, 3.6, 3.8, 4.0):
        assert np.mean(np.array(found) >= z) <= min(1.0, CARRIERS * bound_tail(z))
    assert max(found) < 5.5
    assert 2.2 < float(np.median(found)) < 3.6
