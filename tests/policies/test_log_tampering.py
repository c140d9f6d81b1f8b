"""What each way of tampering with the log's file is caught by, and what it is not caught by.

The attacker has the whole database file; in the last rows also the log's signing key. The table of
docs/audit.md is this one.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from policies.audit import AuditLog, LogTampered
from policies.canonical import canonical, parse
from policies.database import Database
from policies.errors import Error, StoreUnavailable
from policies.keys import SigningKey
from policies.merkle import build_tree, leaf_hash
from policies.proofs import ConsistencyProof
from policies.witness import Witness

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
NOW = 1_795_219_200


@dataclass
class Site:
    """A log in a file, a checkpoint kept elsewhere, a witness and an early copy of the file."""

    folder: Path

    def __post_init__(self) -> None:
        self.path = self.folder / "log.db"
        self.early = self.folder / "early.db"
        self.witness = Witness(
            "w.test", SigningKey.from_seed(b"w" * 32), self.folder / "state", lambda: NOW
        )
        self.run(lambda log: [log.append("warrant", {"warrant": f"w{n}"}) for n in range(4)])
        shutil.copy(self.path, self.early)
        self.run(lambda log: [log.append("warrant", {"warrant": f"w{n}"}) for n in range(4, 9)])
        self.kept = self.run(lambda log: log.checkpoint())
        self.witness.adopt(self.kept, origin=ORIGIN, log_key=KEY.public)

    def run(self, act: Callable[[AuditLog], Any]) -> Any:
        """Do something with the log, in a database opened for it alone."""
        database = Database(f"sqlite:///{self.path}")
        try:
            return act(AuditLog(database, origin=ORIGIN, key=KEY, clock=lambda: NOW))
        finally:
            database.close()

    def sql(self, *statements: str) -> None:
        """Change rows as somebody does who opens the file with another program."""
        connection = sqlite3.connect(self.path)
        names = connection.execute("select name from sqlite_master where type = 'trigger'")
        for (name,) in names.fetchall():
            connection.execute(f"drop trigger {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
        connection.commit()
        connection.close()

    def rebuild(self, entries: list[bytes]) -> None:
        """Replace the log by another one that leads to its own tree."""
        self.sql("delete from log_entry", "delete from log_node")
        connection = sqlite3.connect(self.path)
        for i, data in enumerate(entries):
            values = (i, NOW, parse(data)["warrant"], data)
            connection.execute("insert into log_entry values (?, ?, ?, ?)", values)
        for level, row in enumerate(build_tree([leaf_hash(data) for data in entries])):
            for i, value in enumerate(row):
                connection.execute("insert into log_node values (?, ?)", (level << 56 | i, value))
        connection.commit()
        connection.close()

    def caught_by(self) -> set[str]:
        """Ask each control; the log first grows by what an attacker may add to look alive."""
        caught = set()
        for name, act in (
            ("recompute", lambda log: log.check()),
            ("kept", lambda log: log.check(self.kept)),
            ("witness", self._ask_witness),
        ):
            try:
                self.run(act)
            except Error:
                caught.add(name)
        return caught

    def _ask_witness(self, log: AuditLog) -> None:
        note = log.checkpoint()
        proof = ConsistencyProof(9, log.prove_consistency(9), note)
        self.witness.cosign(note, proof, origin=ORIGIN, log_key=KEY.public)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def entries_of(site: Site) -> list[bytes]:
    return list(site.run(lambda log: log.snapshot()).entries)


def edit_entry(site: Site) -> None:
    site.sql("update log_entry set data = cast(replace(data, 'w3', 'x3') as blob) where i = 3")


def edit_entry_and_leaf(site: Site) -> None:
    edit_entry(site)
    data = bytes(canonical({"v": 1, "kind": "warrant", "at": NOW, "warrant": "x3"}))
    site.sql(f"update log_node set hash = x'{leaf_hash(data).hex()}' where key = 3")  # noqa: S608


def delete_entry(site: Site) -> None:
    site.sql("delete from log_entry where i = 3")


def delete_entry_and_close_the_gap(site: Site) -> None:
    entries = entries_of(site)
    site.rebuild(entries[:3] + entries[4:])


def reorder(site: Site) -> None:
    site.sql(
        "update log_entry set i = 99 where i = 1",
        "update log_entry set i = 1 where i = 2",
        "update log_entry set i = 2 where i = 99",
    )


def replace_entry(site: Site) -> None:
    site.sql("insert or replace into log_entry values (3, 0, null, x'7b7d')")


def cut_entries(site: Site) -> None:
    site.sql("delete from log_entry where i >= 6")


def cut_entries_and_nodes(site: Site) -> None:
    site.rebuild(entries_of(site)[:6])


def put_back_an_old_copy(site: Site) -> None:
    for name in ("-wal", "-shm"):
        site.path.with_name(site.path.name + name).unlink(missing_ok=True)
    shutil.copy(site.early, site.path)


def put_back_an_old_copy_and_grow(site: Site) -> None:
    put_back_an_old_copy(site)
    site.run(lambda log: [log.append("warrant", {"warrant": f"x{n}"}) for n in range(8)])


def rewrite_everything(site: Site) -> None:
    forged = [
        {"v": 1, "kind": "warrant", "at": NOW, "warrant": f"w{n}", "decision": 7} for n in range(9)
    ]
    site.rebuild([canonical(entry) for entry in forged])


EVERYONE = {"recompute", "kept", "witness"}
OUTSIDE = {"kept", "witness"}
# A witness sees roots alone: rows edited under an unchanged tree are for the recomputation to find.
ATTACKS: dict[Callable[[Site], None], set[str]] = {
    edit_entry: {"recompute", "kept"},
    edit_entry_and_leaf: {"recompute", "kept"},
    delete_entry: {"recompute", "kept"},
    delete_entry_and_close_the_gap: OUTSIDE,
    reorder: {"recompute", "kept"},
    replace_entry: {"recompute", "kept"},
    cut_entries: EVERYONE,
    cut_entries_and_nodes: OUTSIDE,
    put_back_an_old_copy: OUTSIDE,
    put_back_an_old_copy_and_grow: OUTSIDE,
    rewrite_everything: OUTSIDE,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_catches_it(site: Site, attack: Callable[[Site], None]) -> None:
    attack(site)
    assert site.caught_by() == ATTACKS[attack]


def test_nothing_is_caught_where_nothing_was_done(site: Site) -> None:
    assert site.caught_by() == set()
    site.run(lambda log: log.append("abort", {"warrant": "w1"}))
    assert site.caught_by() == set()


ACCIDENTS = (
    "update log_entry set data = x'7b7d' where i = 3",
    "delete from log_entry where i = 3",
    "insert or replace into log_entry values (3, 0, null, x'7b7d')",
    "replace into log_node values (3, zeroblob(32))",
    "update log_node set hash = zeroblob(32)",
    "delete from log_node",
)


@pytest.mark.parametrize("statement", ACCIDENTS)
def test_an_accident_is_stopped_by_the_database(site: Site, statement: str) -> None:
    database = Database(f"sqlite:///{site.path}")
    with pytest.raises(StoreUnavailable, match="append-only"), database.transaction() as connection:
        connection.exec_driver_sql(statement)
    database.close()
    assert site.caught_by() == set()


def test_the_error_says_what_was_found(site: Site) -> None:
    edit_entry(site)
    with pytest.raises(LogTampered, match="an entry was changed") as caught:
        site.run(lambda log: log.check())
    assert caught.value.code == "LOG-TAMPERED"
