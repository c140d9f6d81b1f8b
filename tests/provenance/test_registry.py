"""The registry: one release per mark, request, warrant and manifest; found again by each person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from policies.database import Database
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
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
) -> None:
    with database.transaction() as connection:
        registry.add(new, people=people, within=connection)


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
