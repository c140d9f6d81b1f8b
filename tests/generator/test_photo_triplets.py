"""Photographs train as reverse triplets: their own pixels are the label, and only with consent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.photo_triplets import Album, build_photo_samples, list_reverse
from policies.digest import sha256_hex
from provenance.data_ledger import DataLedger, DataRefused, LedgerRow, Purpose, rendered_row
from provenance.watermark.learned.errors import TrainingRefused

NOW = datetime(2026, 11, 21, tzinfo=UTC)
# Rendered people in the part of consenting ones: what is tested is what the ledger is asked.
NAMES = {"a0.webp": "persona1_0", "a1.webp": "persona1_1", "b0.webp": "persona2_0"}


def row_of(content: bytes, path: str, **changes: object) -> LedgerRow:
    consented = {
        "person": f"subject:{path[0]}",
        "consent_id": f"c-{path[0]}",
        "consent_scope": "training-of-released-models",
    }
    row = rendered_row(content, path, set_name="studio", person="persona:1")
    return LedgerRow.model_validate(row.model_dump() | consented | changes)


@pytest.fixture(scope="module")
def folder(people: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for path, name in NAMES.items():
        (folder / path).write_bytes(people.content(name))
    return folder


@pytest.fixture
def album(folder: Path) -> Callable[..., Album]:
    """`album(withdrawn=..., purpose=..., **changes of every row)`."""

    def make(
        purpose: Purpose = "release_training", withdrawn: tuple[str, ...] = (), **changes: object
    ) -> Album:
        rows = [row_of((folder / path).read_bytes(), path, **changes) for path in NAMES]
        return Album(folder, DataLedger(rows, withdrawn=withdrawn), purpose, NOW)

    return make


def build(album: Album, people: Any, variants: int = 1) -> Any:
    return build_photo_samples(album, people.analyser, variants=variants, side_px=64, seed=3)


def test_the_photograph_is_the_label_and_somebody_else_lies_on_the_target(
    album: Callable[..., Album], people: Any
) -> None:
    samples, rows = build(album(), people)
    assert {row.path for row in rows} == set(NAMES)
    assert [row.sha256 for row in rows] == sorted(row.sha256 for row in rows)
    assert {sample.kind for sample in samples} == {"reverse"}
    assert len(samples) == 2, "each photograph of the one who is on two, by the other one"
    for sample in samples:
        target, label = (sample.pictures[k].astype(float) for k in (0, 4))
        inside = sample.mask > 200
        assert np.abs(target - label)[inside].mean() > 4, "the face on the target is another's"
        assert np.abs(target - label)[sample.mask == 0].mean() < 1.5, "around it nothing changed"
        own = people.face("persona1_0").id_vector
        away, near = (np.linalg.norm(v - own) for v in (sample.id_target, sample.id_source))
        assert near < away
        assert np.isfinite(sample.label_points).all()


def test_variants_are_disturbed_the_same_way_every_time(
    album: Callable[..., Album], people: Any
) -> None:
    (first, _), (second, _) = build(album(), people, 2), build(album(), people, 2)
    assert len(first) == 4
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.pictures, other.pictures)
    plain, changed = first[:2]
    assert not np.array_equal(plain.pictures[1], changed.pictures[1])
    (alone, _) = build(album(), people)
    assert np.array_equal(alone[0].pictures, plain.pictures)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"consent_scope": "research"}, "did not agree to release_training"),
        ({"consent_id": ""}, "names no consent"),
        ({"training_of_released_models": False}, "weights that are released"),
        ({"withdrawn": ("c-b",)}, "was withdrawn"),
        ({"set": "london"}, "evaluation only"),
        ({"expires": NOW}, "ended"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_photographs_without_a_consent_to_this_are_refused(
    album: Callable[..., Album], people: Any, given: dict[str, Any], why: str
) -> None:
    with pytest.raises(DataRefused, match=why):
        build(album(**given), people)


def test_a_file_that_the_ledger_does_not_know_is_refused(
    folder: Path, people: Any, tmp_path: Path
) -> None:
    (tmp_path / "a0.webp").write_bytes((folder / "a0.webp").read_bytes())
    with pytest.raises(DataRefused, match="not in the data ledger"):
        build(Album(tmp_path, DataLedger([]), "release_training", NOW), people)


def test_one_photograph_of_everybody_is_no_triplet(people: Any, tmp_path: Path) -> None:
    content = people.content("persona1_0")
    (tmp_path / "a0.webp").write_bytes(content)
    ledger = DataLedger([row_of(content, "a0.webp")])
    with pytest.raises(TrainingRefused, match="no reverse triplet") as caught:
        build(Album(tmp_path, ledger, "release_training", NOW), people)
    assert "two photographs of one person" in caught.value.mend


def test_lenders_take_turns_and_are_never_the_person_itself() -> None:
    rows = [
        row_of(f"{p}{k}".encode(), f"{p}{k}.webp", person=f"subject:{p}")
        for p in "abcd"
        for k in range(3)
    ]
    triplets = list(list_reverse(rows))
    assert len(triplets) == 4 * 3 * 2
    assert triplets == list(list_reverse(rows[::-1]))
    for label, source, lender in triplets:
        assert label.person == source.person != lender.person
        assert label.sha256 != source.sha256
    lent = Counter(t.lender.sha256 for t in triplets)
    assert max(lent.values()) <= 4
    assert len(lent) >= 9
    assert not list(list_reverse(rows[:3])), "nobody else is there"
    nobody = [row.model_copy(update={"person": "none"}) for row in rows[:3]]
    found = list(list_reverse([*nobody, *rows[3:]]))
    assert {t.label.person for t in found} == {f"subject:{p}" for p in "bcd"}
    assert "none" in {t.lender.person for t in found}, "a face may be lent by nobody in particular"
    assert sha256_hex(b"a0") in lent
