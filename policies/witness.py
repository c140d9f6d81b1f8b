"""A witness: somebody else, with a key of their own, who saw that the log only ever grew.

It keeps the newest checkpoint it cosigned in a file, and cosigns a newer one only with the proof
that it extends that one (C2SP tlog-witness and tlog-cosignature). Refused: a smaller log (cut, or
put back from an old copy), another log of the same size (two histories), a larger one that is no
extension (rewritten), a proof that starts elsewhere, a state file that is missing, changed or in
use, and a clock behind the last cosignature. What the log signed and the witness refused is kept
beside the state: two signed histories are evidence against the log.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from policies import merkle
from policies.checkpoint import (
    MAX_NOTE_CHARACTERS,
    Checkpoint,
    WitnessKey,
    add_cosignature,
    cosignatures,
    open_checkpoint,
)
from policies.errors import Error, Malformed
from policies.files import read_bounded, replace_file
from policies.keys import PublicKey, SigningKey
from policies.proofs import ConsistencyProof


class WitnessRefused(Error):
    """The witness does not cosign; `code` says why."""

    code = "WITNESS-REFUSED"


class LogRolledBack(WitnessRefused):
    """The log is smaller than the witness has seen it."""

    code = "WITNESS-ROLLBACK"


class SplitView(WitnessRefused):
    """The log has two histories of one size."""

    code = "WITNESS-SPLIT-VIEW"


class LogForked(WitnessRefused):
    """The log is larger, but does not extend what the witness has seen."""

    code = "WITNESS-FORK"


class OtherSize(WitnessRefused):
    """The proof starts at another size than the one the witness has seen."""

    code = "WITNESS-OTHER-SIZE"


class StateRefused(WitnessRefused):
    """The witness's own state is missing, there already, changed, or in use."""

    code = "WITNESS-STATE"


class WitnessClock(WitnessRefused):
    """The witness's clock is behind its last cosignature."""

    code = "WITNESS-CLOCK"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness for one log; `state` is its file, `clock` gives unix seconds."""

    name: str
    key: SigningKey
    state: Path
    clock: Callable[[], int]

    @property
    def public(self) -> WitnessKey:
        """What those who trust this witness have to know."""
        return WitnessKey(self.name, self.key.public)

    def adopt(self, note: str, *, origin: str, log_key: PublicKey) -> str:
        """Cosign the first checkpoint of a log, on trust, and return it with the line added.

        Raises StateRefused when this witness knows the log already, Malformed and BadSignature.
        """
        with self._alone():
            if self.state.exists():
                raise StateRefused(
                    f"{self.state} is there already: the log is not new to this witness",
                    mend="hand in a consistency proof from the state's checkpoint",
                )
            self._open(note, origin, log_key)
            return self._keep(note, last=0)

    def cosign(self, note: str, proof: ConsistencyProof, *, origin: str, log_key: PublicKey) -> str:
        """Cosign a checkpoint that extends the last one, and return it with the line added.

        The new state is on disk before anything is returned. Raises the errors above, Malformed
        and BadSignature; then the state stays as it was.
        """
        with self._alone():
            seen, last = self._seen(origin, log_key)
            new = self._open(note, origin, log_key)
            if proof.checkpoint.partition("\n\n")[0] != note.partition("\n\n")[0]:
                raise Malformed("the proof leads to another checkpoint than the one to cosign")
            try:
                _require_extension(seen, new, proof)
            except (LogRolledBack, SplitView, LogForked):
                name = f"{self.state.name}.refused-{new.size}-{new.root[:4].hex()}"
                replace_file(self.state.with_name(name), note.encode())
                raise
            return self._keep(note, last=last)

    def _open(self, note: str, origin: str, log_key: PublicKey) -> Checkpoint:
        # Trusting itself refuses a forged line in its own name, and a log that is its own witness.
        return open_checkpoint(note, origin=origin, key=log_key, witnesses=[self.public])

    def _seen(self, origin: str, log_key: PublicKey) -> tuple[Checkpoint, int]:
        """Return the checkpoint last cosigned and when; the state carries our own signature."""
        if not self.state.exists():
            raise StateRefused(
                f"{self.state} is missing: what this witness has seen is not known",
                mend="restore it from its backup; only a log that is new is adopted with --first",
            )
        try:
            note = read_bounded(self.state, max_bytes=4 * MAX_NOTE_CHARACTERS).decode()
            seen = open_checkpoint(
                note, origin=origin, key=log_key, witnesses=[self.public], quorum=1
            )
        except (Error, UnicodeDecodeError) as error:
            raise StateRefused(
                f"{self.state} is not a checkpoint of this log that this witness cosigned",
                mend="restore it from its backup; each log has a state file of its own",
            ) from error
        return seen, cosignatures(note, witnesses=[self.public])[self.public]

    def _keep(self, note: str, *, last: int) -> str:
        if (at := self.clock()) < last:
            raise WitnessClock(
                f"the clock says {at}, the last cosignature {last}",
                mend="set the clock right (NTP); nothing is cosigned while it is behind",
            )
        cosigned = add_cosignature(note, name=self.name, key=self.key, at=at)
        if len(cosigned) > MAX_NOTE_CHARACTERS:
            raise Malformed("the checkpoint has no room for another signature")
        replace_file(self.state, cosigned.encode())
        return cosigned

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the state alone: between reading and writing it no other process may cosign."""
        path = self.state.with_name(f"{self.state.name}.lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateRefused(
                f"cannot open {path}: {error.strerror}",
                mend="choose a folder that is there and can be written",
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateRefused(
                    f"another process is cosigning with {self.state}", mend="run it again"
                ) from error
            yield
        finally:
            os.close(handle)


def _require_extension(seen: Checkpoint, new: Checkpoint, proof: ConsistencyProof) -> None:
    if new.size < seen.size:
        raise LogRolledBack(
            f"the log has {new.size} entries; this witness has seen {seen.size}",
            mend="hand in the newest checkpoint; a log that was cut must be restored",
        )
    if new.size == seen.size and new.root != seen.root:
        raise SplitView(
            f"the log has two histories of {new.size} entries",
            mend="keep both checkpoints: together they prove that the log was rewritten",
        )
    if proof.old != seen.size:
        raise OtherSize(
            f"the proof starts at {proof.old} entries; this witness has seen {seen.size}",
            mend="make it with 'facewarrant audit consistency' from the witness's checkpoint",
        )
    if seen.size == 0:  # every log extends the empty one; there is no proof (C2SP tlog-witness)
        _require_empty(proof.path)
        return
    try:
        merkle.verify_consistency(
            old=seen.size, new=new.size, old_root=seen.root, new_root=new.root, path=proof.path
        )
    except merkle.ProofInvalid as error:
        raise LogForked(
            f"the log of {new.size} entries does not extend the {seen.size} that were seen",
            mend="keep both checkpoints; if the log is honest, make the proof again for this one",
        ) from error


def _require_empty(path: Sequence[bytes]) -> None:
    if path:
        raise LogForked("a proof from an empty log has no hashes")
