"""Copies that no single look reads: smaller or strongly coded, read from several looks at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random
from typing import Any

import av
import cv2
import numpy as np
import pytest

from policies.warrants import ActiveWarrant
from provenance.media import decode
from provenance.sight import Sight, look_through
from provenance.watermark import Watermark, issue_payload, open_watermark

ID = "0123456789ab"
OLD, NEW = b"o" * 32, b"n" * 32
SECONDS = 6


@pytest.fixture
def still(demo_picture: Callable[[str], bytes]) -> Any:
    return decode(demo_picture("persona1_0")).frame


@pytest.fixture
def marked(still: Any, active_warrant: Callable[..., ActiveWarrant]) -> list[Any]:
    """Six frames of a picture that moves, marked with one id under the key that is old now."""
    payload = issue_payload(active_warrant(), rng=lambda _: bytes.fromhex(ID))
    film = [np.roll(still, 6 * number, axis=1) for number in range(SECONDS)]
    return [open_watermark("spread", keys=(OLD,)).embed(frame, payload) for frame in film]


def see(film: list[Any], mark: Watermark) -> Sight:
    timed = [(float(number), frame) for number, frame in enumerate(film)]
    return look_through(timed, mark, rng=Random(1))  # noqa: S311 - nothing is hidden from a test


def halve(film: list[Any]) -> list[Any]:
    return [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in film]


def turn_a_little(film: list[Any]) -> list[Any]:
    height, width = film[0].shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 5, 1)
    return [cv2.warpAffine(frame, matrix, (width, height)) for frame in film]


def recode(film: list[Any]) -> list[Any]:
    """H.264 at CRF 35, and decoded again."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as made:
        stream: Any = made.add_stream("libx264", rate=1, options={"crf": "35"})
        stream.height, stream.width = film[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in film:
            made.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        made.mux(stream.encode(None))
    out.seek(0)
    with av.open(out) as coded:
        return [frame.to_ndarray(format="bgr24") for frame in coded.decode(video=0)]


@pytest.mark.parametrize(
    ("change", "scale", "turned"),
    [(halve, 0.5, 0), (turn_a_little, 1, 5), (recode, 1, 0)],
    ids=["half size", "5 degrees", "CRF 35"],
)
def test_a_copy_of_a_marked_clip_is_read(
    marked: list[Any], change: Callable[[list[Any]], list[Any]], scale: float, turned: float
) -> None:
    one = see(change(marked), open_watermark("spread", keys=(NEW, OLD)))
    found = one.mark
    assert found is not None
    assert (one.ids, found.mark_id, found.state) == ((ID,), ID, "read")
    assert found.p_value <= 1e-5
    assert found.key_index == 1
    assert found.geometry is not None
    assert found.geometry.scale == pytest.approx(scale, rel=0.01)
    assert (found.geometry.rotation_deg - turned + 180) % 360 - 180 == pytest.approx(0, abs=0.2)


def test_a_smaller_copy_is_read_from_looks_together_alone(marked: list[Any]) -> None:
    one = see(halve(marked), open_watermark("spread", keys=(OLD,)))
    assert one.marked == ()
    assert one.together is not None
    assert one.mark is not None
    assert one.mark.p_value == one.together.p_value * (SECONDS + 1)


def test_an_unmarked_clip_and_one_of_another_key_have_no_mark(
    still: Any, marked: list[Any]
) -> None:
    mark = open_watermark("spread", keys=(NEW,))
    for film in (halve([np.roll(still, 6 * n, axis=1) for n in range(2)]), halve(marked)[:2]):
        assert see(film, mark).mark is None
