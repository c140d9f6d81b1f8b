"""Marks are told in looks: what is in some of them is not said of all."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from provenance.assertions import SoftBinding
from provenance.clash import ManifestSays
from provenance.evidence import State
from provenance.fingerprints import ALG, MATCH_DISTANCE, MIN_QUALITY, Fingerprint
from provenance.mark_words import state_mark, state_print, state_quote
from provenance.reading import ManifestReading, Verdict
from provenance.watermark import Detection, Geometry

ONE, TWO = "a" * 12, "b" * 12


def exhibit(
    *ids: str, marked: tuple[int, int], readable: bool = True, together: bool = False
) -> Any:
    named = ids[0] if len(ids) == 1 and readable else None
    state: Any = "read" if named else "present_unreadable"
    mark: Any = Detection(named, 1 if named else None, state, 1e-9, 9.0, 1)
    if not marked[0] and not together:
        mark = None
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


def lying(scale: float = 1.0, turn: float = 0.0, *, mirrored: bool = False) -> Geometry:
    """How a pattern lies that was mirrored, turned counter-clockwise by degrees, and scaled."""
    angle = math.radians(turn)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    side = -1.0 if mirrored else 1.0
    return Geometry(((side * a, b, 7.0), (side * -b, a, 9.0), (0.0, 0.0, 1.0)))


@pytest.mark.parametrize(
    ("geometry", "key", "words"),
    [
        (None, 0, ""),
        (lying(), 0, ""),
        (lying(1.0009, 359.96), 0, ""),
        (lying(0.9991, 0.04), 0, ""),
        (lying(0.5), 0, ", read at 50 % size"),
        (lying(turn=5), 0, ", read turned 5.0 degrees counter-clockwise"),
        (lying(turn=355), 0, ", read turned 5.0 degrees clockwise"),
        (lying(turn=180), 0, ", read turned 180.0 degrees counter-clockwise"),
        (lying(mirrored=True), 0, ", read mirrored"),
        (lying(), 1, ", read with key 2 of the ring"),
        (
            lying(1.5, 90, mirrored=True),
            3,
            ", read at 150 % size, turned 90.0 degrees counter-clockwise, mirrored, "
            "with key 4 of the ring",
        ),
    ],
)
def test_a_mark_is_told_by_how_it_lies_and_by_its_key(
    geometry: Geometry | None, key: int, words: str
) -> None:
    shown = exhibit(ONE, marked=(1, 1))
    shown.mark = replace(shown.mark, geometry=geometry, key_index=key)
    line = state_mark(shown, bound=ONE, manifest="bound", weight="holds")
    assert line.words == f"carries {ONE}{words} (by chance at most 1e-09)"


def test_a_mark_of_looks_together_is_not_said_of_each() -> None:
    shown = exhibit(ONE, marked=(0, 5), together=True)
    for manifest, state in (("none", "holds"), ("bound", "warns")):
        line = state_mark(shown, bound=ONE, manifest=manifest, weight="holds")  # type: ignore[arg-type]
        assert line.state == state
        assert line.words.startswith(f"carries {ONE} in frames taken together (")
    quote = state_quote(shown)
    assert quote is not None
    assert quote.words.startswith(f"frames taken together carry the mark of a release ({ONE})")


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


def looked(quality: int = 100) -> Any:
    """A file whose own fingerprint is all zeros, and that of a later second all ones."""
    asked = (Fingerprint("0" * 64, quality), Fingerprint("f" * 64, quality))
    return SimpleNamespace(sight=SimpleNamespace(asked=asked))


def naming(bits: int, verdict: Verdict = "trusted") -> ManifestReading:
    """A manifest whose fingerprint has so many bits set."""
    value = ((1 << bits) - 1).to_bytes(32, "big")
    return ManifestReading(verdict, soft_bindings=(SoftBinding(ALG, value),))


@pytest.mark.parametrize(
    ("bits", "quality", "state", "words"),
    [
        (0, 100, "holds", "0 of 256 bits differ from the manifest's own fingerprint, 31 may"),
        (MATCH_DISTANCE, 100, "holds", "31 of 256 bits differ"),
        (MATCH_DISTANCE, 0, "holds", "31 of 256 bits differ"),
        (MATCH_DISTANCE + 1, 100, "fails", "31 may: it was made of another picture"),
        (MATCH_DISTANCE + 1, MIN_QUALITY, "fails", "32 of 256 bits differ"),
        (MATCH_DISTANCE + 1, MIN_QUALITY - 1, "warns", "31 may; too little structure to compare"),
        (256, 0, "warns", "256 of 256 bits differ"),
    ],
)
def test_the_manifests_fingerprint_is_that_of_the_pixels(
    bits: int, quality: int, state: State, words: str
) -> None:
    line = state_print(looked(quality), naming(bits))
    assert line is not None
    assert (line.subject, line.state) == ("fingerprint", state)
    assert words in line.words


def test_no_fingerprint_is_believed_of_a_manifest_that_does_not_fit() -> None:
    for verdict in ("invalid", "unreadable", "no_manifest", "remote_manifest_not_fetched"):
        assert state_print(looked(), naming(256, verdict)) is None
    for intact in ("trusted", "intact_untrusted", "ingredient_invalid"):
        line = state_print(looked(), naming(256, intact))
        assert line is not None
        assert line.state == "fails"


def test_a_manifest_of_an_older_version_names_no_fingerprint() -> None:
    mark = SoftBinding("org.facewarrant.spread.2", bytes(6))
    assert state_print(looked(), ManifestReading("trusted", soft_bindings=(mark,))) is None
