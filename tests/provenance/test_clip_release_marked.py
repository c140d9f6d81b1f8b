"""A film that carries our mark already is not released again, whatever size it has now."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import provenance.pieces
from provenance.errors import AlreadyMarked, NotReleased
from provenance.watermark import issue_payload

ID = "05" * 6


class Counting:
    """A watermark that counts the searches of several frames; the rest is its own."""

    def __init__(self, watermark: Any) -> None:
        self._watermark = watermark
        self.frames: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watermark, name)

    def detect_clip(self, frames: Any) -> Any:
        film = list(frames)
        self.frames.append(len(film))
        return self._watermark.detect_clip(film)


def test_a_film_marked_at_another_size_is_not_released_again(cinema: Any) -> None:
    """No frame of it is read at scale 1, so only the search of the first ones finds the mark."""
    warrant = cinema.warrant()
    payload = issue_payload(warrant, rng=lambda n: bytes.fromhex(ID)[:n])
    mark, (height, width) = cinema.press.watermark, cinema.film[0][1].shape[:2]

    def shrink(frame: Any) -> Any:
        large = cv2.resize(frame, (width * 3 // 2, height * 3 // 2))
        marked = mark.embed(large, payload)
        return np.asarray(cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA))

    film = [(pts, shrink(frame)) for pts, frame in cinema.film]
    assert not any(mark.detect(frame, thorough=False) for _, frame in film)
    draft = cinema.draft(warrant=warrant, render=lambda start, stop: iter(film[start:stop]))
    with pytest.raises(NotReleased, match=f"carries the mark {ID}") as caught:
        cinema.release(draft)
    assert isinstance(caught.value.__cause__, AlreadyMarked)
    assert "before they were released" in caught.value.__cause__.mend
    assert cinema.studio.kept() == []
    assert list(cinema.work.iterdir()) == []
    assert "release" not in cinema.studio.kinds()


@pytest.mark.parametrize("piece", [2, 300])
def test_a_film_is_searched_once_however_many_pieces_it_has(
    cinema: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.pieces, "PIECE_FRAMES", piece)
    counting = Counting(cinema.press.watermark)
    assert cinema.release(watermark=counting).mime == "video/mp4"
    assert counting.frames == [min(piece, 4)]
