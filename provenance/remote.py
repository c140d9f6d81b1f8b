"""A manifest that a file keeps on a server: fetched only from hosts that the caller named.

Off unless somebody asks for it: a file that makes its reader call an address of its choice is an
attack (SSRF), and tells that address who looks at the file. Refused: any host that is not allowed
by its exact name and port, anything but https, a redirect, a proxy, an address inside a private
network, another content type, an answer that is too large, too slow or ends early.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlsplit

from policies.errors import Error, Malformed
from provenance.embedding import MAX_STORE_BYTES
from provenance.evidence import Evidence
from provenance.pacing import TooSlow, connected, until
from provenance.reading import ManifestReading

TIMEOUT_S: Final = 10.0
"""How long one fetch may take once the name is looked up, to the last byte; our own choice."""
MAX_URL_CHARACTERS: Final = 2048
"""Longest address that is followed; our own choice."""

_PORT = 443
# RFC 1123, 2.1: labels of 1 to 63 characters, 253 in all.
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=[a-z0-9.-]{{1,253}}(:|$)){_LABEL}(\.{_LABEL})*(:[1-9][0-9]{{0,4}})?")
# The registered media type (C2PA 2.2, 11.4), and the one in use before it was registered.
_TYPES = frozenset({"application/c2pa", "application/x-c2pa-manifest-store"})
# RFC 7526: the relays of 6to4 wrap an address too; some say that theirs is a public one.
_RELAYS = ipaddress.ip_network("192.88.99.0/24")
# RFC 4291, 2.4: leaves out every form that wraps an IPv4 address but 6to4.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class RemoteRefused(Error):
    """The manifest on a server was not fetched."""

    code = "REMOTE-REFUSED"


def resolve_public(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a host; raise RemoteRefused if one of them is not a public one.

    Raises OSError for a name that leads nowhere. The system's resolver keeps its own time.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    for address in addresses:
        _require_public(host, address)
    return addresses


@dataclass(frozen=True, slots=True)
class RemoteManifests:
    """Fetches manifest stores by https, from `hosts` alone.

    `hosts`: exact names as "example.org", or with a port as "example.org:8443"; no wildcard. Raises
    Malformed for anything else. `timer` gives seconds that only grow; `resolve` returns the
    addresses of a host, and raises RemoteRefused where it must not lead; `context` judges the
    server's certificate, by default with the roots of the system.
    """

    hosts: tuple[str, ...]
    timer: Callable[[], float]
    timeout_s: float = TIMEOUT_S
    resolve: Callable[[str, int], tuple[str, ...]] = resolve_public
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    def __post_init__(self) -> None:
        for host in self.hosts:
            if not _HOST.fullmatch(host) or int(host.partition(":")[2] or _PORT) >= 2**16:
                raise Malformed(
                    f"{host!r} is no host that a manifest can be fetched from",
                    mend="write it as example.org or example.org:8443, in small letters",
                )

    def fetch(self, url: str) -> bytes:
        """Return the manifest store at `url`, an address that a hostile file may have chosen.

        Raises RemoteRefused for a host that is not allowed, and for everything that goes wrong.
        """
        host, port, target = _take_apart(url)
        name = host if port == _PORT else f"{host}:{port}"
        if name not in {allowed.removesuffix(f":{_PORT}") for allowed in self.hosts}:
            raise RemoteRefused(
                f"the manifest is on {name}, which is no allowed host: nothing was fetched",
                mend=f"--remote-host {name} allows it; that host then learns of your look",
            )
        try:
            address = self.resolve(host, port)[0]
            return self._ask(address, host, port, target)
        except TooSlow as error:
            raise RemoteRefused("the host with the manifest is too slow") from error
        except (OSError, HTTPException) as error:
            raise RemoteRefused(f"{name} gave no manifest: {type(error).__name__}") from error

    def _ask(self, address: str, host: str, port: int, target: str) -> bytes:
        left = until(self.timer, self.timeout_s)
        # To the very address that was judged: a second look-up of the name could lead elsewhere.
        with connected(address, port, host=host, context=self.context, left=left) as connection:
            connection.request("GET", target, headers={"Accept": "application/c2pa"})
            with connection.getresponse() as response:
                return _read(response)


def fetch_store(
    reading: ManifestReading, remote: RemoteManifests | None
) -> tuple[bytes | None, tuple[Evidence, ...]]:
    """Return the store that a file keeps on a server, and the line of evidence about the fetch.

    None, and no line, where the file names no server or `remote` is None: nothing is fetched then.
    """
    if remote is None or reading.verdict != "remote_manifest_not_fetched":
        return None, ()
    try:
        store = remote.fetch(reading.remote_url)
    except RemoteRefused as error:
        return None, (Evidence("signature", "absent", error.message),)
    host = urlsplit(reading.remote_url).hostname
    words = f"the file itself carries no manifest; the one that it names was fetched from {host}"
    return store, (Evidence("signature", "absent", words),)


def _take_apart(url: str) -> tuple[str, int, str]:
    """Return host, port and what to ask for; raise RemoteRefused for an address we do not follow.

    Nothing of such an address is repeated: its text is the file's.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORT
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    plain = len(url) <= MAX_URL_CHARACTERS and all("!" <= sign <= "~" for sign in url)
    if not plain or parts.scheme != "https" or "@" in parts.netloc or not _HOST.fullmatch(host):
        raise RemoteRefused("the manifest is not at a plain https address: nothing was fetched")
    query = f"?{parts.query}" if parts.query else ""
    return host, port, f"{parts.path or '/'}{query}"


def _require_public(host: str, text: str) -> None:
    address = ipaddress.ip_address(text.partition("%")[0])
    public = address.is_global and not address.is_multicast and address not in _RELAYS
    if isinstance(address, ipaddress.IPv6Address):
        public = public and address in _GLOBAL_UNICAST and address.sixtofour is None
    if not public:
        raise RemoteRefused(f"{host} leads into a private network: nothing was fetched")


def _read(response: HTTPResponse) -> bytes:
    kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if response.status != 200:
        raise RemoteRefused(f"the host with the manifest answers {response.status}")
    if kind not in _TYPES:
        raise RemoteRefused("the host with the manifest sends something else")
    data = b""
    while len(data) <= MAX_STORE_BYTES and (chunk := response.read1(65_536)):
        data += chunk
    if len(data) > MAX_STORE_BYTES:
        raise RemoteRefused(f"the manifest has more than {MAX_STORE_BYTES} bytes")
    if response.length:
        raise RemoteRefused("the manifest ends early")
    return data
