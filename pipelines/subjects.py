"""A person's rights at this deployment: everything kept about them, and its erasure.

An export holds what the database holds about a pseudonym and nothing about anybody else. Refused: a
pseudonym that nobody here has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pipelines.deployment import Records, controller_key
from pipelines.people import forget_key
from policies.canonical import parse
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.erasure import Eraser
from policies.erasure_receipt import Derivative
from policies.errors import Malformed
from policies.facts import read_facts
from policies.keyprovider import KeyGone
from policies.mentions import find_mentions
from policies.receipt import make_receipt
from policies.record import ConsentRecord
from policies.warrant import read_warrant
from provenance.registry import ReleaseRow

# Fields that say nothing about anybody else; whatever a later version adds is left out.
_PERMITTED = {
    *("decision_id", "purpose", "medium", "audience", "territories"),
    *("not_before", "expires_at", "policy_sha256"),
}
_DECIDED = ("allow", "policy_sha256", "engine", "evaluated_at")


def export_subject(pid: str, *, at: Records) -> dict[str, Any]:
    """Return everything kept about a person, as JSON-ready data; raises ConsentUnknown.

    Consents with receipts and every signed event, whether a face template of each is kept, the
    warrants and decisions that name the person, what was released, and the log's entries. What is
    broken is named as such. What is not here: the numbers of a template, an opt-out (it has a
    pseudonym of its own), requests by name and pictures by digest (they are others' too), anybody
    else's data.
    """
    record_ids = _records_of(pid, at)
    with at.desk.database.transaction() as connection:
        found = find_mentions(record_ids, within=connection)
    return {
        "schema": "facewarrant/subject-export/1",
        "pid": pid,
        "exported_at": at.clock(),
        "consents": [_export_consent(record_id, at) for record_id in record_ids],
        "warrants": [
            {"warrant_id": name, "state": state, **_describe_warrant(data, record_ids)}
            for name, (state, data) in found.warrants.items()
        ],
        "decisions": [
            {"decision_id": name, **_describe_decision(data, facts, record_ids)}
            for name, (data, facts) in found.decisions.items()
        ],
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


def _describe_warrant(data: bytes, record_ids: Collection[str]) -> dict[str, Any]:
    """Return what a warrant permitted of this person; the others in it are left out."""
    try:
        warrant = read_warrant(data)
    except Malformed as error:
        return {"status": "broken", "why": error.message}
    own = [one.model_dump(mode="json") for one in warrant.people if one.record_id in record_ids]
    fields = warrant.model_dump(mode="json", include=_PERMITTED)
    return {**fields, "people": own}


def _describe_decision(data: bytes, facts: bytes, record_ids: Collection[str]) -> dict[str, Any]:
    """Return when and by which policy it was decided, and what was held of this person."""
    try:
        decided, held = parse(data), read_facts(parse(facts))
    except Malformed as error:
        return {"status": "broken", "why": error.message}
    own = [one.model_dump(mode="json") for one in held.people if one.record_id in record_ids]
    return {name: decided.get(name) for name in _DECIDED} | {"people": own}


def _describe(row: ReleaseRow) -> dict[str, Any]:
    return {
        "manifest": row.manifest_id,
        "output_sha256": row.output_sha256,
        "released_at": row.released_at,
        "log_index": row.log_index,
    }
