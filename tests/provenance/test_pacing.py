"""One connection with an end: a peer that drips is left, at whatever step it begins to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Self

import pytest

from provenance import pacing
from provenance.pacing import TooSlow, connected, until
from provenance.post import Address, NoAnswer
from provenance.timestamps import RemoteAuthority, TsaUnavailable

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Stopwatch:
    """Seconds that grow by one at every look; a peer that drips may send a byte for each."""

    def __init__(self) -> None:
        self.now = -1.0
        self.looks = threading.Semaphore(0)

    def __call__(self) -> float:
        self.now += 1.0
        self.looks.release()
        return self.now


def no_time() -> float:
    return 0.0


@contextmanager
def peer(answer: Any) -> Iterator[int]:
    """A loopback port whose one caller gets what `answer(socket)` sends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            taken, _ = listener.accept()
            with taken, contextlib.suppress(OSError):  # the client may have gone
                taken.recv(65_536)
                answer(taken)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


@contextmanager
def dripping(data: bytes, timer: Stopwatch) -> Iterator[int]:
    """A peer that sends one byte whenever the timer was looked at."""
    ended = threading.Event()

    def drip(taken: socket.socket) -> None:
        for at in range(len(data)):
            timer.looks.acquire()
            if ended.is_set():
                return
            taken.sendall(data[at : at + 1])

    with peer(drip) as port:
        try:
            yield port
        finally:
            ended.set()
            timer.looks.release()


ENDLESS = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 60_000
BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 60_000


@pytest.mark.parametrize("data", [ENDLESS, BODY], ids=["headers", "body"])
def test_a_service_that_drips_is_left(data: bytes) -> None:
    timer = Stopwatch()
    with dripping(data, timer) as port:
        address = Address(f"http://127.0.0.1:{port}/", timer, ssl.create_default_context(), 90.0)
        with pytest.raises(NoAnswer, match=r"127\.0\.0\.1 is too slow"):
            address.post(b"{}", headers={}, max_bytes=100_000, media_types=("application/json",))
    assert timer.now == 90.0, "not a step after the end"


def test_an_authority_that_drips_is_left() -> None:
    timer = Stopwatch()
    with dripping(ENDLESS, timer) as port:
        with pytest.raises(TsaUnavailable, match="too slow"):
            RemoteAuthority(f"http://127.0.0.1:{port}/", timer, 20.0).stamp(b"query")
    assert timer.now == 20.0


def test_what_is_left_becomes_less_until_it_is_nothing() -> None:
    timer = Stopwatch()
    left = until(timer, 3.0)
    assert (left(), left()) == (2.0, 1.0)
    for _ in range(2):
        with pytest.raises(TooSlow):
            left()


def test_every_step_has_only_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, float]] = []

    class Peer:
        """A socket that takes a byte at a time."""

        timeout = 0.0

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            steps.append(("close", 0.0))

        def settimeout(self, seconds: float) -> None:
            self.timeout = seconds

        def send(self, data: memoryview) -> int:
            steps.append((bytes(data).decode(), self.timeout))
            return 1

        def recv_into(self, _buffer: memoryview) -> int:
            steps.append(("read", self.timeout))
            return 0

    def dial(_address: object, timeout: float) -> Peer:
        steps.append(("dial", timeout))
        return Peer()

    monkeypatch.setattr(pacing.socket, "create_connection", dial)
    left = until(Stopwatch(), 9.0)
    with connected("192.0.2.1", 1, host="h", context=None, left=left) as connection:
        connection.sock.sendall(b"abc")
        assert connection.sock.makefile("rb").read(5) == b""
        connection.close()
        steps.append(("done", 0.0))
    assert steps == [
        ("dial", 8.0),
        *[("abc", 7.0), ("bc", 6.0), ("c", 5.0)],
        *[("read", 4.0), ("done", 0.0), ("close", 0.0)],
    ]


def test_there_is_no_handshake_without_time() -> None:
    context = ssl.create_default_context()
    with peer(lambda _taken: None) as port:
        with pytest.raises(TooSlow):
            with connected(
                "127.0.0.1", port, host="h", context=context, left=until(Stopwatch(), 2.0)
            ):
                pass


def test_an_answer_comes_through() -> None:
    with peer(lambda taken: taken.sendall(OK)) as port:
        left = until(no_time, 5.0)
        with connected("127.0.0.1", port, host="h", context=None, left=left) as connection:
            connection.request("POST", "/", body=bytes(100_000))
            with closing(connection.getresponse()) as response:
                assert (response.status, response.read()) == (200, b"{}")
