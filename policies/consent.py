"""The consent of one person: an immutable signed record and a hash-linked chain of signed events.

The record says who may be shown how, for what, where and until when (fields after ISO/IEC TS
27560:2023 with DPV names). It is signed by the person and by the controller. What it is worth
today is a fold over its events and the clock: nothing but an unexpired `given` followed by its
separate `confirmed` permits anything, and a final state is final. Refused: a record or event whose
signature, sequence, link or time is wrong; the whole chain is then broken and permits nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from policies.canonical import canonical, parse
from policies.errors import BadSignature, Error, Malformed
from policies.keys import PublicKey, SigningKey
from policies.terms import (
    Audience,
    Category,
    Digest,
    Document,
    KeyHex,
    KeyId,
    Medium,
    ModelName,
    PersonRole,
    Pseudonym,
    Purpose,
    Signature,
    Territory,
    Text,
    UnixTime,
    Uuid,
)

MAX_VALIDITY_SECONDS = 10 * 366 * 86_400
"""Ten years: the longest licence of a likeness that current bills would allow (NO FAKES Act)."""

CONFIRM_WITHIN_SECONDS = 600
"""The second confirmation is a separate act, at most ten minutes after the first signature."""

Signer = Literal["subject", "controller"]
EventKind = Literal["given", "confirmed", "withdrawn", "revoked", "refused", "invalidated"]
Status = Literal[
    "requested",
    "given",
    "confirmed",
    "withdrawn",
    "revoked",
    "refused",
    "expired",
    "invalidated",
]
FINAL: frozenset[str] = frozenset({"withdrawn", "revoked", "refused", "invalidated"})

# Who has to sign an event, and from which states it may follow. Withdrawing needs the subject's
# signature alone: it must be easier than giving (GDPR Art. 7(3)).
_RULES: dict[str, tuple[frozenset[Signer], frozenset[str]]] = {
    "given": (frozenset({"subject", "controller"}), frozenset({"requested"})),
    "confirmed": (frozenset({"subject"}), frozenset({"given"})),
    "withdrawn": (frozenset({"subject"}), frozenset({"requested", "given", "confirmed"})),
    "revoked": (frozenset({"controller"}), frozenset({"given", "confirmed"})),
    "refused": (frozenset({"subject"}), frozenset({"requested", "given"})),
    "invalidated": (frozenset({"controller"}), frozenset({"requested", "given", "confirmed"})),
}


class ConsentBroken(Error):
    """The record or its event chain cannot be trusted: edited, forged, reordered or incomplete."""

    code = "CONSENT-BROKEN"


class SignatureBlock(Document):
    """One signature; the algorithm is fixed and never chosen by the document."""

    by: Signer
    alg: Literal["Ed25519"]
    kid: KeyId
    sig: Signature
    at: UnixTime


class AgeAssurance(Document):
    """How adulthood was established; `adult` can only be true."""

    method: Literal["document", "wallet", "in_person", "self_declared", "rendered"]
    adult: Literal[True]
    checked_at: UnixTime


class Subject(Document):
    """The person: a random pseudonym and their own public key, never a name or an address."""

    pid: Pseudonym
    key: KeyHex
    age_assurance: AgeAssurance


class Controller(Document):
    """Who is responsible for the processing (ISO/IEC TS 27560: party fields)."""

    id: Text
    name: Text
    contact: Text


class Notice(Document):
    """The privacy notice that was shown, by the hash of its exact text (ISO/IEC 29184)."""

    id: Text
    version: Text
    language: Text
    sha256: Digest


class Counterparties(Document):
    """With whom the person may be combined."""

    mode: Literal["any_consented", "listed"]
    pids: tuple[Pseudonym, ...] = ()


class Assets(Document):
    """Into which pictures the person may be put, or which of theirs may be changed."""

    mode: Literal["any", "listed"]
    sha256: tuple[Digest, ...] = ()


class Validity(Document):
    """From when (inclusive) until when (exclusive); unix seconds, UTC."""

    not_before: UnixTime
    expires: UnixTime

    @model_validator(mode="after")
    def _ordered(self) -> Validity:
        if not 0 < self.expires - self.not_before <= MAX_VALIDITY_SECONDS:
            raise ValueError("expires must lie after not_before, at most ten years")
        return self


class BiometricBinding(Document):
    """Which face template belongs to this record: model, and the hash of its encrypted bytes."""

    model: ModelName
    model_sha256: Digest
    template_sha256: Digest


class ConsentRecord(Document):
    """What one person agreed to. Immutable; every change of mind is an event or a new record."""

    schema_: Literal["facewarrant/consent/1"] = Field(alias="schema")
    record_id: Uuid
    subject: Subject
    controller: Controller
    notice: Notice
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    roles: Annotated[tuple[PersonRole, ...], Field(min_length=1)]
    media: Annotated[tuple[Medium, ...], Field(min_length=1)]
    audiences: Annotated[tuple[Audience, ...], Field(min_length=1)]
    territories: Annotated[tuple[Territory, ...], Field(min_length=1)]
    counterparties: Counterparties
    assets: Assets
    opted_in: tuple[Category, ...] = ()
    max_uses: Annotated[int, Field(ge=1, le=10_000)]
    validity: Validity
    retention: Text
    withdrawal: Text
    binding: BiometricBinding
    signatures: tuple[SignatureBlock, ...] = ()


class ConsentEvent(Document):
    """One step in a consent's life; `prev` links it to the step before."""

    schema_: Literal["facewarrant/consent-event/1"] = Field(alias="schema")
    record_id: Uuid
    seq: Annotated[int, Field(ge=0, le=1_000)]
    prev: Digest
    kind: EventKind
    at: UnixTime
    reason: Annotated[str, Field(max_length=400)] = ""
    signatures: tuple[SignatureBlock, ...] = ()


_Signed = TypeVar("_Signed", ConsentRecord, ConsentEvent)


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What a consent is worth at a moment: status, since when, hash of its newest step."""

    status: Status
    since: int
    head: str
    length: int


def body(document: ConsentRecord | ConsentEvent) -> dict[str, Any]:
    """Return what is signed: the document without its signatures."""
    return document.model_dump(mode="json", by_alias=True, exclude={"signatures"})


def encode(document: ConsentRecord | ConsentEvent) -> bytes:
    """Return the canonical bytes of a document, signatures included."""
    return canonical(document.model_dump(mode="json", by_alias=True))


def sign(document: _Signed, *, by: Signer, key: SigningKey, at: int) -> _Signed:
    """Return the document with one more signature, made at unix time `at`.

    What is signed is the body and who signs when, so no part of a signature block can be edited.
    """
    claim = {"alg": "Ed25519", "at": at, "by": by, "kid": key.public.kid}
    signature = key.sign(_kind(document), body(document) | {"signed": claim})
    block = SignatureBlock(by=by, alg="Ed25519", kid=key.public.kid, sig=signature, at=at)
    return document.model_copy(update={"signatures": (*document.signatures, block)})


def read_record(data: bytes) -> ConsentRecord:
    """Parse canonical record bytes; raise Malformed for anything else."""
    try:
        record = ConsentRecord.model_validate_json(canonical(parse(data)))
    except ValidationError as error:
        raise Malformed(f"not a consent record: {_first(error)}") from error
    return _complete(record, data)


def read_event(data: bytes) -> ConsentEvent:
    """Parse canonical event bytes; raise Malformed for anything else."""
    try:
        event = ConsentEvent.model_validate_json(canonical(parse(data)))
    except ValidationError as error:
        raise Malformed(f"not a consent event: {_first(error)}") from error
    return _complete(event, data)


def _complete(document: _Signed, data: bytes) -> _Signed:
    # A default that is left out would give one signed document two byte forms.
    if encode(document) != data:
        raise Malformed(
            "the document leaves out a field", mend="write every field, also empty ones"
        )
    return document


def make_event(**fields: Any) -> ConsentEvent:
    """Return an event that nobody has signed yet; raise Malformed naming the first wrong field."""
    unsigned = {"schema": "facewarrant/consent-event/1", "signatures": [], **fields}
    return read_event(canonical(unsigned))


def verify_record(record: ConsentRecord, *, controllers: Sequence[PublicKey]) -> None:
    """Return if subject and a known controller both signed; raise ConsentBroken otherwise."""
    subject = _subject_key(record)
    if subject in controllers:
        raise ConsentBroken("the controller's key signs as the subject: nobody consented")
    _verify_signatures(record, frozenset(get_args(Signer)), subject, controllers)


def fold(
    record: ConsentRecord,
    events: Sequence[ConsentEvent],
    *,
    controllers: Sequence[PublicKey],
    now: int,
) -> ConsentState:
    """Return the state of a consent at unix time `now`.

    Verifies every signature and link on the way. Raises ConsentBroken when any of them is wrong.
    """
    verify_record(record, controllers=controllers)
    subject = _subject_key(record)
    head = hashlib.sha256(encode(record)).hexdigest()
    status: Status = "requested"
    since = record.validity.not_before
    previous_at = 0
    for seq, event in enumerate(events):
        _verify_link(record, event, seq=seq, prev=head, earliest=previous_at, now=now)
        signers, origins = _RULES[event.kind]
        if status not in origins:
            raise ConsentBroken(f"event {seq} says '{event.kind}' after '{status}'")
        if event.kind == "confirmed" and event.at - since > CONFIRM_WITHIN_SECONDS:
            raise ConsentBroken(f"event {seq} confirms later than {CONFIRM_WITHIN_SECONDS} seconds")
        _verify_signatures(event, signers, subject, controllers)
        status, since, previous_at = event.kind, event.at, event.at
        head = hashlib.sha256(encode(event)).hexdigest()
    if status not in FINAL and now >= record.validity.expires:
        status, since = "expired", record.validity.expires
    return ConsentState(status=status, since=since, head=head, length=len(events))


def _verify_link(
    record: ConsentRecord, event: ConsentEvent, *, seq: int, prev: str, earliest: int, now: int
) -> None:
    if event.record_id != record.record_id or event.seq != seq or event.prev != prev:
        raise ConsentBroken(f"event {seq} does not follow the one before it")
    if not earliest <= event.at <= now:
        raise ConsentBroken(f"event {seq} lies in the future or before its predecessor")


def _verify_signatures(
    document: ConsentRecord | ConsentEvent,
    needed: frozenset[Signer],
    subject: PublicKey,
    controllers: Sequence[PublicKey],
) -> None:
    known: dict[Signer, Sequence[PublicKey]] = {"subject": (subject,), "controller": controllers}
    found: set[Signer] = set()
    for block in document.signatures:
        if block.by in found:
            raise ConsentBroken(f"signed twice as {block.by}")
        key = next((k for k in known[block.by] if k.kid == block.kid), None)
        if key is None:
            raise ConsentBroken(f"signed as {block.by} by an unknown key {block.kid}")
        claim = block.model_dump(mode="json", exclude={"sig"})
        try:
            key.verify(_kind(document), body(document) | {"signed": claim}, block.sig)
        except BadSignature as error:
            raise ConsentBroken(f"the {block.by}'s signature does not verify") from error
        found.add(block.by)
    if missing := sorted(needed - found):
        raise ConsentBroken(f"not signed by: {', '.join(missing)}")


def _subject_key(record: ConsentRecord) -> PublicKey:
    try:
        return PublicKey.from_hex(record.subject.key)
    except BadSignature as error:
        raise ConsentBroken(error.message) from error


def _kind(document: ConsentRecord | ConsentEvent) -> str:
    return "consent" if isinstance(document, ConsentRecord) else "consent-event"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
