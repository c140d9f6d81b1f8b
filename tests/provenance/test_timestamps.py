"""Asking for time stamps: who is asked, how long, what is refused, and what a signature gets."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

import provenance.timestamps
from policies.errors import Malformed
from provenance.errors import SigningFailed
from provenance.pki import make_development_chain
from provenance.timestamps import (
    BUDGET_S,
    PAUSES_S,
    PatientStamper,
    Relay,
    RemoteAuthority,
    TsaUnavailable,
    serve_stamps,
)
from provenance.timetokens import (
    MAX_QUERY_BYTES,
    MAX_REPLY_BYTES,
    TimeStampRefused,
    make_query,
    verify_reply,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUERY = make_query(hashlib.sha256(b"a signature").digest(), nonce=7)
PKI = make_development_chain(organisation="Test Studio", now=NOW)
OTHER = make_development_chain(organisation="Someone Else", now=NOW)
LOCAL = PKI.authority(lambda: NOW)


@dataclass
class Timer:
    """Seconds that only grow, by `step` at every look and by what is slept."""

    step: float = 0.0
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Script:
    """An authority that answers by a script: an error to raise, or a stamper to ask."""

    answers: list[Any]
    asked: int = 0

    def stamp(self, query: bytes) -> bytes:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else answer.stamp(query)


def patient(*authorities: Any, timer: Timer | None = None) -> PatientStamper:
    timer = timer or Timer()
    return PatientStamper(authorities, (PKI.root,), lambda: NOW, timer, timer.sleep)


DOWN = TsaUnavailable("tsa.test does not answer")


def test_the_local_authority_gives_a_stamp_that_holds() -> None:
    verify_reply(LOCAL.stamp(QUERY), query=QUERY, authorities=(PKI.root,), now=NOW)
    assert LOCAL.stamp(QUERY) != LOCAL.stamp(QUERY)
    with pytest.raises(TimeStampRefused):
        LOCAL.stamp(b"no query")


def test_the_first_authority_that_answers_is_enough() -> None:
    first, second, timer = Script([LOCAL]), Script([LOCAL]), Timer()
    patient(first, second, timer=timer).stamp(QUERY)
    assert (first.asked, second.asked, timer.slept) == (1, 0, [])


def test_the_second_authority_is_asked_at_once() -> None:
    first, second, timer = Script([DOWN]), Script([LOCAL]), Timer()
    patient(first, second, timer=timer).stamp(QUERY)
    assert (first.asked, second.asked, timer.slept) == (1, 1, [])


def test_a_pause_and_the_same_again() -> None:
    only, timer = Script([DOWN, DOWN, LOCAL]), Timer()
    patient(only, timer=timer).stamp(QUERY)
    assert (only.asked, timer.slept) == (3, list(PAUSES_S))


def test_nobody_answers() -> None:
    first, second, timer = Script([DOWN]), Script([DOWN]), Timer()
    with pytest.raises(TsaUnavailable) as caught:
        patient(first, second, timer=timer).stamp(QUERY)
    assert caught.value.code == "TSA-UNAVAILABLE"
    assert (first.asked, second.asked) == (3, 3)
    assert "tsa.test does not answer" in caught.value.message
    assert "FACEWARRANT_TSA_URL" in caught.value.mend
    assert caught.value.__cause__ is DOWN


def test_nobody_to_ask() -> None:
    with pytest.raises(TsaUnavailable, match="no authority is set"):
        patient().stamp(QUERY)


def test_patience_ends_before_the_library_s() -> None:
    timer = Timer(step=BUDGET_S / 2)
    slow = Script([DOWN])
    with pytest.raises(TsaUnavailable):
        patient(slow, slow, slow, timer=timer).stamp(QUERY)
    assert slow.asked == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: OTHER.authority(lambda: NOW), "untrusted"),
        (lambda: PKI.authority(lambda: NOW + timedelta(hours=1)), "clock"),
        (lambda: LOCAL.stamp(make_query(bytes(32), nonce=7)), "digest"),
        (lambda: LOCAL.stamp(QUERY.replace(b"\x02\x01\x07", b"\x02\x01\x08")), "nonce"),
        (lambda: b"<html>", "malformed"),
    ],
)
def test_a_stamp_that_does_not_hold_is_no_stamp(wrong: Callable[[], Any], reason: str) -> None:
    bad = Script([wrong()])
    with pytest.raises(TsaUnavailable) as caught:
        patient(bad).stamp(QUERY)
    assert isinstance(caught.value.__cause__, TimeStampRefused)
    assert caught.value.__cause__.reason == reason
    patient(bad, Script([LOCAL])).stamp(QUERY)  # the next one is asked instead


def test_what_is_no_trouble_of_an_authority_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        patient(Script([ZeroDivisionError()])).stamp(QUERY)


# ------------------------------------------------------------------------------ over the network


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.test",
        "ftp://tsa.test",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user:secret@tsa.test/",
        "http://tsa.test:99999/",
        "http://tsa.test:0/",
        "http://[::1/",
        "http://tsa.test/\r\nX: y",
        "http://tsa.test/\x00",
        "http://tsä.test/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Malformed) as caught:
        RemoteAuthority(url, Timer())
    assert "FACEWARRANT_TSA_URL" in caught.value.mend
    assert "secret" not in caught.value.message


@dataclass
class Service:
    """A time-stamping service on loopback that answers as a test says."""

    url: str
    answer: Callable[[Any, bytes], None]
    requests: list[tuple[str, bytes, str]] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, body, self.headers["Content-Type"]))
            with contextlib.suppress(OSError):  # the client may have gone
                found.answer(self, body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Service(f"http://127.0.0.1:{server.server_address[1]}/stamp?q=1", reply_with())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def reply_with(
    body: Callable[[bytes], bytes] = LOCAL.stamp,
    *,
    status: int = 200,
    kind: str = "application/timestamp-reply",
    headers: dict[str, str] | None = None,
) -> Callable[[Any, bytes], None]:
    def answer(handler: Any, query: bytes) -> None:
        data = body(query)
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def test_a_remote_authority_is_asked_as_rfc_3161_says(service: Service) -> None:
    reply = RemoteAuthority(service.url, Timer()).stamp(QUERY)
    verify_reply(reply, query=QUERY, authorities=(PKI.root,), now=NOW)
    assert service.requests == [("/stamp?q=1", QUERY, "application/timestamp-query")]


def test_an_address_without_a_path_is_asked_at_its_root(service: Service) -> None:
    bare = service.url.removesuffix("/stamp?q=1")
    RemoteAuthority(bare, Timer()).stamp(QUERY)
    assert service.requests[0][0] == "/"


def test_a_parameter_of_the_media_type_is_nothing(service: Service) -> None:
    service.answer = reply_with(kind="Application/Timestamp-Reply; v=1")
    RemoteAuthority(service.url, Timer()).stamp(QUERY)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply_with(status=500), "answers 500"),
        (reply_with(kind="text/html"), "text/html"),
        (reply_with(status=204), "answers 204"),
        (reply_with(lambda _q: bytes(MAX_REPLY_BYTES + 1)), "more than a time stamp has"),
        (lambda handler, _q: handler.wfile.write(b"junk\r\n"), "BadStatusLine"),
        (lambda handler, _q: handler.connection.close(), "does not answer"),
    ],
)
def test_a_broken_answer_is_no_answer(service: Service, answer: Any, words: str) -> None:
    service.answer = answer
    with pytest.raises(TsaUnavailable) as caught:
        RemoteAuthority(service.url, Timer(), timeout_s=2.0).stamp(QUERY)
    assert caught.value.code == "TSA-UNAVAILABLE"
    assert words in caught.value.message or words.startswith("does not answer")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(service: Service, status: int) -> None:
    service.answer = reply_with(status=status, headers={"Location": service.url})
    with pytest.raises(TsaUnavailable, match=f"answers {status}"):
        RemoteAuthority(service.url, Timer()).stamp(QUERY)
    assert len(service.requests) == 1


def test_a_service_that_drips_is_left(service: Service) -> None:
    """Each step is in time, but the whole is not."""
    with pytest.raises(TsaUnavailable, match="too slow"):
        RemoteAuthority(service.url, Timer(step=6.0), timeout_s=5.0).stamp(QUERY)


def test_a_service_that_hangs_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TsaUnavailable, match="does not answer: TimeoutError"):
            RemoteAuthority(url, Timer(), timeout_s=0.05).stamp(QUERY)


def test_a_service_that_is_down_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TsaUnavailable, match="ConnectionRefusedError"):
        RemoteAuthority(f"http://127.0.0.1:{port}/", Timer()).stamp(QUERY)


def test_https_wants_a_certificate(service: Service) -> None:
    """A server that does not speak TLS, as one with a wrong certificate, is not asked anything."""
    url = service.url.replace("http://", "https://")
    with pytest.raises(TsaUnavailable, match="SSL"):
        RemoteAuthority(url, Timer(), timeout_s=2.0).stamp(QUERY)
    assert service.requests == []


# ------------------------------------------------------------------------------ for one signature


def ask(relay: Relay, body: bytes = QUERY, **changes: Any) -> tuple[int, bytes]:
    parts = urlsplit(relay.url)
    connection = HTTPConnection("127.0.0.1", parts.port or 0, timeout=5)
    try:
        connection.putrequest("POST", changes.get("path", parts.path))
        size = changes.get("size", str(len(body)))
        if size is not None:
            connection.putheader("Content-Length", size)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_relay_answers_by_the_stamper() -> None:
    with serve_stamps(LOCAL) as relay:
        assert relay.url.startswith("http://127.0.0.1:")
        status, reply = ask(relay)
    assert (status, relay.asked, relay.error) == (200, True, None)
    verify_reply(reply, query=QUERY, authorities=(PKI.root,), now=NOW)


def test_the_relay_is_gone_afterwards() -> None:
    with serve_stamps(LOCAL) as relay:
        pass
    with pytest.raises(ConnectionRefusedError):
        ask(relay)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/"},
        {"path": "/" + "0" * 32},
        {"size": None},
        {"size": "junk"},
        {"size": "-1"},
        {"size": "0", "body": b""},
        {"size": str(MAX_QUERY_BYTES + 1), "body": b""},
        {"size": "9" * 5000, "body": b""},
    ],
)
def test_the_relay_answers_nobody_else(changes: dict[str, Any]) -> None:
    asked = Script([LOCAL])
    with serve_stamps(asked) as relay:
        assert ask(relay, **changes)[0] == 404
        assert (relay.asked, asked.asked) == (False, 0)
        assert ask(relay)[0] == 200


@pytest.mark.parametrize("error", [DOWN, TimeStampRefused("nonce", "other"), ZeroDivisionError()])
def test_the_relay_keeps_what_went_wrong(error: Exception) -> None:
    with serve_stamps(Script([error])) as relay:
        assert ask(relay)[0] == 503
    assert relay.error is error


def test_a_client_that_goes_away_breaks_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_stamps(LOCAL) as relay:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", urlsplit(relay.url).port or 0)) as gone:
                gone.send(b"POST ")
        assert ask(relay)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_no_port_is_no_time_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no port")

    monkeypatch.setattr(provenance.timestamps, "_LoopbackServer", full)
    with pytest.raises(TsaUnavailable, match="loopback"), serve_stamps(LOCAL):
        pytest.fail("there is no server")


def test_every_refusal_is_a_failed_signing() -> None:
    for error in (DOWN, TimeStampRefused("nonce", "other")):
        assert isinstance(error, SigningFailed)
