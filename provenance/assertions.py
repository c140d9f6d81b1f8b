"""The assertions of a manifest: their labels, our three schemas, and careful readers for all.

A manifest that was read may be hostile even when its signature is good: any field may be missing,
of another type, or there twice. The readers here never raise for that; they return what is
well-formed and None or nothing for the rest. Refused, as None: one of ours that
is repeated or has one field outside its schema.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from policies.terms import Digest, Document, ModelName, PersonRole, UnixTime

ACTIONS = "c2pa.actions"
SOFT_BINDING = "c2pa.soft-binding"
TRAINING = "cawg.training-mining"
WARRANT = "org.facewarrant.warrant"
CONSENT = "org.facewarrant.consent"
WITHDRAWAL = "org.facewarrant.withdrawal"

Json: TypeAlias = dict[str, Any]
Origin = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/:+-]{1,120}$")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
_D = TypeVar("_D", bound=Document)


class LogPosition(Document):
    """Where the decision stands in the append-only log: leaf `index` in a tree of `size` leaves."""

    origin: Origin
    index: Count
    size: Count


class NamedModel(Document):
    """One model that took part, by name and the SHA-256 of its weights."""

    name: ModelName
    sha256: Digest


class WarrantAssertion(Document):
    """The assertion org.facewarrant.warrant: what permitted this output."""

    version: Literal[1]
    warrant_hash: Digest
    decision_hash: Digest
    policy_sha256: Digest
    models: tuple[NamedModel, ...]
    log: LogPosition


class ConsentCommitment(Document):
    """A keyed commitment to one person's consent record, and which part they have in the swap."""

    commitment: Digest
    role: PersonRole


class ConsentAssertion(Document):
    """The assertion org.facewarrant.consent: whose consents were relied on, without saying who."""

    version: Literal[1]
    consents: Annotated[tuple[ConsentCommitment, ...], Field(min_length=1)]


class EndedConsent(Document):
    """A consent that ended: by its commitment, when, and where the log says so; never why or whose.

    `at`: unix seconds of the log entry.
    """

    commitment: Digest
    at: UnixTime
    log: LogPosition


class WithdrawalAssertion(Document):
    """The assertion org.facewarrant.withdrawal: which consents of the release below ended since."""

    version: Literal[1]
    consents: Annotated[tuple[EndedConsent, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class SoftBinding:
    """What ties pixels to the manifest: the algorithm, and a watermark's id or a fingerprint."""

    alg: str
    value: bytes


def read_warrant(manifest: Json) -> WarrantAssertion | None:
    """Return the warrant assertion of a manifest; None when absent, repeated or ill-formed."""
    return _read_one(manifest, WARRANT, WarrantAssertion)


def read_consent(manifest: Json) -> ConsentAssertion | None:
    """Return the consent assertion of a manifest; None when absent, repeated or ill-formed."""
    return _read_one(manifest, CONSENT, ConsentAssertion)


def read_withdrawal(manifest: Json) -> WithdrawalAssertion | None:
    """Return the withdrawal assertion of a manifest; None when absent, repeated or ill-formed."""
    return _read_one(manifest, WITHDRAWAL, WithdrawalAssertion)


def read_soft_bindings(manifest: Json) -> tuple[SoftBinding, ...]:
    """Return the watermark ids and fingerprints a manifest names; no base64 text, left out."""
    found = []
    for data in find_data(manifest, SOFT_BINDING):
        for block in objects(data.get("blocks")):
            value = decode_base64(block.get("value"))
            if value is not None and isinstance(data.get("alg"), str):
                found.append(SoftBinding(data["alg"], value))
    return tuple(found)


def read_actions(manifest: Json) -> tuple[str, ...]:
    """Return the names of the actions, in order; an action without a name is left out."""
    names = (action.get("action") for action in find_actions(manifest))
    return tuple(name for name in names if isinstance(name, str))


def objects(value: object) -> list[Json]:
    """Return the JSON objects of a list; anything else in a hostile file counts as absent."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def find_data(manifest: Json, label: str) -> list[Json]:
    """Return the data of every assertion of that label, whatever its version or repetition."""
    entries = objects(manifest.get("assertions"))
    found = [e for e in entries if bare_label(e.get("label")) == label]
    return [e["data"] if isinstance(e.get("data"), dict) else {} for e in found]


def bare_label(label: object) -> str:
    """Strip the version (.v2) and repetition (__1) of a label; C2PA 2.2, section 6.4."""
    text = label.partition("__")[0] if isinstance(label, str) else ""
    stem, _, version = text.rpartition(".v")
    return stem if stem and version.isdigit() else text


def find_actions(manifest: Json) -> list[Json]:
    """Return the actions of every actions assertion, in order."""
    return [a for data in find_data(manifest, ACTIONS) for a in objects(data.get("actions"))]


def _read_one(manifest: Json, label: str, kind: type[_D]) -> _D | None:
    found = find_data(manifest, label)
    if len(found) != 1:
        return None
    try:
        # By way of JSON text: strict models take a JSON list for a tuple, not a Python one.
        return kind.model_validate_json(json.dumps(found[0]))
    except (ValidationError, RecursionError):
        return None


def decode_base64(value: object) -> bytes | None:
    """Return the bytes of non-empty base64 text; None for anything else."""
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) and value else None
    except (binascii.Error, ValueError):
        return None
