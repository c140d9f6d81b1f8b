"""How a release stands: only a proved log entry of that very manifest counts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from policies.keys import SigningKey
from policies.tables import CONSENT, CONSENT_EVENT, DISPOSAL, TEMPLATE
from provenance.standing import ConsentToday, consent_today, find_update, is_logged, worst_of


def test_only_the_entry_of_this_manifest_counts(studio: Any) -> None:
    out, other = studio.release(), studio.release("persona3_0")
    log, key = studio.office.log, studio.office.log_key.public
    assert is_logged(log, out.log_index, out.manifest_id, key=key)
    assert not is_logged(log, other.log_index, out.manifest_id, key=key)
    assert not is_logged(log, 0, out.manifest_id, key=key)
    assert not is_logged(log, 10_000, out.manifest_id, key=key)
    stranger = SigningKey.from_seed(b"s" * 32).public
    assert not is_logged(log, out.log_index, out.manifest_id, key=stranger)


@pytest.mark.parametrize(
    ("found", "worst"),
    [
        (("current", "current"), "current"),
        (("current", "ended"), "ended"),
        (("ended", "withdrawn"), "withdrawn"),
        (("withdrawn", "broken"), "broken"),
    ],
)
def test_consents_stand_as_badly_as_the_worst(found: tuple[Any, ...], worst: str) -> None:
    assert worst_of([ConsentToday(consent, "holds", "") for consent in found]) == worst


def test_consent_of_nobody_is_broken(studio: Any) -> None:
    entry = {"commitment": "0" * 64, "role": "source_identity"}
    today = consent_today(studio.office.book, entry)
    assert (today.consent, today.state) == ("broken", "fails")


def dispose(studio: Any, record_id: str) -> dict[str, str]:
    """Delete a record as the sweep does once its time is over; what a manifest says of it."""
    commitment = studio.office.book.commit(record_id)
    with studio.office.database.transaction() as connection:
        row = {"record_id": record_id, "due_at": 1, "at": 2}
        connection.execute(sa.insert(DISPOSAL), row)
        for table in (CONSENT_EVENT, TEMPLATE, CONSENT):
            connection.execute(sa.delete(table).where(table.c.record_id == record_id))
    return {"commitment": commitment, "role": "target_body"}


@pytest.mark.parametrize(
    ("kind", "signer", "consent"),
    [("withdrawn", "subject", "withdrawn"), ("revoked", "controller", "ended")],
)
def test_a_record_that_is_no_longer_kept_still_says_how_it_ended(
    studio: Any, kind: str, signer: str, consent: str
) -> None:
    office = studio.office
    record_id = office.enrol()
    office.book.append(record_id, kind, keys=office.keys(record_id, signer), reason="asked for")
    today = consent_today(office.book, dispose(studio, record_id))
    assert (today.consent, today.state) == (consent, "warns")
    assert f"consent {kind} 2026-11-21" in today.words
    assert "no longer kept" in today.note


def test_a_record_that_vanished_without_an_end_is_broken(studio: Any) -> None:
    entry = dispose(studio, studio.office.enrol())
    assert consent_today(studio.office.book, entry)[:2] == ("broken", "fails")


def test_a_record_that_was_edited_is_broken(studio: Any) -> None:
    record_id = studio.office.enrol()
    entry = {"commitment": studio.office.book.commit(record_id), "role": "target_body"}
    with studio.office.database.transaction() as connection:
        connection.execute(sa.text("drop trigger consent_update"))
        connection.execute(sa.update(CONSENT).values(document=b"{}"))
    assert consent_today(studio.office.book, entry)[:2] == ("broken", "fails")


def test_a_clock_that_is_behind_judges_no_consent(studio: Any) -> None:
    """Nothing is said to be forged: it cannot be verified now."""
    record_id = studio.office.enrol()
    entry = {"commitment": studio.office.book.commit(record_id), "role": "target_body"}
    studio.office.clock.now -= 1
    today = consent_today(studio.office.book, entry)
    assert (today.consent, today.state) == ("broken", "unchecked")
    assert "clock" in today.words


def test_only_the_proved_entry_of_this_update_counts(studio: Any) -> None:
    """The column that says whom an entry is about leads the way, and proves nothing."""
    log, key = studio.office.log, studio.office.log_key.public
    receipts = [log.append("update", {"manifest": "m", "update": name}) for name in ("a", "b")]
    elsewhere = log.append("update", {"manifest": "other", "update": "c"})
    assert find_update(log, "m", "a", key=key) == receipts[0].index
    assert find_update(log, "m", "b", key=key) == receipts[1].index
    assert find_update(log, "m", "c", key=key) is None
    assert find_update(log, "nothing", "a", key=key) is None
    stranger = SigningKey.from_seed(b"s" * 32).public
    assert find_update(log, "m", "a", key=stranger) is None
    with studio.office.database.transaction() as connection:
        names = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        for name in list(names.scalars()):
            connection.exec_driver_sql(f"drop trigger {name}")
        change = "update log_entry set about = 'm' where i = ?"
        connection.exec_driver_sql(change, (elsewhere.index,))
    assert find_update(log, "m", "c", key=key) is None
