"""A signer whose key is behind HTTP: what it sends, and what it believes of an answer."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from policies.canonical import canonical
from policies.errors import Malformed
from policies.keys import SigningKey
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.chains import ChainRefused
from provenance.errors import SigningFailed
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.post import Address
from provenance.remote_signer import (
    PATH,
    RemoteSigner,
    SignerRefused,
    SignerUnavailable,
    SigningService,
)
from provenance.signers import AlreadySigned, LocalKey
from provenance.signing_desk import SigningDesk
from provenance.signing_ledger import SigningLedger
from provenance.signing_request import SigningTrust

CLAIM = b"\x84\x6aSignature1" + bytes(100)
TODAY = datetime(2026, 11, 21, tzinfo=UTC)
TOKEN = "t" * 32


@dataclass
class Http:
    """A service on loopback that answers as a test says: status and body for a body."""

    port: int
    answer: Callable[[bytes], tuple[int, bytes]]
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def made() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=TODAY)


@pytest.fixture
def desk(office: Any, made: DevelopmentChain, tmp_path: Any) -> Iterator[SigningDesk]:
    trust = SigningTrust(
        issuer=office.desk_key.public,
        log_key=office.log_key.public,
        origin=office.log.origin,
        policies={office.house.sha256},
    )
    with SigningLedger(tmp_path / "ledger.db") as ledger:
        yield SigningDesk(LocalKey(made.leaf_key), made.chain, trust, ledger, office.clock)


@pytest.fixture
def http(desk: SigningDesk) -> Iterator[Http]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.asked.append((self.path, self.headers["Authorization"], body))
            status, data = found.answer(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Http(server.server_address[1], lambda body: (200, desk.answer(body)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def service_on(port: int) -> SigningService:
    url = f"http://127.0.0.1:{port}{PATH}"
    return SigningService(Address(url, lambda: 0.0, ssl.create_default_context(), 2.0), TOKEN)


@pytest.fixture
def signer(office: Any, made: DevelopmentChain, http: Http) -> RemoteSigner:
    return RemoteSigner(
        service=service_on(http.port),
        chain=made.chain,
        issuer=office.desk_key.public,
        log=office.log,
        clock=lambda: TODAY,
    )


def test_a_claim_is_signed_by_the_service(
    signer: RemoteSigner,
    made: DevelopmentChain,
    http: Http,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    assert (signer.alg, signer.chain_pem) == ("ES256", made.chain.pem)
    assert len(signer.sign(CLAIM, warrant=active_warrant())) == 64
    ((path, authorization, body),) = http.asked
    assert (path, authorization) == ("/sign", f"Bearer {TOKEN}")
    assert json.loads(body)["schema"] == "facewarrant/signing-request/1"


def test_one_signature_per_warrant_here_and_there(
    signer: RemoteSigner,
    office: Any,
    made: DevelopmentChain,
    http: Http,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    warrant = active_warrant()
    signer.sign(CLAIM, warrant=warrant)
    with pytest.raises(AlreadySigned):
        signer.sign(CLAIM, warrant=warrant)
    assert len(http.asked) == 1
    another = RemoteSigner(
        service=service_on(http.port),
        chain=made.chain,
        issuer=office.desk_key.public,
        log=office.log,
        clock=lambda: TODAY,
    )
    http.answer = refusing(409, "ALREADY-SIGNED", "a claim was already signed for this warrant")
    with pytest.raises(SignerRefused, match="ALREADY-SIGNED"):
        another.sign(CLAIM, warrant=warrant)


@pytest.mark.parametrize("impostor", [None, "warrant", object(), 1])
def test_nothing_is_asked_without_a_warrant(
    signer: RemoteSigner, http: Http, impostor: Any
) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        signer.sign(CLAIM, warrant=impostor)
    assert caught.value.code == "WARRANT-REQUIRED"
    assert http.asked == []


def test_nothing_is_asked_with_a_warrant_that_ended_or_is_of_another_desk(
    signer: RemoteSigner,
    office: Any,
    made: DevelopmentChain,
    http: Http,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    warrant, ended = active_warrant(), active_warrant()
    office.desk.abort(ended.document, "test")
    stranger = RemoteSigner(
        service=service_on(http.port),
        chain=made.chain,
        issuer=SigningKey.from_seed(b"s" * 32).public,
        log=office.log,
        clock=lambda: TODAY,
    )
    for refusing_signer, given, code in (
        (signer, ended, "WARRANT-SPENT"),
        (stranger, warrant, "WARRANT-FORGED"),
    ):
        with pytest.raises(WarrantInvalid) as caught:
            refusing_signer.sign(CLAIM, warrant=given)
        assert caught.value.code == code
    with pytest.raises(SigningFailed, match="no COSE"):
        signer.sign(b"anything", warrant=warrant)
    assert http.asked == []


def refusing(status: int, code: str, message: str) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda _body: (
        status,
        json.dumps({"code": code, "message": message, "mend": "do so"}).encode(),
    )


@pytest.mark.parametrize("status", [301, 400, 401, 403, 500])
def test_a_refusal_is_told_with_its_mend(
    signer: RemoteSigner,
    http: Http,
    status: int,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    http.answer = refusing(status, "WARRANT-OTHER-POLICY", "nobody approved it")
    with pytest.raises(SignerRefused, match="WARRANT-OTHER-POLICY: nobody approved") as caught:
        signer.sign(CLAIM, warrant=active_warrant())
    assert (caught.value.code, caught.value.mend) == ("SIGNER-REFUSED", "do so")
    assert len(http.asked) == 1, "no second try"


def answered(signature: bytes) -> bytes:
    text = base64.b64encode(signature).decode()
    return canonical({"schema": "facewarrant/signature/1", "signature": text})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"junk"),
        (200, bytes(5000)),
        (204, b""),
        (403, b"{}"),
        (404, b'{"detail":"Not Found"}'),
        (500, b'{"code":"lower","message":"","mend":""}'),
        (500, b"<html>"),
    ],
)
def test_what_is_no_answer_is_a_service_that_is_not_there(
    signer: RemoteSigner,
    http: Http,
    status: int,
    body: bytes,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    http.answer = lambda _body: (status, body)
    with pytest.raises(SignerUnavailable) as caught:
        signer.sign(CLAIM, warrant=active_warrant())
    assert caught.value.code == "SIGNER-UNAVAILABLE"
    assert caught.value.mend
    assert TOKEN not in caught.value.diagnostics()


@pytest.mark.parametrize("signature", [b"", b"junk", bytes(64), b"\xff" * 64])
def test_a_signature_that_does_not_verify_is_worth_nothing(
    signer: RemoteSigner,
    http: Http,
    signature: bytes,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    http.answer = lambda _body: (200, answered(signature))
    with pytest.raises(SigningFailed, match="does not verify"):
        signer.sign(CLAIM, warrant=active_warrant())


def test_a_signature_of_another_claim_is_worth_nothing(
    signer: RemoteSigner,
    made: DevelopmentChain,
    http: Http,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    other = LocalKey(made.leaf_key).sign(CLAIM + b"other")
    http.answer = lambda _body: (200, answered(other))
    with pytest.raises(SigningFailed, match="does not verify"):
        signer.sign(CLAIM, warrant=active_warrant())


def test_a_service_that_is_down_fails_closed(
    office: Any, made: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    signer = RemoteSigner(
        service=service_on(port),
        chain=made.chain,
        issuer=office.desk_key.public,
        log=office.log,
        clock=lambda: TODAY,
    )
    with pytest.raises(SignerUnavailable, match="ConnectionRefusedError"):
        signer.sign(CLAIM, warrant=active_warrant())


def test_a_chain_that_ended_asks_nothing(office: Any, made: DevelopmentChain) -> None:
    with pytest.raises(ChainRefused):
        RemoteSigner(
            service=service_on(1),
            chain=made.chain,
            issuer=office.desk_key.public,
            log=office.log,
            clock=lambda: datetime(2028, 1, 1, tzinfo=UTC),
        )


@pytest.mark.parametrize("token", ["", "short", "x" * 31, "x" * 513, "x" * 40 + "\n", "x " * 20])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    address = Address("https://signer.example", lambda: 0.0, ssl.create_default_context(), 1.0)
    with pytest.raises(Malformed):
        SigningService(address, token)
    assert TOKEN not in repr(SigningService(address, TOKEN))
