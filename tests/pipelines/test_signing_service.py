"""The signing service: over HTTP with a real server, and every answer that is a refusal."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import uvicorn
from starlette.testclient import TestClient

import pipelines.signing_service as module
from pipelines.deployment import open_deployment, open_records, system_clock
from pipelines.keyfiles import KeyFileRefused
from pipelines.one import run_one, spec_of
from pipelines.settings import Settings, read_settings
from pipelines.signing_service import BriefProtocol, make_signing_app, open_desk, serve
from policies.errors import BadSignature, Malformed, StoreUnavailable
from provenance.chains import ChainRefused
from provenance.remote_signer import PATH
from provenance.signers import CallbackKey, KeyRefused
from provenance.signing_desk import SigningDesk
from provenance.signing_request import MAX_REQUEST_BYTES, encode_request, make_request

DEMO = Path(__file__).parents[2] / "docs" / "demo"
CLAIM = b"\x84\x6aSignature1" + bytes(100)
TOKEN = "t" * 40
ADMIT = {"Authorization": f"Bearer {TOKEN}"}

Cli = Callable[..., Any]


def settle(press: Path, service: Path, cli: Cli) -> Settings:
    """Move the key of a home into the home of a service of its own."""
    assert cli("signer", "export", service / "signer").code == 0
    (service / "pki").mkdir()
    shutil.copy(press / "pki" / "chain.pem", service / "pki")
    shutil.move(press / "pki" / "key.pem", service / "pki")
    service.chmod(0o700)
    return read_settings(home=service)


@pytest.fixture
def service(empty_home: Path, tmp_path: Path, cli: Cli) -> Settings:
    return settle(empty_home, tmp_path / "service", cli)


@pytest.fixture
def desk(service: Settings) -> Iterator[SigningDesk]:
    with open_desk(service, clock=system_clock) as desk:
        yield desk


@pytest.fixture
def client(desk: SigningDesk) -> Iterator[TestClient]:
    app = make_signing_app(desk, token=TOKEN)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def refused(answer: Any, status: int, code: str) -> Any:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"code", "message", "mend"}
    assert body["code"] == code
    return body


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The application behind a real server on a loopback port of its own."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", access_log=False, http=BriefProtocol
    )
    server = uvicorn.Server(config)
    up = threading.Event()

    async def startup(sockets: Any = None) -> None:
        await uvicorn.Server.startup(server, sockets)
        up.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert up.wait(30)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_release_is_signed_by_a_service_of_its_own(home: Any, tmp_path: Path, cli: Cli) -> None:
    settings = settle(home.path, tmp_path / "service", cli)
    token = (home.path / "signer" / "token").read_text().strip()
    spec = spec_of(
        [(home.source, "source_identity"), (home.target, "target_body")],
        request_id="far",
        operator="test",
        source=str(DEMO / "persona1_0.webp"),
        target=str(DEMO / "persona2_0.webp"),
        purpose="personal",
        audience="internal",
        territories=["DE"],
    )
    out = tmp_path / "out.webp"
    with open_desk(settings, clock=system_clock) as desk:
        with listening(make_signing_app(desk, token=token)) as url:
            chosen = read_settings(home=home.path, signer=url, threads=1)
            with open_deployment(chosen) as at:
                outcome = run_one(spec, out=out, at=at, observe=lambda *_: None)
        (line,) = desk.ledger.latest(5)
    assert (outcome.status, line.code) == ("released", "SIGNED")
    assert not (home.path / "pki" / "key.pem").exists()
    assert cli("verify", out).code == 0


def test_without_its_service_nothing_is_released(
    home: Any, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(home.path, tmp_path / "service", cli)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("FACEWARRANT_SIGNER", f"http://127.0.0.1:{port}")
    out = tmp_path / "out.webp"
    ended = cli(*home.run_words(out))
    assert (ended.code, out.exists()) == (4, False)
    assert "SIGNER-UNAVAILABLE" in ended.out + ended.err
    with open_records(home.settings) as at:
        assert at.archive.log.entries()[-1]["kind"] == "abort"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff"},
    ],
    ids=["none", "empty", "longer", "shorter", "basic", "latin"],
)
def test_a_call_without_the_token_is_not_looked_at(
    client: TestClient, desk: SigningDesk, headers: dict[str, str]
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.post(PATH, content=b"{}", headers=encoded)
    assert TOKEN not in refused(answer, 401, "UNAUTHORISED")["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert desk.ledger.latest(1) == [], "a stranger fills no disk"


def test_what_is_no_request_is_refused_and_written_down(
    client: TestClient, desk: SigningDesk
) -> None:
    refused(client.post(PATH, content=b"{}", headers=ADMIT), 400, "MALFORMED")
    assert [line.code for line in desk.ledger.latest(5)] == ["MALFORMED"]


def test_a_body_has_a_size(client: TestClient) -> None:
    body = b" " * (MAX_REQUEST_BYTES + 1)
    refused(client.post(PATH, content=body, headers=ADMIT), 413, "TOO-LONG")


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/"), ("GET", "/docs")])
def test_there_is_one_door(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers=ADMIT)
    refused(answer, 405 if path == PATH else 404, "NOT-FOUND")


@pytest.fixture
def good(office: Any, active_warrant: Callable[..., Any], desk: SigningDesk) -> Any:
    """An application that believes the office of the tests, and a request it signs."""
    trust = module.SigningTrust(
        issuer=office.desk_key.public,
        log_key=office.log_key.public,
        origin=office.log.origin,
        policies={office.house.sha256},
    )
    office.clock.now = system_clock()

    def change(**changes: Any) -> TestClient:
        parts = {"trust": trust, "clock": office.clock} | changes
        known = SigningDesk(**{name: getattr(desk, name) for name in SigningDesk.__slots__} | parts)
        return TestClient(make_signing_app(known, token=TOKEN), raise_server_exceptions=False)

    request = make_request(CLAIM, active_warrant().document, log=office.log)
    return change, encode_request(request), trust


def test_a_good_request_is_signed_once(good: Any) -> None:
    change, request, _ = good
    answer = change().post(PATH, content=request, headers=ADMIT)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json().keys() == {"schema", "signature"}
    refused(change().post(PATH, content=request, headers=ADMIT), 409, "ALREADY-SIGNED")


def test_refusals_have_the_status_of_their_kind(good: Any, office: Any) -> None:
    change, request, trust = good
    other = module.SigningTrust(
        trust.issuer, office.controller.public, trust.origin, trust.policies
    )
    strict = module.SigningTrust(trust.issuer, trust.log_key, trust.origin, ())
    document = json.loads(request)
    document["issued"]["path"] = document["issued"]["path"][:-1]
    cut = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    for parts, body, code in (
        ({"trust": strict}, request, "WARRANT-OTHER-POLICY"),
        ({"trust": other}, request, "BAD-SIGNATURE"),
        ({}, cut, "PROOF-INVALID"),
    ):
        refused(change(**parts).post(PATH, content=body, headers=ADMIT), 403, code)


def test_a_failing_key_or_ledger_shows_nothing_of_this_machine(
    good: Any, desk: SigningDesk, service: Settings
) -> None:
    change, request, _ = good

    def fail(_claim: bytes) -> bytes:
        raise ConnectionError("pin=998877")

    key = CallbackKey(desk.key.public, fail)
    answer = change(key=key).post(PATH, content=request, headers=ADMIT)
    assert "998877" not in refused(answer, 500, "SIGNING-FAILED")["message"]

    class Broken:
        def answer(self, _data: bytes) -> bytes:
            raise RuntimeError("key=998877")

        def __getattr__(self, _name: str) -> Any:
            return self

    with TestClient(
        make_signing_app(Broken(), token=TOKEN),  # type: ignore[arg-type]
        raise_server_exceptions=False,
    ) as client:
        answer = client.post(PATH, content=b"{}", headers=ADMIT)
        assert refused(answer, 500, "ERROR")["message"] == "the service failed"
    desk.ledger.close()
    answer = change().post(PATH, content=request, headers=ADMIT)
    assert str(service.home) not in answer.text
    assert refused(answer, 500, "STORE-UNAVAILABLE")["message"] == "the service failed"


def test_a_home_that_is_not_set_up_or_open_to_others_is_refused(service: Settings) -> None:
    service.home.chmod(0o755)
    with pytest.raises(KeyFileRefused, match="others can open"), _opened(service):
        pass
    service.home.chmod(0o700)
    shutil.rmtree(service.home / "signer")
    with pytest.raises(KeyFileRefused, match="is not there"), _opened(service):
        pass


def _opened(settings: Settings) -> Any:
    return open_desk(settings, clock=system_clock)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("policies", "", Malformed),
        ("policies", "abc", Malformed),
        ("policies", "G" * 64, Malformed),
        ("desk.pub", "abc", BadSignature),
        ("desk.pub", "00" * 32, BadSignature),
        ("log.pub", "ab" * 32, Malformed),
        ("ledger.db", "no database" * 99, StoreUnavailable),
    ],
)
def test_what_it_is_to_believe_must_be_written_well(
    service: Settings, name: str, text: str, error: type[Exception]
) -> None:
    path = service.home / "signer" / name
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(error), _opened(service):
        pass


def test_a_desk_without_its_key_or_in_another_time_does_not_open(service: Settings) -> None:
    with pytest.raises(ChainRefused):
        with open_desk(service, clock=lambda: system_clock() + 400 * 86_400):
            pass
    (service.home / "pki" / "key.pem").unlink()
    with pytest.raises(KeyRefused), _opened(service):
        pass


def test_the_desk_believes_the_deployment_it_was_exported_from(
    desk: SigningDesk, empty_home: Path
) -> None:
    with open_records(read_settings(home=empty_home)) as at:
        assert desk.trust.issuer == at.desk.key.public
        assert (desk.trust.origin, desk.trust.log_key) == (
            *(at.archive.log.origin, at.archive.log.public),
        )
        assert desk.trust.policies == {at.desk.house.sha256}


@pytest.mark.parametrize(
    ("host", "certificate", "key"),
    [
        ("0.0.0.0", None, None),  # noqa: S104
        ("192.0.2.1", None, None),
        ("signer.example", None, None),
        ("127.0.0.1", "cert.pem", None),
        ("127.0.0.1", None, "key.pem"),
    ],
)
def test_beyond_this_machine_it_speaks_tls_alone(
    monkeypatch: pytest.MonkeyPatch, host: str, certificate: str | None, key: str | None
) -> None:
    monkeypatch.setattr(uvicorn, "run", pytest.fail)
    files = {"certificate": Path(certificate) if certificate else None}
    with pytest.raises(Malformed, match="TLS"):
        serve(None, host=host, port=1, key=Path(key) if key else None, **files)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "file"), [("127.0.0.1", None), ("::1", None), ("192.0.2.1", Path("x.pem"))]
)
def test_it_listens_and_prints_no_calls(
    monkeypatch: pytest.MonkeyPatch, host: str, file: Path | None
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: given.update(options))
    serve(None, host=host, port=7, certificate=file, key=file)  # type: ignore[arg-type]
    assert (given["host"], given["port"], given["ssl_certfile"]) == (host, 7, file)
    assert (given["access_log"], given["proxy_headers"]) == (False, False)
    assert given["http"] is BriefProtocol
    assert "limit_concurrency" not in given, "it counts strangers who send nothing"


# ------------------------------------------------------------------------------ strangers


def gone(connection: socket.socket) -> bool:
    """Wait until the service has ended a connection; raise TimeoutError if it does not."""
    connection.settimeout(30)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def asked(url: str) -> int:
    request = Request(f"{url}{PATH}", b"{}", ADMIT, method="POST")  # noqa: S310 - of this test
    with pytest.raises(HTTPError) as caught, urlopen(request, timeout=30):  # noqa: S310
        pass
    with caught.value as answer:
        return answer.code


HEAD = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        HEAD + b"Authorization: Bearer " + TOKEN.encode() + b"\r\nContent-Length: 9\r\n\r\n{",
        HEAD + b"Content-Length: 0\r\n\r\n",
    ],
    ids=["nothing", "half the headers", "half the body", "a call and no more"],
)
def test_a_connection_does_not_last(
    desk: SigningDesk, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.05)
    with listening(make_signing_app(desk, token=TOKEN)) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as stranger:
            stranger.sendall(sent)
            stranger.settimeout(30)
            with contextlib.suppress(ConnectionError):
                while stranger.recv(65_536):
                    pass
    assert desk.ledger.latest(1) == []


def test_strangers_who_send_nothing_shut_nobody_out(
    desk: SigningDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger fills what is for their own address, and no more."""
    monkeypatch.setattr(module, "MAX_PER_ADDRESS", 40)
    with listening(make_signing_app(desk, token=TOKEN)) as url, ExitStack() as closing:
        port = urlsplit(url).port or 0

        def connect() -> socket.socket:
            place = (("127.0.0.1", port), 30, ("127.0.0.2", 0))
            return closing.enter_context(socket.create_connection(*place))

        held = [connect() for _ in range(module.MAX_PER_ADDRESS)]
        assert gone(connect())
        assert asked(url) == 400, "the deployment is answered"
        held[0].close()
        for one in held[1:]:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
