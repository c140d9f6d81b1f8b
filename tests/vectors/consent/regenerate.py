"""Write the golden consent and warrant vectors anew: `python tests/vectors/consent/regenerate.py`.

Everything is derived from fixed seeds and one fixed moment, so the bytes are the same on every
machine. The people do not exist; the keys below are public and must never be used elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from policies.canonical import canonical, parse
from policies.consent import ConsentEvent, make_event, read_event, sign, sign_opt_in
from policies.digest import sha256_hex
from policies.keys import SigningKey
from policies.record import ConsentRecord, Signer, encode, read_record

HERE = Path(__file__).parent
NOW = 1_795_219_200  # 2026-11-21 00:00:00 UTC
DAY = 86_400
SUBJECT = SigningKey.from_seed(b"vector subject, 32 bytes of seed")
CONTROLLER = SigningKey.from_seed(b"vector controller, 32 bytes seed")
STRANGER = SigningKey.from_seed(b"vector stranger, 32 bytes of see")
DESK = SigningKey.from_seed(b"vector warrant desk, 32 bytes xx")
RECORD_ID = "01900000-0000-7000-8000-000000000001"
OTHER_ID = "01900000-0000-7000-8000-000000000002"


def _opt_in(record_id: str = RECORD_ID, key: SigningKey = SUBJECT, at: int = NOW) -> dict[str, Any]:
    return sign_opt_in(record_id, "political", key=key, at=at).model_dump(mode="json")


RELEASE = {
    "form": "US-IL-RELEASE",
    "written_release_sha256": sha256_hex(b"release"),
    "purpose_and_term": "a template of the face, for one film, until the film is finished",
    "signed_at": NOW - DAY,
}
RECORD: dict[str, Any] = {
    "schema": "facewarrant/consent/1",
    "record_id": RECORD_ID,
    "subject": {
        "pid": "ps_" + "vector2345" * 2 + "abcdef",
        "key": SUBJECT.public.hex,
        "age_assurance": {
            "method": "rendered",
            "adult": True,
            "checked_at": NOW - DAY,
            "evidence": "rendered by the vector studio",
        },
    },
    "controller": {
        "id": "ctl",
        "name": "Vector Controller",
        "address": "1 Vector Street, Vectorville",
        "contact": "dpo@vector.invalid",
        "type": "company",
    },
    "notice": {"id": "notice", "version": "1", "language": "en", "sha256": sha256_hex(b"notice")},
    "purposes": ["film_vfx", "personal"],
    "roles": ["source_identity"],
    "media": ["image"],
    "audiences": ["internal"],
    "territories": ["DE"],
    "counterparties": {"mode": "any_consented", "pids": []},
    "assets": {"mode": "any", "sha256": [], "project": ""},
    "prohibited": ["alcohol"],
    "opted_in": [_opt_in()],
    "limits": {"max_uses": 3, "max_pixels": 25_000_000, "max_seconds": 60},
    "validity": {"not_before": NOW - DAY, "expires": NOW + DAY},
    "personal_data": [{"type": "pd:FacialPrint", "special": True, "required": True}],
    "storage": {"locations": ["Vectorville"], "retention": "P1Y"},
    "recipients": ["nobody outside Vector Controller"],
    "rights": "see, correct, take along, erase, withdraw, complain",
    "withdrawal": {"method": "write to us", "url": "https://vector.invalid/withdraw"},
    "authority": "Vectorville data protection authority",
    "dpia_ref": "DPIA-1",
    "compensation_ref": "",
    "binding": {
        "model": "idnet",
        "model_sha256": sha256_hex(b"model"),
        "template_sha256": sha256_hex(b"template"),
        "liveness": {
            "method": "rendered",
            "nonce_sha256": "",
            "score_milli": 0,
            "at": NOW - DAY,
        },
    },
    "addenda": [RELEASE],
    "signatures": [],
}
BOTH: dict[Signer, SigningKey] = {"subject": SUBJECT, "controller": CONTROLLER}


def _record(keys: dict[Signer, SigningKey] = BOTH, at: int = NOW, **changes: Any) -> ConsentRecord:
    record = read_record(canonical(RECORD | changes))
    for by, key in keys.items():
        record = sign(record, by=by, key=key, at=at)
    return record


def _step(
    previous: ConsentRecord | ConsentEvent,
    kind: str,
    *signers: Signer,
    at: int = NOW,
    reason: str = "",
) -> ConsentEvent:
    """The step after a document, signed by both unless somebody else is named."""
    seq = previous.seq + 1 if isinstance(previous, ConsentEvent) else 0
    event = make_event(
        record_id=previous.record_id, seq=seq, prev=sha256_hex(encode(previous)), kind=kind,
        at=at, reason=reason,
    )  # fmt: skip
    for by in signers or tuple(BOTH):
        event = sign(event, by=by, key=BOTH[by], at=at)
    return event


def _events(record: ConsentRecord, *kinds: str, at: int = NOW) -> list[ConsentEvent]:
    events: list[ConsentEvent] = []
    for kind in kinds:
        events.append(_step(events[-1] if events else record, kind, at=at))
    return events


GOOD = _record()
CONFIRMED = _events(GOOD, "given", "confirmed")
WITHDRAWN = _events(GOOD, "given", "confirmed", "withdrawn")


def _consent(
    note: str,
    expect: dict[str, Any],
    *,
    record: ConsentRecord | str = GOOD,
    events: Sequence[ConsentEvent | str] = CONFIRMED,
    now: int = NOW,
) -> dict[str, Any]:
    texts = [d if isinstance(d, str) else encode(d).decode() for d in (record, *events)]
    return {
        "note": note,
        "now": now,
        "controllers": [CONTROLLER.public.hex],
        "record": texts[0],
        "events": texts[1:],
        "expect": expect,
    }


def _edit(
    document: ConsentRecord | ConsentEvent, change: Callable[[dict[str, Any]], object]
) -> str:
    fields = parse(encode(document))
    change(fields)
    return canonical(fields).decode()


def _warrant(
    note: str, expect: dict[str, Any], *, now: int = NOW, key: SigningKey = DESK, **forged: Any
) -> dict[str, Any]:
    """A warrant of the desk; `forged` fields are changed after it was signed."""
    people = [
        {"record_id": f"01900000-0000-7000-8000-00000000000{n}", "role": role, "box": [0, 0, 9, 9],
         "consent_head": sha256_hex(encode(CONFIRMED[-1]))}
        for n, role in enumerate(("source_identity", "target_body"), 1)
    ]  # fmt: skip
    body = {
        "schema": "facewarrant/warrant/1",
        "warrant_id": "01900000-0000-4000-8000-00000000000a",
        "request_id": "vector",
        "request_sha256": sha256_hex(b"request"),
        "decision_id": "01900000-0000-4000-8000-00000000000b",
        "decision_sha256": sha256_hex(b"decision"),
        "decision_index": 2,
        "log_origin": "log.vector.invalid/facewarrant",
        "log_size": 3,
        "source_sha256": sha256_hex(b"source"),
        "target_sha256": sha256_hex(b"target"),
        "purpose": "film_vfx",
        "medium": "image",
        "audience": "internal",
        "territories": ["DE"],
        "people": people,
        "blurred": [],
        "bystanders": "refuse",
        "models": {"idnet": sha256_hex(b"model")},
        "policy_sha256": sha256_hex(b"the rules of another day"),
        "not_before": NOW,
        "expires_at": NOW + 600,
        "kid": DESK.public.kid,
    }
    document = body | {"sig": key.sign(forged.pop("domain", "warrant"), body)} | forged
    return {
        "note": note,
        "now": now,
        "desk": DESK.public.hex,
        "warrant": canonical(document).decode(),
        "expect": expect,
    }


MALFORMED = {"error": "MALFORMED"}
BROKEN = {"error": "CONSENT-BROKEN"}
FORGED = {"error": "WARRANT-FORGED"}
CLOCK = {"error": "CLOCK-ROLLBACK"}


def _state(status: str, *denied: str) -> dict[str, Any]:
    return {"status": status, "denied": sorted(denied)}


def _records() -> dict[str, Any]:
    text = encode(GOOD).decode()
    swapped: dict[Signer, SigningKey] = {"subject": SUBJECT, "controller": STRANGER}
    wrong: dict[Signer, SigningKey] = {"subject": STRANGER, "controller": CONTROLLER}
    one = (1).to_bytes(32, "little")
    weak = {"by": "subject", "alg": "Ed25519", "kid": sha256_hex(one)[:16], "at": NOW,
            "sig": (one + bytes(32)).hex()}  # fmt: skip
    weak_subject = RECORD["subject"] | {"key": one.hex()}
    return {
        "good": _consent("Signed by both, given, confirmed.", _state("confirmed")),
        "consent_expired": _consent(
            "The clock is at `expires`; nothing was edited.",
            _state("expired", "CONSENT-STATUS", "CONSENT-WINDOW"), now=NOW + DAY,
        ),
        "consent_not_yet": _consent(
            "Valid from tomorrow on.", _state("confirmed", "CONSENT-WINDOW"),
            record=(late := _record(validity={"not_before": NOW + 1, "expires": NOW + DAY})),
            events=_events(late, "given", "confirmed"),
        ),
        "consent_requested": _consent(
            "Signed, but the consent was never given.", _state("requested", "CONSENT-STATUS"),
            events=[],
        ),
        "consent_unconfirmed": _consent(
            "Given, never confirmed.",
            _state("given", "CONSENT-STATUS", "SECOND-CONFIRMATION"),
            events=CONFIRMED[:1],
        ),
        "consent_withdrawn": _consent(
            "Withdrawn by the person.", _state("withdrawn", "CONSENT-STATUS"), events=WITHDRAWN
        ),
        "consent_wrong_key": _consent(
            "The subject's signature is by somebody else.", BROKEN, record=_record(wrong), events=[]
        ),
        "consent_forged_controller": _consent(
            "The controller's signature is by somebody else.", BROKEN,
            record=_record(swapped), events=[],
        ),
        "consent_unsigned": _consent("No signature.", BROKEN, record=_record({}), events=[]),
        "consent_half_signed": _consent(
            "The controller did not sign.", BROKEN, record=_record({"subject": SUBJECT}), events=[]
        ),
        "consent_small_order_key": _consent(
            "The subject's key has order 1 and verifies this signature over anything.", BROKEN,
            record=canonical(RECORD | {"subject": weak_subject, "signatures": [weak]}).decode(),
            events=[],
        ),
        "consent_edited": _consent(
            "max_uses raised after signing.", BROKEN,
            record=_edit(GOOD, lambda f: f["limits"].update(max_uses=10_000)),
        ),
        "consent_alg_none": _consent(
            "`alg` is not a choice.", MALFORMED,
            record=_edit(GOOD, lambda f: f["signatures"][0].update(alg="none")),
        ),
        "consent_signed_at_edited": _consent(
            "Only the time in a signature block changed.", BROKEN,
            record=_edit(GOOD, lambda f: f["signatures"][0].update(at=NOW + 1)), events=[],
        ),
        "consent_signature_twice": _consent(
            "The subject's signature stands in the list twice.", BROKEN,
            record=_edit(GOOD, lambda f: f["signatures"].append(f["signatures"][0])), events=[],
        ),
        "consent_duplicate_json_key": _consent(
            "A lenient reader takes the last `max_uses`.", MALFORMED,
            record=text.replace('"max_uses":3', '"max_uses":3,"max_uses":9999'),
        ),
        "consent_noncanonical": _consent(
            "One space more.", MALFORMED, record=text.replace(":3}", ": 3}", 1)
        ),
        "consent_float": _consent(
            "3.0 is not 3.", MALFORMED, record=text.replace('"max_uses":3', '"max_uses":3.0')
        ),
        "consent_huge_integer": _consent(
            "Thirty digits.", MALFORMED,
            record=text.replace('"max_uses":3', '"max_uses":' + "9" * 30),
        ),
        "consent_homoglyph_pid": _consent(
            "A Cyrillic letter in the pseudonym.", MALFORMED,
            record=text.replace("abcdef", "\N{CYRILLIC SMALL LETTER A}bcdef", 1),
        ),
        "consent_lone_surrogate": _consent(
            "Half of a surrogate pair.", MALFORMED,
            record=text.replace("Vector Controller", "\\ud800"),
        ),
        "consent_unknown_field": _consent(
            "A field that no schema knows.", MALFORMED,
            record=_edit(GOOD, lambda f: f.update(override=True)),
        ),
        "consent_left_out_field": _consent(
            "The list of what is barred was dropped; it is part of what was signed.", MALFORMED,
            record=_edit(GOOD, lambda f: f.pop("prohibited")),
        ),
        "consent_other_schema": _consent(
            "A version of the schema that does not exist.", MALFORMED,
            record=_edit(GOOD, lambda f: f.update(schema="facewarrant/consent/2")),
        ),
        "consent_minor": _consent(
            "`adult` can only be true.", MALFORMED,
            record=_edit(GOOD, lambda f: f["subject"]["age_assurance"].update(adult=False)),
        ),
    }  # fmt: skip


def _opt_ins() -> dict[str, Any]:
    """Both people sign the whole record; the opt-in still has to be the subject's own act."""
    signed = _opt_in()
    zeros = signed | {"signed": signed["signed"] | {"sig": "0" * 128}}
    cases = {
        "unsigned": ("Zeros where the signature belongs.", zeros),
        "moved": ("Signed by the subject, for another record.", _opt_in(OTHER_ID)),
        "stranger": ("Signed by somebody else.", _opt_in(key=STRANGER)),
        "other_category": (
            "Signed for another category.",
            signed | {"category": "nudity"},
        ),
    }
    found = {
        f"opt_in_{name}": _consent(note, BROKEN, record=_record(opted_in=[opt_in]), events=[])
        for name, (note, opt_in) in cases.items()
    }
    return found | {
        "opt_in_and_prohibited": _consent(
            "Political content is signed for and barred at once.", MALFORMED,
            record=_edit(GOOD, lambda f: f.update(prohibited=["political"])),
        ),
        "opt_in_minors": _consent(
            "No signature permits this one.", MALFORMED,
            record=_edit(GOOD, lambda f: f["opted_in"][0].update(category="minors_context")),
        ),
        "opt_in_twice": _consent(
            "The same opt-in stands in the list twice.", MALFORMED,
            record=_edit(GOOD, lambda f: f["opted_in"].append(f["opted_in"][0])),
        ),
    }  # fmt: skip


MISUSES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "addendum_twice": (
        "Two releases; nobody knows which one counts.", lambda f: f["addenda"].append(RELEASE),
    ),
    "addendum_unknown": (
        "A form that no law asks for.", lambda f: f["addenda"][0].update(form="US-XX-FORM"),
    ),
    "retention_not_a_duration": (
        "A promise that no clock can keep.", lambda f: f["storage"].update(retention="as needed"),
    ),
    "validity_of_eleven_years": (
        "Longer than ten years.",
        lambda f: f["validity"].update(expires=NOW + 11 * 366 * DAY),
    ),
    "age_without_evidence": (
        "A check that nobody can look up.",
        lambda f: f["subject"]["age_assurance"].update(evidence=""),
    ),
    "half_rendered": (
        "Rendered where somebody would have to be there, documented where an age is asked.",
        lambda f: f["subject"]["age_assurance"].update(method="document"),
    ),
    "liveness_without_nonce": (
        "A video that answers no challenge.",
        lambda f: f["binding"]["liveness"].update(method="video_challenge"),
    ),
    "any_and_listed": (
        "Anybody, and a list: one of them is not meant.",
        lambda f: f["counterparties"].update(pids=["ps_" + "a" * 26]),
    ),
    "purpose_twice": (
        "One list, two spellings.", lambda f: f["purposes"].append("film_vfx"),
    ),
    "long_text": ("One character too many.", lambda f: f["controller"].update(name="x" * 401)),
    "hidden_direction": (
        "A character that turns the words after it around for the reader.",
        lambda f: f["controller"].update(name="Vector \N{RIGHT-TO-LEFT OVERRIDE}rellortnoC"),
    ),
    "unsafe_link": (
        "An address that runs instead of leading somewhere.",
        lambda f: f["withdrawal"].update(url="javascript:alert(1)"),
    ),
    "uses_beyond_the_cap": (
        "One more than ten thousand.", lambda f: f["limits"].update(max_uses=10_001),
    ),
}  # fmt: skip


def _misuses() -> dict[str, Any]:
    later = RECORD["subject"]["age_assurance"] | {"checked_at": NOW + 1}
    forms = {
        f"consent_{name}": _consent(note, MALFORMED, record=_edit(GOOD, change))
        for name, (note, change) in MISUSES.items()
    }
    return forms | {
        "consent_future_age_check": _consent(
            "The age was checked one second from now.", CLOCK,
            record=_record(subject=RECORD["subject"] | {"age_assurance": later}), events=[],
        ),
        "consent_future_signature": _consent(
            "Signed one second from now.", CLOCK, record=_record(at=NOW + 1), events=[]
        ),
        "consent_future_opt_in": _consent(
            "The opt-in is signed one second from now.", CLOCK,
            record=_record(opted_in=[_opt_in(at=NOW + 1)]), events=[],
        ),
    }  # fmt: skip


def _chains() -> dict[str, Any]:
    given, confirmed, withdrawn = WITHDRAWN
    wider = _record(audiences=["internal", "public"])
    late = _events(GOOD, "given", "confirmed", at=NOW + 1)
    signatures = parse(encode(GOOD))["signatures"]
    slow = _events(GOOD, "given")
    slow.append(_slow(slow[0]))
    return {
        "event_replayed_given_after_withdrawal": _consent(
            "The first event once more, at the end.", BROKEN, events=[*WITHDRAWN, given]
        ),
        "event_given_after_withdrawal": _consent(
            "A fresh `given`, linked and signed, after the final state.", BROKEN,
            events=_events(GOOD, "given", "confirmed", "withdrawn", "given"),
        ),
        "event_gap": _consent(
            "The confirmation was cut out.", BROKEN, events=[given, withdrawn]
        ),
        "event_reordered": _consent("Two events swapped.", BROKEN, events=[confirmed, given]),
        "event_future": _consent("One second from now.", CLOCK, events=late),
        "event_before_the_record": _consent(
            "Given five minutes before the record was signed.", BROKEN,
            events=_events(GOOD, "given", "confirmed", at=NOW - 300),
        ),
        "event_signed_another_time": _consent(
            "Dated now, signed in 1970.", BROKEN, events=[_backdated(GOOD)]
        ),
        "event_withdrawn_ahead": _consent(
            "Withdrawn on a device whose clock is ahead: an end waits for no clock.",
            _state("withdrawn", "CONSENT-STATUS"),
            events=[given, confirmed, _step(confirmed, "withdrawn", "subject", at=NOW + DAY)],
        ),
        "event_confirmed_late": _consent(
            "Confirmed eleven minutes after it was given.", BROKEN, events=slow, now=NOW + DAY - 1
        ),
        "event_of_another_record": _consent(
            "Same id, same keys, wider words: the events belong to the other one.", BROKEN,
            record=wider,
        ),
        "event_edited": _consent(
            "The withdrawal became a confirmation.", BROKEN,
            events=[given, _edit(withdrawn, lambda f: f.update(kind="confirmed", seq=1))],
        ),
        "event_unsigned": _consent(
            "Nobody signed the confirmation.", BROKEN,
            events=[given, _edit(confirmed, lambda f: f.update(signatures=[]))],
        ),
        "event_signature_of_the_record": _consent(
            "The record's signatures moved onto an event.", BROKEN,
            events=[_edit(given, lambda f: f.update(signatures=signatures))],
        ),
        "event_unknown_kind": _consent(
            "No such step.", MALFORMED,
            events=[given, _edit(confirmed, lambda f: f.update(kind="renewed"))],
        ),
        "event_duplicate_json_key": _consent(
            "A lenient reader takes the last `kind`.", MALFORMED,
            events=[given, encode(confirmed).decode().replace(
                '"kind":"confirmed"', '"kind":"withdrawn","kind":"confirmed"')],
        ),
        "event_unknown_field": _consent(
            "A field that no schema knows.", MALFORMED,
            events=[given, _edit(confirmed, lambda f: f.update(override=True))],
        ),
        "event_clock_moved_back": _consent(
            "Nothing was edited; the reader's clock is a second behind the events.", CLOCK,
            now=NOW - 1,
        ),
    }  # fmt: skip


def _steps() -> dict[str, Any]:
    given, confirmed, _ = WITHDRAWN
    other = _record(record_id=OTHER_ID, opted_in=[])
    foreign = _events(other, "given", "confirmed")[1]
    lost = "lost key; known in person"
    over = _step(confirmed, "expired", "controller", at=NOW + DAY)
    return {
        "event_confirmation_replayed": _consent(
            "The confirmation once more.", BROKEN, events=[given, confirmed, confirmed]
        ),
        "event_confirmed_again": _consent(
            "A second confirmation, linked and signed.", BROKEN,
            events=_events(GOOD, "given", "confirmed", "confirmed"),
        ),
        "event_confirmation_of_another_record": _consent(
            "The subject confirmed something else.", BROKEN, events=[given, foreign]
        ),
        "event_given_without_the_subject": _consent(
            "The controller gives what is not theirs.", BROKEN,
            events=[_step(GOOD, "given", "controller")],
        ),
        "event_confirmed_by_the_controller": _consent(
            "The second step is the person's own.", BROKEN,
            events=[given, _step(given, "confirmed", "controller")],
        ),
        "event_withdrawn_by_the_controller": _consent(
            "The lost-key route: the controller withdraws and says how they knew the person.",
            _state("withdrawn", "CONSENT-STATUS"),
            events=[given, confirmed, _step(confirmed, "withdrawn", "controller", reason=lost)],
        ),
        "event_withdrawn_by_the_controller_without_reason": _consent(
            "The lost-key route, without a word.", BROKEN,
            events=[given, confirmed, _step(confirmed, "withdrawn", "controller")],
        ),
        "event_expired": _consent(
            "The controller writes down that the time is over.",
            _state("expired", "CONSENT-STATUS", "CONSENT-WINDOW"), now=NOW + DAY,
            events=[given, confirmed, over],
        ),
        "event_expired_early": _consent(
            "One second before its time.", BROKEN, now=NOW + DAY,
            events=[given, confirmed, _step(confirmed, "expired", "controller", at=NOW + DAY - 1)],
        ),
        "event_withdrawn_after_expired": _consent(
            "An expiry that was written down is final.", BROKEN, now=NOW + DAY,
            events=[given, confirmed, over, _step(over, "withdrawn", "subject", at=NOW + DAY)],
        ),
    }  # fmt: skip


def _backdated(record: ConsentRecord) -> ConsentEvent:
    event = _step(record, "given")
    event = event.model_copy(update={"signatures": ()})
    for by, key in BOTH.items():
        event = sign(event, by=by, key=key, at=5)
    return read_event(encode(event))


def _slow(given: ConsentEvent) -> ConsentEvent:
    return read_event(encode(_step(given, "confirmed", "subject", at=NOW + 660)))


def _warrants() -> dict[str, Any]:
    return {
        "warrant_other_policy": _warrant(
            "Signed and in time, but made under other rules: the last check of all.",
            {"error": "WARRANT-OTHER-POLICY"},
        ),
        "warrant_expired": _warrant(
            "Ten minutes old.", {"error": "WARRANT-EXPIRED"}, now=NOW + 600
        ),
        "warrant_early": _warrant("From the future.", {"error": "WARRANT-EXPIRED"}, now=NOW - 1),
        "warrant_forged": _warrant("Signed by somebody else.", FORGED, key=STRANGER),
        "warrant_other_source": _warrant(
            "Another source picture, after signing.", FORGED, source_sha256=sha256_hex(b"other")
        ),
        "warrant_other_target": _warrant(
            "Another target picture, after signing.", FORGED, target_sha256=sha256_hex(b"other")
        ),
        "warrant_other_territory": _warrant(
            "Shown elsewhere, where another label is asked for.", FORGED, territories=["US"]
        ),
        "warrant_video_from_image": _warrant(
            "A video under the warrant of a picture.", FORGED, medium="video"
        ),
        "warrant_nowhere": _warrant("No place at all.", MALFORMED, territories=[]),
        "warrant_prolonged": _warrant("A longer life.", FORGED, expires_at=NOW + 10**6),
        "warrant_signed_as_consent": _warrant(
            "A signature of the right key for another kind of document.", FORGED, domain="consent"
        ),
        "warrant_unknown_field": _warrant("One field more.", MALFORMED, override=True),
    }


def build() -> dict[str, bytes]:
    """Return every vector file by name."""
    vectors = _records() | _opt_ins() | _misuses() | _chains() | _steps() | _warrants()
    return {
        f"{name}.json": (json.dumps(vector, indent=2, sort_keys=True) + "\n").encode()
        for name, vector in vectors.items()
    }


if __name__ == "__main__":
    for file, data in build().items():
        (HERE / file).write_bytes(data)
