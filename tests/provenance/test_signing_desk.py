"""The service's side: it signs once, what it may, and writes down what it did not sign."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import Malformed
from policies.warrant import WarrantInvalid
from provenance.chains import ChainRefused
from provenance.errors import SigningFailed
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.signers import AlreadySigned, CallbackKey, LocalKey, as_cose
from provenance.signing_desk import MAX_ANSWER_BYTES, SigningDesk, read_answer
from provenance.signing_ledger import SigningLedger
from provenance.signing_request import SigningTrust, encode_request, make_request

CLAIM = b"\x84\x6aSignature1" + bytes(100)
TODAY = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def made() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=TODAY)


@pytest.fixture
def desk(office: Any, made: DevelopmentChain, tmp_path: Path) -> Iterator[SigningDesk]:
    trust = SigningTrust(
        issuer=office.desk_key.public,
        log_key=office.log_key.public,
        origin=office.log.origin,
        policies={office.house.sha256},
    )
    with SigningLedger(tmp_path / "ledger.db") as ledger:
        yield SigningDesk(LocalKey(made.leaf_key), made.chain, trust, ledger, office.clock)


@pytest.fixture
def request_for(office: Any, active_warrant: Callable[..., Any]) -> Callable[..., bytes]:
    """`request_for(claim)`: a request under a warrant of its own."""

    def make(claim: bytes = CLAIM) -> bytes:
        return encode_request(make_request(claim, active_warrant().document, log=office.log))

    return make


def lines(desk: SigningDesk) -> list[str]:
    return [line.code for line in desk.ledger.latest(10)]


def test_a_good_request_is_signed_and_written_down(
    desk: SigningDesk, request_for: Callable[..., bytes], office: Any
) -> None:
    signature = read_answer(desk.answer(request_for()))
    assert as_cose(signature, CLAIM, desk.key.public, "ES256") == signature
    (line,) = desk.ledger.latest(10)
    assert (line.code, line.claim_sha256, line.at) == ("SIGNED", sha256_hex(CLAIM), office.clock())


def test_one_signature_per_warrant(desk: SigningDesk, request_for: Callable[..., bytes]) -> None:
    request = request_for()
    desk.answer(request)
    with pytest.raises(AlreadySigned):
        desk.answer(request)
    assert sorted(lines(desk)) == ["ALREADY-SIGNED", "SIGNED"]
    desk.answer(request_for())


def test_a_refused_request_does_not_spend_the_warrant(
    desk: SigningDesk, request_for: Callable[..., bytes]
) -> None:
    request = request_for()
    strict = replace(desk, trust=replace(desk.trust, policies=()))
    with pytest.raises(WarrantInvalid):
        strict.answer(request)
    (line,) = desk.ledger.latest(10)
    assert line.code == "WARRANT-OTHER-POLICY"
    assert line.warrant_id == json.loads(request)["warrant"]["warrant_id"]
    desk.answer(request)


def test_what_is_no_request_is_written_down_without_a_warrant(desk: SigningDesk) -> None:
    with pytest.raises(Malformed):
        desk.answer(b"{}")
    (line,) = desk.ledger.latest(10)
    assert (line.code, line.warrant_id) == ("MALFORMED", "")


def test_a_chain_that_ended_signs_nothing(
    desk: SigningDesk, request_for: Callable[..., bytes], office: Any
) -> None:
    desk.check()
    old = make_development_chain(organisation="Test Studio", now=TODAY - timedelta(days=400))
    late = replace(desk, key=LocalKey(old.leaf_key), chain=old.chain)
    with pytest.raises(ChainRefused):
        late.answer(request_for())
    assert lines(desk) == ["CERTIFICATE-REFUSED"]


@pytest.mark.parametrize("answer", [b"", bytes(64)])
def test_a_key_that_fails_has_spent_the_warrant(
    desk: SigningDesk, request_for: Callable[..., bytes], answer: bytes
) -> None:
    broken = replace(desk, key=CallbackKey(desk.key.public, lambda _claim: answer))
    request = request_for()
    with pytest.raises(SigningFailed, match="does not verify"):
        broken.answer(request)
    with pytest.raises(AlreadySigned):
        desk.answer(request)
    assert sorted(lines(desk)) == ["ALREADY-SIGNED", "SIGNED", "SIGNING-FAILED"]


def test_nothing_is_signed_that_cannot_be_written_down(
    desk: SigningDesk, request_for: Callable[..., bytes]
) -> None:
    asked: list[bytes] = []
    watched = replace(desk, key=CallbackKey(desk.key.public, lambda c: asked.append(c) or b""))
    desk.ledger.close()
    with pytest.raises(Exception, match="the ledger refused"):
        watched.answer(request_for())
    assert asked == []


def test_the_key_is_not_in_the_repr(desk: SigningDesk) -> None:
    assert "key" not in repr(desk).partition("chain=")[0]


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": "facewarrant/signature/1"},
        {"schema": "facewarrant/signature/2", "signature": "AAAA"},
        {"schema": "facewarrant/signature/1", "signature": "!"},
        {"schema": "facewarrant/signature/1", "signature": "AAAA", "more": 1},
    ],
)
def test_what_is_no_answer_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read_answer(canonical(answer))


def test_an_answer_has_a_size() -> None:
    text = base64.b64encode(bytes(MAX_ANSWER_BYTES)).decode()
    with pytest.raises(Malformed):
        read_answer(canonical({"schema": "facewarrant/signature/1", "signature": text}))
