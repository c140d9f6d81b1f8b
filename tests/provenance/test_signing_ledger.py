"""The ledger: one signature per warrant, whatever happens, and nothing taken back."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from policies.audit import ClockRollback
from policies.errors import StoreUnavailable
from policies.keyprovider import KeyExposed
from provenance.signers import AlreadySigned
from provenance.signing_ledger import LedgerLine, SigningLedger

WARRANT = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def sign(ledger: SigningLedger, warrant_id: str = WARRANT, at: int = 100) -> None:
    ledger.enter_signature(warrant_id, warrant_sha256="ab" * 32, claim_sha256="cd" * 32, at=at)


def attempt(path: Path) -> str:
    with SigningLedger(path) as ledger:
        try:
            sign(ledger)
        except AlreadySigned as error:
            return error.code
    return "signed"


def test_a_warrant_is_signed_for_once_also_after_a_restart(path: Path) -> None:
    assert [attempt(path), attempt(path)] == ["signed", "ALREADY-SIGNED"]
    with SigningLedger(path) as ledger:
        sign(ledger, OTHER)


def test_processes_at_once_give_one_signature(path: Path) -> None:
    SigningLedger(path).close()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        answers = list(pool.map(attempt, [path] * 6))
    assert sorted(answers) == [*["ALREADY-SIGNED"] * 5, "signed"]


def test_threads_at_once_give_one_signature(path: Path) -> None:
    with SigningLedger(path) as ledger:

        def enter(_: int) -> str:
            try:
                sign(ledger)
            except AlreadySigned as error:
                return error.code
            return "signed"

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(enter, range(20))).count("signed") == 1


def test_lines_are_kept_newest_first(path: Path) -> None:
    with SigningLedger(path) as ledger:
        sign(ledger, at=100)
        ledger.enter_refusal("MALFORMED", warrant_id="", at=101)
        ledger.enter_refusal("WARRANT-FORGED", warrant_id=OTHER, at=102)
        assert ledger.latest(2) == [
            LedgerLine(102, "WARRANT-FORGED", OTHER, "", ""),
            LedgerLine(101, "MALFORMED", "", "", ""),
        ]
        assert ledger.latest(9)[2] == LedgerLine(100, "SIGNED", WARRANT, "ab" * 32, "cd" * 32)


def test_a_clock_behind_the_newest_signature_signs_nothing(path: Path) -> None:
    with SigningLedger(path) as ledger:
        sign(ledger, at=100)
        with pytest.raises(ClockRollback):
            sign(ledger, OTHER, at=99)
        sign(ledger, OTHER, at=100)  # what was refused did not spend the warrant


@pytest.mark.parametrize(
    "statement",
    [
        "delete from signature",
        "update signature set at = 1",
        "insert or replace into signature select * from signature",
        "delete from refusal",
        "update refusal set code = 'X'",
    ],
)
def test_no_line_is_taken_back(path: Path, statement: str) -> None:
    with SigningLedger(path) as ledger:
        sign(ledger)
        ledger.enter_refusal("MALFORMED", warrant_id="", at=1)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_the_file_is_private(path: Path) -> None:
    SigningLedger(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(KeyExposed):
        SigningLedger(path)


def test_what_is_no_ledger_is_refused(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="the ledger refused"):
        SigningLedger(path)


def test_a_ledger_of_another_version_is_refused(path: Path) -> None:
    SigningLedger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 2")
    with pytest.raises(StoreUnavailable, match="version 2"):
        SigningLedger(path)


def test_a_ledger_that_was_closed_signs_nothing(path: Path) -> None:
    ledger = SigningLedger(path)
    ledger.close()
    with pytest.raises(StoreUnavailable):
        sign(ledger)
