"""The registry: one release per mark, request, warrant and manifest; found again by each person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from policies.database import Database
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
from provenance import registry as module
from provenance.fingerprints import Fingerprint
from provenance.registry import Registry, ReleaseRow


def row(number: int = 1, **changes: Any) -> ReleaseRow:
    fields: dict[str, Any] = {
        "mark_id": f"{number:012x}",
        "request_id": f"request-{number}",
        "warrant_id": f"00000000-0000-4000-8000-{number:012x}",
        "manifest_id": f"urn:c2pa:{number}",
        "manifest_sha256": sha256_hex(b"manifest %d" % number),
        "output_sha256": sha256_hex(b"output %d" % number),
        "mime": "image/png",
        "fingerprint": "f" * 64,
        "log_index": number,
        "released_at": 1_795_219_200,
    }
    return ReleaseRow(**(fields | changes))


ALICE, BOB, CAROL = (f"00000000-0000-7000-8000-{number:012x}" for number in (1, 2, 3))


@pytest.fixture
def database(any_database: Database) -> Database:
    """A file, then a server: the registry is the same on both."""
    return any_database


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database)


def add(
    registry: Registry,
    database: Database,
    new: ReleaseRow,
    people: Sequence[str] = (ALICE, BOB),
    seconds: Sequence[str] = (),
) -> None:
    with database.transaction() as connection:
        registry.add(new, people=people, within=connection, seconds=seconds)


def test_release_is_found_by_each_of_its_names(registry: Registry, database: Database) -> None:
    rows = [row(1), row(2)]
    for new in rows:
        add(registry, database, new)
    for known in rows:
        assert registry.by_mark(known.mark_id) == known
        assert registry.by_request(known.request_id) == known
        assert registry.by_manifest(known.manifest_id) == known


def test_unknown_names_give_none(registry: Registry, database: Database) -> None:
    add(registry, database, row(1))
    assert registry.by_mark("0" * 12) is None
    assert registry.by_request("request-2") is None
    assert registry.by_manifest("urn:c2pa:2") is None
    assert registry.by_mark("' or 1=1 --") is None


@pytest.mark.parametrize("name", ["mark_id", "request_id", "warrant_id", "manifest_id"])
def test_no_name_is_given_twice(registry: Registry, database: Database, name: str) -> None:
    add(registry, database, row(1))
    twice = dataclasses.replace(row(2), **{name: getattr(row(1), name)})
    with pytest.raises(StoreUnavailable) as caught:
        add(registry, database, twice)
    assert caught.value.code == "STORE-UNAVAILABLE"
    assert registry.by_request("request-2") is None
    assert registry.by_request("request-1") == row(1)


def test_row_goes_with_its_transaction(registry: Registry, database: Database) -> None:
    def add_and_fail() -> None:
        with database.transaction() as connection:
            registry.add(row(1), people=(ALICE,), within=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    assert registry.by_mark(row(1).mark_id) is None
    assert registry.by_consent(ALICE) == ()


def test_every_release_of_a_person_is_found_by_the_consent(
    registry: Registry, database: Database
) -> None:
    rows = [row(number) for number in (3, 1, 2)]
    for new, people in zip(rows, ((ALICE, BOB), (BOB, ALICE, ALICE), (CAROL,)), strict=True):
        add(registry, database, new, people)
    assert registry.by_consent(ALICE) == (row(1), row(3)), "oldest first, each once"
    assert registry.by_consent(BOB) == registry.by_consent(ALICE)
    assert registry.by_consent(CAROL) == (row(2),)
    assert registry.by_consent(ALICE[:-1]) == ()


def test_a_release_of_nobody_is_refused(registry: Registry, database: Database) -> None:
    with pytest.raises(Malformed) as caught:
        add(registry, database, row(1), ())
    assert caught.value.code == "MALFORMED"
    assert registry.by_mark(row(1).mark_id) is None


@pytest.mark.parametrize("table", ["release", "release_person"])
def test_rows_are_append_only(registry: Registry, database: Database, table: str) -> None:
    add(registry, database, row(1))
    for sql in (f"delete from {table}", f"update {table} set mark_id = 'x'"):  # noqa: S608
        with pytest.raises(StoreUnavailable, match="append-only"):
            with database.transaction() as connection:
                connection.exec_driver_sql(sql)
    assert registry.by_consent(ALICE) == (row(1),)


def test_opening_again_keeps_what_is_there(registry: Registry, database: Database) -> None:
    add(registry, database, row(1))
    assert Registry(database).by_mark(row(1).mark_id) == row(1)


def test_missing_table_is_said(registry: Registry, database: Database) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("drop table release")
    with pytest.raises(StoreUnavailable):
        registry.by_mark("0" * 12)


def bits(*places: int) -> str:
    """A fingerprint in which these of the 256 bits are set."""
    return f"{sum(1 << place for place in places):064x}"


def find(registry: Registry, *asked: str, limit: int = 10) -> list[tuple[str, int, int]]:
    found = registry.near([Fingerprint(one, 100) for one in asked], limit=limit)
    return [(one.row.mark_id, one.bits, one.asked) for one in found]


def test_the_output_digest_finds_its_releases(registry: Registry, database: Database) -> None:
    twice = row(2, output_sha256=row(1).output_sha256)
    for new in (twice, row(1), row(3)):
        add(registry, database, new)
    assert registry.by_output(row(1).output_sha256) == (row(1), twice)
    assert registry.by_output("0" * 64) == ()


@pytest.mark.parametrize("tail", [0, 100])
def test_near_fingerprints_are_found_nearest_first(
    registry: Registry, database: Database, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    monkeypatch.setattr(module, "TAIL", tail)
    monkeypatch.setattr(module, "PAGE", 2)
    assert find(registry, bits()) == []
    for number, places in enumerate((range(40), range(31), range(5), range(200, 256)), 1):
        add(registry, database, row(number, fingerprint=bits(*places)))
    marks = [row(number).mark_id for number in range(5)]
    assert find(registry, bits()) == [(marks[3], 5, 0), (marks[2], 31, 0)]
    assert find(registry, bits(), limit=1) == [(marks[3], 5, 0)]
    assert find(registry, bits(*range(100, 180)), bits(*range(200, 250)), bits(1)) == [
        (marks[3], 4, 2),
        (marks[4], 6, 1),
        (marks[2], 30, 2),
    ]
    assert find(registry) == []


@pytest.mark.parametrize("tail", [0, 100])
def test_what_is_released_later_is_found_too(
    registry: Registry, database: Database, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    monkeypatch.setattr(module, "TAIL", tail)
    for number in range(1, 4):
        add(registry, database, row(number, fingerprint=bits(number)))
        assert find(registry, bits(number))[0] == (row(number).mark_id, 0, 0)
    assert len(find(Registry(database), bits())) == 3


def test_every_second_of_a_video_leads_to_it(registry: Registry, database: Database) -> None:
    seconds = [bits(*range(100)), bits(*range(50, 150))]
    add(registry, database, row(1, fingerprint=bits(255)), seconds=seconds)
    add(registry, database, row(2, fingerprint=bits(*range(200))))
    for one in (*seconds, bits(255)):
        assert find(registry, one) == [(row(1).mark_id, 0, 0)]
    assert find(registry, *seconds) == [(row(1).mark_id, 0, 0)], "each release once"


@pytest.mark.parametrize("broken", ["", "f" * 63, "g" * 64, "f" * 62, b"\x01"])
def test_a_row_without_a_fingerprint_is_not_found_and_stops_nothing(
    registry: Registry, database: Database, broken: Any
) -> None:
    if isinstance(broken, bytes):  # PostgreSQL's column would not take it
        database = Database("sqlite://")
        registry = Registry(database)
    add(registry, database, row(1, fingerprint=broken))
    add(registry, database, row(2, fingerprint=bits(1)))
    assert find(registry, bits()) == [(row(2).mark_id, 1, 0)]


def test_a_release_that_is_gone_from_the_table_is_left_out(
    registry: Registry, database: Database
) -> None:
    add(registry, database, row(1, fingerprint=bits(1)))
    assert len(find(registry, bits())) == 1
    with database.transaction() as connection:
        connection.exec_driver_sql("drop table release_frame")
        connection.exec_driver_sql("alter table release rename to old")
        connection.exec_driver_sql("create table release as select * from old where 1 = 0")
    assert find(registry, bits()) == []
