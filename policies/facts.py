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
    AddendumForm,
    AgeLook,
    Audience,
    BystanderPolicy,
    Category,
    Digest,
    Document,
    FaceMatch,
    Mark,
    Medium,
    ModelName,
    NudityLook,
    PersonRole,
    Purpose,
    RegistryAnswer,
    Territory,
    UnixTime,
    Uuid,
)

Count = Annotated[int, Field(ge=0, le=100_000)]
Pixel = Annotated[int, Field(ge=-100_000, le=100_000)]
PixelBox = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Field(strict=False)]
# Left, top, right, bottom in pixels of the picture.

MOST_BLURRED = 64
"""More unnamed faces than this make a crowd, which no warrant can describe."""

Milli = Annotated[int, Field(ge=0, le=1_000_000)]


class MeasuredPerson(Document):
    """One named person as their picture shows them."""

    record_id: Uuid
    role: PersonRole
    match: FaceMatch
    distance_milli: Milli
    """Distance to the template in thousandths of the identity model's unit."""
    age: AgeLook
    registry: RegistryAnswer
    """Whether somebody who asked never to be swapped looks like this face."""
    box: PixelBox | None


class Measured(Document):
    """What measuring the two pictures gave."""

    source_sha256: Digest
    target_sha256: Digest
    source_faces: Count
    target_faces: Count
    target_faces_resolved: Count
    blurred: Annotated[tuple[PixelBox, ...], Field(strict=False, max_length=MOST_BLURRED)]
    """Faces of the target that match nobody, to be blurred or replaced as the request says; empty
    where it says neither."""
    unnamed_minor: bool
    """A face that nobody named looks like a minor, or its age could not be measured."""
    source_nudity: NudityLook
    target_nudity: NudityLook
    pixels: Annotated[int, Field(ge=1, le=1_000_000_000)]
    """Width times height of the target."""
    seconds: Annotated[int, Field(ge=0, le=86_400)]
    """Length of the target, rounded up; 0 for a still."""
    people: Annotated[tuple[MeasuredPerson, ...], Field(strict=False)]
    models: Mapping[ModelName, Digest]
    identity_model_sha256: Digest


def assume_best(request: Request, *, identity_model_sha256: str) -> Measured:
    """Return the measurement that speaks best for a request: everyone alone, found and matched."""
    people = tuple(
        MeasuredPerson(
            record_id=p.record_id,
            role=p.role,
            match="match",
            distance_milli=0,
            age="clear",
            registry="clear",
            box=(0, 0, 1, 1),
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
        blurred=(),
        unnamed_minor=False,
        source_nudity="clear",
        target_nudity="clear",
        pixels=1,
        seconds=0,
        people=people,
        models={},
        identity_model_sha256=identity_model_sha256,
    )


class ConsentFacts(Document):
    """What one person's consent is worth for this request, now, and what was measured of them."""

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
    prohibited: tuple[Category, ...]
    addenda: tuple[AddendumForm, ...]
    counterparties_ok: bool
    asset_ok: bool
    notice_known: bool
    """The notice they were shown is one that this deployment published."""
    adult: bool
    age_assured: bool
    """Their record holds evidence of age that answers a challenge."""
    enrolled_live: bool
    """The template was made of a person who was there, or of one who does not exist."""
    uses_left: Count
    max_pixels: Annotated[int, Field(ge=0, le=1_000_000_000)]
    max_seconds: Annotated[int, Field(ge=0, le=86_400)]
    template_model_ok: bool
    match: FaceMatch
    age: AgeLook
    registry: RegistryAnswer

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
    bystanders: BystanderPolicy
    purpose_known: bool
    """The purpose is one of the product's or of this deployment's own."""
    marks: tuple[Mark, ...]
    required_marks: tuple[Mark, ...]
    """What binding rules of law demand beyond the product's floor."""
    required_addenda: tuple[AddendumForm, ...]
    inputs_match: bool
    """The measured pictures are the ones the request names."""
    people_match: bool
    """The measured people are exactly the ones the request names, in those roles."""
    source_faces: Count
    target_faces: Count
    target_faces_resolved: Count
    target_faces_blurred: Count
    unnamed_minor: bool
    source_nudity: NudityLook
    target_nudity: NudityLook
    pixels: Annotated[int, Field(ge=1, le=1_000_000_000)]
    seconds: Annotated[int, Field(ge=0, le=86_400)]
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
