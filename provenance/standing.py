"""How a release and its consents stand today: read from the log and the book of consents.

Every look verifies anew. A log entry counts only with its proof, a consent with its signatures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from policies.audit import AuditLog, ClockRollback, LogTampered, verify_entry
from policies.consent import FINAL, ConsentBroken
from policies.consents import ConsentBook, ConsentUnknown
from policies.errors import BadSignature, Malformed
from policies.keys import PublicKey
from policies.merkle import ProofInvalid
from provenance.evidence import Consent, State

_MOST_UPDATES = 1000  # of one release; every consent behind it can end once


def is_logged(log: AuditLog, index: int, manifest_id: str, *, key: PublicKey) -> bool:
    """Tell whether log entry `index` is proved to be the release of this manifest."""
    try:
        proof = log.prove(index)
        verify_entry(proof, origin=log.origin, key=key)
    except (LogTampered, ProofInvalid, BadSignature, Malformed):
        return False
    return (proof.entry["kind"], proof.entry.get("manifest")) == ("release", manifest_id)


def find_update(log: AuditLog, released_id: str, update_id: str, *, key: PublicKey) -> int | None:
    """Return the log entry that is proved to be this update of that release; None without one."""
    for index, entry in log.latest(_MOST_UPDATES, kind="update", about=released_id):
        if entry.get("update") != update_id:
            continue
        try:
            proof = log.prove(index)
            verify_entry(proof, origin=log.origin, key=key)
        except (LogTampered, ProofInvalid, BadSignature, Malformed):
            return None
        return index if proof.entry.get("manifest") == released_id else None
    return None


class ConsentToday(NamedTuple):
    """One consent behind an output: how it stands, as a state of evidence and in words.

    `note`: what became of its record or its person, empty where the record is kept as it was.
    """

    consent: Consent
    state: State
    words: str
    note: str = ""


_WORST_FIRST: tuple[Consent, ...] = ("broken", "withdrawn", "ended", "current")


def consent_today(book: ConsentBook, entry: Mapping[str, str]) -> ConsentToday:
    """Look up a manifest's consent entry (commitment, role) in the book, as it stands now."""
    role = entry["role"]
    try:
        kept = book.read(book.find(entry["commitment"]))
        state = kept.state
    except ConsentUnknown as error:
        return _kept_no_longer(book, entry) or ConsentToday(
            "broken", "fails", f"{role}: {error.message}"
        )
    except ClockRollback as error:
        # Nothing is wrong with the consent; it cannot be verified until the clock is right.
        return ConsentToday("broken", "unchecked", f"{role}: {error.message}")
    except (ConsentBroken, Malformed) as error:
        return ConsentToday("broken", "fails", f"{role}: {error.message}")
    since = datetime.fromtimestamp(state.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if state.status == "confirmed":
        return ConsentToday("current", "holds", f"{role}: consent given and confirmed {since}")
    words = f"{role}: consent {state.status} {since}; authentic, but no longer consented"
    note = ""
    if book.keys.shredded(kept.record.subject.pid):
        note = f"{role}: the person was erased; their face template opens for nobody any more"
    ended: Consent = "withdrawn" if state.status == "withdrawn" else "ended"
    return ConsentToday(ended, "warns", words, note)


def _kept_no_longer(book: ConsentBook, entry: Mapping[str, str]) -> ConsentToday | None:
    """Return how a consent ended whose record was deleted in time; None if the log has no end."""
    with book.database.transaction() as connection:
        last = book.log.newest(entry["commitment"], within=connection)
    if last is None or last["event"] not in FINAL:
        return None
    ended = datetime.fromtimestamp(last["at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = f"{entry['role']}: consent {last['event']} {ended}; authentic, but no longer consented"
    note = f"{entry['role']}: the consent record is no longer kept; the log says how it ended"
    how: Consent = "withdrawn" if last["event"] == "withdrawn" else "ended"
    return ConsentToday(how, "warns", words, note)


def worst_of(found: Sequence[ConsentToday]) -> Consent:
    """Return how the consents of one output stand together: as badly as the worst of them."""
    return next(c for c in _WORST_FIRST if any(one.consent == c for one in found))
