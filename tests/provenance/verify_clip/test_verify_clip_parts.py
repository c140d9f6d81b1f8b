"""What may be said about a video of several parts, and about marks that lead to no release."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from provenance.errors import (
    Tampered,
    Unmarked,
    Unreadable,
)
from provenance.verify import Verifier
from provenance.watermark import Detection

# ---------------------------------------------------------------------- what was put together


def test_two_releases_cut_together_are_tampering(
    verifier: Verifier,
    film: list[Any],
    sequel: Any,
    films: Any,
    mark_id: str,
    tmp_path: Path,
    refused: Any,
) -> None:
    both = films.develop(tmp_path / "a.mp4", film[:3] + films.project(sequel[0])[3:])
    found = refused(verifier, both, Tampered, "parts of several releases were cut together")
    assert found["watermark"] == {"warns", "fails"}
    with pytest.raises(Tampered) as caught:
        verifier.verify(both)
    [line] = [x for x in caught.value.evidence if x.subject == "watermark" and x.state == "fails"]
    assert line.words == f"marks of {', '.join(sorted((mark_id, sequel[1].mark_id)))}"


@pytest.mark.parametrize("marked", [True, False])
def test_a_release_with_a_second_of_something_else_is_not_recovered(
    verifier: Verifier,
    film: list[Any],
    worn: list[Any],
    films: Any,
    demo_picture: Any,
    marked: bool,
    tmp_path: Path,
    *,
    refused: Any,
) -> None:
    foreign = films.shoot(demo_picture("persona6_0"), 3)
    mixed = films.develop(tmp_path / "a.mp4", (film if marked else worn)[:3] + foreign)
    if marked:
        found = refused(verifier, mixed, Tampered, "not every frame is from it")
        assert found["watermark"] == {"holds"}
    else:
        found = refused(verifier, mixed, Unmarked, "nothing can be said")
        assert found["watermark"] == {"absent"}
    assert found["likeness"] == {"warns"}
    assert "fingerprint" not in found


@pytest.mark.parametrize("onto", ["video", "picture"])
def test_a_mark_copied_onto_something_else_is_tampering(
    verifier: Verifier,
    films: Any,
    demo_picture: Any,
    mark_id: str,
    onto: str,
    tmp_path: Path,
    *,
    refused: Any,
    around: Any,
) -> None:
    copied = Detection(mark_id, 1, "read", 1e-30, 20.0, 1)
    watermark = around(verifier.watermark, detect=lambda _frame, **_how: copied)
    fooled = dataclasses.replace(verifier, watermark=watermark)
    other = demo_picture("persona6_0")
    content = other if onto == "picture" else films.develop(tmp_path / "a.mp4", films.shoot(other))
    found = refused(fooled, content, Tampered, "not every frame is from it")
    assert found["likeness"] == {"warns"}


# ---------------------------------------------------------------------- what leads to no release


UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)


def test_a_video_that_was_never_released_is_unmarked(
    verifier: Verifier, premiere: Any, tmp_path: Path, refused: Any
) -> None:
    found = refused(verifier, premiere[0].clip.path, Unmarked, "no manifest and no readable mark")
    # The target of the premiere is like it, but for the label and the mark.
    assert found.pop("likeness", {"warns"}) == {"warns"}
    assert found == {
        name: {"absent"}
        for name in ("signature", "trust lists", "labels", "watermark", "agreement")
    }


def test_a_mark_that_cannot_be_read_is_not_absent(
    verifier: Verifier,
    file: Path,
    film: list[Any],
    films: Any,
    tmp_path: Path,
    refused: Any,
    around: Any,
) -> None:
    found = {"detect": lambda *_, **_how: UNREADABLE, "detect_clip": lambda _: UNREADABLE}
    watermark = around(verifier.watermark, **found)
    blurred = dataclasses.replace(verifier, watermark=watermark)
    copy = films.develop(tmp_path / "a.mp4", film)
    assert refused(blurred, copy, Unreadable, "a mark is present")["watermark"] == {"warns"}
    report = blurred.verify(file)
    assert (report.verdict, report.meaning) == ("authentic", "mark unreadable")


def test_a_mark_of_no_release_is_tampering(
    verifier: Verifier, film: list[Any], films: Any, tmp_path: Path, refused: Any, around: Any
) -> None:
    archive = dataclasses.replace(
        verifier.archive,  # type: ignore[type-var]
        registry=around(verifier.archive.registry, by_mark=lambda _id: None),  # type: ignore[union-attr]
    )
    copy = films.develop(tmp_path / "a.mp4", film)
    forgetful = dataclasses.replace(verifier, archive=archive)
    refused(forgetful, copy, Tampered, "a release that never happened")
