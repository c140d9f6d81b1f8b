"""Everything about one released output in one folder, for an auditor who has none of our software.

Output, manifest store, warrant, decision with its facts, policy, checkpoint, proofs of the log's
entries, public keys, a root certificate, a script of the standard library and a README with every
command. What was not kept is named in the README, never left out in silence. Refused: a name that
no release has; a release whose warrant, log and register do not say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policies.audit import AuditLog, InclusionProof, LogTampered, verify_entry
from policies.bundle import SUMS, PolicyTexts, list_sums, write_folder
from policies.canonical import canonical, digest
from policies.checkpoint import verifier_key
from policies.errors import Error, StoreUnavailable
from policies.keys import PublicKey, Role
from policies.proofs import encode_inclusion
from policies.tables import DECISION, WARRANT
from policies.warrant import Warrant, read_warrant, verify_issuer
from provenance import output_check
from provenance.chains import TrustAnchors
from provenance.output_readme import write_readme
from provenance.records import Archive
from provenance.registry import Registry, ReleaseRow

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "video/mp4": "mp4"}
_TRIES = 5  # the log may grow between two proofs; each pair is one transaction apart
_MOST_STEPS = 1000


class OutputUnknown(Error):
    """No release has that manifest, request or output."""

    code = "OUTPUT-UNKNOWN"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a bundle's parts come from; `warrant` is the desk's key.

    `policy` is what is in force now; it goes in only where the warrant names it.
    """

    archive: Archive
    anchors: TrustAnchors
    warrant: PublicKey
    policy: PolicyTexts


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was written: the release, its log entries by name, and what could not be put in."""

    row: ReleaseRow
    entries: Mapping[str, int]
    missing: tuple[str, ...]


def find_release(registry: Registry, name: str) -> ReleaseRow:
    """Return the release of a manifest id, a mark id, a request id or an output's SHA-256.

    Raises OutputUnknown.
    """
    outputs = registry.by_output(name) if _DIGEST.fullmatch(name) else ()
    named = (registry.by_manifest(name), registry.by_mark(name), registry.by_request(name))
    found = (*named, *outputs)
    for row in found:
        if row is not None:
            return row
    raise OutputUnknown(
        "nothing was released here under that name",
        mend="give the id of the manifest (urn:c2pa:...), the mark or the request, "
        "or the output's SHA-256",
    )


def write_output_bundle(folder: Path, name: str, *, sources: Sources) -> Bundled:
    """Write the bundle of one output into a new or empty folder.

    Raises OutputUnknown, LogTampered when warrant, log and register differ, WarrantInvalid for a
    warrant that the desk did not sign, BundleExists and StoreUnavailable.
    """
    archive = sources.archive
    row = find_release(archive.registry, name)
    warrant, decision, facts = _read_kept(archive, row)
    verify_issuer(warrant, key=sources.warrant)
    proofs = _prove(archive.log, _places(archive.log, row, warrant))
    _require_agreement(row, warrant, proofs)
    files = {
        f"output.{_ENDINGS.get(row.mime, 'bin')}": archive.store.get(row.output_sha256),
        "manifest.c2pa": archive.store.get(row.manifest_sha256),
        "warrant.json": warrant.encode(),
        "checkpoint": proofs["release"].checkpoint.encode(),
        "root.pem": sources.anchors.pem.encode(),
        "check.py": Path(output_check.__file__).read_bytes(),
        **{f"proof-{kind}.json": encode_inclusion(proof) for kind, proof in proofs.items()},
        **_keys(archive, sources.warrant),
    }
    missing = []
    if decision and facts:
        files |= {"decision.json": decision, "facts.json": facts}
    else:
        missing.append(
            "decision.json, facts.json: the decision was made before decisions were kept; only "
            "their digests are in the log, and nobody can decide again on the same facts"
        )
    if digest(sources.policy.parts) == warrant.policy_sha256:
        files |= _policy(sources.policy)
    else:
        missing.append(
            "policy.json and the policy's texts: another policy is in force since; the deployment "
            f"has to hand over the one with the digest {warrant.policy_sha256}"
        )
    files["README.txt"] = write_readme(row, warrant, sorted(files), missing)
    write_folder(folder, files | {SUMS: list_sums(files)})
    return Bundled(row, {kind: proof.index for kind, proof in proofs.items()}, tuple(missing))


def _read_kept(archive: Archive, row: ReleaseRow) -> tuple[Warrant, bytes | None, bytes | None]:
    """Return a release's warrant, and decision and facts where they are kept."""
    with archive.consents.database.transaction() as connection:
        document = connection.scalar(
            sa.select(WARRANT.c.document).where(WARRANT.c.warrant_id == row.warrant_id)
        )
        if document is None:
            raise LogTampered("the register names a warrant that was never issued")
        warrant = read_warrant(document)
        kept = connection.execute(
            sa.select(DECISION.c.document, DECISION.c.facts).where(
                DECISION.c.decision_id == warrant.decision_id
            )
        ).one_or_none()
    return (warrant, None, None) if kept is None else (warrant, kept.document, kept.facts)


def _places(log: AuditLog, row: ReleaseRow, warrant: Warrant) -> dict[str, int]:
    """Return where the log holds everything about a release, by what the proof is called."""
    places = {"decision": warrant.decision_index, "release": row.log_index}
    # The desk logs the warrant in the transaction of its decision, right behind it.
    places["warrant"] = warrant.decision_index + 1
    # As the log names them: a consent record may have been disposed of since.
    subjects = log.prove(warrant.decision_index).entry.get("subjects", [])
    for number, commitment in enumerate(sorted(set(subjects)), 1):
        steps = log.latest(_MOST_STEPS, kind="consent_event", about=commitment)
        places |= {f"consent-{number}-{entry['seq']}": index for index, entry in steps}
    return places


def _prove(log: AuditLog, places: Mapping[str, int]) -> dict[str, InclusionProof]:
    """Return proofs that all lead to one checkpoint, each verified."""
    for _ in range(_TRIES):
        proofs = {name: log.prove(index) for name, index in places.items()}
        if len({proof.checkpoint for proof in proofs.values()}) == 1:
            for proof in proofs.values():
                verify_entry(proof, origin=log.origin, key=log.public)
            return proofs
    raise StoreUnavailable("the log grows while it is read", mend="run the command again")


def _require_agreement(
    row: ReleaseRow, warrant: Warrant, proofs: Mapping[str, InclusionProof]
) -> None:
    """Raise LogTampered unless log, warrant and register are about one and the same release."""
    decision, given, release = (proofs[name].entry for name in ("decision", "warrant", "release"))
    said: Sequence[tuple[Any, Any]] = (
        (decision.get("decision"), warrant.decision_sha256),
        (given.get("warrant"), warrant.sha256),
        ((release["kind"], release.get("manifest")), ("release", row.manifest_id)),
        (release.get("warrant"), warrant.warrant_id),
        (row.warrant_id, warrant.warrant_id),
    )
    if any(one != other for one, other in said):
        raise LogTampered("log, warrant and register tell different stories of this release")


def _keys(archive: Archive, warrant: PublicKey) -> dict[str, bytes]:
    log = archive.log
    keys: list[tuple[Role, PublicKey]] = [("log", log.public), ("warrant", warrant)]
    keys += [("controller", key) for key in archive.consents.controllers[:1]]
    line = verifier_key(log.origin, log.public, "checkpoint")
    return {
        "key-log.txt": f"{line}\n".encode(),
        **{f"key-{role}.pem": _pem(key) for role, key in keys},
    }


def _pem(key: PublicKey) -> bytes:
    return Ed25519PublicKey.from_public_bytes(key.raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _policy(policy: PolicyTexts) -> dict[str, bytes]:
    return {
        "gate.cedar": policy.texts["policy"].encode(),
        "gate.cedarschema": policy.texts["schema"].encode(),
        "house.cedar": policy.texts["house"].encode(),
        "policy.json": canonical({"policy_sha256": digest(policy.parts), "parts": policy.parts}),
    }
