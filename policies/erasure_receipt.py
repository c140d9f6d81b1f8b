"""The signed receipt of an erasure: what was destroyed, how that was checked, and what stays.

It names nobody: `subject_commitment` was made with a salt that is destroyed with the key, so that
the receipt leads to its person by its id alone. The log holds the receipt's digest.
Refused: a receipt that claims more than was checked, and one that is not in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from policies.audit import InclusionProof, verify_entry
from policies.canonical import canonical, digest, parse
from policies.errors import BadSignature, Malformed
from policies.keyprovider import VersionState
from policies.keys import PublicKey, SigningKey
from policies.merkle import ProofInvalid
from policies.proofs import encode_inclusion, read_inclusion
from policies.terms import Digest, Document, KeyId, ModelName, Signature, Text, UnixTime, Uuid

KIND = "erasure"

MAX_RECEIPT_BYTES = 4 << 20
"""About 20,000 releases under one erased person's consents."""

DerivativeState = Literal["released", "unpublished", "takedown_asked", "destroyed"]


@dataclass(frozen=True, slots=True)
class Derivative:
    """Something made with the person's likeness: a manifest id or output commitment, its state.

    An erasure destroys no released file; the receipt says what became of each.
    """

    output: str
    state: DerivativeState


class ListedDerivative(Document):
    """A derivative as the receipt lists it."""

    output: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    state: DerivativeState


class Derived(Document):
    """All that the receipt lists without destroying it."""

    derivatives: tuple[ListedDerivative, ...]
    models: tuple[ModelName, ...]


class Kept(Document):
    """What stays, on which basis, and until when (unix seconds; None: no end is set)."""

    what: Text
    basis: Text
    until: UnixTime | None


class KekStanding(Document):
    """The key-encryption key that had wrapped the destroyed data key, as it stands now.

    Copies of the wrapped key, in backups, stay openable while it is `kept`, and until `gone_at`
    while its destruction is `scheduled`.
    """

    version: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    state: VersionState
    gone_at: UnixTime | None


class Checks(Document):
    """What was tried after the key was destroyed.

    `decrypt_fails`: bytes that had opened before no longer do. `copies_found`: of `needles` byte
    strings (the wrapped key, the salt, the sealed templates) in `files_searched` files.
    """

    decrypt_fails: Literal[True]
    copies_found: Annotated[int, Field(ge=0, le=0)]
    needles: Annotated[int, Field(ge=1)]
    files_searched: Annotated[int, Field(ge=0)]


class ErasureReceipt(Document):
    """What the person gets; `sig` is the controller's (Ed25519) over everything else."""

    schema_: Literal["facewarrant/erasure/1"] = Field(alias="schema")
    receipt_id: Uuid
    request_id: Uuid
    subject_commitment: Digest
    requested_at: UnixTime
    completed_at: UnixTime
    method: Literal["crypto-shred"]
    dek_ids: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")], ...],
        Field(min_length=1),
    ]
    kek: KekStanding
    checks: Checks
    not_ended: tuple[Digest, ...]
    """Consents that were broken, so that no event could end them; as the log names them. Nothing is
    permitted under them: the erasure itself closes them."""
    derivatives: tuple[ListedDerivative, ...]
    models: tuple[ModelName, ...]
    kept: tuple[Kept, ...]
    kid: KeyId
    sig: Signature


def list_derived(derivatives: Sequence[Derivative], models: Sequence[str]) -> Derived:
    """Return what a receipt will list, checked; raise Malformed before anything is destroyed."""
    body = {"derivatives": [asdict(each) for each in derivatives], "models": list(models)}
    return _read(Derived, body, what="list of derivatives")


def sign_receipt(body: Mapping[str, Any], *, key: SigningKey) -> dict[str, Any]:
    """Return the receipt with the controller's key id and signature; raise Malformed."""
    named = {**body, "kid": key.public.kid}
    signed = {**named, "sig": key.sign(KIND, named)}
    read_receipt(signed)
    return signed


def read_receipt(document: Mapping[str, Any]) -> ErasureReceipt:
    """Return a receipt without its log proof as a checked document; raise Malformed."""
    return _read(ErasureReceipt, document, what="erasure receipt")


def with_proof(receipt: Mapping[str, Any], proof: InclusionProof) -> dict[str, Any]:
    """Return what the person gets: the signed receipt, and under `log` where the log holds it."""
    return {**receipt, "log": parse(encode_inclusion(proof), max_bytes=MAX_RECEIPT_BYTES)}


def verify_receipt(
    document: Mapping[str, Any],
    *,
    controllers: Sequence[PublicKey],
    origin: str,
    log_key: PublicKey,
) -> ErasureReceipt:
    """Return a receipt that a controller signed and the log holds; needs no database.

    Raises Malformed, BadSignature, and ProofInvalid when the log's entry is about something else.
    """
    signed = {name: value for name, value in document.items() if name != "log"}
    receipt = read_receipt(signed)
    key = next((key for key in controllers if key.kid == receipt.kid), None)
    if key is None:
        raise BadSignature(f"the receipt is signed by an unknown key {receipt.kid}")
    unsigned = {name: value for name, value in signed.items() if name != "sig"}
    key.verify(KIND, unsigned, receipt.sig)
    log = document.get("log")
    if not isinstance(log, Mapping):
        raise Malformed("the receipt has no proof that the log holds it")
    proof = read_inclusion(canonical(log))
    verify_entry(proof, origin=origin, key=log_key)
    entry = {name: proof.entry.get(name) for name in ("kind", "receipt", "subject")}
    expected = {"kind": KIND, "receipt": digest(signed), "subject": receipt.subject_commitment}
    if entry != expected:
        raise ProofInvalid("the log's entry is not about this receipt")
    return receipt


_Read = TypeVar("_Read", Derived, ErasureReceipt)


def _read(model: type[_Read], body: Mapping[str, Any], *, what: str) -> _Read:
    try:
        return model.model_validate_json(canonical(body))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise Malformed(f"not a proper {what}: {where}: {detail['msg']}") from error
