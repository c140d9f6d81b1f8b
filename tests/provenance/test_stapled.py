"""A stapled answer counts for the signer's certificate, from the signer's CA, in its time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.claim_signature import ClaimSignature
from provenance.stapled import DEFAULT_LIFE, Staple, judge_answers

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def judge(authority: Any, *answers: bytes, **changes: Any) -> Staple | None:
    fields: dict[str, Any] = {"roots": (), "stamped": None, "now": authority.now} | changes
    signature = ClaimSignature(fields.pop("chain", authority.chain.certificates), answers)
    return judge_answers(signature, **fields)


def state(authority: Any, *answers: bytes, **changes: Any) -> str:
    found = judge(authority, *answers, **changes)
    assert found is not None
    assert found.words
    return found.state


def test_no_answer_is_none(authority: Any) -> None:
    assert judge(authority) is None


def test_answer_in_its_time_is_good(authority: Any) -> None:
    answer = authority.answer(until=authority.now)
    assert state(authority, answer) == "good"
    assert state(authority, answer, now=authority.now + timedelta(seconds=1)) == "stale"
    # Made after the signing, and still good: then it was good before.
    assert state(authority, answer, stamped=authority.now - 9 * DAY) == "good"


def test_stamp_is_what_an_answer_is_held_against(authority: Any) -> None:
    answer = authority.answer(until=authority.now)
    later = authority.now + 90 * DAY
    assert state(authority, answer, stamped=authority.now, now=later) == "good"
    found = judge(authority, answer, stamped=authority.now + HOUR, now=later)
    assert found is not None
    assert (found.state, "out of date when it was signed" in found.words) == ("stale", True)
    bare = judge(authority, answer, now=later)
    assert bare is not None
    assert "no trusted time stamp says when" in bare.words


def test_answer_without_an_end_counts_for_a_day(authority: Any) -> None:
    made = authority.now - DEFAULT_LIFE
    assert state(authority, authority.answer(made=made)) == "good"
    assert state(authority, authority.answer(made=made - timedelta(seconds=1))) == "stale"


def test_revoked_signer(authority: Any) -> None:
    when = authority.now - DAY
    answer = authority.answer(revoked=when)
    assert state(authority, answer) == "revoked"
    assert state(authority, answer, stamped=when) == "revoked"
    assert state(authority, answer, stamped=when - timedelta(seconds=1)) == "revoked since"


def test_unknown_signer(authority: Any) -> None:
    assert state(authority, authority.answer(status=ocsp.OCSPCertStatus.UNKNOWN)) == "unknown"


def test_answer_from_nobody_does_not_count(authority: Any, impostor: Any) -> None:
    forged = authority.answer(signer=(impostor.root, impostor.key))
    assert state(authority, forged) == "void"
    assert state(authority, forged, roots=(impostor.root,)) == "void"
    # An impostor of the CA's name can revoke nobody either.
    assert state(authority, impostor.answer(authority.leaf, revoked=authority.now)) == "void"


def test_answer_about_another_certificate_does_not_count(authority: Any, impostor: Any) -> None:
    other = authority.issue("Other")
    assert state(authority, authority.answer(other)) == "void"
    chain = (authority.leaf, impostor.root)
    assert state(authority, authority.answer(), chain=chain) == "void"
    assert state(authority, authority.answer(), chain=chain, roots=(authority.root,)) == "good"


def test_responder_of_the_ca_may_answer(authority: Any, impostor: Any) -> None:
    signer = authority.responder()
    assert state(authority, authority.answer(signer=signer, brings=[signer[0]])) == "good"
    assert state(authority, authority.answer(signer=signer)) == "void", "it is not brought"
    stranger = impostor.responder()
    answer = authority.answer(signer=stranger, brings=[stranger[0]])
    assert state(authority, answer) == "void"


def test_responder_needs_the_task_and_its_time(authority: Any) -> None:
    for fields in ({"extensions": []}, {"life": (-9 * DAY, -DAY)}, {"life": (DAY, 9 * DAY)}):
        signer = authority.responder(**fields)
        assert state(authority, authority.answer(signer=signer, brings=[signer[0]])) == "void"
    # The signer's own leaf is of the CA, and has no such task.
    own = authority.answer(signer=(authority.leaf, authority.leaf_key), brings=[authority.leaf])
    assert state(authority, own) == "void"


@pytest.mark.parametrize(
    ("make", "bare"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), False),
        (ed25519.Ed25519PrivateKey.generate, True),
        (lambda: ec.generate_private_key(ec.SECP384R1()), False),
    ],
    ids=["RSA", "Ed25519", "P-384"],
)
def test_responder_may_have_any_key(authority: Any, make: Any, bare: bool) -> None:
    signer = (authority.responder()[0], key := make())
    usage = [each.value for each in signer[0].extensions]
    certificate = authority.issue("Responder", key=key, extensions=usage)
    digest = False if bare else None
    good = authority.answer(signer=(certificate, key), brings=[certificate], digest=digest)
    assert state(authority, good) == "good"
    other = authority.issue("Responder", key=make(), extensions=usage)
    assert (
        state(authority, authority.answer(signer=(certificate, key), brings=[other], digest=digest))
        == "void"
    )


def test_key_of_another_kind_than_the_signature_is_void(authority: Any) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    elliptic, _key = authority.responder()
    usage = [each.value for each in elliptic.extensions]
    signer = authority.issue("Responder", key=key, extensions=usage)
    answer = authority.answer(signer=(signer, key), brings=[elliptic], digest=False)
    assert state(authority, answer) == "void", "no digest, and an elliptic key"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x30\x00",
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
            Encoding.DER
        ),
    ],
    ids=["empty", "sequence", "try later"],
)
def test_what_is_no_answer_is_void(authority: Any, answer: bytes) -> None:
    assert state(authority, answer) == "void"


def test_heaviest_answer_counts(authority: Any, impostor: Any) -> None:
    good, stale = authority.answer(), authority.answer(made=authority.now - 9 * DAY)
    void = impostor.answer()
    revoked = authority.answer(revoked=authority.now - DAY)
    assert state(authority, stale, good, void) == "good"
    assert state(authority, void, stale) == "stale"
    assert state(authority, good, revoked) == "revoked"


@settings(derandomize=True, max_examples=150)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_changed_answer_is_never_good(authority: Any, good: bytes, at: int, bit: int) -> None:
    changed = bytearray(good)
    changed[at % len(good)] ^= 1 << bit
    if state(authority, bytes(changed)) != "void":
        # The outermost layers are not signed, nor how many bits of the signature's last byte count
        # (X.690, 8.6.2.2): a change there is seen, or what the CA signed is the same to the byte.
        said, signed = (ocsp.load_der_ocsp_response(der) for der in (bytes(changed), good))
        assert said.tbs_response_bytes == signed.tbs_response_bytes


@pytest.fixture(scope="module")
def good(authority: Any) -> bytes:
    made: bytes = authority.answer()
    return made
