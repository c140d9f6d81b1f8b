"""The only way out for a video: mark every frame, join, label, sign, read back, log, or nothing.

The order is that of a picture (`release`). Frames are made, marked and coded in pieces that are
kept until the release has ended: a job that was killed goes on with the same warrant, mark and
pieces. What lies in its folder meanwhile is marked; only the signed file goes into the store.

Files in a folder can be changed by others between two steps, so none is believed for its name: the
target's copy is hashed again after every piece, and what is signed, read back and kept must hold
the very packets of the checked pieces.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

from policies.request import Request
from policies.warrant import verify_issuer
from policies.warrants import ActiveWarrant, require_active
from provenance.asset import VideoMime
from provenance.clip import Clip, frames, open_clip
from provenance.clip_coded import read_coded
from provenance.clip_draft import ClipDraft, require_clip_draft
from provenance.errors import NotMarkable, NotReleased, ShapeError
from provenance.fingerprints import fingerprint
from provenance.label_rules import label_demand
from provenance.labels import read_video_labels, write_video_labels
from provenance.lock import hold_alone
from provenance.pieces import Pieces, leave_none, open_pieces
from provenance.pixels import Frame
from provenance.press import (
    Looks,
    Press,
    Printed,
    as_refusal,
    enter,
    forget,
    require_entered,
    require_labels,
    require_manifest,
    require_print,
    require_unmarked,
    sign_release,
    undo,
    write_packet,
)
from provenance.registry import ReleaseRow
from provenance.store import file_digest
from provenance.video_write import encode_segment, join_segments
from provenance.visible_label import VisibleLabel, place_visible_label
from provenance.watermark import Payload, issue_payload

READABLE_SHARE: Final = 0.9
"""Of every second's frames at least this share gives the mark's id back after coding."""

_SEARCHED_FRAMES: Final = 4


@dataclass(frozen=True, slots=True)
class ReleasedClip:
    """A video for the outside: the store gives its bytes by `sha256`."""

    mime: VideoMime
    sha256: str
    mark_id: str
    manifest_id: str
    log_index: int


@dataclass(frozen=True, slots=True)
class _Like:
    """What an output must be like: the target's frames in time, coded as the pieces are."""

    target: Clip
    coded: tuple[str, ...]


def release_clip(draft: ClipDraft, *, press: Press, folder: Path) -> ReleasedClip:
    """Turn a draft of a clip into the released MP4; `folder` holds its pieces meanwhile.

    As `release`: any error aborts the warrant, keeps everything in and drops the pieces. A process
    that is killed or interrupted leaves warrant and pieces: the same request goes on with them
    (`WarrantDesk.resume`). Raises WarrantInvalid and NotReleased, and ClipInUse while another
    process makes this very video: that ends nothing.
    """
    warrant = require_active(require_clip_draft(draft).warrant)
    verify_issuer(warrant.document, key=press.desk.key.public)
    # Who is turned away here must not end the warrant: the process that has the folder uses it.
    with hold_alone(folder / warrant.document.warrant_id):
        return _release_alone(draft, warrant, folder, press)


def _release_alone(
    draft: ClipDraft, warrant: ActiveWarrant, folder: Path, press: Press
) -> ReleasedClip:
    kept: list[str] = []
    try:
        warrant.require(
            source_sha256=draft.source.sha256, target_sha256=draft.target.sha256, medium="video"
        )
        with open_pieces(
            folder,
            warrant.document,
            frames=draft.target.form.frames,
            commitment=press.desk.consents.commitment,
            rng=press.rng,
        ) as pieces:
            return _release(draft, pieces, kept, press)
    except Exception as error:
        leave_none(folder, warrant.document.warrant_id)
        undo(warrant.document, kept, type(error).__name__, press)
        if isinstance(error, NotReleased):
            raise
        raise as_refusal(error) from error
    except BaseException:
        # Warrant and pieces stay for the next run; it signs anew, so these bytes would be nobody's.
        forget(warrant.document, kept, press)
        raise


def _release(draft: ClipDraft, pieces: Pieces, kept: list[str], press: Press) -> ReleasedClip:
    payload = issue_payload(draft.warrant, rng=pieces.draw)
    _make_pieces(draft, pieces, payload, press)
    marked = pieces.folder / "labelled.mp4"
    coded = _join(draft, pieces, payload, press, out=marked)
    _require_coded(marked, coded)
    _require_target(draft)
    draft.warrant.require()
    output = pieces.folder / "signed.mp4"
    output.unlink(missing_ok=True)
    looks = _first_looks(draft, pieces)
    signed = sign_release(draft, marked, payload, press, looks=looks, out=output)
    sha256, printed = _read_back(
        output, payload.mark_id, press, like=_Like(draft.target, coded), stamped=signed.stamped
    )
    kept.append(press.store.put(signed.store))
    kept.append(press.store.put_file(output))
    _require_same(kept[-1], sha256)
    row = enter(draft, signed, kept[-1], payload.mark_id, printed, press)
    return _as_released(row)


def _make_pieces(draft: ClipDraft, pieces: Pieces, payload: Payload, press: Press) -> None:
    """Make, label, mark and code every piece that is not there yet."""
    form = draft.target.form
    demand = label_demand(draft.warrant.document.territories)
    label = place_visible_label((form.height, form.width), avoid=draft.faces, demand=demand)
    for start, stop in pieces.missing():
        # A person may withdraw while a long video is being made.
        draft.warrant.require()
        marked = _marked(draft, (start, stop), label, payload, press)
        piece = encode_segment(marked, form)
        _require_target(draft)
        pieces.keep(start, piece)


def _marked(
    draft: ClipDraft,
    span: tuple[int, int],
    label: VisibleLabel,
    payload: Payload,
    press: Press,
) -> Iterator[tuple[int, Frame]]:
    """Yield the frames of a piece with label and mark; raise unless each one can carry both."""
    start, stop = span
    number = start
    for pts, frame in _rendered(draft, span, press):
        try:
            marked = press.watermark.embed(label.draw(frame), payload)
        except NotMarkable as error:
            raise NotReleased(
                f"frame {number} cannot carry the mark: {error.message}",
                mend="cut very noisy parts, and those of pure black and white, out of the video",
            ) from error
        label.require_readable(marked)
        number += 1
        yield pts, marked
    if number != stop:
        raise NotReleased(f"{number - start} frames were made where the clip has {stop - start}")


def _rendered(draft: ClipDraft, span: tuple[int, int], press: Press) -> Iterator[tuple[int, Frame]]:
    """Yield the frames of a piece as they were made; raise for another size, or for our mark.

    The thorough search is made once, of the first frames together: whoever has the first piece has
    had its answer. Every frame is searched at scale 1 when it is marked.
    """
    rendered = _sized(draft, span)
    if span[0] == 0:
        first = list(islice(rendered, _SEARCHED_FRAMES))
        require_unmarked(press.watermark.detect_clip(frame for _, frame in first))
        rendered = chain(first, rendered)
    yield from rendered


def _sized(draft: ClipDraft, span: tuple[int, int]) -> Iterator[tuple[int, Frame]]:
    expected = (draft.target.form.height, draft.target.form.width, 3)
    for pts, frame in draft.render(*span):
        if frame.shape != expected:
            raise ShapeError(actual=frame.shape, expected=str(expected))
        yield pts, frame


def _require_target(draft: ClipDraft) -> None:
    """Raise NotReleased unless the target's copy is what was measured: frames came from it."""
    _require_same(file_digest(draft.target.path), draft.target.sha256)


def _require_same(found: str, sha256: str) -> None:
    if found != sha256:
        raise NotReleased(
            "a file was changed while the video was released",
            mend="see who else writes into the work folder, then run the request again",
        )


def _require_coded(file: Path, coded: tuple[str, ...]) -> None:
    """Raise NotReleased unless a file holds the packets of our pieces and of the clip's sound."""
    if read_coded(file) != coded:
        raise NotReleased(
            "the output holds other pictures or sound than were made",
            mend="see who else writes into the work folder, then run the request again",
        )


def _join(
    draft: ClipDraft, pieces: Pieces, payload: Payload, press: Press, *, out: Path
) -> tuple[str, ...]:
    """Join the pieces with the clip's sound, write the labels; return what is coded in it."""
    joined = pieces.folder / "joined.mp4"
    coded = join_segments(pieces.load_all(), draft.target, joined)
    packet = write_packet(payload, press, aigc=False)
    out.unlink(missing_ok=True)
    with joined.open("rb") as source, open(out, "wb", opener=_private) as labelled:
        write_video_labels(
            source, labelled, xmp=packet, provider=press.provider, output_id=payload.mark_id
        )
    joined.unlink()
    return coded


def _first_looks(draft: ClipDraft, pieces: Pieces) -> Looks:
    """Return what the first frame looks like once it is coded, from the first piece alone.

    A piece is believed for nothing else: what was signed must look like this when it is read back.
    """
    piece = open_clip(pieces.path(0), workspace=pieces.folder)
    try:
        [(_, frame)] = frames(piece, stop=1)
        bits = fingerprint(frame).bits
    finally:
        piece.path.unlink(missing_ok=True)
    form, times = draft.target.form, draft.target.times
    shown = (*times, times[-1] + form.last)[1] - times[0]
    return Looks(bits, -(-shown * 1000 * form.time_base[0] // form.time_base[1]))


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _read_back(
    output: Path, mark_id: str, press: Press, *, like: _Like | None, stamped: bool
) -> tuple[str, Printed]:
    """Read the finished file as a stranger would; raise NotReleased unless every mark is there.

    Everything is read from one copy; returned is also its SHA-256, which what is kept must have.
    """
    clip = open_clip(output, workspace=output.parent)
    try:
        reading = require_manifest(clip.path, "video/mp4", press, stamped=stamped)
        with clip.path.open("rb") as file:
            require_labels(read_video_labels(file), mark_id)
        if like is not None:
            _require_like(clip, like)
        printed = _print(clip, mark_id, press)
        if like is not None:
            require_print(reading, printed.whole)
        _require_same(file_digest(clip.path), clip.sha256)
    finally:
        clip.path.unlink(missing_ok=True)
    return clip.sha256, printed


def _require_like(clip: Clip, like: _Like) -> None:
    """Raise NotReleased unless these are the target's times and size, and the pieces' packets."""
    times, wanted = ([at - one.times[0] for at in one.times] for one in (clip, like.target))
    form = (clip.form.size, clip.form.time_base, clip.form.rotation)
    if times != wanted or form != (like.target.form.size, like.target.form.time_base, 0):
        raise NotReleased("the output has other frames than the clip it was made from")
    _require_coded(clip.path, like.coded)


def _print(clip: Clip, mark_id: str, press: Press) -> Printed:
    """Return a fingerprint of every second; raise NotReleased for a second without the mark."""
    prints: list[str] = []
    read: list[bool] = []
    second = -1
    for pts, frame in frames(clip):
        # A frame may stand for more than a second: those it covers have none of their own.
        if clip.form.second(pts) > second:
            _require_readable(read, second)
            second, read = clip.form.second(pts), []
            prints.append(fingerprint(frame).bits)
        found = press.watermark.detect(frame, thorough=False)
        if found is None or found.mark_id not in (None, mark_id):
            raise NotReleased(f"a frame of second {second} does not carry the mark")
        read.append(found.mark_id == mark_id)
    _require_readable(read, second)
    return Printed(prints[0], tuple(prints))


def _require_readable(read: list[bool], second: int) -> None:
    if sum(read) < READABLE_SHARE * len(read):
        raise NotReleased(f"the watermark of second {second} cannot be read back")


def redeliver_clip(
    row: ReleaseRow, request: Request, *, press: Press, identity: str, folder: Path
) -> ReleasedClip:
    """Hand out again what was released for a request; as `redeliver`, with a copy in `folder`."""
    entry = press.desk.recheck(row.warrant_id, request, identity_model_sha256=identity)
    # The store gives a file only when its bytes are those of the digest.
    require_entered(entry, row, row.output_sha256, press)
    # The row is only a pointer: nothing of it may name a file.
    with tempfile.TemporaryDirectory(prefix="again-", dir=folder) as place:
        output = Path(place) / "kept.mp4"
        press.store.get_file(row.output_sha256, output)
        stamped = "time_stamp" not in entry
        sha256, _ = _read_back(output, row.mark_id, press, like=None, stamped=stamped)
        _require_same(sha256, row.output_sha256)
    return _as_released(row)


def _as_released(row: ReleaseRow) -> ReleasedClip:
    return ReleasedClip("video/mp4", row.output_sha256, row.mark_id, row.manifest_id, row.log_index)
