"""stylemix, the learned swapper: geo's composite, and what StyleMixNet changes about it.

The network works on a small square. The flow it finds there moves the full picture, and what it
paints is added to that, so detail that the square cannot hold stays as geo laid it out. With
`boost` k the square is k times as large and goes through the network as k x k interleaved pictures
(polyphase), whose changes are smoothed together, so that the phases cannot disagree into a
checkerboard. Finishing steps (`detail`, `eyes`) come after it, each switchable. Refused: what
`generator.laying` and `generator.runtime` refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from generator import blend
from generator.canonical import frame_square
from generator.detail import open_detail
from generator.eyes import EyeReflections
from generator.faces import Face
from generator.laying import FAINTEST, SHAPE_BLEND, Layers, Permit, lay_out, paste
from generator.runtime import Device, Network, open_network
from generator.swapper import Rendering, SwapTask, require_task

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Boost = Literal[1, 2, 4]

WEIGHTS = "stylemix"
BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
"""Takes the highest frequency, on which phases could disagree, out of a boosted change."""


class Finish(Protocol):
    """A step after the swapper: restores something, or gives the same picture back."""

    @property
    def name(self) -> str:
        """Its name in the swapper's version."""
        ...

    @property
    def version(self) -> str:
        """Version and every parameter that changes pixels."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Model name -> sha256 of its weight file."""
        ...

    def apply(self, picture: Image, layers: Layers) -> Image:
        """Return the window (h, w, 3), BGR float32 0..255; equal where nothing is done."""
        ...


class Repainted(NamedTuple):
    """What the network makes of layers: the window (h, w, 3), BGR float32 0..255; `reach` (h, w)
    0..1, where it may differ from the composite; `mesh` (468, 3), where the flow took the points.
    """

    picture: Image
    reach: Image
    mesh: Points


class StyleMixSwapper:
    """The network's changes on geo's layers, then the finishing steps; named as its weights are.

    Its version names the steps: manifests know a swapper by a plain name.
    """

    def __init__(
        self, network: Network, *, boost: Boost = 1, finishes: Sequence[Finish] = ()
    ) -> None:
        self._network, self._boost, self._finishes = network, boost, tuple(finishes)
        self.name = network.card.name
        steps = "".join(f"+{step.name}-{step.version}" for step in self._finishes)
        self.version = f"2+boost{boost}{steps}"
        self.models: Mapping[str, str] = {
            **network.models,
            **{name: digest for step in self._finishes for name, digest in step.models.items()},
        }

    def render(self, task: SwapTask) -> Rendering:
        """Return the swapped frame and its mask; raises WarrantInvalid, UnnamedFace, OutOfRange."""
        require_task(task)
        picture, mask, layers = self.mix(task)
        return paste(picture, mask, layers, task.target.frame)

    def mix(self, permit: Permit) -> tuple[Image, Image, Layers]:
        """Return the finished window, how much of it may differ from the target, and its layers.

        Raises as `generator.laying.lay_out`.
        """
        layers = lay_out(permit, SHAPE_BLEND)
        faces = permit.source_face, permit.target_face
        made = repaint(self._network, layers, faces, self._boost)
        picture, moved = made.picture, replace(layers, mesh=made.mesh)
        for step in self._finishes:
            picture = step.apply(picture, moved)
        return picture, np.maximum(layers.mask, made.reach), layers


def repaint(
    network: Network, layers: Layers, faces: tuple[Face, Face], boost: Boost = 1
) -> Repainted:
    """Return what the network makes of the composite.

    faces: source and target, for their identity vectors. The flow moves the full composite; only
    what is painted comes from the square.
    """
    square = frame_square(layers.own_mesh, layers.mask.shape, network_side(network) * boost)
    stack = [layers.target, layers.pulled, layers.warped, layers.composite]
    cut = [square.cut(picture) for picture in stack]
    pictures = np.asarray(np.concatenate(cut, 2) / 127.5 - 1, np.float32)
    mask = np.clip(square.cut(layers.mask)[..., None], 0, 1)
    ids = [np.repeat(face.id_vector[None], boost**2, 0) for face in faces]
    made = network.run(
        pictures=split_phases(pictures, boost),
        mask=split_phases(mask, boost),
        id_source=ids[0],
        id_target=ids[1],
    )
    paint, flow, reach = (join_phases(made[name], boost) for name in ("paint", "flow", "reach"))
    if boost > 1:
        paint, flow = (np.asarray(cv2.filter2D(x, -1, BINOMIAL), np.float32) for x in (paint, flow))
    reach = square.put_back(np.ascontiguousarray(reach[..., 0]))
    reach = np.where(reach < FAINTEST, 0, np.clip(reach, 0, 1)).astype(np.float32)
    moved = square.move(layers.composite, flow * boost)
    painted = square.put_back(paint * 127.5) * (reach[..., None] > 0)
    picture = blend.lay_over(layers.composite, moved, reach) + painted
    mesh = square.follow(layers.mesh, flow * boost)
    return Repainted(np.clip(picture, 0, 255), reach, mesh)


def network_side(network: Network) -> int:
    """Return the side in pixels of the square the network works on."""
    return network.card.tensors["mask"].shape[-1]


def split_phases(square: Image, boost: int) -> Image:
    """Return (side, side, c) as (boost ** 2, c, side / boost, side / boost): every k-th pixel."""
    phases = [square[i::boost, j::boost] for i in range(boost) for j in range(boost)]
    return np.ascontiguousarray(np.stack(phases).transpose(0, 3, 1, 2), np.float32)


def join_phases(phases: Image, boost: int) -> Image:
    """Undo `split_phases`."""
    _, channels, height, width = phases.shape
    square = np.empty((height * boost, width * boost, channels), np.float32)
    for number, phase in enumerate(phases):
        i, j = divmod(number, boost)
        square[i::boost, j::boost] = phase.transpose(1, 2, 0)
    return square


def open_stylemix(
    weights: str = WEIGHTS,
    *,
    detail: bool = False,
    eyes: bool = False,
    boost: Boost = 1,
    device: Device = "cpu",
    threads: int = 1,
) -> StyleMixSwapper:
    """Load a shipped network and the steps that are wanted: `mdrn` (detail), `errs` (eyes).

    Raises WeightRefused and DeviceUnavailable.
    """
    finishes: list[Finish] = []
    if detail:
        finishes.append(open_detail(device=device, threads=threads))
    if eyes:
        finishes.append(EyeReflections())
    network = open_network(weights, device=device, threads=threads)
    return StyleMixSwapper(network, boost=boost, finishes=finishes)
