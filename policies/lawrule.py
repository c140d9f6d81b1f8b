"""One rule of law as data: its vocabulary, its fields, and the caps on what it may do.

Refused, each with a code of its own: a severity above what was read or above the rule's status, a
primary reading without digest or reader, a word outside the closed lists, a clock without event,
an exception to the floor. A rule that breaks them does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from policies.retention import ClockEvent, DurationRefused, parse_duration
from policies.terms import REQUIRED_MARKS, AddendumForm, Digest, Document, Mark
from policies.territories import ALIASES

FLOOR = "FLOOR"
"""The jurisdiction of the product itself: its rules cite no law and are always errors."""

Role = Literal["provider", "deployer", "platform", "controller", "producer"]
Status = Literal["in-force", "transitional", "contract", "voluntary", "draft", "bill", "unverified"]
Severity = Literal["info", "warn", "error"]
TextRead = Literal["primary", "secondary", "none"]
Exemption = Literal[
    "legacy_system_before_2026-08-02",
    "not_a_signatory",
    "published_by_the_person",
    "under_1m_monthly_users",
]
CheckName = Literal[
    "adult_only",
    "aigc_label_written",
    "bystanders_resolved",
    "clock_not_behind",
    "consent_given",
    "consent_scope_covers",
    "digital_source_type_ai",
    "edited_person_notified",
    "erasure_in_time",
    "face_matches_consent",
    "input_marks_kept",
    "known_copies_matched",
    "latent_disclosure_complete",
    "log_entry_made",
    "manifest_signed",
    "manifest_time_stamped",
    "models_approved",
    "notice_complete",
    "nudity_absent",
    "processing_recorded",
    "provenance_kept",
    "registry_clear",
    "retention_in_limit",
    "second_confirmation",
    "sensitive_opted_in",
    "separate_consent_signed",
    "source_origin_declared",
    "subjects_counted",
    "takedown_in_time",
    "verify_tool_offered",
    "visible_label_shown",
    "watermark_decodes",
    "written_release_signed",
]

_SIGNED_FORM = ("ADDENDUM-MISSING",)
# Decides only where a rule that can block demands the form; for any other rule it is a note.

CHECKS: Mapping[CheckName, tuple[str, ...]] = MappingProxyType(
    {name: () for name in get_args(CheckName)}
    | {
        "adult_only": ("ADULT-ONLY", "AGE-MINOR", "AGE-CHALLENGE", "BYSTANDER-MINOR"),
        "bystanders_resolved": ("BYSTANDER", "PEOPLE-MISMATCH", "SOURCE-FACES"),
        "clock_not_behind": ("CLOCK-ROLLBACK",),
        "consent_given": ("CONSENT-BROKEN", "CONSENT-STATUS", "CONSENT-WINDOW"),
        "consent_scope_covers": (
            "ROLE-SCOPE",
            "PURPOSE-UNKNOWN",
            "PURPOSE-SCOPE",
            "MEDIA-SCOPE",
            "AUDIENCE-SCOPE",
            "TERRITORY-SCOPE",
            "COUNTERPARTY-SCOPE",
            "ASSET-SCOPE",
            "LIMIT-EXHAUSTED",
            "LIMIT-SIZE",
        ),
        "face_matches_consent": ("FACE-MISMATCH", "TEMPLATE-MODEL", "INPUTS-MISMATCH"),
        "manifest_signed": ("OUTPUT-MARKED",),
        "notice_complete": ("NOTICE-UNKNOWN",),
        "nudity_absent": ("NUDITY",),
        "registry_clear": ("DO-NOT-SWAP",),
        "second_confirmation": ("SECOND-CONFIRMATION", "CONSENT-STATUS"),
        "sensitive_opted_in": ("SENSITIVE-CATEGORY", "PROHIBITED-USE"),
        "separate_consent_signed": _SIGNED_FORM,
        "source_origin_declared": _SIGNED_FORM,
        "visible_label_shown": ("OUTPUT-MARKED",),
        "watermark_decodes": ("OUTPUT-MARKED",),
        "written_release_signed": _SIGNED_FORM,
    }
)
"""Every check a rule may name, and the codes of `policies.rules` that decide it.

An empty tuple says so: the decision does not look at it, and its evidence is asked of the operator.
"""

_RANK: dict[Severity, int] = {"info": 0, "warn": 1, "error": 2}
_STATUS_CAP: dict[Status, Severity] = {"bill": "info", "draft": "info", "unverified": "warn"}


def _one_line(text: str) -> str:
    # Rule texts reach terminals and generated pages: no control character, no line of their own.
    if not text.isprintable():
        raise ValueError("a text holds a character that cannot be printed")
    return text


def _duration(text: str) -> str:
    if text:
        try:
            parse_duration(text)
        except DurationRefused as error:
            raise ValueError(error.message) from error
    return text


def _iso_territory(code: str) -> str:
    if code in ALIASES:
        raise ValueError(f"a rule names a country by its own code: {ALIASES[code]}, not {code}")
    return code


Line = Annotated[str, Field(min_length=1, max_length=600), AfterValidator(_one_line)]
Source = Annotated[str, Field(max_length=600), AfterValidator(_one_line)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9.-]{1,39}$")]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9-]{1,15}$")]
Place = Annotated[
    str,
    StringConstraints(pattern=r"^(\*|EEA|[A-Z]{2}(-[A-Z0-9]{1,3})?)$"),
    AfterValidator(_iso_territory),
]
Day = date | Literal[""]
_LAX = Field(strict=False)  # TOML has arrays, not tuples; the items stay strict
_SOME = Field(strict=False, min_length=1)


class LawRule(Document):
    """One rule as its file states it; every key is required, dates are UTC days.

    `applies_from` is the first and `applies_until` the last day, empty where open or not known;
    `reviewed_on` the day of the last look at the source. Raises ValidationError for what the caps
    forbid.
    """

    id: RuleId
    jurisdiction: Jurisdiction
    title: Line
    binds: Annotated[tuple[Role, ...], _SOME]
    territories: Annotated[tuple[Place, ...], _SOME]
    applies_from: Day
    applies_until: Day
    status: Status
    severity: Severity
    text_read: TextRead
    reviewed_by: Source
    reviewed_on: date
    text_sha256: Digest | Literal[""]
    source: Source
    checks: Annotated[tuple[CheckName, ...], _LAX]
    requires_marks: Annotated[tuple[Mark, ...], _LAX]
    requires_addenda: Annotated[tuple[AddendumForm, ...], _LAX]
    evidence: Annotated[tuple[Line, ...], _LAX]
    deadline: Annotated[str, AfterValidator(_duration)]
    deadline_from: ClockEvent | Literal[""]
    unless: Annotated[tuple[Exemption, ...], _LAX]
    explain: Line

    @property
    def is_floor(self) -> bool:
        """Whether this is the product's own rule, for which no law is claimed as the reason."""
        return self.jurisdiction == FLOOR

    @property
    def can_block(self) -> bool:
        """Whether a breach may deny: only the floor, or an error whose official text was read."""
        return self.is_floor or (self.severity == "error" and self.text_read == "primary")

    @property
    def reading(self) -> str:
        """How far it was read, in a word: primary, secondary, none, or own rule."""
        return "own rule" if self.is_floor else self.text_read

    @property
    def is_unread(self) -> bool:
        """Whether nobody here read its official text; the floor has none to read."""
        return not self.is_floor and self.text_read != "primary"

    def applies_on(self, day: date) -> bool:
        """Return whether `day` lies within the rule's dates, both included."""
        return (self.applies_from or date.min) <= day <= (self.applies_until or date.max)

    @model_validator(mode="after")
    def _keep_the_caps(self) -> Self:
        for broken, code, words in self._breaches():
            if broken:
                raise PydanticCustomError(code, words)
        return self

    def _breaches(self) -> Iterator[tuple[bool, str, str]]:
        primary, unread = self.text_read == "primary", self.text_read == "none"
        rank, cap = _RANK[self.severity], _STATUS_CAP.get(self.status, "error")
        dated = (self.applies_from or date.min) <= (self.applies_until or date.max)
        named = self.id == FLOOR or self.id.startswith(f"{FLOOR}-")
        yield self.is_floor != named, "LAW-FLOOR", "ids of the floor belong to the floor alone"
        if self.is_floor:
            yield (
                not self._is_unconditional(),
                "LAW-FLOOR",
                "the floor is whole and without exception",
            )
            return
        yield rank > 1 and not primary, "LAW-ERROR-UNREAD", "an error needs text_read = primary"
        yield primary and not self.text_sha256, "LAW-NO-TEXT-HASH", "primary needs text_sha256"
        yield primary and not self.reviewed_by, "LAW-NO-REVIEWER", "primary needs reviewed_by"
        yield not unread and not self.source, "LAW-NO-SOURCE", "a text that was read has a source"
        yield rank > _RANK[cap], "LAW-STATUS-CAP", f"{self.status} is at most {cap}"
        # Where the doubt itself is the message, an unread rule may warn of it.
        silent = unread and self.status != "unverified"
        yield silent and rank > 0, "LAW-UNREAD-CAP", "a text that nobody read is at most info"
        yield not dated, "LAW-DATES", "applies_until lies before applies_from"
        clock = bool(self.deadline) == bool(self.deadline_from)
        yield not clock, "LAW-DEADLINE", "deadline and deadline_from go together"

    def _is_unconditional(self) -> bool:
        return (
            self.severity == "error"
            and self.status == "in-force"
            and self.territories == ("*",)
            and set(self.binds) == set(get_args(Role))
            and not (self.unless or self.applies_from or self.applies_until)
            and bool(self.deadline) == bool(self.deadline_from)
            and (self.id != FLOOR or set(self.requires_marks) == REQUIRED_MARKS)
        )
