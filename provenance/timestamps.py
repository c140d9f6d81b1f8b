"""Time stamps while signing: the local authority, authorities on the network, and the way between.

A manifest without a time stamp dies with its certificate, so a release asks for one and waits:
every authority in turn, some rounds, then TSA-UNAVAILABLE. The C2PA library can only ask a web
address; so it asks a server of ours on the loopback interface, open for one signature, and what
comes back is judged before it reaches the manifest. Refused: an answer that `timetokens` refuses,
a redirect, an answer too slow or too large, and an address that is not plain http or https.
"""

from __future__ import annotations

import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from policies.errors import Malformed
from provenance.errors import SigningFailed
from provenance.pacing import TooSlow, connected, until
from provenance.timetokens import (
    MAX_QUERY_BYTES,
    MAX_REPLY_BYTES,
    TimeStampRefused,
    answer_query,
    verify_reply,
)

TIMEOUT_S = 5.0
"""How long one authority may take for one answer; a healthy one takes a tenth of a second."""

PAUSES_S = (1.0, 3.0)
"""Pauses between the rounds over all authorities: three rounds in all."""

BUDGET_S = 24.0
"""No new question after this: the C2PA library gives up after 30 s (measured, c2pa-rs 0.91)."""

_TYPE = "application/timestamp-reply"  # RFC 3161, 3.4


class TsaUnavailable(SigningFailed):
    """No authority gave a time stamp that holds; nothing is signed without one."""

    code = "TSA-UNAVAILABLE"


class TimeStamper(Protocol):
    """Gives RFC 3161 answers, for instance as an authority of its own or by asking one."""

    def stamp(self, query: bytes) -> bytes:
        """Return the DER answer to a DER query; raises TsaUnavailable or TimeStampRefused."""


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """A time-stamping authority in this process, for development and tests: only a machine's word.

    `clock` gives the time with its zone. The serial numbers are random, 63 bits.
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    clock: Callable[[], datetime]

    def stamp(self, query: bytes) -> bytes:
        """Return the DER answer to a DER query; raises TimeStampRefused for what is none."""
        return answer_query(
            query,
            key=self.key,
            certificate=self.certificate,
            now=self.clock(),
            serial=secrets.randbits(63),
        )


@dataclass(frozen=True, slots=True)
class RemoteAuthority:
    """An authority at a fixed http or https address; no redirect, no proxy, no second try.

    http is what most authorities offer: the answer is signed, and says nothing secret. Raises
    Malformed for another address. `timeout_s` is for the whole, from the connection to the last
    byte of the answer, by `timer`, seconds that only grow.
    """

    url: str
    timer: Callable[[], float]
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            fit = False
        if not fit or "@" in parts.netloc or not self.url.isascii() or not self.url.isprintable():
            raise Malformed(
                "the address of a time-stamping authority is http:// or https:// and a host",
                mend="correct FACEWARRANT_TSA_URL",
            )

    def stamp(self, query: bytes) -> bytes:
        """Return the answer; raises TsaUnavailable for none in time and every HTTP trouble."""
        parts, left = urlsplit(self.url), until(self.timer, self.timeout_s)
        context = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if context else 80)
        path = parts._replace(scheme="", netloc="", fragment="").geturl()
        headers = {"Content-Type": "application/timestamp-query", "Accept": _TYPE}
        try:
            with connected(
                self.host, port, host=self.host, context=context, left=left
            ) as connection:
                connection.request("POST", path or "/", body=query, headers=headers)
                with connection.getresponse() as response:
                    return self._read(response)
        except TooSlow as error:
            raise TsaUnavailable(f"{self.host} is too slow") from error
        except (OSError, UnicodeError, HTTPException) as error:
            raise TsaUnavailable(f"{self.host} does not answer: {type(error).__name__}") from error

    @property
    def host(self) -> str:
        """The host it asks, for messages."""
        return str(urlsplit(self.url).hostname)

    def _read(self, response: HTTPResponse) -> bytes:
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        if response.status != 200 or kind != _TYPE:
            raise TsaUnavailable(f"{self.host} answers {response.status} {kind[:40]!r}, no stamp")
        data = b""
        while chunk := response.read1(MAX_REPLY_BYTES):
            data += chunk
            if len(data) > MAX_REPLY_BYTES:
                raise TsaUnavailable(f"{self.host} sends more than a time stamp has")
        return data


@dataclass(frozen=True, slots=True)
class PatientStamper:
    """Asks every authority in turn, some rounds, and gives out only a stamp that holds.

    `trusted`: the CAs that a stamp must lead to; `clock`: the time with its zone; `timer`: seconds
    that only grow; `sleep` waits that many seconds.
    """

    authorities: Sequence[TimeStamper]
    trusted: Sequence[x509.Certificate]
    clock: Callable[[], datetime]
    timer: Callable[[], float]
    sleep: Callable[[float], None]

    def stamp(self, query: bytes) -> bytes:
        """Return the first answer that holds; raises TsaUnavailable with the last reason."""
        end = self.timer() + BUDGET_S
        last: SigningFailed | None = None
        for pause in (0.0, *PAUSES_S):
            if pause and last is not None:
                self.sleep(pause)
            for authority in self.authorities:
                if self.timer() > end:
                    break
                try:
                    return self._ask(authority, query)
                except (TsaUnavailable, TimeStampRefused) as error:
                    last = error
        why = last.message if last else "no authority is set"
        raise TsaUnavailable(
            f"no time stamp could be had: {why}",
            mend="ask again later, or name a second authority in FACEWARRANT_TSA_URL",
        ) from last

    def _ask(self, authority: TimeStamper, query: bytes) -> bytes:
        reply = authority.stamp(query)
        verify_reply(reply, query=query, authorities=self.trusted, now=self.clock())
        return reply


@dataclass(slots=True)
class Relay:
    """The address the C2PA library asks during one signature, and what went wrong behind it."""

    url: str
    asked: bool = False
    error: Exception | None = None


@contextmanager
def serve_stamps(stamper: TimeStamper) -> Iterator[Relay]:
    """Answer time-stamp queries by `stamper` on a loopback address nobody can guess, until closed.

    No file and no fixed port; the path holds 128 random bits, so that no other process of the
    machine has its own bytes stamped. Raises TsaUnavailable when no port can be had.
    """
    path = f"/{secrets.token_hex(16)}"
    relay = Relay("")

    class Handler(_StampHandler):
        def do_POST(self) -> None:
            self.answer(path, stamper, relay)

    try:
        server = _LoopbackServer(("127.0.0.1", 0), Handler)
    except OSError as error:
        raise TsaUnavailable("no loopback port for the time stamp") from error
    relay.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    thread = threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _LoopbackServer(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # a client that hangs must not hold up the release

    def handle_error(self, request: object, client_address: object) -> None:
        """Write nothing: a client that went away is the library's to report."""


class _StampHandler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_S

    def answer(self, path: str, stamper: TimeStamper, relay: Relay) -> None:
        """Answer one query, or 404 for what is none, or 503 with the error kept in `relay`."""
        size = self.headers.get("Content-Length", "")
        fit = len(size) < 6 and size.isdecimal() and 0 < int(size) <= MAX_QUERY_BYTES
        if not secrets.compare_digest(self.path.encode(), path.encode()) or not fit:
            self.send_error(404)
            return
        relay.asked = True
        try:
            reply = stamper.stamp(self.rfile.read(int(size)))
        except Exception as error:  # noqa: BLE001 - raised again once the library gave up
            relay.error = error
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", _TYPE)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: standard error belongs to the command."""
