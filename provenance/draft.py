"""Pixels that have not been released: bound to their warrant, unable to leave by themselves.

A draft has no bytes, cannot be pickled and shows nothing when printed. `release` alone turns it
into something for the outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.errors import ShapeError
from provenance.media import Box, Frame, Picture


@dataclass(frozen=True, slots=True)
class Maker:
    """What made the pixels: swapper name and version, and the SHA-256 of every weight file."""

    swapper: str
    version: str
    models: Mapping[str, str]


class Draft:
    """A swapped frame (BGR uint8, h x w x 3, read-only) with the inputs it was made from.

    `faces`: boxes of every face, so that a label can keep off them. Raises WarrantInvalid unless
    the warrant is active and names both inputs, and ShapeError when the frame does not have the
    target's size.
    """

    __slots__ = ("faces", "frame", "maker", "source", "target", "warrant")

    def __init__(
        self,
        frame: Frame,
        *,
        warrant: ActiveWarrant,
        source: Picture,
        target: Picture,
        faces: tuple[Box, ...],
        maker: Maker,
    ) -> None:
        active = require_active(warrant)
        active.require(source_sha256=source.sha256, target_sha256=target.sha256)
        if frame.shape != target.frame.shape or frame.dtype != np.uint8:
            raise ShapeError(
                actual=f"{frame.dtype} {frame.shape}", expected=f"uint8 {target.frame.shape}"
            )
        self.frame = frame.copy()
        self.frame.setflags(write=False)
        self.warrant = active
        self.source = source
        self.target = target
        self.faces = faces
        self.maker = maker

    def __reduce__(self) -> str:
        raise WarrantInvalid("a draft cannot be stored; release it", code="WARRANT-REQUIRED")

    def __repr__(self) -> str:
        return f"<Draft under warrant {self.warrant.document.warrant_id}>"
