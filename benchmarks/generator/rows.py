"""The rows of the table: what is made of one pair, from the plain copy to the whole stack.

`target` is the plain copy, a strong wrong answer; `target-jpeg` the same at JPEG quality 90, which
shows how much of a figure is noise; `geo-half` takes half of the source's shape; `label` is the
true swap, the ceiling on renders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from generator.faces import Face, Frame
from generator.laying import SHAPE_BLEND, Layers, lay_out, paste
from generator.ledger_pair import LedgerPair
from generator.mixing import StyleMixSwapper, open_stylemix
from provenance.data_ledger import AdmittedPicture

NOISE_ROW = "target-jpeg"
NOISE_QUALITY = 90
ROWS = (
    *("target", NOISE_ROW, "geo-half", "geo"),
    *("stylemix", "stylemix+mdrn", "stylemix+errs", "stylemix+mdrn+errs"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One result: the frame, BGR uint8, and the mask of what may differ, float32."""

    frame: Frame
    mask: npt.NDArray[np.float32]
    layers: Layers


def make(row: str, permit: LedgerPair) -> Made:
    """Return what a row makes of a pair; raises OutOfRange where geo refuses it."""
    return _MAKERS[row](permit)


def _copy(permit: LedgerPair) -> Made:
    layers = lay_out(permit, SHAPE_BLEND)
    return _finish(permit, layers.target, layers.mask, layers)


def _compressed(permit: LedgerPair) -> Made:
    made = _copy(permit)
    _, jpeg = cv2.imencode(".jpg", made.frame, [cv2.IMWRITE_JPEG_QUALITY, NOISE_QUALITY])
    return replace(made, frame=np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8))


def _geo(amount: float) -> Callable[[LedgerPair], Made]:
    def run(permit: LedgerPair) -> Made:
        layers = lay_out(permit, amount)
        return _finish(permit, layers.composite, layers.mask, layers)

    return run


def _mixed(*steps: str) -> Callable[[LedgerPair], Made]:
    def run(permit: LedgerPair) -> Made:
        picture, mask, layers = open_row(steps).mix(permit)
        return _finish(permit, picture, mask, layers)

    return run


@cache
def open_row(steps: tuple[str, ...]) -> StyleMixSwapper:
    """Return the swapper with these finishing steps, on one thread."""
    return open_stylemix(detail="mdrn" in steps, eyes="errs" in steps)


def _finish(
    permit: LedgerPair,
    picture: npt.NDArray[np.float32],
    mask: npt.NDArray[np.float32],
    layers: Layers,
) -> Made:
    rendering = paste(picture, mask, layers, permit.target.frame)
    return Made(rendering.frame, rendering.mask, layers)


_MAKERS: Mapping[str, Callable[[LedgerPair], Made]] = {
    "target": _copy,
    NOISE_ROW: _compressed,
    "geo-half": _geo(0.5),
    "geo": _geo(SHAPE_BLEND),
    "stylemix": _mixed(),
    "stylemix+mdrn": _mixed("mdrn"),
    "stylemix+errs": _mixed("errs"),
    "stylemix+mdrn+errs": _mixed("mdrn", "errs"),
}


def permit_of(
    source: AdmittedPicture, target: AdmittedPicture, faces: tuple[Face, Face]
) -> LedgerPair:
    """Return the permit for two pictures of the ledger."""
    return LedgerPair(source, target, *faces)
