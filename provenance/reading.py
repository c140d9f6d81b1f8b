"""What a manifest that was read is worth: one verdict out of everything the library reports.

Pure data, no library. The library's own state calls a file trusted whose parent was tampered with,
and one that breaks our rules (measured, c2pa-rs 0.91); so every failure in the manifest and in each
ingredient counts here, and the lint stands beside the verdict. Content comes from hostile files: no
field is taken for what it should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from provenance.assertions import (
    Json,
    SoftBinding,
    find_actions,
    objects,
    read_actions,
    read_consent,
    read_soft_bindings,
    read_warrant,
    read_withdrawal,
)
from provenance.fingerprints import ALG as PRINT_ALG
from provenance.fingerprints import PRINT_BYTES
from provenance.lint import find_notices
from provenance.manifest import MARK_ALG_PREFIX, LintFinding, lint_manifest
from provenance.tree import (
    UNTRUSTED,
    ManifestNode,
    as_object,
    code_list,
    delta_codes_by_uri,
    grow_tree,
)
from provenance.withdrawal import lint_withdrawal, released_below

Verdict = Literal[
    "trusted",
    "intact_untrusted",
    "invalid",
    "ingredient_invalid",
    "no_manifest",
    "remote_manifest_not_fetched",
    "unreadable",
]

Revocation = Literal["good", "revoked", "unknown"]

TimeStampState = Literal["trusted", "untrusted", "broken", "missing"]
"""A time stamp of an authority we believe; of another one; that does not hold; or none at all."""

TRUSTED = "signingCredential.trusted"
"""The signer of the active manifest leads to one of our anchors."""

EXPIRED = "signingCredential.expired"
"""The signer's certificate has ended, and no trusted time stamp says that it was used before."""


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
    keep their schema; `source_types`: IPTC digital source types of the actions; `findings`: broken
    rules; `notices`: what is missing without breaking one; `misused`: what led only to an anchor
    that was given for the other use; `tree`: this manifest and everything below it; `detail`: why
    nothing could be read, in our words; `remote_url`: where a hostile file may send its reader.

    `withdrawal`: org.facewarrant.withdrawal, in an update manifest on a release of its own signer;
    soft bindings, warrant, consent, actions and source types are then the release's, whose id is
    `released_id` (else it is `manifest_id`). `redacted`: assertions that were taken out of parts.
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
    withdrawal: Mapping[str, Any] | None = None
    released_id: str = ""
    redacted: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    findings: tuple[LintFinding, ...] = ()
    notices: tuple[LintFinding, ...] = ()
    misused: tuple[Literal["signer", "time stamp"], ...] = ()
    tree: ManifestNode | None = None
    detail: str = ""
    signer_serial: int | None = None
    remote_url: str = field(default="", repr=False)

    @property
    def time_stamp(self) -> TimeStampState:
        """How the time stamp stands, by its status codes (C2PA 2.2, 15.8)."""
        bad = {*self.failures, *self.informational}
        told = {c for c in (*self.successes, *bad) if c.startswith("timeStamp.")}
        if not told and self.signed_at is None:
            return "missing"
        holds = "timeStamp.validated" in told and self.signed_at is not None
        if not holds or told & bad - {"timeStamp.untrusted"}:
            return "broken"
        return "trusted" if self.time_stamped else "untrusted"

    @property
    def signer_expired(self) -> bool:
        """True when the certificate has ended, and no trusted time stamp proves it signed before.

        Nothing else is wrong with the file then: it was signed by whom it says, at no proven time.
        """
        return EXPIRED in self.failures and not set(self.failures) - {EXPIRED, UNTRUSTED}

    @property
    def intact(self) -> bool:
        """True when the file is as it was signed, whoever signed it and whatever its parts are."""
        sound = self.verdict in ("trusted", "intact_untrusted", "ingredient_invalid")
        return sound or (self.verdict == "invalid" and self.signer_expired)

    @property
    def signer_trusted(self) -> bool:
        """True when the signer's certificate leads to an anchor, whatever else is wrong."""
        return TRUSTED in self.successes and UNTRUSTED not in self.failures

    @property
    def bound_mark(self) -> str | None:
        """The one id of our kind of mark that it names, hex; another maker's is not ours."""
        ours = [b for b in self.soft_bindings if b.alg.startswith(MARK_ALG_PREFIX)]
        ids = [b.value.hex() for b in ours if b.alg != PRINT_ALG]
        return ids[0] if len(ids) == 1 else None

    @property
    def bound_print(self) -> str | None:
        """The one fingerprint of the pixels that it names, 64 hex digits."""
        prints = [b.value for b in self.soft_bindings if b.alg == PRINT_ALG]
        whole = len(prints) == 1 and len(prints[0]) == PRINT_BYTES
        return prints[0].hex() if whole else None

    @property
    def revocation(self) -> Revocation:
        """What the OCSP answer inside the manifest says of the signer; "unknown" without one."""
        if "signingCredential.ocsp.revoked" in (*self.failures, *self.informational):
            return "revoked"
        return "good" if "signingCredential.ocsp.notRevoked" in self.successes else "unknown"


def judge(report: Json, results: Json, state: str) -> ManifestReading:
    """Judge the library's report of a store, its validation results and its state; never raises."""
    manifest_id = str(report.get("active_manifest", ""))
    manifest = as_object(as_object(report.get("manifests")).get(manifest_id))
    active = as_object(results.get("activeManifest"))
    signature = as_object(manifest.get("signature_info"))
    failures, successes = code_list(active), code_list(active, "success")
    bad = _ingredient_failures(report, results)
    findings = (*lint_manifest(manifest), *lint_withdrawal(report))
    withdrawal = None if lint_withdrawal(report) else read_withdrawal(manifest)
    below = released_below(report) if withdrawal else None
    released_id, said = below or (manifest_id, manifest)
    warrant, consent = read_warrant(said), read_consent(said)
    signed_at = _time(signature.get("time"))
    tools = [str(tool.get("name", "")) for tool in objects(manifest.get("claim_generator_info"))]
    kinds = (action.get("digitalSourceType") for action in find_actions(said))
    return ManifestReading(
        verdict=_verdict(state, failures, TRUSTED in successes, bad),
        state=state,
        failures=failures,
        informational=code_list(active, "informational"),
        successes=successes,
        ingredient_failures=bad,
        manifest_id=manifest_id,
        signed_at=signed_at,
        time_stamped="timeStamp.trusted" in successes,
        issuer=str(signature.get("issuer") or ""),
        signer_serial=_serial(signature.get("cert_serial_number")),
        claim_generator=tools[0] if tools else "",
        soft_bindings=read_soft_bindings(said),
        warrant=warrant.model_dump(mode="json") if warrant else None,
        consent=consent.model_dump(mode="json") if consent else None,
        withdrawal=withdrawal.model_dump(mode="json") if withdrawal else None,
        released_id=released_id,
        redacted=_redacted(report),
        actions=read_actions(said),
        source_types=tuple(kind for kind in kinds if isinstance(kind, str)),
        findings=findings,
        notices=find_notices(manifest, results),
        tree=grow_tree(report, results),
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
    for manifest_id, manifest in as_object(report.get("manifests")).items():
        for ingredient in objects(as_object(manifest).get("ingredients")):
            own = as_object(ingredient.get("validation_results"))
            codes = code_list(as_object(own.get("activeManifest"))) + _delta_codes(own)
            # Claims of version 1 keep a flat list instead.
            codes += code_list(ingredient, "validation_status")
            found.append((str(manifest_id), ingredient.get("relationship"), codes))
    found.append((str(report.get("active_manifest", "")), None, _delta_codes(results)))
    return tuple(
        IngredientFailure(manifest_id, kind if isinstance(kind, str) else "ingredient", tuple(bad))
        for manifest_id, kind, codes in found
        if (bad := sorted(set(codes) - {UNTRUSTED}))
    )


def _delta_codes(results: Json) -> tuple[str, ...]:
    return tuple(code for codes in delta_codes_by_uri(results).values() for code in codes)


def _redacted(report: Json) -> tuple[str, ...]:
    """Return the assertions that a manifest of the store takes out of another, by their labels."""
    found: list[str] = []
    for manifest in as_object(report.get("manifests")).values():
        named = as_object(manifest).get("redactions")
        if isinstance(named, list):
            found += [str(uri).rpartition("/")[2][:120] for uri in named]
    return tuple(dict.fromkeys(found))


def _serial(value: object) -> int | None:
    """Return a serial number, which the library writes in decimal digits (at most 20 bytes)."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,60}", value):
        return int(value)
    return None


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
