"""What may be said about a copy of a released video, whose manifest was stripped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import provenance.exhibit
from policies.errors import StoreUnavailable
from provenance.errors import (
    Tampered,
    Unmarked,
    Unreadable,
)
from provenance.media import decode, encode
from provenance.verify import Verifier
from provenance.video import VideoLimits, VideoTooLarge

# ------------------------------------------------------------------------------ what is found again


COPIES: dict[str, Callable[[Any, Path, list[Any]], Path]] = {
    "coded anew": lambda films, to, film: films.develop(to / "a.mp4", film, options={"crf": "20"}),
    "cut": lambda films, to, film: films.develop(to / "a.mp4", film[2:], options={"crf": "20"}),
    "HEVC": lambda films, to, film: films.develop(
        to / "a.mp4", film, codec="libx265", options={"crf": "20", "x265-params": "log-level=none"}
    ),
    "QuickTime": lambda films, to, film: films.develop(to / "a.mov", film),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_recovered_by_its_mark(
    verifier: Verifier,
    film: list[Any],
    films: Any,
    premiere: Any,
    how: str,
    tmp_path: Path,
    states: Any,
) -> None:
    copy = COPIES[how](films, tmp_path, film)
    report = verifier.verify(copy)
    out = premiere[2]
    assert (report.verdict, report.origin, report.consent) == (
        "recovered",
        "facewarrant",
        "current",
    )
    assert (report.manifest_id, report.mark_id) == (out.manifest_id, out.mark_id)
    assert report.meaning == "recoverable"
    found = states(report.evidence)
    assert found["signature"] == found["labels"] == {"absent"}
    for subject in ("watermark", "fingerprint", "likeness", "trust", "consent", "log", "release"):
        assert found[subject] == {"holds"}
    assert verifier.verify(copy.read_bytes()) == report
    assert sorted(tmp_path.iterdir()) == [copy], "nothing is written beside a file"


def test_a_copy_without_its_mark_is_recovered_by_its_looks(
    verifier: Verifier, worn_copy: Path, mark_id: str, states: Any
) -> None:
    report = verifier.verify(worn_copy)
    assert (report.verdict, report.mark_id, report.meaning) == (
        "recovered",
        mark_id,
        "nothing found",
    )
    found = states(report.evidence)
    assert found["watermark"] == {"absent"}
    assert found["fingerprint"] == found["likeness"] == {"holds"}


def test_without_a_watermark_key_a_copy_is_recovered_by_its_looks(
    verifier: Verifier, film: list[Any], films: Any, mark_id: str, tmp_path: Path, states: Any
) -> None:
    keyless = dataclasses.replace(verifier, watermark=None)
    report = keyless.verify(films.develop(tmp_path / "a.mp4", film))
    assert (report.verdict, report.mark_id) == ("recovered", mark_id)
    assert states(report.evidence)["watermark"] == {"unchecked"}


@pytest.mark.parametrize("marked", [True, False])
def test_a_still_of_a_video_is_recovered(
    verifier: Verifier, film: list[Any], worn: list[Any], mark_id: str, marked: bool
) -> None:
    still = encode((film if marked else worn)[3], "image/jpeg")
    report = verifier.verify(still)
    assert (report.verdict, report.mark_id) == ("recovered", mark_id)
    [line] = [line for line in report.evidence if line.subject == "likeness"]
    assert "1 of 1 looks, in 1 seconds" in line.words


def test_a_slideshow_of_a_released_picture_is_recovered(
    verifier: Verifier, gallery: Any, films: Any, tmp_path: Path
) -> None:
    out = gallery[1]["image/png"]
    show = films.develop(tmp_path / "a.mp4", [decode(out.data).frame] * 4, rate=2)
    report = verifier.verify(show)
    assert (report.verdict, report.mark_id) == ("recovered", out.mark_id)


def test_a_video_of_another_codec_is_held_in_memory_up_to_a_size(
    verifier: Verifier,
    film: list[Any],
    films: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    copy = COPIES["HEVC"](films, tmp_path, film)
    for size, fits in ((copy.stat().st_size, True), (copy.stat().st_size - 1, False)):
        limits = VideoLimits(file_bytes=size, min_seconds=0.0)
        monkeypatch.setattr(provenance.exhibit, "SCAN_LIMITS", limits)
        if fits:
            assert verifier.verify(copy).verdict == "recovered"
        else:
            with pytest.raises(VideoTooLarge):
                verifier.verify(copy)


# ------------------------------------------------------------------------------ what leads nowhere


def test_without_an_archive_a_mark_leads_nowhere(
    verifier: Verifier, film: list[Any], worn_copy: Path, films: Any, tmp_path: Path, refused: Any
) -> None:
    alone = dataclasses.replace(verifier, archive=None)
    marked = films.develop(tmp_path / "a.mp4", film)
    found = refused(alone, marked, Unreadable, "does not lead to a release here")
    assert found["watermark"] == {"holds"}
    refused(alone, worn_copy, Unmarked, "no manifest and no readable mark")


@pytest.mark.parametrize("marked", [True, False])
def test_a_lost_output_is_said_and_not_taken_for_nothing_found(
    verifier: Verifier,
    film: list[Any],
    worn_copy: Path,
    films: Any,
    marked: bool,
    tmp_path: Path,
    around: Any,
) -> None:
    def gone(sha256: str, _to: Path) -> None:
        raise StoreUnavailable(f"the store does not give {sha256}")

    archive = verifier.archive
    assert archive is not None
    lost = dataclasses.replace(archive, store=around(archive.store, get_file=gone))
    copy = films.develop(tmp_path / "a.mp4", film) if marked else worn_copy
    with pytest.raises(StoreUnavailable, match="does not give"):
        dataclasses.replace(verifier, archive=lost).verify(copy)


def test_a_kept_manifest_that_is_not_trusted_recovers_nothing(
    verifier: Verifier, film: list[Any], films: Any, other_pki: Any, tmp_path: Path, refused: Any
) -> None:
    stranger = dataclasses.replace(verifier, anchors=other_pki.anchors)
    copy = films.develop(tmp_path / "a.mp4", film)
    found = refused(stranger, copy, Tampered, "the kept manifest does not verify")
    assert found["trust"] == {"fails"}
