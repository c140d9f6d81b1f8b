"""One POST: which addresses are asked, and which answers are none."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policies.errors import Malformed
from provenance.post import Address, NoAnswer, is_loopback

CONTEXT = ssl.create_default_context()


@dataclass
class Service:
    """A service on loopback that answers as a test says."""

    url: str
    answer: Callable[[Any], None]
    requests: list[tuple[str, bytes, str]] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, body, self.headers["X-Test"]))
            with contextlib.suppress(OSError):  # the client may have gone
                found.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Service(f"http://127.0.0.1:{server.server_address[1]}/a/b", reply_with())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def reply_with(
    data: bytes = b"{}",
    *,
    status: int = 200,
    kind: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def post(
    url: str, *, timer: Callable[[], float] = lambda: 0.0, timeout_s: float = 2.0
) -> tuple[int, bytes]:
    return Address(url, timer, CONTEXT, timeout_s).post(
        b"question", headers={"X-Test": "yes"}, max_bytes=100, media_types=("application/json",)
    )


def test_the_question_arrives_and_the_answer_comes_back(service: Service) -> None:
    assert post(service.url) == (200, b"{}")
    assert post(service.url.removesuffix("/a/b")) == (200, b"{}")
    assert service.requests == [("/a/b", b"question", "yes"), ("/", b"question", "yes")]


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
def test_no_status_is_followed_or_hidden(service: Service, status: int) -> None:
    service.answer = reply_with(status=status, headers={"Location": service.url})
    assert post(service.url) == (status, b"{}")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply_with(kind="text/html"), "200 with 'text/html'"),
        (reply_with(bytes(101)), "more than 100 bytes"),
        (lambda handler: handler.wfile.write(b"junk\r\n"), "BadStatusLine"),
        (lambda handler: handler.connection.close(), "does not answer"),
    ],
    ids=["kind", "size", "junk", "gone"],
)
def test_a_broken_answer_is_none(service: Service, answer: Any, words: str) -> None:
    service.answer = answer
    with pytest.raises(NoAnswer, match=words) as caught:
        post(service.url)
    assert caught.value.code == "NO-ANSWER"


def test_the_largest_answer_is_read(service: Service) -> None:
    service.answer = reply_with(bytes(100), kind="Application/JSON; charset=utf-8")
    assert post(service.url) == (200, bytes(100))


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64])
def test_a_name_that_no_resolver_takes_is_told(host: str) -> None:
    with pytest.raises(NoAnswer, match="UnicodeError"):
        post(f"https://{host}/")


def test_a_service_that_hangs_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(NoAnswer, match="TimeoutError"):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.05)


def test_a_service_that_is_down_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswer, match="ConnectionRefusedError"):
        post(f"http://127.0.0.1:{port}")


def test_https_asks_nothing_without_a_certificate(service: Service) -> None:
    with pytest.raises(NoAnswer, match="SSL"):
        post(service.url.replace("http://", "https://"))
    assert service.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/",
        "http://localhost/",  # a name is what a resolver says it is
        "http://127.0.0.1.example/",
        "http://[::1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:x/",
        "https:///path",
        "https://user@host/",
        "https://user:pass@127.0.0.1/",
        "https://host/?q=1",
        "https://host/#part",
        "https://host/a b",
        "https://host/\n",
        "https://h\xf6st/",
        "ftp://127.0.0.1/",
        "127.0.0.1",
        "",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(Malformed) as caught:
        post(url)
    assert "pass" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.0.2.1", False),
        ("localhost", False),
    ],
)
def test_which_addresses_are_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize("url", ["https://signer.example", "https://h:8443/x", "http://[::1]:1"])
def test_an_address_knows_its_host(url: str) -> None:
    host = Address(url, lambda: 0.0, CONTEXT, 1.0).host
    assert host in ("signer.example", "h", "::1")


# ------------------------------------------------------------------------------ over TLS


def certificate_for(address: str, folder: Path) -> Path:
    """A self-signed certificate for an address, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{address}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.mark.parametrize(
    ("named", "believed", "answers"),
    [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("192.0.2.1", True, False)],
    ids=["known", "unknown authority", "another host"],
)
def test_tls_wants_this_host_by_an_authority_that_is_believed(
    tmp_path: Path, named: str, believed: bool, answers: bool
) -> None:
    path = certificate_for(named, tmp_path)
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            reply_with()(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A handshake that the client breaks off is what the test is about."""

    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(path)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = own.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    context = ssl.create_default_context(cafile=path if believed else None)
    address = Address(f"https://127.0.0.1:{server.server_address[1]}", lambda: 0.0, context, 5.0)
    try:
        given: dict[str, Any] = {"max_bytes": 100, "media_types": ("application/json",)}
        if answers:
            assert address.post(b"question", headers={}, **given) == (200, b"{}")
        else:
            with pytest.raises(NoAnswer, match="SSLCertVerificationError"):
                address.post(b"question", headers={}, **given)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ([b"question"] if answers else []), "nothing is sent before it is verified"
