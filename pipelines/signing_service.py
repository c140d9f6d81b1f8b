"""The signing service: one route over a `SigningDesk`, in a process and under a user of its own.

`make_signing_app` makes the application, `open_desk` the desk of a home folder, `serve` listens.
Refused: a call without the token, a body over the cap while it still arrives, a connection that
lasts, more than `MAX_PER_ADDRESS` from one address, an address of other machines without TLS, a
home that others can open; and whatever the desk refuses. A refusal is a code, a message and how to
mend it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.audit_files import read_text
from pipelines.deployment import is_exposed
from pipelines.keyfiles import KeyFileRefused
from pipelines.resolution import Refusal, TooLong, Unauthorised, read_body
from pipelines.settings import Settings
from pipelines.signing import SIGNER_FOLDER, open_claim_key
from policies.checkpoint import read_verifier_key
from policies.errors import BadSignature, Error, Malformed, StoreUnavailable
from policies.keys import PublicKey
from policies.merkle import ProofInvalid
from policies.warrant import WarrantInvalid
from provenance.chains import load_chain
from provenance.post import is_loopback
from provenance.remote_signer import PATH
from provenance.signers import AlreadySigned, ClaimKey
from provenance.signing_desk import SigningDesk
from provenance.signing_ledger import SigningLedger
from provenance.signing_request import MAX_REQUEST_BYTES, SigningTrust

CALL_TIMEOUT_S: Final = 15.0
"""How long a connection may last, from the first byte on; a deployment waits ten seconds."""
MAX_PER_ADDRESS: Final = 256
"""Connections from one address at the same time; a process may have 1,024 files open, mostly."""

_STATUS: tuple[tuple[type[Error], int], ...] = (
    (Unauthorised, 401),
    (TooLong, 413),
    (AlreadySigned, 409),
    (Malformed, 400),
    (WarrantInvalid, 403),
    (ProofInvalid, 403),
    (BadSignature, 403),
)
"""The first kind that fits decides; everything else is a failure of the service, 500."""


class BriefProtocol(H11Protocol):
    """HTTP on a connection that ends after `CALL_TIMEOUT_S`, whatever arrived until then.

    The server's own time-outs begin after a first answer, and its own limit counts strangers who
    send nothing, so they could shut the deployment out. Here only their own address is full.
    """

    def connection_made(  # type: ignore[override]  # as the class above writes it
        self, transport: asyncio.Transport
    ) -> None:
        """Begin; the connection is gone at once where its address has too many."""
        super().connection_made(transport)
        self._end = self.loop.call_later(CALL_TIMEOUT_S, transport.abort)
        if sum(_host(one) == _host(self) for one in self.connections) > MAX_PER_ADDRESS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end.cancel()
        super().connection_lost(exc)


def make_signing_app(desk: SigningDesk, *, token: str) -> FastAPI:
    """Return the service over `desk` as an application; `token` is what callers must bring."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    async def sign(request: Request) -> Response:
        _admit(request, token)
        body = await read_body(request, MAX_REQUEST_BYTES)
        answer = await run_in_threadpool(desk.answer, body)
        return Response(answer, media_type="application/json")

    app.add_api_route(PATH, sign, methods=["POST"], response_class=Response)
    app.add_exception_handler(Error, _refuse)
    app.add_exception_handler(HTTPException, _refuse_page)
    app.add_exception_handler(Exception, _refuse)
    return app


@contextmanager
def open_desk(
    settings: Settings, *, clock: Callable[[], int], key: ClaimKey | None = None
) -> Iterator[SigningDesk]:
    """Open the signing desk of a home folder: its key, chain, ledger, and whom it believes.

    `key` is one in a KMS, for instance; without it the settings say where the key is.
    Raises what `open_claim_key` raises, KeyFileRefused for a home that others can open, Malformed
    and BadSignature for what is no key or digest, KeyExposed and StoreUnavailable for the ledger.
    """
    home, folder = settings.home, settings.home / SIGNER_FOLDER
    if not folder.is_dir() or is_exposed(home):
        raise KeyFileRefused(
            f"{folder} is not there, or others can open {home}",
            mend=f"run 'facewarrant signer export' at the deployment, put the folder there, and "
            f"chmod 700 {home}",
        )
    with ExitStack() as closing:
        desk = SigningDesk(
            key=key or open_claim_key(settings, closing=closing),
            chain=load_chain(home / "pki" / "chain.pem"),
            trust=_read_trust(folder),
            ledger=closing.enter_context(SigningLedger(folder / "ledger.db")),
            clock=clock,
        )
        desk.check()
        yield desk


def serve(
    app: FastAPI, *, host: str, port: int, certificate: Path | None, key: Path | None
) -> None:
    """Listen until stopped; raise Malformed for other machines without TLS.

    `certificate` (with its chain) and `key` are PEM files. Nothing of a call is printed.
    """
    if (certificate is None) != (key is None) or (certificate is None and not is_loopback(host)):
        raise Malformed(
            f"beyond this machine a signing service is reached by TLS alone, not on {host}",
            mend="give --certificate and --key, or listen on 127.0.0.1",
        )
    uvicorn.run(
        app,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        http=BriefProtocol,
    )


def _read_trust(folder: Path) -> SigningTrust:
    origin, log_key = read_verifier_key(read_text(folder / "log.pub").strip(), "checkpoint")
    policies = frozenset(read_text(folder / "policies").split())
    if not policies or any(
        len(one) != 64 or set(one) - set("0123456789abcdef") for one in policies
    ):
        raise Malformed(
            f"{folder / 'policies'} holds SHA-256 digests, 64 hex digits each, one a line",
            mend="'facewarrant policy show' prints the digest of the policy in force",
        )
    issuer = PublicKey.from_hex(read_text(folder / "desk.pub").strip())
    return SigningTrust(issuer=issuer, log_key=log_key, origin=origin, policies=policies)


def _host(connection: object) -> str:
    client = getattr(connection, "client", None)
    return str(client[0]) if client else ""


def _admit(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(given.encode(), token.encode()):
        raise Unauthorised("this service signs for one deployment, which knows its token")


def _refuse(_request: Request, error: Exception) -> JSONResponse:
    known = error if isinstance(error, Error) else Error("the service failed")
    status = next((status for kind, status in _STATUS if isinstance(known, kind)), 500)
    # Where files lie on this machine is for its own log.
    hidden = isinstance(known, StoreUnavailable)
    body = Refusal(
        code=known.code,
        message="the service failed" if hidden else known.message[:500],
        mend="" if hidden else known.mend[:500],
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body.model_dump(), status, headers)


def _refuse_page(_request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    body = Refusal(code="NOT-FOUND", message=f"only POST {PATH} is answered", mend="")
    return JSONResponse(body.model_dump(), status)
