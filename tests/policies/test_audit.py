"""T13 and T15: what is written in the log stays, and a clock behind the log decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as SQLiteDialect

import policies.audit
from policies.audit import (
    AuditLog,
    ClockRollback,
    LogTampered,
    _insert_into,
    last_time,
    verify_entry,
)
from policies.canonical import canonical, parse
from policies.checkpoint import TooFewWitnesses, WitnessKey, add_cosignature, open_checkpoint
from policies.database import Database
from policies.entries import MAX_ENTRY_BYTES
from policies.errors import BadSignature, Error, Malformed, StoreUnavailable
from policies.keys import SigningKey
from policies.merkle import EMPTY_ROOT, ProofInvalid, leaf_hash, node_hash, verify_consistency
from policies.tables import NODE

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
NOW = 1_795_219_200
Tamper = Callable[..., None]


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


def make_log(database: Database | None = None, *, entries: int = 0) -> AuditLog:
    log = AuditLog(database or Database("sqlite://"), origin=ORIGIN, key=KEY, clock=Clock())
    for number in range(entries):
        log.append("warrant", {"warrant": f"w{number}"})
    return log


def test_entries_come_back_in_order() -> None:
    log = make_log()
    receipts = [log.append("decision", {"request": f"r{n}"}) for n in range(3)]
    assert [(r.index, r.size) for r in receipts] == [(0, 1), (1, 2), (2, 3)]
    assert log.entries()[1] == {"v": 1, "kind": "decision", "at": NOW, "request": "r1"}
    assert (log.origin, log.public) == (ORIGIN, KEY.public)


def test_the_stored_tree_is_the_recomputed_one() -> None:
    log = make_log()
    for size in range(1, 18):
        log.append("warrant", {"decision": size})
        head = open_checkpoint(log.checkpoint(), origin=ORIGIN, key=KEY.public)
        assert head == log.check()
        assert head.size == size


def test_an_empty_log() -> None:
    log = make_log()
    head = open_checkpoint(log.checkpoint(), origin=ORIGIN, key=KEY.public)
    assert (head.size, head.root) == (0, EMPTY_ROOT)
    assert log.check(log.checkpoint()) == head
    assert log.entries() == []
    for ask in (log.prove, log.prove_consistency):
        with pytest.raises(LogTampered):
            ask(0)


@pytest.mark.parametrize("size", range(1, 14))
def test_every_entry_is_provable_to_a_stranger(size: int) -> None:
    log = make_log(entries=size)
    for index in range(size):
        proof = log.prove(index)
        assert verify_entry(proof, origin=ORIGIN, key=KEY.public).size == size
        for forged in (
            replace(proof, entry={**proof.entry, "warrant": "other"}),
            replace(proof, entry={**proof.entry, "at": NOW - 1}),
            replace(proof, index=index + 1),
            replace(proof, path=(*proof.path, EMPTY_ROOT)),
        ):
            with pytest.raises(ProofInvalid):
                verify_entry(forged, origin=ORIGIN, key=KEY.public)


def test_a_proof_needs_the_right_log_key_and_origin() -> None:
    proof = make_log(entries=3).prove(1)
    with pytest.raises(BadSignature):
        verify_entry(proof, origin=ORIGIN, key=SigningKey.from_seed(b"x" * 32).public)
    with pytest.raises(Malformed):
        verify_entry(proof, origin="other", key=KEY.public)


def test_consistency_from_every_kept_checkpoint() -> None:
    log, kept = make_log(), []
    for n in range(12):
        log.append("abort", {"warrant": f"w{n}"})
        kept.append(open_checkpoint(log.checkpoint(), origin=ORIGIN, key=KEY.public))
    new = kept[-1]
    for old in kept:
        verify_consistency(
            old=old.size, new=new.size, old_root=old.root, new_root=new.root,
            path=log.prove_consistency(old.size),
        )  # fmt: skip
    for old in kept:
        between = kept[max(old.size, 9) - 1]
        verify_consistency(
            old=old.size, new=between.size, old_root=old.root, new_root=between.root,
            path=log.prove_consistency(old.size, between.size),
        )  # fmt: skip
    for wrong in ((-1,), (0,), (13,), (2**70,), (3, 2), (3, 13), (0, 0)):
        with pytest.raises(LogTampered):
            log.prove_consistency(*wrong)


@pytest.mark.parametrize("index", [-1, 3, 10**9])
def test_no_proof_of_an_entry_that_is_not_there(index: int) -> None:
    with pytest.raises(LogTampered) as caught:
        make_log(entries=3).prove(index)
    assert caught.value.code == "LOG-TAMPERED"


def test_an_index_beyond_the_database_is_an_error_of_ours() -> None:
    with pytest.raises(StoreUnavailable):
        make_log(entries=1).prove(2**70)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("gossip", {}),
        ("Decision", {}),
        ("", {}),
        ("decision", {"request": "x" * MAX_ENTRY_BYTES}),
        ("decision", {"request": "\ud800"}),
        ("release", {"kind": "decision"}),
        ("release", {"at": 0}),
        ("release", {"v": 2, "at": 0}),
    ],
)
def test_what_is_not_an_entry(kind: Any, content: dict[str, Any]) -> None:
    log = make_log(entries=1)
    with pytest.raises(Malformed) as caught:
        log.append(kind, content)
    assert caught.value.code == "MALFORMED"
    assert log.check().size == 1


def test_an_entry_of_exactly_the_limit_fits() -> None:
    log = make_log()
    room = MAX_ENTRY_BYTES - len(canonical({"v": 1, "kind": "abort", "at": NOW, "reason": ""}))
    log.append("abort", {"reason": "x" * room})
    with pytest.raises(Malformed):
        log.append("abort", {"reason": "x" * (room + 1)})


def test_a_clock_behind_the_log_appends_nothing() -> None:
    database, clock = Database("sqlite://"), Clock()
    log = AuditLog(database, origin=ORIGIN, key=KEY, clock=clock)
    log.append("decision", {})
    clock.now = NOW - 1
    with pytest.raises(ClockRollback) as caught:
        log.append("decision", {})
    assert caught.value.code == "CLOCK-ROLLBACK"
    assert "NTP" in caught.value.mend
    clock.now = NOW
    log.append("decision", {})
    with database.transaction() as connection:
        assert last_time(connection) == NOW
        log.refuse_rollback(NOW, within=connection)
        with pytest.raises(ClockRollback):
            log.refuse_rollback(NOW - 1, within=connection)
    assert log.check().size == 2


def test_an_entry_is_part_of_the_callers_transaction() -> None:
    database = Database("sqlite://")
    log = make_log(database)

    def fail_half_way() -> None:
        with database.transaction() as connection:
            log.append("decision", {}, within=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert log.check().size == 0


def test_the_newest_entry_about_something() -> None:
    database = Database("sqlite://")
    log = make_log(database)
    for n in range(3):
        log.append("consent_event", {"subject": "a", "seq": n})
        log.append("consent_event", {"subject": "b", "seq": n})
    log.append("abort", {"warrant": "w"})
    log.append("decision", {"subjects": ["a"]})
    log.append("erasure", {"subject": "a", "receipt": "r"})  # no step of the consent
    with database.transaction() as connection:
        assert (log.newest("a", within=connection) or {})["seq"] == 2
        assert (log.newest("w", within=connection) or {})["kind"] == "abort"
        assert log.newest("c", within=connection) is None


def numbered(count: int) -> list[Any]:
    """Entries of several kinds, all different."""
    kinds = ("warrant", "decision", "consent_event")
    fields = ("decision", "request", "seq")
    return [(kinds[n % 3], {fields[n % 3]: n}) for n in range(count)]


@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=7))
def test_batches_give_the_tree_of_single_entries(sizes: list[int]) -> None:
    single, batched, batch = make_log(), make_log(), iter(numbered(70))
    for size in sizes:
        entries = [next(batch) for _ in range(size)]
        receipts = batched.append_many(entries)
        assert receipts == tuple(single.append(*entry) for entry in entries)
        assert batched.checkpoint() == single.checkpoint()
    assert batched.check() == single.check()
    assert batched.entries() == single.entries()


def test_a_batch_is_one_transaction() -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=3)
    with pytest.raises(Malformed):
        log.append_many([*numbered(4), ("decision", {"name": "Alice"})])
    assert log.check().size == 3
    assert log.append_many([]) == ()
    with database.transaction() as connection:
        assert log.append_many(numbered(2), within=connection)[1].size == 5
    assert log.check().size == 5


def test_a_batch_is_not_dated_before_the_log() -> None:
    database, clock = Database("sqlite://"), Clock()
    log = AuditLog(database, origin=ORIGIN, key=KEY, clock=clock)
    log.append_many(numbered(2))
    clock.now = NOW - 1
    with pytest.raises(ClockRollback):
        log.append_many(numbered(2))


@pytest.mark.parametrize(("style", "named"), [("qmark", False), ("pyformat", True)])
def test_rows_are_handed_over_as_the_driver_takes_them(style: Any, named: bool) -> None:
    text, names = _insert_into(NODE, SQLiteDialect(paramstyle=style))
    assert names == (("key", "hash") if named else ())
    assert text.startswith("INSERT INTO log_node")


def test_the_newest_entries_first() -> None:
    log = make_log()
    log.append_many(numbered(9))
    log.append("abort", {"warrant": "w", "reason": "r"})
    assert [index for index, _ in log.latest(3)] == [9, 8, 7]
    assert [index for index, _ in log.latest(2, kind="decision")] == [7, 4]
    assert log.latest(5, about="w") == [(9, log.entries()[9])]
    assert log.latest(5, about="w", kind="decision") == []
    assert len(log.latest(50)) == 10
    assert make_log().latest(5) == []


def test_the_newest_entries_of_a_long_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies.audit, "_PAGE", 4)
    log = make_log()
    log.append_many([("abort", {"warrant": "w"}), *numbered(11)])
    assert [index for index, _ in log.latest(9, kind="abort")] == [0]
    assert [index for index, _ in log.latest(9)] == list(range(11, 2, -1))


def test_a_snapshot_is_the_log_and_the_checkpoint_over_it() -> None:
    log = make_log(entries=5)
    snapshot = log.snapshot()
    assert [parse(entry) for entry in snapshot.entries] == log.entries()
    assert snapshot.checkpoint == log.checkpoint()


def test_a_kept_checkpoint_must_have_its_witnesses() -> None:
    log, witness = make_log(entries=3), SigningKey.from_seed(b"w" * 32)
    kept = log.checkpoint()
    trusted = [WitnessKey("w.test", witness.public)]
    with pytest.raises(TooFewWitnesses):
        log.check(kept, witnesses=trusted, quorum=1)
    cosigned = add_cosignature(kept, name="w.test", key=witness, at=NOW)
    log.append_many(numbered(3))
    assert log.check(cosigned, kept, witnesses=trusted).size == 6
    assert log.check(cosigned, witnesses=trusted, quorum=1).size == 6
    with pytest.raises(TooFewWitnesses):
        verify_entry(log.prove(1), origin=ORIGIN, key=KEY.public, witnesses=trusted, quorum=1)


EDITS = {
    "one byte of an entry": "update log_entry set data = cast(replace(data, 'w3', 'w4') as blob) "
    "where i = 3",
    "an entry turned into text": "update log_entry set data = cast(data as text) where i = 3",
    "an entry turned into a number": "update log_entry set data = 7 where i = 3",
    "a time turned into text": "update log_entry set at = 'never' where i = 6",
    "the time of an entry": "update log_entry set at = at - 1 where i = 6",
    "whom an entry is about": "update log_entry set about = 'w9' where i = 2",
    "whom an entry is about, gone": "update log_entry set about = null where i = 2",
    "two entries swapped": "update log_entry set i = case i when 1 then 2 when 2 then 1 end "
    "where i in (1, 2)",
    "an entry deleted": "delete from log_entry where i = 3",
    "the first entry deleted": "delete from log_entry where i = 0",
    "the last entry deleted": "delete from log_entry where i = 6",
    "every entry deleted": "delete from log_entry",
    "an entry added": "insert into log_entry (i, at, data) values (7, 0, x'7b7d')",
    "an entry added far away": "insert into log_entry (i, at, data) values (900, 0, x'7b7d')",
    "an entry before the first": "insert into log_entry (i, at, data) values (-1, 0, x'7b7d')",
    "an entry emptied": "update log_entry set data = x'' where i = 5",
    "a leaf of the tree": "update log_node set hash = zeroblob(32) where key = 3",
    "an inner node": "update log_node set hash = zeroblob(32) where key = (2 << 56)",
    "a node deleted": "delete from log_node where key = (1 << 56)",
    "the tree deleted": "delete from log_node",
    "a node added": "insert into log_node (key, hash) values (9, zeroblob(32))",
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_found(name: str, tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=7)
    assert log.check().size == 7
    if "swapped" in name:  # the primary key forbids one statement; go through a free number
        for old, new in ((1, 99), (2, 1), (99, 2)):
            tamper(database, f"update log_entry set i = {new} where i = {old}")  # noqa: S608
    else:
        tamper(database, EDITS[name])
    with pytest.raises(LogTampered) as caught:
        log.check()
    assert caught.value.code == "LOG-TAMPERED"


@settings(
    max_examples=40, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(row=st.integers(0, 4), at=st.integers(0, 40), mask=st.integers(1, 255), table=st.booleans())
def test_any_flipped_byte_is_found(
    tamper: Tamper, row: int, at: int, mask: int, table: bool
) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=5)
    name, key, blob = ("log_entry", "i", "data") if table else ("log_node", "key", "hash")
    with database.transaction() as connection:
        value = bytearray(
            connection.exec_driver_sql(f"select {blob} from {name} where {key} = {row}").scalar()  # type: ignore[arg-type]  # noqa: S608
        )
    value[at % len(value)] ^= mask
    tamper(database, f"update {name} set {blob} = ? where {key} = {row}", bytes(value))  # noqa: S608
    with pytest.raises(LogTampered):
        log.check()


def rewrite(database: Database, tamper: Tamper, entries: list[bytes]) -> None:
    """Replace the log by a self-consistent other one, as someone with all rights could."""
    for table in ("log_entry", "log_node"):
        tamper(database, f"delete from {table}")  # noqa: S608
    level, row = 0, [leaf_hash(data) for data in entries]
    for i, data in enumerate(entries):
        tamper(database, "insert into log_entry (i, at, data) values (?, ?, ?)", i, NOW, data)
    while row:
        for i, value in enumerate(row):
            tamper(database, "insert into log_node values (?, ?)", level << 56 | i, value)
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        level += 1


def test_a_rewritten_history_is_found_against_a_kept_checkpoint(tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=5)
    kept = log.checkpoint()
    log.append("warrant", {"decision": 5})
    assert log.check(kept).size == 6
    forged = [canonical({"v": 1, "kind": "abort", "at": NOW, "n": n}) for n in range(6)]
    rewrite(database, tamper, forged)
    log.check()  # self-consistent: only the copy kept elsewhere shows it
    with pytest.raises(LogTampered, match="kept checkpoint of 5"):
        log.check(kept)


def test_a_cut_tail_is_found_against_a_kept_checkpoint(tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=6)
    kept = log.checkpoint()
    rewrite(database, tamper, [canonical(entry) for entry in log.entries()[:4]])
    tamper(database, "update log_entry set about = 'w' || i")
    assert log.check().size == 4
    with pytest.raises(LogTampered, match="kept checkpoint of 6"):
        log.check(kept)


def test_an_old_copy_of_the_database_is_found(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    database = Database(f"sqlite:///{store}")
    make_log(database, entries=3)
    database.close()
    copy = store.read_bytes()
    database = Database(f"sqlite:///{store}")
    kept = make_log(database, entries=1).checkpoint()
    database.close()
    store.write_bytes(copy)
    log = make_log(Database(f"sqlite:///{store}"))
    assert log.check().size == 3
    with pytest.raises(LogTampered):
        log.check(kept)


def test_a_kept_checkpoint_must_itself_be_signed() -> None:
    log = make_log(entries=2)
    with pytest.raises(Error):
        log.check(log.checkpoint().replace("\n2\n", "\n1\n"))
    with pytest.raises(Malformed):
        log.check("nonsense")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"x", b'{"at":1, "kind":"abort","v":1}', b'{"at":1,"at":2}']
)
def test_a_consistent_log_of_what_are_no_entries(data: bytes, tamper: Tamper) -> None:
    database = Database("sqlite://")
    make_log(database, entries=1)
    rewrite(database, tamper, [data])
    with pytest.raises(LogTampered, match="entry 0 is not an entry"):
        make_log(database).check()


def test_a_consistent_log_in_which_time_goes_back(tamper: Tamper) -> None:
    database = Database("sqlite://")
    make_log(database, entries=1)
    entries = [canonical({"v": 1, "kind": "abort", "at": at}) for at in (NOW, NOW - 1)]
    rewrite(database, tamper, entries)
    tamper(database, "update log_entry set at = at - i")
    with pytest.raises(LogTampered, match="entry 1 is dated before"):
        make_log(database).check()


def test_a_missing_node_stops_checkpoint_and_proof(tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=4)
    tamper(database, "delete from log_node where key in ((1 << 56), (2 << 56))")
    with pytest.raises(LogTampered, match="node"):
        log.checkpoint()
    with pytest.raises(LogTampered, match="node"):
        log.prove(2)


def test_a_time_that_is_no_number_decides_nothing(tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=2)
    tamper(database, "update log_entry set at = 'never' where i = 1")
    with pytest.raises(LogTampered):
        log.append("abort", {})


def test_append_after_a_lost_node_is_refused(tamper: Tamper) -> None:
    database = Database("sqlite://")
    log = make_log(database, entries=3)
    tamper(database, "delete from log_node where key = 2")
    with pytest.raises(LogTampered):
        log.append("abort", {})
