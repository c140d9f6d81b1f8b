"""What a manifest reading and the labels of a file mean, line by line, in words for an auditor.

Decides the state of each line; nothing here decides the verdict. Another maker's habits are not
ours to judge, so a broken rule fails only where the manifest says that it is ours; a rule
that every validator must enforce fails always.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from provenance.asset import Content
from provenance.chains import TrustAnchors
from provenance.clash import ContentSays, LabelSays
from provenance.errors import LabelRefused, MediaError
from provenance.evidence import Evidence, State
from provenance.labels import Labels
from provenance.lint import lint_store_size
from provenance.manifest import ALWAYS_WRONG, GENERATOR, MARK_ALG_PREFIX
from provenance.reading import ManifestReading
from provenance.trust import TrustLists
from provenance.withdrawal import state_changes

VERDICT_WORDS = {
    "trusted": "the manifest is intact and its signer trusted",
    "intact_untrusted": "the manifest is intact, but its signer leads to none of the given anchors",
    "revoked": "the manifest is intact, but its signer's certificate was revoked",
    "expired": "the signer's certificate has ended; no trusted time stamp says it signed before",
    "invalid": "the file or its manifest was changed after signing",
    "ingredient_invalid": "the manifest builds on an ingredient that does not hold",
    "no_manifest": "the file carries no manifest",
    "remote_manifest_not_fetched": "the manifest is on a server; nothing is fetched",
    "unreadable": "the file carries a manifest that cannot be read",
}

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_NAMES: Final = 4


def state_manifest(
    reading: ManifestReading, content: Content, *, signer: tuple[Evidence, ...] = ()
) -> Iterator[Evidence]:
    """Yield what a manifest says about itself: signature, trust, time, ingredients, rules.

    `content`: the whole file the manifest was read from; `signer`: what `signer_status` says of the
    signer's certificate, in place of the library's word on its revocation alone.
    """
    codes = ", ".join(reading.failures)
    yield Evidence(
        "signature",
        "holds" if reading.intact else "fails",
        f"the manifest {reading.manifest_id} fits this file"
        if reading.intact
        else f"the file is not as it was signed: {codes or reading.detail}",
    )
    yield _state_trust(reading)
    yield _state_stamp(reading)
    yield from signer or (state_revocation(reading),)
    bad = "; ".join(f"{i.relationship}: {', '.join(i.codes)}" for i in reading.ingredient_failures)
    yield Evidence("ingredients", "fails" if bad else "holds", bad or "no ingredient fails")
    yield from state_changes(reading.withdrawal, reading.redacted)
    yield from _state_lint(reading, content if isinstance(content, bytes) else b"")
    yield from _state_foreign_marks(reading)


def state_lists(lists: TrustLists, anchors: TrustAnchors, *, now: datetime) -> Evidence:
    """Return the line about the lists a verdict leans on; one past its day of renewal warns."""
    every = "; ".join(one.words for one in lists.every)
    if not every:
        count = len(anchors.certificates)
        return Evidence("trust lists", "absent", f"no trust list is loaded; roots given: {count}")
    late = [
        f"the list {one.name} was due for renewal on {one.next_update.date().isoformat()}"
        for one in lists.lists
        if one.next_update is not None and one.next_update < now
    ]
    return Evidence("trust lists", "warns" if late else "holds", "; ".join([every, *late]))


def is_ours(reading: ManifestReading) -> bool:
    """Tell whether a manifest says that FaceWarrant made it."""
    return reading.warrant is not None or reading.claim_generator == GENERATOR["name"]


def state_labels(read: Callable[[], Labels | None]) -> tuple[Evidence, LabelSays]:
    """Return the line about a file's labels, as `read` finds them, and what they say of AI."""
    try:
        labels = read()
    except (LabelRefused, MediaError) as error:
        return Evidence("labels", "warns", error.message), "disagreeing"
    if labels is None:
        return Evidence("labels", "absent", "no label says that it is AI-made"), "none"
    if labels.problems:
        return Evidence("labels", "warns", "; ".join(labels.problems)), "disagreeing"
    says = "AI-made" if labels.claims_ai else "no AI"
    words = f"{says}, by {labels.provider or 'no provider'}"
    if labels.claims_ai:
        return Evidence("labels", "holds", words), "ai"
    # A provider's name alone is silent about AI.
    return Evidence("labels", "holds", words), "not ai" if labels.source_type else "none"


def content_of(reading: ManifestReading, *, marked: bool) -> ContentSays:
    """Return what may be believed of AI's part: by a manifest that holds, or by a mark of ours."""
    believed = reading.intact and not reading.ingredient_failures
    says_ai = any(Labels(source_type=kind).claims_ai for kind in reading.source_types)
    if marked or (believed and says_ai):
        return "ai"
    return "not ai" if believed else "none"


def _state_trust(reading: ManifestReading) -> Evidence:
    who = f"signed by {reading.issuer or 'an unknown signer'}"
    if "signer" in reading.misused:
        return Evidence("trust", "fails", f"{who}, under an anchor given for time stamps alone")
    if reading.signer_expired:
        words = f"{who}, whose certificate has ended; no trusted time stamp says it signed before"
        return Evidence("trust", "fails", words)
    if reading.signer_trusted:
        return Evidence("trust", "holds", who)
    return Evidence("trust", "fails", f"{who}, who leads to none of the given anchors")


def _state_stamp(reading: ManifestReading) -> Evidence:
    if "time stamp" in reading.misused:
        words = "stamped under an anchor given for signers alone: that stamp does not count"
        return Evidence("time stamp", "warns", words)
    lines: dict[str, tuple[State, str]] = {
        "trusted": ("holds", f"stamped {reading.signed_at}"),
        "untrusted": ("warns", "stamped by an authority that leads to none of the given anchors"),
        "broken": ("fails", "there is a time stamp, and it does not hold"),
        "missing": ("absent", "no time stamp: the signature ends with its certificate"),
    }
    return Evidence("time stamp", *lines[reading.time_stamp])


def state_revocation(reading: ManifestReading) -> Evidence:
    """Return the line about the signer's revocation, by the C2PA library's word alone."""
    lines: dict[str, tuple[State, str]] = {
        "good": ("holds", "the manifest brings an OCSP answer: the certificate was not revoked"),
        "revoked": ("fails", "the signer's certificate was revoked"),
        "unknown": ("unchecked", "the manifest brings no OCSP answer, and none is fetched"),
    }
    return Evidence("revocation", *lines[reading.revocation])


def _state_lint(reading: ManifestReading, data: bytes) -> Iterator[Evidence]:
    findings = (*reading.findings, *lint_store_size(data))
    lint = "; ".join(f"{f.code}: {f.words}" for f in findings)
    always = any(f.code in ALWAYS_WRONG for f in findings)
    broken: State = "fails" if is_ours(reading) or always else "warns"
    yield Evidence("lint", broken if lint else "holds", lint or "the manifest keeps every rule")
    # The line about the time stamp says that much already.
    missing = [f for f in reading.notices if f.code != "NO-TIME-STAMP"]
    if missing:
        yield Evidence("lint", "warns", "; ".join(f"{f.code}: {f.words}" for f in missing))


def _state_foreign_marks(reading: ManifestReading) -> Iterator[Evidence]:
    """Yield a line where the manifest binds marks or fingerprints of algorithms that are not ours.

    Their names are the file's own words: what is no plain name is not quoted.
    """
    names = {b.alg for b in reading.soft_bindings if not b.alg.startswith(MARK_ALG_PREFIX)}
    if names:
        plain = sorted(name for name in names if _PLAIN_NAME.fullmatch(name))
        said = ", ".join(plain[:_MOST_NAMES]) or "a name that is not plain"
        words = f"the manifest binds the pixels by {said}, which only its maker can read"
        yield Evidence("watermark", "unchecked", words)
