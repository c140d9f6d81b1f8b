"""Granting and withdrawing consent at this deployment: enrol, sign twice, keep the person's key.

In production the person signs on their own device; here their key is made and kept under
`subjects/` in the home folder, which the command says. Refused: pictures or a video that the
enrolment refuses, a scope that is none, and anybody who does not declare to be an adult.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.enrolment import Enrolled
from generator.templates import pack_template
from pipelines.deployment import Deployment, Records, controller_key
from pipelines.enrol import Enrolment, compare_with_everybody
from pipelines.keyfiles import KeyFileRefused, read_signing_key, write_secret
from pipelines.notice import NOTICE_SHA256, NOTICE_VERSION
from pipelines.receipt_page import render_receipt
from pipelines.settings import Settings
from policies.canonical import canonical
from policies.consent import FINAL, ConsentBroken, ConsentState, sign, sign_opt_in
from policies.consents import Consent
from policies.digest import sha256_hex
from policies.errors import Malformed
from policies.keys import SigningKey
from policies.receipt import make_receipt
from policies.receipt_words import as_text, describe
from policies.record import ConsentRecord, encode, read_record
from policies.subjectkeys import new_pseudonym
from policies.terms import AgeMethod
from provenance.registry import ReleaseRow

DAY_SECONDS = 86_400
PSEUDONYM = re.compile(r"ps_[a-z2-7]{26}")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a person agrees to, in the words of `policies.terms`; `days` counts from now.

    The words are checked when the record is made: an unknown one is Malformed.
    """

    roles: tuple[str, ...]
    purposes: tuple[str, ...]
    territories: tuple[str, ...]
    audiences: tuple[str, ...] = ("internal",)
    media: tuple[str, ...] = ("image",)
    days: int = 365
    max_uses: int = 100
    max_pixels: int = 50_000_000
    max_seconds: int = 600
    prohibited: tuple[str, ...] = ()
    opted_in: tuple[str, ...] = ()
    """Sensitive categories; each is signed for by itself."""
    counterparties: tuple[str, ...] = ()
    """Pseudonyms they may be combined with; empty is anybody who consented too."""
    assets: tuple[str, ...] = ()
    """SHA-256 of the only targets it may be used with; empty is any."""
    project: str = ""
    compensation: str = ""
    addenda: tuple[dict[str, Any], ...] = ()
    """Forms of jurisdictions, as `policies.record` has them."""


@dataclass(frozen=True, slots=True)
class Assurance:
    """Who says that the person is an adult, and that they were there; false until said."""

    adult: bool = False
    """The person declares to be 18 or older; without it nothing is granted."""
    age: AgeMethod = "self_declared"
    evidence: str = ""
    """Reference of the age check, never the document; empty for somebody's own word."""
    in_person: bool = False
    """The controller saw the person when the pictures were taken."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A consent just given and confirmed, and what somebody should still look at."""

    record_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BrokenConsent:
    """A consent that is stored and does not hold: its id, and why."""

    record_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A consent that ended by withdrawal, and what had been released under it."""

    state: ConsentState
    released: tuple[ReleaseRow, ...]


def grant(
    enrolment: Enrolment, scope: Scope, assurance: Assurance, *, at: Deployment, pid: str = ""
) -> Granted:
    """Enrol a person and take their consent to `confirmed`; `pid` names somebody known already.

    Raises Malformed for a scope that is none or in which the person does not declare to be an
    adult, KeyFileRefused for somebody unknown, and what `Enrolment.run` and
    `compare_with_everybody` raise.
    """
    if not assurance.adult:
        raise Malformed(
            "the person has not declared to be 18 or older",
            mend="ask the person; only one who declares it (--adult) can be enrolled",
        )
    if unknown := [word for word in scope.purposes if not at.desk.house.knows(word)]:
        raise Malformed(
            f"this deployment knows no purpose {', '.join(map(repr, unknown))}",
            mend="list the purposes: facewarrant policy show",
        )
    subject = _known_key(at.settings, pid) if pid else SigningKey.generate()
    enrolled = enrolment.run(at)
    warnings = compare_with_everybody(enrolled, pid=pid, at=at)
    person = pid or new_pseudonym(os.urandom)
    unsealed = _write_record(enrolled, scope, assurance, pid=person, subject=subject, at=at)
    record, sealed = _seal(unsealed, enrolled, at)
    if not pid:
        write_secret(subject_path(at.settings, person), subject.to_pem())
    controller, now = controller_key(at.settings), at.clock()
    for by, key in (("subject", subject), ("controller", controller)):
        record = sign(record, by=by, key=key, at=now)  # type: ignore[arg-type]  # both are signers
    record_id = record.record_id
    at.consents.add(read_record(encode(record)), sealed)
    at.consents.append(record_id, "given", keys={"subject": subject, "controller": controller})
    at.consents.append(record_id, "confirmed", keys={"subject": subject})
    return Granted(record_id, warnings)


def _write_record(
    enrolled: Enrolled,
    scope: Scope,
    assurance: Assurance,
    *,
    pid: str,
    subject: SigningKey,
    at: Deployment,
) -> ConsentRecord:
    """Return the record of these words, without template and signatures; raise Malformed."""
    record_id, now = at.desk.new_id(), at.clock()
    opted_in = [
        sign_opt_in(record_id, category, key=subject, at=now)  # type: ignore[arg-type]  # the record checks the word
        for category in scope.opted_in
    ]
    fields = {
        "schema": "facewarrant/consent/1",
        "record_id": record_id,
        "subject": _subject(pid, subject, assurance, now=now),
        **_agreed(scope, now=now),
        **_terms(scope, at.settings, record_id),
        "opted_in": [opt_in.model_dump(mode="json") for opt_in in opted_in],
        "binding": _binding(enrolled, assurance, at),
        "signatures": [],
    }
    return read_record(canonical(fields))


def _seal(
    unsealed: ConsentRecord, enrolled: Enrolled, at: Deployment
) -> tuple[ConsentRecord, bytes]:
    """Seal the template for a record that holds, and name it there."""
    sealed = at.consents.seal(
        pack_template(enrolled.template),
        pid=unsealed.subject.pid,
        record_id=unsealed.record_id,
        model_sha256=unsealed.binding.model_sha256,
    )
    binding = unsealed.binding.model_copy(update={"template_sha256": sha256_hex(sealed)})
    return unsealed.model_copy(update={"binding": binding}), sealed


def withdraw(record_id: str, *, at: Records, reason: str = "", lost_key: bool = False) -> Withdrawn:
    """Withdraw a consent; takes effect with this call and erases the face template.

    With the person's key, or with the controller's where the key is lost (a reason is needed then).
    The key goes with the person's last consent. Withdrawing twice is no error. Raises
    ConsentUnknown, ConsentBroken (ended in another way) and KeyFileRefused. A clock that is behind
    stops nobody.
    """
    consent = at.consents.read_to_end(record_id)
    pid, state = consent.record.subject.pid, consent.state
    if state.status != "withdrawn":
        signer, key = (
            ("controller", controller_key(at.settings))
            if lost_key
            else ("subject", read_signing_key(subject_path(at.settings, pid)))
        )
        state = at.consents.append(record_id, "withdrawn", keys={signer: key}, reason=reason)  # type: ignore[dict-item]  # both are signers
    if not any(_lives(at, other) for other in at.consents.records_of(pid)):
        forget_key(at.settings, pid)
    return Withdrawn(state, at.archive.registry.by_consent(record_id))


def write_receipt(record_id: str, *, at: Records, form: str) -> str:
    """Return a person's receipt as `text`, `html` or `json`; raises ConsentUnknown, ConsentBroken.

    The JSON document is for machines: ISO/IEC TS 27560 with DPV terms.
    """
    receipt = make_receipt(at.consents.read(record_id), at.consents.history(record_id))
    purposes = at.desk.house.purposes
    if form == "html":
        return render_receipt(receipt, purposes=purposes)
    if form == "json":
        return receipt.encode().decode()
    return as_text(describe(receipt, purposes=purposes))


def list_consents(at: Records) -> list[Consent | BrokenConsent]:
    """Return every consent, those that do not hold as BrokenConsent.

    Raises StoreUnavailable, and ClockRollback where nothing can be judged.
    """
    found: list[Consent | BrokenConsent] = []
    for record_id in at.consents.record_ids():
        try:
            found.append(at.consents.read(record_id))
        except (ConsentBroken, Malformed) as error:
            found.append(BrokenConsent(record_id, error.message))
    return found


def subject_path(settings: Settings, pid: str) -> Path:
    """Return where this deployment keeps a person's own key, for development."""
    return settings.home / "subjects" / f"{pid}.pem"


def forget_key(settings: Settings, pid: str) -> None:
    """Remove a person's key, which signs nothing any more; raise KeyFileRefused."""
    path = subject_path(settings, pid)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileRefused(
            f"withdrawn, but {path} cannot be removed: {error.strerror}",
            mend="make its folder writable and withdraw again; the withdrawal holds already",
        ) from error


def forget_orphans(at: Records) -> int:
    """Remove the keys of people of whom no record is kept any more; return how many."""
    kept = {path.stem for path in (at.settings.home / "subjects").glob("ps_*.pem")}
    gone = [pid for pid in sorted(kept) if not at.consents.records_of(pid)]
    for pid in gone:
        forget_key(at.settings, pid)
    return len(gone)


def _lives(at: Records, record_id: str) -> bool:
    try:
        return at.consents.read_to_end(record_id).state.status not in FINAL
    except ConsentBroken:
        # Restored from a backup it may live again, and then only this key withdraws it.
        return True


def _known_key(settings: Settings, pid: str) -> SigningKey:
    """Return a known person's key; raise KeyFileRefused, and Malformed for no pseudonym."""
    if not PSEUDONYM.fullmatch(pid):
        raise Malformed("this is no pseudonym", mend="a person's pseudonym is on their receipt")
    return read_signing_key(subject_path(settings, pid))


def _binding(enrolled: Enrolled, assurance: Assurance, at: Deployment) -> dict[str, Any]:
    """Return by which model they are recognised, and what showed that they were there.

    The template is named once it is sealed.
    """
    model = at.analyser.id_model
    liveness = {
        "method": enrolled.liveness.method,
        "nonce_sha256": enrolled.liveness.nonce_sha256,
        "score_milli": enrolled.liveness.score_milli,
        "at": at.clock(),
    }
    if assurance.age == "rendered":
        liveness |= {"method": "rendered", "nonce_sha256": "", "score_milli": 0}
    elif liveness["method"] == "none" and assurance.in_person:
        liveness["method"] = "in_person"
    return {
        "model": model,
        "model_sha256": at.analyser.models[model],
        "template_sha256": "0" * 64,
        "liveness": liveness,
    }


def _subject(pid: str, key: SigningKey, assurance: Assurance, *, now: int) -> dict[str, Any]:
    return {
        "pid": pid,
        "key": key.public.hex,
        "age_assurance": {
            "method": assurance.age,
            "adult": assurance.adult,
            "checked_at": now,
            "evidence": assurance.evidence,
        },
    }


def _agreed(scope: Scope, *, now: int) -> dict[str, Any]:
    """Return what the person agrees to, how far, and for how long."""
    listed, named = list(scope.counterparties), list(scope.assets)
    return {
        "purposes": list(scope.purposes),
        "roles": list(scope.roles),
        "media": list(scope.media),
        "audiences": list(scope.audiences),
        "territories": list(scope.territories),
        "counterparties": {"mode": "listed" if listed else "any_consented", "pids": listed},
        "assets": {"mode": "listed" if named else "any", "sha256": named, "project": scope.project},
        "prohibited": list(scope.prohibited),
        "limits": {
            "max_uses": scope.max_uses,
            "max_pixels": scope.max_pixels,
            "max_seconds": scope.max_seconds,
        },
        "validity": {"not_before": now, "expires": now + scope.days * DAY_SECONDS},
        "compensation_ref": scope.compensation,
        "addenda": list(scope.addenda),
    }


def _terms(scope: Scope, settings: Settings, record_id: str) -> dict[str, Any]:
    """Return who is responsible, what was said to the person, and what becomes of the data."""
    return {
        "controller": {
            "id": settings.log_origin,
            "name": settings.organisation,
            "address": settings.address,
            "contact": settings.contact,
            "type": settings.organisation_type,
        },
        "notice": {
            "id": "facewarrant-notice",
            "version": NOTICE_VERSION,
            "language": "en",
            "sha256": NOTICE_SHA256,
        },
        "personal_data": [
            {"type": "pd:FacialPrint", "special": True, "required": True},
            {"type": "pd:Picture", "special": True, "required": True},
        ],
        "storage": {"locations": [settings.organisation], "retention": "P3Y"},
        "recipients": [f"those who may see: {', '.join(scope.audiences)}"],
        "rights": "see, correct, take along, erase, restrict, object, withdraw, complain",
        "withdrawal": {
            "method": f"facewarrant consent withdraw {record_id}",
            "url": settings.withdrawal_url,
        },
        "authority": settings.authority,
        "dpia_ref": settings.dpia_ref,
    }
