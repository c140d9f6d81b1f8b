"""The same guarantees in a file and on a server: consents, warrants, uses and the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policies import database as database_module
from policies.audit import AuditLog, ClockRollback, LogTampered, Receipt, verify_entry
from policies.consent import ConsentBroken
from policies.database import Database
from policies.decide import Refused
from policies.errors import Error, StoreUnavailable
from policies.merkle import verify_consistency
from policies.record import encode
from policies.tables import CONSENT, CONSENT_EVENT, DISPOSAL, NODE, RESERVATION, TEMPLATE
from policies.warrant import Warrant, WarrantInvalid
from policies.warrants import ActiveWarrant

DOCUMENT = Path(__file__).parents[2] / "docs" / "database.md"


@pytest.fixture
def shared(office: Any, any_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An office over a database in a file, then over one on a server."""
    # On a slow machine fifty threads may wait long; here nobody is sent away for that.
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 60)
    database = Database(any_url)
    yield type(office)(database=database)
    database.close()


def rows(office: Any, table: sa.Table) -> int:
    with office.database.transaction() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def kinds(office: Any) -> list[str]:
    return [entry["kind"] for entry in office.log.entries() if entry["kind"] != "consent_event"]


def admit(office: Any, **changes: Any) -> Warrant:
    request = office.swap_request(**changes)
    warrant: Warrant = office.desk.admit(request, office.measured(request))
    return warrant


def keep(connection: sa.Connection, receipt: Receipt) -> None:
    """A registry that has nothing to record."""


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Run `call` in that many threads at the same moment; returns results and errors."""
    gate = threading.Barrier(count)

    def run(number: int) -> Any:
        gate.wait()
        try:
            return call(number)
        except Error as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# --- one after the other ------------------------------------------------------------------------


def test_a_consent_is_kept_and_read_back_whole(shared: Any, any_url: str) -> None:
    record_id = shared.enrol()
    record = shared.book.read(record_id).record
    again = Database(any_url)
    with again.transaction() as connection:
        assert connection.scalar(sa.select(CONSENT.c.document)) == encode(record)
    again.close()
    assert shared.book.read(record_id).state.status == "confirmed"
    assert shared.book.template(record) == b"template 1"
    shared.withdraw(record_id)
    assert shared.book.read(record_id).state.status == "withdrawn"
    assert [event.kind for event in shared.book.history(record_id)][-1] == "withdrawn"
    assert rows(shared, TEMPLATE) == 0
    with pytest.raises(ConsentBroken):
        shared.book.template(record)


def test_a_warrant_goes_its_way_once(shared: Any) -> None:
    warrant = admit(shared)
    active = shared.desk.start(warrant)
    with pytest.raises(WarrantInvalid) as caught:
        shared.desk.start(warrant)
    assert caught.value.code == "WARRANT-SPENT"
    shared.desk.finish(active, {"output": "o"}, record=keep)
    assert shared.desk.state(warrant.warrant_id) == "released"
    shared.desk.abort(warrant, "too late")
    assert shared.desk.state(warrant.warrant_id) == "released"
    assert kinds(shared) == ["decision", "warrant", "release"]
    assert rows(shared, RESERVATION) == 2
    shared.log.check()


def test_an_abort_gives_the_uses_back(shared: Any) -> None:
    warrant = admit(shared)
    assert rows(shared, RESERVATION) == 2
    shared.desk.abort(warrant, "stopped")
    assert rows(shared, RESERVATION) == 0
    assert kinds(shared) == ["decision", "warrant", "abort"]


def test_a_refusal_is_logged_and_takes_no_use(shared: Any) -> None:
    request = shared.swap_request(territories=["US"])
    with pytest.raises(Refused) as caught:
        shared.desk.admit(request, shared.measured(request))
    assert "TERRITORY-SCOPE" in caught.value.decision.codes
    assert kinds(shared) == ["decision"]
    assert rows(shared, RESERVATION) == 0


def test_the_log_is_proved_and_extends_itself(shared: Any) -> None:
    for number in range(5):
        shared.log.append("abort", {"warrant": f"w{number}"})
    old = shared.log.checkpoint()
    shared.log.append_many([("abort", {"warrant": f"w{number}"}) for number in range(5, 12)])
    head = shared.log.check(old)
    assert head.size == 12
    for index in (0, 4, 11):
        proof = shared.log.prove(index)
        found = verify_entry(proof, origin=shared.log.origin, key=shared.log_key.public)
        assert (found.size, proof.entry["warrant"]) == (12, f"w{index}")
    five = AuditLog(Database("sqlite://"), origin="x/y", key=shared.log_key, clock=shared.clock)
    for number in range(5):
        five.append("abort", {"warrant": f"w{number}"})
    verify_consistency(
        old=5,
        new=12,
        old_root=five.check().root,
        new_root=head.root,
        path=shared.log.prove_consistency(5),
    )


def test_a_clock_set_back_decides_nothing(shared: Any) -> None:
    request = shared.swap_request()
    shared.log.append("abort", {"warrant": "w"})
    shared.clock.now -= 1
    with pytest.raises(ClockRollback):
        shared.desk.admit(request, shared.measured(request))
    assert kinds(shared) == ["abort"]


EDITS = {
    "an entry's bytes": "update log_entry set data = {zero} where i = 2",
    "an entry's time": "update log_entry set at = at + 1 where i = 2",
    "whom it is about": "update log_entry set about = 'x' where i = 2",
    "an entry deleted": "delete from log_entry where i = 2",
    "entries reordered": "update log_entry set i = i + 100 where i = 2",
    "a node of the tree": "update log_node set hash = {zero} where key = 2",
    "a node deleted": "delete from log_node where key = 2",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_behind_the_triggers_is_found(shared: Any, edit: str) -> None:
    for number in range(4):
        shared.log.append("abort", {"warrant": f"w{number}"})
    shared.log.check()
    with shared.database.transaction() as connection:
        if connection.dialect.name == "sqlite":
            for table in ("log_entry", "log_node"):
                for operation in ("update", "delete"):
                    connection.exec_driver_sql(f"drop trigger {table}_{operation}")
        else:
            for table in ("log_entry", "log_node"):
                connection.exec_driver_sql(f"alter table {table} disable trigger user")
        zero = "x'00'" if connection.dialect.name == "sqlite" else r"'\x00'::bytea"
        changed = connection.exec_driver_sql(EDITS[edit].format(zero=zero))
        assert changed.rowcount == 1
    with pytest.raises(LogTampered):
        shared.log.check()


def test_a_cut_log_is_found_by_a_kept_checkpoint(shared: Any) -> None:
    for number in range(4):
        shared.log.append("abort", {"warrant": f"w{number}"})
    kept = shared.log.checkpoint()
    with shared.database.transaction() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("drop trigger log_entry_delete")
            connection.exec_driver_sql("drop trigger log_node_delete")
        else:
            connection.exec_driver_sql("alter table log_entry disable trigger user")
            connection.exec_driver_sql("alter table log_node disable trigger user")
        connection.exec_driver_sql("delete from log_entry where i = 3")
        keys = (3, 1 << 56 | 1, 2 << 56)
        connection.execute(sa.delete(NODE).where(NODE.c.key.in_(keys)))
    assert shared.log.check().size == 3
    with pytest.raises(LogTampered):
        shared.log.check(kept)


# --- all at once --------------------------------------------------------------------------------


def test_fifty_requests_and_one_use_give_one_warrant(shared: Any) -> None:
    people = [
        (shared.enrol(max_uses=1), "source_identity"),
        (shared.enrol(max_uses=100), "target_body"),
    ]
    request = shared.request(people)
    measured = shared.measured(request)
    found = at_once(50, lambda _: shared.desk.admit(request, measured))
    assert sum(isinstance(result, Warrant) for result in found) == 1
    refused = [result for result in found if isinstance(result, Refused)]
    assert len(refused) == 49
    assert {result.decision.codes for result in refused} == {("LIMIT-EXHAUSTED",)}
    assert rows(shared, RESERVATION) == 2
    assert sorted(kinds(shared)) == ["decision"] * 50 + ["warrant"]
    shared.log.check()


def test_two_desks_share_one_use(shared: Any, any_url: str) -> None:
    """Two engines, as two processes have: no lock of this process is what holds."""
    first = shared.desk
    other = Database(any_url)
    second = type(first)(
        other,
        AuditLog(other, origin=shared.log.origin, key=shared.log_key, clock=shared.clock),
        type(shared.book)(
            database=other,
            log=AuditLog(other, origin=shared.log.origin, key=shared.log_key, clock=shared.clock),
            keys=shared.subject_keys,
            controllers=(shared.controller.public,),
            commitment=shared.book.commitment,
            clock=shared.clock,
        ),
        shared.desk_key,
        shared.house,
        shared.clock,
    )
    people = [(shared.enrol(max_uses=1), "source_identity"), (shared.enrol(), "target_body")]
    request = shared.request(people)
    measured = shared.measured(request)
    found = at_once(10, lambda n: (first, second)[n % 2].admit(request, measured))
    assert sum(isinstance(result, Warrant) for result in found) == 1
    assert sum(isinstance(result, Refused) for result in found) == 9
    shared.log.check()
    other.close()


def test_two_log_writers_make_one_tree(shared: Any, any_url: str) -> None:
    other = Database(any_url)
    logs = [
        shared.log,
        AuditLog(other, origin=shared.log.origin, key=shared.log_key, clock=shared.clock),
    ]

    def write(number: int) -> list[Receipt]:
        return [logs[number].append("abort", {"warrant": f"{number}-{n}"}) for n in range(20)]

    receipts = [receipt for found in at_once(2, write) for receipt in found]
    assert sorted(receipt.index for receipt in receipts) == list(range(40))
    head = shared.log.check()
    assert (head.size, logs[1].check()) == (40, head)
    verify_entry(logs[1].prove(17), origin=shared.log.origin, key=shared.log_key.public)
    other.close()


def test_a_warrant_is_started_once(shared: Any) -> None:
    warrant = admit(shared)
    found = at_once(12, lambda _: shared.desk.start(warrant))
    assert sum(type(result) is ActiveWarrant for result in found) == 1
    assert {result.code for result in found if isinstance(result, Error)} == {"WARRANT-SPENT"}


def test_a_start_races_an_abort(shared: Any) -> None:
    for _ in range(4):
        warrant = admit(shared)
        before = rows(shared, RESERVATION)

        def act(number: int, warrant: Warrant = warrant) -> Any:
            if number:
                return shared.desk.start(warrant)
            return shared.desk.abort(warrant, "race")

        aborted, started = at_once(2, act)
        assert aborted is None
        assert type(started) is ActiveWarrant or started.code == "WARRANT-SPENT"
        assert shared.desk.state(warrant.warrant_id) == "aborted"
        if type(started) is ActiveWarrant:
            with pytest.raises(WarrantInvalid) as caught:
                started.require()
            assert caught.value.code == "WARRANT-SPENT"
        assert rows(shared, RESERVATION) == before - 2
    assert kinds(shared) == ["decision", "warrant", "abort"] * 4
    shared.log.check()


def test_a_release_races_an_abort(shared: Any) -> None:
    active = shared.desk.start(admit(shared))

    def end(number: int) -> Any:
        if number % 2:
            return shared.desk.abort(active.document, "race")
        return shared.desk.finish(active, {}, record=keep)

    found = at_once(12, end)
    ended = [kind for kind in kinds(shared) if kind in ("release", "abort")]
    released = sum(isinstance(result, Receipt) for result in found)
    assert len(ended) == 1
    assert released == (ended == ["release"])
    assert rows(shared, RESERVATION) == (2 if released else 0)


def test_a_withdrawal_races_a_release(shared: Any) -> None:
    active = shared.desk.start(admit(shared))
    record_id = active.document.people[0].record_id

    def act(number: int) -> Any:
        if number:
            return shared.desk.finish(active, {}, record=keep)
        return shared.withdraw(record_id)

    withdrawn, finished = at_once(2, act)
    assert withdrawn is None
    order = [
        entry["kind"]
        for entry in shared.log.entries()
        if entry.get("event") == "withdrawn" or entry["kind"] == "release"
    ]
    released = isinstance(finished, Receipt)
    assert order == (["release", "consent_event"] if released else ["consent_event"])
    assert released or finished.code == "CONSENT-CHANGED"


# --- a database that is locked ------------------------------------------------------------------


def test_a_locked_database_denies_and_loses_nothing(
    shared: Any, any_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = shared.swap_request()
    measured = shared.measured(request)
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    shared.database.close()
    other = Database(any_url)
    with other.transaction():
        with pytest.raises(StoreUnavailable) as caught:
            shared.desk.admit(request, measured)
        assert caught.value.code == "STORE-UNAVAILABLE"
    other.close()
    assert kinds(shared) == []
    assert shared.desk.state(shared.desk.admit(request, measured).warrant_id) == "issued"


# --- an application that owns nothing -----------------------------------------------------------


@pytest.fixture
def app_url(postgres_server: Any, postgres_url: str) -> Iterator[str]:
    """The address for the role that docs/database.md makes, in a database that it does not own."""
    text = DOCUMENT.read_text(encoding="utf-8")
    postgres_server.execute("create role facewarrant_app login")
    owner = sa.create_engine(postgres_url)
    with owner.begin() as connection:
        connection.exec_driver_sql(text.split("```sql")[1].split("```")[0])
    yield postgres_server.url(sa.make_url(postgres_url).database, "facewarrant_app")
    with owner.begin() as connection:
        connection.exec_driver_sql("drop owned by facewarrant_app")
    owner.dispose()
    postgres_server.execute("drop role facewarrant_app")


def test_the_documented_rights_are_enough_and_no_more(office: Any, app_url: str) -> None:
    shared = type(office)(database=Database(app_url))
    active = shared.desk.start(admit(shared))
    shared.desk.finish(active, {}, record=keep)
    shared.desk.abort(admit(shared), "stopped")
    shared.withdraw(active.document.people[0].record_id)
    assert shared.log.check().size > 0
    with shared.database.transaction() as connection:  # what a sweep does
        record_id = connection.scalar(sa.select(CONSENT.c.record_id).limit(1))
        disposal = {"record_id": record_id, "due_at": 1, "at": 2}
        connection.execute(sa.insert(DISPOSAL), disposal)
        for table in (CONSENT_EVENT, TEMPLATE, CONSENT):
            connection.execute(sa.delete(table).where(table.c.record_id == record_id))
    for sql in (
        "update log_entry set at = 0",
        "delete from log_entry",
        "truncate log_node",
        "delete from warrant",
        "update warrant set document = ''",
        "update consent set pid = 'x'",
        "alter table log_entry disable trigger log_entry_delete",
        "drop trigger log_entry_delete on log_entry",
        "drop table log_node",
        "update facewarrant_revision set version_num = '0'",
    ):
        with pytest.raises(StoreUnavailable, match=r"permission denied|must be owner|append-only"):
            with shared.database.transaction() as connection:
                connection.exec_driver_sql(sql)
    shared.database.close()
