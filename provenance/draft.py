"""Pixels that have not been released: bound to their warrant, unable to leave by themselves.

A draft has no bytes, cannot be pickled and shows nothing when printed. `release` alone turns it
into something for the outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.errors import ShapeError
from provenance.media import Box, Picture, require_frame, require_picture
from provenance.pixels import Frame


@dataclass(frozen=True, slots=True)
class Maker:
    """What made the pixels: swapper name and version, and the SHA-256 of every weight file."""

    swapper: str
    version: str
    models: Mapping[str, str]


class Sealed:
    """What every draft is: bound to a warrant, and neither changed, stored nor shown."""

    __slots__ = ()
    warrant: ActiveWarrant

    def _seal(self, **fields: object) -> None:
        """Set every field, once: what the constructor has checked."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise WarrantInvalid("a draft cannot be changed", code="WARRANT-REQUIRED")

    def __delattr__(self, name: str) -> None:
        raise WarrantInvalid("a draft cannot be changed", code="WARRANT-REQUIRED")

    def __reduce__(self) -> str:
        raise WarrantInvalid("a draft cannot be stored; release it", code="WARRANT-REQUIRED")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} under warrant {self.warrant.document.warrant_id}>"


class Draft(Sealed):
    """A swapped frame (BGR uint8, h x w x 3, read-only) with the inputs it was made from.

    `faces`: boxes of every face, so that a label can keep off them. Raises WarrantInvalid unless
    the warrant is active and names both inputs and every model, MediaError for an input that
    `decode` did not make, and ShapeError when the frame does not have the target's size.
    """

    __slots__ = ("faces", "frame", "maker", "source", "target", "warrant")
    faces: tuple[Box, ...]
    frame: Frame
    maker: Maker
    source: Picture
    target: Picture
    warrant: ActiveWarrant

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
        for picture in (source, target):
            require_picture(picture)
        active.require(source_sha256=source.sha256, target_sha256=target.sha256, medium="image")
        require_models(maker.models, active)
        require_frame(frame)
        if frame.shape != target.frame.shape:
            raise ShapeError(actual=frame.shape, expected=f"{target.frame.shape}")
        own = frame.copy()
        own.setflags(write=False)
        self._seal(
            frame=own, warrant=active, source=source, target=target, faces=faces, maker=maker
        )


def require_draft(value: object) -> Draft:
    """Return `value` if it is a Draft; raise WarrantInvalid for anything else."""
    whole = all(hasattr(value, name) for name in Draft.__slots__)
    if type(value) is not Draft or not whole:
        raise WarrantInvalid("only a draft can be released", code="WARRANT-REQUIRED")
    return value


def require_models(models: Mapping[str, str], warrant: ActiveWarrant) -> None:
    """Raise WarrantInvalid unless the warrant names every model, with the digest it has now."""
    for name, sha256 in models.items():
        if warrant.document.models.get(name) != sha256:
            raise WarrantInvalid(
                f"the warrant was not issued for the model {name} as it is",
                code="WARRANT-OTHER-MODEL",
            )
