"""What a verification found, one line per kind of evidence, in words an auditor can quote.

A line never says more than was checked: `absent` is no evidence either way, and `unchecked` means
that this verifier was not given what the check needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["holds", "warns", "fails", "absent", "unchecked"]
Subject = Literal[
    "signature",
    "trust",
    "trust lists",
    "time stamp",
    "revocation",
    "product",
    "ingredients",
    "lint",
    "watermark",
    "fingerprint",
    "likeness",
    "labels",
    "agreement",
    "log",
    "release",
    "consent",
    "record",
    "second engine",
]

Consent = Literal["current", "withdrawn", "ended", "broken", "unchecked"]
"""How the consents behind a file stand today: all hold; one was withdrawn by the person; one ended
otherwise (expired, revoked, invalidated); one cannot be verified; or none could be looked up."""

Meaning = Literal[
    "consistent",
    "consistent, odd",
    "clash",
    "mark lost",
    "mark unreadable",
    "mark unplaced",
    "manifest only",
    "manifest broken",
    "other manifest over our mark",
    "changed after release",
    "recoverable",
    "unknown release",
    "nothing found",
    "unchecked",
]
"""What manifest and watermark mean together; the table is in `clash`."""

LabelMeaning = Literal[
    "labels agree",
    "labels deny AI",
    "labels claim AI",
    "labels missing",
    "labels disagree",
    "label alone",
    "no labels",
]
"""What the labels mean beside manifest and watermark; the table is in `clash`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line: what was looked at, how it stands, and in words what that means."""

    subject: Subject
    state: State
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """What may be said about a file whose evidence holds.

    `verdict`: "authentic" (a trusted manifest, and nothing contradicts it) or "recovered" (the
    manifest was stripped; watermark and fingerprint led back to the one we keep). `origin`: whether
    the manifest says a warrant of FaceWarrant stands behind it. `consent`: how the consents stand
    today, apart from authenticity: a file stays authentic when its use is no longer consented to.
    `meaning`, `label_meaning`: what manifest, watermark and labels mean together.
    """

    verdict: Literal["authentic", "recovered"]
    origin: Literal["facewarrant", "other"]
    consent: Consent
    manifest_id: str
    issuer: str
    mark_id: str
    evidence: tuple[Evidence, ...]
    meaning: Meaning = "unchecked"
    label_meaning: LabelMeaning = "no labels"

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON-ready data."""
        return asdict(self)
