"""Lay somebody's face on a photograph whose true picture is then what a network has to give back.

A reverse triplet of real people: the label is the photograph itself, never a guess. Both pictures
come from the data ledger, and so does whatever is laid on the result. Refused: what `lay_out`
refuses (WarrantInvalid, OutOfRange).
"""

from __future__ import annotations

from generator.laying import SHAPE_BLEND, lay_out, paste
from generator.ledger_pair import Composite, LedgerPair, keep_composite, require_pair


def compose(pair: LedgerPair) -> Composite:
    """Return the pair's target with its source's face on it, as `geo` makes it."""
    layers = lay_out(require_pair(pair), SHAPE_BLEND)
    made = paste(layers.composite, layers.mask, layers, pair.target.frame)
    return keep_composite(made.frame, pair)
