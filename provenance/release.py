"""The only way out for a picture: mark, label, sign, read back, log, then hand out, or nothing.

Order is forced: pixels (visible label, watermark), then metadata (labels), then the C2PA signature
over all of it; nothing touches the bytes afterwards. Everything happens in memory until the output
carries every mark. Any failure aborts the warrant, gives its uses back and keeps the bytes in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from policies.digest import sha256_hex
from policies.request import Request
from policies.warrant import verify_issuer
from policies.warrants import require_active
from provenance.containers import Mime
from provenance.draft import Draft, require_draft
from provenance.errors import NotReleased
from provenance.fingerprints import Fingerprint, fingerprint
from provenance.label_rules import label_demand
from provenance.labels import read_labels
from provenance.media import decode, encode
from provenance.press import (
    Looks,
    Press,
    Printed,
    as_refusal,
    enter,
    require_entered,
    require_labels,
    require_manifest,
    require_print,
    require_unmarked,
    sign_release,
    undo,
    write_packet,
)
from provenance.reading import ManifestReading
from provenance.registry import ReleaseRow
from provenance.visible_label import place_visible_label
from provenance.watermark import Payload, issue_payload


@dataclass(frozen=True, slots=True)
class Released:
    """Bytes for the outside, and where their trace is kept."""

    data: bytes = field(repr=False)
    mime: Mime
    sha256: str
    mark_id: str
    manifest_id: str
    log_index: int


def release(draft: Draft, *, press: Press) -> Released:
    """Turn a draft into the released picture, in the format of its target; nothing else can.

    The visible label is as the rules of the warrant's territories, and always the product's own,
    ask for it. Raises WarrantInvalid for anything but a draft under a warrant of the press's own
    desk. Raises NotReleased for every other failure, with the cause chained; the warrant is then
    aborted and nothing was kept. Raises ClockRollback or StoreUnavailable when not even the abort
    can be logged: the warrant stays started until the request is run again. Only where the database
    cannot say whether the release was entered do its bytes stay in the store, marked and signed.
    """
    warrant = require_active(require_draft(draft).warrant)
    # Another desk's warrant must not reach this press's watermark key and signer.
    verify_issuer(warrant.document, key=press.desk.key.public)
    kept: list[str] = []
    try:
        warrant.require(
            source_sha256=draft.source.sha256, target_sha256=draft.target.sha256, medium="image"
        )
        payload = issue_payload(warrant, rng=press.rng)
        marked = _mark(draft, payload, press)
        warrant.require()
        looks = Looks(fingerprint(decode(marked).frame).bits)
        signed = sign_release(draft, marked, payload, press, looks=looks)
        mime, mark_id = draft.target.mime, payload.mark_id
        reading, print_ = _read_back(signed.data, mime, mark_id, press, stamped=signed.stamped)
        require_print(reading, print_.bits)
        for data in (signed.store, signed.data):
            kept.append(press.store.put(data))
        row = enter(draft, signed, kept[-1], mark_id, Printed(print_.bits), press)
        return _as_released(row, signed.data, mime)
    except BaseException as error:
        # Whatever went wrong, known or not: nothing stays, the warrant ends, the cause is chained.
        undo(warrant.document, kept, type(error).__name__, press)
        if isinstance(error, NotReleased) or not isinstance(error, Exception):
            raise
        raise as_refusal(error) from error


def _mark(draft: Draft, payload: Payload, press: Press) -> bytes:
    """Return the encoded picture with visible label, watermark and metadata labels."""
    height, width = draft.frame.shape[:2]
    demand = label_demand(draft.warrant.document.territories)
    label = place_visible_label((height, width), avoid=draft.faces, demand=demand)
    require_unmarked(press.watermark.detect(draft.frame))
    marked = press.watermark.embed(label.draw(draft.frame), payload)
    label.require_readable(marked)
    return encode(marked, draft.target.mime, xmp=write_packet(payload, press))


def _read_back(
    data: bytes, mime: Mime, mark_id: str, press: Press, *, stamped: bool
) -> tuple[ManifestReading, Fingerprint]:
    """Read the finished bytes as a stranger would; raise NotReleased unless every mark is there."""
    reading = require_manifest(data, mime, press, stamped=stamped)
    picture = decode(data)
    detection = press.watermark.detect(picture.frame, thorough=False)
    if detection is None or detection.mark_id != mark_id:
        raise NotReleased("the watermark cannot be read back from the output")
    require_labels(read_labels(data, mime), mark_id)
    return reading, fingerprint(picture.frame)


def redeliver(row: ReleaseRow, request: Request, *, press: Press, identity: str) -> Released:
    """Hand out again what was released for a request; `identity` is the identity model's digest.

    Every mark is read back once more. Raises Refused when the request would not be allowed now,
    WarrantInvalid and NotReleased.
    """
    entry = press.desk.recheck(row.warrant_id, request, identity_model_sha256=identity)
    data = press.store.get(row.output_sha256)
    require_entered(entry, row, sha256_hex(data), press)
    mime = decode(data).mime
    # What the house released unstamped, the log says; it is not stamped afterwards.
    stamped = "time_stamp" not in entry
    _read_back(data, mime, row.mark_id, press, stamped=stamped)
    return _as_released(row, data, mime)


def _as_released(row: ReleaseRow, data: bytes, mime: Mime) -> Released:
    return Released(data, mime, row.output_sha256, row.mark_id, row.manifest_id, row.log_index)
