"""Two pictures of the data ledger: all that may be laid on one another without a warrant.

Networks are trained and measured on pairs of pictures; nobody asks for those, nothing of them is
released, and no draft can be made of them, for a draft takes a warrant. Each picture must have been
admitted by the ledger for the same purpose; what a pair makes (`Composite`) may be the target of
another for that purpose. Refused: anything else (WarrantInvalid).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Final, NoReturn
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from generator.errors import SwapRefused
from generator.faces import Face
from policies.warrant import WarrantInvalid
from provenance.data_ledger import (
    AdmittedPicture,
    DataRefused,
    LedgerRow,
    Purpose,
    require_admitted,
)

_DOOR: Final = object()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Composite:
    """A picture with somebody else's face laid on it, made of a ledger pair by `composite.compose`.

    `frame`: BGR uint8 (h, w, 3), not writeable. `rows`: of every picture in it; its purpose theirs.
    """

    frame: npt.NDArray[np.uint8] = field(repr=False)
    rows: tuple[LedgerRow, ...]
    purpose: Purpose
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise WarrantInvalid("a composite cannot be built by hand", code="WARRANT-REQUIRED")
        _made.add(self)

    def __reduce__(self) -> NoReturn:
        raise SwapRefused("a composite of the data ledger cannot leave its process")


_made: WeakSet[Composite] = WeakSet()


@dataclass(frozen=True, slots=True, eq=False)
class LedgerPair:
    """A source and a target of the data ledger, and the face that is meant in each.

    Raises WarrantInvalid unless both pictures were admitted, for one purpose.
    """

    source: AdmittedPicture
    target: AdmittedPicture | Composite
    source_face: Face
    target_face: Face

    def __post_init__(self) -> None:
        require_pair(self)

    def __reduce__(self) -> str:
        raise SwapRefused("a pair of the data ledger cannot leave its process")


def require_pair(pair: LedgerPair) -> LedgerPair:
    """Return the pair if the ledger admitted both pictures for one purpose; or WarrantInvalid."""
    whole = type(pair) is LedgerPair and all(hasattr(pair, n) for n in LedgerPair.__slots__)
    if not whole:
        raise WarrantInvalid("only a pair of admitted pictures is taken", code="WARRANT-REQUIRED")
    purposes = {_require_picture(pair.source).purpose, _require_target(pair.target).purpose}
    if len(purposes) != 1:
        raise WarrantInvalid(
            "the two pictures were admitted for different purposes", code="WARRANT-REQUIRED"
        )
    return pair


def keep_composite(frame: npt.NDArray[np.uint8], pair: LedgerPair) -> Composite:
    """Return what a pair made as the picture of another; `composite.compose` alone calls this.

    Raises WarrantInvalid, and SwapRefused for a frame that cannot be of this pair.
    """
    target = require_pair(pair).target
    if frame.shape != target.frame.shape or frame.dtype != target.frame.dtype:
        raise SwapRefused("what a pair made is not of its target's size and kind")
    own = target.rows if isinstance(target, Composite) else (target.row,)
    frame = frame.copy()
    frame.setflags(write=False)
    return Composite(frame, (*own, pair.source.row), target.purpose, _DOOR)


def _require_target(value: object) -> AdmittedPicture | Composite:
    if type(value) is Composite and value in _made:
        return value
    return _require_picture(value)


def _require_picture(value: object) -> AdmittedPicture:
    try:
        return require_admitted(value)
    except DataRefused as error:
        raise WarrantInvalid(error.message, code="WARRANT-REQUIRED", mend=error.mend) from error
