"""One HTTP connection with an end: every step of it fits in the time that is left for the whole.

A time-out of a socket begins anew with every byte, so a peer that drips holds up whoever waits.
Here each step, from the connection over the handshake and the headers to the last byte, has only
the time that is left by the timer. Refused, as TooSlow: to begin a step when there is none. Proxies
are not asked. The system's resolver keeps its own time.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPSConnection

Left = Callable[[], float]
"""Returns the seconds that are left, more than 0; raises TooSlow for none."""


class TooSlow(TimeoutError):
    """The time for the whole is over."""


def until(timer: Callable[[], float], seconds: float) -> Left:
    """Return a function that tells what is left of `seconds` from now, by `timer`."""
    end = timer() + seconds

    def left() -> float:
        rest = end - timer()
        if rest <= 0:
            raise TooSlow
        return rest

    return left


@contextmanager
def connected(
    address: str, port: int, *, host: str, context: ssl.SSLContext | None, left: Left
) -> Iterator[HTTPConnection]:
    """Give a connection to `address`, closed at the end; TLS for `host` where there is a context.

    Raises TooSlow, and OSError for what does not connect or cannot prove to be `host`.
    """
    with ExitStack() as closing:
        peer = closing.enter_context(socket.create_connection((address, port), timeout=left()))
        if context is None:
            connection = HTTPConnection(host, port)
        else:
            peer.settimeout(left())
            peer = closing.enter_context(context.wrap_socket(peer, server_hostname=host))
            connection = HTTPSConnection(host, port, context=context)
        connection.sock = _Paced(peer, left)
        yield connection


class _Paced:
    """The part of a socket that http.client uses."""

    def __init__(self, peer: socket.socket, left: Left) -> None:
        self._peer = peer
        self._left = left

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._peer.settimeout(self._left())
            rest = rest[self._peer.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_PacedReader(self._peer, self._left))

    def close(self) -> None:
        """Leave it to whoever opened the socket."""


class _PacedReader(io.RawIOBase):
    def __init__(self, peer: socket.socket, left: Left) -> None:
        self._peer = peer
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._peer.settimeout(self._left())
        return self._peer.recv_into(buffer)
