"""Verifying a copy whose manifest and mark are both gone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from provenance.errors import Unmarked
from provenance.media import decode, encode


def blind(studio: Any) -> Any:
    """A verifier that finds no mark, as if it were gone."""
    watermark = SimpleNamespace(alg=studio.watermark.alg, detect=lambda _frame: None)
    return replace(studio.verifier, watermark=watermark)


def small(data: bytes) -> Any:
    return cv2.resize(decode(data).frame, (160, 160), interpolation=cv2.INTER_AREA)


def test_a_copy_without_manifest_and_mark_is_recovered_by_its_looks(gallery: Any) -> None:
    studio, released = gallery
    one = released["image/png"]
    mirrored = np.ascontiguousarray(small(one.data)[:, ::-1])
    for frame, lies in ((small(one.data), "as released"), (mirrored, "mirrored")):
        report = blind(studio).verify(encode(frame, "image/jpeg"))
        assert (report.verdict, report.manifest_id) == ("recovered", one.manifest_id)
        assert report.mark_id == one.mark_id
        said = {line.subject: line for line in report.evidence}
        assert said["fingerprint"].words.endswith(f"it lies {lies}")
        assert said["likeness"].state == "holds"
        assert said["log"].state == "holds"


def test_an_edited_copy_without_a_mark_is_not_recovered(gallery: Any) -> None:
    studio, released = gallery
    frame = small(released["image/png"].data).copy()
    frame[64:80, 53:80] = 128
    with pytest.raises(Unmarked) as caught:
        blind(studio).verify(encode(frame, "image/jpeg"))
    assert [line.state for line in caught.value.evidence if line.subject == "likeness"] == ["warns"]
