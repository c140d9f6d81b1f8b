"""A request whose target is a video: the same way as a picture's, gone on with where it was killed.

A warrant that was started for the very same request, and still holds, is taken up again with the
pieces that are made already; any other is ended, and its pieces are dropped. Every refusal and
fault ends the warrant; only a process that is killed or interrupted leaves it for the next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from generator.clip_measure import measure_clip
from generator.clip_swap import swap_clip
from generator.measure import require_nobody_opted_out
from pipelines.deployment import Deployment
from pipelines.work import work_folder
from policies.errors import StoreUnavailable
from policies.request import Request
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.clip import Clip, open_clip
from provenance.clip_release import ReleasedClip, redeliver_clip, release_clip
from provenance.errors import ClipInUse
from provenance.lock import hold_alone
from provenance.media import Picture, decode
from provenance.pieces import drop_pieces, leave_none
from provenance.registry import ReleaseRow

Step: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Given a step's name, times what is done within."""


def make_clip(
    request: Request, source: bytes, target: Path, *, at: Deployment, step: Step
) -> ReleasedClip:
    """Measure, decide, swap and release a request for a video, or deliver what was released.

    Works in the folder `work` of the home, one process a request. Raises what every step raises,
    StoreUnavailable where the folder cannot be used, ClipInUse while another process makes this.
    """
    with _own_folder(work_folder(at.settings) / "targets" / request.request_id) as folder:
        if row := at.archive.registry.by_request(request.request_id):
            return _deliver(row, request, folder, at, step)
        active = _take_up(request, at)
        identity = at.analyser.models[at.analyser.id_model]
        if active is None:
            with step("precheck consents"):
                at.desk.precheck(request, identity_model_sha256=identity)
        with step("decode picture and video"):
            picture = decode(source, load=at.decoder)
            clip = open_clip(target, workspace=folder)
        if active is None:
            active = _admit(request, picture, clip, at, step)
        return _release(active, picture, clip, at, step)


def _take_up(request: Request, at: Deployment) -> ActiveWarrant | None:
    """Return the warrant that an earlier run of this request left; end all others."""
    found: ActiveWarrant | None = None
    for warrant in at.desk.abandoned(request.request_id):
        try:
            if found is None and warrant.request_sha256 == request.sha256:
                found = at.desk.resume(warrant)
                continue
        except WarrantInvalid:
            pass  # it holds no longer: ended like the others
        at.desk.abort(warrant, "interrupted")
        drop_pieces(work_folder(at.settings) / "pieces", warrant.warrant_id)
    return found


def _admit(
    request: Request, source: Picture, target: Clip, at: Deployment, step: Step
) -> ActiveWarrant:
    """Measure every frame, decide, and start the warrant."""
    with step("measure faces, age, nudity, opt-outs"):
        measured = measure_clip(
            request,
            source,
            target,
            book=at.consents,
            analyser=at.analyser,
            gates=at.gates,
            swapper_models=at.swapper.models,
        )
    with step("decide, issue warrant"):
        return at.desk.start(at.desk.admit(request, measured))


def _release(
    active: ActiveWarrant, source: Picture, target: Clip, at: Deployment, step: Step
) -> ReleasedClip:
    try:
        draft = swap_clip(
            source,
            target,
            warrant=active,
            analyser=at.analyser,
            swapper=at.swapper,
            gates=at.gates,
        )
        with step("swap, mark, join, label, sign, read back, log"):
            return release_clip(draft, press=at.press, folder=work_folder(at.settings) / "pieces")
    except ClipInUse:
        raise  # warrant and pieces are the other process's
    except Exception as error:
        # Not on Ctrl-C: hours of work are gone on with, see _take_up.
        at.desk.abort(active.document, type(error).__name__)
        leave_none(work_folder(at.settings) / "pieces", active.document.warrant_id)
        raise


def _deliver(
    row: ReleaseRow, request: Request, folder: Path, at: Deployment, step: Step
) -> ReleasedClip:
    identity = at.analyser.models[at.analyser.id_model]
    again = redeliver_clip(row, request, press=at.press, identity=identity, folder=folder)
    with step("ask the opt-outs again"):
        require_nobody_opted_out(request, book=at.consents, analyser=at.analyser, gates=at.gates)
    return again


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """Give a private folder that is empty at first and gone at the end, to one process at a time.

    Raises StoreUnavailable, and ClipInUse while another process has it.
    """
    with hold_alone(folder):
        try:
            _empty(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Delete what a run that was killed left; raise StoreUnavailable for what cannot be deleted."""
    try:
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
    except OSError as error:
        raise StoreUnavailable(f"cannot empty {folder}: {error.strerror}") from error
