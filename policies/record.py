"""The consent record: what one person agreed to, field by field.

The fields follow ISO/IEC TS 27560:2023 (header, processing, parties), named in plain words; the
receipt (`receipt.py`) gives them their DPV names. A record is immutable: every change of mind is an
event (`consent.py`) or a new record. Refused: an unknown field, a list that is too long, a text
with characters that change how the words around them read, an opt-in to what nobody can permit, a
category that is opted into and barred at once, a retention that is no duration, evidence of age or
presence that is claimed and not named.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from policies.canonical import canonical, parse
from policies.errors import Malformed
from policies.retention import DurationRefused, parse_duration
from policies.terms import (
    NEVER_OPTED_IN,
    AddendumForm,
    AgeMethod,
    Audience,
    Category,
    Digest,
    Document,
    KeyHex,
    KeyId,
    LivenessMethod,
    Medium,
    ModelName,
    PersonRole,
    Pseudonym,
    Purpose,
    Signature,
    Territory,
    UnixTime,
    Uuid,
)

MAX_VALIDITY_SECONDS = 10 * 366 * 86_400
"""Ten years: the longest licence of a likeness that current bills would allow (NO FAKES Act)."""

MAX_USES = 10_000
MAX_PIXELS = 1_000_000_000
MAX_SECONDS = 86_400

# No control, line, direction or tag character and no invisible one but the two joiners, which some
# scripts need: what is read must be what was signed (Unicode TR 36).
_UNSEEN = (
    r"\p{Cc}\u{00AD}\u{061C}\u{200B}\u{200E}\u{200F}\u{2028}-\u{202E}\u{2060}-\u{206F}"
    r"\u{FEFF}\u{FFF9}-\u{FFFB}\u{E0000}-\u{E007F}"
)
Words = Annotated[str, StringConstraints(pattern=rf"^[^\s{_UNSEEN}][^{_UNSEEN}]*$", max_length=400)]
"""One line of text for people, 1 to 400 characters."""

Note = Annotated[
    str, StringConstraints(pattern=rf"^([^\s{_UNSEEN}][^{_UNSEEN}]*)?$", max_length=400)
]
"""The same, or nothing."""

Language = Annotated[
    str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$")
]
"""A language tag: language, script, region (the common part of BCP 47)."""

Address = Annotated[
    str, StringConstraints(pattern=r"^((https://|mailto:)[!-;=?-~]{3,})?$", max_length=400)
]
"""A web or mail address that is safe to link to, or nothing."""

_Item = TypeVar("_Item")


def _once(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if len(set(items)) != len(items):
        raise ValueError("the same word stands in the list twice")
    return items


Unique = AfterValidator(_once)
"""No item twice: two spellings of one list would be two digests of one consent."""

Signer = Literal["subject", "controller"]


class SignatureBlock(Document):
    """One signature; the algorithm is fixed and never chosen by the document."""

    by: Signer
    alg: Literal["Ed25519"]
    kid: KeyId
    sig: Signature
    at: UnixTime


class AgeAssurance(Document):
    """How adulthood was established; `adult` can only be true.

    `evidence` is the reference of the check (a provider's transaction, a log number), never the
    document itself. Only somebody's own word has none.
    """

    method: AgeMethod
    adult: Literal[True]
    checked_at: UnixTime
    evidence: Note

    @model_validator(mode="after")
    def _named(self) -> AgeAssurance:
        if (self.method == "self_declared") == bool(self.evidence):
            raise ValueError("evidence names the check, and stays empty for somebody's own word")
        return self


class Subject(Document):
    """The person: a random pseudonym and their own public key, never a name or an address."""

    pid: Pseudonym
    key: KeyHex
    age_assurance: AgeAssurance


class Controller(Document):
    """Who is responsible for the processing (ISO/IEC TS 27560: party fields)."""

    id: Words
    name: Words
    address: Words
    contact: Words
    type: Literal["company", "person", "public_body", "research"]


class Notice(Document):
    """The privacy notice that was shown, by the hash of its exact text (ISO/IEC 29184)."""

    id: Words
    version: Words
    language: Language
    sha256: Digest


class Counterparties(Document):
    """With whom the person may be combined; an empty list is nobody."""

    mode: Literal["any_consented", "listed"]
    pids: Annotated[tuple[Pseudonym, ...], Field(max_length=200), Unique]

    @model_validator(mode="after")
    def _one_meaning(self) -> Counterparties:
        if self.mode == "any_consented" and self.pids:
            raise ValueError("'any_consented' lists nobody")
        return self


class Assets(Document):
    """Into which pictures the person may be put, or which of theirs may be changed.

    `project` describes the work in words, where there is one.
    """

    mode: Literal["any", "listed"]
    sha256: Annotated[tuple[Digest, ...], Field(max_length=400), Unique]
    project: Note

    @model_validator(mode="after")
    def _one_meaning(self) -> Assets:
        if self.mode == "any" and self.sha256:
            raise ValueError("'any' lists no picture")
        return self


class OptIn(Document):
    """One sensitive category, permitted by a signature of its own."""

    category: Category
    signed: SignatureBlock

    @model_validator(mode="after")
    def _possible(self) -> OptIn:
        if self.category in NEVER_OPTED_IN:
            raise ValueError(f"nobody can opt in to '{self.category}'")
        return self


class Limits(Document):
    """How often, and up to what size and length."""

    max_uses: Annotated[int, Field(ge=1, le=MAX_USES)]
    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)]
    max_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)]


class Validity(Document):
    """From when (inclusive) until when (exclusive); unix seconds, UTC."""

    not_before: UnixTime
    expires: UnixTime

    @model_validator(mode="after")
    def _ordered(self) -> Validity:
        if not 0 < self.expires - self.not_before <= MAX_VALIDITY_SECONDS:
            raise ValueError("expires must lie after not_before, at most ten years")
        return self


class PersonalData(Document):
    """One kind of data about the person, by its name in DPV's vocabulary of personal data."""

    type: Literal["pd:FacialPrint", "pd:Picture"]
    special: Literal[True]
    required: bool


class Storage(Document):
    """Where the data lie, and how long after the end (ISO 8601 duration, see retention.py)."""

    locations: Annotated[tuple[Words, ...], Field(min_length=1, max_length=20), Unique]
    retention: Annotated[str, Field(max_length=16)]

    @model_validator(mode="after")
    def _readable(self) -> Storage:
        try:
            parse_duration(self.retention)
        except DurationRefused as error:
            raise ValueError(f"retention: {error.message}") from error
        return self


class Withdrawal(Document):
    """How to withdraw: in words, and an address where there is one."""

    method: Words
    url: Address


class Liveness(Document):
    """What showed that the person was there when their face was taken."""

    method: LivenessMethod
    nonce_sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    """Digest of the challenge that was answered; only a video answers one."""
    score_milli: Annotated[int, Field(ge=0, le=1_000)]
    at: UnixTime

    @model_validator(mode="after")
    def _answered(self) -> Liveness:
        if (self.method == "video_challenge") != bool(self.nonce_sha256):
            raise ValueError("a video challenge names its nonce, nothing else has one")
        if self.method != "video_challenge" and self.score_milli:
            raise ValueError("only a video challenge has a score")
        return self


class BiometricBinding(Document):
    """Which face template belongs to this record: model, and the hash of its encrypted bytes."""

    model: ModelName
    model_sha256: Digest
    template_sha256: Digest
    liveness: Liveness


class IllinoisRelease(Document):
    """The written release of 740 ILCS 14/15(b): what is collected, for what, for how long."""

    form: Literal["US-IL-RELEASE"]
    written_release_sha256: Digest
    purpose_and_term: Words
    signed_at: UnixTime


class ChinaSeparateConsent(Document):
    """The separate consent that China asks for before a face is edited, as its own document."""

    form: Literal["CN-SEPARATE"]
    separate_consent_sha256: Digest
    signed_at: UnixTime


class TexasOrigin(Document):
    """Where the pictures came from, which Texas law asks."""

    form: Literal["US-TX-ORIGIN"]
    origin: Literal["published_by_subject", "provided_by_subject", "other"]


Addendum = Annotated[
    IllinoisRelease | ChinaSeparateConsent | TexasOrigin, Field(discriminator="form")
]


class ConsentRecord(Document):
    """What one person agreed to. Immutable; every change of mind is an event or a new record."""

    schema_: Literal["facewarrant/consent/1"] = Field(alias="schema")
    record_id: Uuid
    subject: Subject
    controller: Controller
    notice: Notice
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1, max_length=32), Unique]
    roles: Annotated[tuple[PersonRole, ...], Field(min_length=1), Unique]
    media: Annotated[tuple[Medium, ...], Field(min_length=1), Unique]
    audiences: Annotated[tuple[Audience, ...], Field(min_length=1), Unique]
    territories: Annotated[tuple[Territory, ...], Field(min_length=1, max_length=300), Unique]
    counterparties: Counterparties
    assets: Assets
    prohibited: Annotated[tuple[Category, ...], Unique]
    """Uses the person bars for good, whatever a later law or term would allow by default."""
    opted_in: tuple[OptIn, ...]
    limits: Limits
    validity: Validity
    personal_data: Annotated[tuple[PersonalData, ...], Field(min_length=1, max_length=8)]
    storage: Storage
    recipients: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32), Unique]
    rights: Words
    withdrawal: Withdrawal
    authority: Words
    """The supervisory authority a complaint goes to."""
    dpia_ref: Note
    compensation_ref: Note
    binding: BiometricBinding
    addenda: tuple[Addendum, ...]
    signatures: Annotated[tuple[SignatureBlock, ...], Field(max_length=4)]

    @model_validator(mode="after")
    def _consistent(self) -> ConsentRecord:
        _once(self.opted_in_categories)
        _once(self.addendum_forms)
        _once(tuple(kind.type for kind in self.personal_data))
        if both := sorted(set(self.opted_in_categories) & set(self.prohibited)):
            raise ValueError(f"opted into and prohibited at once: {', '.join(both)}")
        is_rendered = self.subject.age_assurance.method == "rendered"
        if is_rendered != (self.binding.liveness.method == "rendered"):
            raise ValueError("a rendered person is rendered in age and liveness alike")
        return self

    @property
    def opted_in_categories(self) -> tuple[Category, ...]:
        """The sensitive categories that the person signed for, one by one."""
        return tuple(opt_in.category for opt_in in self.opted_in)

    @property
    def addendum_forms(self) -> tuple[AddendumForm, ...]:
        """The jurisdiction forms that are part of this record."""
        return tuple(addendum.form for addendum in self.addenda)

    @property
    def max_uses(self) -> int:
        """How many pictures may be made, 1 to 10,000."""
        return self.limits.max_uses


_Read = TypeVar("_Read", bound=Document)


def encode(document: Document) -> bytes:
    """Return the canonical bytes of a document, signatures included."""
    return canonical(document.model_dump(mode="json", by_alias=True))


def read_document(model: type[_Read], data: bytes, *, what: str) -> _Read:
    """Parse canonical bytes as a document of that model; `what` names it in errors.

    Raises Malformed for anything else, also for a field that is left out or spelt another way.
    """
    parse(data)
    try:
        document = model.model_validate_json(data)
    except ValidationError as error:
        raise Malformed(f"not a {what}: {_first(error)}") from error
    # A default that is left out, or 1 for true, would give one document two byte forms.
    if encode(document) != data:
        raise Malformed(
            f"the {what} is not read back as it was written",
            mend="write every field, also empty ones, each in its own type",
        )
    return document


def read_record(data: bytes) -> ConsentRecord:
    """Parse canonical record bytes; raise Malformed for anything else."""
    return read_document(ConsentRecord, data, what="consent record")


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
