from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import subjectkeys as module
from policies.errors import Error, Malformed, StoreUnavailable
from policies.keyfile import FileKeys
from policies.keyprovider import KeyDenied, KeyGone, Standing, Wrapped
from policies.residue import count_copies
from policies.subjectkeys import SubjectKeys, new_pseudonym

NOW = 1_795_219_200
ANN, BOB = "ps_" + "a" * 26, "ps_" + "b" * 26
BOUND = {"record_id": "r1", "model_sha256": "m1"}


class Spy:
    """A real file provider that can be told to fail, and counts what it was asked."""

    def __init__(self, path: Path) -> None:
        self.keys = FileKeys.create(path, clock=lambda: NOW)
        self.wraps, self.fail_at = 0, 0

    @property
    def version(self) -> str:
        return self.keys.version

    def wrap(self, key: bytes) -> Wrapped:
        self.wraps += 1
        if self.wraps == self.fail_at:
            raise KeyDenied("the provider went away")
        return self.keys.wrap(key)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        return self.keys.unwrap(wrapped)

    def rotate(self) -> str:
        return self.keys.rotate()

    def destroy(self, version: str) -> None:
        self.keys.destroy(version)

    def standing(self, version: str) -> Standing:
        return self.keys.standing(version)


@pytest.fixture
def spy(tmp_path: Path) -> Spy:
    return Spy(tmp_path / "kek")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "subjects.db"


@pytest.fixture
def keys(path: Path, spy: Spy) -> Iterator[SubjectKeys]:
    with closing(SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW)) as opened:
        yield opened


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> SubjectKeys:
    spy = Spy(tmp_path_factory.mktemp("kek") / "kek")
    return SubjectKeys("sqlite://", spy, clock=lambda: NOW)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Error) as caught:
        act()
    return caught.value.code


def rows(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def test_a_new_pseudonym_is_one_and_says_nothing() -> None:
    assert new_pseudonym(lambda count: b"\xff" * count) == "ps_" + "7" * 26
    assert new_pseudonym(bytes) == "ps_" + "a" * 26
    assert len({new_pseudonym(os.urandom) for _ in range(100)}) == 100


def test_what_is_sealed_opens_also_after_a_restart(keys: SubjectKeys, path: Path, spy: Spy) -> None:
    sealed = keys.seal(b"template", pid=ANN, bound=BOUND)
    assert len(sealed) == 12 + len(b"template") + 16
    assert keys.open(sealed, pid=ANN, bound=BOUND) == b"template"
    with closing(SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW)) as again:
        assert again.open(sealed, pid=ANN, bound=BOUND) == b"template"
        assert again.salt(ANN) == keys.salt(ANN)
    assert sealed != keys.seal(b"template", pid=ANN, bound=BOUND)


def test_golden_vectors(tmp_path: Path) -> None:
    def counting(size: int) -> bytes:
        return bytes(range(size))

    provider = FileKeys.create(tmp_path / "kek", clock=lambda: NOW, random=counting)
    keys = SubjectKeys("sqlite://", provider, clock=lambda: NOW, random=counting)
    assert (
        keys.seal(b"template", pid=ANN, bound=BOUND).hex()
        == "000102030405060708090a0b3367bb6ba984b67e4c8177da710bd5f3f9a3d6c967699e1f"
    )
    assert keys.salt(ANN) == counting(32)
    found = keys.find(ANN)
    assert (found.key_id, found.kek_version) == (counting(16).hex(), "v1")
    assert found.wrapped is not None
    assert found.wrapped.hex() == (
        "82c693bff487db7c31a7f0cc440ad9e37709511b52efce48094b4548eee3cfc2bf7805b51201bc01"
    )
    assert found.salt is not None
    assert found.salt.hex() == (
        "000102030405060708090a0b4703d418c1e0c41c85489d80bde4766293c79527e46e496b207eff9e"
        "01741ead77b54ae52830041b648da3976ee93cdb"
    )


def test_bytes_moved_to_another_subject_record_or_model(memory: SubjectKeys) -> None:
    sealed = memory.seal(b"template", pid=ANN, bound=BOUND)
    memory.seal(b"other", pid=BOB, bound=BOUND)
    for pid, bound in (
        (BOB, BOUND), (ANN, {}), (ANN, BOUND | {"record_id": "r2"}),
        (ANN, BOUND | {"model_sha256": "m2"}), (ANN, BOUND | {"kind": "opt_out"}),
    ):  # fmt: skip
        code = refused(lambda pid=pid, bound=bound: memory.open(sealed, pid=pid, bound=bound))
        assert code == "TEMPLATE-UNREADABLE"


def test_the_pseudonym_is_bound_by_itself(memory: SubjectKeys) -> None:
    for act in (memory.seal, memory.open):
        with pytest.raises(Malformed):
            act(b"x" * 40, pid=ANN, bound={"pid": BOB})


@settings(max_examples=60, derandomize=True, deadline=None)
@given(at=st.integers(0, 35), mask=st.integers(1, 255))
def test_any_changed_byte(memory: SubjectKeys, at: int, mask: int) -> None:
    sealed = bytearray(memory.seal(b"template", pid=ANN, bound=BOUND))
    sealed[at] ^= mask
    code = refused(lambda: memory.open(bytes(sealed), pid=ANN, bound=BOUND))
    assert code == "TEMPLATE-UNREADABLE"


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_cut_bytes(memory: SubjectKeys, length: int) -> None:
    sealed = memory.seal(b"template", pid=ANN, bound=BOUND)[:length]
    code = refused(lambda: memory.open(sealed, pid=ANN, bound=BOUND))
    assert code == "TEMPLATE-UNREADABLE"


def test_a_pseudonym_never_seen_is_unknown_not_gone(memory: SubjectKeys) -> None:
    nobody = "ps_" + "c" * 26
    for act in (
        lambda: memory.open(bytes(40), pid=nobody, bound=BOUND),
        lambda: memory.salt(nobody),
        lambda: memory.destroy(nobody),
        lambda: memory.find(nobody),
        lambda: memory.needles(nobody),
    ):
        assert refused(act) == "KEY-UNKNOWN"
    assert not memory.shredded(nobody)


def test_erasure_is_for_ever_and_leaves_the_others(keys: SubjectKeys) -> None:
    sealed = {pid: keys.seal(b"template", pid=pid, bound=BOUND) for pid in (ANN, BOB)}
    key_id = keys.find(ANN).key_id
    assert not keys.shredded(ANN)
    assert keys.destroy(ANN) == (key_id,)
    assert keys.destroy(ANN) == ()
    assert keys.shredded(ANN)
    for act in (
        lambda: keys.open(sealed[ANN], pid=ANN, bound=BOUND),
        lambda: keys.seal(b"again", pid=ANN, bound=BOUND),
        lambda: keys.salt(ANN),
    ):
        assert refused(act) == "KEY-GONE"
    found = keys.find(ANN)
    assert (found.key_id, found.wrapped, found.salt, found.destroyed_at) == (
        key_id,
        None,
        None,
        NOW,
    )
    assert keys.needles(ANN) == ()
    assert keys.open(sealed[BOB], pid=BOB, bound=BOUND) == b"template"


def files_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob(path.name + "*"))


def test_no_copy_of_a_destroyed_key_is_left_in_any_file(keys: SubjectKeys, path: Path) -> None:
    for number in range(40):
        keys.seal(b"template", pid=f"ps_{number:026d}", bound=BOUND)
    pid = f"ps_{20:026d}"
    needles, wrapped = keys.needles(pid), keys.find(pid).wrapped
    assert wrapped is not None
    # The search would find it: both needles stand in the file once, before.
    assert count_copies(files_of(path), needles) == 2
    assert wrapped in path.read_bytes()
    keys.destroy(pid)
    assert files_of(path) == [path]
    assert count_copies(files_of(path), needles) == 0
    assert wrapped not in path.read_bytes()


def test_secure_delete_is_what_removes_it(keys: SubjectKeys, path: Path) -> None:
    # The control of the test above: without the setting, the same search finds the same key.
    keys._connection.execute("pragma secure_delete = off")
    for number in range(40):
        keys.seal(b"template", pid=f"ps_{number:026d}", bound=BOUND)
    needles = keys.needles(f"ps_{20:026d}")
    keys.destroy(f"ps_{20:026d}")
    assert count_copies([path], needles) > 0


def test_two_threads_make_one_key(path: Path, spy: Spy) -> None:
    count, both = 4, threading.Barrier(4)
    opened = [SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW) for _ in range(2)]
    sealed: list[bytes] = []

    def work(keys: SubjectKeys) -> None:
        both.wait()
        sealed.append(keys.seal(b"template", pid=ANN, bound=BOUND))

    threads = [threading.Thread(target=work, args=(opened[n % 2],)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spy.wraps == 1
    assert [opened[0].open(each, pid=ANN, bound=BOUND) for each in sealed] == [b"template"] * count
    for keys in opened:
        keys.close()


def test_rewrapping_after_a_rotation(keys: SubjectKeys, spy: Spy, path: Path) -> None:
    sealed = {pid: keys.seal(b"template", pid=pid, bound=BOUND) for pid in (ANN, BOB)}
    keys.seal(b"gone", pid="ps_" + "d" * 26, bound=BOUND)
    keys.destroy("ps_" + "d" * 26)
    old = [needle for pid in (ANN, BOB) for needle in keys.needles(pid)[:1]]
    assert keys.rewrap() == 0
    spy.rotate()
    assert keys.rewrap() == 2
    assert keys.rewrap() == 0
    assert count_copies([path], old) == 0
    keys.retire("v1")
    assert spy.standing("v1").state == "destroyed"
    for pid in (ANN, BOB):
        assert keys.find(pid).kek_version == "v2"
        assert keys.open(sealed[pid], pid=pid, bound=BOUND) == b"template"


def test_a_version_still_needed_is_not_retired(keys: SubjectKeys, spy: Spy) -> None:
    sealed = keys.seal(b"template", pid=ANN, bound=BOUND)
    spy.rotate()
    assert refused(lambda: keys.retire("v1")) == "KEY-DENIED"
    assert refused(lambda: keys.retire("v2")) == "KEY-DENIED"
    assert keys.open(sealed, pid=ANN, bound=BOUND) == b"template"


def test_a_crash_while_rewrapping_loses_no_key(
    keys: SubjectKeys, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REWRAP_BATCH", 2)
    pids = [f"ps_{number:026d}" for number in range(5)]
    sealed = {pid: keys.seal(b"template", pid=pid, bound=BOUND) for pid in pids}
    spy.rotate()
    spy.fail_at = spy.wraps + 4
    assert refused(keys.rewrap) == "KEY-DENIED"
    assert [keys.find(pid).kek_version for pid in pids] == ["v2", "v2", "v1", "v1", "v1"]
    assert all(keys.open(sealed[pid], pid=pid, bound=BOUND) == b"template" for pid in pids)
    assert keys.rewrap() == 3
    keys.retire("v1")
    assert all(keys.open(sealed[pid], pid=pid, bound=BOUND) == b"template" for pid in pids)


def test_a_provider_that_fails_makes_no_key(keys: SubjectKeys, spy: Spy) -> None:
    spy.fail_at = 1
    assert refused(lambda: keys.seal(b"template", pid=ANN, bound=BOUND)) == "KEY-DENIED"
    assert refused(lambda: keys.find(ANN)) == "KEY-UNKNOWN"
    keys.seal(b"template", pid=ANN, bound=BOUND)


def test_a_destroyed_version_of_the_providers_key_is_gone(keys: SubjectKeys, spy: Spy) -> None:
    sealed = keys.seal(b"template", pid=ANN, bound=BOUND)
    spy.rotate()
    spy.destroy("v1")
    with pytest.raises(KeyGone):
        keys.open(sealed, pid=ANN, bound=BOUND)
    assert not keys.shredded(ANN)


@pytest.mark.parametrize("columns", ["wrapped", "wrapped, salt", "key_id, wrapped, salt"])
def test_a_key_copied_to_another_subject_does_not_open(
    columns: str, keys: SubjectKeys, path: Path
) -> None:
    # Ann's erasure would leave a copy of her key behind in Bob's row.
    for pid in (ANN, BOB):
        keys.seal(b"template", pid=pid, bound=BOUND)
    names = columns.split(", ")
    values = rows(path, f"select {columns} from subject_key where pid = ?", ANN)[0]  # noqa: S608
    if "key_id" in names:
        rows(path, "update subject_key set key_id = 'moved' where pid = ?", ANN)
    change = ", ".join(f"{name} = ?" for name in names)
    rows(path, f"update subject_key set {change} where pid = ?", *values, BOB)  # noqa: S608
    for act in (keys.seal, lambda *_, **__: keys.salt(BOB)):
        assert refused(lambda act=act: act(b"x", pid=BOB, bound=BOUND)) == "TEMPLATE-UNREADABLE"


@pytest.mark.parametrize(
    "sql",
    ["delete from subject_key", "update subject_key set wrapped = x'00', salt = x'00', "
     "destroyed_at = null", "replace into subject_key select pid, 'n', 'v1', x'00', x'00', 0, null "
     "from subject_key", "update subject_key set destroyed_at = 1"],
)  # fmt: skip
def test_careless_edits_meet_a_trigger(sql: str, keys: SubjectKeys, path: Path) -> None:
    keys.seal(b"template", pid=ANN, bound=BOUND)
    keys.destroy(ANN)
    with pytest.raises(sqlite3.IntegrityError):
        rows(path, sql)
    assert keys.shredded(ANN)


def test_the_files_settings(keys: SubjectKeys, path: Path) -> None:
    assert keys.path == path
    assert path.stat().st_mode & 0o777 == 0o600
    settings = {"journal_mode": "delete", "secure_delete": 1, "synchronous": 3, "temp_store": 2}
    for pragma, value in settings.items():
        assert keys._connection.execute(f"pragma {pragma}").fetchone() == (value,)


def test_the_journal_is_private_too(keys: SubjectKeys, path: Path) -> None:
    keys.seal(b"template", pid=ANN, bound=BOUND)
    with keys._transaction() as connection:
        connection.execute("update subject_key set created_at = 1")
        journal = path.with_name(path.name + "-journal")
        assert journal.stat().st_mode & 0o777 == 0o600
    assert not journal.exists()


def test_a_file_others_can_open_is_refused(path: Path, spy: Spy) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    code = refused(lambda: SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW))
    assert code == "KEY-EXPOSED"


@pytest.mark.parametrize("url", ["postgresql://host/keys", "sqlite:///", "keys.db", ""])
def test_only_an_sqlite_file_of_their_own(url: str, spy: Spy) -> None:
    code = refused(lambda: SubjectKeys(url, spy, clock=lambda: NOW))
    assert code == "STORE-UNAVAILABLE"


def test_a_file_that_is_no_database(path: Path, spy: Spy) -> None:
    path.write_bytes(b"no database " * 100)
    path.chmod(0o600)
    code = refused(lambda: SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW))
    assert code == "STORE-UNAVAILABLE"


def test_a_database_of_a_later_version(keys: SubjectKeys, path: Path, spy: Spy) -> None:
    rows(path, "pragma user_version = 2")
    code = refused(lambda: SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW))
    assert code == "STORE-UNAVAILABLE"


def test_settings_that_are_not_taken(path: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_set", lambda *_: 0)
    code = refused(lambda: SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW))
    assert code == "STORE-UNAVAILABLE"


def test_a_locked_database_loses_nothing(
    path: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.02)
    with closing(SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW)) as keys:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            code = refused(lambda: keys.seal(b"template", pid=ANN, bound=BOUND))
            assert code == "STORE-UNAVAILABLE"
            other.execute("rollback")
            # A reader in the way of the commit: the whole change is taken back.
            other.execute("begin")
            other.execute("select * from subject_key").fetchall()
            code = refused(lambda: keys.seal(b"template", pid=ANN, bound=BOUND))
            assert code == "STORE-UNAVAILABLE"
        assert refused(lambda: keys.find(ANN)) == "KEY-UNKNOWN"
        keys.seal(b"template", pid=ANN, bound=BOUND)


def test_a_process_killed_while_destroying_destroys_all_or_nothing(path: Path, spy: Spy) -> None:
    with closing(SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW)) as keys:
        sealed = keys.seal(b"template", pid=ANN, bound=BOUND)
    code = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('pragma cache_size = 0')\n"
        "connection.execute('begin immediate')\n"
        "shred = 'update subject_key set wrapped = null, salt = null, destroyed_at = 1'\n"
        "connection.execute(shred)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, path], check=False, timeout=60)
    assert killed.returncode == -9
    with closing(SubjectKeys(f"sqlite:///{path}", spy, clock=lambda: NOW)) as keys:
        assert keys.open(sealed, pid=ANN, bound=BOUND) == b"template"


def test_key_material_is_not_printed(keys: SubjectKeys) -> None:
    keys.seal(b"template", pid=ANN, bound=BOUND)
    found = keys.find(ANN)
    assert found.wrapped is not None
    assert repr(found.wrapped) not in repr(found)
    assert keys.provider.version == "v1"


def test_a_failing_body_rolls_back(keys: SubjectKeys) -> None:
    keys.seal(b"template", pid=ANN, bound=BOUND)

    def change() -> None:
        with keys._transaction() as connection:
            connection.execute("update subject_key set created_at = 1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change()
    with keys._transaction() as connection:
        assert connection.execute("select created_at from subject_key").fetchone() == (NOW,)
    with pytest.raises(StoreUnavailable), keys._transaction() as connection:
        connection.execute("select nothing from nowhere")


def test_randomness_comes_from_the_system_unless_given(keys: SubjectKeys) -> None:
    assert keys._random is os.urandom
