"""What a consent is worth: signatures over the record, and a hash-linked chain of signed events.

A record (`record.py`) is signed by the person and by the controller. What it is worth today is a
fold over its events and the clock: nothing but an unexpired `given` followed by its separate
`confirmed` permits anything, and a final state is final. Refused: a record or event whose
signature, sequence, link or order is wrong; the whole chain is then broken and permits nothing. A
clock that is behind a whole chain is no fault of the chain: ClockRollback, and nothing is judged.
Only an end is an end whatever the clock says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field

from policies.audit import ClockRollback
from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import BadSignature, Error
from policies.keys import PublicKey, SigningKey
from policies.record import (
    ConsentRecord,
    Note,
    OptIn,
    SignatureBlock,
    Signer,
    TexasOrigin,
    encode,
    read_document,
)
from policies.terms import Category, Digest, Document, UnixTime, Uuid

CONFIRM_WITHIN_SECONDS = 600
"""The second confirmation is a separate act, at most ten minutes after the first signature."""

EventKind = Literal[
    "given", "confirmed", "withdrawn", "revoked", "refused", "expired", "invalidated"
]
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
FINAL: frozenset[str] = frozenset({"withdrawn", "revoked", "refused", "expired", "invalidated"})

DPV_STATE: Mapping[str, str] = {
    # A first signature that nobody confirmed is still an open request: it permits nothing.
    "requested": "ConsentRequested",
    "given": "ConsentRequested",
    "confirmed": "ConsentGiven",
    "withdrawn": "ConsentWithdrawn",
    "revoked": "ConsentRevoked",
    "refused": "ConsentRefused",
    "expired": "ConsentExpired",
    "invalidated": "ConsentInvalidated",
    "unknown": "ConsentUnknown",
    "broken": "ConsentUnknown",
}
"""The state's name in W3C DPV 2 (`dpv:hasConsentStatus`, ISO/IEC TS 27560 event state)."""

_SUBJECT, _CONTROLLER = frozenset[Signer]({"subject"}), frozenset[Signer]({"controller"})
_OPEN = frozenset({"requested", "given", "confirmed"})

# Who has to sign an event (one of these sets), and from which states it may follow. Withdrawing
# needs the subject's signature alone: it must be easier than giving (GDPR Art. 7(3)). The
# controller withdraws for somebody who lost their key and says how they knew them.
_RULES: dict[str, tuple[tuple[frozenset[Signer], ...], frozenset[str]]] = {
    "given": ((_SUBJECT | _CONTROLLER,), frozenset({"requested"})),
    "confirmed": ((_SUBJECT,), frozenset({"given"})),
    "withdrawn": ((_SUBJECT, _CONTROLLER), _OPEN),
    "revoked": ((_CONTROLLER,), frozenset({"given", "confirmed"})),
    "refused": ((_SUBJECT, _CONTROLLER), frozenset({"requested", "given"})),
    "expired": ((_CONTROLLER,), _OPEN),
    "invalidated": ((_CONTROLLER,), _OPEN),
}

ENDS_ANY_TIME: frozenset[str] = frozenset({"withdrawn", "revoked", "refused", "invalidated"})
"""Ends that wait for no clock: whatever it says, nothing more is permitted, and their date orders
nothing. Alone, the controller may write them only with a reason."""


class ConsentBroken(Error):
    """The record or its event chain cannot be trusted: edited, forged, reordered or incomplete."""

    code = "CONSENT-BROKEN"


class StepRefused(ConsentBroken):
    """The next step is not allowed: with it the chain would break. What is stored stays."""

    code = "CONSENT-STEP-REFUSED"


class ConsentEvent(Document):
    """One step in a consent's life; `prev` links it to the step before."""

    schema_: Literal["facewarrant/consent-event/1"] = Field(alias="schema")
    record_id: Uuid
    seq: Annotated[int, Field(ge=0, le=1_000)]
    prev: Digest
    kind: EventKind
    at: UnixTime
    reason: Note
    signatures: Annotated[tuple[SignatureBlock, ...], Field(max_length=4)]


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


def sign(document: _Signed, *, by: Signer, key: SigningKey, at: int) -> _Signed:
    """Return the document with one more signature, made at unix time `at`.

    What is signed is the body and who signs when, so no part of a signature block can be edited.
    """
    block = _make_block(_kind(document), body(document), by=by, key=key, at=at)
    return document.model_copy(update={"signatures": (*document.signatures, block)})


def sign_opt_in(record_id: str, category: Category, *, key: SigningKey, at: int) -> OptIn:
    """Return the person's permission for one sensitive category, in that record only.

    It is a signature of its own, made before the record's. Raises Malformed for a category that
    nobody can permit.
    """
    opt_in = {"record_id": record_id, "category": category}
    block = _make_block("consent-opt-in", opt_in, by="subject", key=key, at=at)
    fields = {"category": category, "signed": block.model_dump(mode="json")}
    return read_document(OptIn, canonical(fields), what="opt-in")


def _make_block(
    kind: str, signed: Mapping[str, Any], *, by: Signer, key: SigningKey, at: int
) -> SignatureBlock:
    claim = {"alg": "Ed25519", "at": at, "by": by, "kid": key.public.kid}
    signature = key.sign(kind, {**signed, "signed": claim})
    return SignatureBlock(by=by, alg="Ed25519", kid=key.public.kid, sig=signature, at=at)


def read_event(data: bytes) -> ConsentEvent:
    """Parse canonical event bytes; raise Malformed for anything else."""
    return read_document(ConsentEvent, data, what="consent event")


def make_event(**fields: Any) -> ConsentEvent:
    """Return an event that nobody has signed yet; raise Malformed naming the first wrong field."""
    unsigned = {"schema": "facewarrant/consent-event/1", "signatures": [], **fields}
    return read_event(canonical(unsigned))


def verify_record(record: ConsentRecord, *, controllers: Sequence[PublicKey], now: int) -> None:
    """Return if subject and a known controller both signed, at unix time `now` at the latest.

    The subject must also have signed every opt-in; raises ConsentBroken otherwise. Raises
    ClockRollback when a check or signature of a genuine record lies after `now`.
    """
    _verify_parties(record, controllers)
    _refuse_future(record, (), now=now)


def _verify_parties(record: ConsentRecord, controllers: Sequence[PublicKey]) -> None:
    subject = _subject_key(record)
    if subject in controllers:
        raise ConsentBroken("the controller's key signs as the subject: nobody consented")
    everybody = frozenset(get_args(Signer))
    _verify_signatures(record, (everybody,), subject, controllers)
    for opt_in in record.opted_in:
        what = f"the opt-in to '{opt_in.category}'"
        if opt_in.signed.by != "subject" or opt_in.signed.kid != subject.kid:
            raise ConsentBroken(f"{what} is not signed by the subject")
        fields = {"record_id": record.record_id, "category": opt_in.category}
        _verify_block(opt_in.signed, subject, "consent-opt-in", fields, what=what)


def fold(
    record: ConsentRecord,
    events: Sequence[ConsentEvent],
    *,
    controllers: Sequence[PublicKey],
    now: int,
) -> ConsentState:
    """Return the state of a consent at unix time `now`.

    Verifies every signature and link on the way. Raises ConsentBroken when any of them is wrong,
    and ClockRollback when the chain is whole and has not ended, but `now` is behind it.
    """
    _verify_parties(record, controllers)
    subject = _subject_key(record)
    head = sha256_hex(encode(record))
    status: Status = "requested"
    since = record.validity.not_before
    # Nothing was given before both had signed what is given.
    previous_at = max(block.at for block in record.signatures)
    for seq, event in enumerate(events):
        _verify_link(record, event, seq=seq, prev=head, earliest=previous_at)
        signers, origins = _RULES[event.kind]
        if status not in origins:
            raise ConsentBroken(f"event {seq} says '{event.kind}' after '{status}'")
        if event.kind == "confirmed" and event.at - since > CONFIRM_WITHIN_SECONDS:
            raise ConsentBroken(f"event {seq} confirms later than {CONFIRM_WITHIN_SECONDS} seconds")
        if event.kind == "expired" and event.at < record.validity.expires:
            raise ConsentBroken(f"event {seq} says 'expired' before the record expires")
        by = _verify_signatures(event, signers, subject, controllers)
        if event.kind in ENDS_ANY_TIME and by == _CONTROLLER and not event.reason:
            raise ConsentBroken(f"event {seq} says '{event.kind}' for somebody without a reason")
        status, since = event.kind, max(event.at, previous_at)
        previous_at = since
        head = sha256_hex(encode(event))
    if status not in ENDS_ANY_TIME:
        _refuse_future(record, events, now=now)
    if status not in FINAL and now >= record.validity.expires:
        status, since = "expired", record.validity.expires
    return ConsentState(status=status, since=since, head=head, length=len(events))


def fold_next(
    record: ConsentRecord,
    events: Sequence[ConsentEvent],
    event: ConsentEvent,
    *,
    controllers: Sequence[PublicKey],
    now: int,
) -> ConsentState:
    """Return the state after one more step on a chain that holds.

    Raises StepRefused when the step may not follow, ClockRollback when its date lies after `now`.
    """
    try:
        return fold(record, [*events, event], controllers=controllers, now=now)
    except ConsentBroken as error:
        raise StepRefused(
            error.message, mend="nothing was written; show the consent to see what may follow"
        ) from error


def newest_moment(record: ConsentRecord, events: Sequence[ConsentEvent]) -> int:
    """Return the latest unix time at which record or events say that something has happened."""
    return max(at for _, at in (*_moments(record), *_dates(events)))


def _refuse_future(record: ConsentRecord, events: Sequence[ConsentEvent], *, now: int) -> None:
    for what, at in (*_moments(record), *_dates(events)):
        if at > now:
            raise ClockRollback(
                f"{what} lies in the future: it is dated {at}, the clock says {now}",
                mend="set the clock right (NTP); nothing is judged while it is behind",
            )


def _moments(record: ConsentRecord) -> list[tuple[str, int]]:
    """Return what the record says has happened, with its time."""
    return [
        ("the age check", record.subject.age_assurance.checked_at),
        ("the liveness check", record.binding.liveness.at),
        *((f"the opt-in to '{one.category}'", one.signed.at) for one in record.opted_in),
        *(
            (f"the addendum {addendum.form}", addendum.signed_at)
            for addendum in record.addenda
            if not isinstance(addendum, TexasOrigin)
        ),
        *((f"the {block.by}'s signature", block.at) for block in record.signatures),
    ]


def _dates(events: Sequence[ConsentEvent]) -> list[tuple[str, int]]:
    return [(f"event {event.seq}", event.at) for event in events]


def _verify_link(
    record: ConsentRecord, event: ConsentEvent, *, seq: int, prev: str, earliest: int
) -> None:
    if event.record_id != record.record_id or event.seq != seq or event.prev != prev:
        raise ConsentBroken(f"event {seq} does not follow the one before it")
    if event.at < earliest and event.kind not in ENDS_ANY_TIME:
        raise ConsentBroken(f"event {seq} is dated before its predecessor")
    if any(block.at != event.at for block in event.signatures):
        raise ConsentBroken(f"event {seq} was not signed when it says")


def _verify_signatures(
    document: ConsentRecord | ConsentEvent,
    needed: Sequence[frozenset[Signer]],
    subject: PublicKey,
    controllers: Sequence[PublicKey],
) -> frozenset[Signer]:
    """Return who signed; raise ConsentBroken unless that is everybody of one needed set."""
    known: dict[Signer, Sequence[PublicKey]] = {"subject": (subject,), "controller": controllers}
    found: set[Signer] = set()
    for block in document.signatures:
        if block.by in found:
            raise ConsentBroken(f"signed twice as {block.by}")
        key = next((k for k in known[block.by] if k.kid == block.kid), None)
        if key is None:
            raise ConsentBroken(f"signed as {block.by} by an unknown key {block.kid}")
        what = f"the {block.by}'s signature"
        _verify_block(block, key, _kind(document), body(document), what=what)
        found.add(block.by)
    if not any(alternative <= found for alternative in needed):
        missing = sorted(needed[0] - found)
        raise ConsentBroken(f"not signed by: {', '.join(missing)}")
    return frozenset(found)


def _verify_block(
    block: SignatureBlock, key: PublicKey, kind: str, signed: Mapping[str, Any], *, what: str
) -> None:
    claim = block.model_dump(mode="json", exclude={"sig"})
    try:
        key.verify(kind, {**signed, "signed": claim}, block.sig)
    except BadSignature as error:
        raise ConsentBroken(f"{what} does not verify") from error


def _subject_key(record: ConsentRecord) -> PublicKey:
    try:
        return PublicKey.from_hex(record.subject.key)
    except BadSignature as error:
        raise ConsentBroken(error.message) from error


def _kind(document: ConsentRecord | ConsentEvent) -> str:
    return "consent" if isinstance(document, ConsentRecord) else "consent-event"
