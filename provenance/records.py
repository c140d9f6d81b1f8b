"""What the releasing deployment's own records say about a file: consents, log, register.

Everything is verified anew: the register is not signed, so it leads the way and proves nothing; the
log proves itself. Refused, as failing evidence: an entry without a proof, or one about something
else. Raises StoreUnavailable, in every function, when the records cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policies.audit import AuditLog, LogTampered, verify_entry
from policies.consents import ConsentBook
from policies.errors import BadSignature, Malformed
from policies.keys import PublicKey
from policies.merkle import ProofInvalid
from provenance.evidence import Consent, Evidence, State
from provenance.reading import ManifestReading
from provenance.registry import Registry
from provenance.standing import consent_today, find_update, is_logged, worst_of
from provenance.store import Store


@dataclass(frozen=True, slots=True)
class Archive:
    """What only the releasing deployment has: registry, manifests, log and consents."""

    registry: Registry
    store: Store
    log: AuditLog
    log_key: PublicKey
    consents: ConsentBook


def look_at_consents(
    assertion: Mapping[str, Any] | None,
    archive: Archive | None,
    withdrawal: Mapping[str, Any] | None = None,
) -> tuple[Consent, list[Evidence]]:
    """Return how the consents that a manifest names stand today, one line for each and its record.

    `assertion`: org.facewarrant.consent as it was read; `withdrawal`: what the newest manifest of
    the file says of them itself, which counts also where the register was not given.
    """
    if assertion is None or archive is None:
        why = "the manifest names no consent" if archive else "its register was not given"
        said: Consent = "withdrawn" if withdrawal else "unchecked"
        return said, [Evidence("consent", "unchecked", why)]
    lines: list[Evidence] = []
    results = [consent_today(archive.consents, entry) for entry in assertion["consents"]]
    for found in results:
        lines.append(Evidence("consent", found.state, found.words))
        if found.note:
            lines.append(Evidence("record", "warns", found.note))
    worst = worst_of(results)
    return "withdrawn" if withdrawal and worst == "current" else worst, lines


def look_at_log(assertion: Mapping[str, Any] | None, archive: Archive | None) -> Evidence:
    """Return whether the log entry that a manifest names is the decision that allowed it.

    `assertion`: org.facewarrant.warrant as it was read.
    """
    if assertion is None or archive is None:
        why = "the manifest names no log entry" if archive else "its log was not given"
        return Evidence("log", "unchecked", why)
    place = assertion["log"]
    try:
        proof = archive.log.prove(place["index"])
        head = verify_entry(proof, origin=place["origin"], key=archive.log_key)
    except (LogTampered, ProofInvalid, BadSignature, Malformed) as error:
        return Evidence("log", "fails", error.message)
    same = proof.entry.get("decision") == assertion["decision_hash"]
    return Evidence(
        "log",
        "holds" if same and proof.entry.get("allow") is True else "fails",
        f"entry {proof.index} of {head.size} is the decision that allowed this"
        if same
        else f"entry {proof.index} is another decision",
    )


def look_at_release(reading: ManifestReading, archive: Archive) -> Evidence:
    """Return whether a manifest of ours was released, by register and log; an update, by the log.

    Of an update it is the release below that was released, and the update itself must be logged.
    """
    released_id = reading.released_id
    row = archive.registry.by_manifest(released_id)
    if row is not None and is_logged(archive.log, row.log_index, released_id, key=archive.log_key):
        at = datetime.fromtimestamp(row.released_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        told = f"released {at}, log entry {row.log_index}"
        if reading.withdrawal is None:
            return Evidence("release", "holds", told)
        index = find_update(archive.log, released_id, reading.manifest_id, key=archive.log_key)
        if index is None:
            return Evidence("release", "fails", f"{told}; the log has no such update of it")
        return Evidence("release", "holds", f"{told}; updated, log entry {index}")
    # Rare: only then is the whole log read. The register can be edited, the log cannot.
    named = [
        index
        for index, entry in enumerate(archive.log.entries())
        if entry.get("manifest") == released_id
    ]
    logged = any(is_logged(archive.log, index, released_id, key=archive.log_key) for index in named)
    words = "the log has this release" if logged else "the log has no release of this"
    state: State = "warns" if logged else "fails"
    return Evidence("release", state, f"not rightly in the register of releases; {words}")
