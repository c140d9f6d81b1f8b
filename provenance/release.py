"""The only way out: mark, label, sign, read back, log, and then, or nothing leaves.

Order is forced: pixels (visible label, watermark), then metadata (labels), then the C2PA signature
over all of it; nothing touches the bytes afterwards. Everything happens in memory until the output
carries every mark. Any failure aborts the warrant, gives its uses back and keeps the bytes in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from policies.audit import Receipt
from policies.digest import sha256_hex
from policies.errors import Error
from policies.request import Request
from policies.warrant import Warrant, verify_issuer
from policies.warrants import WarrantDesk, require_active
from provenance.assertions import LogPosition
from provenance.asset import Inputs
from provenance.c2pa import Signed, read_manifest, sign_manifest
from provenance.chains import TrustAnchors
from provenance.containers import Mime
from provenance.draft import Draft, require_draft
from provenance.errors import NotReleased
from provenance.fingerprints import Fingerprint, fingerprint
from provenance.label_rules import label_demand
from provenance.labels import read_labels, write_xmp
from provenance.manifest import GENERATOR, SwapClaim
from provenance.media import decode, encode
from provenance.registry import Registry, ReleaseRow
from provenance.signers import Signer
from provenance.store import Store
from provenance.timestamps import TimeStamper, TsaUnavailable
from provenance.timetokens import TimeStampRefused, make_query
from provenance.visible_label import place_visible_label
from provenance.watermark import Payload, Watermark, issue_payload


@dataclass(frozen=True, slots=True)
class Released:
    """Bytes for the outside, and where their trace is kept."""

    data: bytes = field(repr=False)
    mime: Mime
    sha256: str
    mark_id: str
    manifest_id: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Press:
    """What a release needs: marks, signer, trust, desk, registry, store, clock and randomness.

    `stamper` gives time stamps of an authority that `anchors` trust; `provider` is the organisation
    named in the labels; `clock` gives unix seconds, `rng(n)` n secret random bytes.
    """

    desk: WarrantDesk
    watermark: Watermark
    signer: Signer
    stamper: TimeStamper
    anchors: TrustAnchors
    registry: Registry
    store: Store
    provider: str
    clock: Callable[[], int]
    rng: Callable[[int], bytes]


def release(draft: Draft, *, press: Press) -> Released:
    """Turn a draft into the released picture, in the format of its target; nothing else can.

    The visible label is as the rules of the warrant's territories, and always the product's own,
    ask for it.
    Raises WarrantInvalid for anything but a draft under a warrant of the press's own desk. Raises
    NotReleased for every other failure, with the cause chained; the warrant is then aborted and
    nothing was kept. Raises ClockRollback or StoreUnavailable when not even the abort can be
    logged: the warrant stays started until the request is run again. Only where the database cannot
    say whether the release was entered do its bytes stay in the store, marked and signed.
    """
    warrant = require_active(require_draft(draft).warrant)
    # Another desk's warrant must not reach this press's watermark key and signer.
    verify_issuer(warrant.document, key=press.desk.key.public)
    kept: list[str] = []
    try:
        warrant.require(source_sha256=draft.source.sha256, target_sha256=draft.target.sha256)
        payload = issue_payload(warrant, rng=press.rng)
        marked = _mark(draft, payload, press)
        warrant.require()
        signed = _sign(draft, marked, payload, press)
        print_ = _read_back(
            signed.data, draft.target.mime, payload.mark_id, press, stamped=signed.stamped
        )
        for data in (signed.store, signed.data):
            kept.append(press.store.put(data))
        return _finish(draft, signed, payload, print_, press)
    except BaseException as error:
        # Whatever went wrong, known or not: nothing stays, the warrant ends, the cause is chained.
        _undo(warrant.document, kept, type(error).__name__, press)
        if isinstance(error, NotReleased) or not isinstance(error, Exception):
            raise
        raise _refusal(error) from error


def _undo(warrant: Warrant, kept: Sequence[str], reason: str, press: Press) -> None:
    """End the warrant, then forget the bytes; the other order could lose what was just released."""
    try:
        press.desk.abort(warrant, reason)
    finally:
        if press.desk.state(warrant.warrant_id) != "released":
            for sha256 in kept:
                press.store.drop(sha256)


def _mark(draft: Draft, payload: Payload, press: Press) -> bytes:
    """Return the encoded picture with visible label, watermark and metadata labels."""
    height, width = draft.frame.shape[:2]
    demand = label_demand(draft.warrant.document.territories)
    label = place_visible_label((height, width), avoid=draft.faces, demand=demand)
    marked = press.watermark.embed(label.draw(draft.frame), payload)
    label.require_readable(marked)
    xmp = write_xmp(
        provider=press.provider,
        system=GENERATOR["name"],
        version=GENERATOR["version"],
        created_at=datetime.fromtimestamp(press.clock(), UTC),
        output_id=payload.mark_id,
    )
    return encode(marked, draft.target.mime, xmp=xmp)


def _sign(draft: Draft, marked: bytes, payload: Payload, press: Press) -> Signed:
    warrant = draft.warrant.document
    commit = press.desk.consents.commit
    claim = SwapClaim(
        title=payload.mark_id,
        mime=draft.target.mime,
        mark_id=bytes.fromhex(payload.mark_id),
        watermark=press.watermark.alg,
        warrant_hash=warrant.sha256,
        decision_hash=warrant.decision_sha256,
        policy_sha256=warrant.policy_sha256,
        models=draft.maker.models,
        swapper_name=draft.maker.swapper,
        swapper_version=draft.maker.version,
        log=LogPosition(
            origin=warrant.log_origin, index=warrant.decision_index, size=warrant.log_size
        ),
        consents=tuple((commit(p.record_id), p.role) for p in warrant.people),
        edited_at=datetime.fromtimestamp(press.clock(), UTC),
    )
    return sign_manifest(
        marked,
        claim,
        inputs=Inputs(target=draft.target, source=draft.source),
        signer=press.signer,
        warrant=draft.warrant,
        stamper=_choose_stamper(press),
    )


def _choose_stamper(press: Press) -> TimeStamper | None:
    """Return the stamper; None when there is no stamp now and the house releases without.

    Only such a house asks twice: the key signs once for a warrant, so it must be known before.
    """
    if not press.desk.house.unstamped:
        return press.stamper
    try:
        press.stamper.stamp(make_query(press.rng(32), nonce=int.from_bytes(press.rng(8), "big")))
    except (TsaUnavailable, TimeStampRefused):
        return None
    return press.stamper


def _read_back(
    data: bytes, mime: Mime, mark_id: str, press: Press, *, stamped: bool
) -> Fingerprint:
    """Read the finished bytes as a stranger would; raise NotReleased unless every mark is there."""
    reading = read_manifest(data, mime, anchors=press.anchors)
    if reading.verdict != "trusted" or reading.findings:
        raise NotReleased(f"the signed output reads back as '{reading.verdict}'")
    if stamped and not reading.time_stamped:
        raise NotReleased(f"the time stamp reads back as '{reading.time_stamp}'")
    picture = decode(data)
    detection = press.watermark.detect(picture.frame)
    if detection is None or detection.mark_id != mark_id:
        raise NotReleased("the watermark cannot be read back from the output")
    labels = read_labels(data, mime)
    if labels is None or not labels.claims_ai or labels.problems or labels.undisclosed:
        raise NotReleased("the labels cannot be read back from the output")
    if labels.output_id != mark_id:
        raise NotReleased("the labels name another output")
    return fingerprint(picture.frame)


def _finish(
    draft: Draft, signed: Signed, payload: Payload, print_: Fingerprint, press: Press
) -> Released:
    """Log the release, enter it in the registry and close the warrant, all in one transaction."""
    warrant = draft.warrant.document
    output_sha256 = sha256_hex(signed.data)
    rows: list[ReleaseRow] = []

    def record(connection: sa.Connection, receipt: Receipt) -> None:
        rows.append(
            ReleaseRow(
                mark_id=payload.mark_id,
                request_id=warrant.request_id,
                warrant_id=warrant.warrant_id,
                manifest_id=signed.manifest_id,
                manifest_sha256=sha256_hex(signed.store),
                output_sha256=output_sha256,
                mime=draft.target.mime,
                fingerprint=print_.bits,
                log_index=receipt.index,
                released_at=press.clock(),
            )
        )
        shown = [person.record_id for person in warrant.people]
        press.registry.add(rows[0], people=shown, within=connection)

    content = {
        "manifest": signed.manifest_id,
        "output": press.desk.consents.commitment.commit("output", output_sha256),
    } | ({} if signed.stamped else {"time_stamp": "none"})
    press.desk.finish(draft.warrant, content, record=record)
    return _as_released(rows[0], signed.data, draft.target.mime)


def redeliver(row: ReleaseRow, request: Request, *, press: Press, identity: str) -> Released:
    """Hand out again what was released for a request; `identity` is the identity model's digest.

    The register's row is only a pointer: the warrant must be released, the log's entry must name
    this manifest and these bytes, and every mark is read back once more. Raises Refused when the
    request would not be allowed now, WarrantInvalid and NotReleased.
    """
    entry = press.desk.recheck(row.warrant_id, request, identity_model_sha256=identity)
    data = press.store.get(row.output_sha256)
    commitment = press.desk.consents.commitment.commit("output", sha256_hex(data))
    if (entry.get("manifest"), entry.get("output")) != (row.manifest_id, commitment):
        raise NotReleased("the log has another output for this request than the register")
    mime = decode(data).mime
    # What the house released unstamped, the log says; it is not stamped afterwards.
    stamped = "time_stamp" not in entry
    _read_back(data, mime, row.mark_id, press, stamped=stamped)
    return _as_released(row, data, mime)


def _as_released(row: ReleaseRow, data: bytes, mime: Mime) -> Released:
    return Released(data, mime, row.output_sha256, row.mark_id, row.manifest_id, row.log_index)


def _refusal(error: Exception) -> NotReleased:
    detail = error.message if isinstance(error, Error) else type(error).__name__
    mend = error.mend if isinstance(error, Error) else "see the chained error"
    code = error.code if isinstance(error, Error) else "FAULT"
    return NotReleased(f"nothing was released: {code}: {detail}", mend=mend)
