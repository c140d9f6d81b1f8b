"""The data ledger: which pictures may be used for what, and the only way to one for training.

Every picture that a network is trained or measured on has a row with its sha256, source, licence
and the scope of the consent behind it. `DataLedger.admit` gives out pictures for a purpose and
keeps what it gave out, so that a run can name its data by one digest. Refused (DataRefused):
pictures without a row, rows that have ended, purposes that the row or the scope of its consent does
not cover, and sets of real people who agreed to studies, for anything but those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, Field, ValidationError

from policies.digest import sha256_hex
from policies.errors import Error
from policies.files import read_bounded
from policies.terms import Document
from provenance.media import decode

Purpose = Literal["release_training", "research_training", "evaluation"]
"""What a picture is wanted for: weights that are released, weights that are not, or measuring."""

EVALUATION_ONLY: Final = frozenset({"london", "clips"})
"""Real people who agreed to studies, not to training."""
MAX_LEDGER_BYTES: Final = 1_000_000_000

_DOOR = object()


class DataRefused(Error):
    """A picture may not be used for this, or nobody can say whether it may."""

    code: ClassVar[str] = "DATA-REFUSED"


class LedgerRow(Document):
    """One file of the data ledger.

    `consent_scope`: what the people in it agreed to, or why there is nobody to ask. `person`: an
    opaque id. The three flags say what the file may be used for; `expires` when that ends.
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str
    set: str
    kind: Literal["image"]
    person: str
    source: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    licence_url: str = ""
    consent_id: str = ""
    consent_scope: str = Field(min_length=1)
    training_of_released_models: bool
    evaluation: bool = False
    publication: bool = False
    expires: AwareDatetime | None = None
    added_by: str = ""
    added_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AdmittedPicture:
    """A picture that the ledger gave out for a purpose; only `DataLedger.admit` makes one.

    `frame`: BGR uint8 (h, w, 3), not writeable; `sha256`: of the file, hex.
    """

    frame: npt.NDArray[np.uint8] = field(repr=False)
    sha256: str
    row: LedgerRow
    purpose: Purpose
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise DataRefused("an admitted picture cannot be built by hand", mend="use the ledger")

    def __reduce__(self) -> NoReturn:
        raise DataRefused("an admitted picture cannot be pickled", mend="admit it where it is used")


class DataLedger:
    """The rows of a ledger, and which of them have been used."""

    def __init__(self, rows: Iterable[LedgerRow]) -> None:
        self._rows = {row.sha256: row for row in rows}
        self._used: dict[str, LedgerRow] = {}

    def admit(
        self, content: bytes, name: str, *, purpose: Purpose, now: datetime
    ) -> AdmittedPicture:
        """Return the picture in a file's bytes; `name` is for the message. Raises DataRefused.

        Admitted by its own bytes: a file that was changed has no row. Raises MediaError for bytes
        that are no picture.
        """
        digest = sha256_hex(content)
        row = require_row(self._rows.get(digest), name, purpose=purpose, now=now)
        frame = decode(content).frame
        self._used[digest] = row
        return AdmittedPicture(frame, digest, row, purpose, _DOOR)

    @property
    def used(self) -> tuple[LedgerRow, ...]:
        """The rows of every picture given out so far, by digest."""
        return tuple(self._used[digest] for digest in sorted(self._used))

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self._rows.values())


def require_admitted(value: object) -> AdmittedPicture:
    """Return `value` if it is an AdmittedPicture; raise DataRefused for anything else."""
    if type(value) is not AdmittedPicture or not hasattr(value, "purpose"):
        raise DataRefused("only a picture that the data ledger gave out is taken")
    return value


def require_row(row: LedgerRow | None, name: str, *, purpose: Purpose, now: datetime) -> LedgerRow:
    """Return the row if it covers the purpose; raise DataRefused naming what is missing."""
    if row is None:
        raise DataRefused(
            f"{name} is not in the data ledger",
            mend="add a row with its sha256, source, licence and scope, or take the file away",
        )
    if row.expires is not None and row.expires <= now:
        raise DataRefused(f"the right to use {name} ended on {row.expires:%Y-%m-%d}")
    if purpose == "evaluation":
        if not row.evaluation:
            raise DataRefused(f"{name} may not be used for measuring")
        return row
    if EVALUATION_ONLY & {part.lower() for part in (row.set, *Path(row.path).parts)}:
        raise DataRefused(f"{name} belongs to a set that is for evaluation only")
    if purpose == "release_training" and not row.training_of_released_models:
        raise DataRefused(
            f"{name} may not be used for weights that are released",
            mend="train without it, or without release",
        )
    return row


def read_ledger(path: Path) -> DataLedger:
    """Return a ledger file's rows, one JSON object a line; raises DataRefused, StoreUnavailable."""
    data = read_bounded(path, max_bytes=MAX_LEDGER_BYTES)
    try:
        return DataLedger(LedgerRow.model_validate_json(line) for line in data.splitlines())
    except ValidationError as error:
        raise DataRefused(f"the data ledger is not complete: {error}") from error


def ledger_bytes(rows: Iterable[LedgerRow]) -> bytes:
    """Return rows as JSON lines: what is written beside a run and whose sha256 names its data."""
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)


def rendered_row(content: bytes, path: str, *, set_name: str, person: str) -> LedgerRow:
    """Return the row of a rendered picture: CC0, nobody in it exists, free for every purpose."""
    facts: dict[str, Any] = {"evaluation": True, "publication": True}
    return LedgerRow(
        sha256=sha256_hex(content),
        path=path,
        set=set_name,
        kind="image",
        person=person,
        source=f"Blender renders, folder {set_name}",
        licence="CC0-1.0",
        consent_scope="none needed: no real person",
        training_of_released_models=True,
        **facts,
    )
