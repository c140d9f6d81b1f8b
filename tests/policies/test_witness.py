"""A witness cosigns only a log that grew from what it has seen; everything else has a name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from policies.audit import AuditLog
from policies.checkpoint import Checkpoint, cosignatures, open_checkpoint, sign_checkpoint
from policies.database import Database
from policies.errors import BadSignature, Malformed, StoreUnavailable
from policies.files import replace_file
from policies.keys import SigningKey
from policies.proofs import ConsistencyProof
from policies.witness import (
    LogForked,
    LogRolledBack,
    OtherSize,
    SplitView,
    StateRefused,
    Witness,
    WitnessClock,
    WitnessRefused,
)

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
NOW = 1_795_219_200


class Log:
    """A log that grows, and its checkpoints by size."""

    def __init__(self, mark: str = "w") -> None:
        self.mark = mark
        database = Database("sqlite://")
        self.log = AuditLog(database, origin=ORIGIN, key=KEY, clock=lambda: NOW)
        self.notes = [self.log.checkpoint()]

    def grow(self, count: int = 1) -> str:
        for _ in range(count):
            self.log.append("abort", {"warrant": f"{self.mark}{len(self.notes)}"})
            self.notes.append(self.log.checkpoint())
        return self.notes[-1]

    def proof(self, old: int, new: int | None = None) -> ConsistencyProof:
        size = len(self.notes) - 1 if new is None else new
        path = self.log.prove_consistency(old, size) if old else ()
        return ConsistencyProof(old, path, self.notes[size])


class Office:
    """A witness with its state file, and how to ask it."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        key = SigningKey.from_seed(b"w" * 32)
        self.witness = Witness("witness.test/w1", key, folder / "state", lambda: self.now)

    @property
    def state(self) -> Path:
        return self.witness.state

    def adopt(self, note: str) -> str:
        return self.witness.adopt(note, origin=ORIGIN, log_key=KEY.public)

    def cosign(self, note: str, proof: ConsistencyProof) -> str:
        return self.witness.cosign(note, proof, origin=ORIGIN, log_key=KEY.public)

    def size(self) -> int:
        note = self.state.read_text()
        return open_checkpoint(
            note, origin=ORIGIN, key=KEY.public, witnesses=[self.witness.public], quorum=1
        ).size

    def evidence(self) -> list[str]:
        return sorted(p.read_text() for p in self.state.parent.glob("state.refused-*"))


@pytest.fixture
def at(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_log_that_grows_is_cosigned(at: Office) -> None:
    log = Log()
    first = at.adopt(log.grow(3))
    assert first.startswith(log.notes[3])
    for count in (1, 4, 0, 7):
        old = at.size()
        at.now += 60
        note = log.grow(count)
        cosigned = at.cosign(note, log.proof(old))
        assert cosigned == at.state.read_text()
        assert cosignatures(cosigned, witnesses=[at.witness.public]) == {at.witness.public: at.now}
        head = open_checkpoint(
            cosigned, origin=ORIGIN, key=KEY.public, witnesses=[at.witness.public], quorum=1
        )
        assert head.size == len(log.notes) - 1
    assert at.evidence() == []


def test_an_empty_log_is_extended_by_any(at: Office) -> None:
    log = Log()
    at.adopt(log.notes[0])
    log.grow(5)
    with pytest.raises(LogForked):
        at.cosign(log.notes[5], replace(log.proof(2), old=0))
    assert at.cosign(log.notes[5], log.proof(0)) == at.state.read_text()
    assert at.size() == 5


def test_a_log_that_was_cut(at: Office) -> None:
    log = Log()
    at.adopt(log.grow(6))
    kept = at.state.read_bytes()
    with pytest.raises(LogRolledBack) as caught:
        at.cosign(log.notes[4], log.proof(4, 4))
    assert caught.value.code == "WITNESS-ROLLBACK"
    assert at.state.read_bytes() == kept
    assert at.evidence() == [log.notes[4]]


def test_two_histories_of_one_size(at: Office) -> None:
    log, other = Log(), Log("x")
    at.adopt(log.grow(6))
    with pytest.raises(SplitView) as caught:
        at.cosign(other.grow(6), other.proof(6))
    assert caught.value.code == "WITNESS-SPLIT-VIEW"
    assert at.evidence() == [other.notes[6]]
    assert at.size() == 6


def test_a_larger_log_with_another_past(at: Office) -> None:
    log, other = Log(), Log("x")
    at.adopt(log.grow(6))
    other.grow(9)
    with pytest.raises(LogForked) as caught:
        at.cosign(other.notes[9], other.proof(6))
    assert caught.value.code == "WITNESS-FORK"
    assert at.evidence() == [other.notes[9]]
    with pytest.raises(LogForked):
        at.cosign(other.notes[9], replace(log.proof(6), checkpoint=other.notes[9]))
    assert at.size() == 6
    log.grow(3)
    at.cosign(log.notes[9], log.proof(6))


def test_a_proof_from_elsewhere_or_for_another(at: Office) -> None:
    log = Log()
    at.adopt(log.grow(4))
    log.grow(4)
    with pytest.raises(OtherSize) as caught:
        at.cosign(log.notes[8], log.proof(3))
    assert caught.value.code == "WITNESS-OTHER-SIZE"
    with pytest.raises(Malformed, match="another checkpoint"):
        at.cosign(log.notes[8], log.proof(4, 7))
    assert at.evidence() == []


def test_the_lines_of_other_witnesses_stay(at: Office, tmp_path: Path) -> None:
    log = Log()
    (tmp_path / "other").mkdir()
    other = Office(tmp_path / "other")
    other.witness = replace(other.witness, name="w2.test", key=SigningKey.from_seed(b"v" * 32))
    both = at.adopt(other.adopt(log.grow(2)))
    trusted = [at.witness.public, other.witness.public]
    open_checkpoint(both, origin=ORIGIN, key=KEY.public, witnesses=trusted, quorum=2)
    log.grow()
    both = at.cosign(other.cosign(log.notes[3], log.proof(2)), log.proof(2))
    open_checkpoint(both, origin=ORIGIN, key=KEY.public, witnesses=trusted, quorum=2)


def test_only_a_new_log_is_taken_on_trust(at: Office) -> None:
    log = Log()
    with pytest.raises(StateRefused, match="is missing") as caught:
        at.cosign(log.grow(2), log.proof(2))
    assert caught.value.code == "WITNESS-STATE"
    at.adopt(log.notes[2])
    with pytest.raises(StateRefused, match="is there already"):
        at.adopt(log.notes[2])


STATES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no text": lambda _: b"\xff",
    "another size": lambda note: note.replace(b"\n3\n", b"\n2\n"),
    "not ours": lambda note: note[: note.rindex(b"\xe2\x80\x94")],
    "too long": lambda note: note + b"x" * 2**20,
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_was_changed(at: Office, name: str) -> None:
    log = Log()
    at.adopt(log.grow(3))
    log.grow()
    at.state.write_bytes(STATES[name](at.state.read_bytes()))
    with pytest.raises(StateRefused) as caught:
        at.cosign(log.notes[4], log.proof(3))
    assert caught.value.code == "WITNESS-STATE"


def test_the_state_of_another_log(at: Office) -> None:
    log = Log()
    at.adopt(log.grow(3))
    note = sign_checkpoint(Checkpoint("other.test", 3, b"r" * 32), key=KEY)
    with pytest.raises(StateRefused):
        at.witness.cosign(
            note, ConsistencyProof(3, (), note), origin="other.test", log_key=KEY.public
        )


def test_a_checkpoint_that_the_log_did_not_sign(at: Office) -> None:
    log, stranger = Log(), SigningKey.from_seed(b"s" * 32)
    head = Checkpoint(ORIGIN, 3, b"r" * 32)
    with pytest.raises(BadSignature):
        at.adopt(sign_checkpoint(head, key=stranger))
    with pytest.raises(Malformed):
        at.adopt(sign_checkpoint(replace(head, origin="other.test"), key=KEY))
    assert not at.state.exists()
    at.adopt(log.grow(3))
    with pytest.raises(BadSignature):
        at.cosign(sign_checkpoint(head, key=stranger), log.proof(3))


def test_a_log_is_no_witness_of_itself(at: Office) -> None:
    own = replace(at.witness, key=KEY)
    with pytest.raises(Malformed, match="never"):
        own.adopt(Log().grow(1), origin=ORIGIN, log_key=KEY.public)


def test_a_clock_behind_the_last_cosignature(at: Office) -> None:
    log = Log()
    at.adopt(log.grow(3))
    log.grow()
    at.now -= 1
    with pytest.raises(WitnessClock) as caught:
        at.cosign(log.notes[4], log.proof(3))
    assert caught.value.code == "WITNESS-CLOCK"
    assert at.size() == 3


def test_nothing_is_returned_before_the_state_is_kept(
    at: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    at.adopt(log.grow(3))
    log.grow()

    def fail(_path: Path, _data: bytes) -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr("policies.witness.replace_file", fail)
    with pytest.raises(StoreUnavailable):
        at.cosign(log.notes[4], log.proof(3))
    monkeypatch.setattr("policies.witness.replace_file", replace_file)
    assert at.size() == 3
    at.cosign(log.notes[4], log.proof(3))


def test_two_processes_do_not_cosign_at_once(at: Office) -> None:
    log = Log()
    at.adopt(log.grow(3))
    handle = os.open(at.state.with_name("state.lock"), os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StateRefused, match="another process"):
            at.cosign(log.notes[3], log.proof(3))
    finally:
        os.close(handle)
    at.cosign(log.notes[3], log.proof(3))


def test_a_state_in_no_folder(at: Office, tmp_path: Path) -> None:
    lost = replace(at.witness, state=tmp_path / "no" / "state")
    with pytest.raises(WitnessRefused, match="cannot open"):
        lost.adopt(Log().grow(1), origin=ORIGIN, log_key=KEY.public)


def test_a_note_without_room(at: Office) -> None:
    log = Log()
    line = "\N{EM DASH} w AAAA\n"
    note = log.grow(1)
    full = note + line * ((2**16 - len(note)) // len(line))
    with pytest.raises(Malformed, match="no room"):
        at.adopt(full)
    assert not at.state.exists()
