"""The two tables: every cell has one meaning, and no pair that can occur is without one."""

from __future__ import annotations

import itertools
import re
from typing import get_args

import pytest

from provenance.clash import (
    LABELS,
    MARKS,
    ContentSays,
    LabelSays,
    ManifestSays,
    MarkSays,
    compare_labels,
    compare_mark,
)
from provenance.evidence import LabelMeaning, Meaning

# Row by row: same, another, unplaced, absent, unreadable, unchecked.
MARK_TABLE: dict[ManifestSays, tuple[str | None, ...]] = {
    "bound": (
        "consistent: holds",
        "clash: fails",
        None,
        "mark lost: warns",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
    "named": (
        "consistent, odd: holds",
        "clash: fails",
        None,
        "mark lost: warns",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
    "silent": (
        "clash: fails",
        "clash: fails",
        "clash: fails",
        "manifest only: warns",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
    "other": (
        "other manifest over our mark: warns",
        "other manifest over our mark: warns",
        "other manifest over our mark: warns",
        "manifest only: absent",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
    "broken": (
        "changed after release: holds",
        "clash: fails",
        "mark unplaced: holds",
        "manifest broken: warns",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
    "none": (
        "recoverable: holds",
        "unknown release: fails",
        "mark unplaced: warns",
        "nothing found: absent",
        "mark unreadable: warns",
        "unchecked: unchecked",
    ),
}
# Row by row: ai, not ai, none, disagreeing.
LABEL_TABLE: dict[ContentSays, tuple[str, ...]] = {
    "ai": (
        "labels agree: holds",
        "labels deny AI: fails",
        "labels missing: warns",
        "labels disagree: warns",
    ),
    "not ai": (
        "labels claim AI: warns",
        "labels agree: holds",
        "no labels: absent",
        "labels disagree: warns",
    ),
    "none": (
        "label alone: warns",
        "label alone: absent",
        "no labels: absent",
        "labels disagree: warns",
    ),
}


@pytest.mark.parametrize(
    ("manifest", "mark"), list(itertools.product(get_args(ManifestSays), get_args(MarkSays)))
)
def test_every_cell_of_manifest_and_mark(manifest: ManifestSays, mark: MarkSays) -> None:
    wanted = MARK_TABLE[manifest][get_args(MarkSays).index(mark)]
    if wanted is None:
        with pytest.raises(KeyError):
            compare_mark(manifest, mark)
        return
    cell = compare_mark(manifest, mark)
    assert f"{cell.meaning}: {cell.state}" == wanted
    assert len(cell.words) > 20


@pytest.mark.parametrize(
    ("content", "labels"), list(itertools.product(get_args(ContentSays), get_args(LabelSays)))
)
def test_every_cell_of_labels(content: ContentSays, labels: LabelSays) -> None:
    cell = compare_labels(content, labels)
    wanted = LABEL_TABLE[content][get_args(LabelSays).index(labels)]
    assert f"{cell.meaning}: {cell.state}" == wanted
    assert len(cell.words) > 20


def test_the_tables_use_every_meaning_and_no_other() -> None:
    assert {cell.meaning for cell in MARKS.values()} == set(get_args(Meaning))
    assert {cell.meaning for cell in LABELS.values()} == set(get_args(LabelMeaning))


def test_a_clash_always_fails_and_silence_never_holds() -> None:
    for cell in MARKS.values():
        assert (cell.meaning == "clash") <= (cell.state == "fails")
    for (_, mark), cell in MARKS.items():
        if mark in ("absent", "unreadable", "unchecked"):
            assert cell.state not in ("holds", "fails")
    for (_, labels), label_cell in LABELS.items():
        if labels == "none":
            assert label_cell.state != "holds"


def test_no_cell_says_real() -> None:
    words = [cell.words for cell in (*MARKS.values(), *LABELS.values())]
    assert not any(re.search(r"\breal\b|\bgenuine\b|\bfake\b", text) for text in words)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        MARKS["bound", "another"] = MARKS["bound", "same"]  # type: ignore[index]
