"""Nothing is trained or measured on that no row, flag, scope and consent together let in."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.data_ledger import (
    COVERING,
    NO_REAL_PERSON,
    AdmittedPicture,
    DataLedger,
    DataRefused,
    LedgerRow,
    Purpose,
    ledger_bytes,
    read_ledger,
    rendered_row,
    require_admitted,
    runs_using,
)
from provenance.errors import MediaError

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TRAINING: list[Purpose] = ["release_training", "research_training"]
PURPOSES: list[Purpose] = [*TRAINING, "evaluation"]


@pytest.fixture(scope="module")
def content() -> bytes:
    return (Path(__file__).parents[2] / "docs" / "demo" / "persona1_0.webp").read_bytes()


@pytest.fixture
def row(content: bytes) -> LedgerRow:
    return rendered_row(content, "demo/persona1_0.webp", set_name="demo", person="persona:demo-1")


@pytest.fixture
def real(row: LedgerRow) -> LedgerRow:
    """A row of a real person who agreed to everything a ledger knows."""
    scope = "training-of-released-models, evaluation"
    return changed(row, person="p-17", consent_scope=scope, consent_id="deed-17", set="agreed")


def changed(row: LedgerRow, **fields: Any) -> LedgerRow:
    return LedgerRow.model_validate(row.model_dump() | fields)


def admit(
    content: bytes, *rows: LedgerRow, purpose: Any = "release_training", **more: Any
) -> AdmittedPicture:
    ledger = DataLedger(rows, withdrawn=more.pop("withdrawn", ()))
    return ledger.admit(content, more.pop("name", "one.webp"), purpose=purpose, now=NOW, **more)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_rendered_picture_is_given_out_for_every_purpose(
    content: bytes, row: LedgerRow, purpose: Purpose
) -> None:
    picture = admit(content, row, purpose=purpose)
    assert require_admitted(picture) is picture
    assert (picture.sha256, picture.row, picture.purpose) == (sha256_hex(content), row, purpose)
    assert (picture.frame.shape, picture.frame.dtype) == ((512, 512, 3), np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        picture.frame[0, 0, 0] = 1


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_real_person_who_agreed_is_given_out(
    content: bytes, real: LedgerRow, purpose: Purpose
) -> None:
    assert admit(content, real, purpose=purpose).row.is_of_real_people


def test_the_ledger_keeps_what_it_gave_out_and_only_that(content: bytes, row: LedgerRow) -> None:
    picture = Path(__file__).parents[2] / "docs" / "demo" / "persona2_0.webp"
    more = picture.read_bytes()
    rows = [row, *(changed(row, sha256=sha256_hex(one), path="x.webp") for one in (more, b"text"))]
    ledger = DataLedger(rows)
    assert list(ledger) == rows
    assert ledger.used == ()
    with pytest.raises(MediaError):
        ledger.admit(b"text", "x.webp", purpose="evaluation", now=NOW)
    for one in (more, content, content):
        ledger.admit(one, "x.webp", purpose="evaluation", now=NOW)
    assert ledger.used == tuple(sorted(rows[:2], key=lambda one: one.sha256))


def test_a_changed_file_has_no_row(content: bytes, row: LedgerRow) -> None:
    with pytest.raises(DataRefused, match=r"one\.webp is not in the data ledger"):
        admit(content + b"\0", row, name="somewhere/one.webp")


@pytest.mark.parametrize("purpose", ["illustration", "", "Evaluation", None, ["evaluation"]])
def test_a_purpose_that_nobody_knows_gets_nothing(
    content: bytes, row: LedgerRow, purpose: object
) -> None:
    with pytest.raises(DataRefused, match="no purpose of the data ledger") as caught:
        admit(content, row, purpose=purpose)
    assert "research_training" in caught.value.mend


def test_every_purpose_has_its_words() -> None:
    assert set(COVERING) == set(get_args(Purpose)) == set(PURPOSES)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_right_ends_at_its_second(content: bytes, row: LedgerRow, purpose: Purpose) -> None:
    with pytest.raises(DataRefused, match=r"the right to use one\.webp ended on 2026-11-21"):
        admit(content, changed(row, expires=NOW), purpose=purpose)
    assert admit(content, changed(row, expires=NOW + timedelta(microseconds=1)), purpose=purpose)


@pytest.mark.parametrize("expires", [None, NOW + timedelta(days=1)])
def test_a_time_without_a_zone_judges_nothing(
    content: bytes, row: LedgerRow, expires: datetime | None
) -> None:
    ledger = DataLedger([changed(row, expires=expires)])
    with pytest.raises(DataRefused, match="no zone"):
        ledger.admit(content, "x", purpose="evaluation", now=NOW.replace(tzinfo=None))


def test_each_use_needs_its_own_flag(content: bytes, row: LedgerRow) -> None:
    closed = changed(row, training_of_released_models=False, evaluation=False)
    with pytest.raises(DataRefused, match="weights that are released"):
        admit(content, closed)
    with pytest.raises(DataRefused, match="measuring"):
        admit(content, closed, purpose="evaluation")
    assert admit(content, closed, purpose="research_training")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_real_person_needs_a_consent_that_can_be_withdrawn(
    content: bytes, real: LedgerRow, purpose: Purpose
) -> None:
    with pytest.raises(DataRefused, match="names no consent"):
        admit(content, changed(real, consent_id=""), purpose=purpose)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("training-of-released-models", TRAINING),
        ("training-of-research-models", ["research_training"]),
        ("research, illustration-of-research", ["evaluation"]),
        ("evaluation", ["evaluation"]),
        ("illustration-of-research", []),
        ("no training-of-released-models", []),
        ("training-of-released-models excluded, no evaluation", []),
        ("everything", []),
        ("Research", []),
        (NO_REAL_PERSON, []),
        (f"{NO_REAL_PERSON}, ", []),
    ],
)
def test_a_consent_covers_what_it_names_and_nothing_else(
    content: bytes, real: LedgerRow, scope: str, covered: list[Purpose]
) -> None:
    row = changed(real, consent_scope=scope)
    for purpose in PURPOSES:
        if purpose in covered:
            assert admit(content, row, purpose=purpose)
        else:
            with pytest.raises(DataRefused, match=f"did not agree to {purpose}"):
                admit(content, row, purpose=purpose)


@pytest.mark.parametrize(
    "person", ["p-17", "persona", "persona:", "Persona:1", "persona:1 and p-17", "none\n", "nobody"]
)
def test_nobody_is_unreal_by_one_field_alone(content: bytes, row: LedgerRow, person: str) -> None:
    odd = changed(row, person=person)
    assert odd.is_of_real_people
    with pytest.raises(DataRefused, match="names no consent"):
        admit(content, odd)
    with pytest.raises(DataRefused, match="are asked"):
        rendered_row(content, "x.webp", set_name="demo", person=person)


def test_a_picture_without_anybody_is_of_no_real_people(row: LedgerRow) -> None:
    assert not changed(row, person="none").is_of_real_people
    assert changed(row, person="none", consent_scope="none needed").is_of_real_people


@pytest.mark.parametrize("withdrawn", [["deed-17"], {"deed-3", "deed-17"}, [" Deed-17\n"]])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_withdrawn_consent_is_none(
    content: bytes, real: LedgerRow, purpose: Purpose, withdrawn: Any
) -> None:
    with pytest.raises(DataRefused, match="was withdrawn") as caught:
        admit(content, real, purpose=purpose, withdrawn=withdrawn)
    assert caught.value.mend
    assert admit(content, real, purpose=purpose, withdrawn=["deed-1", "deed-170"])


@pytest.mark.parametrize("withdrawn", ["deed-17", "", [""], ["deed-1", " "]])
def test_withdrawn_consents_are_ids(row: LedgerRow, withdrawn: Any) -> None:
    with pytest.raises(DataRefused, match="a collection of ids"):
        DataLedger([row], withdrawn=withdrawn)


@pytest.mark.parametrize("purpose", TRAINING)
@pytest.mark.parametrize(
    "fields",
    [
        {"set": "london"},
        {"set": "clips"},
        {"path": "london/001_neutral.jpg"},
        {"path": "a/LONDON/b/001.jpg"},
        {"path": "a/ clips /001.jpg"},
        {"path": "\uff4c\uff4f\uff4e\uff44on/001.jpg"},
        {"path": "\u017fet/\uff43lip\u017f"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_sets_for_evaluation_train_nothing_whatever_their_rows_say(
    content: bytes, real: LedgerRow, fields: dict[str, str], purpose: Purpose
) -> None:
    row = changed(real, **fields)
    with pytest.raises(DataRefused, match="for evaluation only"):
        admit(content, row, purpose=purpose)
    assert admit(content, row, purpose="evaluation")


@pytest.mark.parametrize("name", ["london/1.jpg", "data\\Clips\\1.jpg", "../london/1.jpg"])
def test_a_file_that_lies_in_such_a_set_trains_nothing(
    content: bytes, row: LedgerRow, name: str
) -> None:
    with pytest.raises(DataRefused, match=r"^1\.jpg belongs to a set"):
        admit(content, row, name=name)
    assert admit(content, row, name="londoners/clips.jpg")


@pytest.mark.parametrize(
    "path",
    [
        *("/demo/a.webp", "../london/a.jpg", "demo/../london/a.jpg", "./a.jpg", "demo//a.jpg"),
        *(
            "demo\\a.jpg",
            "",
            " ",
            "demo/ ../a.jpg",
            "lon\u200bdon/a.jpg",
            "a\0.jpg",
            "a.jpg\n",
            "demo/",
        ),
        "a" * 1001,
    ],
)
def test_a_path_has_one_spelling(row: LedgerRow, path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        changed(row, path=path)


@pytest.mark.parametrize(
    "fields",
    [
        *({"set": name} for name in ("", "London", "../london", "a/b", "london ", "a\n")),
        *({"consent_id": name} for name in ("A", "a b", "a\n", "a,b")),
        *({"sha256": name} for name in ("", "A" * 64, "a" * 63)),
        {"kind": "video"},
        {"person": ""},
        {"training_of_released_models": "true"},
        {"evaluation": 1},
        {"expires": NOW.replace(tzinfo=None)},
        {"more": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_row_that_is_not_well_formed_is_none(row: LedgerRow, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(row, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"training_of_released_models": False},
        {"consent_id": "deed-2"},
        {"path": "london/other.webp"},
        {"expires": NOW},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_ledger_that_contradicts_itself_is_refused(
    row: LedgerRow, fields: dict[str, Any]
) -> None:
    for rows in ([row, changed(row, **fields)], [changed(row, **fields), row]):
        with pytest.raises(DataRefused, match="two rows"):
            DataLedger(rows)
    assert list(DataLedger([row, row])) == [row]


def test_what_only_looks_like_a_row_is_refused(row: LedgerRow) -> None:
    class Sub(LedgerRow):
        @property
        def is_of_real_people(self) -> bool:
            return False

    for odd in (None, row.model_dump(), Sub.model_validate(row.model_dump())):
        with pytest.raises(DataRefused, match="is not a row"):
            DataLedger([row, odd])  # type: ignore[list-item]


def test_a_ledger_is_read_as_it_was_written(
    tmp_path: Path, row: LedgerRow, real: LedgerRow
) -> None:
    rows = [row, changed(real, sha256="0" * 64, expires=NOW, added_at=NOW)]
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(ledger_bytes(rows))
    assert list(read_ledger(path)) == rows
    ledger = read_ledger(path, withdrawn=["deed-17"])
    with pytest.raises(DataRefused, match="was withdrawn"):
        ledger.require("0" * 64, "x", purpose="evaluation", now=NOW)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("field", ["sha256", "source", "licence", "consent_scope", "person"])
def test_a_row_says_where_a_picture_is_from_and_what_it_allows(
    tmp_path: Path, row: LedgerRow, field: str
) -> None:
    plain = json.loads(row.model_dump_json())
    for odd in (plain | {field: ""}, {k: v for k, v in plain.items() if k != field}):
        path = write(tmp_path / "l", row.model_dump_json(), json.dumps(odd))
        with pytest.raises(DataRefused, match=f"^line 2 .* not complete: {field}$"):
            read_ledger(path)


def test_a_refused_line_tells_nothing_of_the_person(tmp_path: Path, row: LedgerRow) -> None:
    odd = json.loads(row.model_dump_json()) | {"person": "Jane Doe", "kind": "Jane Doe"}
    with pytest.raises(DataRefused) as caught:
        read_ledger(write(tmp_path / "l", json.dumps(odd)))
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_lines_that_are_no_rows_are_refused(tmp_path: Path, row: LedgerRow) -> None:
    twice = row.model_dump_json()[:-1] + ',"training_of_released_models":true}'
    for line in ("{}", "not json", "", "[1]", '"text"', twice):
        with pytest.raises(DataRefused, match=r"^line 2 of the data ledger is not complete"):
            read_ledger(write(tmp_path / "l", row.model_dump_json(), line, row.model_dump_json()))
    with pytest.raises(StoreUnavailable):
        read_ledger(tmp_path / "absent")


def test_the_runs_of_a_consent_are_found_by_its_files(
    tmp_path: Path, row: LedgerRow, real: LedgerRow
) -> None:
    other = changed(real, sha256="1" * 64, consent_id="deed-18")
    unnamed = changed(real, consent_id="", training_of_released_models=False)
    runs = {
        "with": [real, other],
        "without": [other],
        "same file, no consent named": [unnamed],
        "empty": [],
    }
    paths = []
    for name, rows in runs.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(ledger_bytes(rows))
    assert runs_using("deed-17", paths) == (paths[0], paths[2])
    assert runs_using("Deed-18", iter(paths)) == (paths[0], paths[1])
    assert runs_using("deed-1", paths) == ()
    assert runs_using("deed-17", []) == ()
    with pytest.raises(DataRefused, match="without an id"):
        runs_using("", paths)
    with pytest.raises(StoreUnavailable):
        runs_using("deed-18", [*paths, tmp_path / "lost"])
    with pytest.raises(DataRefused, match="not complete"):
        runs_using("deed-18", [*paths, write(tmp_path / "broken", "{}")])


def test_an_admitted_picture_is_made_by_the_ledger_alone(content: bytes, row: LedgerRow) -> None:
    picture = admit(content, row)
    for make in (
        lambda: AdmittedPicture(picture.frame, picture.sha256, row, "evaluation"),
        lambda: AdmittedPicture(picture.frame, picture.sha256, row, "evaluation", object()),
        lambda: replace(picture, purpose="evaluation"),
        lambda: pickle.dumps(picture),
        lambda: copy.copy(picture),
        lambda: copy.deepcopy(picture),
    ):
        with pytest.raises((DataRefused, ValueError)):
            make()
    with pytest.raises(AttributeError):
        picture.purpose = "evaluation"  # type: ignore[misc]


def shell(picture: AdmittedPicture, *names: str) -> object:
    made = object.__new__(AdmittedPicture)
    for name in names:
        object.__setattr__(made, name, getattr(picture, name))
    return made


@pytest.mark.parametrize(
    "fake",
    [
        lambda picture: None,
        lambda picture: AdmittedPicture,
        lambda picture: picture.frame,
        lambda picture: picture.row,
        shell,
        lambda picture: shell(picture, "frame", "sha256", "row", "purpose"),
        lambda picture: object.__new__(type("Sub", (AdmittedPicture,), {})),
    ],
    ids=["nothing", "class", "frame", "row", "empty shell", "full shell", "subclass"],
)
def test_what_only_looks_admitted_is_refused(
    content: bytes, row: LedgerRow, fake: Callable[[AdmittedPicture], object]
) -> None:
    with pytest.raises(DataRefused, match="that the data ledger gave out"):
        require_admitted(fake(admit(content, row)))


def test_a_disturbed_picture_keeps_its_row(content: bytes, row: LedgerRow) -> None:
    picture = admit(content, row, purpose="research_training")
    made = picture.disturbed(np.random.default_rng(3))
    assert require_admitted(made) is made
    assert (made.sha256, made.row, made.purpose) == (picture.sha256, row, "research_training")
    assert not made.frame.flags.writeable
    assert not np.array_equal(made.frame, picture.frame)
    filled = shell(picture, "frame", "sha256", "row", "purpose")
    with pytest.raises(DataRefused):
        AdmittedPicture.disturbed(filled, np.random.default_rng(3))  # type: ignore[arg-type]
