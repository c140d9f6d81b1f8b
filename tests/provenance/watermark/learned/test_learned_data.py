"""No picture without a right to be there is trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.digest import sha256_hex
from provenance.watermark.learned.data import (
    LedgerRow,
    TrainingSet,
    list_pictures,
    list_rendered,
    load_training_set,
    read_ledger,
)
from provenance.watermark.learned.errors import TrainingRefused

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DEMO = Path(__file__).parents[4] / "docs" / "demo"
Row = Callable[..., LedgerRow]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEMO / "persona1_0.webp", tmp_path / "one.webp"))


def ledger_of(beside: Path, content: bytes) -> list[LedgerRow]:
    path = beside.with_name("ledger.jsonl")
    path.write_bytes(content)
    return read_ledger(path)


def load(file: Path, *rows: LedgerRow, release: bool = True) -> TrainingSet:
    return load_training_set([file], rows, (32, 9), release=release, now=NOW)


def test_an_admitted_picture_is_in_the_pool_with_its_row(picture: Path, row_of: Row) -> None:
    row = row_of(picture, expires=NOW + timedelta(seconds=1))
    training = load(picture, row)
    assert training.pictures.shape == (1, 3, 40, 40)
    assert training.rows == (row,)
    assert ledger_of(picture, training.ledger) == [row]
    # RGB: the background of this picture is blue-grey, skin is redder than blue.
    red, _, blue = training.pictures[0, :, 20, 20].tolist()
    assert red > blue


def test_a_picture_without_a_row_is_refused(picture: Path, row_of: Row) -> None:
    row = row_of(picture)
    with picture.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(TrainingRefused, match="is not in the data ledger"):
        load(picture, row)


@pytest.mark.parametrize("name", ["london", "London", "clips"])
def test_photographs_for_evaluation_are_refused(picture: Path, row_of: Row, name: str) -> None:
    with pytest.raises(TrainingRefused, match="evaluation only"):
        load(picture, row_of(picture, set=name), release=False)
    with pytest.raises(TrainingRefused, match="evaluation only"):
        load(picture, row_of(picture, path=f"{name}/001.jpg"), release=False)
    folder = picture.parent / name
    folder.mkdir()
    moved = picture.rename(folder / "one.webp")
    with pytest.raises(TrainingRefused, match="evaluation only"):
        load(moved, row_of(moved), release=False)


def test_a_right_that_has_ended_is_refused(picture: Path, row_of: Row) -> None:
    with pytest.raises(TrainingRefused, match="ended on 2026-11-21"):
        load(picture, row_of(picture, expires=NOW))


def test_a_release_needs_every_row_to_allow_it(picture: Path, row_of: Row) -> None:
    row = row_of(picture, training_of_released_models=False)
    with pytest.raises(TrainingRefused, match="may not be used for weights that are released"):
        load(picture, row)
    assert not load(picture, row, release=False).release


def test_no_pictures_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="no pictures"):
        load_training_set([], [], (32, 9), release=False, now=NOW)


@pytest.mark.parametrize("field", ["sha256", "source", "licence", "consent_scope"])
def test_a_row_says_where_a_picture_is_from_and_what_it_allows(
    field: str, picture: Path, row_of: Row
) -> None:
    row = json.loads(row_of(picture).model_dump_json())
    for odd in (row | {field: ""}, {k: v for k, v in row.items() if k != field}):
        with pytest.raises(TrainingRefused, match="not complete"):
            ledger_of(picture, json.dumps(odd).encode())


def test_a_line_that_is_not_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="not complete"):
        ledger_of(tmp_path / "any", b"{}\nnot json\n")


def test_pictures_are_listed_below_all_folders(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a/deep/y.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "b", tmp_path / "a"])
    assert [path.name for path in found] == ["y.jpg", "x.PNG"]


def test_without_personas_the_demo_people_are_used(tmp_path: Path, row_of: Row) -> None:
    root = tmp_path / "checkout"
    (root / "docs" / "demo").mkdir(parents=True)
    shutil.copy(DEMO / "persona2_0.webp", root / "docs" / "demo")
    files, rows = list_rendered(root)
    assert [file.name for file in files] == ["persona2_0.webp"]
    assert [row.set for row in rows] == ["demo"]
    assert load(files[0], *rows).release


def test_of_the_personas_only_training_people_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "data" / "personas"
    (folder / "images").mkdir(parents=True)
    people = {"a": (1, 2), "b": (8, 1), "c": (1, 19), "d": (17, 30)}
    for scene in people:
        for part in ("target", "swap"):
            (folder / "images" / f"{scene}_{part}.webp").write_bytes(scene.encode())
    index = [
        {"scene": scene, "target_persona": target, "source_persona": source}
        for scene, (target, source) in people.items()
    ]
    (folder / "index.jsonl").write_text("\n".join(json.dumps(row) for row in index))
    files, rows = list_rendered(tmp_path / "checkout")
    assert [file.name for file in files] == [
        *("a_target.webp", "a_swap.webp", "d_target.webp", "d_swap.webp"),
    ]
    assert [row.sha256 for row in rows] == [sha256_hex(b"a")] * 2 + [sha256_hex(b"d")] * 2
    assert {row.set for row in rows} == {"personas"}
    assert all(row.training_of_released_models for row in rows)
