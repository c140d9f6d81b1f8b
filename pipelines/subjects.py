"""A person's rights at this deployment: everything kept about them, and its erasure.

An export holds what the database holds about a pseudonym and nothing about anybody else. Refused: a
pseudonym that nobody here has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.deployment import Records, controller_key
from pipelines.people import forget_key
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.erasure import Eraser
from policies.erasure_receipt import Derivative
from policies.keyprovider import KeyGone
from policies.receipt import make_receipt
from policies.record import ConsentRecord
from provenance.registry import ReleaseRow


def export_subject(pid: str, *, at: Records) -> dict[str, Any]:
    """Return everything kept about a person, as JSON-ready data; raises ConsentUnknown.

    Consents with receipts and every signed event, whether a face template of each is kept, and what
    was decided and released under them. A record that is broken is named as such. What is not here:
    the numbers of a template, an opt-out (it has a pseudonym of its own), anybody else's data.
    """
    record_ids = _records_of(pid, at)
    return {
        "schema": "facewarrant/subject-export/1",
        "pid": pid,
        "exported_at": at.clock(),
        "consents": [_export_consent(record_id, at) for record_id in record_ids],
        "releases": [
            {"consent": record_id, **_describe(row)}
            for record_id in record_ids
            for row in at.archive.registry.by_consent(record_id)
        ],
        "log_entries": _mentioning({at.consents.commit(r) for r in record_ids}, at),
    }


def erase_subject(pid: str, *, at: Records) -> Mapping[str, Any]:
    """Withdraw every consent of a person, destroy their key, and return the signed receipt.

    Goes on where an interrupted erasure stopped. Raises KeyUnknown and ErasureFailed.
    """
    derivatives = [
        Derivative(row.manifest_id, "released")
        for record_id in at.consents.records_of(pid)
        for row in at.archive.registry.by_consent(record_id)
    ]
    receipt = Eraser(at.consents, controller_key(at.settings)).erase(pid, derivatives)
    forget_key(at.settings, pid)
    return receipt


def erase_again(at: Records) -> int:
    """Destroy every key that a restored backup brought back; return how many there were."""
    return Eraser(at.consents, controller_key(at.settings)).reapply()


def _records_of(pid: str, at: Records) -> tuple[str, ...]:
    if not (record_ids := at.consents.records_of(pid)):
        raise ConsentUnknown(
            f"there is nobody {pid!r} here",
            mend="a person's pseudonym is on their receipt, and in 'facewarrant consent show ID'",
        )
    return record_ids


def _mentioning(commitments: set[str], at: Records) -> list[dict[str, Any]]:
    """Return the log's entries about any of these consents, with their places; nobody else's."""
    found = []
    for index, entry in enumerate(at.archive.log.entries()):
        if not commitments.isdisjoint((entry.get("subject"), *entry.get("subjects", ()))):
            own = {"subjects": sorted(commitments & set(entry.get("subjects", ())))}
            found.append({"index": index, **entry, **(own if "subjects" in entry else {})})
    return found


def _export_consent(record_id: str, at: Records) -> dict[str, Any]:
    try:
        consent, history = at.consents.read(record_id), at.consents.history(record_id)
    except ConsentBroken as error:
        return {"record_id": record_id, "status": "broken", "why": error.message}
    return {
        "template_kept": _template_kept(consent.record, at),
        "record": consent.record.model_dump(mode="json", by_alias=True),
        "status": consent.state.status,
        "since": consent.state.since,
        "events": [event.model_dump(mode="json", by_alias=True) for event in history],
        "receipt": make_receipt(consent, history).document(),
    }


def _template_kept(record: ConsentRecord, at: Records) -> bool:
    try:
        return bool(at.consents.template(record))
    except (ConsentBroken, KeyGone):
        return False


def _describe(row: ReleaseRow) -> dict[str, Any]:
    return {
        "manifest": row.manifest_id,
        "output_sha256": row.output_sha256,
        "released_at": row.released_at,
        "log_index": row.log_index,
    }
