"""The do-not-swap registry: exact against a plain comparison, and never clear by accident."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import donotswap
from generator.donotswap import MAX_LISTED, Registry
from generator.errors import RegistryUnavailable, ShapeError
from generator.faces import IdThresholds

LIMITS = IdThresholds(0.45, 0.55)
NET = "a" * 64
Vectors = npt.NDArray[np.float32]


def people(count: int, width: int = 128, *, rank: int = 40, seed: int = 0) -> Vectors:
    """Vectors of a face net's kind: a common mean and some strong directions."""
    rng = np.random.default_rng(seed)
    strength = np.where(np.arange(width) < rank, 0.09, 0.02)
    mean = np.full(width, 1.2 / np.sqrt(width))
    return (mean + rng.normal(size=(count, width)) * strength).astype(np.float32)


def opened(vectors: Vectors) -> Registry:
    return Registry.open(vectors, [f"e{i}" for i in range(len(vectors))], model_sha256=NET)


def plain(vectors: Vectors, query: Vectors, radius: float) -> list[tuple[str, float]]:
    """The same search by the definition, in double precision."""
    apart = np.linalg.norm(vectors.astype(np.float64) - query.astype(np.float64), axis=1)
    found = [(f"e{i}", float(d)) for i, d in enumerate(apart) if d <= radius]
    return sorted(found, key=lambda entry: entry[1])


def at_distance(start: Vectors, distance: float, seed: int = 1) -> Vectors:
    way = np.random.default_rng(seed).normal(size=start.shape)
    moved = start.astype(np.float64) + way / np.linalg.norm(way) * distance
    result: Vectors = moved.astype(np.float32)
    return result


@pytest.mark.parametrize(
    ("distance", "state"),
    [
        (0.0, "hit"),
        (0.3, "hit"),
        (0.4499, "hit"),
        (0.4501, "ambiguous"),
        (0.5499, "ambiguous"),
        (0.5501, "clear"),
        (0.9, "clear"),
    ],
)
def test_the_state_follows_the_nearest_entry(distance: float, state: str) -> None:
    vectors = people(1)
    found = opened(vectors).search(
        at_distance(vectors[0], distance), thresholds=LIMITS, model_sha256=NET
    )
    assert found.state == state
    assert found.entries == 1
    assert [e.entry_id for e in found.near] == ([] if state == "clear" else ["e0"])


@pytest.mark.parametrize("kind", ["few directions", "no directions", "doubles", "far apart"])
def test_the_search_equals_the_definition(kind: str) -> None:
    vectors = {
        "few directions": lambda: people(3000, rank=10),
        "no directions": lambda: people(3000, rank=128),
        "doubles": lambda: np.repeat(people(60), 50, axis=0),
        "far apart": lambda: people(3000) * np.float32(50),
    }[kind]()
    registry = opened(vectors)
    for seed in range(12):
        start = vectors[seed * 11] if seed % 2 else people(1, seed=seed + 99)[0]
        query = at_distance(start, 0.05 * seed, seed)
        wanted = plain(vectors, query, LIMITS.mismatch)
        found = registry.search(query, thresholds=LIMITS, model_sha256=NET)
        assert found.near_count == len(wanted)
        assert len(found.near) == min(len(wanted), MAX_LISTED)
        got = [entry.distance for entry in found.near]
        np.testing.assert_allclose(got, [d for _, d in wanted[:MAX_LISTED]], atol=1e-12)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    count=st.integers(1, 60),
    width=st.integers(1, 40),
    scale=st.floats(0.05, 2000),
    radius=st.floats(1e-3, 4000),
    seed=st.integers(0, 10_000),
)
def test_no_entry_within_the_radius_is_ever_lost(
    count: int, width: int, scale: float, radius: float, seed: int
) -> None:
    """Any number of entries, any width, any scale: the coarse pass loses nothing."""
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(count, width)) * scale / np.sqrt(width)).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[(lengths > 0.11) & (lengths < 9000)]
    if not len(vectors):
        return
    query = vectors[seed % len(vectors)]
    limits = IdThresholds(radius / 2, radius)
    found = opened(vectors).search(query, thresholds=limits, model_sha256=NET)
    assert found.near_count == len(plain(vectors, query, radius))
    assert found.state == "hit"


@pytest.mark.parametrize("crowded", [0.0, 2.0], ids=["always-single", "never-single"])
def test_both_ways_behind_the_coarse_pass_are_exact(
    crowded: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(donotswap, "CROWDED", crowded)
    vectors = people(2000, rank=128, seed=3)
    registry = opened(vectors)
    for distance in (0.0, 0.2, 0.54, 0.56):
        query = at_distance(vectors[77], distance)
        found = registry.search(query, thresholds=LIMITS, model_sha256=NET)
        assert found.near_count == len(plain(vectors, query, LIMITS.mismatch))


@pytest.mark.parametrize("crowded", [0.0, 2.0], ids=["always-single", "never-single"])
def test_rounding_never_pushes_an_entry_over_the_limit(
    crowded: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few columns the coarse bound is the distance itself, and the radius is exactly that."""
    monkeypatch.setattr(donotswap, "CROWDED", crowded)
    vectors = people(200, 20, seed=8)
    registry = opened(vectors)
    query = people(1, 20, seed=9)[0]
    for rank, (_, distance) in enumerate(plain(vectors, query, 99.0), start=1):
        limits = IdThresholds(distance, distance)
        found = registry.search(query, thresholds=limits, model_sha256=NET)
        assert found.near_count == rank


def test_entries_are_found_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donotswap, "BLOCK_ROWS", 64)
    vectors = people(300)
    registry = opened(vectors)
    for row in (0, 63, 64, 200, 299):
        found = registry.search(vectors[row], thresholds=LIMITS, model_sha256=NET)
        assert (found.state, found.near[0].entry_id) == ("hit", f"e{row}")


def test_distances_on_the_limit_count_as_near() -> None:
    """Exactly representable distances: <= is near, one step further is not."""
    vectors = np.array([[1, 0.5], [1, 2]], np.float32)
    limits = IdThresholds(0.25, 0.5)
    query = np.array([1, 0], np.float32)
    registry = opened(vectors)
    assert registry.search(query, thresholds=limits, model_sha256=NET).state == "ambiguous"
    nearer = IdThresholds(0.25, np.nextafter(0.5, 0))
    assert registry.search(query, thresholds=nearer, model_sha256=NET).state == "clear"


def test_an_empty_registry_says_that_it_is_empty() -> None:
    registry = opened(np.empty((0, 128), np.float32))
    reading = registry.search(people(1)[0], thresholds=LIMITS, model_sha256=NET)
    assert (reading.state, reading.entries, len(registry)) == ("clear", 0, 0)
    with pytest.raises(ShapeError):
        registry.search(people(1, 64)[0], thresholds=LIMITS, model_sha256=NET)


def test_the_registry_is_a_copy() -> None:
    vectors = people(10)
    registry = opened(vectors)
    query = vectors[4].copy()
    vectors += 9
    assert registry.search(query, thresholds=LIMITS, model_sha256=NET).state == "hit"


def test_vectors_of_another_net_are_refused() -> None:
    with pytest.raises(RegistryUnavailable, match="another identity net") as caught:
        opened(people(3)).search(people(1)[0], thresholds=LIMITS, model_sha256="b" * 64)
    assert caught.value.code == "REGISTRY-UNAVAILABLE"


def test_a_registry_that_is_not_there_is_refused() -> None:
    with pytest.raises(RegistryUnavailable) as caught:
        Registry.open(None, [], model_sha256=NET)  # type: ignore[arg-type]
    assert caught.value.code == "REGISTRY-UNAVAILABLE"


def spoilt(value: float) -> Vectors:
    vectors = people(5)
    vectors[3, 7] = value
    return vectors


@pytest.mark.parametrize(
    "vectors",
    [
        spoilt(float("nan")),
        spoilt(float("inf")),
        spoilt(2e4),
        people(5) * np.float32(1e-3),
        people(5).astype(np.float64),
        people(5)[0],
        np.empty((0, 0), np.float32),
        np.empty((0, 128), np.float64),
        [[1.0, 2.0]] * 5,
    ],
    ids=["nan", "inf", "long", "empty-face", "double", "flat", "no-width", "empty-double", "list"],
)
def test_malformed_vectors_do_not_open(vectors: object) -> None:
    with pytest.raises(ShapeError) as caught:
        Registry.open(vectors, [f"e{i}" for i in range(5)], model_sha256=NET)  # type: ignore[arg-type]
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize("ids", [["a"], ["a", "a"], ["a", ""], ["a", "b", "c"]])
def test_ids_must_name_every_row_once(ids: list[str]) -> None:
    with pytest.raises(ShapeError, match="registry ids"):
        Registry.open(people(2), ids, model_sha256=NET)


@pytest.mark.parametrize(
    "query",
    [
        spoilt(float("nan"))[3],
        spoilt(float("-inf"))[3],
        people(1, 127)[0],
        people(1),
        people(1)[0].astype(np.float64),
        np.zeros(128, np.float32),
        None,
        "vector",
    ],
    ids=["nan", "inf", "length", "rows", "double", "zero", "none", "text"],
)
def test_malformed_queries_are_refused(query: object) -> None:
    with pytest.raises(ShapeError) as caught:
        opened(people(3)).search(query, thresholds=LIMITS, model_sha256=NET)  # type: ignore[arg-type]
    assert caught.value.code == "SHAPE-ERROR"


def test_limits_of_another_kind_are_refused() -> None:
    with pytest.raises(ShapeError, match="thresholds"):
        opened(people(3)).search(people(1)[0], thresholds=None, model_sha256=NET)  # type: ignore[arg-type]
