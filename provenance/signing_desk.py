"""The side of a signing service that holds the key: request in, signature out, once per warrant.

Knows no network; `pipelines.signing_service` puts it behind HTTP. Refused: whatever
`signing_request` refuses, a second signature for a warrant, a chain outside its dates, and every
signature that does not verify. Each answer is a line of the ledger first.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from policies.canonical import canonical, parse
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.terms import Document
from provenance.chains import Chain, leaf_algorithm, lint_chain
from provenance.signers import ClaimKey, as_cose
from provenance.signing_ledger import SigningLedger
from provenance.signing_request import SigningTrust, read_request, require_signable

MAX_ANSWER_BYTES = 4 * 1024
"""An RSA signature of 8192 bits is 1 kB, in base64 a third more."""


class _Answer(Document):
    schema_: Literal["facewarrant/signature/1"] = Field(alias="schema")
    signature: Annotated[str, Field(max_length=MAX_ANSWER_BYTES)]


@dataclass(frozen=True, slots=True)
class SigningDesk:
    """One key, its chain, whom it believes, and its ledger; `clock` gives unix seconds."""

    key: ClaimKey = field(repr=False)
    chain: Chain
    trust: SigningTrust
    ledger: SigningLedger
    clock: Callable[[], int]

    def check(self) -> None:
        """Return if the chain may sign now and is for this key; raise CertificateRefused."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        lint_chain(self.chain, now=now, key=self.key.public)

    def answer(self, data: bytes) -> bytes:
        """Return the answer to a request's bytes; the signature in it is in COSE's form.

        Raises what `read_request`, `require_signable` and `SigningLedger.enter_signature` raise,
        CertificateRefused and SigningFailed; the ledger has every refusal. A key that fails has
        spent the warrant, since whether a signature left is then unknown.
        """
        now, warrant_id = self.clock(), ""
        try:
            request = read_request(data)
            warrant_id = request.warrant.warrant_id
            require_signable(request, trust=self.trust, now=now)
            self.check()
            self.ledger.enter_signature(
                warrant_id,
                warrant_sha256=request.warrant.sha256,
                claim_sha256=sha256_hex(request.claim),
                at=now,
            )
            signature = as_cose(
                self.key.sign(request.claim),
                request.claim,
                self.key.public,
                leaf_algorithm(self.chain),
            )
        except Error as error:
            self.ledger.enter_refusal(error.code, warrant_id=warrant_id, at=now)
            raise
        return canonical(
            {
                "schema": "facewarrant/signature/1",
                "signature": base64.b64encode(signature).decode(),
            }
        )


def read_answer(data: bytes) -> bytes:
    """Return the signature in an answer's bytes; raise Malformed. It is yet to be verified."""
    parse(data, max_bytes=MAX_ANSWER_BYTES)
    try:
        return base64.b64decode(_Answer.model_validate_json(data).signature, validate=True)
    except ValueError as error:  # pydantic's and base64's too
        raise Malformed("not the answer of a signing service") from error
