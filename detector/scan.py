"""Scanning an upload: the cryptographic facts, then a score where a model can give one.

Decision table: a manifest or mark that holds decides; one that is broken or contradicts itself goes
to a person; a missing manifest is no evidence of anything. The score is `not_available` until a
calibrated model is installed: no number is made up in its place. The verdict never says "real".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from policies.errors import Error
from provenance.asset import Content, digest_of
from provenance.errors import (
    MediaError,
    NeverReleased,
    Tampered,
    Unmarked,
    Unreadable,
    Untrusted,
)
from provenance.evidence import Evidence, Report
from provenance.verify import Verifier

Outcome = Literal[
    "declared_synthetic",
    "declared_provenance",
    "provenance_conflict",
    "no_evidence_found",
    "not_applicable",
]
ACTIONS: dict[Outcome, str] = {
    "declared_synthetic": "label as AI-generated",
    "declared_provenance": "show the manifest of its maker",
    "provenance_conflict": "human review",
    "no_evidence_found": "none from this scan",
    "not_applicable": "handle as an unreadable upload",
}

_MARK_DISAGREES = "The picture carries a mark of ours, and its manifest is another's."


@dataclass(frozen=True, slots=True)
class Score:
    """What the forgery model says; `not_available` while there is none to ask."""

    status: Literal["not_available"]
    reason: str


NO_MODEL = Score("not_available", "no calibrated detector model is installed in this version")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one upload: outcome, what to do, why, and the evidence.

    `sha256` names the exact bytes: a verdict is reused for these and for no others.
    """

    sha256: str
    outcome: Outcome
    action: str
    reason: str
    score: Score
    evidence: tuple[Evidence, ...]

    def as_json(self) -> dict[str, object]:
        """Return the verdict as JSON-ready data."""
        return asdict(self)


def scan(content: Content, *, verifier: Verifier) -> Verdict:
    """Return what may be said about a file; never raises for what the file holds.

    `content`: its bytes, or its path, as for videos. Raises StoreUnavailable when the registry or
    log that the verifier was given cannot be read.
    """
    try:
        report = verifier.verify(content)
    except (Tampered, NeverReleased, Unreadable) as error:
        return _verdict(content, "provenance_conflict", _plain(error), error.evidence)
    except (Unmarked, Untrusted) as error:
        outcome, reason = _judge_silence(error)
        return _verdict(content, outcome, reason, error.evidence)
    except MediaError as error:
        return _verdict(content, "not_applicable", _plain(error), ())
    outcome, reason = _judge_report(report)
    return _verdict(content, outcome, reason, report.evidence)


def _judge_silence(error: Unmarked | Untrusted) -> tuple[Outcome, str]:
    if _marked(error.evidence):
        return "provenance_conflict", _MARK_DISAGREES
    says = any(e.subject == "labels" and e.words.startswith("AI-made") for e in error.evidence)
    label = " A label in the file says that it is AI-made; a label proves nothing." if says else ""
    return "no_evidence_found", f"{_plain(error)}. That says nothing about authenticity.{label}"


def _judge_report(report: Report) -> tuple[Outcome, str]:
    if report.origin == "facewarrant":
        return "declared_synthetic", _describe(report)
    if _marked(report.evidence):
        return "provenance_conflict", _MARK_DISAGREES
    by = report.issuer or "its signer"
    return "declared_provenance", f"A valid manifest by {by} says where it comes from."


def _marked(evidence: Sequence[Evidence]) -> bool:
    """Tell whether a mark of ours is there, or should be: a stranger's manifest cannot undo it."""
    return any(
        e.subject == "watermark" and e.state in ("holds", "warns", "fails") for e in evidence
    )


def _verdict(
    content: Content, outcome: Outcome, reason: str, evidence: tuple[Evidence, ...]
) -> Verdict:
    return Verdict(digest_of(content), outcome, ACTIONS[outcome], reason, NO_MODEL, evidence)


def _plain(error: Error) -> str:
    return f"{error.code}: {error.message}"


def _describe(report: Report) -> str:
    how = "its manifest" if report.verdict == "authentic" else "its watermark"
    by = report.issuer or "this deployment"
    consent = {
        "current": "",
        "withdrawn": " Consent to its use has been withdrawn.",
        "ended": " Consent to its use has ended.",
        "broken": " Its consent cannot be verified any more.",
        "unchecked": " Consent could not be checked here.",
    }[report.consent]
    return f"A face swap released by {by}, known from {how}.{consent}"
