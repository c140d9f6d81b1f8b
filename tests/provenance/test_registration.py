"""Copies of known geometry are placed where they came from; what is too little has no place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from provenance import registration
from provenance.errors import ShapeError
from provenance.likeness import worst_covered_block
from provenance.media import decode
from provenance.recovery import MAX_AROUND
from provenance.registration import MIN_SHARE, MIN_SHOWN_PX, TILE_PX, register
from provenance.watermark import Geometry


@pytest.fixture
def frame(demo_picture: Callable[[str], bytes]) -> Any:
    return decode(demo_picture("persona1_0")).frame


def shift(x: float, y: float) -> Any:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def turn(degrees: float, scale: float = 1.0, middle: float = 255.5) -> Any:
    """Turn to the left about the middle of 512 pixels."""
    return np.vstack([cv2.getRotationMatrix2D((middle, middle), degrees, scale), [0, 0, 1]])


def resize(scale: float) -> Any:
    half = (scale - 1) / 2
    return np.array([[scale, 0, half], [0, scale, half], [0, 0, 1.0]])


MIRROR = np.array([[-1.0, 0, 511], [0, 1, 0], [0, 0, 1]])
SLANT = cv2.getPerspectiveTransform(
    np.array([[0, 0], [512, 0], [512, 512], [0, 512]], np.float32),
    np.array([[15, 9], [504, 0], [512, 497], [0, 507]], np.float32),
)


def see(frame: Any, matrix: Any, size: tuple[int, int] = (512, 512), around: int = 0) -> Any:
    """The copy that shows a picture under a matrix, with what is uncovered in one colour."""
    return cv2.warpPerspective(
        frame, matrix, size, flags=cv2.INTER_AREA, borderValue=(around, around, around)
    )


def read(matrix: Any, tiles: tuple[int, int] = (0, 0)) -> Geometry:
    """What a reader says of it: right up to whole tiles."""
    return Geometry.of(matrix @ shift(*(TILE_PX * n for n in tiles)))


# Matrix from picture to copy, size of the copy, share that is shown, (scale, degrees, mirrored).
COPIES: dict[str, tuple[Any, tuple[int, int], float, tuple[float, float, bool]]] = {
    "whole": (np.eye(3), (512, 512), 1.0, (1, 0, False)),
    "crop": (shift(-150, -37), (362, 400), 362 * 400 / 512**2, (1, 0, False)),
    "a quarter": (shift(-128, -128), (256, 256), 0.25, (1, 0, False)),
    "turned by 5": (turn(5), (512, 512), 0.96, (1, 5, False)),
    "turned by 30": (turn(30), (512, 512), 0.845, (1, 30, False)),
    "on its head": (turn(180), (512, 512), 1.0, (1, 180, False)),
    "mirrored": (MIRROR, (512, 512), 1.0, (1, 0, True)),
    "half size": (resize(0.5), (256, 256), 1.0, (0.5, 0, False)),
    "a quarter size": (resize(0.25), (128, 128), 1.0, (0.25, 0, False)),
    "double size": (resize(2), (1024, 1024), 1.0, (2, 0, False)),
    "slant": (SLANT, (512, 512), 1.0, (0.977, 1.3, False)),
    "framed": (shift(40, 90), (600, 700), 1.0, (1, 0, False)),
    "turned, smaller, cropped": (
        shift(-60, -30) @ resize(0.7) @ turn(8),
        (250, 260),
        0.51,
        (0.7, 8, False),
    ),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("tiles", [(0, 0), (2, -1), (-3, 5)])
def test_a_copy_is_placed_whatever_tile_the_reader_began_at(
    frame: Any, how: str, tiles: tuple[int, int]
) -> None:
    matrix, size, share, (scale, degrees, mirrored) = COPIES[how]
    shown = register(frame, see(frame, matrix, size), read(matrix, tiles))
    assert shown is not None
    assert shown.share == pytest.approx(share, abs=0.01)
    assert shown.lies.scale == pytest.approx(scale, rel=0.01)
    assert (shown.lies.rotation_deg - degrees + 180) % 360 == pytest.approx(180, abs=0.3)
    assert shown.lies.mirrored is mirrored
    assert shown.around <= 1
    assert worst_covered_block(shown.released, shown.copy, shown.covered) < 4


def test_what_a_reader_has_slightly_wrong_is_refined(frame: Any) -> None:
    wrong = SLANT @ turn(0.3, 1.01) @ shift(3, -2)
    shown = register(frame, see(frame, SLANT), read(wrong))
    assert shown is not None
    assert worst_covered_block(shown.released, shown.copy, shown.covered) < 4


def test_refining_far_away_is_not_believed(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_MOST_REFINED", 0.0)
    shown = register(frame, see(frame, np.eye(3)), read(shift(4, 4)))
    assert shown is not None
    assert worst_covered_block(shown.released, shown.copy, shown.covered) > 2.5


def test_what_cannot_be_refined_stays_where_it_was_read(frame: Any) -> None:
    shown = register(frame, np.full((512, 512, 3), 90, np.uint8), read(np.eye(3)))
    assert shown is not None
    assert worst_covered_block(shown.released, shown.copy, shown.covered) > 6


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_border_of_one_colour_is_nothing_around(frame: Any, colour: int) -> None:
    for matrix, size in ((turn(30), (512, 512)), (shift(0, 90), (512, 700))):
        copy = see(frame, matrix, size, around=colour)
        coded = cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        copy = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        shown = register(frame, copy, read(matrix))
        assert shown is not None
        assert shown.around <= MAX_AROUND


def write_below(page: Any) -> None:
    cv2.putText(page, "he said so", (20, 660), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 1)


def second_colour(page: Any) -> None:
    page[650:] = 200


@pytest.mark.parametrize("add", [write_below, second_colour])
def test_anything_else_around_is_seen(frame: Any, add: Callable[[Any], None]) -> None:
    page = see(frame, shift(30, 60), (640, 700))
    add(page)
    shown = register(frame, page, read(shift(30, 60)))
    assert shown is not None
    assert shown.around > MAX_AROUND
    assert shown.share == pytest.approx(1, abs=0.01)


def test_a_picture_in_a_large_page_is_compared_at_its_own_size(frame: Any) -> None:
    page = see(frame, shift(900, 700), (2400, 1600), around=240)
    shown = register(frame, page, read(shift(900, 700), (-4, 1)))
    assert shown is not None
    assert shown.copy.shape == (512, 512, 3)
    assert worst_covered_block(shown.released, shown.copy, shown.covered) < 1


def test_another_picture_is_placed_somewhere_and_differs(
    frame: Any, demo_picture: Callable[[str], bytes]
) -> None:
    """Placing says nothing of likeness."""
    other = decode(demo_picture("persona2_0")).frame[100:400, 50:450]
    shown = register(frame, np.ascontiguousarray(other), read(shift(-50, -100)))
    assert shown is None or worst_covered_block(shown.released, shown.copy, shown.covered) > 10


BEHIND = np.array([[1.0, 0, 0], [0, 1, 0], [0.01, 0, -1.0]])
FAR = np.array([[1.0, 0, 0], [0, 1, 0], [-0.004, 0, 1.0]])
NOWHERE: dict[str, tuple[Any, tuple[int, int]]] = {
    "hardly any of it": (shift(-200, -200), (90, 90)),
    "less than a tenth": (shift(-200, -200), (150, 150)),
    "too small to be seen": (resize(0.1), (51, 51)),
    "thousands of tiles": (resize(0.0005), (512, 512)),
    "across the horizon": (BEHIND, (512, 512)),
    "the picture across the horizon": (FAR @ shift(-200, -200), (300, 300)),
}


@pytest.mark.parametrize("why", NOWHERE)
def test_too_little_has_no_place(frame: Any, why: str) -> None:
    matrix, size = NOWHERE[why]
    assert register(frame, see(frame, matrix, size), read(matrix)) is None


def test_the_limits_are_those_that_are_stated(frame: Any) -> None:
    side = int(512 * MIN_SHARE**0.5) + 4
    for size, placed in ((side, True), (side - 8, False)):
        copy = see(frame, shift(-150, -150), (size, size))
        assert (register(frame, copy, read(shift(-150, -150))) is not None) is placed
    for size, placed in ((MIN_SHOWN_PX + 2, True), (MIN_SHOWN_PX - 2, False)):
        small = resize(size / 512)
        copy = see(frame, small, (size, size))
        assert (register(frame, copy, read(small)) is not None) is placed


def test_a_place_beside_the_copy_is_none(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_find_shift", lambda *_: shift(900, 0))
    assert register(frame, frame, read(np.eye(3))) is None


@pytest.mark.parametrize("bad", [np.zeros((80, 80), np.uint8), np.zeros((80, 80, 3), np.float32)])
def test_only_frames_are_placed(frame: Any, bad: Any) -> None:
    for pair in ((frame, bad), (bad, frame)):
        with pytest.raises(ShapeError):
            register(*pair, read(np.eye(3)))
