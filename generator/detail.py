"""MDRN at a request: fine detail of the swapped face restored on a square cut around it.

The network sees the picture, the target it was laid on and the mask, never more finely than the
picture itself: small faces are not enlarged, because there is nothing between their pixels. Only
what it changes is put back, so whatever the square cannot hold stays as it is, and a pixel where
the mask is 0 stays bit for bit. Refused: what `generator.runtime` refuses, and a picture that is
not the size of its layers (ShapeError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from generator.canonical import Square, frame_square
from generator.errors import ShapeError
from generator.laying import Layers
from generator.runtime import Device, Network, open_network
from generator.view import Image

WEIGHTS: Final = "mdrn"
SIDE_PX: Final = 256
LEVEL: Final = 127.5
"""Grey levels per unit: the network's pictures are -1..1."""


class DetailRestoration:
    """The finishing step `mdrn`; keeps nothing between pictures."""

    name = "mdrn"
    version = "1"

    def __init__(self, network: Network) -> None:
        self._network = network
        self.models: Mapping[str, str] = network.models

    def apply(self, picture: Image, layers: Layers) -> Image:
        """Return the picture with its detail, BGR float32 (h, w, 3), 0..255.

        picture: a finished window of `layers`. Raises ShapeError and WeightRefused.
        """
        if picture.shape != layers.target.shape:
            raise ShapeError("picture", actual=picture.shape, expected=layers.target.shape)
        square = detail_square(layers)
        seen = _planes(square.cut(picture))
        made = self._network.run(
            picture=seen,
            target=_planes(square.cut(layers.target)),
            mask=square.cut(layers.mask)[None, None],
        )["image"]
        change = np.ascontiguousarray((made - seen)[0].transpose(1, 2, 0)) * np.float32(LEVEL)
        restored = np.clip(picture + square.put_back(change), 0.0, 255.0)
        return np.where(layers.mask[..., None] > 0, restored, picture).astype(np.float32)


def open_detail(*, device: Device = "cpu", threads: int = 1) -> DetailRestoration:
    """Return the step with the shipped weights; raises DeviceUnavailable and WeightRefused."""
    return DetailRestoration(open_network(WEIGHTS, device=device, threads=threads))


def detail_square(layers: Layers) -> Square:
    """Return the square that the network sees: the face fills it, unless that enlarged the face."""
    square = frame_square(layers.own_mesh, layers.mask.shape, SIDE_PX)
    if square.scale <= 1.0:
        return square
    middle = np.full(2, SIDE_PX / 2 - 0.5)
    shift = (square.matrix[:, 2] - middle) / square.scale + middle
    return replace(square, matrix=np.column_stack([square.matrix[:, :2] / square.scale, shift]))


def _planes(picture: Image) -> Image:
    """Return a picture (h, w, 3) of 0..255 as the network takes it: (1, 3, h, w) in -1..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None] / np.float32(LEVEL) - 1
