"""The worker gives up what it does not need, then answers one request about one open file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from provenance import clip_worker
from provenance.clip_exchange import (
    ANSWER,
    COUNTED,
    END,
    FRAME,
    PACKET,
    REASONS,
    REFUSED,
    SURVEYED,
    Request,
    pack_request,
    read_found,
)
from provenance.clip_reading import ClipUnsupported
from provenance.clip_worker import load_reader, main, pack_answer, serve_clip
from provenance.exchange import HELLO_BYTES, SHIELDS, read_hello
from provenance.video import RELEASE_LIMITS, VideoDamaged, VideoLimits

NUMBERS = tuple(map(float, astuple(RELEASE_LIMITS)))


def asked(path: Path, wanted: Request) -> io.BytesIO:
    number = os.open(path, os.O_RDONLY)  # the worker closes it
    return io.BytesIO(pack_request(wanted._replace(file=number), NUMBERS))


def answers(out: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    at = 0
    while at < len(out):
        magic, status, pts, dts, first, second = ANSWER.unpack_from(out, at)
        assert magic == b"FWC1"
        at += ANSWER.size
        size = {FRAME: first * second * 3, PACKET: first, SURVEYED: first}.get(status, 0)
        yield status, pts, dts, first, out[at : at + size]
        at += size


@pytest.mark.parametrize("shut", [True, False])
def test_the_worker_greets_and_surveys(
    shut: bool, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited: list[int] = []
    monkeypatch.setattr(clip_worker, "limit_next_job", limited.append)
    out = io.BytesIO()
    source = asked(films.film(), Request("survey", 0))
    main(["1000", "15"], source, out, lambda _: shut, lambda: shut)
    assert limited == [15]
    assert read_hello(out.getvalue()[:HELLO_BYTES]) == (frozenset(SHIELDS) if shut else set())
    *seen, (status, _, _, _, words), end = answers(out.getvalue()[HELLO_BYTES:])
    assert [(one[0], one[1]) for one in seen] == [(COUNTED, n * 1_000) for n in range(30)]
    assert [one[3] for one in seen][:2] == [1, 0]
    assert status == SURVEYED
    assert read_found(words).clock == 30_000
    assert end[0] == END


def test_frames_and_sound_are_given(films: Any) -> None:
    path, read, out = films.film(sound="aac"), load_reader(), io.BytesIO()
    serve_clip(asked(path, Request("frames", 0, None, 3_000, 2)), out, read)
    *shown, end = answers(out.getvalue())
    frames = [np.frombuffer(one[4], np.uint8).reshape(48, 128, 3) for one in shown]
    assert [films.read(frame) for frame in frames] == [3, 4]
    assert end == (END, 0, 0, 0, b"")
    out = io.BytesIO()
    serve_clip(asked(path, Request("sound", 0, None, 1)), out, read)
    *heard, _ = answers(out.getvalue())
    assert [(one[1], one[2], one[4]) for one in heard] == [
        (pts, dts, data) for pts, dts, _, data in films.sound_of(path)
    ]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (VideoDamaged("words that are not passed on"), REFUSED + 4, 0),
        (ClipUnsupported("codec"), REFUSED, 1),
        (ClipUnsupported("many_sounds"), REFUSED, len(REASONS)),
    ],
)
def test_a_refusal_is_told_by_its_number(
    error: Exception, status: int, reason: int, films: Any
) -> None:
    def broken(file: BinaryIO, limits: VideoLimits, wanted: Request) -> Iterator[tuple[bytes, ...]]:
        assert (file.readable(), limits, wanted.task) == (True, RELEASE_LIMITS, "survey")
        yield (pack_answer(COUNTED, 5),)
        raise error

    out = io.BytesIO()
    serve_clip(asked(films.film(), Request("survey", 0)), out, broken)
    told = list(answers(out.getvalue()))
    assert [(one[0], one[3]) for one in told] == [(COUNTED, 0), (status, reason)]
    assert b"words" not in out.getvalue()
