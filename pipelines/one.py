"""One request from the command line: a job made of options, its output written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.batch import Observer, run_batch
from pipelines.deployment import Deployment
from pipelines.jobs import JobSpec, load_job, read_spec
from pipelines.outcome import Outcome
from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from policies.terms import PersonRole
from provenance.store import write_whole


def spec_of(
    people: Sequence[tuple[str, PersonRole]], *, request_id: str = "", **options: object
) -> JobSpec:
    """Return the job of these options (fields of JobSpec); raise Malformed naming a wrong one.

    Without an id the job is named by what it says, so that the same call is the same request.
    """
    fields: dict[str, object] = {
        "schema": "facewarrant/job/1",
        "people": [{"record_id": record_id, "role": role} for record_id, role in people],
        "categories": [],
        **options,
    }
    name = request_id or f"run-{sha256_hex(canonical(fields))[:16]}"
    return read_spec(canonical(fields | {"request_id": name}))


def run_one(spec: JobSpec, *, out: Path, at: Deployment, observe: Observer) -> Outcome:
    """Run a job and write its release to `out`; raises FileUnreadable and StoreUnavailable.

    When writing fails the release is not lost: the same job delivers it again.
    """
    [outcome] = run_batch([load_job(spec)], deployment=at, observe=observe)
    if outcome.release is not None:
        try:
            write_whole(out, outcome.release.data)
            os.chmod(out, 0o644)
        except (StoreUnavailable, OSError) as error:
            raise StoreUnavailable(
                f"released, but {out} cannot be written: {error}",
                mend="nothing is lost: run the same command again, with --out elsewhere",
            ) from error
    return outcome


def require_writable(out: Path) -> None:
    """Raise StoreUnavailable unless `out` can be written, before any work is done for it."""
    try:
        if out.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {out}: {error.strerror}",
            mend="choose a file in a folder that can be written; nothing has been done yet",
        ) from error
