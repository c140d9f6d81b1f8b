"""Updated copies of what was released: the same picture, whose newest manifest says 'withdrawn'.

What is out there cannot be called back; a copy that carries its own notice can be handed on instead
of it. One update for one set of ended consents, signed once, kept beside the release, in the log
for good, and delivered again when it is asked for again. Refused: an output whose consents hold, a
video, an update that does not read back as the same picture under both manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.audit import verify_entry
from policies.digest import sha256_hex
from provenance.c2pa import Signed, read_manifest, sign_update
from provenance.containers import Mime, open_container
from provenance.errors import NotReleased
from provenance.notice import WithdrawalNotice, give_notice
from provenance.press import Press
from provenance.reading import ManifestReading
from provenance.registry import ReleaseRow
from provenance.withdrawal import withdrawal_of

_PICTURES = ("image/jpeg", "image/png", "image/webp")


@dataclass(frozen=True, slots=True)
class Updated:
    """An updated copy: its bytes, its own manifest and the released one, and its log entry."""

    data: bytes = field(repr=False)
    mime: Mime
    manifest_id: str
    released_id: str
    log_index: int


def update_release(row: ReleaseRow, *, press: Press) -> Updated:
    """Return the copy of a release that says which of its consents ended; the same one every time.

    Raises NoticeRefused where none ended or the log does not hold the release, NotReleased for a
    video and for an update that does not read back, TsaUnavailable when there is no time stamp, and
    StoreUnavailable; nothing is kept then.
    """
    if row.mime not in _PICTURES:
        raise NotReleased(
            "an update of a video is not made",
            mend="publish the withdrawal yourself; verifying with the register says it already",
        )
    data = press.store.get(row.output_sha256)
    mime = open_container(data).mime
    reading = read_manifest(data, mime, anchors=press.anchors)
    named = [one["commitment"] for one in (reading.consent or {}).get("consents", ())]
    notice = give_notice(row, named, desk=press.desk)
    return _kept(notice, data, mime, press) or _make(notice, data, mime, press)


def _kept(notice: WithdrawalNotice, data: bytes, mime: Mime, press: Press) -> Updated | None:
    """Return the update that says this much already, read back once more; None without one."""
    row, log = notice.row, press.desk.log
    newest = log.latest(1, kind="update", about=row.manifest_id)
    if not newest or newest[0][1].get("subjects") != _commitments(notice):
        return None
    proof = log.prove(newest[0][0])
    verify_entry(proof, origin=log.origin, key=log.public)
    updated = press.store.get(str(proof.entry.get("file")))
    reading = _read_back(updated, data, mime, notice, press)
    if reading.manifest_id != proof.entry.get("update"):
        raise NotReleased("the log has another update of this release than the store")
    return Updated(updated, mime, reading.manifest_id, row.manifest_id, proof.index)


def _make(notice: WithdrawalNotice, data: bytes, mime: Mime, press: Press) -> Updated:
    signed = sign_update(
        data, notice=notice, signer=press.signer, stamper=press.stamper, anchors=press.anchors
    )
    _read_back(signed.data, data, mime, notice, press)
    kept: list[str] = []
    try:
        for content in (signed.store, signed.data):
            kept.append(press.store.put(content))
        receipt = press.desk.log.append("update", _entry(notice, signed))
    except BaseException:
        for sha256 in kept:
            press.store.drop(sha256)
        raise
    row = notice.row
    return Updated(signed.data, mime, signed.manifest_id, row.manifest_id, receipt.index)


def _entry(notice: WithdrawalNotice, signed: Signed) -> Mapping[str, Any]:
    return {
        "manifest": notice.row.manifest_id,
        "update": signed.manifest_id,
        "file": sha256_hex(signed.data),
        "store": sha256_hex(signed.store),
        "subjects": _commitments(notice),
    }


def _read_back(
    updated: bytes, released: bytes, mime: Mime, notice: WithdrawalNotice, press: Press
) -> ManifestReading:
    """Read the update as a stranger would; raise NotReleased unless all of it is there."""
    reading = read_manifest(updated, mime, anchors=press.anchors)
    if reading.verdict != "trusted" or reading.findings or not reading.time_stamped:
        raise NotReleased(f"the update reads back as '{reading.verdict}'")
    said = withdrawal_of(notice).model_dump(mode="json")
    if (reading.withdrawal, reading.released_id) != (said, notice.row.manifest_id):
        raise NotReleased("the update says something else than the notice")
    if open_container(updated).picture != open_container(released).picture:
        raise NotReleased("the update is another picture than the release")
    return reading


def _commitments(notice: WithdrawalNotice) -> list[str]:
    return [one.commitment for one in notice.ended]
