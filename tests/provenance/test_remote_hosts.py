"""Which hosts and addresses a manifest may be fetched from, before anything connects."""

from __future__ import annotations

import socket

import pytest

from policies.errors import Malformed
from provenance.remote import RemoteManifests, RemoteRefused, resolve_public


def no_time() -> float:
    """A timer that is never waited for."""
    return 0.0


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.test",
        "Upper.test",
        "https://a.test",
        "a.test/",
        "a b",
        "a.test:",
        "a.test:0",
        "a.test:65536",
        "-a.test",
        "a.test.",
        "[::1]",
        "exä.test",
        "a.test:80x",
        "a.test\n",
        "a..test",
        "a-.test",
        "a" * 64 + ".test",
        ".".join(["a" * 49] * 6),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(Malformed) as caught:
        RemoteManifests((host,), no_time)
    assert "example.org:8443" in caught.value.mend


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.test/",
        "file:///a.test",
        "https://",
        "https://user:word@a.test/",
        "https://a.test@evil.test/",
        "https://a.test:99999/",
        "https://a.test/\r\nX: y",
        "https://a.test/ b",
        "https://exä.test/",
        "https://[::1/",
        "https://[::1]/",
        "https://a.test./",
        "https://a..test/",
        "https://" + "a" * 64 + ".test/",
        "https://a.test/" + "x" * 2048,
    ],
)
def test_an_address_that_is_not_plain_https_is_not_followed(url: str) -> None:
    def resolve(host: str, port: int) -> tuple[str, ...]:
        raise AssertionError("it was looked up")

    with pytest.raises(RemoteRefused, match="plain https address"):
        RemoteManifests(("a.test",), no_time, resolve=resolve).fetch(url)


@pytest.mark.parametrize("url", ["https://a.test/x", "https://A.test:443/x", "https://a.test"])
@pytest.mark.parametrize("host", ["a.test", "a.test:443"])
def test_the_usual_port_needs_no_word(host: str, url: str) -> None:
    asked = []

    def resolve(host: str, port: int) -> tuple[str, ...]:
        asked.append((host, port))
        raise OSError

    with pytest.raises(RemoteRefused, match="gave no manifest: OSError"):
        RemoteManifests((host,), no_time, resolve=resolve).fetch(url)
    assert asked == [("a.test", 443)]


def test_the_longest_names_are_taken() -> None:
    for host in ("a" * 63 + ".test", ".".join(["a" * 49] * 5) + ".ab"):
        assert RemoteManifests((host, f"{host}:65535"), no_time).hosts[0] == host


def test_a_longer_name_is_another_host() -> None:
    for url in ("https://a.test.evil.test/", "https://evil-a.test/", "https://test/"):
        with pytest.raises(RemoteRefused, match="no allowed host"):
            RemoteManifests(("a.test",), no_time).fetch(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001:0:a00::1",
        "192.88.99.1",
        "192.88.99.255",
    ],
)
def test_a_name_may_not_lead_into_a_private_network(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One such address among public ones is enough: which is asked would be chance."""
    found = [(0, 0, 0, "", (one, 443)) for one in ("93.184.215.14", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(RemoteRefused, match="private network"):
        RemoteManifests(("a.test",), no_time).fetch("https://a.test/")


def test_public_addresses_are_public(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    found = [(0, 0, 0, "", (one, 443)) for one in (*addresses, *addresses)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert resolve_public("a.test", 443) == addresses
