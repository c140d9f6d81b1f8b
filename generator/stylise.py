"""The swappers `style-...`: a consenting person's face drawn in one of the shipped styles.

Nobody's face comes to lie on anybody: the warrant must name one consent record as both source and
target, so that the face drawn is of the one who agreed. Only the inside of the face changes,
feathered towards its outline. In a video a swapper is given the frames before, and lays what it
drew there under what it draws now (`generator.style_flow`). Refused: what `swapper.require_task`
refuses, a warrant with two people in these roles (NotOnePerson), faces too small or turned too far
to be measured (OutOfRange), a strength outside 0..1 (OutOfRange).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from generator import blend
from generator.canonical import Square, frame_square
from generator.errors import SwapRefused
from generator.faces import Face, Frame
from generator.laying import MAX_TARGET_YAW_DEG
from generator.ledger_pair import LedgerPair, require_pair
from generator.runtime import Device, Network, open_network
from generator.style_flow import LOOKS_BACK, VERSION, Drawing, follow
from generator.styles import SIDE_PX, Style, open_style
from generator.swapper import OutOfRange, Rendering, SwapTask, require_task
from generator.topology import draw_outlines
from generator.view import MIN_FACE_SIDE_PX
from provenance.data_ledger import AdmittedPicture

Image = npt.NDArray[np.float32]
Fusion = Literal["iast", "adain"]

WEIGHTS: Final = "stylise"
STRENGTH: Final = 0.75
RIM: Final = 0.12
"""Width over which the drawing fades towards the face's outline, in eye distances."""
LEVEL: Final = np.float32(127.5)
FADED_BELOW: Final = 1.5
"""Squares that the face was enlarged for by more than this are smoothed before they shrink."""


class NotOnePerson(SwapRefused):
    """A style was asked for on a face of somebody other than the source's person."""

    code: ClassVar[str] = "STYLE-NOT-ONE-PERSON"


class Sketch(NamedTuple):
    """A drawing in the square of a face, and where in the frame it belongs.

    mask: float32 (h, w) of the frame's part at `origin` (x, y), 0..1. mesh: (468, 3) in that part.
    """

    drawing: Drawing
    square: Square
    mesh: npt.NDArray[np.float64]
    mask: Image
    origin: tuple[int, int]


class StyleSwapper:
    """The swapper `style-<name>`; strength 0..1, 0 = the target as it is.

    `looks_back`: how many frames of a video it wants to see before the one it draws.
    """

    looks_back = LOOKS_BACK

    def __init__(
        self,
        network: Network,
        style: Style,
        *,
        strength: float = STRENGTH,
        fusion: Fusion = "iast",
    ) -> None:
        if not 0.0 <= strength <= 1.0:
            raise OutOfRange("the strength", measured=strength, limit=1.0)
        self._network, self._style = network, style
        self.strength, self.fusion = strength, fusion
        self.name = f"style-{style.name}"
        self.version = f"1+s{strength:.3g}+{fusion}+{VERSION}"
        self.models: Mapping[str, str] = {**network.models, self.name: style.sha256}

    def render(self, task: SwapTask) -> Rendering:
        """Return the frame with the face drawn; raises WarrantInvalid, UnnamedFace, NotOnePerson
        and OutOfRange."""
        return self.render_after(task, ())

    def render_after(self, task: SwapTask, before: Sequence[SwapTask]) -> Rendering:
        """Return the same, with what was drawn in the frames just before, oldest first, under it.

        Raises as `render`, for every one of the tasks.
        """
        sketches = [self.sketch(require_task(one)) for one in (*before, task)]
        last = sketches[-1]
        made = follow([sketch.drawing for sketch in sketches])
        return _put_back(last._replace(drawing=made), task.target.frame)

    def sketch(self, permit: SwapTask | LedgerPair) -> Sketch:
        """Return the target's face drawn in its square, for a task or a pair of the data ledger.

        Raises WarrantInvalid, UnnamedFace, NotOnePerson and OutOfRange.
        """
        if type(permit) is LedgerPair:
            require_pair(permit)
        else:
            require_task(permit)
        require_one_person(permit)
        require_drawable(permit.target_face)
        frame, mesh = permit.target.frame, permit.target_face.mesh.astype(np.float64)
        window = _window(mesh, frame.shape)
        part = frame[window].astype(np.float32)
        origin = window[1].start, window[0].start
        mesh[:, :2] -= origin
        square = frame_square(mesh, part.shape, SIDE_PX)
        content = square.cut(part)
        return Sketch(self._draw(content), square, mesh, _mask(mesh, part.shape), origin)

    def _draw(self, content: Image) -> Drawing:
        style = self._style.picture.astype(np.float32)
        made = self._network.run(
            content=_planes(content),
            style=_planes(style),
            strength=np.full(1, self.strength, np.float32),
            instance=np.full(1, self.fusion == "iast", np.float32),
        )
        image = (made["image"][0].transpose(1, 2, 0) + 1) * LEVEL
        alpha = cv2.resize(made["alpha"][0, 0], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
        shown = np.ascontiguousarray(image) if self.strength else content
        return Drawing(content, shown, np.asarray(alpha, np.float32))


def require_one_person(permit: SwapTask | LedgerPair) -> None:
    """Raise NotOnePerson unless the permit is for one person's face, both as source and target."""
    if isinstance(permit, LedgerPair):
        target = permit.target  # a composite of the ledger shows somebody else's face
        shown = target.row.person if isinstance(target, AdmittedPicture) else ""
        named = {permit.source.row.person, shown}
    else:
        people = permit.warrant.document.people
        named = {p.record_id for p in people if p.role in ("source_identity", "target_body")}
    if len(named) != 1:
        raise NotOnePerson(
            "a style is drawn on the face of the person who consented, nobody else's",
            mend="name one consent as source_identity and target_body, in pictures of theirs",
        )


def require_drawable(face: Face) -> None:
    """Raise OutOfRange for a face that is too small or turned too far to be measured."""
    yaw, side = abs(face.pose[0]), min(face.box[2] - face.box[0], face.box[3] - face.box[1])
    if yaw > MAX_TARGET_YAW_DEG:
        raise OutOfRange("the face's yaw (degrees)", measured=yaw, limit=MAX_TARGET_YAW_DEG)
    if side < MIN_FACE_SIDE_PX:
        raise OutOfRange("the face's side (pixels)", measured=side, limit=MIN_FACE_SIDE_PX)


def open_stylise(
    name: str,
    *,
    strength: float = STRENGTH,
    fusion: Fusion = "iast",
    device: Device = "cpu",
    threads: int = 1,
) -> StyleSwapper:
    """Load the shipped network and a style; raises StyleRefused, WeightRefused, OutOfRange and
    DeviceUnavailable."""
    style, network = open_style(name), open_network(WEIGHTS, device=device, threads=threads)
    return StyleSwapper(network, style, strength=strength, fusion=fusion)


def _put_back(sketch: Sketch, frame: Frame) -> Rendering:
    """Return the frame with what the drawing changed where the mask is, else as it was."""
    drawing, square, _, mask, (x0, y0) = sketch
    change = drawing.image - drawing.content
    if square.scale > FADED_BELOW:
        change = blend.soften(change, 0.3 * square.scale)
    height, width = mask.shape
    window = np.s_[y0 : y0 + height, x0 : x0 + width]
    made = frame[window] + mask[..., None] * square.put_back(np.ascontiguousarray(change))
    out, whole = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    out[window] = np.clip(np.round(made), 0, 255).astype(np.uint8)
    whole[window] = mask
    return Rendering(out, whole)


def _mask(mesh: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Image:
    """Return where the face may change, float32 (h, w): 0 from its outline on, 1 further in."""
    inside = blend.fill_polygons((shape[0], shape[1]), [draw_outlines(mesh).oval]) > 0.5
    across = float(np.ptp(mesh[:, 0]) + np.ptp(mesh[:, 1])) / 2
    return blend.feather(inside, 0.0, RIM * across / 2)


def _window(mesh: npt.NDArray[np.float64], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the part of the frame that a face's square can touch, as slices of y and x."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    reach = 0.5 * float((high - low).max())
    x0, y0 = (max(int(value - reach), 0) for value in low)
    x1, y1 = (
        min(int(value + reach) + 1, side)
        for value, side in zip(high, (shape[1], shape[0]), strict=True)
    )
    if x1 - x0 < MIN_FACE_SIDE_PX or y1 - y0 < MIN_FACE_SIDE_PX:
        seen = float(min(x1 - x0, y1 - y0))
        raise OutOfRange("the part inside the picture", measured=seen, limit=MIN_FACE_SIDE_PX)
    return slice(y0, y1), slice(x0, x1)


def _planes(picture: Image) -> Image:
    """Return a picture (h, w, 3) of 0..255 as the network takes it: (1, 3, h, w) in -1..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None] / LEVEL - 1
