"""Style pictures enter by their card: known names, unaltered bytes, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from generator.style_pictures import DRAWERS, draw, draw_all, main
from generator.styles import CARD, FOLDER, StyleRefused, load_card, open_style, render_card
from generator.swapper import SwapperName


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "styles"))


@pytest.mark.parametrize("name", sorted(DRAWERS))
def test_every_shipped_style_opens(name: str) -> None:
    style = open_style(name)
    assert (style.name, style.picture.shape, style.picture.dtype) == (name, (256, 256, 3), np.uint8)
    assert not style.picture.flags.writeable
    assert (FOLDER / f"{name}.webp").stat().st_size < 50_000


def test_the_set_and_the_drawers_are_the_same_names_and_none_is_offered_yet() -> None:
    assert set(load_card().styles) == set(DRAWERS)
    assert not [name for name in get_args(SwapperName) if name.startswith("style-")]
    assert {path.stem for path in FOLDER.glob("*.webp")} == set(DRAWERS)


def test_an_unknown_style_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(StyleRefused) as caught:
        open_style("monet")
    assert caught.value.code == "STYLE-REFUSED"
    assert "woodcut" in caught.value.mend


def test_an_altered_picture_is_refused(folder: Path) -> None:
    shutil.copy(folder / "oil.webp", folder / "ink.webp")
    with pytest.raises(StyleRefused, match="another"):
        open_style("ink", folder)


def test_a_missing_picture_is_refused(folder: Path) -> None:
    (folder / "ink.webp").unlink()
    with pytest.raises(StyleRefused, match="cannot be read"):
        open_style("ink", folder)


@pytest.mark.parametrize("text", ["", "x = [", 'licence = "mine"', b"\xff"])
def test_a_card_that_is_not_complete_is_refused(folder: Path, text: str | bytes) -> None:
    (folder / CARD).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StyleRefused, match="card"):
        load_card(folder)


def test_a_picture_of_another_size_is_refused_even_with_its_digest(folder: Path) -> None:
    small = cv2.imencode(".webp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for content in (small, b"no picture"):
        (folder / "ink.webp").write_bytes(content)
        (folder / CARD).write_text(render_card({"ink": (1, content)}))
        with pytest.raises(StyleRefused, match="256 px"):
            open_style("ink", folder)


@pytest.mark.parametrize("name", ["ink", "glass"])
def test_a_style_is_drawn_the_same_every_time_and_is_what_ships(name: str) -> None:
    first = draw(name)
    assert np.array_equal(first, draw(name))
    # Shipped as WebP, whose encoders differ by version: alike, not the same bytes.
    apart = np.abs(first.astype(int) - open_style(name).picture.astype(int)).mean()
    assert apart < 12


def test_drawing_the_set_writes_pictures_that_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.style_pictures.DRAWERS", {"glass": DRAWERS["glass"]})
    assert main(["--out", str(tmp_path / "made")]) == 0
    assert list(load_card(tmp_path / "made").styles) == ["glass"]
    assert open_style("glass", tmp_path / "made").picture.any()
    draw_all(tmp_path / "made")


def test_what_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("generator.style_pictures.DRAWERS", {"glass": DRAWERS["glass"]})
    (tmp_path / "glass.webp").mkdir()
    assert main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err
