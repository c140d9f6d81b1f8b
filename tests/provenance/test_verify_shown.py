"""Verifying copies that were cropped, turned, framed or forged: marks are read, content decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from provenance import case
from provenance.errors import Tampered, Unreadable
from provenance.fingerprints import MIN_QUALITY
from provenance.media import decode, encode
from provenance.recovery import compare

PERSON = "image/png"


def crop(frame: Any) -> Any:
    return np.ascontiguousarray(frame[37:490, 100:])


def rotate(frame: Any, degrees: float = 5) -> Any:
    """Turn to the left on the same canvas, with black corners."""
    h, w = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(frame, matrix, (w, h), flags=cv2.INTER_CUBIC), np.uint8)


def letterbox(frame: Any) -> Any:
    bars = cv2.copyMakeBorder(frame, 70, 70, 0, 0, cv2.BORDER_CONSTANT)
    return np.asarray(bars, np.uint8)


def shrink_and_crop(frame: Any) -> Any:
    half = cv2.resize(frame, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(half[10:280, 20:300])


def web_page(frame: Any) -> Any:
    page = np.full((frame.shape[0] + 200, frame.shape[1] + 100, 3), 245, np.uint8)
    page[120 : 120 + frame.shape[0], 50 : 50 + frame.shape[1]] = frame
    cv2.putText(page, "breaking news", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0,) * 3, 3)
    return page


def paste(frame: Any, other: Any) -> Any:
    changed = frame.copy()
    changed[200:260, 200:250] = other[200:260, 200:250]
    return changed


def verify(studio: Any, frame: Any) -> Any:
    return studio.verifier.verify(encode(frame, "image/jpeg"))


def refuse(studio: Any, frame: Any, error: type[Exception] = Tampered) -> Any:
    with pytest.raises(error) as caught:
        verify(studio, frame)
    return caught.value


@pytest.fixture
def frame(gallery: Any) -> Any:
    """The pixels of the released PNG."""
    return decode(gallery[1][PERSON].data).frame


@pytest.fixture
def other(gallery: Any) -> Any:
    return gallery[0].picture("persona7_0").frame


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (crop, "of the released picture; only that was compared"),
        (rotate, "turned 5.0 degrees to the left; only that"),
        (letterbox, "shows 100 % of the released picture; only that"),
        (shrink_and_crop, "at 60 % size"),
        (lambda frame: np.ascontiguousarray(np.rot90(frame)), "turned 90.0 degrees to the left"),
        (lambda frame: np.ascontiguousarray(frame[:, ::-1]), "picture, mirrored"),
    ],
    ids=["crop", "turned", "letterbox", "smaller and cropped", "quarter turn", "mirrored"],
)
def test_a_copy_of_a_part_is_recovered_and_says_of_what(
    gallery: Any, frame: Any, how: Callable[[Any], Any], words: str
) -> None:
    studio, released = gallery
    report = verify(studio, how(frame))
    assert (report.verdict, report.mark_id) == ("recovered", released[PERSON].mark_id)
    said = {line.subject: line for line in report.evidence}
    assert words in said["fingerprint"].words
    assert said["fingerprint"].state == said["likeness"].state == "holds"


@pytest.mark.parametrize("how", [crop, rotate, letterbox], ids=lambda how: how.__name__)
@pytest.mark.parametrize("first", [True, False], ids=["pasted first", "pasted last"])
def test_a_face_pasted_into_a_part_is_tampering(
    gallery: Any, frame: Any, other: Any, how: Callable[[Any], Any], first: bool
) -> None:
    studio = gallery[0]
    copy = how(paste(frame, other)) if first else paste(how(frame), how(other))
    error = refuse(studio, copy)
    assert {line.subject: line.state for line in error.evidence}["likeness"] == "fails"
    assert "a part of this picture was changed" in error.message


def test_a_web_page_contains_a_released_picture_and_is_no_copy(gallery: Any, frame: Any) -> None:
    error = refuse(gallery[0], web_page(frame))
    assert "contains a picture that was released here" in error.message
    said = [line for line in error.evidence if line.subject in ("fingerprint", "likeness")]
    assert [line.state for line in said] == ["holds", "holds", "fails"]
    assert "shows 100 % of the released picture" in said[0].words


@pytest.mark.parametrize("how", [lambda f: f, crop, rotate], ids=["as it is", "crop", "turned"])
def test_a_mark_copied_to_another_picture_is_a_mismatch(
    gallery: Any, frame: Any, other: Any, how: Callable[[Any], Any]
) -> None:
    """The copy attack: what the mark changed, added to a picture that was never released."""
    studio, released = gallery
    residual = frame.astype(np.int16) - studio.picture("persona3_0").frame
    forged = how(np.clip(other + residual, 0, 255).astype(np.uint8))
    error = refuse(studio, forged)
    said = {line.subject: line for line in error.evidence}
    assert released[PERSON].mark_id in said["watermark"].words
    assert said["fingerprint"].state == "fails"
    assert "the mark is that of another picture" in error.message


def test_a_part_of_too_little_structure_proves_nothing(
    gallery: Any, frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flat part is like any flat picture; that is no tampering, and no copy either."""
    studio = gallery[0]

    def compare_poorly(*args: Any, **options: Any) -> Any:
        return replace(compare(*args, **options), quality=MIN_QUALITY - 1)

    monkeypatch.setattr(case, "compare_picture", compare_poorly)
    error = refuse(studio, crop(frame), Unreadable)
    found = {line.subject: line.state for line in error.evidence}
    assert found["fingerprint"] == "warns"
    assert "likeness" not in found
