"""T1 and T3: what a consent is worth is decided by signatures, links and order alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.audit import ClockRollback
from policies.canonical import canonical, parse
from policies.consent import (
    CONFIRM_WITHIN_SECONDS,
    DPV_STATE,
    ENDS_ANY_TIME,
    FINAL,
    ConsentBroken,
    ConsentEvent,
    ConsentState,
    EventKind,
    Status,
    StepRefused,
    body,
    fold,
    fold_next,
    make_event,
    newest_moment,
    read_event,
    sign,
    sign_opt_in,
    verify_record,
)
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.keys import PublicKey, SigningKey
from policies.record import ConsentRecord, Signer, encode, read_record

NOW = 1_795_219_200
DAY = 86_400
SUBJECT = SigningKey.from_seed(b"s" * 32)
CONTROLLER = SigningKey.from_seed(b"c" * 32)
STRANGER = SigningKey.from_seed(b"x" * 32)
KEYS: dict[Signer, SigningKey] = {"subject": SUBJECT, "controller": CONTROLLER}
BOTH: tuple[Signer, ...] = ("subject", "controller")
RECORD_ID = "00000000-0000-7000-8000-000000000001"
FIELDS: dict[str, Any] = {
    "schema": "facewarrant/consent/1",
    "record_id": RECORD_ID,
    "subject": {
        "pid": "ps_" + "a2" * 13,
        "key": SUBJECT.public.hex,
        "age_assurance": {
            "method": "document", "adult": True, "checked_at": NOW - DAY, "evidence": "check 1",
        },
    },
    "controller": {
        "id": "ctl", "name": "Controller", "address": "1 Test Street",
        "contact": "dpo@test.invalid", "type": "company",
    },
    "notice": {"id": "n", "version": "1", "language": "en", "sha256": "1" * 64},
    "purposes": ["film_vfx"],
    "roles": ["source_identity"],
    "media": ["image"],
    "audiences": ["internal"],
    "territories": ["DE"],
    "counterparties": {"mode": "any_consented", "pids": []},
    "assets": {"mode": "any", "sha256": [], "project": ""},
    "prohibited": [],
    "opted_in": [],
    "limits": {"max_uses": 1, "max_pixels": 1_000_000, "max_seconds": 60},
    "validity": {"not_before": NOW - DAY, "expires": NOW + DAY},
    "personal_data": [{"type": "pd:FacialPrint", "special": True, "required": True}],
    "storage": {"locations": ["Testville"], "retention": "P1Y"},
    "recipients": ["nobody else"],
    "rights": "all of them",
    "withdrawal": {"method": "facewarrant consent withdraw", "url": ""},
    "authority": "Testville authority",
    "dpia_ref": "",
    "compensation_ref": "",
    "binding": {
        "model": "idnet", "model_sha256": "2" * 64, "template_sha256": "3" * 64,
        "liveness": {
            "method": "video_challenge", "nonce_sha256": "4" * 64, "score_milli": 900,
            "at": NOW - DAY,
        },
    },
    "addenda": [],
    "signatures": [],
}  # fmt: skip


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
    """Events signed by both at the same moment; an expiry at the moment it is due."""
    events: list[ConsentEvent] = []
    for kind in kinds:
        at = NOW + DAY if kind == "expired" else NOW
        events.append(step(RECORD, events, kind, at=at))
    return events


def state(events: Sequence[ConsentEvent], *, now: int = NOW) -> ConsentState:
    return fold(RECORD, events, controllers=[CONTROLLER.public], now=now)


def refuse(events: Sequence[ConsentEvent], match: str, *, now: int = NOW) -> None:
    with pytest.raises(ConsentBroken, match=match) as caught:
        state(events, now=now)
    assert caught.value.code == "CONSENT-BROKEN"


def refuse_record(record: ConsentRecord, match: str = "sign|key") -> None:
    with pytest.raises(ConsentBroken, match=match) as caught:
        verify_record(record, controllers=[CONTROLLER.public], now=NOW)
    assert caught.value.code == "CONSENT-BROKEN"


def refuse_the_clock(act: Callable[[], object], match: str) -> None:
    """Nothing is wrong with the documents: the clock is behind them."""
    with pytest.raises(ClockRollback, match=match) as caught:
        act()
    assert caught.value.code == "CLOCK-ROLLBACK"
    assert "clock" in caught.value.mend


def test_records_and_events_round_trip() -> None:
    assert read_record(encode(RECORD)) == RECORD
    (event,) = chain("given")
    assert read_event(encode(event)) == event
    assert "signatures" not in body(RECORD) | body(event)
    verify_record(RECORD, controllers=[STRANGER.public, CONTROLLER.public], now=NOW)


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
    (("expired",), "expired"),
    (("given", "confirmed", "expired"), "expired"),
]


@pytest.mark.parametrize(("kinds", "status"), LIFE)
def test_the_life_of_a_consent(kinds: tuple[str, ...], status: str) -> None:
    events = chain(*kinds)
    late = state(events, now=NOW + DAY)
    assert late.status == (status if status in FINAL else "expired")
    if status == "expired":
        return
    found = state(events)
    assert found.status == status
    assert found.length == len(events)
    assert found.head == sha256_hex(encode(events[-1] if events else RECORD))
    assert state(events, now=NOW + DAY - 1).status == status


KINDS = get_args(EventKind)


@pytest.mark.parametrize(("kinds", "status"), LIFE)
@pytest.mark.parametrize("following", KINDS)
def test_what_may_follow(kinds: tuple[str, ...], status: str, following: str) -> None:
    """Every other step than these breaks the chain; after a final state nothing is possible."""
    events = chain(*kinds)
    late = NOW + DAY if "expired" in (*kinds, following) else NOW
    events.append(step(RECORD, events, following, at=late))
    allowed = {
        "requested": {"given", "withdrawn", "refused", "expired", "invalidated"},
        "given": {"confirmed", "withdrawn", "revoked", "refused", "expired", "invalidated"},
        "confirmed": {"withdrawn", "revoked", "expired", "invalidated"},
    }
    if following in allowed.get(status, set()):
        assert state(events, now=late).status == following
    else:
        refuse(events, f"says '{following}' after '{status}'", now=late)


NEEDED: dict[str, list[set[Signer]]] = {
    "given": [{"subject", "controller"}],
    "confirmed": [{"subject"}],
    "withdrawn": [{"subject"}, {"controller"}],
    "refused": [{"subject"}, {"controller"}],
    "revoked": [{"controller"}],
    "expired": [{"controller"}],
    "invalidated": [{"controller"}],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signers", [(), ("subject",), ("controller",), BOTH])
def test_who_has_to_sign(kind: str, signers: tuple[Signer, ...]) -> None:
    at = NOW + DAY if kind == "expired" else NOW
    events = chain("given") if kind in ("confirmed", "revoked") else []
    events.append(step(RECORD, events, kind, signers, at=at, reason="a reason"))
    if any(needed <= set(signers) for needed in NEEDED[kind]):
        assert state(events, now=at).status == kind
    else:
        refuse(events, "not signed by", now=at)


@pytest.mark.parametrize("kind", ["withdrawn", "refused", "revoked", "invalidated"])
def test_the_controller_alone_says_why(kind: str) -> None:
    """The lost-key route: somebody else's word must say how they knew the person."""
    events = chain("given")
    refuse([*events, step(RECORD, events, kind, ["controller"])], "without a reason")
    said = step(RECORD, events, kind, ["controller"], reason="lost key, known in person")
    assert state([*events, said]).status == kind
    assert state([*events, step(RECORD, events, kind, BOTH)]).status == kind


def test_nothing_expires_before_its_time() -> None:
    for early in (NOW, NOW + DAY - 1):
        event = step(RECORD, [], "expired", ["controller"], at=early)
        refuse([event], "before the record expires", now=NOW + 2 * DAY)
    event = step(RECORD, [], "expired", ["controller"], at=NOW + DAY)
    found = state([event], now=NOW + 2 * DAY)
    assert (found.status, found.since, found.length) == ("expired", NOW + DAY, 1)


def test_every_state_has_its_name_in_dpv() -> None:
    assert set(DPV_STATE) == {*get_args(Status), "unknown", "broken"}
    assert [state for state, name in DPV_STATE.items() if name == "ConsentGiven"] == ["confirmed"]


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
    refuse_the_clock(lambda: state([step(RECORD, [], "given", at=NOW + 1)]), "event 0 lies in")
    events = chain("given")
    events.append(step(RECORD, events, "confirmed", at=NOW - 1))
    refuse(events, "before its predecessor")


@pytest.mark.parametrize("kinds", [(), ("given",), ("given", "confirmed")])
def test_a_clock_that_is_behind_is_no_fault_of_the_consent(kinds: tuple[str, ...]) -> None:
    refuse_the_clock(lambda: state(chain(*kinds), now=NOW - 1), "lies in the future")
    given = chain("given")[0]
    forged = given.model_copy(update={"reason": "x"})
    refuse([forged], "does not verify", now=NOW - 1)  # an edited one is broken at any time


@pytest.mark.parametrize("kind", sorted(FINAL))
def test_an_end_is_an_end_whatever_the_clock_says(kind: str) -> None:
    events = chain("given")
    at = NOW + DAY if kind == "expired" else NOW + 5
    events.append(step(RECORD, events, kind, at=at))
    if kind == "expired":  # the one end that is the clock's own
        refuse_the_clock(lambda: state(events), "event 1 lies in the future")
    else:
        assert (state(events).status, state(events).since) == (kind, NOW + 5)
    assert newest_moment(RECORD, events) == at


@pytest.mark.parametrize("kind", sorted(ENDS_ANY_TIME))
def test_an_end_signed_on_a_device_that_is_late_counts(kind: str) -> None:
    events = chain("given")
    events.append(step(RECORD, events, kind, at=NOW - DAY))
    assert (state(events).status, state(events).since) == (kind, NOW)
    early = step(RECORD, [], "withdrawn", at=5)
    assert (state([early]).status, state([early]).since) == ("withdrawn", NOW)


def test_nothing_is_given_before_the_record_is_signed() -> None:
    refuse([step(RECORD, [], "given", at=NOW - 1)], "before its predecessor")
    refuse([step(RECORD, [], "given", at=NOW - 300)], "before its predecessor")


@pytest.mark.parametrize("signed_at", [5, NOW - 1, NOW + 1])
def test_an_event_is_signed_when_it_says(signed_at: int) -> None:
    event = step(RECORD, [], "given", ["subject"])
    refuse([sign(event, by="controller", key=CONTROLLER, at=signed_at)], "not signed when it says")


def test_a_step_that_may_not_follow_is_refused_and_breaks_nothing() -> None:
    events, keys = chain("given"), [CONTROLLER.public]
    late = step(RECORD, events, "confirmed", at=NOW + 601)
    with pytest.raises(StepRefused, match="confirms later") as caught:
        fold_next(RECORD, events, late, controllers=keys, now=NOW + 601)
    assert caught.value.code == "CONSENT-STEP-REFUSED"
    ahead = step(RECORD, events, "confirmed", at=NOW + 1)
    refuse_the_clock(
        lambda: fold_next(RECORD, events, ahead, controllers=keys, now=NOW), "event 1 lies in"
    )
    good = step(RECORD, events, "confirmed")
    assert fold_next(RECORD, events, good, controllers=keys, now=NOW).status == "confirmed"


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
        verify_record(RECORD, controllers=[], now=NOW)
    with pytest.raises(ConsentBroken, match="unknown key"):
        verify_record(RECORD, controllers=[STRANGER.public], now=NOW)


def test_nobody_signs_for_both() -> None:
    record = signed(
        read_record(canonical(FIELDS)), keys={"subject": SUBJECT, "controller": SUBJECT}
    )
    refuse_record(record, "unknown key")
    with pytest.raises(ConsentBroken, match="nobody consented"):
        verify_record(record, controllers=[SUBJECT.public], now=NOW)


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
        read_record(d), controllers=[CONTROLLER.public], now=NOW)),
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


def test_controllers_are_found_by_their_key_not_their_position() -> None:
    many: list[PublicKey] = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(1, 9)]
    verify_record(RECORD, controllers=[*many, CONTROLLER.public], now=NOW)


def opted(record_id: str = RECORD_ID, key: SigningKey = SUBJECT, **changes: Any) -> dict[str, Any]:
    """An opt-in to political content, with its signature block edited."""
    opt_in = sign_opt_in(record_id, "political", key=key, at=NOW).model_dump(mode="json")
    return opt_in | {"signed": opt_in["signed"] | changes}


def test_an_opt_in_is_signed_for_itself() -> None:
    record = make(opted_in=[opted()])
    verify_record(record, controllers=[CONTROLLER.public], now=NOW)
    assert record.opted_in_categories == ("political",)


@pytest.mark.parametrize(
    "opt_in",
    [
        opted(sig="0" * 128),
        opted(at=NOW - 1),
        opted(key=STRANGER),
        opted(key=STRANGER, kid=SUBJECT.public.kid),
        opted(by="controller"),
        opted(by="controller", kid=CONTROLLER.public.kid),
        opted(record_id="00000000-0000-7000-8000-000000000002"),
        opted() | {"category": "nudity"},
        opted(sig=parse(encode(RECORD))["signatures"][0]["sig"]),
    ],
    ids=["zeros", "time", "stranger", "stranger's", "role", "controller", "other record",
         "other category", "the record's"],
)  # fmt: skip
def test_an_opt_in_that_the_subject_did_not_sign_here(opt_in: dict[str, Any]) -> None:
    """Both sign the whole record; the opt-in still has to stand by itself."""
    refuse_record(make(opted_in=[opt_in]), "opt-in to")


@pytest.mark.parametrize(
    "other", [{"by": "controller"}, {"kid": STRANGER.public.kid}], ids=["role", "key id"]
)
def test_an_opt_in_that_the_subject_signed_as_somebody_else(other: dict[str, str]) -> None:
    claim = {"alg": "Ed25519", "at": NOW, "by": "subject", "kid": SUBJECT.public.kid} | other
    said = {"record_id": RECORD_ID, "category": "political", "signed": claim}
    block = claim | {"sig": SUBJECT.sign("consent-opt-in", said)}
    record = make(opted_in=[{"category": "political", "signed": block}])
    refuse_record(record, "not signed by the subject")


@pytest.mark.parametrize("category", ["minors_context", "anything", ""])
def test_what_nobody_opts_in_to(category: Any) -> None:
    with pytest.raises(Malformed) as caught:
        sign_opt_in(RECORD_ID, category, key=SUBJECT, at=NOW)
    assert caught.value.code == "MALFORMED"


RELEASE = {
    "form": "US-IL-RELEASE", "written_release_sha256": "5" * 64, "purpose_and_term": "a film",
    "signed_at": NOW + 1,
}  # fmt: skip
ORIGIN = {"form": "US-TX-ORIGIN", "origin": "provided_by_subject"}
SEPARATE = {"form": "CN-SEPARATE", "separate_consent_sha256": "6" * 64, "signed_at": NOW + 1}
LATER = {
    "the age check": {
        "subject": FIELDS["subject"]
        | {"age_assurance": FIELDS["subject"]["age_assurance"] | {"checked_at": NOW + 1}}
    },
    "the liveness check": {
        "binding": FIELDS["binding"] | {"liveness": FIELDS["binding"]["liveness"] | {"at": NOW + 1}}
    },
    "the addendum US-IL-RELEASE": {"addenda": [ORIGIN, RELEASE]},
    "the addendum CN-SEPARATE": {"addenda": [SEPARATE, ORIGIN]},
    "the opt-in to 'political'": {
        "opted_in": [
            sign_opt_in(RECORD_ID, "political", key=SUBJECT, at=NOW + 1).model_dump(mode="json")
        ]
    },
}


@pytest.mark.parametrize("what", LATER)
def test_what_the_record_says_has_happened_has_happened(what: str) -> None:
    record = make(**LATER[what])
    refuse_the_clock(
        lambda: verify_record(record, controllers=[CONTROLLER.public], now=NOW),
        f"{what} lies in the future",
    )
    verify_record(record, controllers=[CONTROLLER.public], now=NOW + 1)


@pytest.mark.parametrize("by", BOTH)
def test_a_signature_of_tomorrow(by: Signer) -> None:
    other = next(signer for signer in BOTH if signer != by)
    record = sign(read_record(canonical(FIELDS)), by=by, key=KEYS[by], at=NOW + 1)
    record = sign(record, by=other, key=KEYS[other], at=NOW)
    refuse_the_clock(
        lambda: verify_record(record, controllers=[CONTROLLER.public], now=NOW),
        f"the {by}'s signature lies in the future",
    )


def test_a_second_confirmation_or_one_replayed() -> None:
    events = chain("given", "confirmed")
    refuse([*events, events[1]], "does not follow")
    refuse([*events, step(RECORD, events, "confirmed")], "after 'confirmed'")
    other = make(record_id="00000000-0000-7000-8000-000000000009")
    given = step(other, [], "given")
    refuse([events[0], step(other, [given], "confirmed")], "does not follow")


def test_a_signature_list_has_an_end() -> None:
    fields = parse(encode(chain("given")[0]))
    fields["signatures"] *= 3
    with pytest.raises(Malformed, match="signatures"):
        read_event(canonical(fields))
