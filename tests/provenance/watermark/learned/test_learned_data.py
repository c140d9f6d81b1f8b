"""The learned mark is trained on what the data ledger gives out for it, and on nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provenance.data_ledger import DataLedger, DataRefused, LedgerRow
from provenance.watermark.learned.data import TrainingSet, load_training_set
from provenance.watermark.learned.errors import TrainingRefused

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DEMO = Path(__file__).parents[4] / "docs" / "demo"
Row = Callable[..., LedgerRow]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEMO / "persona1_0.webp", tmp_path / "one.webp"))


def load(*files: Path, rows: list[LedgerRow], release: bool = True, most: int = 9) -> TrainingSet:
    return load_training_set(files, DataLedger(rows), (32, most), release=release, now=NOW)


def test_an_admitted_picture_is_in_the_pool_with_its_row(picture: Path, row_of: Row) -> None:
    row = row_of(picture, expires=NOW + timedelta(seconds=1))
    training = load(picture, rows=[row])
    assert training.pictures.shape == (1, 3, 40, 40)
    assert training.rows == (row,)
    assert training.release
    assert training.ledger == row.model_dump_json().encode() + b"\n"
    # RGB: the background of this picture is blue-grey, skin is redder than blue.
    red, _, blue = training.pictures[0, :, 20, 20].tolist()
    assert red > blue


def test_only_the_first_pictures_are_used_and_only_they_are_in_the_run(row_of: Row) -> None:
    files = sorted(DEMO.glob("*_0.webp"))[:3]
    rows = [row_of(file) for file in files]
    training = load(*files, rows=rows, most=2)
    assert len(training.pictures) == 2
    assert training.rows == tuple(sorted(rows[:2], key=lambda row: row.sha256))


def test_one_picture_without_a_row_stops_the_run(picture: Path, row_of: Row) -> None:
    other = DEMO / "persona2_0.webp"
    with pytest.raises(DataRefused, match=r"persona2_0\.webp is not in the data ledger"):
        load(picture, other, rows=[row_of(picture)])


def test_a_folder_of_photographs_for_evaluation_is_refused(picture: Path, row_of: Row) -> None:
    folder = picture.parent / "London"
    folder.mkdir()
    moved = picture.rename(folder / "one.webp")
    link = folder.with_name("mine")
    link.symlink_to(folder)
    for file in (moved, link / "one.webp"):
        with pytest.raises(DataRefused, match="evaluation only"):
            load(file, rows=[row_of(moved)], release=False)


def test_a_release_needs_every_row_to_allow_it(picture: Path, row_of: Row) -> None:
    row = row_of(picture, training_of_released_models=False)
    with pytest.raises(DataRefused, match="may not be used for weights that are released"):
        load(picture, rows=[row])
    assert not load(picture, rows=[row], release=False).release


def test_no_pictures_at_all_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="no pictures"):
        load(rows=[], release=False)
