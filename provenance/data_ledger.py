"""The data ledger: which pictures may be used for what, and the only way to one for training.

Every picture that a network is trained or measured on has a row with its sha256, source, licence
and the scope of the consent behind it. `DataLedger.admit` gives out pictures for a purpose and
keeps what it gave out, so that a run can name its data by one digest. Refused (DataRefused):
pictures without a row, rows that have ended or whose consent was withdrawn, purposes that the row
or the scope of its consent does not cover, sets of real people who agreed to studies, for training
of any kind, and ledgers that contradict themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal, NoReturn, get_args
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from policies.canonical import parse_object
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.files import read_bounded
from policies.terms import Digest, Document
from provenance.disturbance import disturb
from provenance.media import decode

Purpose = Literal["release_training", "research_training", "evaluation"]
"""What a picture is wanted for: weights that are released, weights that are not, or measuring."""

COVERING: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "release_training": frozenset({"training-of-released-models"}),
        "research_training": frozenset(
            {"training-of-released-models", "training-of-research-models"}
        ),
        "evaluation": frozenset({"research", "evaluation"}),
    }
)
"""Purpose -> the words of which a real person's consent scope needs one. Scopes are written as
words with commas between them, so that "no training" is not taken for a yes."""
NO_REAL_PERSON: Final = "none needed: no real person"
"""The scope of pictures in which there is nobody to ask."""
NOBODY_REAL: Final = re.compile(r"none|persona:[a-z0-9+-]+")
"""Persons who do not exist: none in the picture, or rendered ones. A row must say it twice."""
EVALUATION_ONLY: Final = frozenset({"london", "clips"})
"""Real people who agreed to studies, not to training."""
MAX_LEDGER_BYTES: Final = 1_000_000_000

_DOOR = object()


class DataRefused(Error):
    """A picture may not be used for this, or nobody can say whether it may."""

    code: ClassVar[str] = "DATA-REFUSED"


def _require_plain_path(path: str) -> str:
    # A second spelling of a folder would not be recognised as that folder.
    parts = path.split("/")
    if "\\" in path or not path.isprintable() or {"", ".", ".."} & {p.strip() for p in parts}:
        raise ValueError("a path is relative, with / between names, and climbs nowhere")
    return path


class LedgerRow(Document):
    """One file of the data ledger.

    `path`: relative, POSIX. `person`: an opaque id; "none" or "persona:..." where nobody is real.
    `consent_scope`: what the people in it agreed to, as words with commas between them, or
    `NO_REAL_PERSON`. `consent_id`: the consent that can be withdrawn. The three flags say what the
    file may be used for; `expires` when that ends.
    """

    sha256: Digest
    path: Annotated[str, Field(max_length=1000), AfterValidator(_require_plain_path)]
    set: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")
    kind: Literal["image"]
    person: str = Field(min_length=1)
    source: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    licence_url: str = ""
    consent_id: str = Field(default="", pattern=r"^[a-z0-9._:-]{0,80}$")
    consent_scope: str = Field(min_length=1)
    training_of_released_models: bool
    evaluation: bool = False
    publication: bool = False
    expires: AwareDatetime | None = None
    added_by: str = ""
    added_at: AwareDatetime | None = None

    @property
    def is_of_real_people(self) -> bool:
        """Whether it can show somebody who had to be asked: yes, unless scope and person say no."""
        unreal = NOBODY_REAL.fullmatch(self.person) is not None
        return not (unreal and self.consent_scope == NO_REAL_PERSON)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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
        _given_out.add(self)

    def disturbed(self, rng: np.random.Generator) -> AdmittedPicture:
        """Return the same picture in another light, softness and compression; its row stays.

        Which changes there are is fixed: no frame from elsewhere can take the picture's place.
        """
        frame = disturb(require_admitted(self).frame, rng)
        frame.setflags(write=False)
        return AdmittedPicture(frame, self.sha256, self.row, self.purpose, _DOOR)

    def __reduce__(self) -> NoReturn:
        raise DataRefused("an admitted picture cannot be pickled", mend="admit it where it is used")


_given_out: WeakSet[AdmittedPicture] = WeakSet()


class DataLedger:
    """The rows of a ledger, and which of them have been used: one for each run.

    `withdrawn`: ids of consents that hold no longer; nothing that rests on one is given out.
    Raises DataRefused for rows that contradict each other about one file.
    """

    def __init__(self, rows: Iterable[LedgerRow], *, withdrawn: Collection[str] = ()) -> None:
        self._withdrawn = frozenset(consent_id.strip().lower() for consent_id in withdrawn)
        if isinstance(withdrawn, str) or "" in self._withdrawn:
            raise DataRefused("withdrawn consents are a collection of ids, none of them empty")
        self._rows: dict[str, LedgerRow] = {}
        self._used: dict[str, LedgerRow] = {}
        for row in rows:
            if type(row) is not LedgerRow:  # a subclass could answer otherwise than it is written
                raise DataRefused(f"a {type(row).__name__} is not a row of the data ledger")
            if self._rows.setdefault(row.sha256, row) != row:
                raise DataRefused(
                    f"the data ledger has two rows for {row.path}, which differ",
                    mend="keep one row for every sha256",
                )

    def admit(
        self, content: bytes, name: str, *, purpose: Purpose, now: datetime
    ) -> AdmittedPicture:
        """Return the picture in a file's bytes; `name`: its path, folder and all. Or DataRefused.

        Admitted by its own bytes: a file that was changed has no row. Raises MediaError for bytes
        that are no picture.
        """
        digest = sha256_hex(content)
        row = self.require(digest, name, purpose=purpose, now=now)
        frame = decode(content).frame
        self._used[digest] = row
        return AdmittedPicture(frame, digest, row, purpose, _DOOR)

    def require(self, sha256: str, name: str, *, purpose: Purpose, now: datetime) -> LedgerRow:
        """Return the row of a file if it covers the purpose; DataRefused naming what is missing."""
        short = _parts(name)[-1]
        if purpose not in get_args(Purpose):
            raise DataRefused(
                f"{short} is wanted for {purpose}, which is no purpose of the data ledger",
                mend=f"use one of: {', '.join(COVERING)}",
            )
        row = self._rows.get(sha256)
        if row is None:
            raise DataRefused(
                f"{short} is not in the data ledger",
                mend="add a row with its sha256, source, licence and scope, or take the file away",
            )
        if row.consent_id in self._withdrawn:
            raise DataRefused(f"the consent for {short} was withdrawn", mend="delete the file")
        _require_time(row, short, now)
        _require_flags(row, name, short, purpose)
        if row.is_of_real_people:
            _require_consent(row, short, purpose)
        return row

    @property
    def used(self) -> tuple[LedgerRow, ...]:
        """The rows of every picture given out so far, by digest."""
        return tuple(self._used[digest] for digest in sorted(self._used))

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self._rows.values())


def require_admitted(value: object) -> AdmittedPicture:
    """Return `value` if a ledger gave it out, itself; raise DataRefused for anything else."""
    if type(value) is not AdmittedPicture or value not in _given_out:
        raise DataRefused(
            "only a picture that the data ledger gave out is taken", mend="use DataLedger.admit"
        )
    return value


def read_ledger(path: Path, *, withdrawn: Collection[str] = ()) -> DataLedger:
    """Return a ledger file's rows, one JSON object a line; raises DataRefused, StoreUnavailable."""
    lines = read_bounded(path, max_bytes=MAX_LEDGER_BYTES).splitlines()
    rows = (_read_row(line, number) for number, line in enumerate(lines, 1))
    return DataLedger(rows, withdrawn=withdrawn)


def ledger_bytes(rows: Iterable[LedgerRow]) -> bytes:
    """Return rows as JSON lines: what is written beside a run and whose sha256 names its data."""
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)


def runs_using(consent_id: str, ledgers: Iterable[Path]) -> tuple[Path, ...]:
    """Return which of these runs' ledger files name a file that rests on a consent, in their order.

    A run counts by the file's sha256, so also where its own row names another consent or none.
    Raises DataRefused and StoreUnavailable for a ledger that cannot be read: a run that cannot be
    asked is not one without the consent.
    """
    if not consent_id:
        raise DataRefused("a consent without an id cannot be looked for", mend="name a consent")
    runs = {path: tuple(read_ledger(path)) for path in ledgers}
    rows = [row for run in runs.values() for row in run]
    files = {row.sha256 for row in rows if row.consent_id == consent_id.lower()}
    return tuple(path for path, run in runs.items() if files & {row.sha256 for row in run})


def rendered_row(content: bytes, path: str, *, set_name: str, person: str) -> LedgerRow:
    """Return the row of a rendered picture: CC0, nobody in it exists, free for every purpose.

    `person`: "persona:..." or "none". Raises DataRefused for any other.
    """
    if not NOBODY_REAL.fullmatch(person):
        raise DataRefused("a rendered person is named persona:..., others are asked")
    return LedgerRow(
        sha256=sha256_hex(content),
        path=path,
        set=set_name,
        kind="image",
        person=person,
        source=f"Blender renders, folder {set_name}",
        licence="CC0-1.0",
        consent_scope=NO_REAL_PERSON,
        training_of_released_models=True,
        evaluation=True,
        publication=True,
    )


def _read_row(line: bytes, number: int) -> LedgerRow:
    try:
        parse_object(line)  # refuses a key that stands there twice, once with each answer
        return LedgerRow.model_validate_json(line)
    except ValidationError as error:
        # What was written there may be about a person: only where it stands is told.
        fields = ", ".join(sorted({str(part) for one in error.errors() for part in one["loc"]}))
        raise DataRefused(f"line {number} of the data ledger is not complete: {fields}") from None
    except Malformed as error:
        raise DataRefused(f"line {number} of the data ledger is not complete: {error}") from error


def _parts(path: str) -> list[str]:
    """Return the names in a path as they are compared: either slash, any case, one alphabet."""
    plain = unicodedata.normalize("NFKC", path).replace("\\", "/")
    return [part.strip().casefold() for part in plain.split("/")]


def _require_time(row: LedgerRow, name: str, now: datetime) -> None:
    if now.utcoffset() is None:
        raise DataRefused("the time to judge a row by has no zone", mend="give it in UTC")
    if row.expires is not None and row.expires <= now:
        raise DataRefused(f"the right to use {name} ended on {row.expires:%Y-%m-%d}")


def _require_flags(row: LedgerRow, path: str, name: str, purpose: Purpose) -> None:
    if purpose == "evaluation":
        if not row.evaluation:
            raise DataRefused(f"{name} may not be used for measuring")
        return
    if EVALUATION_ONLY & {row.set, *_parts(row.path), *_parts(path)}:
        raise DataRefused(f"{name} belongs to a set that is for evaluation only")
    if purpose == "release_training" and not row.training_of_released_models:
        raise DataRefused(
            f"{name} may not be used for weights that are released",
            mend="train without it, or without release",
        )


def _require_consent(row: LedgerRow, name: str, purpose: Purpose) -> None:
    if not row.consent_id:
        raise DataRefused(
            f"{name} shows somebody, and its row names no consent",
            mend="name the consent, or the person as persona:... if nobody is real",
        )
    agreed = {word.strip() for word in row.consent_scope.split(",")}
    if not agreed & COVERING[purpose]:
        raise DataRefused(
            f"the people in {name} did not agree to {purpose}",
            mend=f"their consent needs {' or '.join(sorted(COVERING[purpose]))}",
        )
