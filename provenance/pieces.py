"""The marked pieces of a video that is being released, kept so that a killed job goes on.

Decides what of an earlier run may be used: pieces of the same warrant and the same mark, whole and
as they were written. Everything here already carries its visible label and watermark; what was not
marked is never written. A piece that was changed, or is of another warrant, counts as not made;
one that is changed while the video is joined is refused.
"""

from __future__ import annotations

import hmac
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
from policies.keys import CommitmentKey
from policies.terms import Digest, Document
from policies.warrant import Warrant
from provenance.errors import NotReleased
from provenance.store import write_whole

PIECE_FRAMES: Final = 48
"""Two seconds at 24 frames a second: what a killed job loses at most, and a closed group."""


class _Plan(Document):
    """What all pieces of one run share."""

    schema_: Literal["facewarrant/pieces/1"] = Field(alias="schema")
    warrant: Digest
    drawn: str
    mac: Digest


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of one warrant's clip in a folder of their own; `open_pieces` makes it."""

    folder: Path
    warrant: Warrant
    commitment: CommitmentKey
    frames: int
    drawn: bytes

    def draw(self, count: int) -> bytes:
        """Return the random bytes that the mark's id is made of: the same after every restart."""
        return self.drawn[:count]

    def spans(self) -> list[tuple[int, int]]:
        """Return every piece as (first frame, frame after the last)."""
        starts = range(0, self.frames, PIECE_FRAMES)
        return [(start, min(start + PIECE_FRAMES, self.frames)) for start in starts]

    def missing(self) -> list[tuple[int, int]]:
        """Return the pieces that have to be made still."""
        return [span for span in self.spans() if not self._is_whole(span[0])]

    def keep(self, start: int, data: bytes) -> None:
        """Write a marked piece, then the note that it is whole; raises StoreUnavailable."""
        write_whole(self.path(start), data)
        write_whole(self._note(start), self._mac(start, sha256_hex(data)).encode())

    def load(self, start: int) -> bytes:
        """Return the piece that begins with a frame, as `keep` wrote it; raise NotReleased."""
        try:
            found = self._note(start).read_bytes()
            data = self.path(start).read_bytes()
        except OSError as error:
            raise NotReleased(f"the piece from frame {start} on cannot be read") from error
        if not hmac.compare_digest(found, self._mac(start, sha256_hex(data)).encode()):
            raise NotReleased(
                f"the piece from frame {start} on was changed",
                mend="see who else writes into the work folder, then run the request again",
            )
        return data

    def load_all(self) -> Iterator[bytes]:
        """Yield every piece in order, as `load` does, each when it is asked for."""
        return (self.load(start) for start, _ in self.spans())

    def path(self, start: int) -> Path:
        """Return where the piece that begins with a frame lies."""
        return self.folder / f"{start:07d}.mp4"

    def _note(self, start: int) -> Path:
        return self.folder / f"{start:07d}.mac"

    def _is_whole(self, start: int) -> bool:
        try:
            self.load(start)
        except NotReleased:
            return False
        return True

    def _mac(self, start: int, sha256: str) -> str:
        # Keyed, and checked over the bytes that are then used: who can only write to the folder
        # makes no piece of ours. That the signed file holds these pieces, `clip_release` checks.
        return self.commitment.commit(
            "piece", f"{self.warrant.sha256}/{PIECE_FRAMES}/{start}/{sha256}"
        )


@contextmanager
def open_pieces(
    root: Path,
    warrant: Warrant,
    *,
    frames: int,
    commitment: CommitmentKey,
    rng: Callable[[int], bytes],
) -> Iterator[Pieces]:
    """Give the pieces of a warrant's clip of `frames` frames, in a folder that is held alone.

    They stay when the process is killed or interrupted, and are gone after success and after every
    error, or, where they cannot be deleted, left for the sweep. Raises StoreUnavailable where the
    folder cannot be written.
    """
    folder = root / warrant.warrant_id
    try:
        drawn = _read_plan(folder, warrant, commitment)
        if drawn is None:
            drawn = _make_plan(folder, warrant, commitment, rng)
        yield Pieces(folder, warrant, commitment, frames, drawn)
    except Exception:
        leave_none(root, warrant.warrant_id)
        raise
    leave_none(root, warrant.warrant_id)


def drop_pieces(root: Path, warrant_id: str) -> None:
    """Delete the pieces of a warrant that ended; nothing happens where there are none.

    Raises StoreUnavailable when they are still there afterwards.
    """
    folder = root / warrant_id
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        raise StoreUnavailable(
            f"cannot delete {folder}", mend="check its permissions, then run the sweep"
        )


def leave_none(root: Path, warrant_id: str) -> None:
    """Delete pieces as `drop_pieces`, where how the release ended matters more; raises nothing."""
    # What stays belongs to a warrant that ended: the next sweep deletes it, or says that it cannot.
    with suppress(StoreUnavailable):
        drop_pieces(root, warrant_id)


def _read_plan(folder: Path, warrant: Warrant, commitment: CommitmentKey) -> bytes | None:
    """Return the random bytes of an earlier run of this very warrant; None where there is none."""
    try:
        plan = _Plan.model_validate_json((folder / "plan.json").read_bytes())
        drawn = bytes.fromhex(plan.drawn)
    except (OSError, ValidationError, ValueError):
        return None
    known = _plan_mac(warrant, drawn, commitment)
    same = plan.warrant == warrant.sha256 and hmac.compare_digest(plan.mac, known)
    return drawn if same else None


def _make_plan(
    folder: Path, warrant: Warrant, commitment: CommitmentKey, rng: Callable[[int], bytes]
) -> bytes:
    for old in folder.glob("0*"):
        old.unlink()
    drawn = rng(16)
    if len(drawn) != 16:
        raise Malformed(f"the random source gave {len(drawn)} bytes instead of 16")
    plan = {
        "schema": "facewarrant/pieces/1",
        "warrant": warrant.sha256,
        "drawn": drawn.hex(),
        "mac": _plan_mac(warrant, drawn, commitment),
    }
    write_whole(folder / "plan.json", canonical(plan))
    return drawn


def _plan_mac(warrant: Warrant, drawn: bytes, commitment: CommitmentKey) -> str:
    return commitment.commit("pieces", f"{warrant.sha256}/{drawn.hex()}")
