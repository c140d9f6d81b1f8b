from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policies import erasure as module
from policies.canonical import canonical
from policies.consents import ConsentBook
from policies.database import Database
from policies.decide import Refused
from policies.erasure import BACKUP_SECONDS, Eraser
from policies.erasure_receipt import (
    Checks,
    Derivative,
    ErasureReceipt,
    list_derived,
    verify_receipt,
)
from policies.erasure_row import ErasureFailed
from policies.errors import Error
from policies.keyfile import FileKeys
from policies.keyprovider import KeyGone, Standing, Wrapped
from policies.keys import PublicKey, SigningKey
from policies.optout import OptOutBook
from policies.residue import count_copies, needle
from policies.subjectkeys import SubjectKeys
from policies.tables import CONSENT, ERASURE, OPT_OUT, RELEASE_PERSON, TEMPLATE

NOW = 1_795_219_200
DAY = 86_400
FACE = b"the face of this person " * 40
STEPS = ("_end", "_move_opt_out", "_shred", "_files", "_prove", "_write_receipt", "_give_out")


@dataclass
class Bench:
    """An office, its eraser, and the person to erase; `folder` is where its files lie, if any."""

    office: Any
    folder: Path

    def __post_init__(self) -> None:
        office, keys = self.office, self.office.subject_keys
        self.provider: Any = keys.provider
        self.book: ConsentBook = office.book
        self.eraser = Eraser(office.book, office.controller)
        self.record_id: str = office.enrol(face=FACE)
        self.other_id: str = office.enrol(face=b"somebody else " * 20)
        self.pid = self.book.read(self.record_id).record.subject.pid
        self.opt_outs = OptOutBook(office.database, office.log, keys, office.clock)

    def erase(self, *derivatives: Derivative) -> dict[str, Any]:
        return self.eraser.erase(self.pid, derivatives)

    def verify(self, document: dict[str, Any]) -> ErasureReceipt:
        return verify_receipt(
            document,
            controllers=[self.office.controller.public],
            origin=self.office.log.origin,
            log_key=self.office.log_key.public,
        )

    def state(self) -> str:
        with self.office.database.transaction() as connection:
            found = sa.select(ERASURE.c.state).where(ERASURE.c.pid == self.pid)
            return str(connection.scalar(found))

    def ciphertext(self, record_id: str) -> bytes | None:
        with self.office.database.transaction() as connection:
            found: bytes | None = connection.scalar(
                sa.select(TEMPLATE.c.ciphertext).where(TEMPLATE.c.record_id == record_id)
            )
        return found

    def edit(self, **values: object) -> None:
        with self.office.database.transaction() as connection:
            connection.execute(sa.update(ERASURE).values(values))


@pytest.fixture
def bench(office: Any, tmp_path: Path) -> Bench:
    """All in memory, for what does not depend on files."""
    return Bench(office, tmp_path)


@pytest.fixture
def on_files(office: Any, tmp_path: Path) -> Iterator[Bench]:
    """The same over two database files and a key file."""
    provider = FileKeys.create(tmp_path / "kek", clock=lambda: NOW)
    database = Database(f"sqlite:///{tmp_path / 'main.db'}")
    made = type(office)(database=database)
    path = f"sqlite:///{tmp_path / 'people.db'}"
    made.subject_keys = SubjectKeys(path, provider, clock=made.clock)
    made.book = replace(made.book, keys=made.subject_keys)
    found = Bench(made, tmp_path)
    yield found
    found.book.keys.close()
    database.close()


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Error) as caught:
        act()
    return caught.value.code


def test_the_receipt_says_what_was_done(on_files: Bench) -> None:
    made = [Derivative("urn:c2pa:1", "released"), Derivative("urn:c2pa:2", "takedown_asked")]
    key_id = on_files.book.keys.find(on_files.pid).key_id
    document = on_files.eraser.erase(on_files.pid, made, models=["idnet-7"])
    receipt = on_files.verify(document)
    assert (receipt.method, receipt.dek_ids) == ("crypto-shred", (key_id,))
    assert (receipt.requested_at, receipt.completed_at) == (NOW, NOW)
    assert [(each.output, each.state) for each in receipt.derivatives] == [
        ("urn:c2pa:1", "released"),
        ("urn:c2pa:2", "takedown_asked"),
    ]
    assert receipt.models == ("idnet-7",)
    assert receipt.checks.model_dump() == {
        "decrypt_fails": True, "copies_found": 0, "needles": 3, "files_searched": 3,
    }  # fmt: skip
    assert (receipt.kek.version, receipt.kek.state, receipt.kek.gone_at) == ("v1", "kept", None)
    kept = {each.what: each.until for each in receipt.kept}
    assert kept["copies of the wrapped key in backups"] == NOW + BACKUP_SECONDS
    # One year after it ended, as the record says.
    assert (
        kept["a consent record and its signed events, without the face template"] == NOW + 365 * DAY
    )
    assert on_files.pid not in json.dumps(document)
    assert on_files.record_id not in json.dumps(document)
    assert on_files.state() == "receipted"


def test_the_person_is_gone_and_others_are_not(bench: Bench) -> None:
    record = bench.book.read(bench.record_id).record
    bench.erase()
    assert bench.book.read(bench.record_id).state.status == "withdrawn"
    assert bench.book.history(bench.record_id)[-1].reason == "erasure was asked for"
    assert bench.ciphertext(bench.record_id) is None
    assert refused(lambda: bench.book.template(record)) == "CONSENT-BROKEN"
    with pytest.raises(KeyGone):
        bench.book.keys.salt(bench.pid)
    assert refused(lambda: bench.office.enrol(subject={"pid": bench.pid})) == "KEY-GONE"
    other = bench.book.read(bench.other_id)
    assert other.state.status == "confirmed"
    assert bench.book.template(other.record).startswith(b"somebody else")


def all_files(bench: Bench) -> dict[str, bytes]:
    files = sorted(path for path in bench.folder.iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files}


def test_neither_plaintext_nor_keys_nor_ciphertext_are_in_any_file(on_files: Bench) -> None:
    found = on_files.book.keys.find(on_files.pid)
    sealed = on_files.ciphertext(on_files.record_id)
    assert found.wrapped is not None
    assert found.salt is not None
    assert sealed is not None
    key, salt = (
        on_files.provider.unwrap(Wrapped(found.wrapped, found.kek_version)),
        on_files.book.keys.salt(on_files.pid),
    )
    before = b"".join(all_files(on_files).values())
    for bytes_at_rest in (found.wrapped, found.salt, sealed):
        assert bytes_at_rest in before  # the search below would find them
    on_files.erase()
    for name, data in all_files(on_files).items():
        for secret in (FACE[:24], FACE, key, salt, found.wrapped, found.salt, sealed):
            assert secret not in data, name
            assert secret.hex().encode() not in data, name
    assert on_files.record_id.encode() in b"".join(all_files(on_files).values())


def test_the_log_holds_the_receipt(bench: Bench) -> None:
    document = bench.erase()
    entry = bench.office.log.entries()[document["log"]["index"]]
    assert entry["kind"] == "erasure"
    assert entry["subject"] == document["subject_commitment"]
    bench.office.log.check(document["log"]["checkpoint"])


def test_asked_twice_the_first_receipt_is_given_with_a_proof_of_now(bench: Bench) -> None:
    first = bench.erase()
    bench.office.enrol()
    again = bench.erase(Derivative("urn:c2pa:late", "released"))
    assert {**again, "log": None} == {**first, "log": None}
    assert again["log"]["checkpoint"] != first["log"]["checkpoint"]
    bench.verify(again)
    assert sum(entry["kind"] == "erasure" for entry in bench.office.log.entries()) == 1


class Cut(Exception):
    """The power going off."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_erasure_goes_on(
    step: str, when: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(Eraser, step)

    def cut(*arguments: Any, **named: Any) -> None:
        if when == "after":
            real(*arguments, **named)
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(Eraser, step, cut)
        with pytest.raises(Cut):
            bench.erase()
    assert bench.state() in ("requested", "shredded", "proved", "receipted")
    bench.verify(bench.erase())
    assert bench.state() == "receipted"
    assert bench.book.keys.shredded(bench.pid)
    events = [event.kind for event in bench.book.history(bench.record_id)]
    assert events == ["given", "confirmed", "withdrawn"]
    assert sum(entry["kind"] == "erasure" for entry in bench.office.log.entries()) == 1


def test_a_crash_right_after_the_key_went(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = SubjectKeys.destroy

    def cut(keys: SubjectKeys, pid: str) -> None:
        real(keys, pid)
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(SubjectKeys, "destroy", cut)
        with pytest.raises(Cut):
            bench.erase()
    assert bench.state() == "requested"
    assert bench.verify(bench.erase()).checks.needles == 3


@pytest.mark.parametrize(("after", "state"), [(1, "requested"), (2, "shredded"), (3, "proved")])
def test_a_crash_right_after_a_state_was_written(
    after: int, state: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = Eraser._move_on, 0

    def cut(eraser: Eraser, pid: str, row: Any, *, old: str, within: Any = None) -> Any:
        nonlocal written
        moved = real(eraser, pid, row, old=old, within=within)
        written += within is None
        if written == after and within is None:
            raise Cut
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_move_on", cut)
        with pytest.raises(Cut):
            bench.erase()
    assert bench.state() == state
    bench.verify(bench.erase())


def test_a_failing_log_leaves_no_receipt(bench: Bench) -> None:
    # The clock goes back between the proof and the receipt.
    eraser = replace(bench.eraser, random=bytes)
    progress = eraser._prove(bench.pid, eraser._shred(bench.pid, eraser._request(bench.pid)))
    assert progress.state == "proved"
    bench.office.clock.now = NOW - 10
    assert refused(bench.erase) == "CLOCK-ROLLBACK"
    assert bench.state() == "proved"
    bench.office.clock.now = NOW
    bench.verify(bench.erase())


def test_every_consent_of_the_person_ends(bench: Bench) -> None:
    second = bench.office.enrol(subject={"pid": bench.pid})
    bench.office.withdraw(second)
    third, sealed = bench.office.record(subject={"pid": bench.pid})
    bench.book.add(third, sealed)
    receipt = bench.verify(bench.erase())
    assert {bench.book.read(one).state.status for one in bench.book.records_of(bench.pid)} == {
        "withdrawn"
    }
    assert sum(each.what.startswith("a consent record") for each in receipt.kept) == 3


def test_an_edited_record_does_not_prevent_the_erasure(bench: Bench) -> None:
    with bench.office.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger consent_update")
        connection.execute(
            sa.update(CONSENT).where(CONSENT.c.record_id == bench.record_id).values(document=b"{}")
        )
    receipt = bench.verify(bench.erase())
    assert bench.book.keys.shredded(bench.pid)
    assert bench.ciphertext(bench.record_id) is None
    assert receipt.kept[0].until is None


def commitment_of(bench: Bench) -> str:
    return str(bench.book.commit(bench.record_id))


def receipts(bench: Bench) -> int:
    return sum(entry["kind"] == "erasure" for entry in bench.office.log.entries())


def desk_says(bench: Bench) -> tuple[str, ...]:
    people = [(bench.record_id, "source_identity"), (bench.other_id, "target_body")]
    request = bench.office.request(people)
    with pytest.raises(Refused) as caught:
        bench.office.desk.admit(request, bench.office.measured(request))
    return caught.value.decision.codes


def test_a_clock_that_is_behind_destroys_nothing_and_opens_nothing(bench: Bench) -> None:
    bench.office.clock.now -= 60
    assert refused(bench.erase) == "CLOCK-ROLLBACK"
    assert not bench.book.keys.shredded(bench.pid)
    assert bench.state() == "requested"
    assert bench.ciphertext(bench.record_id) is None
    assert bench.book.read(bench.record_id).state.status == "withdrawn", "ends wait for no clock"
    bench.office.clock.now += 120
    receipt = bench.verify(bench.erase())
    assert receipt.not_ended == ()
    assert bench.book.history(bench.record_id)[-1].kind == "withdrawn"
    assert desk_says(bench) == ("CONSENT-STATUS",)
    assert receipts(bench) == 1


def test_one_entry_dated_ahead_still_lets_the_consents_end(bench: Bench) -> None:
    bench.office.clock.now += 3_650 * DAY
    bench.office.log.append("sweep", {"what": "x", "count": 1, "due": 1})
    bench.office.clock.now -= 3_650 * DAY
    assert refused(bench.erase) == "CLOCK-ROLLBACK"
    events = bench.book.history(bench.record_id)
    assert [event.kind for event in events] == ["given", "confirmed", "withdrawn"]
    assert bench.book.read(bench.record_id).state.status == "withdrawn"


def cut_the_newest_event(bench: Bench) -> Callable[[], None]:
    """Break the person's consent; what is returned mends it."""
    mine = f"from consent_event where record_id = '{bench.record_id}' and seq = 1"
    with bench.office.database.transaction() as connection:
        for name in ("delete", "insert"):
            connection.exec_driver_sql(f"drop trigger consent_event_{name}")
        row = tuple(connection.exec_driver_sql(f"select * {mine}").one())
        connection.exec_driver_sql(f"delete {mine}")

    def mend() -> None:
        with bench.office.database.transaction() as connection:
            connection.exec_driver_sql("insert into consent_event values (?, ?, ?)", row)

    return mend


def test_a_broken_consent_is_named_and_stays_closed_when_it_mends(bench: Bench) -> None:
    mend = cut_the_newest_event(bench)
    assert refused(lambda: bench.book.read(bench.record_id)) == "CONSENT-BROKEN"
    receipt = bench.verify(first := bench.erase())
    assert receipt.not_ended == (commitment_of(bench),)
    mend()
    assert bench.book.read(bench.record_id).state.status == "withdrawn"
    assert desk_says(bench) == ("CONSENT-STATUS",)
    assert {**bench.erase(), "log": None} == {**first, "log": None}
    assert bench.book.history(bench.record_id)[-1].kind == "withdrawn", "now by an event as well"


def test_a_consent_that_mends_before_the_receipt_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend, real = cut_the_newest_event(bench), Eraser._prove

    def mended(eraser: Eraser, pid: str, row: Any) -> Any:
        mend()
        return real(eraser, pid, row)

    monkeypatch.setattr(Eraser, "_prove", mended)
    assert bench.verify(bench.erase()).not_ended == ()
    assert bench.book.history(bench.record_id)[-1].kind == "withdrawn"


@pytest.mark.parametrize("commitment", ["no digest", "G" * 64])
def test_a_commitment_that_is_none_is_masked(commitment: str, bench: Bench, tamper: Any) -> None:
    tamper(
        bench.office.database, "update consent set commitment = ? where record_id = ?",
        commitment, bench.record_id,
    )  # fmt: skip
    (name,) = bench.verify(bench.erase()).not_ended
    assert name == bench.book.commitment.commit("broken-consent", bench.record_id)


def test_an_end_that_we_cannot_sign_is_not_claimed(bench: Bench) -> None:
    stranger = replace(bench.eraser, controller=SigningKey.from_seed(b"x" * 32))
    assert refused(lambda: stranger.erase(bench.pid)) == "CONSENT-STEP-REFUSED"
    assert not bench.book.keys.shredded(bench.pid)
    assert receipts(bench) == 0


def test_a_record_added_while_the_person_is_erased(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, sealed = bench.office.record(subject={"pid": bench.pid})
    real = SubjectKeys.salt

    def slow(keys: SubjectKeys, pid: str) -> bytes:
        salt = real(keys, pid)
        monkeypatch.undo()
        bench.erase()
        return salt

    monkeypatch.setattr(SubjectKeys, "salt", slow)
    assert refused(lambda: bench.book.add(record, sealed)) == "KEY-GONE"
    assert bench.book.records_of(bench.pid) == (bench.record_id,)
    assert bench.ciphertext(record.record_id) is None


def test_what_a_restored_database_brings_back_is_ended_again(bench: Bench, tamper: Any) -> None:
    first = bench.erase()
    sealed = b"a template from a backup"
    values = {"record_id": bench.record_id, "ciphertext": sealed}
    with bench.office.database.transaction() as connection:
        connection.execute(sa.insert(TEMPLATE), values)
    assert {**bench.erase(), "log": None} == {**first, "log": None}
    assert bench.ciphertext(bench.record_id) is None
    # The row of the erasure is lost: the destroyed key alone closes what is open.
    tamper(bench.office.database, "delete from erasure")
    tamper(bench.office.database, "delete from consent_event where seq = 2")
    tamper(bench.office.database, "delete from log_entry where i > 3")
    state = bench.book.read(bench.record_id).state
    assert (state.status, state.since, state.length) == ("withdrawn", NOW, 2)


def test_each_step_is_taken_once(bench: Bench) -> None:
    """Two erasers that both read the same state."""
    eraser, derived = bench.eraser, list_derived((), ())
    asked = eraser._request(bench.pid)
    gone = eraser._shred(bench.pid, asked)
    assert refused(lambda: eraser._shred(bench.pid, asked)) == "ERASURE-FAILED"
    proved = eraser._prove(bench.pid, gone)
    assert refused(lambda: eraser._prove(bench.pid, gone)) == "ERASURE-FAILED"
    eraser._write_receipt(bench.pid, proved, derived)
    assert refused(lambda: eraser._write_receipt(bench.pid, proved, derived)) == "ERASURE-FAILED"
    assert receipts(bench) == 1
    bench.verify(bench.erase())


def test_a_consent_past_its_date_is_kept_from_that_date(bench: Bench) -> None:
    bench.office.clock.now += 60 * DAY
    receipt = bench.verify(bench.erase())
    assert receipt.kept[0].until == NOW + 30 * DAY + 365 * DAY


def test_the_receipt_counts_what_still_names_the_person(bench: Bench) -> None:
    """Warrants, decisions, uses and releases lead by a record's id to whoever knows it."""
    office = bench.office
    people = [(bench.record_id, "source_identity"), (bench.other_id, "target_body")]
    kept = [office.request(people, request_id=name) for name in ("one", "two")]
    for request in kept:
        office.desk.admit(request, office.measured(request))
    with office.database.transaction() as connection:
        shown = {"record_id": bench.record_id, "mark_id": "m"}
        connection.execute(sa.insert(RELEASE_PERSON), shown)
    document = bench.erase()
    found = {each.what: (each.basis, each.until) for each in bench.verify(document).kept}
    proof = "proof that a past use was permitted (GDPR Art. 17(3)(e))"
    assert found["2 signed warrants that name a record by its id"] == (proof, None)
    assert found["2 decisions, whose facts name a record by its id"] == (proof, None)
    assert found["2 uses taken of a record"] == ("they count how often it was used", None)
    assert found["1 places where a release names a record"] == ("they find what was released", None)
    assert bench.record_id not in json.dumps(document)


def test_the_receipt_lists_nothing_that_is_not_there(bench: Bench) -> None:
    kinds = [each.what for each in bench.verify(bench.erase()).kept]
    assert not any(kind[0].isdecimal() for kind in kinds)


def test_somebody_never_seen(bench: Bench) -> None:
    assert refused(lambda: bench.eraser.erase("ps_" + "z" * 26)) == "KEY-UNKNOWN"


def test_a_key_destroyed_without_an_erasure_gets_no_receipt(bench: Bench) -> None:
    bench.book.keys.destroy(bench.pid)
    assert refused(bench.erase) == "ERASURE-FAILED"


@pytest.mark.parametrize(
    "made",
    [Derivative("", "released"), Derivative("x" * 121, "released"), Derivative("x", "no")],  # type: ignore[arg-type]
)
def test_a_wrong_list_is_refused_before_anything_is_destroyed(
    made: Derivative, bench: Bench
) -> None:
    assert refused(lambda: bench.erase(made)) == "MALFORMED"
    assert refused(lambda: bench.eraser.erase(bench.pid, models=["?"])) == "MALFORMED"
    assert not bench.book.keys.shredded(bench.pid)
    assert bench.state() == "None"


def test_an_opt_out_of_the_same_person_stays(bench: Bench) -> None:
    entry_id = bench.opt_outs.add(b"vector of the face", model_sha256="a" * 64, pid=bench.pid)
    receipt = bench.verify(bench.erase())
    (left,) = bench.opt_outs.entries()
    assert (left.entry_id, left.vector) == (entry_id, b"vector of the face")
    with bench.office.database.transaction() as connection:
        pid = connection.scalar(sa.select(OPT_OUT.c.pid))
    assert pid is not None
    assert pid != bench.pid
    assert receipt.checks.needles == 4
    assert any(each.what == "an opt-out, if there is one" for each in receipt.kept)


def test_bytes_that_still_open_are_no_erasure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SubjectKeys, "destroy", lambda *_: ())
    with pytest.raises(ErasureFailed) as caught:
        bench.erase()
    assert "still opens" in caught.value.message
    assert bench.state() == "shredded"
    monkeypatch.undo()
    bench.verify(bench.erase())


def test_a_copy_in_the_files_is_no_erasure(on_files: Bench) -> None:
    # What an erasure without secure_delete would leave behind.
    found = on_files.book.keys.find(on_files.pid)
    assert found.wrapped is not None
    with closing(sqlite3.connect(on_files.folder / "main.db")) as connection, connection:
        connection.execute("create table left_over (copy blob)")
        connection.execute("insert into left_over values (?)", (found.wrapped,))
    assert count_copies([on_files.folder / "main.db-wal"], [needle(found.wrapped)]) == 1
    with pytest.raises(ErasureFailed) as caught:
        on_files.erase()
    assert caught.value.message.startswith("1 copies")
    assert on_files.state() == "shredded"
    with closing(sqlite3.connect(on_files.folder / "main.db")) as connection, connection:
        connection.execute("pragma secure_delete = on")
        connection.execute("delete from left_over")
    on_files.verify(on_files.erase())


def test_a_rotation_in_between_is_followed(
    on_files: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_shred", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            on_files.erase()
    on_files.provider.rotate()
    on_files.book.keys.rewrap()
    receipt = on_files.verify(on_files.erase())
    assert receipt.kek.version == "v2"
    assert receipt.checks.needles == 4


@pytest.mark.parametrize(
    ("standing", "copies_stay"),
    [(Standing("scheduled", NOW + 30 * DAY), True), (Standing("destroyed", NOW), False)],
)
def test_a_scheduled_destruction_is_called_scheduled(
    standing: Standing, copies_stay: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(bench.provider), "standing", lambda *_: standing)
    receipt = bench.verify(bench.erase())
    assert (receipt.kek.state, receipt.kek.gone_at) == (standing.state, standing.gone_at)
    copies = [each for each in receipt.kept if each.what.startswith("copies of the wrapped key")]
    assert bool(copies) is copies_stay


def test_a_deployment_without_backups_keeps_no_copies(bench: Bench) -> None:
    receipt = bench.verify(replace(bench.eraser, backup_seconds=0).erase(bench.pid))
    assert not any("backups" in each.what for each in receipt.kept)


def restore_backup(bench: Bench, copy: bytes) -> None:
    """Put an old copy of the key database back, as a restored backup would."""
    bench.book.keys.close()
    (bench.folder / "people.db").write_bytes(copy)
    path = f"sqlite:///{bench.folder / 'people.db'}"
    keys = SubjectKeys(path, bench.provider, clock=bench.office.clock)
    bench.book = replace(bench.book, keys=keys)
    bench.eraser = replace(bench.eraser, consents=bench.book)


def test_a_restored_backup_does_not_bring_anybody_back(on_files: Bench) -> None:
    backup = (on_files.folder / "people.db").read_bytes()
    first = on_files.erase()
    restore_backup(on_files, backup)
    assert not on_files.book.keys.shredded(on_files.pid)
    assert on_files.eraser.reapply() == 1
    assert on_files.eraser.reapply() == 0
    assert on_files.book.keys.shredded(on_files.pid)
    restore_backup(on_files, backup)
    assert {**on_files.erase(), "log": None} == {**first, "log": None}
    assert on_files.book.keys.shredded(on_files.pid)


def test_a_backup_restored_before_the_receipt_is_proved_again(
    on_files: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = (on_files.folder / "people.db").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_write_receipt", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            on_files.erase()
    restore_backup(on_files, backup)
    proved: list[str] = []
    real = Eraser._prove
    monkeypatch.setattr(Eraser, "_prove", lambda *all_: (proved.append("again"), real(*all_))[1])
    on_files.verify(on_files.erase())
    assert proved == ["again"]


def test_a_key_database_older_than_the_person(on_files: Bench) -> None:
    on_files.erase()
    on_files.book.keys.close()
    (on_files.folder / "people.db").unlink()
    path = f"sqlite:///{on_files.folder / 'people.db'}"
    with closing(SubjectKeys(path, on_files.provider, clock=lambda: NOW)) as keys:
        eraser = replace(on_files.eraser, consents=replace(on_files.book, keys=keys))
        assert eraser.reapply() == 0


def test_a_database_somebody_reads_is_not_proved(
    on_files: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(
        module.sqlite3, "connect", lambda path, **named: real(path, **named | {"timeout": 0.01})
    )
    with closing(real(on_files.folder / "main.db", isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select * from consent").fetchall()
        with pytest.raises(ErasureFailed, match="another program reads") as caught:
            on_files.erase()
        assert caught.value.code == "ERASURE-FAILED"
        assert on_files.state() == "shredded"
        reader.execute("rollback")
    on_files.verify(on_files.erase())


def test_a_journal_that_cannot_be_emptied(on_files: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(module.sqlite3, "connect", fail)
    assert refused(on_files.erase) == "ERASURE-FAILED"


def test_in_memory_no_files_are_claimed(bench: Bench) -> None:
    assert bench.verify(bench.erase()).checks.files_searched == 0


@pytest.mark.parametrize(
    ("url", "path"),
    [("postgresql+psycopg2://host/name", None), ("sqlite://", None), ("sqlite:///:memory:", None),
     ("sqlite:////data/main.db", Path("/data/main.db"))],
)  # fmt: skip
def test_which_files_of_the_main_database_are_ours(
    url: str, path: Path | None, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.office.database._engine, "url", sa.make_url(url))
    assert bench.eraser._main_path() == path


DAMAGED = [
    ("shredded", b"{}"), ("shredded", b"\xff"), ("receipted", b"{}"), ("receipted", b"x"),
    ("receipted", canonical({"receipt": {}, "index": 0})),
]  # fmt: skip


@pytest.mark.parametrize(("state", "document"), DAMAGED)
def test_a_damaged_row_gives_no_receipt(state: str, document: bytes, bench: Bench) -> None:
    bench.erase()
    bench.edit(state=state, document=document)
    assert refused(bench.erase) in ("ERASURE-FAILED", "MALFORMED")


def test_a_row_that_only_says_proved_gives_no_receipt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_prove", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            bench.erase()
    bench.edit(state="proved")
    assert refused(bench.erase) == "ERASURE-FAILED"


CHANGES: list[tuple[str, object, str]] = [
    ("completed_at", NOW + 1, "BAD-SIGNATURE"),
    ("method", "wiped", "MALFORMED"),
    ("kid", "0" * 16, "BAD-SIGNATURE"),
    ("sig", "0" * 128, "BAD-SIGNATURE"),
    ("derivatives", [{"output": "x", "state": "released"}], "BAD-SIGNATURE"),
    ("more", 1, "MALFORMED"),
    ("not_ended", ["0" * 64], "BAD-SIGNATURE"),
    ("log", None, "MALFORMED"),
    ("log", {}, "MALFORMED"),
]


@pytest.mark.parametrize(("field", "value", "code"), CHANGES)
def test_a_changed_receipt(field: str, value: object, code: str, bench: Bench) -> None:
    document = bench.erase()
    assert refused(lambda: bench.verify({**document, field: value})) == code


def test_a_receipt_with_another_entrys_proof_or_another_log(bench: Bench) -> None:
    document = bench.erase()
    other = bench.eraser.erase(bench.book.read(bench.other_id).record.subject.pid)
    assert refused(lambda: bench.verify({**document, "log": other["log"]})) == "PROOF-INVALID"
    stranger: PublicKey = SigningKey.from_seed(b"x" * 32).public
    controllers = [bench.office.controller.public]
    for origin, key in (
        ("other", bench.office.log_key.public),
        (bench.office.log.origin, stranger),
    ):
        with pytest.raises(Error):
            verify_receipt(document, controllers=controllers, origin=origin, log_key=key)


def test_copies_found_and_failing_checks_cannot_be_written() -> None:
    for claim in ({"copies_found": 1}, {"decrypt_fails": False}, {"needles": 0}):
        good = {"decrypt_fails": True, "copies_found": 0, "needles": 1, "files_searched": 0}
        with pytest.raises(ValueError, match="Input should be"):
            Checks.model_validate(good | claim)
