"""What a decision is made of: facts of consent, of the pictures and of the clock.

Every fact is required and strictly typed; a missing, extra or ill-typed one is Malformed and so a
denial. The consent facts are computed by the warrant desk from the book of consents. The measured
facts are handed in, made by `generator.measure`; the desk cannot check them, so the swap compares
every face with its consent once more before a pixel is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from policies.canonical import canonical, digest
from policies.errors import Malformed
from policies.request import Request
from policies.terms import (
    Audience,
    Category,
    Digest,
    Document,
    FaceMatch,
    Mark,
    Medium,
    ModelName,
    PersonRole,
    Purpose,
    Territory,
    UnixTime,
    Uuid,
)

Count = Annotated[int, Field(ge=0, le=100_000)]
Pixel = Annotated[int, Field(ge=-100_000, le=100_000)]
PixelBox = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Field(strict=False)]
# Left, top, right, bottom in pixels of the picture.

Milli = Annotated[int, Field(ge=0, le=1_000_000)]


class MeasuredPerson(Document):
    """Whether a person's template matches a face in their picture, and where that face is."""

    record_id: Uuid
    role: PersonRole
    match: FaceMatch
    distance_milli: Milli
    """Distance to the template in thousandths of the identity model's unit."""
    box: PixelBox | None


class Measured(Document):
    """What measuring the two pictures gave."""

    source_sha256: Digest
    target_sha256: Digest
    source_faces: Count
    target_faces: Count
    target_faces_resolved: Count
    people: Annotated[tuple[MeasuredPerson, ...], Field(strict=False)]
    models: Mapping[ModelName, Digest]
    identity_model_sha256: Digest


def assume_best(request: Request, *, identity_model_sha256: str) -> Measured:
    """Return the measurement that speaks best for a request: everyone alone, found and matched."""
    people = tuple(
        MeasuredPerson(
            record_id=p.record_id, role=p.role, match="match", distance_milli=0, box=(0, 0, 1, 1)
        )
        for p in request.people
    )
    shown = sum(p.role != "source_identity" for p in request.people)
    return Measured(
        source_sha256=request.source_sha256,
        target_sha256=request.target_sha256,
        source_faces=1,
        target_faces=shown,
        target_faces_resolved=shown,
        people=people,
        models={},
        identity_model_sha256=identity_model_sha256,
    )


class ConsentFacts(Document):
    """What one person's consent is worth for this request, now."""

    record_id: Uuid
    role: PersonRole
    status: Literal[
        "requested",
        "given",
        "confirmed",
        "withdrawn",
        "revoked",
        "refused",
        "expired",
        "invalidated",
        "broken",
        "unknown",
    ]
    status_since: UnixTime
    not_before: UnixTime
    expires: UnixTime
    roles: tuple[PersonRole, ...]
    purposes: tuple[Purpose, ...]
    media: tuple[Medium, ...]
    audiences: tuple[Audience, ...]
    territories: tuple[Territory, ...]
    opted_in: tuple[Category, ...]
    counterparties_ok: bool
    asset_ok: bool
    adult: bool
    uses_left: Count
    template_model_ok: bool
    match: FaceMatch

    @property
    def subject(self) -> str:
        """Whom a reason concerns: the role and the consent, never a name."""
        return f"{self.role} {self.record_id}"


class Facts(Document):
    """Everything one decision looks at."""

    now: UnixTime
    last_log_time: UnixTime
    purpose: Purpose
    medium: Medium
    audience: Audience
    territories: tuple[Territory, ...]
    categories: tuple[Category, ...]
    marks: tuple[Mark, ...]
    inputs_match: bool
    """The measured pictures are the ones the request names."""
    people_match: bool
    """The measured people are exactly the ones the request names, in those roles."""
    source_faces: Count
    target_faces: Count
    target_faces_resolved: Count
    people: tuple[ConsentFacts, ...]

    @property
    def sha256(self) -> str:
        """The digest of the canonical facts."""
        return digest(self.model_dump(mode="json"))


def read_facts(raw: Mapping[str, Any]) -> Facts:
    """Return the facts of a JSON-like mapping; raise Malformed naming the first wrong one."""
    try:
        return Facts.model_validate_json(canonical(raw))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise Malformed(f"fact {where}: {detail['msg']}") from error
