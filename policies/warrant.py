"""The warrant document: a signed, scoped, expiring permission for one swap.

Data and its verification alone; what state a warrant is in, and who may start one, is the warrant
desk's (`warrants.py`). Refused: a document that is not canonical, not signed by the desk, outside
its window or made under other rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from policies.canonical import canonical, digest, parse
from policies.errors import BadSignature, Error, Malformed
from policies.facts import PixelBox
from policies.keys import PublicKey
from policies.terms import (
    Audience,
    BystanderPolicy,
    Digest,
    Document,
    KeyId,
    Medium,
    ModelName,
    PersonRole,
    Purpose,
    RequestId,
    Signature,
    Territory,
    UnixTime,
    Uuid,
)

WARRANT_SECONDS = 600
"""An image is swapped in seconds; ten minutes leave room for a queue and little for theft."""

SECONDS_PER_CLIP_SECOND = 120
"""What a warrant lasts longer for every second of video: 25 frames, each measured, swapped and
marked, at up to five seconds a frame on a processor alone."""

State = Literal["issued", "started", "released", "aborted"]


class WarrantInvalid(Error):
    """The warrant does not permit this; `code` says which of its conditions failed."""

    code: ClassVar[str] = "WARRANT-INVALID"

    def __init__(self, message: str, *, code: str = "", mend: str = "") -> None:
        super().__init__(message, mend=mend or "ask for a new warrant with a new request")
        if code:
            self.code = code  # type: ignore[misc]  # one class, several stable codes


class WarrantPerson(Document):
    """One depicted person: consent, role, face box and the consent's newest step."""

    record_id: Uuid
    role: PersonRole
    box: PixelBox
    consent_head: Digest


class Warrant(Document):
    """The signed document. Times are unix seconds; digests are SHA-256 hex."""

    schema_: Literal["facewarrant/warrant/1"] = Field(alias="schema")
    warrant_id: Uuid
    request_id: RequestId
    request_sha256: Digest
    decision_id: Uuid
    decision_sha256: Digest
    decision_index: Annotated[int, Field(ge=0)]
    log_origin: str
    log_size: Annotated[int, Field(ge=1)]
    source_sha256: Digest
    target_sha256: Digest
    purpose: Purpose
    medium: Medium
    audience: Audience
    territories: Annotated[tuple[Territory, ...], Field(min_length=1, strict=False)]
    """Where it may be shown: the labels follow the rules of these places."""
    people: Annotated[tuple[WarrantPerson, ...], Field(min_length=2, strict=False)]
    blurred: Annotated[tuple[PixelBox, ...], Field(strict=False)]
    """Faces of the target that nobody named; the output shows none of them."""
    bystanders: BystanderPolicy
    """What is done to those. `persona` also permits a blur where a face cannot be replaced;
    `blur` permits nothing else."""
    models: Mapping[ModelName, Digest]
    policy_sha256: Digest
    not_before: UnixTime
    expires_at: UnixTime
    kid: KeyId
    sig: Signature

    def body(self) -> dict[str, Any]:
        """Return what is signed: the document without its signature."""
        return self.model_dump(mode="json", by_alias=True, exclude={"sig"})

    def encode(self) -> bytes:
        """Return the canonical bytes, signature included."""
        return canonical(self.model_dump(mode="json", by_alias=True))

    @property
    def sha256(self) -> str:
        """The digest of the canonical warrant."""
        return digest(self.model_dump(mode="json", by_alias=True))


def read_warrant(data: bytes) -> Warrant:
    """Parse canonical warrant bytes; raise Malformed for anything else."""
    try:
        return Warrant.model_validate_json(canonical(parse(data)))
    except ValidationError as error:
        raise Malformed("not a warrant") from error


def verify_issuer(warrant: Warrant, *, key: PublicKey) -> None:
    """Return if `key` signed the warrant; raise WarrantInvalid (WARRANT-FORGED) otherwise."""
    if type(warrant) is not Warrant:  # a subclass could show one document and sign another
        raise WarrantInvalid("this is not a warrant document", code="WARRANT-FORGED")
    try:
        key.verify("warrant", warrant.body(), warrant.sig)
    except (BadSignature, Malformed) as error:
        raise WarrantInvalid(
            "the warrant is not signed by the desk", code="WARRANT-FORGED"
        ) from error


def verify_warrant(warrant: Warrant, *, key: PublicKey, policy_sha256: str, now: int) -> None:
    """Return if `key` signed the warrant, `now` is in its window, and its policy is this one.

    Raises WarrantInvalid (WARRANT-FORGED, WARRANT-EXPIRED, WARRANT-OTHER-POLICY).
    """
    verify_issuer(warrant, key=key)
    if not warrant.not_before <= now < warrant.expires_at:
        when = "has expired" if now >= warrant.not_before else "does not hold yet"
        raise WarrantInvalid(f"the warrant {when}", code="WARRANT-EXPIRED")
    if warrant.policy_sha256 != policy_sha256:
        raise WarrantInvalid("the rules have changed since", code="WARRANT-OTHER-POLICY")
