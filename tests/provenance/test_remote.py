"""Manifests on a server: fetched from allowed hosts alone, and nothing else ever leaves."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.embedding import MAX_STORE_BYTES
from provenance.media import decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.remote import RemoteManifests, RemoteRefused, fetch_store
from provenance.second_engine import open_second_engine
from provenance.signers import LocalKey, as_cose
from provenance.verify import Verifier

HOST = "manifests.test"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


class Timer:
    """Seconds that grow by a fixed step at every look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(scope="module")
def pki() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=datetime.now(UTC))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server certificate for manifests.test that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(HOST), x509.IPAddress(ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("server") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


Answer = Callable[[Any], None]


def reply(
    body: bytes, *, status: int = 200, kind: str = "application/c2pa", length: int | None = None
) -> Answer:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class Server:
    """An https server on loopback that answers as a test says."""

    port: int
    context: ssl.SSLContext
    answer: Answer = field(default_factory=lambda: reply(b"store"))
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/kept/m.c2pa?v=1#part"

    def remote(self, **changes: Any) -> RemoteManifests:
        """A fetcher that is allowed to ask this server, wherever its name would lead."""
        fields: dict[str, Any] = {
            "hosts": (f"{HOST}:{self.port}",),
            "timer": Timer(),
            "timeout_s": 5.0,
            "resolve": lambda _host, _port: ("127.0.0.1",),
            "context": self.context,
        }
        return RemoteManifests(**(fields | changes))


class _TlsServer(HTTPServer):
    found: Server

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.found.connections += 1
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing: a client that went away is the test's to judge."""


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            self.request.settimeout(5)
            self.request = outer.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            self.request.close()

        def do_GET(self) -> None:
            found.requests.append((self.path, dict(self.headers)))
            with contextlib.suppress(OSError):  # the client may have gone
                found.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.load_cert_chain(certificate)
    server = _TlsServer(("127.0.0.1", 0), Handler)
    found = Server(server.server_address[1], ssl.create_default_context(cafile=certificate))
    server.found = found
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def kept_outside(pki: DevelopmentChain, url: str, frame: Any) -> tuple[bytes, bytes]:
    """A JPEG that names a manifest at `url`, and that manifest's store."""
    key = LocalKey(pki.leaf_key)

    def sign(claim: bytes) -> bytes:
        return as_cose(key.sign(claim), claim, key.public, "ES256")

    actions = {"action": "c2pa.created", "digitalSourceType": SOURCE}
    manifest = {
        "title": "kept outside",
        "format": "image/jpeg",
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"allActionsIncluded": True, "actions": [actions]},
            }
        ],
    }
    settings = {
        "builder": {"claim_generator_info": {"name": "A camera"}, "thumbnail": {"enabled": False}},
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1\n1.3.6.1.5.5.7.3.4\n"},
        "verify": {"verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, pki.chain.pem, None) as signer,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        builder.set_no_embed()
        builder.set_remote_url(url)
        source = io.BytesIO(encode(frame, "image/jpeg"))
        store = bytes(builder.sign(signer, "image/jpeg", source, out))
    return out.getvalue(), store


@pytest.fixture
def frame(demo_picture: Callable[[str], bytes]) -> Any:
    return decode(demo_picture("persona1_0")).frame[:160, :160]


# ------------------------------------------------------------------------------ in a verification


def test_nothing_connects_without_the_flag_or_to_another_host(
    server: Server, pki: DevelopmentChain, frame: Any
) -> None:
    data, store = kept_outside(pki, server.url, frame)
    server.answer = reply(store)
    silent = Verifier(pki.anchors).examine(data)
    elsewhere = server.remote(hosts=("other.test", HOST))  # the right name at another port
    refused = Verifier(pki.anchors, remote=elsewhere).examine(data)
    for examined in (silent, refused):
        assert getattr(examined.outcome, "code", "") == "UNMARKED"
        assert "nothing is fetched" in " ".join(line.words for line in examined.evidence)
    assert server.connections == 0
    first = refused.evidence[0]
    assert (first.subject, first.state) == ("signature", "absent")
    assert first.words == (
        f"the manifest is on {HOST}:{server.port}, which is no allowed host: nothing was fetched"
    )
    assert len(silent.evidence) == len(refused.evidence) - 1


def test_from_an_allowed_host_it_is_fetched_and_judged_as_usual(
    server: Server, pki: DevelopmentChain, frame: Any
) -> None:
    data, store = kept_outside(pki, server.url, frame)
    server.answer = reply(store)
    second = open_second_engine()
    verifier = Verifier(pki.anchors, remote=server.remote(), second=second)
    examined = verifier.examine(data)
    report = examined.result()
    assert (report.verdict, report.origin) == ("authentic", "other")
    assert examined.evidence[0].words.endswith(f"was fetched from {HOST}")
    by_second = [line for line in examined.evidence if line.subject == "second engine"]
    assert [line.state for line in by_second] == ["holds"]
    [(path, headers)] = server.requests
    assert path == "/kept/m.c2pa?v=1"
    assert headers["Host"] == f"{HOST}:{server.port}"
    assert set(headers) == {"Host", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize("what", ["another", "junk", "untrusted"])
def test_what_is_fetched_is_not_believed(
    what: str, server: Server, pki: DevelopmentChain, frame: Any
) -> None:
    data, store = kept_outside(pki, server.url, frame)
    _, another = kept_outside(pki, server.url, frame[::-1].copy())
    server.answer = reply({"another": another, "junk": b"junk", "untrusted": store}[what])
    anchors = TrustAnchors(()) if what == "untrusted" else pki.anchors
    examined = Verifier(anchors, remote=server.remote()).examine(data)
    codes = {"another": "TAMPERED", "junk": "UNREADABLE", "untrusted": "UNTRUSTED"}
    assert getattr(examined.outcome, "code", "") == codes[what]


def test_a_file_that_carries_its_manifest_asks_nobody(
    server: Server, pki: DevelopmentChain, frame: Any
) -> None:
    data, _ = kept_outside(pki, server.url, frame)
    reading = read_manifest(data, "image/jpeg", anchors=pki.anchors)
    assert fetch_store(replace(reading, verdict="trusted"), server.remote()) == (None, ())
    assert fetch_store(reading, None) == (None, ())
    assert server.connections == 0


def test_an_address_is_read_as_xml_writes_it(pki: DevelopmentChain, frame: Any) -> None:
    url = "https://manifests.test/m?a=1&b=2"
    data, _ = kept_outside(pki, url, frame)
    reading = read_manifest(data, "image/jpeg", anchors=pki.anchors)
    assert (reading.verdict, reading.remote_url) == ("remote_manifest_not_fetched", url)
    assert url not in repr(reading)


# ------------------------------------------------------------------------------ bad answers


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(b"", status=301), "answers 301"),
        (reply(b"", status=302), "answers 302"),
        (reply(b"", status=307), "answers 307"),
        (reply(b"", status=308), "answers 308"),
        (reply(b"", status=404), "answers 404"),
        (reply(b"x", kind="text/html"), "sends something else"),
        (reply(bytes(MAX_STORE_BYTES + 1)), f"more than {MAX_STORE_BYTES} bytes"),
        (reply(b"half", length=9), "ends early"),
        (lambda handler: handler.wfile.write(b"junk\r\n"), "BadStatusLine"),
        (lambda _handler: None, "RemoteDisconnected"),
    ],
)
def test_a_bad_answer_is_no_manifest(server: Server, answer: Answer, words: str) -> None:
    server.answer = answer
    with pytest.raises(RemoteRefused, match=words) as caught:
        server.remote().fetch(server.url)
    assert caught.value.code == "REMOTE-REFUSED"
    assert len(server.requests) == 1  # no redirect is followed, nothing asked twice


def test_the_largest_store_and_the_older_media_type_are_taken(server: Server) -> None:
    body = bytes(MAX_STORE_BYTES)
    server.answer = reply(body, kind="Application/X-C2PA-Manifest-Store; v=1")
    assert server.remote().fetch(server.url) == body


def test_proxies_of_the_environment_are_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert server.remote().fetch(server.url) == b"store"


@pytest.mark.parametrize("looks", range(1, 7))
def test_a_slow_host_is_left(server: Server, looks: int) -> None:
    """By the clock that was given, whichever step it is: connection, headers or body."""
    with pytest.raises(RemoteRefused, match="too slow"):
        server.remote(timer=Timer(step=1.0), timeout_s=0.6 + (looks - 1) * 0.5).fetch(server.url)


def test_a_host_that_hangs_is_left(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        remote = server.remote(hosts=(f"{HOST}:{port}",), timeout_s=0.05)
        with pytest.raises(RemoteRefused, match="TimeoutError"):
            remote.fetch(f"https://{HOST}:{port}/")


def test_a_host_that_is_down_is_told(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    remote = server.remote(hosts=(f"{HOST}:{port}",))
    with pytest.raises(RemoteRefused, match="ConnectionRefusedError"):
        remote.fetch(f"https://{HOST}:{port}/")


def test_a_certificate_must_be_right(server: Server) -> None:
    """Of a root that is believed, and for this very name."""
    with pytest.raises(RemoteRefused, match="SSLCertVerificationError"):
        server.remote(context=ssl.create_default_context()).fetch(server.url)
    other = f"other.test:{server.port}"
    with pytest.raises(RemoteRefused, match="SSLCertVerificationError"):
        server.remote(hosts=(other,)).fetch(f"https://{other}/")
    assert server.requests == []
