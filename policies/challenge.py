"""The enrolment challenge: what a person is asked to do in front of the camera, once, within 120 s.

Decides which movements are asked and in which order, and refuses a nonce that is unknown, too old
or already used, whatever became of its first use, and a second consent that names one challenge.
A recording made yesterday shows other movements than today's nonce asks for, except by chance:
`SEQUENCES` has 186 orders, so one guess in 186 fits. Somebody who may ask for new challenges
without end finds one that fits an old recording; whoever offers `issue` to the public has to limit
how often it is called. The policy names a spoken code as well; no audio is read here, so none is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from types import MappingProxyType
from typing import Annotated, Final, Literal, get_args

import sqlalchemy as sa
from pydantic import Field, model_validator

from policies.database import Database
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.record import encode, read_document
from policies.tables import CHALLENGE
from policies.terms import Digest, Document, UnixTime

CHALLENGE_SECONDS: Final = 120
"""The policy's limit for a nonce: time to read four movements and to do them twice."""

STEPS_ASKED: Final = 5
"""Five movements of two to three seconds fit the shortest and the longest video we take."""

Step = Literal["turn_left", "turn_right", "look_up", "close_eyes"]
"""Left and right are the person's own; `close_eyes` means longer than a blink."""

STEPS: Final = get_args(Step)
TURNS: Final = ("turn_left", "turn_right")

SAID_AS: Final[Mapping[Step, str]] = MappingProxyType(
    {
        "turn_left": "turn your head slowly to your own left, then look straight ahead",
        "turn_right": "turn your head slowly to your own right, then look straight ahead",
        "look_up": "lift your chin slowly, then look straight ahead",
        "close_eyes": "close both eyes for about one second, then open them",
    }
)
"""What the person is told for each step."""


def _can_be_asked(steps: tuple[Step, ...]) -> bool:
    """Return whether a sequence has both turns and closed eyes, and no step right after itself.

    Both turns: a picture bent round can be made to seem turned to one side, none to both (measured;
    generator.motion).
    """
    return {*TURNS, "close_eyes"} <= set(steps) and all(a != b for a, b in pairwise(steps))


SEQUENCES: Final[tuple[tuple[Step, ...], ...]] = tuple(
    steps for steps in product(STEPS, repeat=STEPS_ASKED) if _can_be_asked(steps)
)
"""Every order that may be asked; one step twice in a row would be read as one."""


class ChallengeUnknown(Error):
    """No challenge of that nonce was issued here."""

    code = "CHALLENGE-UNKNOWN"


class ChallengeExpired(Error):
    """The challenge is outside its 120 seconds."""

    code = "CHALLENGE-EXPIRED"


class ChallengeSpent(Error):
    """The challenge was used before; each counts once."""

    code = "CHALLENGE-SPENT"


class Challenge(Document):
    """One challenge. `nonce` is 32 random bytes in hex; times are unix seconds."""

    schema_: Literal["facewarrant/challenge/1"] = Field(alias="schema")
    nonce: Digest
    steps: Annotated[tuple[Step, ...], Field(strict=False)]
    issued_at: UnixTime
    expires_at: UnixTime

    @model_validator(mode="after")
    def _is_one_of_ours(self) -> Challenge:
        if not _can_be_asked(self.steps) or len(self.steps) != STEPS_ASKED:
            raise ValueError("these steps are never asked")
        if self.expires_at != self.issued_at + CHALLENGE_SECONDS:
            raise ValueError(f"a challenge holds for {CHALLENGE_SECONDS} seconds")
        return self

    @property
    def said(self) -> tuple[str, ...]:
        """The steps in plain words, in their order."""
        return tuple(SAID_AS[step] for step in self.steps)


def read_challenge(data: bytes) -> Challenge:
    """Parse canonical challenge bytes; raise Malformed for anything else."""
    return read_document(Challenge, data, what="challenge")


@dataclass(frozen=True, slots=True)
class ChallengeBook:
    """The challenges issued by this deployment, each spent at most once."""

    database: Database
    clock: Callable[[], int]

    def issue(self, rng: Callable[[int], bytes]) -> Challenge:
        """Store and return a new challenge; `rng(n)` gives n unpredictable bytes (`os.urandom`).

        Raises StoreUnavailable, also when the nonce exists: a source of randomness that repeats
        itself is none.
        """
        now = self.clock()
        # 64 random bits over 186 orders: no order is likelier than another by more than 2**-56.
        drawn = int.from_bytes(rng(8)) % len(SEQUENCES)
        challenge = Challenge(
            schema="facewarrant/challenge/1",
            nonce=rng(32).hex(),
            steps=SEQUENCES[drawn],
            issued_at=now,
            expires_at=now + CHALLENGE_SECONDS,
        )
        row = {
            "nonce": challenge.nonce,
            "document": encode(challenge),
            "expires_at": challenge.expires_at,
            "spent_at": None,
        }
        with self.database.transaction() as connection:
            connection.execute(sa.insert(CHALLENGE), row)
        return challenge

    def spend(self, nonce: str) -> Challenge:
        """Use up a nonce now and return its challenge; a second call for it always raises.

        To be called before the video is looked at, so that a failed attempt is spent as well.
        Raises ChallengeUnknown, ChallengeSpent, ChallengeExpired, Malformed (the stored row is not
        the challenge that was issued) and StoreUnavailable.
        """
        now = self.clock()
        with self.database.transaction() as connection:
            row = connection.execute(
                sa.select(CHALLENGE.c.document).where(CHALLENGE.c.nonce == nonce)
            ).one_or_none()
            if row is None:
                raise ChallengeUnknown(
                    "no challenge of this nonce was issued here", mend="ask for a new challenge"
                )
            taken = connection.execute(
                sa.update(CHALLENGE)
                .where(CHALLENGE.c.nonce == nonce, CHALLENGE.c.spent_at.is_(None))
                .values(spent_at=now)
            )
            if taken.rowcount != 1:
                raise ChallengeSpent(
                    "this challenge was used before", mend="ask for a new challenge"
                )
        # Judged after the commit: a nonce that came too late is spent too.
        return _in_time(read_challenge(row.document), nonce, now)


def redeem_challenge(nonce_sha256: str, record_id: str, *, within: sa.Connection) -> None:
    """Let one consent name the challenge of that digest, once, inside the caller's transaction.

    It must have been issued here and spent in its window. What became of the video is not stored:
    a challenge spent in vain is not told from one that was answered. Raises ChallengeUnknown,
    ChallengeExpired (spent too late) and ChallengeSpent (another consent names it).
    """
    in_time = sa.and_(
        CHALLENGE.c.spent_at >= CHALLENGE.c.expires_at - CHALLENGE_SECONDS,
        CHALLENGE.c.spent_at < CHALLENGE.c.expires_at,
    )
    spent = sa.select(CHALLENGE.c.nonce, CHALLENGE.c.record_id, in_time.label("in_time"))
    rows = within.execute(spent.where(CHALLENGE.c.spent_at.is_not(None))).all()
    row = next((row for row in rows if sha256_hex(row.nonce.encode()) == nonce_sha256), None)
    if row is None:
        raise ChallengeUnknown(
            "the record names a challenge that nobody answered here",
            mend="enrol the person again with a new challenge",
        )
    if not row.in_time:
        raise ChallengeExpired(
            "the record names a challenge that was answered outside its window",
            mend="enrol the person again with a new challenge",
        )
    if row.record_id is not None:
        raise ChallengeSpent(
            "the challenge is named by another record",
            mend="enrol the person again with a new challenge",
        )
    used = sa.update(CHALLENGE).where(CHALLENGE.c.nonce == row.nonce)
    within.execute(used.values(record_id=record_id))


def _in_time(challenge: Challenge, nonce: str, now: int) -> Challenge:
    """Return a challenge of that nonce inside its window; raise Malformed or ChallengeExpired."""
    if challenge.nonce != nonce:
        raise Malformed("the stored challenge is another one", mend="ask for a new challenge")
    if not challenge.issued_at <= now < challenge.expires_at:
        raise ChallengeExpired(
            f"the challenge is {now - challenge.issued_at} s old; it holds for {CHALLENGE_SECONDS}",
            mend="ask for a new challenge and record the video at once",
        )
    return challenge
