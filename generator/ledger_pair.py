"""Two pictures of the data ledger: all that may be laid on one another without a warrant.

Networks are trained and measured on pairs of pictures; nobody asks for those, nothing of them is
released, and no draft can be made of them, for a draft takes a warrant. Each picture must have been
admitted by the ledger for the same purpose. Refused: anything else (WarrantInvalid).
"""

from __future__ import annotations

from dataclasses import dataclass

from generator.errors import SwapRefused
from generator.faces import Face
from policies.warrant import WarrantInvalid
from provenance.data_ledger import AdmittedPicture, DataRefused, require_admitted


@dataclass(frozen=True, slots=True, eq=False)
class LedgerPair:
    """A source and a target of the data ledger, and the face that is meant in each.

    Raises WarrantInvalid unless both pictures were admitted, for one purpose.
    """

    source: AdmittedPicture
    target: AdmittedPicture
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
    try:
        purposes = {require_admitted(picture).purpose for picture in (pair.source, pair.target)}
    except DataRefused as error:
        raise WarrantInvalid(error.message, code="WARRANT-REQUIRED", mend=error.mend) from error
    if len(purposes) != 1:
        raise WarrantInvalid(
            "the two pictures were admitted for different purposes", code="WARRANT-REQUIRED"
        )
    return pair
