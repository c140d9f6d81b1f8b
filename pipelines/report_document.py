"""The JSON document of one verification, and the JSON Schema that is published for it.

Run as a module it writes docs/evidence.schema.json; a test fails when that file is stale. A field
that a refused file cannot have is null, never left out and never made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from policies.terms import Digest, Document
from provenance.asset import Content, digest_of
from provenance.chains import TrustAnchors
from provenance.errors import VerificationError
from provenance.evidence import Consent, LabelMeaning, Meaning, State, Subject
from provenance.tree import ManifestNode, NodeState
from provenance.trust_terms import Use
from provenance.verify import Examination, Verifier

SCHEMA_PAGE = Path(__file__).parent.parent / "docs" / "evidence.schema.json"

Verdict = Literal[
    "authentic",
    "recovered",
    "tampered",
    "never-released",
    "untrusted",
    "unmarked",
    "unreadable",
]


class EvidenceLine(Document):
    """One line of evidence."""

    subject: Subject
    state: State
    words: str


class TrustListNote(Document):
    """A trust list that the verdict stands on."""

    name: str
    use: Use
    dated: str = Field(description="Day of issue as its issuer wrote it; empty if unknown.")
    sha256: Digest
    roots: int


class TrustNote(Document):
    """Whom the verdict believed."""

    roots: tuple[Digest, ...] = Field(description="SHA-256 of each root given outside of lists.")
    stamp_roots: tuple[Digest, ...] = Field(description="The same, for time stamps alone.")
    lists: tuple[TrustListNote, ...]


class ManifestNote(Document):
    """One manifest or ingredient of the file, and what it was made from."""

    manifest_id: str
    relationship: str = Field(description="Empty for the file's own manifest.")
    title: str
    generator: str
    issuer: str
    signed_at: str
    actions: tuple[str, ...]
    state: NodeState
    codes: tuple[str, ...] = Field(description="C2PA status codes of what fails.")
    parts: tuple[ManifestNote, ...]


class Problem(Document):
    """Why the evidence does not hold, and what mends it."""

    code: str
    message: str
    mend: str


class EvidenceDocument(Document):
    """What `facewarrant verify --json` prints about a picture it could read."""

    schema_: Literal["facewarrant/evidence/1"] = Field(alias="schema")
    file: str
    sha256: Digest = Field(description="SHA-256 of the file that this is about.")
    verdict: Verdict
    error: Problem | None = Field(description="Null where the evidence holds.")
    origin: Literal["facewarrant", "other"] | None
    consent: Consent | None
    manifest_id: str
    issuer: str
    mark_id: str | None
    meaning: Meaning = Field(description="What manifest and watermark mean together.")
    label_meaning: LabelMeaning = Field(description="What the labels mean beside them.")
    trust: TrustNote
    evidence: tuple[EvidenceLine, ...]
    manifests: ManifestNote | None

    def as_json(self) -> dict[str, Any]:
        """Return the document as JSON-ready data."""
        return self.model_dump(mode="json", by_alias=True)


def describe(
    file: str, content: Content, examined: Examination, *, verifier: Verifier
) -> EvidenceDocument:
    """Return the document of one examination of a file; `file` is what it is called.

    `verifier`: the one that examined it.
    """
    return EvidenceDocument.model_validate(
        {
            "schema": "facewarrant/evidence/1",
            "file": file,
            "sha256": digest_of(content),
            **_outcome(examined),
            "meaning": examined.meaning,
            "label_meaning": examined.label_meaning,
            "trust": _trust(verifier),
            "evidence": tuple(
                EvidenceLine(subject=e.subject, state=e.state, words=e.words)
                for e in examined.evidence
            ),
            "manifests": _manifest(examined.tree) if examined.tree else None,
        }
    )


def describe_schema() -> str:
    """Return the JSON Schema of the document, as text that ends with a line break."""
    schema = EvidenceDocument.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _outcome(examined: Examination) -> dict[str, Any]:
    outcome = examined.outcome
    if isinstance(outcome, VerificationError):
        return {
            "verdict": outcome.code.lower(),
            "error": Problem(code=outcome.code, message=outcome.message, mend=outcome.mend),
            "origin": None,
            "consent": None,
            "manifest_id": examined.manifest_id,
            "issuer": examined.issuer,
            "mark_id": None,
        }
    return {
        "verdict": outcome.verdict,
        "error": None,
        "origin": outcome.origin,
        "consent": outcome.consent,
        "manifest_id": outcome.manifest_id,
        "issuer": outcome.issuer,
        "mark_id": outcome.mark_id,
    }


def _trust(verifier: Verifier) -> TrustNote:
    lists = tuple(
        TrustListNote(
            name=one.name,
            use=one.use,
            dated=one.dated,
            sha256=one.sha256,
            roots=len(one.certificates),
        )
        for one in verifier.lists.lists
    )
    stamps = TrustAnchors(verifier.anchors.time_stamping).fingerprints
    return TrustNote(roots=verifier.anchors.fingerprints, stamp_roots=stamps, lists=lists)


def _manifest(node: ManifestNode) -> ManifestNote:
    return ManifestNote(
        manifest_id=node.manifest_id,
        relationship=node.relationship,
        title=node.title,
        generator=node.generator,
        issuer=node.issuer,
        signed_at=node.signed_at,
        actions=node.actions,
        state=node.state,
        codes=node.codes,
        parts=tuple(map(_manifest, node.parts)),
    )


if __name__ == "__main__":
    SCHEMA_PAGE.write_text(describe_schema(), encoding="utf-8")
