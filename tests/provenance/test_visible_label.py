"""The words are tall enough, readable on any background, and off the faces where that can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from provenance.errors import LabelRefused, ShapeError, TooSmall
from provenance.label_letters import choose_letters, require_showable
from provenance.label_rules import Demand, label_demand
from provenance.media import Box, decode, encode
from provenance.visible_label import (
    MIN_CONTRAST,
    MIN_LETTER_PX,
    place_visible_label,
)

BOTH = label_demand(["CN"])


def demand(text: str, share: float = 0.05) -> Demand:
    return Demand(share, (text,), ("TEST",))


def background(kind: str, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    frame = np.zeros((*size, 3), np.uint8)
    if kind == "noise":
        return np.random.default_rng(4).integers(0, 256, frame.shape, dtype=np.uint8)
    if kind == "stripes":
        frame[:, ::2] = 255
        return frame
    frame[:] = {"white": 255, "grey": 128, "black": 0}[kind]
    return frame


def overlap(a: Box, b: Box) -> int:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    return max(0, wide) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def wcag(first: int, second: int) -> float:
    """Contrast of two grey levels, computed apart from the code under test."""

    def light(level: int) -> float:
        part = level / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    bright, dark = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", ["white", "grey", "black", "noise", "stripes"])
@pytest.mark.parametrize("wanted", [None, BOTH], ids=["latin", "chinese"])
def test_the_words_are_readable_on_any_background(kind: str, wanted: Demand | None) -> None:
    frame = background(kind)
    label = place_visible_label((480, 640), avoid=[], demand=wanted)
    drawn = label.draw(frame)
    assert label.contrast(drawn) >= 2 * MIN_CONTRAST
    label.require_readable(drawn)
    after = decode(encode(drawn, "image/jpeg")).frame
    label.require_readable(after)


def test_the_contrast_is_that_of_the_specification() -> None:
    label = place_visible_label((480, 640), avoid=[])
    flat = label.ink > 0.5
    frame = background("white")
    x0, y0, x1, y1 = label.box
    frame[y0:y1, x0:x1] = np.where(flat, 250, 100)[..., None]
    assert label.contrast(frame) == pytest.approx(wcag(250, 100), rel=1e-6)
    frame[y0:y1, x0:x1] = np.where(flat[..., None], 255, np.array([255, 0, 0]))
    assert label.contrast(frame) == pytest.approx(1.05 / (0.0722 + 0.05), rel=1e-6)  # pure blue


def test_a_label_that_was_painted_over_is_refused() -> None:
    label = place_visible_label((480, 640), avoid=[])
    with pytest.raises(LabelRefused, match=r"a contrast of 1\.0:1") as caught:
        label.require_readable(background("grey"))
    assert caught.value.code == "LABEL-REFUSED"


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (400, 1200), (1200, 400), (1080, 1920)])
def test_capitals_have_the_height_that_is_asked(size: tuple[int, int]) -> None:
    label = place_visible_label(size, avoid=[], demand=demand("H"))
    rows = np.nonzero((label.ink > 0.5).any(axis=1))[0]
    assert rows.max() - rows.min() + 1 >= 0.05 * min(size)
    assert label.letter_px >= 0.05 * min(size)
    larger = place_visible_label(size, avoid=[], demand=demand("H", share=0.1))
    assert larger.letter_px >= 0.1 * min(size)


def test_chinese_signs_are_no_smaller_than_capitals() -> None:
    for sign in "生成合":
        rows, columns = np.nonzero(choose_letters(40).draw([sign]) > 0.5)
        assert rows.max() - rows.min() + 1 >= 40
        assert columns.max() - columns.min() + 1 >= 40
    drawn = {sign: choose_letters(40).draw([sign]).sum() for sign in "生成合"}
    assert len(set(drawn.values())) == 3


def test_small_pictures_get_letters_that_can_be_read() -> None:
    label = place_visible_label((100, 100), avoid=[])
    assert label.letter_px >= MIN_LETTER_PX > 0.05 * 100


def test_the_first_choice_is_bottom_left() -> None:
    x0, _, _, y1 = place_visible_label((600, 800), avoid=[]).box
    assert x0 < 20
    assert y1 > 580


@pytest.mark.parametrize(
    ("avoid", "place"),
    [
        ([(0, 400, 200, 600)], "bottom right"),
        ([(0, 400, 800, 600)], "top left"),
        ([(0, 400, 800, 600), (0, 0, 300, 200)], "top right"),
        ([(0, 500, 60, 600), (740, 500, 800, 600), (0, 0, 800, 60)], "bottom middle"),
        ([(0, 400, 800, 600), (0, 0, 60, 60), (740, 0, 800, 60)], "top middle"),
        ([(0, 400, 800, 600), (0, 0, 800, 200)], "middle left"),
        ([(0, 400, 800, 600), (0, 0, 800, 200), (0, 200, 20, 400)], "middle right"),
    ],
)
def test_a_place_with_a_face_is_left_for_the_next(avoid: list[Box], place: str) -> None:
    label = place_visible_label((600, 800), avoid=avoid)
    x0, y0, x1, y1 = label.box
    down = "top" if y0 < 20 else "bottom" if y1 > 580 else "middle"
    across = "left" if x0 < 20 else "right" if x1 > 780 else "middle"
    assert f"{down} {across}" == place
    assert all(overlap(label.box, face) == 0 for face in avoid)
    assert label.covered == 0
    assert label.words.endswith("off every face")


def test_a_free_place_between_faces_is_found() -> None:
    avoid: list[Box] = [(0, 0, 800, 210), (0, 290, 800, 600)]
    label = place_visible_label((600, 800), avoid=avoid)
    assert all(overlap(label.box, face) == 0 for face in avoid)


def test_words_break_where_only_a_narrow_place_is_free() -> None:
    avoid: list[Box] = [(300, 0, 800, 600)]
    box = place_visible_label((600, 800), avoid=avoid).box
    assert overlap(box, avoid[0]) == 0
    assert box[3] - box[1] > 60


def test_where_no_place_is_free_the_label_says_so_and_covers_least() -> None:
    face = (10, 10, 502, 440)
    label = place_visible_label((512, 512), avoid=[face])
    x0, y0, x1, y1 = label.box
    assert overlap(label.box, face) < 0.2 * (x1 - x0) * (y1 - y0)
    everywhere = place_visible_label((512, 512), avoid=[(0, 0, 512, 512)])
    assert everywhere.covered > 0
    assert "no place is free: it covers" in everywhere.words


def test_boxes_outside_the_picture_do_no_harm() -> None:
    plain = place_visible_label((300, 300), avoid=[])
    far: list[Box] = [(-100, -100, -5, -5), (900, 900, 999, 999), (-100_000, 5, -99_000, 9)]
    assert place_visible_label((300, 300), avoid=far).box == plain.box
    assert place_visible_label((300, 300), avoid=[(-10, -10, 9999, 9999)]).covered > 0


def test_one_label_serves_every_frame_of_its_size_and_leaves_them_alone(
    demo_picture: Callable[[str], bytes],
) -> None:
    frame = decode(demo_picture("persona1_0")).frame
    before, face = frame.copy(), (140, 120, 380, 430)
    label = place_visible_label(frame.shape[:2], avoid=[face], demand=BOTH)
    drawn = label.draw(frame)
    assert np.array_equal(frame, before)
    rows, columns = np.nonzero((drawn != frame).any(axis=2))
    x0, y0, x1, y1 = label.box
    assert columns.min() >= x0
    assert columns.max() < x1
    assert rows.min() >= y0
    assert rows.max() < y1
    for wrong in (np.zeros((10, 10, 3), np.uint8), background("white")):
        with pytest.raises(LabelRefused, match="the label is for"):
            label.draw(wrong)
    with pytest.raises(ShapeError):
        label.draw(np.zeros((512, 512), np.uint8))


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "人工", "Å", "\u202eAI"])
def test_letters_that_cannot_be_shown_are_refused(text: str) -> None:
    with pytest.raises(LabelRefused) as caught:
        place_visible_label((300, 300), avoid=[], demand=demand(text))
    assert caught.value.code == "LABEL-REFUSED"


def test_every_showable_letter_has_a_picture_of_its_own() -> None:
    """The font draws an empty box for letters that it lacks."""
    letters = [chr(code) for code in range(33, 127)]
    require_showable("".join(letters))
    font = choose_letters(30).font
    missing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in letters)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TooSmall):
        place_visible_label((32, 32), avoid=[])


def test_without_a_scalable_font_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap: Any = ImageFont.ImageFont()
    monkeypatch.setattr(ImageFont, "load_default", lambda _: bitmap)
    with pytest.raises(LabelRefused) as caught:
        place_visible_label((300, 300), avoid=[])
    assert "FreeType" in caught.value.mend


def test_signs_stand_among_letters_and_not_on_them() -> None:
    """A gap of empty columns parts the sign from the letter before it."""
    ink = choose_letters(60).draw(["I生"])
    empty = ~(ink > 0.5).any(axis=0)
    assert empty.any()
    assert Image.fromarray((ink * 255).astype(np.uint8)).getbbox() == (0, 0, *ink.shape[::-1])
