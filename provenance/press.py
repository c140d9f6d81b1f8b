"""What every release has in common: signing a draft, judging what was signed, entering it, undoing.

`release` (pictures) and `clip_release` (videos) give the marks, in their own order; nothing here
makes or changes pixels. Refused: an output that does not read back as a stranger would trust it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from policies.audit import Receipt
from policies.digest import sha256_hex
from policies.errors import Error
from policies.warrant import Warrant
from policies.warrants import ActiveWarrant, WarrantDesk
from provenance.assertions import LogPosition
from provenance.asset import AssetMime, Content, Input, Inputs
from provenance.c2pa import Signed, read_manifest, sign_manifest
from provenance.chains import TrustAnchors
from provenance.draft import Maker
from provenance.errors import AlreadyMarked, NotReleased
from provenance.label_xmp import write_xmp
from provenance.labels import Labels
from provenance.manifest import GENERATOR, SwapClaim
from provenance.reading import ManifestReading
from provenance.registry import Registry, ReleaseRow
from provenance.signers import Signer
from provenance.store import Store
from provenance.timestamps import TimeStamper, TsaUnavailable
from provenance.timetokens import TimeStampRefused, make_query
from provenance.watermark import Detection, Payload, Watermark


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


class Made(Protocol):
    """A draft, of a picture or of a clip: what was made, of what, under which warrant."""

    @property
    def warrant(self) -> ActiveWarrant:
        """The warrant that allowed it."""

    @property
    def source(self) -> Input:
        """Whose face."""

    @property
    def target(self) -> Input:
        """Whose body."""

    @property
    def maker(self) -> Maker:
        """What made the pixels."""


@dataclass(frozen=True, slots=True)
class Printed:
    """The fingerprints of an output, 64 hex digits each: of the whole, and of a clip's seconds."""

    whole: str
    seconds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looks:
    """What a marked output looks like before it is signed: its fingerprint, 64 hex digits.

    Of a clip that of its first frame, and how many milliseconds that is shown.
    """

    bits: str
    shown_ms: int | None = None


def require_unmarked(found: Detection | None) -> None:
    """Raise AlreadyMarked where a search of what was made, the thorough one, found a mark of ours.

    Embedding looks only at scale 1; marks laid over each other at two scales may both be lost.
    """
    if found is None:
        return
    whose = f"the mark {found.mark_id}" if found.mark_id else "a mark whose id is damaged"
    raise AlreadyMarked(
        f"it carries {whose} of this deployment already",
        mend="make it from pictures as they were before they were released here",
    )


def write_packet(payload: Payload, press: Press, *, aigc: bool = True) -> bytes:
    """Return the XMP packet of a release; a video keeps China's label elsewhere (`aigc=False`)."""
    return write_xmp(
        provider=press.provider,
        system=GENERATOR["name"],
        version=GENERATOR["version"],
        created_at=datetime.fromtimestamp(press.clock(), UTC),
        output_id=payload.mark_id,
        aigc=aigc,
    )


def sign_release(
    made: Made,
    marked: Content,
    payload: Payload,
    press: Press,
    *,
    looks: Looks,
    out: Path | None = None,
) -> Signed:
    """Sign the marked output of a draft, which looks like `looks`; a clip's is written to `out`.

    Raises what `sign_manifest` raises.
    """
    warrant = made.warrant.document
    commit = press.desk.consents.commit
    claim = SwapClaim(
        title=payload.mark_id,
        mime=made.target.mime,
        mark_id=bytes.fromhex(payload.mark_id),
        watermark=press.watermark.alg,
        fingerprint=looks.bits,
        shown_ms=looks.shown_ms,
        warrant_hash=warrant.sha256,
        decision_hash=warrant.decision_sha256,
        policy_sha256=warrant.policy_sha256,
        models=made.maker.models,
        swapper_name=made.maker.swapper,
        swapper_version=made.maker.version,
        log=LogPosition(
            origin=warrant.log_origin, index=warrant.decision_index, size=warrant.log_size
        ),
        consents=tuple((commit(p.record_id), p.role) for p in warrant.people),
        edited_at=datetime.fromtimestamp(press.clock(), UTC),
    )
    return sign_manifest(
        marked,
        claim,
        inputs=Inputs(target=made.target, source=made.source),
        signer=press.signer,
        warrant=made.warrant,
        stamper=_choose_stamper(press),
        out=out,
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


def require_manifest(
    content: Content, mime: AssetMime, press: Press, *, stamped: bool
) -> ManifestReading:
    """Return what the finished file's manifest says.

    Raises NotReleased unless it is trusted, sound and stamped.
    """
    reading = read_manifest(content, mime, anchors=press.anchors)
    if reading.verdict != "trusted" or reading.findings:
        raise NotReleased(f"the signed output reads back as '{reading.verdict}'")
    if stamped and not reading.time_stamped:
        raise NotReleased(f"the time stamp reads back as '{reading.time_stamp}'")
    return reading


def require_print(reading: ManifestReading, bits: str) -> None:
    """Raise NotReleased unless the manifest names this fingerprint, of the pixels as read back.

    To the bit: both were made here and now. One that is delivered again is not asked, since an
    older version named none and another decoder may round otherwise.
    """
    if reading.bound_print != bits:
        raise NotReleased("the manifest names another fingerprint than that of the output")


def require_labels(labels: Labels | None, mark_id: str) -> None:
    """Raise NotReleased unless the labels say everything they must, of this output."""
    if labels is None or not labels.claims_ai or labels.problems or labels.undisclosed:
        raise NotReleased("the labels cannot be read back from the output")
    if labels.output_id != mark_id:
        raise NotReleased("the labels name another output")


def enter(
    made: Made, signed: Signed, output_sha256: str, mark_id: str, printed: Printed, press: Press
) -> ReleaseRow:
    """Log the release, enter it in the registry and close the warrant, all in one transaction.

    Raises WarrantInvalid when the warrant no longer holds: nothing was released then.
    """
    warrant = made.warrant.document
    rows: list[ReleaseRow] = []

    def record(connection: sa.Connection, receipt: Receipt) -> None:
        rows.append(
            ReleaseRow(
                mark_id=mark_id,
                request_id=warrant.request_id,
                warrant_id=warrant.warrant_id,
                manifest_id=signed.manifest_id,
                manifest_sha256=sha256_hex(signed.store),
                output_sha256=output_sha256,
                mime=made.target.mime,
                fingerprint=printed.whole,
                log_index=receipt.index,
                released_at=press.clock(),
            )
        )
        shown = [person.record_id for person in warrant.people]
        press.registry.add(rows[0], people=shown, within=connection, seconds=printed.seconds)

    content = {
        "manifest": signed.manifest_id,
        "output": press.desk.consents.commitment.commit("output", output_sha256),
    } | ({} if signed.stamped else {"time_stamp": "none"})
    press.desk.finish(made.warrant, content, record=record)
    return rows[0]


def require_entered(
    entry: Mapping[str, Any], row: ReleaseRow, output_sha256: str, press: Press
) -> None:
    """Raise NotReleased unless the log's entry of a release names this manifest and these bytes.

    The register's row is only a pointer.
    """
    commitment = press.desk.consents.commitment.commit("output", output_sha256)
    if (entry.get("manifest"), entry.get("output")) != (row.manifest_id, commitment):
        raise NotReleased("the log has another output for this request than the register")


def undo(warrant: Warrant, kept: Sequence[str], reason: str, press: Press) -> None:
    """End the warrant, then forget the bytes; the other order could lose what was just released."""
    try:
        press.desk.abort(warrant, reason)
    finally:
        forget(warrant, kept, press)


def forget(warrant: Warrant, kept: Sequence[str], press: Press) -> None:
    """Drop the bytes of a release that was not entered; what was entered stays."""
    if press.desk.state(warrant.warrant_id) != "released":
        for sha256 in kept:
            press.store.drop(sha256)


def as_refusal(error: Exception) -> NotReleased:
    """Return what a release that failed of something else says; the caller chains the cause."""
    detail = error.message if isinstance(error, Error) else type(error).__name__
    mend = error.mend if isinstance(error, Error) else "see the chained error"
    code = error.code if isinstance(error, Error) else "FAULT"
    return NotReleased(f"nothing was released: {code}: {detail}", mend=mend)
