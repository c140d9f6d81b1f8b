"""The search looks as often as its bound pays for, and reports how the pattern lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from provenance.pixels import Frame
from provenance.watermark import search as searching
from provenance.watermark.geometry import Geometry
from provenance.watermark.pattern import CARRIERS, TILE_PX, Pattern
from provenance.watermark.reading import Reading
from provenance.watermark.search import MOST_LOOKS, Search
from provenance.watermark.spread import SpreadMark
from provenance.watermark.whitening import luma

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
ID = "0123456789ab"


# --- looks ----------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[Pattern]:
    """How often each pattern was read."""
    counted: Counter[Pattern] = Counter()
    real = searching.read

    def read(spectrum: np.ndarray, pattern: Pattern) -> Reading:
        counted[pattern] += 1
        return real(spectrum, pattern)

    monkeypatch.setattr(searching, "read", read)
    return counted


def bricks() -> Frame:
    y, x = np.mgrid[0:400, 0:500]
    joint = (y % 40 < 4) | ((x + 40 * (y // 40 % 2)) % 80 < 4)
    grain = np.random.default_rng(17).normal(0, 6, joint.shape)
    return np.repeat(np.clip(joint * 90 + 90 + grain, 0, 255)[..., None], 3, 2).astype(np.uint8)


def tiled() -> Frame:
    tile = np.random.default_rng(18).integers(0, 256, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
    return np.tile(tile, (4, 4, 1))


@pytest.mark.parametrize("kind", ["marked", "unmarked", "tiled", "bricks"])
def test_no_key_gets_more_looks_than_the_bound_counts(
    kind: str,
    looks: Counter[Pattern],
    host: Callable[[str], Frame],
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    frame = {
        "marked": lambda: copies.rotate(marked("coffee"), 20)[0],
        "unmarked": lambda: host("chelsea"),
        "tiled": tiled,
        "bricks": bricks,
    }[kind]()
    looks.clear()
    pattern, search = Pattern(key=KEY), Search([luma(frame)])
    yielded = sum(1 for stage in search.stages for _ in stage(pattern))
    assert looks == {pattern: yielded}
    # The limit holds, and is not so loose that it says nothing.
    assert 5 <= yielded <= MOST_LOOKS


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_claim_pays_for_every_look_of_every_key(count: int, marked: Callable[..., Frame]) -> None:
    keys = [KEY, *(bytes([i]) * 32 for i in range(1, count))]
    found = SpreadMark(keys=keys).detect(marked("coffee"))
    assert found is not None
    assert found.searched == MOST_LOOKS * CARRIERS * count
    again = Reading(0.0, found.statistic, ID, 2).bound(MOST_LOOKS * count)
    assert found.p_value <= again


def test_what_needs_no_key_is_done_once(
    monkeypatch: pytest.MonkeyPatch, host: Callable[[str], Frame]
) -> None:
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        real = getattr(searching, name)

        def counted(*given: object, **options: object) -> object:
            calls[name] += 1
            return real(*given, **options)

        monkeypatch.setattr(searching, name, counted)

    count("flatten")
    count("search_lattices")
    search = Search([luma(host("chelsea"))])
    for key in (KEY, OTHER):
        for _ in search.laid(Pattern(key=key)):
            pass
    assert calls == {"flatten": 1, "search_lattices": 1}


def test_the_cheap_stage_comes_first_and_suffices_for_upright_pictures(
    looks: Counter[Pattern], marked: Callable[..., Frame]
) -> None:
    frame = marked("coffee")
    looks.clear()
    found = SpreadMark(keys=[KEY]).detect(frame)
    assert found is not None
    assert sum(looks.values()) == 1


# --- geometry -------------------------------------------------------------------------------------


def error_px(geometry: Geometry, truth: np.ndarray, shape: tuple[int, int]) -> float:
    """How far known points lie from where the reported homography says, whole tiles aside."""
    height, width = shape
    places = [(x * width, y * height, 1) for x in (0.25, 0.5, 0.75) for y in (0.25, 0.5, 0.75)]
    points = np.array(places).T
    wanted, seen = np.linalg.inv(truth) @ points, np.linalg.inv(geometry.homography) @ points
    apart = wanted[:2] / wanted[2] - seen[:2] / seen[2]
    return float(np.hypot(*((apart + TILE_PX / 2) % TILE_PX - TILE_PX / 2)).max())


def turned_by(found: float, wanted: float) -> float:
    return abs((found - wanted + 180) % 360 - 180)


@pytest.mark.parametrize("mirror", [False, True], ids=["as it was", "mirrored"])
@pytest.mark.parametrize("quarters", range(4))
def test_quarter_turns_and_flips_are_reported_exactly(
    quarters: int,
    mirror: bool,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    frame, truth = copies.turn(marked("coffee"), quarters, mirror)
    found = mark.detect(frame, thorough=False)
    assert found is not None
    assert found.geometry is not None
    assert found.mark_id == ID
    assert found.geometry.mirrored is mirror
    assert found.geometry.scale == pytest.approx(1)
    assert turned_by(found.geometry.rotation_deg, 90 * quarters) < 1e-6
    assert error_px(found.geometry, truth, frame.shape[:2]) < 0.01


@pytest.mark.parametrize(("y", "x"), [(0, 1), (37, 201), (127, 128), (100, 100)])
def test_of_a_crop_the_offset_in_the_tile_is_reported(
    y: int, x: int, mark: SpreadMark, marked: Callable[..., Frame], copies: SimpleNamespace
) -> None:
    found = mark.detect(copies.crop(marked("coffee"), y, x), thorough=False)
    assert found is not None
    assert found.geometry is not None
    offset = np.array(found.geometry.offset_px) - (y % TILE_PX, x % TILE_PX)
    assert np.abs((offset + 64) % TILE_PX - 64).max() <= 1.0


GRID = [
    *[("coffee", "rotate", degrees) for degrees in (2.0, 5.0, 30.0, -41.0, 135.0)],
    *[("persona4_0", "rotate", degrees) for degrees in (1.0, 17.3)],
    *[("coffee", "scale", factor) for factor in (0.5, 0.73, 1.3, 2.0)],
    *[("persona4_0", "scale", factor) for factor in (0.35, 0.9, 1.7)],
    *[("wide", "scale", factor) for factor in (0.4, 1.1)],
    ("wide", "rotate", 9.0),
]


@pytest.mark.parametrize(
    ("name", "attack", "amount"), GRID, ids=[f"{n}-{a}-{b}" for n, a, b in GRID]
)
def test_scale_and_turn_are_reported(
    name: str,
    attack: str,
    amount: float,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    frame, truth = getattr(copies, attack)(marked(name), amount)
    found = mark.detect(frame)
    assert found is not None
    assert found.geometry is not None
    assert found.mark_id == ID
    scale, degrees = (1.0, amount) if attack == "rotate" else (amount, 0.0)
    assert found.geometry.scale == pytest.approx(scale, rel=0.01)
    assert turned_by(found.geometry.rotation_deg, degrees) < 0.3
    assert not found.geometry.mirrored
    assert error_px(found.geometry, truth, frame.shape[:2]) < 2.0


@pytest.mark.parametrize("name", ["cloud", "persona4_0", "coffee"])
def test_a_slanted_print_is_read_and_roughly_located(
    name: str, mark: SpreadMark, marked: Callable[..., Frame], copies: SimpleNamespace
) -> None:
    frame, truth = copies.slant(marked(name), 0.03)
    found = mark.detect(frame)
    assert found is not None
    assert found.geometry is not None
    assert found.mark_id == ID
    # The id may be read before the slant is followed to the end; within an eighth of a tile.
    assert error_px(found.geometry, truth, frame.shape[:2]) < TILE_PX / 8


def test_everything_at_once_is_reported(
    mark: SpreadMark, marked: Callable[..., Frame], copies: SimpleNamespace
) -> None:
    frame, flipped = copies.turn(marked("cloud"), 1, mirror=True)
    frame, turned = copies.rotate(frame, 11.0)
    frame, scaled = copies.scale(frame, 0.8)
    cropped = copies.crop(frame, 40, 70, 400, 390)
    moved = np.array([[1, 0, -70], [0, 1, -40], [0, 0, 1.0]])
    found = mark.detect(copies.recode(cropped, "JPEG", 80))
    assert found is not None
    assert found.geometry is not None
    assert found.mark_id == ID
    assert found.geometry.mirrored
    assert found.geometry.scale == pytest.approx(0.8, rel=0.01)
    assert turned_by(found.geometry.rotation_deg, 101.0) < 0.3
    truth = moved @ scaled @ turned @ flipped
    assert error_px(found.geometry, truth, cropped.shape[:2]) < 2.0


# --- strips and scraps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "amount", "upright"),
    [("rotate", 1.0, True), ("rotate", 1.0, False), ("slant", 0.015, True)],
    ids=["wide and turned", "tall and turned", "wide and slanted"],
)
def test_a_strip_of_one_row_of_blocks_is_read(
    attack: str,
    amount: float,
    upright: bool,
    mark: SpreadMark,
    host: Callable[[str], Frame],
    payload_of: Callable[[str], object],
    copies: SimpleNamespace,
) -> None:
    strip = np.tile(host("cloud")[:256], (1, 4, 1))[:, :2400]
    strip = np.ascontiguousarray(strip if upright else strip.swapaxes(0, 1))
    frame, _ = getattr(copies, attack)(mark.embed(strip, payload_of(ID)), amount)  # type: ignore[arg-type]
    found = mark.detect(frame)
    assert found is not None
    assert found.mark_id == ID


@pytest.mark.parametrize("shape", [(48, 48), (47, 47)])
def test_scraps_are_searched_without_a_claim(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).normal(128, 30, shape).astype(np.float32)
    search = Search([plane])
    found = [one for stage in search.stages for one in stage(Pattern(key=KEY))]
    assert 1 <= len(found) <= MOST_LOOKS
    assert not any(one.reading.claims(MOST_LOOKS) for one in found)


def test_a_nearly_empty_picture_is_searched_without_a_claim() -> None:
    # Hardly a block of it says anything; what there is stands on a flat ground.
    plane = np.full((300, 300), 128, np.float32)
    plane[100:106, 100:106] += np.random.default_rng(1).normal(0, 40, (6, 6))
    search = Search([plane])
    found = [one for stage in search.stages for one in stage(Pattern(key=KEY))]
    assert 1 <= len(found) <= MOST_LOOKS
    assert not any(one.reading.claims(MOST_LOOKS) for one in found)


def test_a_fit_that_leaves_hardly_a_tile_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[np.ndarray] = []

    def straighten(*_: object) -> np.ndarray:
        followed.append(np.diag([20.0, 20.0, 1.0]))
        return followed[-1]

    monkeypatch.setattr(searching, "straighten", straighten)
    plane = np.random.default_rng(2).normal(128, 30, (300, 300)).astype(np.float32)
    found = list(Search([plane]).slanted(Pattern(key=KEY)))
    assert followed
    assert len(followed) <= len(found) <= MOST_LOOKS
    assert all(abs(np.linalg.det(one.matrix[:2, :2])) < 20 for one in found)


def test_a_misfit_is_not_laid_on_the_grid() -> None:
    plane = np.zeros((300, 400), np.float32)
    for misfit in (np.diag([5.0, 1.0, 1.0]), np.diag([1.0, 0.0, 1.0]), np.full((3, 3), np.nan)):
        assert searching._bring([plane], misfit) is None
    assert searching._bring([plane], np.eye(3)) is not None
