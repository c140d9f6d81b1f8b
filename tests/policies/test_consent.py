"""T1 and T3: what a consent is worth is decided by signatures, links and order alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.canonical import canonical, parse
from policies.consent import (
    CONFIRM_WITHIN_SECONDS,
    FINAL,
    MAX_VALIDITY_SECONDS,
    ConsentBroken,
    ConsentEvent,
    ConsentRecord,
    ConsentState,
    Signer,
    body,
    encode,
    fold,
    make_event,
    read_event,
    read_record,
    sign,
    verify_record,
)
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.keys import PublicKey, SigningKey

NOW = 1_795_219_200
DAY = 86_400
SUBJECT = SigningKey.from_seed(b"s" * 32)
CONTROLLER = SigningKey.from_seed(b"c" * 32)
STRANGER = SigningKey.from_seed(b"x" * 32)
KEYS: dict[Signer, SigningKey] = {"subject": SUBJECT, "controller": CONTROLLER}
BOTH: tuple[Signer, ...] = ("subject", "controller")
FIELDS: dict[str, Any] = {
    "schema": "facewarrant/consent/1",
    "record_id": "00000000-0000-7000-8000-000000000001",
    "subject": {
        "pid": "ps_" + "a2" * 13,
        "key": SUBJECT.public.hex,
        "age_assurance": {"method": "document", "adult": True, "checked_at": NOW - DAY},
    },
    "controller": {"id": "ctl", "name": "Controller", "contact": "dpo@test.invalid"},
    "notice": {"id": "n", "version": "1", "language": "en", "sha256": "1" * 64},
    "purposes": ["film_vfx"],
    "roles": ["source_identity"],
    "media": ["image"],
    "audiences": ["internal"],
    "territories": ["DE"],
    "counterparties": {"mode": "any_consented", "pids": []},
    "assets": {"mode": "any", "sha256": []},
    "opted_in": [],
    "max_uses": 1,
    "validity": {"not_before": NOW - DAY, "expires": NOW + DAY},
    "retention": "P1Y",
    "withdrawal": "facewarrant consent withdraw",
    "binding": {"model": "idnet", "model_sha256": "2" * 64, "template_sha256": "3" * 64},
    "signatures": [],
}


def signed(
    record: ConsentRecord, *signers: Signer, keys: dict[Signer, SigningKey] = KEYS
) -> ConsentRecord:
    for by in signers or BOTH:
        record = sign(record, by=by, key=keys[by], at=NOW)
    return record


def make(**changes: Any) -> ConsentRecord:
    return signed(read_record(canonical(FIELDS | changes)))


RECORD = make()


def step(
    record: ConsentRecord,
    events: Sequence[ConsentEvent],
    kind: str,
    signers: Sequence[Signer] = BOTH,
    **changes: Any,
) -> ConsentEvent:
    """The next event of a chain, correct unless `changes` says otherwise."""
    fields: dict[str, Any] = {
        "record_id": record.record_id,
        "seq": len(events),
        "prev": sha256_hex(encode(events[-1] if events else record)),
        "kind": kind,
        "at": NOW,
        "reason": "",
    } | changes
    event = make_event(**fields)
    for by in signers:
        event = sign(event, by=by, key=KEYS[by], at=event.at)
    return event


def chain(*kinds: str) -> list[ConsentEvent]:
    events: list[ConsentEvent] = []
    for kind in kinds:
        events.append(step(RECORD, events, kind))
    return events


def state(events: Sequence[ConsentEvent], *, now: int = NOW) -> ConsentState:
    return fold(RECORD, events, controllers=[CONTROLLER.public], now=now)


def refuse(events: Sequence[ConsentEvent], match: str, *, now: int = NOW) -> None:
    with pytest.raises(ConsentBroken, match=match) as caught:
        state(events, now=now)
    assert caught.value.code == "CONSENT-BROKEN"


def refuse_record(record: ConsentRecord, match: str = "sign|key") -> None:
    with pytest.raises(ConsentBroken, match=match) as caught:
        verify_record(record, controllers=[CONTROLLER.public])
    assert caught.value.code == "CONSENT-BROKEN"


def test_records_and_events_round_trip() -> None:
    assert read_record(encode(RECORD)) == RECORD
    (event,) = chain("given")
    assert read_event(encode(event)) == event
    assert "signatures" not in body(RECORD) | body(event)
    verify_record(RECORD, controllers=[STRANGER.public, CONTROLLER.public])


LIFE = [
    ((), "requested"),
    (("given",), "given"),
    (("given", "confirmed"), "confirmed"),
    (("given", "confirmed", "withdrawn"), "withdrawn"),
    (("given", "withdrawn"), "withdrawn"),
    (("withdrawn",), "withdrawn"),
    (("refused",), "refused"),
    (("given", "refused"), "refused"),
    (("given", "confirmed", "revoked"), "revoked"),
    (("given", "revoked"), "revoked"),
    (("invalidated",), "invalidated"),
    (("given", "confirmed", "invalidated"), "invalidated"),
]


@pytest.mark.parametrize(("kinds", "status"), LIFE)
def test_the_life_of_a_consent(kinds: tuple[str, ...], status: str) -> None:
    events = chain(*kinds)
    found = state(events)
    assert found.status == status
    assert found.length == len(events)
    assert found.head == sha256_hex(encode(events[-1] if events else RECORD))
    late = state(events, now=NOW + DAY)
    assert late.status == (status if status in FINAL else "expired")
    assert state(events, now=NOW + DAY - 1).status == status


KINDS = ("given", "confirmed", "withdrawn", "revoked", "refused", "invalidated")


@pytest.mark.parametrize(("kinds", "status"), LIFE)
@pytest.mark.parametrize("following", KINDS)
def test_what_may_follow(kinds: tuple[str, ...], status: str, following: str) -> None:
    """Every other step than these breaks the chain; after a final state nothing is possible."""
    events = chain(*kinds)
    events.append(step(RECORD, events, following))
    allowed = {
        "requested": {"given", "withdrawn", "refused", "invalidated"},
        "given": {"confirmed", "withdrawn", "revoked", "refused", "invalidated"},
        "confirmed": {"withdrawn", "revoked", "invalidated"},
    }
    if following in allowed.get(status, set()):
        assert state(events).status == following
    else:
        refuse(events, f"says '{following}' after '{status}'")


NEEDED: dict[str, set[Signer]] = {
    "given": {"subject", "controller"},
    "confirmed": {"subject"},
    "withdrawn": {"subject"},
    "refused": {"subject"},
    "revoked": {"controller"},
    "invalidated": {"controller"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signers", [(), ("subject",), ("controller",), BOTH])
def test_who_has_to_sign(kind: str, signers: tuple[Signer, ...]) -> None:
    events = chain("given") if kind in ("confirmed", "revoked") else []
    events.append(step(RECORD, events, kind, signers))
    if NEEDED[kind] <= set(signers):
        assert state(events).status == kind
    else:
        refuse(events, "not signed by")


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1},
        {"seq": 3},
        {"prev": "0" * 64},
        {"prev": sha256_hex(encode(RECORD))},
        {"record_id": "00000000-0000-7000-8000-000000000002"},
    ],
)
def test_gaps_and_foreign_links(changes: dict[str, Any]) -> None:
    events = chain("given", "confirmed")
    events.append(step(RECORD, events, "withdrawn", **changes))
    refuse(events, "does not follow")


def test_events_in_the_future_or_past() -> None:
    refuse([step(RECORD, [], "given", at=NOW + 1)], "future")
    events = chain("given")
    events.append(step(RECORD, events, "confirmed", at=NOW - 1))
    refuse(events, "before its predecessor")
    refuse(chain("given"), "future", now=NOW - 1)  # the clock was set back


def test_the_second_confirmation_is_in_time() -> None:
    for late, ok in ((CONFIRM_WITHIN_SECONDS, True), (CONFIRM_WITHIN_SECONDS + 1, False)):
        events = chain("given")
        events.append(step(RECORD, events, "confirmed", at=NOW + late))
        if ok:
            assert state(events, now=NOW + late).status == "confirmed"
        else:
            refuse(events, "confirms later", now=NOW + late)


def test_an_old_given_cannot_be_replayed_after_withdrawal() -> None:
    events = chain("given", "confirmed", "withdrawn")
    refuse([*events, events[0]], "does not follow")
    refuse([*events, *events[:2]], "does not follow")
    events.append(step(RECORD, events, "given"))
    refuse(events, "after 'withdrawn'")


def test_reordered_repeated_or_missing_events() -> None:
    events = chain("given", "confirmed", "withdrawn")
    for wrong in (events[::-1], events[1:], [events[0], events[2]], [*events, events[2]]):
        refuse(wrong, "does not follow")


def test_events_of_another_record_are_not_taken() -> None:
    other = make(record_id="00000000-0000-7000-8000-000000000009")
    refuse([step(other, [], "given")], "does not follow")
    wider = make(purposes=["film_vfx", "advertising"])  # the same id, other words, both signed
    refuse([step(wider, [], "given")], "does not follow")


def test_unsigned_and_half_signed_records() -> None:
    bare = read_record(canonical(FIELDS))
    refuse_record(bare, "controller, subject")
    refuse_record(signed(bare, "subject"), "not signed by: controller")
    refuse_record(signed(bare, "controller"), "not signed by: subject")
    for found in (bare, signed(bare, "subject")):
        with pytest.raises(ConsentBroken):
            fold(found, [], controllers=[CONTROLLER.public], now=NOW)


def test_signatures_by_strangers() -> None:
    bare = read_record(canonical(FIELDS))
    for by in BOTH:
        refuse_record(signed(bare, keys={**KEYS, by: STRANGER}), "unknown key")
    with pytest.raises(ConsentBroken, match="unknown key"):
        verify_record(RECORD, controllers=[])
    with pytest.raises(ConsentBroken, match="unknown key"):
        verify_record(RECORD, controllers=[STRANGER.public])


def test_nobody_signs_for_both() -> None:
    record = signed(
        read_record(canonical(FIELDS)), keys={"subject": SUBJECT, "controller": SUBJECT}
    )
    refuse_record(record, "unknown key")
    with pytest.raises(ConsentBroken, match="nobody consented"):
        verify_record(record, controllers=[SUBJECT.public])


def test_a_signer_signs_once() -> None:
    refuse_record(sign(RECORD, by="subject", key=SUBJECT, at=NOW + 1), "signed twice")


def block(record: ConsentRecord, **changes: Any) -> dict[str, Any]:
    """The record's fields with its first signature block edited."""
    fields = parse(encode(record))
    fields["signatures"][0] |= changes
    return fields


@pytest.mark.parametrize(
    "changes", [{"at": NOW + 1}, {"at": 0}, {"kid": STRANGER.public.kid}, {"sig": "0" * 128},
                {"by": "controller"}, {"by": "controller", "kid": CONTROLLER.public.kid}],
    ids=repr,
)  # fmt: skip
def test_no_part_of_a_signature_block_can_be_edited(changes: dict[str, Any]) -> None:
    refuse_record(read_record(canonical(block(RECORD, **changes))))


@pytest.mark.parametrize("alg", ["none", "HS256", "ed25519", "Ed448", "", None, 1])
def test_the_algorithm_is_not_a_choice(alg: object) -> None:
    with pytest.raises(Malformed, match="alg"):
        read_record(canonical(block(RECORD, alg=alg)))


def test_a_signature_is_not_moved_between_documents() -> None:
    (event,) = chain("given")
    fields = parse(encode(event))
    fields["signatures"] = parse(encode(RECORD))["signatures"]
    refuse([read_event(canonical(fields))], "does not verify")
    fields = parse(encode(RECORD)) | {"signatures": parse(encode(event))["signatures"]}
    refuse_record(read_record(canonical(fields)), "does not verify")


def test_a_signature_of_the_bare_body_is_not_enough() -> None:
    sig = SUBJECT.sign("consent", body(RECORD))
    refuse_record(read_record(canonical(block(RECORD, sig=sig))), "does not verify")


P = 2**255 - 19
SMALL = [0, 1, P - 1, P, P + 1]


@pytest.mark.parametrize("y", SMALL)
def test_a_subject_with_a_small_order_key_proves_nothing(y: int) -> None:
    raw = y.to_bytes(32, "little")
    fields = FIELDS | {"subject": FIELDS["subject"] | {"key": raw.hex()}}
    kid = sha256_hex(raw)[:16]
    forged = (1).to_bytes(32, "little") + bytes(32)
    blocks = [{"by": "subject", "alg": "Ed25519", "kid": kid, "sig": forged.hex(), "at": NOW}]
    record = read_record(canonical(fields | {"signatures": blocks}))
    refuse_record(record, "small order")


FLIPS = [
    ("record", encode(RECORD), lambda d: verify_record(
        read_record(d), controllers=[CONTROLLER.public])),
    ("event", encode(chain("given")[0]), lambda d: state([read_event(d)])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "check"), FLIPS, ids=[name for name, _, _ in FLIPS])
def test_every_byte_counts(name: str, data: bytes, check: Callable[[bytes], object]) -> None:
    check(data)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 7  # seven bits: most flips stay ASCII and get past the decoder
        with pytest.raises(Error) as caught:
            check(bytes(flipped))
        assert caught.value.code in ("MALFORMED", "CONSENT-BROKEN")


@pytest.mark.parametrize(("name", "data", "check"), FLIPS, ids=[name for name, _, _ in FLIPS])
@settings(
    max_examples=150, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(draw=st.data())
def test_any_edited_run_of_bytes_is_refused(
    name: str, data: bytes, check: Callable[[bytes], object], draw: st.DataObject
) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(start + 4, len(data))))
    edited = data[:start] + draw.draw(st.binary(max_size=4)) + data[end:]
    if edited != data:
        with pytest.raises(Error):
            check(edited)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items if isinstance(value, dict | list) else ():
        found += paths(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]
    return found


DOCUMENT = parse(encode(RECORD))
EVENT = parse(encode(chain("given")[0]))


@pytest.mark.parametrize("read", [read_record, read_event])
def test_no_field_may_be_missing_unknown_or_of_another_type(
    read: Callable[[bytes], object],
) -> None:
    document = DOCUMENT if read is read_record else EVENT
    for path in paths(document):
        if isinstance(path[-1], int):
            continue
        for value in ("gone", None, 1.5, True, 10**30, [None], {"a": 1}, [["a"]]):
            edited = json.loads(json.dumps(document))
            spot = edited
            for part in path[:-1]:
                spot = spot[part]
            if value == "gone":
                del spot[path[-1]]
            elif spot[path[-1]] is value:
                continue
            else:
                spot[path[-1]] = value
            with pytest.raises(Malformed):
                read(canonical(edited))
    for path in [(), *[p for p in paths(document) if isinstance(_at(document, p), dict)]]:
        edited = json.loads(json.dumps(document))
        _at(edited, path)["surprise"] = 1
        with pytest.raises(Malformed):
            read(canonical(edited))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facewarrant/consent/2"},
        {"record_id": "00000000-0000-7000-8000-00000000000\N{CYRILLIC SMALL LETTER A}"},
        {"record_id": FIELDS["record_id"].upper() + "\n"},
        {"purposes": []},
        {"purposes": ["anything"]},
        {"roles": []},
        {"roles": ["guardian"]},
        {"media": []},
        {"audiences": []},
        {"territories": []},
        {"territories": ["EEA"]},
        {"opted_in": ["minors_context"]},
        {"max_uses": 0},
        {"max_uses": 10_001},
        {"max_uses": True},
        {"validity": {"not_before": NOW, "expires": NOW}},
        {"validity": {"not_before": NOW, "expires": NOW - 1}},
        {"validity": {"not_before": 0, "expires": MAX_VALIDITY_SECONDS + 1}},
        {"subject": FIELDS["subject"] | {"pid": "ps_" + "\N{CYRILLIC SMALL LETTER A}" * 26}},
        {"subject": FIELDS["subject"] | {"pid": "someone@example.org"}},
        *(
            {"subject": FIELDS["subject"] | {"age_assurance": {
                "method": "document", "adult": adult, "checked_at": NOW}}}
            for adult in (False, "true", 1, None, "yes")
        ),
        {"withdrawal": ""},
        {"retention": "x" * 401},
    ],
    ids=lambda c: repr(c)[:60],
)  # fmt: skip
def test_what_is_not_a_record(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        read_record(canonical(FIELDS | changes))
    assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize("field", ["opted_in", "signatures"])
def test_a_default_that_is_left_out_is_not_a_second_spelling(field: str) -> None:
    fields = parse(encode(RECORD))
    del fields[field]
    with pytest.raises(Malformed, match="leaves out"):
        read_record(canonical(fields))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "renewed"},
        {"seq": -1},
        {"seq": 1_001},
        {"prev": "x"},
        {"at": -1},
        {"reason": "x" * 401},
        {"reason": "\ud800"},
        {"schema": "facewarrant/consent/1"},
        {"by": "guardian"},
    ],
    ids=lambda c: repr(c)[:60],
)
def test_what_is_not_an_event(changes: dict[str, Any]) -> None:
    fields = {
        "record_id": RECORD.record_id, "seq": 0, "prev": "0" * 64, "kind": "given", "at": NOW,
        "reason": "",
    }  # fmt: skip
    assert make_event(**fields).signatures == ()
    with pytest.raises(Malformed) as caught:
        make_event(**fields | changes)
    assert caught.value.code == "MALFORMED"


def test_documents_of_the_wrong_kind() -> None:
    with pytest.raises(Malformed, match="not a consent record"):
        read_record(encode(chain("given")[0]))
    with pytest.raises(Malformed, match="not a consent event"):
        read_event(encode(RECORD))


def test_the_longest_validity_is_ten_years() -> None:
    longest = {"not_before": NOW, "expires": NOW + MAX_VALIDITY_SECONDS}
    assert make(validity=longest).validity.expires == NOW + MAX_VALIDITY_SECONDS


def test_controllers_are_found_by_their_key_not_their_position() -> None:
    many: list[PublicKey] = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(1, 9)]
    verify_record(RECORD, controllers=[*many, CONTROLLER.public])
