"""Nothing is claimed of pictures that nobody marked with these keys, however regular they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage import data as textures

from provenance.pixels import Frame
from provenance.watermark.pattern import CARRIERS, TILE_PX, Pattern
from provenance.watermark.payload import VERSION
from provenance.watermark.reading import MAX_FALSE_PRESENCE, Reading
from provenance.watermark.search import MOST_LOOKS, UPRIGHT_LOOKS
from provenance.watermark.spread import SpreadMark
from provenance.watermark.whitening import luma, measure_capacity
from provenance.watermark.writing import add_at, lay_tile

KEY = bytes(range(32))
# No mark of the tests is made with these.
STRANGERS = [bytes([200 + i]) * 32 for i in range(2)]


def grey(plane: np.ndarray) -> Frame:
    return np.repeat(np.clip(plane, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def waves() -> Iterator[tuple[str, Frame]]:
    y, x = np.mgrid[0:400, 0:400]
    for period in (2, 4, 8, 16, 32, 64, 128):
        yield f"wave {period}", grey(127 + 120 * np.sin(2 * np.pi * (x + 0.5 * y) / period))
        yield f"checks {period}", grey((x // period + y // period) % 2 * 255)


def halftone(plane: np.ndarray) -> Frame:
    y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
    screen = 64 * (np.cos((x + y) * 2 * np.pi / 8) + np.cos((x - y) * 2 * np.pi / 8)) + 128
    return grey((plane > screen) * 255)


def page_of_text() -> Frame:
    """As screenshots of text are: lines at equal distance on white."""
    page = np.full((480, 640, 3), 255, np.uint8)
    for line in range(18):
        text = "The quick brown fox jumps over the lazy dog 0123456789"[line:]
        cv2.putText(page, text, (12, 24 + 25 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20))
    return page


def random_tiles(count: int) -> Iterator[tuple[str, Frame]]:
    rng = np.random.default_rng(20)
    for number in range(count):
        tile = rng.integers(0, 256, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
        yield f"random tile {number}", np.tile(tile, (4, 4, 1))
        smooth = cv2.GaussianBlur(np.tile(tile, (3, 3, 1)), (0, 0), 2)
        stretched = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
        yield f"smooth tile {number}", np.asarray(stretched, np.uint8)


def synthetic() -> Iterator[tuple[str, Frame]]:
    rng = np.random.default_rng(21)
    yield from waves()
    yield from random_tiles(4)
    for level in (0, 77, 128, 255):
        yield f"flat {level}", np.full((300, 300, 3), level, np.uint8)
    yield "noise", rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    yield "black and white noise", grey(rng.integers(0, 2, (400, 400)) * 255)
    yield "halftone", halftone(textures.moon())
    yield "screenshot", page_of_text()
    for name in ("page", "text", "horse", "brick", "grass", "gravel", "coins", "cell"):
        plane = np.asarray(getattr(textures, name)())
        yield name, grey(plane * 255 if plane.dtype == bool else plane)


def pictures(host: Callable[[str], Frame], copies: SimpleNamespace) -> Iterator[tuple[str, Frame]]:
    for number in range(1, 9):
        frame = host(f"persona{number}_0")
        yield f"persona {number}", frame
        yield f"crop of persona {number}", copies.crop(frame, 11 * number, 90, 300, 333)
    for name in ("chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry"):
        yield name, host(name)
        yield f"jpeg of {name}", copies.recode(host(name), "JPEG", 60)


def test_no_claim_at_scale_1_on_many_unmarked_pictures(
    host: Callable[[str], Frame], copies: SimpleNamespace
) -> None:
    mark, seen = SpreadMark(keys=STRANGERS), 0
    for name, frame in (*synthetic(), *pictures(host, copies)):
        assert mark.detect(frame, thorough=False) is None, name
        seen += 1
    assert seen >= 60


# What has a lattice of its own, or hardly any structure, is where a whole search could go wrong.
SEARCHED = (
    "wave 128",
    "checks 8",
    "random tile 0",
    "smooth tile 1",
    "halftone",
    "screenshot",
    "crop of persona 2",
    "jpeg of coffee",
)


@pytest.mark.parametrize("name", SEARCHED)
def test_no_claim_after_the_whole_search(
    name: str, host: Callable[[str], Frame], copies: SimpleNamespace
) -> None:
    [frame] = [f for n, f in (*synthetic(), *pictures(host, copies)) if n == name]
    presence, claimed = SpreadMark(keys=STRANGERS[:1]).survey(frame)
    assert not claimed
    # The largest of MOST_LOOKS x 256 normal values is 3.6 +- .3; a claim takes 6.7.
    assert presence < 5.5
    assert not Reading(presence).claims(MOST_LOOKS)


def test_a_mark_of_another_key_is_no_mark_of_ours(
    marked: Callable[..., Frame], copies: SimpleNamespace
) -> None:
    # The worst host: it has our band, our tile and our lattice, and only the phases differ.
    frame = copies.rotate(marked("cloud"), 12)[0]
    assert SpreadMark(keys=STRANGERS[:1]).detect(frame) is None


def test_what_carries_our_mark_stands_far_above(
    mark: SpreadMark, marked: Callable[..., Frame]
) -> None:
    presence, claimed = mark.survey(marked("coffee"))
    assert claimed
    assert presence > 9
    assert Reading(presence).bound(MOST_LOOKS) < MAX_FALSE_PRESENCE


def test_a_mixture_of_ids_is_present_but_never_a_third_id(
    mark: SpreadMark, marked: Callable[..., Frame]
) -> None:
    ids = [f"{number:012x}" for number in range(8)]
    states = set()
    for count in (1, 2, 8):
        mixed = np.mean([marked("coffee", one) for one in ids[:count]], axis=0)
        found = mark.detect(np.rint(mixed).astype(np.uint8), thorough=False)
        if found is not None:
            assert found.mark_id in {None, *ids[:count]}
            states.add((count, found.state))
    assert (1, "read") in states


def test_a_damaged_word_is_present_and_not_read(
    mark: SpreadMark, host: Callable[[str], Frame]
) -> None:
    # Sync and claim are whole; of the data every sign is a coin's.
    pattern, frame = Pattern(key=KEY), host("coffee")
    spelt = pattern.spell("0123456789ab", VERSION) * np.hypot(*pattern.waves) ** -0.9
    coins = np.random.default_rng(22).choice((-1, 1), len(pattern.groups))
    spelt[pattern.pilot_count :] *= coins
    spectrum = np.zeros((TILE_PX, TILE_PX), np.complex128)
    spectrum[pattern.rows, pattern.columns] = spelt
    tile = np.fft.ifft2(spectrum).real.astype(np.float32)
    damaged = add_at(frame, lay_tile(tile, measure_capacity(luma(frame))), 40.5)
    for copy in (damaged, damaged[3:, 5:]):
        found = mark.detect(np.ascontiguousarray(copy), thorough=False)
        assert found is not None
        assert (found.state, found.mark_id, found.version) == ("present_unreadable", None, None)
        assert found.confidence is None
        assert found.geometry is not None
        assert found.p_value <= MAX_FALSE_PRESENCE
        assert found.searched == UPRIGHT_LOOKS * CARRIERS
