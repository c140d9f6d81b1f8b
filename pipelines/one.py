"""One request from the command line: a job made of options, its output written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.batch import Observer, run_batch
from pipelines.deployment import Deployment
from pipelines.jobs import JobSpec, digest_file, load_job, read_spec, sniff_file
from pipelines.outcome import Outcome
from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
from policies.terms import PersonRole
from provenance.asset import AssetMime
from provenance.clip_release import ReleasedClip
from provenance.release import Released
from provenance.store import write_whole

SUFFIXES: Mapping[AssetMime, tuple[str, ...]] = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/webp": (".webp",),
    "video/mp4": (".mp4",),
}
"""File name endings by format, the usual one first (IANA media type registrations)."""


def spec_of(
    people: Sequence[tuple[str, PersonRole]], *, request_id: str = "", **options: object
) -> JobSpec:
    """Return the job of these options (fields of JobSpec); raise Malformed naming a wrong one.

    Without an id the job is named by what it says and by the digests of its inputs, so that the
    same inputs are the same request wherever they lie, and others never are; raises FileUnreadable
    for an input that cannot be read.
    """
    fields: dict[str, object] = {
        "schema": "facewarrant/job/1",
        "people": [{"record_id": record_id, "role": role} for record_id, role in people],
        "categories": [],
        **options,
    }
    spec = read_spec(canonical(fields | {"request_id": request_id or "run"}))
    if request_id:
        return spec
    digests = {
        name: digest_file(Path(place))
        for name, place in (("source", spec.source), ("target", spec.target))
    }
    name = f"run-{sha256_hex(canonical(fields | digests))[:16]}"
    return spec.model_copy(update={"request_id": name})


def run_one(spec: JobSpec, *, out: Path, at: Deployment, observe: Observer) -> Outcome:
    """Run a job and write its release to `out`; raises FileUnreadable and StoreUnavailable.

    When writing fails the release is not lost: the same job delivers it again.
    """
    [outcome] = run_batch([load_job(spec)], deployment=at, observe=observe)
    if outcome.release is not None:
        try:
            _write_release(outcome.release, out, at)
            os.chmod(out, 0o644)
        except (StoreUnavailable, OSError) as error:
            raise StoreUnavailable(
                f"released, but {out} cannot be written: {error}",
                mend="nothing is lost: run the same command again, with --out elsewhere",
            ) from error
    return outcome


def _write_release(release: Released | ReleasedClip, out: Path, at: Deployment) -> None:
    if isinstance(release, ReleasedClip):
        at.archive.store.get_file(release.sha256, out)
    else:
        write_whole(out, release.data)


def require_output(out: Path, *, source: Path, target: Path) -> None:
    """Raise unless `out` may take the release, before any work is done for it.

    Raises Malformed when it is one of the inputs or its ending is not that of the target's format
    (which is the release's), StoreUnavailable when it cannot be written, and FileUnreadable.
    """
    require_writable(out)
    for given in (source, target):
        if out.exists() and given.exists() and out.samefile(given):
            raise Malformed(
                f"{out} is an input, which would be overwritten", mend="give --out another name"
            )
    mime = sniff_file(target)
    if mime is None:
        return  # neither picture nor video: the run says what is wrong with it
    endings = SUFFIXES[mime]
    if out.suffix.lower() not in endings:
        raise Malformed(
            f"{out} does not end in {' or '.join(endings)}, the format of {target}",
            mend=f"use --out {out.with_suffix(endings[0]).name}",
        )


def require_writable(out: Path) -> None:
    """Raise StoreUnavailable unless `out` can be written; makes no folder for it."""
    try:
        if out.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        folder = out.absolute().parent
        while not folder.exists():
            folder = folder.parent
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {out}: {error.strerror}",
            mend="choose a file in a folder that can be written; nothing has been done yet",
        ) from error


def require_new(out: Path) -> None:
    """Raise StoreUnavailable unless `out` is not there yet and can be written."""
    require_writable(out)
    if out.exists():
        raise StoreUnavailable(
            f"{out} is there already and is not overwritten", mend="choose another name"
        )


def write_new(out: Path, data: bytes) -> None:
    """Write a private file that is not there yet, whole; raise StoreUnavailable."""
    require_new(out)
    try:
        write_whole(out, data)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {out}: {error.strerror}", mend="choose another folder"
        ) from error
