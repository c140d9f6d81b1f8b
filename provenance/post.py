"""One POST to one address, with an end: a size, a time, no redirect, no proxy, no second try.

Refused: an address that is not https, except on this very machine; an answer that is too long, too
slow or of another media type.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.parse import SplitResult, urlsplit

from policies.errors import Error, Malformed
from provenance.pacing import TooSlow, connected, until


class NoAnswer(Error):
    """Nothing came back that can be read: unreachable, too slow, too long, or of another kind."""

    code = "NO-ANSWER"


@dataclass(frozen=True, slots=True)
class Address:
    """A fixed https address, or http to this machine alone: what is sent there is a secret.

    `context`: how the server's certificate is verified. `timer`: seconds that only grow;
    `timeout_s` is for the whole, from the connection to the last byte of the answer. Raises
    Malformed for another form.
    """

    url: str
    timer: Callable[[], float]
    context: ssl.SSLContext
    timeout_s: float

    def __post_init__(self) -> None:
        printable = self.url.isascii() and self.url.isprintable() and " " not in self.url
        try:
            fit = printable and _is_fit(self._parts)
        except ValueError:  # a port or an address in brackets that is none
            fit = False
        if not fit:
            raise Malformed(
                "the address is https:// and a host, or http:// and 127.0.0.1 or [::1]",
                mend="correct the address; without TLS the service has to be on this machine",
            )

    @property
    def host(self) -> str:
        """The host it asks, for messages."""
        return str(self._parts.hostname)

    def post(
        self,
        body: bytes,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        media_types: Collection[str],
    ) -> tuple[int, bytes]:
        """Return status and body of the answer, whatever the status; raise NoAnswer."""
        parts, left = self._parts, until(self.timer, self.timeout_s)
        context = self.context if parts.scheme == "https" else None
        port = parts.port or (443 if context else 80)
        try:
            with connected(
                self.host, port, host=self.host, context=context, left=left
            ) as connection:
                connection.request("POST", parts.path or "/", body=body, headers=dict(headers))
                with connection.getresponse() as response:
                    return response.status, self._read(response, max_bytes, media_types)
        except TooSlow as error:
            raise NoAnswer(f"{self.host} is too slow") from error
        except (OSError, UnicodeError, HTTPException) as error:
            raise NoAnswer(f"{self.host} does not answer: {type(error).__name__}") from error

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    def _read(self, response: HTTPResponse, max_bytes: int, media_types: Collection[str]) -> bytes:
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        if kind not in media_types:
            raise NoAnswer(f"{self.host} answers {response.status} with {kind[:40]!r}")
        data = b""
        while chunk := response.read1(max_bytes):
            data += chunk
            if len(data) > max_bytes:
                raise NoAnswer(f"{self.host} sends more than {max_bytes} bytes")
        return data


def _is_fit(parts: SplitResult) -> bool:
    plain = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    return bool(parts.hostname) and plain and safe


def is_loopback(host: str) -> bool:
    """Tell whether a host, written as an address, is this machine; a name never is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
