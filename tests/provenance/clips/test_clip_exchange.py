"""What a worker says of a clip is numbers of known length that can be true, or it is refused."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from provenance.clip_exchange import (
    MAX_CLOCK,
    MAX_FORM_BYTES,
    MAX_SETUP_BYTES,
    Colour,
    Found,
    Request,
    Sound,
    pack_found,
    pack_request,
    read_found,
    read_request,
    swscale_matrix,
)
from provenance.exchange import DecodeCrashed
from provenance.video import RELEASE_LIMITS

SOUND = Sound(1, "alac", 44_100, 44_100, 6, b"set-up")
FOUND = Found(
    1920,
    1080,
    90_000,
    Colour("pc", 1, 9, 13),
    3,
    3_000,
    7,
    True,
    2,
    (SOUND, replace(SOUND, stream=2)),
)
NUMBERS = tuple(map(float, astuple(RELEASE_LIMITS)))


@pytest.mark.parametrize(
    "request_",
    [Request("survey", 3), Request("frames", 9, -5, -7, 12), Request("sound", 4, None, 2)],
)
def test_a_request_travels_whole(request_: Request) -> None:
    assert read_request(pack_request(request_, NUMBERS)) == (request_, NUMBERS)


def test_what_was_found_travels_whole() -> None:
    assert read_found(pack_found(FOUND)) == FOUND
    assert read_found(pack_found(replace(FOUND, sounds=()))) == replace(FOUND, sounds=())
    many = read_found(pack_found(replace(FOUND, tags=1_000_000, others=1_000)))
    assert (many.tags, many.others) == (0xFFFF, 0xFF)


def test_the_longest_answer_is_within_its_cap() -> None:
    longest = replace(SOUND, setup=bytes(MAX_SETUP_BYTES))
    assert len(pack_found(replace(FOUND, sounds=(longest,) * 4))) == MAX_FORM_BYTES


@pytest.mark.parametrize(
    "lie",
    [
        {"width": 0},
        {"height": 0},
        {"width": 1921},
        {"height": 1081},
        {"clock": 0},
        {"clock": MAX_CLOCK + 1},
        {"last": 0},
        {"last": 900_001},
        {"turns": 4},
        {"colour": Colour("tv", 9, 9, 9)},
        {"sounds": (SOUND,) * 5},
        {"sounds": (replace(SOUND, rate=0),)},
        {"sounds": (replace(SOUND, rate=192_001),)},
        {"sounds": (replace(SOUND, clock=0),)},
        {"sounds": (replace(SOUND, clock=MAX_CLOCK + 1),)},
        {"sounds": (replace(SOUND, channels=3),)},
        {"sounds": (replace(SOUND, setup=b""),)},
        {"sounds": (replace(SOUND, setup=bytes(MAX_SETUP_BYTES + 1)),)},
    ],
)
def test_what_cannot_be_true_is_refused(lie: dict[str, object]) -> None:
    with pytest.raises(DecodeCrashed):
        read_found(pack_found(replace(FOUND, **lie)))  # type: ignore[arg-type]


def test_words_of_another_length_are_refused() -> None:
    words = pack_found(FOUND)
    unknown = bytearray(pack_found(replace(FOUND, sounds=(SOUND,))))
    unknown[unknown.index(b"set-up") - 14] = 9  # the codec's number
    for bad in (b"", words[:-1], words + b"x", bytes(unknown)):
        with pytest.raises(DecodeCrashed):
            read_found(bad)


@pytest.mark.parametrize(
    ("matrix", "size", "number"),
    [
        (1, (640, 480), 1),
        (5, (1920, 1080), 5),
        (6, (1920, 1080), 5),
        (2, (640, 480), 5),
        (2, (720, 576), 5),
        (2, (1280, 544), 1),
        (2, (544, 1280), 1),
        (2, (1024, 578), 1),
    ],
)
def test_the_matrix_is_the_files_own_or_by_size_as_players_take_it(
    matrix: int, size: tuple[int, int], number: int
) -> None:
    assert swscale_matrix(Colour("tv", matrix, 2, 2), *size) == number
