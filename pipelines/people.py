"""Granting and withdrawing consent at this deployment: enrol, sign twice, keep the person's key.

In production the person signs on their own device; here their key is made and kept under
`subjects/` in the home folder, which is said on the receipt. Refused: reference pictures that show
nobody, several people, or people who do not look alike.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.faces import only_face
from generator.matching import template_of
from generator.measure import pack_template
from pipelines.deployment import Deployment, Records, controller_key
from pipelines.keyfiles import KeyFileRefused, read_signing_key, write_secret
from pipelines.settings import Settings
from policies.canonical import canonical
from policies.consent import ConsentBroken, ConsentRecord, ConsentState, read_record, sign
from policies.consents import Consent
from policies.digest import sha256_hex
from policies.errors import Malformed
from policies.keys import SigningKey
from policies.vault import SealedTemplate
from provenance.media import decode

DAY_SECONDS = 86_400

NOTICE = """\
FaceWarrant keeps an encrypted template of your face to check that only you are shown. With your
consent your face, or your body, may be shown in pictures made for the purposes, audiences and
territories you name, until the date you name. Every picture is marked as AI-made and can be traced.
You can withdraw at any time, in one step and without a reason; pictures already released stay
traceable and will say that you withdrew. Withdrawing erases the template. You declare:
I am 18 or older.
"""


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
    rendered: bool = False
    """The person does not exist: no age document can be shown, the record says 'rendered'."""
    adult: bool = False
    """The person declares to be 18 or older; without it nothing is granted."""


@dataclass(frozen=True, slots=True)
class BrokenConsent:
    """A consent that is stored and does not hold: its id, and why."""

    record_id: str
    reason: str


def grant(pictures: Sequence[bytes], scope: Scope, *, at: Deployment) -> ConsentRecord:
    """Enrol a person from their pictures and take the consent to `confirmed`.

    Raises FaceError or MediaError for unusable pictures, and Malformed for a scope that is none
    or in which the person does not declare to be an adult.
    """
    if not scope.adult:
        raise Malformed(
            "the person has not declared to be 18 or older",
            mend="ask the person; only one who declares it (--adult) can be enrolled",
        )
    record_id = at.desk.new_id()
    subject = SigningKey.generate()
    sealed, binding = _enrol(pictures, record_id, at)
    now = at.clock()
    fields = {
        "schema": "facewarrant/consent/1",
        "record_id": record_id,
        **_agreed(scope, now=now),
        **_parties(scope, subject, at.settings, now=now),
        "withdrawal": f"facewarrant consent withdraw {record_id}",
        "binding": binding,
        "signatures": [],
    }
    record = read_record(canonical(fields))
    controller = controller_key(at.settings)
    record = sign(record, by="subject", key=subject, at=now)
    record = sign(record, by="controller", key=controller, at=now)
    write_secret(_subject_path(at.settings, record_id), subject.to_pem())
    at.consents.add(record, sealed)
    at.consents.append(record_id, "given", keys={"subject": subject, "controller": controller})
    at.consents.append(record_id, "confirmed", keys={"subject": subject})
    return record


def _agreed(scope: Scope, *, now: int) -> dict[str, Any]:
    """Return what the person agrees to, and for how long."""
    return {
        "purposes": list(scope.purposes),
        "roles": list(scope.roles),
        "media": list(scope.media),
        "audiences": list(scope.audiences),
        "territories": list(scope.territories),
        "counterparties": {"mode": "any_consented", "pids": []},
        "assets": {"mode": "any", "sha256": []},
        "opted_in": [],
        "max_uses": scope.max_uses,
        "validity": {"not_before": now, "expires": now + scope.days * DAY_SECONDS},
        "retention": "template: until withdrawal or expiry; record: 3 years after",
    }


def _parties(scope: Scope, subject: SigningKey, settings: Settings, *, now: int) -> dict[str, Any]:
    """Return who agrees with whom, and on which notice."""
    return {
        "subject": {
            "pid": _new_pseudonym(),
            "key": subject.public.hex,
            "age_assurance": {
                "method": "rendered" if scope.rendered else "self_declared",
                "adult": scope.adult,
                "checked_at": now,
            },
        },
        "controller": {
            "id": settings.log_origin,
            "name": settings.organisation,
            "contact": settings.contact,
        },
        "notice": {
            "id": "facewarrant-notice",
            "version": "2",
            "language": "en",
            "sha256": sha256_hex(NOTICE.encode()),
        },
    }


def withdraw(record_id: str, *, at: Records, reason: str = "") -> ConsentState:
    """Withdraw a consent with the person's key; takes effect with this call.

    The face template is erased with it, and then the key, which signs nothing any more. A consent
    that is withdrawn already stays so. Raises ConsentUnknown, ConsentBroken (ended in another way)
    and KeyFileRefused.
    """
    state = at.consents.read(record_id).state
    path = _subject_path(at.settings, record_id)
    if state.status != "withdrawn":
        subject = read_signing_key(path)
        state = at.consents.append(record_id, "withdrawn", keys={"subject": subject}, reason=reason)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileRefused(
            f"withdrawn, but {path} cannot be removed: {error.strerror}",
            mend="make its folder writable and withdraw again; the withdrawal holds already",
        ) from error
    return state


def list_consents(at: Records) -> list[Consent | BrokenConsent]:
    """Return every consent, those that do not hold as BrokenConsent; raise StoreUnavailable."""
    found: list[Consent | BrokenConsent] = []
    for record_id in at.consents.record_ids():
        try:
            found.append(at.consents.read(record_id))
        except ConsentBroken as error:
            found.append(BrokenConsent(record_id, error.message))
    return found


def _enrol(
    pictures: Sequence[bytes], record_id: str, at: Deployment
) -> tuple[SealedTemplate, dict[str, str]]:
    analyser = at.analyser
    faces = [only_face(analyser.analyse(decode(data).frame)) for data in pictures]
    template = template_of(faces, thresholds=analyser.thresholds)
    model_sha256 = analyser.models[analyser.id_model]
    sealed = at.consents.vault.seal(
        pack_template(template), record_id=record_id, model_sha256=model_sha256
    )
    return sealed, {
        "model": analyser.id_model,
        "model_sha256": model_sha256,
        "template_sha256": sha256_hex(sealed.ciphertext),
    }


def _subject_path(settings: Settings, record_id: str) -> Path:
    return settings.home / "subjects" / f"{record_id}.pem"


def _new_pseudonym() -> str:
    return "ps_" + base64.b32encode(os.urandom(17)).decode().lower()[:26]
