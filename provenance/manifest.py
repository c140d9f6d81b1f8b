"""What the manifest of a released swap says, and the rules a manifest must keep.

Pure data: it decides the content and judges content that was read; it signs and verifies nothing.
No personal data goes in, only hashes, commitments and roles, so nothing ever has to be redacted.
Refused on writing: anything outside the schema below. The lint finds what the C2PA library lets
through: such files sign and read as trusted (measured with c2pa-rs 0.91).

Sources: C2PA specification 2.2 (actions, ingredients, soft binding), C2PA conformance v0.2, CAWG
training and data mining assertion 1.1. Field by field: docs/provenance-format.md.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from policies.errors import Malformed
from policies.terms import Digest, Document, ModelName, PersonRole
from provenance.assertions import (
    ACTIONS,
    CONSENT,
    SOFT_BINDING,
    TRAINING,
    WARRANT,
    WITHDRAWAL,
    ConsentAssertion,
    ConsentCommitment,
    Json,
    LogPosition,
    NamedModel,
    WarrantAssertion,
    bare_label,
    decode_base64,
    find_actions,
    find_data,
    objects,
    read_actions,
    read_consent,
    read_warrant,
)
from provenance.asset import VIDEO, AssetMime
from provenance.fingerprints import ALG as PRINT_ALG
from provenance.fingerprints import PRINT_BYTES

GENERATOR: Mapping[str, str] = {"name": "FaceWarrant", "version": "0.1.0", "specVersion": "2.2.0"}
"""The claim generator; `specVersion` is the newest one whose soft-binding type we write exactly."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC digital source type of a swap: a real picture with parts made by a trained model."""

CREATED_LABELS = (ACTIONS, "c2pa.ingredient", SOFT_BINDING, TRAINING, WARRANT, CONSENT, WITHDRAWAL)
"""Assertions we vouch for ourselves; a gathered one would only be passed on (C2PA 2.2, 10.2)."""

MAX_STORE_BYTES = 64 * 1024
"""Beyond it a JPEG store is split over APP11 segments, which one engine cannot read (measured)."""

MARK_ALG_PREFIX = "org.facewarrant."
"""Soft-binding algorithms under the domain we own; any other is not ours to read. All of them but
that of the fingerprint are watermarks."""

FindingCode = Literal[
    "ACTION-MALFORMED",
    "ALL-ACTIONS-UNSTATED",
    "BOUND-WITHOUT-SOFT-BINDING",
    "CONSENT-SCHEMA",
    "CREATED-WITH-PARENT",
    "FINGERPRINT-MALFORMED",
    "GATHERED",
    "MANY-PARENTS",
    "NO-ACTIONS",
    "NO-INGREDIENT-DELTAS",
    "NO-TIME-STAMP",
    "OPENED-SOURCE-TYPE",
    "RESOURCE-NAME",
    "REDACTED",
    "SOFT-BINDING-MALFORMED",
    "SOFT-BINDING-REPEATED",
    "SOFT-BINDING-UNKNOWN",
    "SOURCE-TYPE-MISSING",
    "STORE-TOO-LARGE",
    "THUMBNAIL",
    "WARRANT-SCHEMA",
    "WITHDRAWAL-FOREIGN",
    "WITHDRAWAL-SCHEMA",
    "WITHDRAWAL-SHAPE",
]

Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,40}$")]
Title = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,80}$")]
Milliseconds = Annotated[int, Field(ge=1, le=2**53 - 1)]
Algorithm = Annotated[
    str, StringConstraints(pattern=r"^org\.facewarrant(\.[A-Za-z0-9-]{1,40}){1,4}$")
]

ALWAYS_WRONG = frozenset({"MANY-PARENTS", "RESOURCE-NAME"})
"""Rules a validator must enforce whoever wrote the manifest; the library does not (measured)."""

_LINK = "self#jumbf="
_TRAINING_USES = (
    "cawg.ai_generative_training",
    "cawg.ai_training",
    "cawg.data_mining",
    "cawg.ai_inference",
)
# Predefined actions that need no digitalSourceType (C2PA conformance v0.2).
_NO_SOURCE_TYPE = frozenset(
    f"c2pa.{name}"
    for name in (
        "converted",
        "edited.metadata",
        "enhanced",
        "opened",
        "placed",
        "published",
        "redacted",
        "repackaged",
        "resized.proportional",
        "transcoded",
        "watermarked",
        "watermarked.bound",
        "watermarked.unbound",
    )
)


class _Labels(Document):
    title: Title
    swapper_name: ModelName
    swapper_version: Version
    watermark: Algorithm
    fingerprint: Digest
    shown_ms: Milliseconds | None


@dataclass(frozen=True, slots=True)
class SwapClaim:
    """Everything the manifest of one released swap says; refused with Malformed when ill-formed.

    `title`: the output's own id, never a file name a person chose; `mark_id`: 1 to 32 bytes carried
    by the watermark `watermark`; hashes: 64 hex digits; `fingerprint`: the PDQ bits of the marked
    pixels as they are released, 64 hex digits, of a video those of its first frame, which is shown
    for `shown_ms` milliseconds (None for a picture); `models`: name to SHA-256 of the weights;
    `consents`: (commitment hex, role); `edited_at`: when the swap was made.
    """

    title: str
    mime: AssetMime
    mark_id: bytes
    watermark: str
    fingerprint: str
    warrant_hash: str
    decision_hash: str
    policy_sha256: str
    models: Mapping[str, str]
    swapper_name: str
    swapper_version: str
    log: LogPosition
    consents: tuple[tuple[str, PersonRole], ...]
    edited_at: datetime | None = None
    shown_ms: int | None = None

    def __post_init__(self) -> None:
        _assertions(self)


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One broken rule: a stable code, and the rule in words."""

    code: FindingCode
    words: str


def build_manifest(claim: SwapClaim) -> Json:
    """Return the manifest definition of a released swap, in the C2PA library's JSON form.

    It names two ingredients, "target" and "source", which the signer adds with their bytes.
    """
    warrant, consent = _assertions(claim)
    training = {use: {"use": "notAllowed"} for use in _TRAINING_USES}
    return {
        "title": claim.title,
        "format": claim.mime,
        "claim_generator_info": [dict(GENERATOR)],
        "assertions": [
            {
                "label": f"{ACTIONS}.v2",
                "data": {"allActionsIncluded": True, "actions": _actions(claim)},
            },
            *({"label": SOFT_BINDING, "data": binding} for binding in _bindings(claim)),
            {"label": TRAINING, "data": {"entries": training}},
            {"label": WARRANT, "data": warrant.model_dump(mode="json")},
            {"label": CONSENT, "data": consent.model_dump(mode="json")},
        ],
    }


def _bindings(claim: SwapClaim) -> tuple[Json, Json]:
    """Return what leads from the pixels back to this manifest once it is stripped (C2PA 2.2)."""
    mark = {"scope": {}, "value": base64.b64encode(claim.mark_id).decode("ascii")}
    # Times count from the first frame; an empty scope is the whole picture, and every frame.
    first = {} if claim.shown_ms is None else {"timespan": {"start": 0, "end": claim.shown_ms}}
    bits = base64.b64encode(bytes.fromhex(claim.fingerprint)).decode("ascii")
    print_ = {"scope": first, "value": bits}
    return (
        {"alg": claim.watermark, "name": "invisible watermark", "pad": [], "blocks": [mark]},
        {"alg": PRINT_ALG, "name": "perceptual fingerprint", "pad": [], "blocks": [print_]},
    )


def _actions(claim: SwapClaim) -> list[Json]:
    edited: Json = {
        "action": "c2pa.edited",
        "description": "face swap under warrant",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": claim.swapper_name, "version": claim.swapper_version},
    }
    if claim.edited_at is not None:
        edited["when"] = claim.edited_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}},
        {"action": "c2pa.placed", "parameters": {"ingredientIds": ["source"]}},
        edited,
        {"action": "c2pa.watermarked.bound"},
    ]


def _assertions(claim: SwapClaim) -> tuple[WarrantAssertion, ConsentAssertion]:
    if not 1 <= len(claim.mark_id) <= 32:
        raise Malformed(f"a mark id has 1 to 32 bytes, got {len(claim.mark_id)}")
    if claim.log.index >= claim.log.size:
        raise Malformed(f"the log of {claim.log.size} leaves has no leaf {claim.log.index}")
    if (claim.shown_ms is not None) != (claim.mime == VIDEO):
        raise Malformed("how long the first frame is shown is said of a video, and of nothing else")
    if claim.watermark == PRINT_ALG:
        raise Malformed(f"{PRINT_ALG} is the fingerprint, not a watermark")
    try:
        _Labels(
            title=claim.title,
            swapper_name=claim.swapper_name,
            swapper_version=claim.swapper_version,
            watermark=claim.watermark,
            fingerprint=claim.fingerprint,
            shown_ms=claim.shown_ms,
        )
        warrant = WarrantAssertion(
            version=1,
            warrant_hash=claim.warrant_hash,
            decision_hash=claim.decision_hash,
            policy_sha256=claim.policy_sha256,
            models=tuple(NamedModel(name=n, sha256=h) for n, h in sorted(claim.models.items())),
            log=claim.log,
        )
        consents = tuple(ConsentCommitment(commitment=c, role=r) for c, r in claim.consents)
        return warrant, ConsentAssertion(version=1, consents=consents)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise Malformed(f"the manifest cannot say this: {fields}") from error


def lint_manifest(manifest: Json, *, store_bytes: int | None = None) -> tuple[LintFinding, ...]:
    """Return every rule that a manifest breaks, in a fixed order; none for a good one.

    `manifest`: one manifest as the C2PA library reports it after reading; `store_bytes`: size of
    the whole store, where known. Rules about our own output apply only to a manifest that says it
    is ours.
    """
    rules = [*_lint_ingredients(manifest), *_lint_actions(manifest), *_lint_bindings(manifest)]
    rules += _lint_names(manifest)
    if _is_ours(manifest):
        rules += [*_lint_own(manifest), *_lint_own_schema(manifest)]
        if store_bytes is not None and store_bytes > MAX_STORE_BYTES:
            rules.append(
                LintFinding("STORE-TOO-LARGE", f"{store_bytes} bytes; at most {MAX_STORE_BYTES}")
            )
    return tuple(rules)


def _lint_ingredients(manifest: Json) -> Iterator[LintFinding]:
    parents = [
        i for i in objects(manifest.get("ingredients")) if i.get("relationship") == "parentOf"
    ]
    if len(parents) > 1:
        yield LintFinding("MANY-PARENTS", f"{len(parents)} parents; a picture has at most one")
    if parents and "c2pa.created" in read_actions(manifest):
        yield LintFinding("CREATED-WITH-PARENT", "says it was created, and names a parent")


def _lint_actions(manifest: Json) -> Iterator[LintFinding]:
    actions = find_actions(manifest)
    if not actions:
        yield LintFinding("NO-ACTIONS", "says nothing about what was done")
    for action in actions:
        name = action.get("action")
        if not isinstance(name, str):
            yield LintFinding("ACTION-MALFORMED", "an action has no name")
        elif name == "c2pa.opened" and "digitalSourceType" in action:
            yield LintFinding("OPENED-SOURCE-TYPE", "an opened picture keeps its own source type")
        elif name.startswith("c2pa.") and name not in _NO_SOURCE_TYPE:
            if not isinstance(action.get("digitalSourceType"), str):
                yield LintFinding(
                    "SOURCE-TYPE-MISSING", "a change does not say by what kind of tool"
                )
    for data in find_data(manifest, ACTIONS):
        if not isinstance(data.get("allActionsIncluded"), bool):
            yield LintFinding("ALL-ACTIONS-UNSTATED", "does not say whether actions are complete")


def _lint_bindings(manifest: Json) -> Iterator[LintFinding]:
    bindings = find_data(manifest, SOFT_BINDING)
    marks = [data for data in bindings if data.get("alg") != PRINT_ALG]
    if "c2pa.watermarked.bound" in read_actions(manifest) and not marks:
        yield LintFinding("BOUND-WITHOUT-SOFT-BINDING", "claims a bound watermark, but gives no id")
    named: list[str] = []
    for data in bindings:
        blocks = objects(data.get("blocks"))
        values = [decode_base64(block.get("value")) for block in blocks]
        if not values or None in values:
            yield LintFinding("SOFT-BINDING-MALFORMED", "the value of a binding is not base64 text")
        alg = data.get("alg")
        if not (isinstance(alg, str) and alg.startswith(MARK_ALG_PREFIX)):
            yield LintFinding("SOFT-BINDING-UNKNOWN", "a binding of an algorithm we cannot read")
        else:
            named += [alg] * len(blocks)
            if alg == PRINT_ALG and any(len(bits) != PRINT_BYTES for bits in values if bits):
                yield LintFinding("FINGERPRINT-MALFORMED", "a fingerprint has not 256 bits")
    if len(named) > len(set(named)):
        yield LintFinding("SOFT-BINDING-REPEATED", "two values of one algorithm: one of them lies")


def _lint_names(manifest: Json) -> Iterator[LintFinding]:
    """Find names that lead out of the store: no reader may make a path of them."""
    pictures = [manifest, *objects(manifest.get("ingredients"))]
    links = [picture.get(kind) for picture in pictures for kind in ("thumbnail", "data")]
    names = [one.get("identifier") for one in links if isinstance(one, dict)]
    names += [entry.get("label") for entry in objects(manifest.get("assertions"))]
    if any(isinstance(name, str) and _climbs(name) for name in names):
        yield LintFinding("RESOURCE-NAME", "a part is named like a file outside the manifest")


def _climbs(name: str) -> bool:
    path = name.removeprefix(_LINK)
    absolute = "//" in path if name.startswith(_LINK) else path.startswith(("/", "file:"))
    return absolute or "\\" in path or ".." in path.split("/")


def _lint_own(manifest: Json) -> Iterator[LintFinding]:
    if any(entry.get("created") is not True for entry in objects(manifest.get("assertions"))):
        yield LintFinding("GATHERED", "our output passes on assertions it does not vouch for")
    pictures = [manifest, *objects(manifest.get("ingredients"))]
    if any("thumbnail" in picture for picture in pictures):
        yield LintFinding("THUMBNAIL", "our output carries a thumbnail")
    if manifest.get("redactions"):
        yield LintFinding("REDACTED", "our output takes back assertions of a part: ours never do")


def _lint_own_schema(manifest: Json) -> Iterator[LintFinding]:
    if find_data(manifest, WITHDRAWAL):
        return  # an update says what it adds to the release below it: `withdrawal` judges both
    if read_warrant(manifest) is None:
        yield LintFinding("WARRANT-SCHEMA", "no single well-formed warrant assertion")
    if read_consent(manifest) is None:
        yield LintFinding("CONSENT-SCHEMA", "no single well-formed consent assertion")


def _is_ours(manifest: Json) -> bool:
    tools = objects(manifest.get("claim_generator_info"))
    labels = [bare_label(e.get("label")) for e in objects(manifest.get("assertions"))]
    return any(tool.get("name") == GENERATOR["name"] for tool in tools) or any(
        label.startswith("org.facewarrant.") for label in labels
    )
