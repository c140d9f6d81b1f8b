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
from provenance.pieces import drop_pieces, hold_alone


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

    What another process is working on stays. Raises StoreUnavailable.
    """
    work = work_folder(at.settings)
    alive = _usable(at)
    gone: list[str] = []
    for folder in [*work.glob("pieces/*"), *work.glob("targets/*")]:
        if folder.name in alive:
            continue
        try:
            with hold_alone(folder):
                drop_pieces(folder.parent, folder.name)
        except StoreUnavailable:
            continue  # somebody is at it
        gone.append(folder.name)
    return gone


def _usable(at: Records) -> set[str]:
    """Return the ids of the warrants that a video can go on with now."""
    found = set()
    for warrant in at.desk.running():
        try:
            at.desk.check(warrant, state="started")
        except WarrantInvalid:
            continue
        found.add(warrant.warrant_id)
    return found
