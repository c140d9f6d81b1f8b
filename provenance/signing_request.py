"""What a signing service is asked, and why it may sign: claim, warrant and two proofs of the log.

The service has no database of the deployment: what it is told, it can check with two public keys.
Refused: a warrant that is forged, outside its window or made under a policy nobody approved; a
decision or a warrant that the log does not hold under a checkpoint that its key signed; a decision
that is another one or was not to allow; bytes that are no COSE signature structure; a document that
is too large or not canonical.

Not seen from here: pixels, whether a consent ended since, whether the warrant was started, and what
the claim says; the caller asks all of that before and after (`release.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from policies.audit import AuditLog, InclusionProof, verify_entry
from policies.canonical import canonical, parse
from policies.errors import Malformed
from policies.keys import PublicKey
from policies.proofs import encode_inclusion, read_inclusion
from policies.terms import Document
from policies.warrant import Warrant, WarrantInvalid, verify_warrant
from provenance.signers import require_structure

MAX_CLAIM_BYTES = 64 * 1024
"""A claim of ours has 2 to 4 kB: it names assertions and their digests, and holds no picture."""

MAX_REQUEST_BYTES = 256 * 1024
"""The claim in base64, a warrant of many people, and two proofs with their checkpoints."""

Base64 = Annotated[str, Field(max_length=(MAX_CLAIM_BYTES + 2) // 3 * 4)]


class _Request(Document):
    schema_: Literal["facewarrant/signing-request/1"] = Field(alias="schema")
    claim: Base64
    warrant: Warrant
    decision: dict[str, Any]
    issued: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A claim, the warrant it is for, and proof that its decision and itself were logged."""

    claim: bytes
    warrant: Warrant
    decision: InclusionProof
    issued: InclusionProof


@dataclass(frozen=True, slots=True)
class SigningTrust:
    """Whom a signing service believes: one warrant desk, one log, and the policies it approved.

    `policies`: SHA-256 of each policy under which warrants are signed for, 64 hex digits.
    """

    issuer: PublicKey
    log_key: PublicKey
    origin: str
    policies: Collection[str]


def make_request(claim: bytes, warrant: Warrant, *, log: AuditLog) -> SigningRequest:
    """Return the request for a claim, with proofs under checkpoints signed now.

    Raises WarrantInvalid (WARRANT-UNLOGGED) where the log does not hold the warrant, LogTampered
    where it does not hold the decision.
    """
    found = log.latest(1, kind="warrant", about=warrant.sha256)
    if not found:
        raise WarrantInvalid("the log does not hold the warrant", code="WARRANT-UNLOGGED")
    decision, issued = log.prove(warrant.decision_index), log.prove(found[0][0])
    return SigningRequest(claim, warrant, decision, issued)


def encode_request(request: SigningRequest) -> bytes:
    """Return the canonical bytes that go over the wire."""
    return canonical(
        {
            "schema": "facewarrant/signing-request/1",
            "claim": base64.b64encode(request.claim).decode(),
            "warrant": request.warrant.model_dump(mode="json", by_alias=True),
            "decision": parse(encode_inclusion(request.decision)),
            "issued": parse(encode_inclusion(request.issued)),
        }
    )


def read_request(data: bytes) -> SigningRequest:
    """Read what `encode_request` wrote; raise Malformed for anything else."""
    parse(data, max_bytes=MAX_REQUEST_BYTES)
    try:
        read = _Request.model_validate_json(data)
        claim = base64.b64decode(read.claim, validate=True)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Malformed(f"not a signing request: {where or 'no document'}") from error
    except ValueError as error:
        raise Malformed("not a signing request: the claim is not base64") from error
    decision, issued = (read_inclusion(canonical(proof)) for proof in (read.decision, read.issued))
    return SigningRequest(claim, read.warrant, decision, issued)


def require_signable(request: SigningRequest, *, trust: SigningTrust, now: int) -> None:
    """Return if the claim may be signed at unix time `now`, by all that can be seen offline.

    Raises SigningFailed for bytes that are no claim; WarrantInvalid (WARRANT-FORGED,
    WARRANT-EXPIRED, WARRANT-OTHER-POLICY, WARRANT-UNLOGGED); ProofInvalid, BadSignature or
    Malformed for a proof that does not hold.
    """
    require_structure(request.claim)
    warrant = request.warrant
    # Its own policy first, so that forged and expired are told from not approved.
    verify_warrant(warrant, key=trust.issuer, policy_sha256=warrant.policy_sha256, now=now)
    if warrant.policy_sha256 not in trust.policies:
        raise WarrantInvalid(
            f"nobody approved the policy {warrant.policy_sha256} for this signing service",
            code="WARRANT-OTHER-POLICY",
            mend="read the policy, then add its digest to the service's file of policies",
        )
    for proof in (request.decision, request.issued):
        verify_entry(proof, origin=trust.origin, key=trust.log_key)
    _require_decided(warrant, request.decision)
    _require_issued(warrant, request.issued)


def _require_decided(warrant: Warrant, proof: InclusionProof) -> None:
    wanted = {
        "kind": "decision",
        "decision": warrant.decision_sha256,
        "request": warrant.request_sha256,
        "policy": warrant.policy_sha256,
        "allow": True,
    }
    if proof.index != warrant.decision_index or not _says(proof, wanted):
        raise WarrantInvalid(
            "the proven log entry is not the decision behind the warrant", code="WARRANT-UNLOGGED"
        )


def _require_issued(warrant: Warrant, proof: InclusionProof) -> None:
    wanted = {
        "kind": "warrant",
        "warrant": warrant.sha256,
        "decision": warrant.decision_index,
    }
    if not _says(proof, wanted):
        raise WarrantInvalid(
            "the proven log entry is not the one of this warrant", code="WARRANT-UNLOGGED"
        )


def _says(proof: InclusionProof, wanted: Mapping[str, object]) -> bool:
    return all(proof.entry.get(name) == value for name, value in wanted.items())
