"""What the database holds of an erasure: its state, and what later steps need.

Nothing here opens anything: fingerprints, ids, and bytes sealed under a key that goes.
Refused: a row that is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from policies.canonical import canonical
from policies.erasure_receipt import Checks
from policies.errors import Error
from policies.residue import Needle
from policies.terms import Digest, Document, UnixTime, Uuid


class ErasureFailed(Error):
    """The erasure is not complete; the receipt is not written. Running it again goes on."""

    code = "ERASURE-FAILED"


@dataclass(frozen=True, slots=True)
class Row:
    """The state (requested, shredded, proved, receipted) and its document."""

    state: str
    document: bytes


class Progress(Document):
    """What later steps need of a key that is gone by then; the document of all but the last state.

    `canary` (hex) was sealed before, and opened once to see that it does; it must not open after.
    """

    request_id: Uuid
    requested_at: UnixTime
    subject_commitment: Digest
    dek_ids: tuple[str, ...]
    kek_version: str
    needles: tuple[Needle, ...]
    canary: str
    checks: Checks | None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return canonical(self.model_dump(mode="json"))


def read_progress(row: Row) -> Progress:
    """Return what a row holds; raise ErasureFailed when it is damaged."""
    try:
        return Progress.model_validate_json(row.document)
    except ValidationError as error:
        raise ErasureFailed(
            "what is stored of this erasure is damaged", mend="restore the database"
        ) from error
