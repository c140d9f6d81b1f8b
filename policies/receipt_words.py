"""The receipt of a consent in plain words, as sections that become text here and a page elsewhere.

Whoever consented reads who may do what with their face, until when, what never happens, what is
kept, and how to take it back. Every word comes from the signed record, its events and the product's
floor. Written in English whatever language the notice had.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from policies.consent import ConsentEvent
from policies.receipt import Receipt
from policies.record import ConsentRecord, IllinoisRelease, TexasOrigin
from policies.retention import parse_duration
from policies.terms import NEVER_OPTED_IN

WIDTH = 79
"""Columns of the text form."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statement: what it is about, what is said, and an address where there is one."""

    label: str
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading."""

    title: str
    lines: tuple[Line, ...]


_NO_WORDS: Mapping[str, str] = MappingProxyType({})

_STATES: Mapping[str, str] = {
    "requested": "Asked, not given. Nothing is permitted.",
    "given": "Given, but not confirmed. Nothing is permitted until you confirm it.",
    "confirmed": "In force.",
    "withdrawn": "Withdrawn. Nothing is permitted any more.",
    "revoked": "Ended by the controller. Nothing is permitted any more.",
    "refused": "Refused. Nothing was permitted.",
    "expired": "Run out. Nothing is permitted any more.",
    "invalidated": "Declared void by the controller. Nothing is permitted any more.",
}
_ROLES: Mapping[str, str] = {
    "source_identity": "your face may be put onto somebody else's body",
    "target_body": "somebody else's face may be put onto your body",
    "bystander": "you may be seen beside the person whose face is changed",
}
_PURPOSES: Mapping[str, str] = {
    "film_vfx": "effects in films and series",
    "dubbing": "matching a face to another language",
    "advertising": "advertising",
    "satire_labelled": "satire that is labelled as such",
    "privacy_anonymise": "hiding who somebody is",
    "research": "research",
    "illustration_of_research": "illustrating research",
    "personal": "personal use",
}
_AUDIENCES: Mapping[str, str] = {
    "internal": "people who work on it",
    "public": "the public",
    "paid_ads": "paid advertisements",
}
_MEDIA: Mapping[str, str] = {"image": "still pictures", "video": "videos"}
_CATEGORIES: Mapping[str, str] = {
    "sexual": "sexual content",
    "nudity": "nudity",
    "political": "political content",
    "defamation": "content that could harm somebody's reputation",
    "alcohol": "alcohol",
    "tobacco": "tobacco",
    "minors_context": "content with or about minors",
}
_DATA: Mapping[str, str] = {
    "pd:FacialPrint": "a template of your face (numbers that only a computer can compare)",
    "pd:Picture": "pictures of your face",
}
_AGE: Mapping[str, str] = {
    "document": "a document was checked",
    "wallet": "a digital identity wallet was checked",
    "in_person": "somebody saw you in person",
    "self_declared": "your own word",
    "rendered": "no check: this person is rendered and does not exist",
}
_LIVENESS: Mapping[str, str] = {
    "video_challenge": "you answered a challenge on video",
    "in_person": "somebody was there with you",
    "rendered": "no check: this person is rendered and does not exist",
    "none": "nothing was checked",
}
_TYPES: Mapping[str, str] = {
    "company": "a company",
    "person": "a person",
    "public_body": "a public body",
    "research": "a research institution",
}
_EVENTS: Mapping[str, str] = {
    "given": "given",
    "confirmed": "confirmed, in a second, separate step",
    "withdrawn": "withdrawn",
    "revoked": "ended by the controller",
    "refused": "refused",
    "expired": "noted as run out",
    "invalidated": "declared void",
}
_ORIGINS: Mapping[str, str] = {
    "published_by_subject": "you published them yourself",
    "provided_by_subject": "you handed them over for this",
    "other": "they came from elsewhere",
}
_SIGNERS: Mapping[str, str] = {"subject": "you", "controller": "the controller"}


def describe(receipt: Receipt, *, purposes: Mapping[str, str] = _NO_WORDS) -> list[Section]:
    """Return a receipt in plain words, the most important first; every section has lines.

    `purposes`: what a deployment's own purposes mean (`House.purposes`); one that is not there is
    shown as it was signed.
    """
    record = receipt.record
    return [
        Section("Your consent", _summary(receipt)),
        Section("Who is responsible", _responsible(record)),
        Section("What you agreed to", _agreed(record, purposes)),
        Section("Where and until when", _bounds(record)),
        Section("With whom and in what", _company(record)),
        Section("What is never done", _never(record)),
        Section("What is kept about you, and for how long", _kept(record)),
        Section("How to withdraw, and your other rights", _rights(record)),
        Section("How you were recognised", _checks(record)),
        *([Section("Forms that a law asks for", _addenda(record))] if record.addenda else []),
        Section("What happened so far", _history(receipt)),
        Section("Signatures", _signatures(record)),
        Section("References", _references(record)),
    ]


def as_text(sections: Iterable[Section]) -> str:
    """Return sections as plain text of 79 columns; longer words, such as digests, stay whole."""
    parts = []
    for section in sections:
        lines = [section.title, "=" * len(section.title)]
        for line in section.lines:
            text = f"{line.label}: {line.text}"
            if line.href and line.href != line.text:
                text += f" ({line.href})"
            wrapped = textwrap.wrap(
                text, WIDTH, subsequent_indent="    ", break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            lines += wrapped
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def day(at: int) -> str:
    """Return a unix time for people: day, minute, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(retention: str) -> str:
    """Return an ISO 8601 duration that `policies.retention` reads in words."""
    duration = parse_duration(retention)
    if duration.months:
        years, months = divmod(duration.months, 12)
        count, unit = (duration.months, "month") if months else (years, "year")
    elif duration.hours % 24 or not duration.hours:
        count, unit = duration.hours, "hour"
    else:
        count, unit = duration.hours // 24, "day"
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _say(words: Mapping[str, str], keys: Iterable[str]) -> str:
    return "; ".join(words.get(key, key) for key in keys)


def _summary(receipt: Receipt) -> tuple[Line, ...]:
    record, state = receipt.record, receipt.state
    return (
        Line("State", _STATES[state.status]),
        Line("Since", day(state.since)),
        Line("Consent", record.record_id),
        Line("Receipt", receipt.receipt_id),
        Line("Your pseudonym", f"{record.subject.pid} (your name is not in the record)"),
    )


def _responsible(record: ConsentRecord) -> tuple[Line, ...]:
    party = record.controller
    return (
        Line("Controller", f"{party.name}, {_TYPES[party.type]} ({party.id})"),
        Line("Address", party.address),
        Line("Contact", party.contact),
        Line("Also received by", "; ".join(record.recipients)),
    )


def _agreed(record: ConsentRecord, own: Mapping[str, str]) -> tuple[Line, ...]:
    # The signed word goes along: what a deployment says it means can change, the record cannot.
    named = {word: f"{meaning} ({word})" for word, meaning in own.items()}
    return (
        Line("Your part", _say(_ROLES, record.roles)),
        Line("For", _say({**named, **_PURPOSES}, record.purposes)),
        Line("In", _say(_MEDIA, record.media)),
        Line("Shown to", _say(_AUDIENCES, record.audiences)),
        *(
            Line(
                "Signed for separately",
                f"{_CATEGORIES[one.category]}, on {day(one.signed.at)}",
            )
            for one in record.opted_in
        ),
    )


def _bounds(record: ConsentRecord) -> tuple[Line, ...]:
    limits = record.limits
    return (
        Line("Territories", ", ".join(record.territories)),
        Line("From", day(record.validity.not_before)),
        Line("Until", day(record.validity.expires)),
        Line(
            "At most",
            f"{limits.max_uses} uses; {limits.max_pixels:,} pixels a picture; "
            f"{limits.max_seconds} seconds a video",
        ),
    )


def _company(record: ConsentRecord) -> tuple[Line, ...]:
    parties, assets = record.counterparties, record.assets
    anybody = parties.mode == "any_consented"
    whom = "anybody who consented too" if anybody else ", ".join(parties.pids) or "nobody"
    what = "any that this consent otherwise allows"
    if assets.mode == "listed":
        what = f"{len(assets.sha256)}, named by SHA-256: {', '.join(assets.sha256) or 'none'}"
    lines = [Line("With", whom), Line("Pictures", what)]
    if assets.project:
        lines.append(Line("Project", assets.project))
    return tuple(lines)


def _never(record: ConsentRecord) -> tuple[Line, ...]:
    silent = set(_CATEGORIES) - {*record.opted_in_categories, *record.prohibited, *NEVER_OPTED_IN}
    lines = [Line("Nobody can permit", _say(_CATEGORIES, sorted(NEVER_OPTED_IN)))]
    barred = [word for word in record.prohibited if word not in NEVER_OPTED_IN]
    if barred:
        lines.append(Line("You barred", _say(_CATEGORIES, barred)))
    if silent:
        lines.append(Line("Refused, as you did not sign for it", _say(_CATEGORIES, sorted(silent))))
    lines.append(Line("Every output", "is marked as made by AI and can be traced to this consent"))
    return tuple(lines)


def _kept(record: ConsentRecord) -> tuple[Line, ...]:
    return (
        *(
            Line("Needed" if kind.required else "If you like", _DATA[kind.type])
            for kind in record.personal_data
        ),
        Line("Where", "; ".join(record.storage.locations)),
        Line(
            "The template",
            f"encrypted; made by the model {record.binding.model}; erased with the step that ends "
            "this consent",
        ),
        Line("The record", f"{span(record.storage.retention)} after the end"),
    )


def _rights(record: ConsentRecord) -> tuple[Line, ...]:
    return (
        Line("Withdraw", record.withdrawal.method, record.withdrawal.url),
        Line("It needs", "no reason, and no signature but yours; it counts from that moment"),
        Line("If you lost your key", f"write to {record.controller.contact}"),
        Line("Your rights", record.rights),
        Line("Complain to", record.authority),
    )


def _checks(record: ConsentRecord) -> tuple[Line, ...]:
    age, liveness = record.subject.age_assurance, record.binding.liveness
    named = f" (reference {age.evidence})" if age.evidence else ""
    return (
        Line("Adult", f"{_AGE[age.method]}, on {day(age.checked_at)}{named}"),
        Line("Present", f"{_LIVENESS[liveness.method]}, on {day(liveness.at)}"),
    )


def _addenda(record: ConsentRecord) -> tuple[Line, ...]:
    lines = []
    for form in record.addenda:
        if isinstance(form, IllinoisRelease):
            lines.append(
                Line(
                    "Illinois, written release",
                    f"{form.purpose_and_term}; signed on {day(form.signed_at)}; "
                    f"SHA-256 {form.written_release_sha256}",
                )
            )
        elif isinstance(form, TexasOrigin):
            lines.append(Line("Texas, origin of the pictures", _ORIGINS[form.origin]))
        else:
            lines.append(
                Line(
                    "China, separate consent",
                    f"signed on {day(form.signed_at)}; SHA-256 {form.separate_consent_sha256}",
                )
            )
    return tuple(lines)


def _history(receipt: Receipt) -> tuple[Line, ...]:
    made = max((block.at for block in receipt.record.signatures), default=0)
    return (
        Line(day(made), "the record was signed"),
        *(Line(day(event.at), _step(event)) for event in receipt.history),
    )


def _step(event: ConsentEvent) -> str:
    signers = " and ".join(_SIGNERS[block.by] for block in event.signatures)
    reason = f"; reason: {event.reason}" if event.reason else ""
    return f"{_EVENTS[event.kind]}, signed by {signers}{reason}"


def _signatures(record: ConsentRecord) -> tuple[Line, ...]:
    return tuple(
        Line(
            _SIGNERS[block.by].capitalize(),
            f"{block.alg} key {block.kid}, on {day(block.at)}",
        )
        for block in record.signatures
    )


def _references(record: ConsentRecord) -> tuple[Line, ...]:
    notice = record.notice
    lines = [
        Line(
            "Notice you were shown",
            f"{notice.id}, version {notice.version}, language {notice.language}, "
            f"SHA-256 {notice.sha256}",
        )
    ]
    if record.dpia_ref:
        lines.append(Line("Impact assessment", record.dpia_ref))
    if record.compensation_ref:
        lines.append(Line("Payment", record.compensation_ref))
    return tuple(lines)
