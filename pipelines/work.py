"""The work folder of a home: copies and marked pieces of videos that are being made.

Decides what may stay there between two runs: what a warrant that holds now can go on with. A
consent that was withdrawn ends that, so the sweep takes its pieces away without waiting for the
request to be run again.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.deployment import Records
from pipelines.settings import Settings
from policies.errors import StoreUnavailable
from policies.warrant import WarrantInvalid
from provenance.errors import ClipInUse
from provenance.lock import hold_alone
from provenance.pieces import drop_pieces


def work_folder(settings: Settings) -> Path:
    """Return the folder of what videos need while they are made; raise StoreUnavailable."""
    folder = settings.home / "work"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"cannot make {folder}: {error.strerror}") from error
    return folder


def forget_ended(at: Records) -> list[str]:
    """Delete pieces that no warrant can go on with, and copies nobody uses; return their names.

    What another process is working on stays. Raises StoreUnavailable for the first that cannot be
    deleted, after all others are.
    """
    work = work_folder(at.settings)
    gone: list[str] = []
    stuck: list[StoreUnavailable] = []
    for folder in [*work.glob("pieces/*"), *work.glob("targets/*")]:
        try:
            # Asked while it is held: before, a run could start that warrant and end again.
            with hold_alone(folder):
                if _is_needed(folder.name, at):
                    continue
                drop_pieces(folder.parent, folder.name)
        except ClipInUse:
            continue
        except StoreUnavailable as error:
            stuck.append(error)
            continue
        gone.append(folder.name)
    if stuck:
        raise stuck[0]
    return gone


def _is_needed(name: str, at: Records) -> bool:
    """Return whether that is the id of a warrant that a video can go on with now."""
    for warrant in at.desk.running():
        if warrant.warrant_id == name:
            try:
                at.desk.check(warrant, state="started")
            except WarrantInvalid:
                return False
            return True
    return False
