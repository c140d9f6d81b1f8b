"""A signer whose key is behind HTTP: in another process, under another user, on another machine.

Sends the claim with the warrant and two proofs of the log (`signing_request.py`), authenticated by
a bearer token, and believes nothing that comes back: the signature is verified with the leaf like
that of any key. Refused: an address without TLS beyond this machine, a redirect, an answer too slow
or too large. There is no second try, since the first may have spent the warrant at the service.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from pydantic import Field, ValidationError

from policies.audit import AuditLog
from policies.errors import Malformed
from policies.keys import PublicKey
from policies.terms import Document
from policies.warrant import Warrant
from provenance.chains import Chain
from provenance.errors import SigningFailed
from provenance.post import Address, NoAnswer
from provenance.signers import ClaimSigner, leaf_key
from provenance.signing_desk import MAX_ANSWER_BYTES, read_answer
from provenance.signing_request import encode_request, make_request

TIMEOUT_S = 10.0
"""For each step and for the answer as a whole; room for a KMS behind the service."""

PATH = "/sign"
"""Where a signing service answers; what operators write down ends before it."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")  # RFC 6750, 2.1; 32: nobody guesses it


class SignerUnavailable(SigningFailed):
    """The signing service is not there or does not answer as one; nothing was signed by it."""

    code = "SIGNER-UNAVAILABLE"


class SignerRefused(SigningFailed):
    """The signing service looked at the request and does not sign it; the message has its code."""

    code = "SIGNER-REFUSED"


class _Refusal(Document):
    code: str = Field(pattern=r"^[A-Z]+(-[A-Z]+)*$", max_length=40)
    message: str = Field(max_length=1000)
    mend: str = Field(max_length=1000)


@dataclass(frozen=True, slots=True)
class SigningService:
    """A signing service: where it answers, and our token.

    Raises Malformed for a token that is too short or that no header can carry.
    """

    address: Address
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise Malformed(
                "the token of the signing service has 32 to 512 letters and digits",
                mend="make one with 'facewarrant signer export', and give both sides the same",
            )

    def ask(self, request: bytes) -> bytes:
        """Return the signature; raises SignerUnavailable and SignerRefused."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Authorization": f"Bearer {self.token}",
        }
        try:
            status, body = self.address.post(
                request,
                headers=headers,
                max_bytes=MAX_ANSWER_BYTES,
                media_types=("application/json",),
            )
            if status == 200:
                return read_answer(body)
        except (NoAnswer, Malformed) as error:
            raise SignerUnavailable(
                f"no signature came back: {error.message}",
                mend="see that the signing service runs; then ask for the same request again",
            ) from error
        self._refuse(status, body)

    def _refuse(self, status: int, body: bytes) -> NoReturn:
        try:
            said = _Refusal.model_validate_json(body)
        except ValidationError as error:
            raise SignerUnavailable(
                f"{self.address.host} answers {status}, and not as a signing service does",
                mend="correct FACEWARRANT_SIGNER: it is the address of the service",
            ) from error
        raise SignerRefused(
            f"the signing service refused: {said.code}: {said.message}", mend=said.mend
        )


class RemoteSigner(ClaimSigner):
    """Signs by a service; what it sends is proved by `log`, the log of the warrant's own desk."""

    __slots__ = ("_log", "_service")

    def __init__(
        self,
        *,
        service: SigningService,
        chain: Chain,
        issuer: PublicKey,
        log: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the service and the chain of its key; raise CertificateRefused for an unfit one."""
        self._service, self._log = service, log
        super().__init__(public=leaf_key(chain), chain=chain, issuer=issuer, clock=clock)

    def _use_key(self, claim: bytes, warrant: Warrant) -> bytes:
        return self._service.ask(encode_request(make_request(claim, warrant, log=self._log)))
