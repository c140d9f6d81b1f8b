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
from policies.consent import (
    ConsentEvent,
    ConsentRecord,
    Signer,
    encode,
    make_event,
    read_event,
    read_record,
    sign,
)
from policies.digest import sha256_hex
from policies.keys import SigningKey

HERE = Path(__file__).parent
NOW = 1_795_219_200  # 2026-11-21 00:00:00 UTC
DAY = 86_400
SUBJECT = SigningKey.from_seed(b"vector subject, 32 bytes of seed")
CONTROLLER = SigningKey.from_seed(b"vector controller, 32 bytes seed")
STRANGER = SigningKey.from_seed(b"vector stranger, 32 bytes of see")
DESK = SigningKey.from_seed(b"vector warrant desk, 32 bytes xx")
RECORD: dict[str, Any] = {
    "schema": "facewarrant/consent/1",
    "record_id": "01900000-0000-7000-8000-000000000001",
    "subject": {
        "pid": "ps_" + "vector2345" * 2 + "abcdef",
        "key": SUBJECT.public.hex,
        "age_assurance": {"method": "rendered", "adult": True, "checked_at": NOW - DAY},
    },
    "controller": {"id": "ctl", "name": "Vector Controller", "contact": "dpo@vector.invalid"},
    "notice": {"id": "notice", "version": "1", "language": "en", "sha256": sha256_hex(b"notice")},
    "purposes": ["film_vfx", "personal"],
    "roles": ["source_identity"],
    "media": ["image"],
    "audiences": ["internal"],
    "territories": ["DE"],
    "counterparties": {"mode": "any_consented", "pids": []},
    "assets": {"mode": "any", "sha256": []},
    "opted_in": [],
    "max_uses": 3,
    "validity": {"not_before": NOW - DAY, "expires": NOW + DAY},
    "retention": "P1Y",
    "withdrawal": "facewarrant consent withdraw",
    "binding": {
        "model": "idnet",
        "model_sha256": sha256_hex(b"model"),
        "template_sha256": sha256_hex(b"template"),
    },
    "signatures": [],
}
BOTH: dict[Signer, SigningKey] = {"subject": SUBJECT, "controller": CONTROLLER}


def _record(keys: dict[Signer, SigningKey] = BOTH, **changes: Any) -> ConsentRecord:
    record = read_record(canonical(RECORD | changes))
    for by, key in keys.items():
        record = sign(record, by=by, key=key, at=NOW)
    return record


def _events(record: ConsentRecord, *kinds: str, at: int = NOW) -> list[ConsentEvent]:
    events: list[ConsentEvent] = []
    for kind in kinds:
        previous = encode(events[-1] if events else record)
        event = make_event(
            record_id=record.record_id, seq=len(events), prev=sha256_hex(previous), kind=kind,
            at=at, reason="",
        )  # fmt: skip
        for by, key in BOTH.items():
            event = sign(event, by=by, key=key, at=at)
        events.append(event)
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
        "people": people,
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
            "Given, never confirmed.", _state("given", "CONSENT-STATUS"), events=CONFIRMED[:1]
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
            record=_edit(GOOD, lambda f: f.update(max_uses=10_000)),
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
            "One space more.", MALFORMED, record=text.replace(":3,", ": 3,", 1)
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
        "consent_left_out_default": _consent(
            "The empty list of opt-ins was dropped; it is part of what was signed.", MALFORMED,
            record=_edit(GOOD, lambda f: f.pop("opted_in")),
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
        "event_future": _consent("One second from now.", BROKEN, events=late),
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
    }  # fmt: skip


def _slow(given: ConsentEvent) -> ConsentEvent:
    event = make_event(
        record_id=given.record_id, seq=1, prev=sha256_hex(encode(given)), kind="confirmed",
        at=NOW + 660, reason="",
    )  # fmt: skip
    return read_event(encode(sign(event, by="subject", key=SUBJECT, at=NOW + 660)))


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
        "warrant_prolonged": _warrant("A longer life.", FORGED, expires_at=NOW + 10**6),
        "warrant_signed_as_consent": _warrant(
            "A signature of the right key for another kind of document.", FORGED, domain="consent"
        ),
        "warrant_unknown_field": _warrant("One field more.", MALFORMED, override=True),
    }


def build() -> dict[str, bytes]:
    """Return every vector file by name."""
    vectors = _records() | _chains() | _warrants()
    return {
        f"{name}.json": (json.dumps(vector, indent=2, sort_keys=True) + "\n").encode()
        for name, vector in vectors.items()
    }


if __name__ == "__main__":
    for file, data in build().items():
        (HERE / file).write_bytes(data)
