"""The update manifest that says 'consent withdrawn': what is in it, and when it may be believed.

Pure data, as `manifest` is for the release itself. The update leaves pixels and hard binding alone
and stands on the released manifest as its one parent (C2PA 2.2, 11.2.3); what was released is read
from there. Refused, as lint: a withdrawal outside its schema, in another shape, on a manifest that
is no release of the same signer and log, or about a consent which that release does not name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from provenance.assertions import (
    ACTIONS,
    CONSENT,
    SOFT_BINDING,
    WARRANT,
    WITHDRAWAL,
    EndedConsent,
    Json,
    LogPosition,
    WithdrawalAssertion,
    find_data,
    objects,
    read_actions,
    read_consent,
    read_warrant,
    read_withdrawal,
)
from provenance.asset import AssetMime
from provenance.evidence import Evidence
from provenance.manifest import GENERATOR, LintFinding
from provenance.notice import WithdrawalNotice
from provenance.tree import as_object

PARENT: Final = "released"
"""The label under which the update names the released file."""

# What an update manifest may say was done (C2PA 2.2, 11.2.3), and we do no more.
_ACTIONS = ("c2pa.opened", "c2pa.edited.metadata")


def withdrawal_of(notice: WithdrawalNotice) -> WithdrawalAssertion:
    """Return what a notice permits to say."""
    return WithdrawalAssertion(
        version=1,
        consents=tuple(
            EndedConsent(
                commitment=one.commitment,
                at=one.at,
                log=LogPosition(
                    origin=notice.log_origin, index=one.log_index, size=one.log_index + 1
                ),
            )
            for one in notice.ended
        ),
    )


def build_update(notice: WithdrawalNotice, mime: AssetMime) -> Json:
    """Return the definition of the update manifest, in the C2PA library's JSON form.

    It names one ingredient, `PARENT`, which the signer adds with the released bytes.
    """
    actions = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}},
        {"action": "c2pa.edited.metadata", "description": "consent withdrawn"},
    ]
    said = withdrawal_of(notice).model_dump(mode="json")
    return {
        "title": notice.row.mark_id,
        "format": mime,
        "claim_generator_info": [dict(GENERATOR)],
        "assertions": [
            {"label": f"{ACTIONS}.v2", "data": {"allActionsIncluded": True, "actions": actions}},
            {"label": WITHDRAWAL, "data": said},
        ],
    }


def lint_withdrawal(report: Json) -> tuple[LintFinding, ...]:
    """Return what is wrong with the withdrawal in a store's active manifest; none without one.

    `report`: the C2PA library's report of the whole store.
    """
    manifest = _active(report)
    return tuple(_lint(manifest, report)) if find_data(manifest, WITHDRAWAL) else ()


def released_below(report: Json) -> tuple[str, Json] | None:
    """Return id and content of the one manifest that an update stands on; None for anything else.

    It is no manifest's business to stand on itself: such a loop is None as well.
    """
    parts = objects(_active(report).get("ingredients"))
    if len(parts) != 1 or parts[0].get("relationship") != "parentOf":
        return None
    below = parts[0].get("active_manifest")
    if not isinstance(below, str) or below == report.get("active_manifest"):
        return None
    manifest = as_object(report.get("manifests")).get(below)
    return (below, manifest) if isinstance(manifest, dict) else None


def state_changes(
    withdrawal: Mapping[str, Any] | None, redacted: Sequence[str]
) -> Iterator[Evidence]:
    """Yield what a file says was taken back: a consent, or assertions of a part."""
    if redacted:
        names = ", ".join(redacted)
        yield Evidence("ingredients", "warns", f"assertions of a part were redacted: {names}")
    if withdrawal is not None:
        days = {datetime.fromtimestamp(one["at"], UTC).date() for one in withdrawal["consents"]}
        when = ", ".join(day.isoformat() for day in sorted(days))
        words = f"the release's own newest manifest says that consent was withdrawn on {when}"
        yield Evidence("consent", "warns", words)


def _lint(manifest: Json, report: Json) -> Iterator[LintFinding]:
    said = read_withdrawal(manifest)
    if said is None:
        yield LintFinding("WITHDRAWAL-SCHEMA", "no single well-formed withdrawal assertion")
        return
    own = any(find_data(manifest, label) for label in (SOFT_BINDING, WARRANT, CONSENT))
    found = released_below(report)
    if own or found is None or read_actions(manifest) != _ACTIONS:
        yield LintFinding("WITHDRAWAL-SHAPE", "a withdrawal only adds itself to one release")
    elif not _is_of(said, found[1]) or _signer(manifest) != _signer(found[1]):
        words = "a withdrawal is no other's than the release's own signer's, about its own consents"
        yield LintFinding("WITHDRAWAL-FOREIGN", words)


def _is_of(said: WithdrawalAssertion, release: Json) -> bool:
    warrant, consent = read_warrant(release), read_consent(release)
    if warrant is None or consent is None:
        return False
    named = {one.commitment for one in consent.consents}
    return all(
        one.commitment in named and one.log.origin == warrant.log.origin for one in said.consents
    )


def _signer(manifest: Json) -> object:
    """Return the organisation that signed; certificates change, it does not."""
    return as_object(manifest.get("signature_info")).get("issuer")


def _active(report: Json) -> Json:
    return as_object(as_object(report.get("manifests")).get(str(report.get("active_manifest", ""))))
