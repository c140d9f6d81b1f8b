"""The book of opt-outs: all of it or none of it, and no change that the log does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policies.audit import AuditLog
from policies.database import Database
from policies.errors import Error, Malformed, StoreUnavailable
from policies.optout import OptOutBook, OptOutsUnreadable, OptOutUnknown, commit_entry

MODEL = "a" * 64
ANNA, BERT = "ps_" + "a" * 26, "ps_" + "b" * 26
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def book(office: Any) -> OptOutBook:
    return OptOutBook(office.database, office.log, office.subject_keys, office.clock)


@pytest.fixture
def sql(office: Any) -> Callable[..., int]:
    """Run one statement behind the book's back; returns how many rows it touched."""

    def run(statement: str, *values: object) -> int:
        with office.database.transaction() as connection:
            return int(connection.exec_driver_sql(statement, values).rowcount)

    return run


def logged(office: Any) -> list[dict[str, Any]]:
    return [entry for entry in office.log.entries() if entry["kind"] == "opt_out"]


def refused(book: OptOutBook) -> str:
    with pytest.raises(OptOutsUnreadable) as caught:
        book.entries()
    return caught.value.code


def test_what_is_added_is_opened_again(book: OptOutBook) -> None:
    first = book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    second = book.add(b"bert's face", model_sha256="b" * 64, pid=BERT)
    found = {e.entry_id: (e.model_sha256, e.vector) for e in book.entries()}
    assert found == {first: (MODEL, b"anna's face"), second: ("b" * 64, b"bert's face")}


def test_an_empty_book_has_no_entries(book: OptOutBook) -> None:
    assert book.entries() == ()
    assert book.list() == ()


def test_every_change_is_logged_by_a_commitment_alone(book: OptOutBook, office: Any) -> None:
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    book.remove(entry_id)
    own = {"event", "entry", "kind", "at", "v"}
    assert [entry.keys() for entry in logged(office)] == [own, own]
    assert [entry["event"] for entry in logged(office)] == ["added", "removed"]
    assert {entry["entry"] for entry in logged(office)} == {commit_entry(entry_id)}
    assert entry_id not in str(office.log.entries())
    assert ANNA not in str(office.log.entries())


def test_the_list_shows_neither_vector_nor_pseudonym(book: OptOutBook, office: Any) -> None:
    office.clock.now += 5
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    (listed,) = book.list()
    assert listed.model_dump() == {
        "entry_id": entry_id,
        "model_sha256": MODEL,
        "added_at": office.clock.now,
    }


def test_printing_an_entry_shows_no_vector(book: OptOutBook) -> None:
    book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    assert "a face" not in repr(book.entries())


def test_the_vector_is_stored_sealed(book: OptOutBook, office: Any) -> None:
    book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    with office.database.transaction() as connection:
        stored = connection.exec_driver_sql("select ciphertext from opt_out").scalar_one()
    assert b"a face" not in stored


def test_the_version_changes_with_every_change_and_never_returns(book: OptOutBook) -> None:
    seen = [book.version()]
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    seen.append(book.version())
    assert book.version() == seen[-1]
    book.add(b"a face", model_sha256=MODEL, pid=BERT)
    seen.append(book.version())
    book.remove(entry_id)
    seen.append(book.version())
    assert len(set(seen)) == 4
    assert all(len(version) == 64 for version in seen)


def test_a_person_is_in_the_book_once(book: OptOutBook, office: Any) -> None:
    book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    with pytest.raises(StoreUnavailable):
        book.add(b"another", model_sha256=MODEL, pid=ANNA)
    assert len(logged(office)) == len(book.entries()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"vector": b""},
        {"model_sha256": ""},
        {"model_sha256": "A" * 64},
        {"pid": ""},
        {"pid": "Anna Example"},
    ],
)
def test_what_could_never_be_searched_is_not_added(
    book: OptOutBook, office: Any, wrong: dict[str, Any]
) -> None:
    """One such row would make the whole registry unavailable."""
    right: dict[str, Any] = {"vector": b"a face", "model_sha256": MODEL, "pid": ANNA}
    named = right | wrong
    with pytest.raises(Malformed) as caught:
        book.add(named.pop("vector"), **named)
    assert caught.value.code == "MALFORMED"
    assert "Anna" not in caught.value.message
    assert logged(office) == []


# -------------------------------------------------------------------------------------- removing


def test_removing_destroys_the_key(book: OptOutBook, office: Any) -> None:
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    book.remove(entry_id)
    assert book.entries() == ()
    assert office.subject_keys.shredded(ANNA)


def test_the_key_of_a_person_who_also_consented_stays(book: OptOutBook, office: Any) -> None:
    record = office.book.read(office.enrol()).record
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=record.subject.pid)
    book.remove(entry_id)
    assert not office.subject_keys.shredded(record.subject.pid)
    assert office.book.template(record)


def test_removing_nothing_says_so_and_logs_nothing(book: OptOutBook, office: Any) -> None:
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    book.remove(entry_id)
    for unknown in (entry_id, NOBODY, "", "Anna"):
        with pytest.raises(OptOutUnknown) as caught:
            book.remove(unknown)
        assert caught.value.code == "OPT-OUT-UNKNOWN"
    assert len(logged(office)) == 2


def test_an_entry_whose_key_is_lost_can_be_removed(
    book: OptOutBook, office: Any, sql: Callable[..., int]
) -> None:
    """Else one lost key would deny every swap for ever."""
    entry_id = book.add(b"a face", model_sha256=MODEL, pid=ANNA)
    assert sql("update opt_out set pid = ?", BERT) == 1
    assert refused(book) == "OPT-OUTS-UNREADABLE"
    book.remove(entry_id)
    assert book.entries() == ()


# -------------------------------------------------------------------- a book that is not whole


@pytest.mark.parametrize(
    "statement",
    [
        "delete from opt_out where pid = ?",
        "update opt_out set ciphertext = x'00' where pid = ?",
        "update opt_out set ciphertext = 'text' where pid = ?",
        "update opt_out set model_sha256 = lower(hex(zeroblob(32))) where pid = ?",
        "update opt_out set entry_id = '00000000-0000-4000-8000-000000000000' where pid = ?",
        "update opt_out set entry_id = 7 where pid = ?",
        "update opt_out set pid = 'ps_cccccccccccccccccccccccccc' where pid = ?",
    ],
    ids=["lost", "cut", "text", "other model", "other id", "no id", "other person"],
)
def test_one_damaged_entry_makes_the_whole_book_unreadable(
    book: OptOutBook, sql: Callable[..., int], statement: str
) -> None:
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    book.add(b"bert's face", model_sha256=MODEL, pid=BERT)
    assert sql(statement, ANNA) == 1
    assert refused(book) == "OPT-OUTS-UNREADABLE"


def test_exchanged_vectors_do_not_open(book: OptOutBook, sql: Callable[..., int]) -> None:
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    book.add(b"bert's face", model_sha256=MODEL, pid=BERT)
    other = "(select ciphertext from opt_out where pid = ?)"
    assert sql(f"update opt_out set ciphertext = {other} where pid = ?", BERT, ANNA) == 1  # noqa: S608
    assert refused(book) == "OPT-OUTS-UNREADABLE"


def test_a_row_that_was_never_added_is_noticed(book: OptOutBook, sql: Callable[..., int]) -> None:
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    values = f"'{NOBODY}', 'ps_{'c' * 26}', '{MODEL}', x'00', 1"
    columns = "entry_id, pid, model_sha256, ciphertext, added_at"
    sql(f"insert into opt_out ({columns}) values ({values})")  # noqa: S608
    assert refused(book) == "OPT-OUTS-UNREADABLE"


def test_a_row_that_comes_back_after_its_removal_is_noticed(
    book: OptOutBook, sql: Callable[..., int]
) -> None:
    entry_id = book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    sql("create table kept as select * from opt_out")
    book.remove(entry_id)
    sql("insert into opt_out select * from kept")
    assert refused(book) == "OPT-OUTS-UNREADABLE"


def test_deleting_a_row_changes_the_version(book: OptOutBook, sql: Callable[..., int]) -> None:
    """So that whoever keeps the opened book reads it again, and then notices."""
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    before = book.version()
    sql("delete from opt_out")
    assert book.version() != before


def test_an_erased_person_makes_the_book_unreadable_until_the_entry_goes(
    book: OptOutBook, office: Any
) -> None:
    entry_id = book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    office.subject_keys.destroy(ANNA)
    assert refused(book) == "OPT-OUTS-UNREADABLE"
    book.remove(entry_id)
    assert book.entries() == ()


def test_a_key_database_that_is_down_is_said_as_it_is(book: OptOutBook, office: Any) -> None:
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    office.subject_keys.close()
    with pytest.raises(StoreUnavailable):
        book.entries()


def test_a_database_that_is_down_answers_nothing(book: OptOutBook, sql: Any) -> None:
    sql("drop table opt_out")
    asked: list[Callable[[], object]] = [book.entries, book.version, book.list]
    for ask in asked:
        with pytest.raises(StoreUnavailable):
            ask()


def test_a_row_that_cannot_be_shown_is_refused(book: OptOutBook, sql: Callable[..., int]) -> None:
    book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    sql("update opt_out set added_at = -1")
    with pytest.raises(OptOutsUnreadable):
        book.list()


def test_a_change_that_cannot_be_logged_is_not_made(book: OptOutBook, office: Any) -> None:
    office.log.append("policy", {"event": 'says "kind":"opt_out" and lies', "policy": "p"})
    entry_id = book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    before = book.version()
    office.clock.now -= 10
    for change in (
        lambda: book.add(b"bert's face", model_sha256=MODEL, pid=BERT),
        lambda: book.remove(entry_id),
    ):
        with pytest.raises(Error) as caught:
            change()
        assert caught.value.code == "CLOCK-ROLLBACK"
    assert book.version() == before
    assert len(book.entries()) == 1


def test_it_is_the_same_on_both_engines(office: Any, any_database: Database) -> None:
    log = AuditLog(any_database, origin="log.test/x", key=office.log_key, clock=office.clock)
    book = OptOutBook(any_database, log, office.subject_keys, office.clock)
    first = book.add(b"anna's face", model_sha256=MODEL, pid=ANNA)
    second = book.add(b"bert's face", model_sha256=MODEL, pid=BERT)
    before = book.version()
    book.remove(first)
    assert [(e.entry_id, e.vector) for e in book.entries()] == [(second, b"bert's face")]
    assert [e.entry_id for e in book.list()] == [second]
    assert book.version() != before
    with any_database.transaction() as connection:
        connection.exec_driver_sql("delete from opt_out")
    assert refused(book) == "OPT-OUTS-UNREADABLE"


def test_a_hidden_log_entry_does_not_hide_an_opt_out(
    book: OptOutBook, office: Any, tamper: Callable[..., None]
) -> None:
    """The column beside an entry is not part of it: whatever it says, the entry counts."""
    book.add(b"v" * 512, model_sha256=MODEL, pid=ANNA)
    tamper(office.database, "delete from opt_out")
    tamper(office.database, "update log_entry set about = 'nothing'")
    with pytest.raises(OptOutsUnreadable):
        book.entries()
