"""The shipped faces: only these, only whole, only from `open_personas`."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.errors import SwapRefused, WeightRefused
from generator.faces import only_face
from generator.personas import (
    CARD,
    PERSONAS,
    PERSONAS_FOLDER,
    Persona,
    open_personas,
    persona_models,
    read_card,
    read_picture,
    require_persona,
)
from policies.digest import sha256_hex
from policies.warrant import WarrantInvalid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the set that may be spoilt."""
    copied = tmp_path / "personas"
    shutil.copytree(PERSONAS_FOLDER, copied)
    return copied


def test_every_shipped_picture_is_on_the_card_small_and_shows_one_frontal_face(people: Any) -> None:
    digest, card = read_card(PERSONAS_FOLDER)
    files = {row.file for row in card.pictures}
    assert {path.name for path in PERSONAS_FOLDER.iterdir()} == {CARD, *files}
    assert sum(row.bytes for row in card.pictures) < 150_000
    personas = open_personas()
    assert [one.name for one in personas.people] == [row.name for row in card.pictures]
    assert dict(personas.models) == dict(persona_models()) == {PERSONAS: digest}
    for persona in personas.people:
        assert max(persona.frame.shape[:2]) <= 320
        assert not persona.frame.flags.writeable
        assert abs(only_face(people.analyser.analyse(persona.frame)).pose[0]) < 10
        assert require_persona(persona) is persona


def test_another_picture_under_a_personas_name_is_refused(folder: Path) -> None:
    _, card = read_card(folder)
    first, second = card.pictures[:2]
    assert sha256_hex(read_picture(first, folder)) == first.sha256
    (folder / first.file).write_bytes((folder / second.file).read_bytes())
    with pytest.raises(WeightRefused, match="its card says"):
        read_picture(first, folder)
    (folder / first.file).unlink()
    with pytest.raises(WeightRefused, match="cannot be read"):
        read_picture(first, folder)


def test_a_picture_of_another_length_than_its_card_says_is_refused(folder: Path) -> None:
    _, card = read_card(folder)
    row = card.pictures[0].model_copy(update={"bytes": card.pictures[0].bytes + 1})
    with pytest.raises(WeightRefused):
        read_picture(row, folder)


def test_a_forged_set_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "persona1.webp").write_bytes((folder / "persona2.webp").read_bytes())
    monkeypatch.setattr("generator.personas.PERSONAS_FOLDER", folder)
    with pytest.raises(WeightRefused):
        open_personas()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('photographs = "none"', 'photographs = "some"'),
        ('licence = "CC0-1.0"', 'licence = "unknown"'),
        ('file = "persona1.webp"', 'file = "../persona1.webp"'),
        ("bytes = ", "octets = "),
        ("[[pictures]]", "[[pictures"),
    ],
)
def test_a_card_that_is_not_complete_is_refused(folder: Path, old: str, new: str) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    assert old in text
    (folder / CARD).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(WeightRefused, match="not complete"):
        read_card(folder)


def test_without_a_card_there_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(WeightRefused):
        read_card(tmp_path)


def test_a_changed_card_is_another_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = persona_models()
    with (folder / CARD).open("a", encoding="utf-8") as card:
        card.write("# one line more\n")
    monkeypatch.setattr("generator.personas.PERSONAS_FOLDER", folder)
    assert persona_models() != before


@pytest.mark.parametrize("door", [None, True, object()])
def test_nobody_builds_a_persona_by_hand(door: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        Persona("persona1", "0" * 64, np.zeros((64, 64, 3), np.uint8), door)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_what_only_looks_like_a_persona_is_refused() -> None:
    real = open_personas().people[0]
    shell = object.__new__(Persona)
    for name in ("name", "sha256", "frame"):
        object.__setattr__(shell, name, getattr(real, name))
    for other in (None, real.frame, shell, Persona):
        with pytest.raises(WarrantInvalid):
            require_persona(other)
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(SwapRefused):
            copier(real)
