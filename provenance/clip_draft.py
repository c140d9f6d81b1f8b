"""A video that has not been released: frames made on demand, bound to their warrant.

As a draft of a picture it has no bytes, cannot be pickled and shows nothing when printed; it makes
its frames piece by piece, so that a release that was killed goes on where it stopped. Refused: a
warrant for other inputs, other models or a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.clip import Clip, require_clip
from provenance.draft import Maker, Sealed, require_models
from provenance.media import Box, Picture, require_picture
from provenance.pixels import Frame

Render: TypeAlias = Callable[[int, int], Iterator[tuple[int, Frame]]]
"""Called with (start, stop), it yields those frames of the clip, swapped: (pts, BGR uint8)."""


class ClipDraft(Sealed):
    """Swapped frames of a clip, made when asked for, with the inputs they are made from.

    `faces`: boxes in which faces are anywhere in the clip, so that a label can keep off them.
    Raises WarrantInvalid unless the warrant is active, for a video, and names both inputs and every
    model; MediaError for an input that `decode` or `open_clip` did not make.
    """

    __slots__ = ("faces", "maker", "render", "source", "target", "warrant")
    faces: tuple[Box, ...]
    maker: Maker
    render: Render
    source: Picture
    target: Clip
    warrant: ActiveWarrant

    def __init__(
        self,
        render: Render,
        *,
        warrant: ActiveWarrant,
        source: Picture,
        target: Clip,
        faces: tuple[Box, ...],
        maker: Maker,
    ) -> None:
        active = require_active(warrant)
        require_picture(source)
        require_clip(target)
        active.require(source_sha256=source.sha256, target_sha256=target.sha256, medium="video")
        require_models(maker.models, active)
        self._seal(
            render=render, warrant=active, source=source, target=target, faces=faces, maker=maker
        )


def require_clip_draft(value: object) -> ClipDraft:
    """Return `value` if it is a ClipDraft; raise WarrantInvalid for anything else."""
    whole = all(hasattr(value, name) for name in ClipDraft.__slots__)
    if type(value) is not ClipDraft or not whole:
        raise WarrantInvalid("only a draft can be released", code="WARRANT-REQUIRED")
    return value
