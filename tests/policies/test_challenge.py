"""A challenge is random, short-lived and counts once, whoever asks and however many at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policies.canonical import canonical
from policies.challenge import (
    CHALLENGE_SECONDS,
    SAID_AS,
    SEQUENCES,
    STEPS,
    Challenge,
    ChallengeBook,
    ChallengeExpired,
    ChallengeSpent,
    ChallengeUnknown,
    read_challenge,
)
from policies.database import Database
from policies.errors import Error, Malformed, StoreUnavailable
from policies.record import encode
from policies.tables import CHALLENGE

NOW = 1_795_219_200


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def drawn(seed: str) -> Callable[[int], bytes]:
    """Bytes that follow from a seed and differ from call to call."""
    calls = iter(range(1_000_000))
    return lambda n: hashlib.sha512(f"{seed} {next(calls)}".encode()).digest()[:n]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> ChallengeBook:
    return ChallengeBook(Database("sqlite://"), clock)


def fields(**changes: object) -> dict[str, Any]:
    return {
        "schema": "facewarrant/challenge/1",
        "nonce": "ab" * 32,
        "steps": ["turn_left", "close_eyes", "look_up", "turn_right", "close_eyes"],
        "issued_at": NOW,
        "expires_at": NOW + CHALLENGE_SECONDS,
    } | changes


def test_what_is_issued_is_what_is_spent(book: ChallengeBook) -> None:
    challenge = book.issue(drawn("a"))
    assert book.spend(challenge.nonce) == challenge
    assert (challenge.issued_at, challenge.expires_at) == (NOW, NOW + 120)
    assert len(bytes.fromhex(challenge.nonce)) == 32
    assert challenge.said == tuple(SAID_AS[step] for step in challenge.steps)


def test_the_operating_system_s_randomness_will_do(book: ChallengeBook) -> None:
    assert book.issue(os.urandom).nonce != book.issue(os.urandom).nonce


def test_every_sequence_has_both_turns_and_closed_eyes_and_no_step_twice_in_a_row() -> None:
    assert len(set(SEQUENCES)) == len(SEQUENCES) == 186
    for steps in SEQUENCES:
        assert {"turn_left", "turn_right", "close_eyes"} <= set(steps)
        assert all(a != b for a, b in pairwise(steps))
    assert {step for steps in SEQUENCES for step in steps} == set(STEPS) == set(SAID_AS)


def test_the_order_follows_from_the_randomness_alone_and_spreads(clock: Clock) -> None:
    def first(seed: str) -> tuple[str, ...]:
        return ChallengeBook(Database("sqlite://"), clock).issue(drawn(seed)).steps

    assert first("a") == first("a")
    book = ChallengeBook(Database("sqlite://"), clock)
    rng = drawn("many")
    # 60 draws out of 186: about 9 repeats are expected, 20 would be a fault.
    assert len({book.issue(rng).steps for _ in range(60)}) > 40


def test_a_source_of_randomness_that_repeats_itself_is_refused(book: ChallengeBook) -> None:
    book.issue(bytes)
    with pytest.raises(StoreUnavailable):
        book.issue(bytes)


def test_a_nonce_counts_once(book: ChallengeBook) -> None:
    nonce = book.issue(drawn("a")).nonce
    book.spend(nonce)
    with pytest.raises(ChallengeSpent) as caught:
        book.spend(nonce)
    assert caught.value.code == "CHALLENGE-SPENT"
    assert caught.value.mend


@pytest.mark.parametrize("nonce", ["", "cd" * 32, "AB" * 32, "' or 1=1 --"])
def test_an_unknown_nonce_is_refused(book: ChallengeBook, nonce: str) -> None:
    book.issue(drawn("a"))
    with pytest.raises(ChallengeUnknown) as caught:
        book.spend(nonce)
    assert caught.value.code == "CHALLENGE-UNKNOWN"


@pytest.mark.parametrize(("seconds", "holds"), [(0, True), (119, True), (120, False), (-1, False)])
def test_a_challenge_holds_for_its_window_alone(
    book: ChallengeBook, clock: Clock, seconds: int, holds: bool
) -> None:
    challenge = book.issue(drawn("a"))
    clock.now += seconds
    if holds:
        assert book.spend(challenge.nonce) == challenge
        return
    with pytest.raises(ChallengeExpired) as caught:
        book.spend(challenge.nonce)
    assert caught.value.code == "CHALLENGE-EXPIRED"


def test_one_that_came_too_late_is_spent_too(book: ChallengeBook, clock: Clock) -> None:
    nonce = book.issue(drawn("a")).nonce
    clock.now += 120
    with pytest.raises(ChallengeExpired):
        book.spend(nonce)
    clock.now -= 60  # a clock set back must not bring it to life again
    with pytest.raises(ChallengeSpent):
        book.spend(nonce)


def test_of_twenty_threads_one_spends(tmp_path: Path, clock: Clock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'challenges.sqlite'}")
    book = ChallengeBook(database, clock)
    nonce = book.issue(drawn("a")).nonce

    def spend(_: int) -> str:
        try:
            return book.spend(nonce).nonce
        except Error as error:
            return error.code

    with ThreadPoolExecutor(20) as pool:
        answers = sorted(pool.map(spend, range(20)))
    assert answers == sorted([nonce, *["CHALLENGE-SPENT"] * 19])
    database.close()


def test_an_edited_row_is_refused(book: ChallengeBook) -> None:
    for number, document in enumerate([b"", b"{}", canonical(fields(nonce="ef" * 32))]):
        nonce = book.issue(drawn(f"edited {number}")).nonce
        with book.database.transaction() as connection:
            connection.execute(
                sa.update(CHALLENGE).where(CHALLENGE.c.nonce == nonce).values(document=document)
            )
        with pytest.raises(Malformed):
            book.spend(nonce)


def test_a_document_reads_back(book: ChallengeBook) -> None:
    challenge = book.issue(drawn("a"))
    assert read_challenge(encode(challenge)) == challenge
    assert json.loads(encode(challenge))["schema"] == "facewarrant/challenge/1"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facewarrant/challenge/2"},
        {"nonce": "ab" * 31},
        {"nonce": "AB" * 32},
        {"nonce": 5},
        {"steps": []},
        {"steps": ["turn_left", "close_eyes"]},
        {"steps": ["turn_left", "close_eyes", "wink", "turn_right", "close_eyes"]},
        {"steps": ["look_up", "close_eyes", "look_up", "close_eyes", "look_up"]},
        {"steps": ["look_up", "close_eyes", "turn_left", "close_eyes", "turn_left"]},
        {"steps": ["turn_left", "look_up", "turn_left", "look_up", "turn_left"]},
        {"steps": ["turn_left", "turn_left", "close_eyes", "turn_right", "close_eyes"]},
        {"steps": "turn_left"},
        {"expires_at": NOW + 121},
        {"expires_at": NOW},
        {"issued_at": -1, "expires_at": 119},
        {"issued_at": str(NOW)},
        {"extra": 1},
    ],
)
def test_a_document_of_another_form_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read_challenge(canonical(fields(**changes)))


def test_the_form_itself_is_accepted() -> None:
    assert isinstance(read_challenge(canonical(fields())), Challenge)
