"""What the records say: each fact a line of its own, and nothing where they cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from policies.erasure import Eraser
from provenance.c2pa import ManifestReading, read_manifest
from provenance.evidence import Evidence
from provenance.records import look_at_consents, look_at_log, look_at_release
from provenance.release import release


@pytest.fixture
def told(studio: Any) -> tuple[Any, ManifestReading]:
    """The warrant of a release and what its manifest says."""
    draft = studio.draft()
    out = release(draft, press=studio.press)
    reading = read_manifest(out.data, out.mime, anchors=studio.pki.anchors)
    return draft.warrant.document, reading


def of(lines: list[Evidence], subject: str) -> list[tuple[str, str]]:
    return [(line.state, line.words) for line in lines if line.subject == subject]


def test_without_assertion_or_archive_nothing_is_said(studio: Any, told: Any) -> None:
    _, reading = told
    for assertion, archive in ((None, studio.archive), (reading.consent, None)):
        consent, [line] = look_at_consents(assertion, archive)
        assert (consent, line.state) == ("unchecked", "unchecked")
    for assertion, archive in ((None, studio.archive), (reading.warrant, None)):
        assert look_at_log(assertion, archive).state == "unchecked"


def test_consents_that_stand_have_one_line_each_and_no_note(studio: Any, told: Any) -> None:
    consent, lines = look_at_consents(told[1].consent, studio.archive)
    assert consent == "current"
    assert [line.subject for line in lines] == ["consent", "consent"]


def test_erased_person_is_a_line_of_its_own(studio: Any, told: Any) -> None:
    warrant, reading = told
    book = studio.office.book
    shown = book.read(warrant.people[0].record_id).record.subject.pid
    Eraser(book, studio.office.controller).erase(shown)
    consent, lines = look_at_consents(reading.consent, studio.archive)
    assert consent == "withdrawn"
    [(state, words)] = of(lines, "record")
    assert state == "warns"
    assert words.startswith("source_identity: the person was erased")
    assert [state for state, _ in of(lines, "consent")] == ["warns", "holds"]
    # The release itself stays proved: erasure deletes a person, not what happened.
    assert look_at_release(reading, studio.archive).state == "holds"
    assert look_at_log(reading.warrant, studio.archive).state == "holds"


def test_record_that_is_no_longer_kept_is_a_line_of_its_own(studio: Any, told: Any) -> None:
    warrant, reading = told
    record_id = warrant.people[1].record_id
    studio.office.withdraw(record_id)
    with studio.office.database.transaction() as connection:
        names = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        for name in list(names.scalars()):
            connection.exec_driver_sql(f"drop trigger {name}")
        connection.exec_driver_sql("pragma defer_foreign_keys = on")
        for table in ("template", "consent_event", "consent"):
            connection.execute(
                sa.text(f"delete from {table} where record_id = :id"),  # noqa: S608
                {"id": record_id},
            )
    consent, lines = look_at_consents(reading.consent, studio.archive)
    assert consent == "withdrawn"
    [(state, words)] = of(lines, "record")
    assert (state, words) == (
        "warns",
        "target_body: the consent record is no longer kept; the log says how it ended",
    )
    assert "consent withdrawn" in of(lines, "consent")[1][1]
    assert "no longer consented" in of(lines, "consent")[1][1]
