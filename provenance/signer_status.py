"""What stands against a signer's certificate: stapled answers, revocation lists, its product.

Read beside the C2PA library, which says less. Only doubt comes from here: a line that fails ends a
file's trust, no line gives it. Where revocation lists were given and the certificate cannot be
read, that fails too: nobody can say then that it is on none of them.
"""

from __future__ import annotations

from datetime import datetime

from policies.errors import Malformed
from provenance.chains import TrustAnchors
from provenance.claim_signature import ClaimSignature
from provenance.evidence import Evidence, State
from provenance.products import state_product
from provenance.reading import ManifestReading
from provenance.revocation import state_listed
from provenance.stapled import Staple, StapleState, judge_answers
from provenance.statements import state_revocation
from provenance.trust import TrustLists

_STATES: dict[StapleState, State] = {
    "revoked": "fails",
    "good": "holds",
    "revoked since": "warns",
    "stale": "warns",
    "unknown": "warns",
    "void": "warns",
}


def state_signer(
    reading: ManifestReading,
    signature: ClaimSignature | Malformed,
    *,
    anchors: TrustAnchors,
    lists: TrustLists,
    now: datetime,
) -> tuple[Evidence, ...]:
    """Return the lines about the signer's certificate: revocation, product, lint; never raises.

    `signature`: that of the manifest in `reading`, or why it could not be read.
    """
    stamped = reading.signed_at if reading.time_stamped else None
    if isinstance(signature, Malformed):
        lines = [state_revocation(reading)]
        if lists.revoked:
            words = f"the signer's certificate could not be looked up: {signature.message}"
            lines.append(Evidence("revocation", "fails", words))
        product = state_product(None, lists.products, trusted=False)
        return (*lines, product)
    roots = (*anchors.certificates, *lists.roots("signers"))
    staple = judge_answers(signature, roots=roots, stamped=stamped, now=now)
    lines = [_state_staple(reading, staple)]
    if lists.revoked:
        lines.append(
            state_listed(signature.chain, lists.revoked, roots=roots, stamped=stamped, now=now)
        )
    lines.append(state_product(signature.leaf, lists.products, trusted=reading.signer_trusted))
    if staple is not None and staple.state == "stale":
        lines.append(Evidence("lint", "warns", f"STALE-OCSP: {staple.words}"))
    return tuple(lines)


def _state_staple(reading: ManifestReading, staple: Staple | None) -> Evidence:
    """Return the line about stapled answers; the library's word counts where it is worse."""
    said = state_revocation(reading)
    if staple is None or said.state == "fails":
        return said
    return Evidence("revocation", _STATES[staple.state], staple.words)
