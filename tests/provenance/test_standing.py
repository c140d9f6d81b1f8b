"""How a release stands: only a proved log entry of that very manifest counts."""

from __future__ import annotations

from typing import Any

import pytest

from policies.keys import SigningKey
from provenance.standing import ConsentToday, consent_today, is_logged, worst_of


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
