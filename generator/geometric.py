"""geo, the model-free swapper: warped pixels of the source in the target's shape, light and pose.

What it lays out and refuses is in `generator.laying`. No weights, no randomness: the same inputs
give the same pixels. Refused beyond that: a shape blend outside 0..1 (OutOfRange).
"""

from __future__ import annotations

from collections.abc import Mapping

from generator.laying import SHAPE_BLEND, lay_out, paste
from generator.swapper import OutOfRange, Rendering, SwapTask, require_task


class GeometricSwapper:
    """The swapper `geo`. `shape_blend` in 0..1 is the share of the source's shape."""

    name = "geo"

    def __init__(self, *, shape_blend: float = SHAPE_BLEND) -> None:
        if not 0.0 <= shape_blend <= 1.0:
            raise OutOfRange("the shape blend", measured=shape_blend, limit=1.0)
        self.shape_blend = shape_blend
        self.version = f"2+s{shape_blend:.3f}"
        self.models: Mapping[str, str] = {}

    def render(self, task: SwapTask) -> Rendering:
        """Return the swapped frame and its mask; raises WarrantInvalid, UnnamedFace, OutOfRange."""
        layers = lay_out(require_task(task), self.shape_blend)
        return paste(layers.composite, layers.mask, layers, task.target.frame)
