"""How the claim-signing key is opened: every setting, and what is missing for it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import pipelines.signing as module
from pipelines.deployment import open_deployment, require_finished, system_clock
from pipelines.keyfiles import KeyFileRefused, write_secret
from pipelines.settings import read_settings
from pipelines.signing import is_remote, open_claim_key
from policies.errors import Malformed
from provenance.chains import ChainRefused, load_chain
from provenance.pki import make_development_chain, save_chain
from provenance.remote_signer import RemoteSigner
from provenance.signers import KeyRefused, KeySigner
from provenance.token_signer import TokenUnavailable

URL = "http://127.0.0.1:9"


@pytest.fixture
def remote(empty_home: Path) -> Path:
    """A home whose key is at a service, with the token they share."""
    (empty_home / "pki" / "key.pem").unlink()
    write_secret(empty_home / "signer" / "token", b"t" * 40 + b"\n")
    return empty_home


def test_the_key_is_in_a_file_unless_something_else_is_set(empty_home: Path) -> None:
    with open_deployment(read_settings()) as at:
        assert type(at.press.signer) is KeySigner
    assert not is_remote(read_settings())


@pytest.mark.parametrize("url", [URL, f"{URL}/", "https://signer.example:8443"])
def test_a_service_needs_no_key_here(remote: Path, url: str) -> None:
    settings = read_settings(signer=url)
    assert is_remote(settings)
    require_finished(settings)
    with pytest.raises(KeyFileRefused, match=r"key\.pem missing"):
        require_finished(read_settings())
    with open_deployment(settings) as at:
        assert type(at.press.signer) is RemoteSigner
        assert at.press.signer._service.address.url == f"{url.rstrip('/')}/sign"


def test_a_service_beyond_this_machine_needs_tls(remote: Path) -> None:
    with pytest.raises(Malformed, match="https://"):
        open_deployment(read_settings(signer="http://signer.example"))


def test_a_service_without_its_token_is_not_asked(remote: Path) -> None:
    token = remote / "signer" / "token"
    token.chmod(0o644)
    with pytest.raises(KeyFileRefused, match="can be read by others"):
        open_deployment(read_settings(signer=URL))
    token.chmod(0o600)
    token.write_bytes(b"\xff" * 40)
    with pytest.raises(KeyFileRefused, match="not text"):
        open_deployment(read_settings(signer=URL))
    token.write_text("short")
    with pytest.raises(Malformed, match="32 to 512"):
        open_deployment(read_settings(signer=URL))
    token.unlink()
    with pytest.raises(KeyFileRefused, match="cannot read"):
        open_deployment(read_settings(signer=URL))


def test_a_service_may_have_an_authority_of_its_own(remote: Path) -> None:
    authority = remote / "signer" / "ca.pem"
    shutil.copy(remote / "pki" / "root.pem", authority)
    with open_deployment(read_settings(signer="https://signer.example")) as at:
        known = at.press.signer._service.address.context.get_ca_certs()  # type: ignore[attr-defined]
    assert len(known) == 1, "that authority and no other"
    authority.write_text("nonsense")
    with pytest.raises(KeyFileRefused, match="no certificate of an authority"):
        open_deployment(read_settings(signer="https://signer.example"))


def test_the_service_itself_needs_a_key(remote: Path) -> None:
    with ExitStack() as closing, pytest.raises(Malformed, match="at another service"):
        open_claim_key(read_settings(signer=URL), closing=closing)
    with ExitStack() as closing, pytest.raises(KeyRefused):
        open_claim_key(read_settings(), closing=closing)


@pytest.mark.parametrize(
    "given", [{}, {"pkcs11_library": "/no/library.so"}, {"pkcs11_pin": "1234"}]
)
def test_a_token_needs_library_and_pin(empty_home: Path, given: dict[str, str]) -> None:
    with ExitStack() as closing, pytest.raises(Malformed, match="its library and its PIN"):
        open_claim_key(read_settings(signer="token:claims", **given), closing=closing)


def test_a_token_that_is_not_there_is_told(empty_home: Path) -> None:
    pytest.importorskip("pkcs11")
    settings = read_settings(
        signer="token:claims", pkcs11_library="/no/library.so", pkcs11_pin="1234"
    )
    with ExitStack() as closing, pytest.raises(TokenUnavailable):
        open_claim_key(settings, closing=closing)


class InToken:
    """A key in a token, as the settings name it."""

    opened: list[Any]
    closed: list[str]

    def __init__(self, address: Any, *, public: Any) -> None:
        self.opened.append(address)
        self.public = public

    def sign(self, _claim: bytes) -> bytes:
        return b""

    def close(self) -> None:
        self.closed.append("closed")


def test_a_key_in_a_token_is_found_by_its_label_and_closed(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Token(InToken):
        opened: list[Any] = []  # noqa: RUF012
        closed: list[str] = []  # noqa: RUF012

    monkeypatch.setattr(module, "TokenKey", Token)
    settings = read_settings(
        signer="token:claim key",
        pkcs11_library="/lib.so",
        pkcs11_token="desk",  # noqa: S106 - a label
        pkcs11_pin="1234",
    )
    # The people's keys stay in their file here: opening the deployment would look in the token.
    chain = load_chain(empty_home / "pki" / "chain.pem")
    with ExitStack() as closing:
        signer = module.open_signer(
            settings,
            issuer=None,  # type: ignore[arg-type]
            log=None,  # type: ignore[arg-type]
            clock=system_clock,
            closing=closing,
        )
        assert (signer.alg, signer.chain_pem, Token.closed) == ("ES256", chain.pem, [])
    (address,) = Token.opened
    assert (address.library, address.token, address.pin, address.name) == (
        *("/lib.so", "desk", "1234", "claim key"),
    )
    assert Token.closed == ["closed"]


def test_a_deployment_closes_what_its_signer_holds(empty_home: Path) -> None:
    with open_deployment(read_settings()) as at:
        closed: list[bool] = []
        at.signing.callback(closed.append, True)
    assert closed == [True]


def test_a_chain_of_another_key_is_refused(empty_home: Path) -> None:
    now = load_chain(empty_home / "pki" / "chain.pem").leaf.not_valid_before_utc
    other = empty_home / "other"
    save_chain(make_development_chain(organisation="Other", now=now), other)
    shutil.copy(other / "key.pem", empty_home / "pki" / "key.pem")
    with pytest.raises(ChainRefused) as caught:
        open_deployment(read_settings())
    assert caught.value.reason == "key-mismatch"
