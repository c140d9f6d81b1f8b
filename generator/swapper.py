"""What a swapper is, what it is given, and how one is opened by name.

A swapper sees nothing but a `SwapTask`, and a task cannot be built without an active warrant that
names both inputs by digest and both people by face box. So a swapper called directly is refused
like one called through `generator.swap` or `clip_swap`. Refused: tasks whose warrant, digests or
faces do not agree (WarrantInvalid, UnnamedFace), and names that no swapper has (UnknownSwapper).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from generator.clip_frames import ClipFrame, require_clip_frame
from generator.errors import FaceError, SwapRefused
from generator.faces import Face
from policies.terms import Medium, PersonRole
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance.media import Picture, require_picture

SwapperName = Literal[
    "geo",
    "stylemix",
    "stylemix+errs",
    "stylemix+mdrn+errs",
    "stylemix-mobile",
]

SAME_FACE_IOU = 0.5
"""Two boxes of one face found twice overlap by .8 and more, two faces side by side by under .2."""

ROUNDING_PX = 1.0
"""A warrant's boxes are in whole pixels: a face may reach out of its own by less than this."""

FloatBox = Sequence[float]

Target: TypeAlias = Picture | ClipFrame
"""What a face is put into: a picture, or one frame of a video."""


class UnknownSwapper(FaceError):
    """No swapper has this name."""

    code: ClassVar[str] = "UNKNOWN-SWAPPER"


class UnnamedFace(SwapRefused):
    """A face that the warrant does not name: nobody has consented for it."""

    code: ClassVar[str] = "UNNAMED-FACE"


class OutOfRange(SwapRefused):
    """A measured property of the faces lies outside what the swapper can do honestly."""

    code: ClassVar[str] = "SWAP-OUT-OF-RANGE"

    def __init__(self, what: str, *, measured: float, limit: float, mend: str = "") -> None:
        super().__init__(f"{what} is {measured:.3g}, the limit is {limit:.3g}", mend=mend)
        self.measured = measured
        self.limit = limit


class SwapTask:
    """One permitted swap: the warrant, source and target, and the face in each that is meant.

    Raises WarrantInvalid unless the warrant is active now, for what the target is, and names both
    inputs, and UnnamedFace unless each face lies in the box that the warrant gives to its role; in
    a video that box is around all places of the face. `require_task` asks again, and every swapper
    calls it first: a task kept past its warrant is worth nothing.
    """

    __slots__ = ("source", "source_face", "target", "target_face", "warrant")

    def __init__(
        self,
        warrant: ActiveWarrant,
        *,
        source: Picture,
        target: Target,
        source_face: Face,
        target_face: Face,
    ) -> None:
        self.warrant = require_active(warrant)
        self.source, self.target = source, target
        self.source_face, self.target_face = source_face, target_face
        self.require()

    def require(self) -> None:
        """Raise WarrantInvalid or UnnamedFace unless the task is permitted at this moment."""
        active = require_active(self.warrant)
        source, (target, medium) = require_picture(self.source), _require_target(self.target)
        active.require(source_sha256=source.sha256, target_sha256=target.sha256, medium=medium)
        in_target = _is_same_place if medium == "image" else _lies_in
        roles: tuple[tuple[PersonRole, Face, Callable[[FloatBox, FloatBox], bool]], ...] = (
            ("source_identity", self.source_face, _is_same_place),
            ("target_body", self.target_face, in_target),
        )
        for role, face, is_there in roles:
            boxes = named_boxes(active, role)
            if len(boxes) != 1 or not is_there(face.box, boxes[0]):
                raise UnnamedFace(f"the warrant does not name this face as its {role}")

    def __reduce__(self) -> str:
        raise SwapRefused("a swap task cannot leave its process")


def require_task(value: object) -> SwapTask:
    """Return `value` if it is a SwapTask that is permitted now; every `render` calls this first.

    Raises WarrantInvalid or UnnamedFace, also for anything that only behaves like a task.
    """
    whole = all(hasattr(value, name) for name in SwapTask.__slots__)
    if type(value) is not SwapTask or not whole:
        raise WarrantInvalid("a swapper renders swap tasks only", code="WARRANT-REQUIRED")
    value.require()
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """What a swapper made: frame BGR uint8 (h, w, 3) and mask float32 (h, w) in 0..1.

    Where the mask is 0 the frame is the target's, pixel for pixel.
    """

    frame: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.float32]


class Swapper(Protocol):
    """Renders permitted tasks; the same task gives the same pixels."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        ...

    @property
    def version(self) -> str:
        """Version and every parameter that changes pixels."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Model name -> sha256 of its weight file; empty for a swapper without weights."""
        ...

    def render(self, task: SwapTask) -> Rendering:
        """Return the swapped frame; raises WarrantInvalid, UnnamedFace or SwapRefused."""
        ...


@runtime_checkable
class FollowingSwapper(Swapper, Protocol):
    """A swapper that, in a video, looks at frames before the one it makes.

    `looks_back` frames at most, those just before it in which the same face is followed without a
    gap; never more, so that what a frame looks like follows from the clip alone.
    """

    @property
    def looks_back(self) -> int:
        """How many frames it wants to see, 1 or more."""
        ...

    def render_after(self, task: SwapTask, before: Sequence[SwapTask]) -> Rendering:
        """Return the swapped frame, given the tasks of the frames before it, oldest first."""
        ...


def open_swapper(name: str) -> Swapper:
    """Return the swapper of that name with its default parameters; raises UnknownSwapper."""
    if name not in _OPENERS:
        known = ", ".join(get_args(SwapperName))
        raise UnknownSwapper(f"there is no swapper {name!r}", mend=f"use one of: {known}")
    return _OPENERS[name]()


def named_boxes(warrant: ActiveWarrant, *roles: PersonRole) -> list[FloatBox]:
    """Return the face boxes that a warrant gives to these roles."""
    return [person.box for person in warrant.document.people if person.role in roles]


def overlap(first: FloatBox, second: FloatBox) -> float:
    """Return intersection over union of two boxes x0, y0, x1, y1; 0 for an empty box."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return float(width * height / (sum(areas) - width * height))


def _require_target(value: object) -> tuple[Target, Medium]:
    if isinstance(value, ClipFrame):
        return require_clip_frame(value), "video"
    return require_picture(value), "image"


def _is_same_place(face: FloatBox, box: FloatBox) -> bool:
    return overlap(face, box) >= SAME_FACE_IOU


def _lies_in(face: FloatBox, box: FloatBox) -> bool:
    """Return whether a face lies in the box around all of its places."""
    begins = all(face[i] >= box[i] - ROUNDING_PX for i in (0, 1))
    return begins and all(face[i] <= box[i] + ROUNDING_PX for i in (2, 3))


def _open_geo() -> Swapper:
    from generator.geometric import GeometricSwapper  # noqa: PLC0415  # it imports this module

    return GeometricSwapper()


def _open_mixing(*steps: str, weights: str = "stylemix") -> Callable[[], Swapper]:
    def run() -> Swapper:
        from generator.mixing import open_stylemix  # noqa: PLC0415  # it imports this module

        return open_stylemix(weights, detail="mdrn" in steps, eyes="errs" in steps)

    return run


_OPENERS: dict[str, Callable[[], Swapper]] = {
    "geo": _open_geo,
    "stylemix": _open_mixing(),
    "stylemix+errs": _open_mixing("errs"),
    "stylemix+mdrn+errs": _open_mixing("mdrn", "errs"),
    "stylemix-mobile": _open_mixing(weights="stylemix-mobile"),
}
