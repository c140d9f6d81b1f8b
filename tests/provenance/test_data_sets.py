"""The rows of what lies at hand: rendered people for everything, photographs for measuring."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.data_ledger import DataLedger, DataRefused
from provenance.data_sets import (
    Split,
    list_demo,
    list_london,
    list_pictures,
    list_rendered,
    split_of,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
DIGEST = sha256_hex(b"photograph")
SPLITS: list[Split] = ["train", "validation", "test"]
HEADER = "file,person,expression,age,gender,ethnicity,sha256"


@pytest.mark.parametrize(
    ("personas", "split"),
    [
        ((0, 17), "train"),
        ((8, 1), "validation"),
        ((1, 28), "validation"),
        ((9, 1), "test"),
        ((8, 119), "test"),
        ((89, 98), "test"),
        ((98, 81), "validation"),
        ((), "train"),
    ],
)
def test_a_picture_belongs_to_the_strictest_part_of_its_people(
    personas: tuple[int, ...], split: Split
) -> None:
    assert split_of(*personas) == split


def test_pictures_are_listed_below_all_folders(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a/deep/y.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "b", tmp_path / "a"])
    assert [path.name for path in found] == ["y.jpg", "x.PNG"]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A checkout with the demo people of three files, and nothing beside it."""
    folder = tmp_path / "checkout" / "docs" / "demo"
    (folder / "clip1").mkdir(parents=True)
    source = ROOT / "docs" / "demo"
    shutil.copy(source / "persona1_0.webp", folder)
    shutil.copy(source / "persona2_1.webp", folder)
    shutil.copy(source / "persona3_0.webp", folder / "clip1" / "f000.webp")
    return tmp_path / "checkout"


def test_without_personas_the_demo_people_are_used(demo: Path) -> None:
    listed = list(list_rendered(demo))
    assert [row.person for _, row in listed] == [
        *("persona:demo-clip1", "persona:demo-1", "persona:demo-2"),
    ]
    assert [row.path for _, row in listed] == [
        *("demo/clip1/f000.webp", "demo/persona1_0.webp", "demo/persona2_1.webp"),
    ]
    ledger = DataLedger(row for _, row in listed)
    for file, row in listed:
        assert (row.set, row.licence, row.is_of_real_people) == ("demo", "CC0-1.0", False)
        assert (row.training_of_released_models, row.evaluation, row.publication) == (True,) * 3
        ledger.admit(file.read_bytes(), file.name, purpose="release_training", now=NOW)
    assert list(list_rendered(demo, "train")) == listed


def test_the_demo_people_beside_a_checkout_are_the_whole_set(demo: Path) -> None:
    own = list(list_demo(demo))
    assert own == list(list_rendered(demo))
    beside = demo.parent / "shared" / "data" / "demo"
    beside.mkdir(parents=True)
    content = own[1][0].read_bytes()
    (beside / "persona5_2.webp").write_bytes(content)
    ((path, row),) = list_demo(demo)
    assert (path, row.path) == (beside / "persona5_2.webp", "demo/persona5_2.webp")
    assert (row.person, row.is_of_real_people) == ("persona:demo-5", False)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_demo_people_are_not_split(demo: Path, split: Split) -> None:
    assert list(list_rendered(demo, split)) == []


def test_a_link_among_the_demo_people_is_refused(demo: Path, tmp_path: Path) -> None:
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(b"photograph")
    (demo / "docs" / "demo" / "persona9_0.jpg").symlink_to(photograph)
    with pytest.raises(DataRefused, match=r"persona9_0\.jpg is a link"):
        list(list_rendered(demo))


def test_a_demo_file_of_somebody_else_is_refused(demo: Path) -> None:
    folder = demo / "docs" / "demo"
    (folder / "persona1_0.webp").rename(folder / "Somebody.webp")
    with pytest.raises(DataRefused, match="are asked"):
        list(list_rendered(demo))


SCENES = {"a": (1, 2), "b": (8, 1), "c": (1, 19), "d": (17, 30)}


def lay_personas(beside: Path, lines: list[dict[str, Any]] | None = None) -> Path:
    """Personas beside `beside / checkout`, one file content for each picture; the checkout."""
    folder = beside / "shared" / "data" / "personas"
    (folder / "images").mkdir(parents=True)
    for scene in SCENES:
        for part in ("target", "swap"):
            (folder / "images" / f"{scene}_{part}.webp").write_bytes(f"{scene} {part}".encode())
    index = [
        {"scene": scene, "target_persona": target, "source_persona": source, "yaw": 0.1}
        for scene, (target, source) in SCENES.items()
    ]
    text = "\n".join(json.dumps(line) for line in (index if lines is None else lines))
    (folder / "index.jsonl").write_text(text, encoding="utf-8")
    return beside / "checkout"


@pytest.mark.parametrize(
    ("split", "scenes"),
    [("train", "ad"), ("validation", "b"), ("test", "c"), (None, "abcd")],
)
def test_of_the_personas_one_part_is_listed(
    tmp_path: Path, split: Split | None, scenes: str
) -> None:
    listed = list(list_rendered(lay_personas(tmp_path), split))
    assert [file.name for file, _ in listed] == [
        f"{scene}_{part}.webp" for scene in scenes for part in ("target", "swap")
    ]
    assert [row.sha256 for _, row in listed] == [
        sha256_hex(f"{scene} {part}".encode()) for scene in scenes for part in ("target", "swap")
    ]
    assert {row.set for _, row in listed} == {"personas"}
    assert all(row.path == f"personas/images/{file.name}" for file, row in listed)
    DataLedger(row for _, row in listed)


def test_a_row_names_everybody_who_is_in_the_picture(tmp_path: Path) -> None:
    listed = list(list_rendered(lay_personas(tmp_path), "validation"))
    assert [row.person for _, row in listed] == ["persona:8", "persona:8+1"]


@pytest.mark.parametrize(
    "odd",
    [
        {"scene": "../../london/001"},
        {"scene": "a/b"},
        {"scene": ""},
        {"scene": "a\n"},
        {"target_persona": "1"},
        {"target_persona": -1},
        {"source_persona": 1.0},
        {"source_persona": None},
    ],
    ids=str,
)
def test_a_list_of_personas_that_is_not_one_is_refused(tmp_path: Path, odd: Any) -> None:
    line = {"scene": "a", "target_persona": 1, "source_persona": 2}
    with pytest.raises(DataRefused, match="line 2 of the personas' list"):
        list(list_rendered(lay_personas(tmp_path, [line, line | odd])))


def test_a_listed_scene_without_its_picture_is_an_error(tmp_path: Path) -> None:
    line = {"scene": "x", "target_persona": 1, "source_persona": 2}
    with pytest.raises(StoreUnavailable):
        list(list_rendered(lay_personas(tmp_path, [line])))


def write_london(folder: Path, *lines: str) -> Path:
    (folder / "index.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return folder


def test_london_is_for_evaluation_alone(tmp_path: Path) -> None:
    line = f"001_neutral.jpg,001,neutral,24,female,white,{DIGEST}"
    ((file, row),) = list_london(write_london(tmp_path, line))
    assert file == tmp_path / "001_neutral.jpg"
    assert (row.sha256, row.person, row.consent_id) == (DIGEST, "london:001", "london-2017")
    assert row.is_of_real_people
    assert {row.training_of_released_models, row.publication} == {False}
    assert {"24", "female", "white"}.isdisjoint(row.model_dump_json().replace('"', " ").split())
    disguised = {"set": "faces", "path": "faces/1.jpg", "training_of_released_models": True}
    for one in (row, row.model_copy(update=disguised)):
        ledger = DataLedger([one])
        assert ledger.require(DIGEST, "1.jpg", purpose="evaluation", now=NOW) is one
        with pytest.raises(DataRefused, match=r"evaluation only|did not agree"):
            ledger.require(DIGEST, "1.jpg", purpose="release_training", now=NOW)
        with pytest.raises(DataRefused, match=r"evaluation only|did not agree"):
            ledger.require(DIGEST, "1.jpg", purpose="research_training", now=NOW)


@pytest.mark.parametrize(
    "line",
    [
        "001_neutral.jpg,001,neutral,24,female,white,",
        "001_neutral.jpg,001,neutral,24,female,white",
        f",001,neutral,24,female,white,{DIGEST}",
        f"../personas/a.jpg,001,neutral,24,female,white,{DIGEST}",
        f"a/b.jpg,001,neutral,24,female,white,{DIGEST}",
        f"/b.jpg,001,neutral,24,female,white,{DIGEST}",
        f"b.txt,001,neutral,24,female,white,{DIGEST}",
    ],
)
def test_a_list_of_the_london_set_that_is_not_one_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataRefused, match="London set's list"):
        list(list_london(write_london(tmp_path, line)))


def test_without_a_list_there_are_no_photographs(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        list(list_london(tmp_path))


@pytest.mark.shared
def test_the_photographs_at_hand_can_be_measured_and_not_trained_on(shared_data: Path) -> None:
    listed = list(list_london(shared_data / "london"))
    assert len({row.person for _, row in listed}) == 72
    file, row = listed[0]
    ledger, content = DataLedger(row for _, row in listed), file.read_bytes()
    ledger.admit(content, file.name, purpose="evaluation", now=NOW)
    assert ledger.used == (row,)
    for purpose in ("release_training", "research_training"):
        with pytest.raises(DataRefused):
            ledger.admit(content, file.name, purpose=purpose, now=NOW)


@pytest.mark.shared
def test_the_personas_at_hand_make_three_parts_without_a_shared_picture(shared_data: Path) -> None:
    checkout = shared_data.parents[1] / "checkout"
    parts = [{row.sha256 for _, row in list_rendered(checkout, split)} for split in SPLITS]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts))
    DataLedger(row for _, row in list_rendered(checkout))
