"""What goes into a batch and what comes out: jobs and their inputs, outcomes and their reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from policies.decide import Refused
from policies.errors import Error
from policies.request import Request
from policies.rule import Finding
from provenance.asset import Content
from provenance.clip_release import ReleasedClip
from provenance.release import Released

Status = Literal["released", "refused", "rejected"]


@dataclass(frozen=True, slots=True)
class Job:
    """A request with its inputs: a picture is its bytes, a target video the path of its file."""

    request: Request
    source: bytes = field(repr=False)
    target: Content = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    `released`: `release` holds the picture, or names the video that the store gives. `refused`:
    policy decided against it, `findings` say why. `rejected`: an input, consent or warrant could
    not be used, `codes` and `message` say why.
    """

    request_id: str
    status: Status
    codes: tuple[str, ...] = ()
    message: str = ""
    mend: str = ""
    findings: tuple[Finding, ...] = ()
    release: Released | ReleasedClip | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON-ready data, without pixels."""
        found: dict[str, Any] = {
            "request_id": self.request_id,
            "status": self.status,
            "codes": list(self.codes),
            "message": self.message,
            "mend": self.mend,
            "findings": [finding.model_dump(mode="json") for finding in self.findings],
        }
        if self.release is not None:
            names = ("mime", "sha256", "mark_id", "manifest_id", "log_index")
            found["release"] = {name: getattr(self.release, name) for name in names}
        return found


def released(job: Job, release: Released | ReleasedClip) -> Outcome:
    """Return the outcome of a job that was released."""
    return Outcome(job.request.request_id, "released", release=release)


def refused(job: Job, error: Refused) -> Outcome:
    """Return the outcome of a job that policy decided against."""
    decision = error.decision
    return Outcome(
        job.request.request_id,
        "refused",
        codes=decision.codes,
        message=error.message,
        mend=error.mend,
        findings=decision.findings,
    )


def rejected(request_id: str, error: Error) -> Outcome:
    """Return the outcome of a job whose inputs could not be used."""
    return Outcome(
        request_id,
        "rejected",
        codes=(error.code,),
        message=error.message,
        mend=error.mend,
    )
