"""Updated copies of everything that shows a person whose consent has ended, written to a folder.

Refused: a person whose consent still holds. One output that cannot be updated does not stop the
others; each says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.deployment import Deployment
from pipelines.one import SUFFIXES, require_new
from policies.consent import FINAL
from policies.consents import ConsentUnknown
from policies.errors import Error
from provenance.asset import digest_of
from provenance.recall import Updated, update_release


class ConsentHolds(Error):
    """The consent has not ended, so nothing may be said against what was released under it."""

    code = "CONSENT-HOLDS"


@dataclass(frozen=True, slots=True)
class Recalled:
    """One output that shows the person: its manifest, and its updated copy or why there is none."""

    released_id: str
    updated: Updated | None = None
    file: Path | None = None
    error: Error | None = None


def recall(record_id: str, *, out: Path, at: Deployment) -> tuple[Recalled, ...]:
    """Write an updated copy of every output that shows this person into the folder `out`.

    A copy that was made before is delivered again, and one that lies there already stays. Raises
    ConsentHolds, ConsentBroken, and ConsentUnknown for an id under which nothing was released.
    """
    rows = at.archive.registry.by_consent(record_id)
    try:
        _require_ended(record_id, at)
    except ConsentUnknown:
        if not rows:
            raise  # else its record was disposed of in time, and the log says how it ended
    found = []
    for row in rows:
        try:
            updated = update_release(row, press=at.press)
            path = _write(updated, row.mark_id, out, at)
            found.append(Recalled(row.manifest_id, updated, path))
        except Error as error:
            found.append(Recalled(row.manifest_id, error=error))
    return tuple(found)


def _require_ended(record_id: str, at: Deployment) -> None:
    status = at.consents.read_to_end(record_id).state.status
    if status not in FINAL:
        raise ConsentHolds(
            f"the consent is {status}",
            mend=f"facewarrant consent withdraw {record_id}, then recall again",
        )


def _write(updated: Updated, name: str, out: Path, at: Deployment) -> Path:
    path = out / f"{name}{SUFFIXES[updated.mime][0]}"
    if not (path.is_file() and digest_of(path) == updated.sha256):
        require_new(path)
        at.archive.store.get_file(updated.sha256, path)
    return path
