"""Updated copies of what was released: the same pixels, whose newest manifest says 'withdrawn'.

What is out there cannot be called back; a copy that carries its own notice can be handed on instead
of it. One update for one set of ended consents, signed once, kept beside the release, in the log
for good, and delivered again when it is asked for again. Refused: an output whose consents hold, an
update that does not read back as the same picture, or video, under both manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.audit import verify_entry
from provenance.asset import AssetMime, Content, opened, sniff_asset
from provenance.c2pa import Signed, read_manifest, sign_update
from provenance.clip_recovery import kept_output
from provenance.containers import open_container
from provenance.errors import NotReleased
from provenance.label_mp4 import digest_media
from provenance.notice import WithdrawalNotice, give_notice
from provenance.press import Press
from provenance.reading import ManifestReading
from provenance.registry import ReleaseRow
from provenance.withdrawal import withdrawal_of


@dataclass(frozen=True, slots=True)
class Updated:
    """An updated copy: its bytes, its own manifest and the released one, and its log entry.

    The store gives its bytes by `sha256`; `data` is empty for a video.
    """

    data: bytes = field(repr=False)
    sha256: str
    mime: AssetMime
    manifest_id: str
    released_id: str
    log_index: int


def update_release(row: ReleaseRow, *, press: Press) -> Updated:
    """Return the copy of a release that says which of its consents ended; the same one every time.

    Raises NoticeRefused where none ended or the log does not hold the release, NotReleased for an
    update that does not read back, TsaUnavailable when there is no time stamp, and
    StoreUnavailable; nothing is kept then.
    """
    with kept_output(row, press.store) as released:
        reading = read_manifest(released, sniff_asset(released), anchors=press.anchors)
        named = [one["commitment"] for one in (reading.consent or {}).get("consents", ())]
        notice = give_notice(row, named, desk=press.desk)
        return _kept(notice, released, press) or _make(notice, released, press)


def _kept(notice: WithdrawalNotice, released: Content, press: Press) -> Updated | None:
    """Return the update that says this much already, read back once more; None without one."""
    row, log = notice.row, press.desk.log
    newest = log.latest(1, kind="update", about=row.manifest_id)
    if not newest or newest[0][1].get("subjects") != _commitments(notice):
        return None
    proof = log.prove(newest[0][0])
    verify_entry(proof, origin=log.origin, key=log.public)
    sha256 = str(proof.entry.get("file"))
    updated: Content
    if isinstance(released, bytes):
        updated = press.store.get(sha256)
    else:
        updated = released.with_name("again.mp4")
        press.store.get_file(sha256, updated)
    reading = _read_back(updated, released, notice, press)
    if reading.manifest_id != proof.entry.get("update"):
        raise NotReleased("the log has another update of this release than the store")
    ids = (reading.manifest_id, row.manifest_id)
    return Updated(_in_memory(updated), sha256, sniff_asset(updated), *ids, proof.index)


def _make(notice: WithdrawalNotice, released: Content, press: Press) -> Updated:
    out = None if isinstance(released, bytes) else released.with_name("updated.mp4")
    signed = sign_update(
        released,
        notice=notice,
        signer=press.signer,
        stamper=press.stamper,
        anchors=press.anchors,
        out=out,
    )
    updated = out or signed.data
    _read_back(updated, released, notice, press)
    kept: list[str] = []
    try:
        kept.append(press.store.put(signed.store))
        kept.append(press.store.put_file(out) if out else press.store.put(signed.data))
        receipt = press.desk.log.append("update", _entry(notice, signed, *kept))
    except BaseException:
        for sha256 in kept:
            press.store.drop(sha256)
        raise
    ids = (signed.manifest_id, notice.row.manifest_id)
    return Updated(signed.data, kept[-1], sniff_asset(updated), *ids, receipt.index)


def _entry(notice: WithdrawalNotice, signed: Signed, store: str, file: str) -> Mapping[str, Any]:
    return {
        "manifest": notice.row.manifest_id,
        "update": signed.manifest_id,
        "file": file,
        "store": store,
        "subjects": _commitments(notice),
    }


def _read_back(
    updated: Content, released: Content, notice: WithdrawalNotice, press: Press
) -> ManifestReading:
    """Read the update as a stranger would; raise NotReleased unless all of it is there."""
    reading = read_manifest(updated, sniff_asset(updated), anchors=press.anchors)
    if reading.verdict != "trusted" or reading.findings or not reading.time_stamped:
        raise NotReleased(f"the update reads back as '{reading.verdict}'")
    said = withdrawal_of(notice).model_dump(mode="json")
    if (reading.withdrawal, reading.released_id) != (said, notice.row.manifest_id):
        raise NotReleased("the update says something else than the notice")
    if _pixels_of(updated) != _pixels_of(released):
        raise NotReleased("the update shows something else than the release")
    return reading


def _pixels_of(content: Content) -> object:
    """Return what decodes to the pixels: a picture's own bytes, the digest of a video's media."""
    if isinstance(content, bytes):
        return open_container(content).picture
    with opened(content) as file:
        return digest_media(file)


def _in_memory(content: Content) -> bytes:
    return content if isinstance(content, bytes) else b""


def _commitments(notice: WithdrawalNotice) -> list[str]:
    return [one.commitment for one in notice.ended]
