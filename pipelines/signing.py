"""How the claim-signing key of a home folder is opened: a file, a token, or a service beside us.

`FACEWARRANT_SIGNER` chooses; none of the choices switches a check off. A key service with an
interface of its own is a `CallbackKey`, in a program of the operator's (docs/signing.md). Refused:
a token without library or PIN, a service without its token, a chain that is not of the key.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from pipelines.keyfiles import KeyFileRefused, read_secret
from pipelines.settings import Settings
from policies.audit import AuditLog
from policies.errors import Malformed
from policies.hsm import TokenAddress
from policies.keys import PublicKey
from provenance.chains import load_chain
from provenance.post import Address
from provenance.remote_signer import PATH, TIMEOUT_S, RemoteSigner, SigningService
from provenance.signers import ClaimKey, KeySigner, LocalKey, Signer, leaf_key, load_key
from provenance.token_signer import TokenKey

SIGNER_FOLDER = "signer"
"""Of the home: what a deployment and its signing service have to know of each other."""

_TOKEN_PREFIX = "token:"  # noqa: S105 - a word of a setting


def open_signer(
    settings: Settings,
    *,
    issuer: PublicKey,
    log: AuditLog,
    clock: Callable[[], int],
    closing: ExitStack,
) -> Signer:
    """Return the signer that the settings name, for warrants of `issuer` in `log`.

    What it holds open is closed with `closing`. Raises KeyRefused, CertificateRefused, Malformed,
    TokenUnavailable and KeyFileRefused.
    """

    def at() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    chain = load_chain(settings.home / "pki" / "chain.pem")
    if is_remote(settings):
        service = _open_service(settings)
        return RemoteSigner(service=service, chain=chain, issuer=issuer, log=log, clock=at)
    key = open_claim_key(settings, closing=closing)
    return KeySigner(key=key, chain=chain, issuer=issuer, clock=at)


def open_claim_key(settings: Settings, *, closing: ExitStack) -> ClaimKey:
    """Return the key that the settings name, in a file or a token; raises as `open_signer` does."""
    if settings.signer.startswith(_TOKEN_PREFIX):
        public = leaf_key(load_chain(settings.home / "pki" / "chain.pem"))
        key = TokenKey(_token_address(settings), public=public)
        closing.callback(key.close)
        return key
    if is_remote(settings):
        raise Malformed(
            "the key of this home is at another service",
            mend="set FACEWARRANT_SIGNER to 'file' or 'token:LABEL' where the service runs",
        )
    return LocalKey(load_key(settings.home / "pki" / "key.pem"))


def is_remote(settings: Settings) -> bool:
    """Tell whether claims are signed by a service beside us, so that no key is in this home."""
    return settings.signer.startswith(("https://", "http://"))


def read_service_token(folder: Path) -> str:
    """Return the token that deployment and service share; raise KeyFileRefused."""
    try:
        return read_secret(folder / "token").decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise KeyFileRefused(
            f"{folder / 'token'} is not text", mend="run 'facewarrant signer export' again"
        ) from error


def _token_address(settings: Settings) -> TokenAddress:
    library, pin = settings.pkcs11_library, settings.pkcs11_pin
    if library is None or pin is None:
        raise Malformed(
            "a key in a token needs its library and its PIN",
            mend="set FACEWARRANT_PKCS11_LIBRARY and FACEWARRANT_PKCS11_PIN",
        )
    label = settings.signer.removeprefix(_TOKEN_PREFIX)
    return TokenAddress(str(library), settings.pkcs11_token, pin.get_secret_value(), label)


def _open_service(settings: Settings) -> SigningService:
    folder = settings.home / SIGNER_FOLDER
    url = settings.signer.rstrip("/") + PATH
    address = Address(url, time.monotonic, _tls_context(folder / "ca.pem"), TIMEOUT_S)
    return SigningService(address, read_service_token(folder))


def _tls_context(authority: Path) -> ssl.SSLContext:
    """Return how the service's certificate is verified: by a CA of its own, else the system's."""
    try:
        return ssl.create_default_context(cafile=authority if authority.exists() else None)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileRefused(
            f"{authority} holds no certificate of an authority",
            mend="put the CA that issued the signing service's certificate there, as PEM",
        ) from error
