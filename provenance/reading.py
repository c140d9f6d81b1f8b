"""What a manifest that was read is worth: one verdict out of everything the library reports.

Pure data, no library. The library's own state calls a file trusted whose parent was tampered with,
and one that breaks our rules (measured, c2pa-rs 0.91); so every failure in the manifest and in each
ingredient counts here, and the lint stands beside the verdict. Content comes from hostile files: no
field is taken for what it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from provenance.assertions import (
    Json,
    SoftBinding,
    objects,
    read_actions,
    read_consent,
    read_soft_bindings,
    read_warrant,
)
from provenance.manifest import LintFinding, lint_manifest

Verdict = Literal[
    "trusted",
    "intact_untrusted",
    "invalid",
    "ingredient_invalid",
    "no_manifest",
    "remote_manifest_not_fetched",
    "unreadable",
]

UNTRUSTED = "signingCredential.untrusted"
"""The one failure that says nothing against integrity: the signer leads to none of our anchors."""

TRUSTED = "signingCredential.trusted"
"""The signer of the active manifest leads to one of our anchors."""


@dataclass(frozen=True, slots=True)
class IngredientFailure:
    """An ingredient that does not hold: in which manifest, its relationship, and the codes."""

    manifest_id: str
    relationship: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManifestReading:
    """What a file's manifest says and what that is worth; believe nothing below `verdict` alone.

    `failures`, `informational`, `successes`: C2PA status codes of the active manifest; `signed_at`:
    what the time stamp says, evidence only with `time_stamped`; `issuer`: organisation in the
    signer's certificate, evidence only when trusted; `warrant`, `consent`: our assertions when they
    keep their schema; `detail`: why nothing could be read, in our words.
    """

    verdict: Verdict
    state: str = ""
    failures: tuple[str, ...] = ()
    informational: tuple[str, ...] = ()
    successes: tuple[str, ...] = ()
    ingredient_failures: tuple[IngredientFailure, ...] = ()
    manifest_id: str = ""
    signed_at: datetime | None = None
    time_stamped: bool = False
    issuer: str = ""
    claim_generator: str = ""
    soft_bindings: tuple[SoftBinding, ...] = ()
    warrant: Mapping[str, Any] | None = None
    consent: Mapping[str, Any] | None = None
    actions: tuple[str, ...] = ()
    findings: tuple[LintFinding, ...] = ()
    detail: str = ""

    @property
    def signer_trusted(self) -> bool:
        """True when the signer's certificate leads to an anchor, whatever else is wrong."""
        return TRUSTED in self.successes and UNTRUSTED not in self.failures


def judge(report: Json, results: Json, state: str) -> ManifestReading:
    """Judge the library's report of a store, its validation results and its state; never raises."""
    manifest_id = str(report.get("active_manifest", ""))
    manifest = _object(_object(report.get("manifests")).get(manifest_id))
    active, signature = (
        _object(results.get("activeManifest")),
        _object(manifest.get("signature_info")),
    )
    failures, successes = _codes(active, "failure"), _codes(active, "success")
    bad = _ingredient_failures(report, results)
    warrant, consent = read_warrant(manifest), read_consent(manifest)
    tools = [str(tool.get("name", "")) for tool in objects(manifest.get("claim_generator_info"))]
    return ManifestReading(
        verdict=_verdict(state, failures, TRUSTED in successes, bad),
        state=state,
        failures=failures,
        informational=_codes(active, "informational"),
        successes=successes,
        ingredient_failures=bad,
        manifest_id=manifest_id,
        signed_at=_time(signature.get("time")),
        time_stamped="timeStamp.trusted" in successes,
        issuer=str(signature.get("issuer") or ""),
        claim_generator=tools[0] if tools else "",
        soft_bindings=read_soft_bindings(manifest),
        warrant=warrant.model_dump(mode="json") if warrant else None,
        consent=consent.model_dump(mode="json") if consent else None,
        actions=read_actions(manifest),
        findings=lint_manifest(manifest),
    )


def _verdict(
    state: str,
    failures: tuple[str, ...],
    signer_trusted: bool,
    ingredients: tuple[IngredientFailure, ...],
) -> Verdict:
    if state not in ("Trusted", "Valid") or set(failures) - {UNTRUSTED}:
        return "invalid"
    if ingredients:
        return "ingredient_invalid"
    # The library says "Valid" where an ingredient's signer is unknown to us, as most cameras are.
    trusted = state == "Trusted" or signer_trusted
    return "trusted" if trusted and not failures else "intact_untrusted"


def _ingredient_failures(report: Json, results: Json) -> tuple[IngredientFailure, ...]:
    """Collect what fails in any ingredient of any manifest, untrusted signers apart."""
    found = []
    for manifest_id, manifest in _object(report.get("manifests")).items():
        for ingredient in objects(_object(manifest).get("ingredients")):
            own = _object(ingredient.get("validation_results"))
            codes = _codes(_object(own.get("activeManifest")), "failure") + _delta_codes(own)
            # Claims of version 1 keep a flat list instead.
            codes += _codes(ingredient, "validation_status")
            found.append((str(manifest_id), ingredient.get("relationship"), codes))
    found.append((str(report.get("active_manifest", "")), None, _delta_codes(results)))
    return tuple(
        IngredientFailure(manifest_id, kind if isinstance(kind, str) else "ingredient", tuple(bad))
        for manifest_id, kind, codes in found
        if (bad := sorted(set(codes) - {UNTRUSTED}))
    )


def _delta_codes(results: Json) -> tuple[str, ...]:
    deltas = objects(results.get("ingredientDeltas"))
    return tuple(
        code for d in deltas for code in _codes(_object(d.get("validationDeltas")), "failure")
    )


def _codes(results: Json, kind: str) -> tuple[str, ...]:
    codes = (str(entry.get("code", "unknown")) for entry in objects(results.get(kind)))
    return tuple(dict.fromkeys(codes))  # the library reports some twice


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
