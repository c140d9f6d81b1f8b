"""What is asked for: one face swap, named by the digests of its inputs.

A request says nothing about the people that the pictures do not show again: it names the consents
under which they may be shown, and the measured facts must agree.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from policies.canonical import canonical, digest
from policies.errors import Malformed
from policies.terms import (
    Audience,
    BystanderPolicy,
    Category,
    Digest,
    Document,
    Medium,
    PersonRole,
    Purpose,
    RequestId,
    Territory,
    Text,
    Uuid,
)

MOST_PEOPLE = 32
"""Every person is named in the log entry of the decision, which has 4 kB."""


class Person(Document):
    """One depicted person: the consent they gave and the part they play."""

    record_id: Uuid
    role: PersonRole


class Request(Document):
    """One swap: whose face, onto whom, in which pictures, for what, where.

    Exactly one source identity and one target body; up to 30 consented bystanders.
    """

    schema_: Literal["facewarrant/request/1"] = Field(alias="schema")
    request_id: RequestId
    operator: Text
    source_sha256: Digest
    target_sha256: Digest
    people: Annotated[tuple[Person, ...], Field(min_length=2, max_length=MOST_PEOPLE)]
    purpose: Purpose
    medium: Medium
    audience: Audience
    territories: Annotated[tuple[Territory, ...], Field(min_length=1)]
    categories: tuple[Category, ...] = ()
    bystanders: BystanderPolicy = "refuse"
    """Faces in the target that nobody named: no picture, or they are blurred or replaced."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Request:
        roles = [person.role for person in self.people]
        if roles.count("source_identity") != 1 or roles.count("target_body") != 1:
            raise ValueError("a swap has exactly one source_identity and one target_body")
        if len(set(self.people)) != len(self.people):
            raise ValueError("the same person is named twice in the same role")
        return self

    @property
    def sha256(self) -> str:
        """The digest of the canonical request."""
        return digest(self.model_dump(mode="json", by_alias=True))


def make_request(**fields: Any) -> Request:
    """Build a request from JSON-like fields; raise Malformed naming the first wrong field."""
    try:
        return Request.model_validate_json(canonical({"schema": "facewarrant/request/1", **fields}))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"]) or "request"
        raise Malformed(f"{where}: {detail['msg']}") from error
