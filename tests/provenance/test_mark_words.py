"""Marks are told in looks: what is in some of them is not said of all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from provenance.clash import ManifestSays
from provenance.evidence import State
from provenance.mark_words import state_mark, state_quote
from provenance.watermark import Detection

ONE, TWO = "a" * 12, "b" * 12


def exhibit(*ids: str, marked: tuple[int, int], readable: bool = True) -> Any:
    named = ids[0] if len(ids) == 1 and readable else None
    state: Any = "read" if named else "present_unreadable"
    mark = Detection(named, 1 if named else None, state, 1e-9, 9.0, 1) if marked[0] else None
    return SimpleNamespace(ids=ids, mark=mark, marked=marked)


@pytest.mark.parametrize(
    ("marked", "manifest", "weight", "state", "words"),
    [
        ((2, 2), "bound", "holds", "holds", f"carries {ONE} in 2 of 2 looks (by chance"),
        ((2, 22), "bound", "holds", "warns", f"carries {ONE} in 2 of 22 looks (by chance"),
        ((2, 22), "named", "holds", "warns", f"carries {ONE} in 2 of 22 looks (by chance"),
        ((2, 22), "none", "warns", "holds", f"carries {ONE} in 2 of 22 looks (by chance"),
        ((1, 1), "bound", "holds", "holds", f"carries {ONE} (by chance"),
        ((3, 3), "bound", "fails", "fails", "but the manifest names cc"),
        ((0, 3), "bound", "warns", "warns", "the mark the manifest names is not there"),
        ((0, 3), "other", "absent", "absent", "no mark of this key"),
    ],
)
def test_a_mark_is_told_by_its_looks(
    marked: tuple[int, int], manifest: ManifestSays, weight: State, state: State, words: str
) -> None:
    line = state_mark(exhibit(ONE, marked=marked), bound="cc", manifest=manifest, weight=weight)
    assert (line.subject, line.state) == ("watermark", state)
    assert words in line.words


def test_marks_without_one_id_warn() -> None:
    blurred = exhibit(marked=(1, 3))
    line = state_mark(blurred, bound=None, manifest="none", weight="warns")
    assert (line.state, line.words) == (
        "warns",
        "a mark is present (by chance at most 1e-09), its id is unreadable",
    )
    both = exhibit(ONE, TWO, marked=(2, 3))
    line = state_mark(both, bound=None, manifest="none", weight="warns")
    assert line.state == "warns"
    assert line.words.startswith(f"looks carry different marks, {ONE}, {TWO} (")


def test_a_quotation_is_in_some_looks_and_not_in_all() -> None:
    for marked in ((0, 3), (3, 3), (1, 1)):
        assert state_quote(exhibit(ONE, marked=marked)) is None
    said = state_quote(exhibit(ONE, TWO, marked=(2, 21)))
    assert said is not None
    assert (said.state, said.words) == (
        "warns",
        f"2 of 21 looks carry the mark of a release ({ONE}, {TWO}): "
        "it quotes what was released here",
    )
    blurred = state_quote(exhibit(marked=(1, 3)))
    assert blurred is not None
    assert "(no readable id)" in blurred.words
