"""What a training run looks at while it runs: does it learn, does it swap, does it only copy?

Progress is the share of the target copy's error that is gone on changed pixels; the copy is a
strong wrong answer, so a run that only approaches it looks good in every plain loss. Figures are of
validation people and judged by the loss's own net: for watching, not for claims. Stopped
(TrainingStopped): runs that collapse to the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from generator.batches import Batch
from generator.losses import CHANGED_LEVELS, EMBEDDING, LEVEL, FaceJudge, chip_grids
from generator.samples import SampleSet
from generator.stylemix import StyleMixNet
from provenance.watermark.learned.errors import TrainingStopped

COLLAPSED_PROGRESS = 0.05
COLLAPSED_MARGIN = 0.05
COLLAPSE_FROM = 0.2
"""Share of a run from which a collapse ends it; before, every run starts at the composite."""
BATCH = 16


@dataclass(frozen=True, slots=True)
class Watched:
    """Means over n samples of one kind.

    progress, geo_progress: 1 - L1(out, label) / L1(target, label) on changed pixels, of the network
    and of the composite. margin, geo_margin, label_margin: identity distance to the target minus
    that to the source's vector. kid: squared kernel distance (Binkowski et al., ICLR 2018) of the
    identity net's features between results and labels, times 1000.
    """

    n: int
    progress: float
    geo_progress: float
    margin: float
    geo_margin: float
    label_margin: float
    kid: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values, rounded."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


@torch.no_grad()
def watch(net: StyleMixNet, judge: FaceJudge, batches: Sequence[Batch]) -> Watched:
    """Return the figures of a network on undisturbed batches."""
    errors, margins, results, labels = [], [], [], []
    for batch in batches:
        image = net(batch.inputs, batch.mask, batch.id_source, batch.id_target).image.clamp(-1, 1)
        shown = (image, batch.composite, batch.target)
        errors.append(torch.stack([changed_error(x, batch) for x in shown], 1))
        points = batch.composite_points.cpu().numpy()
        chips = chip_grids(points, image.shape[-1]).to(image.device)
        ids = [judge.look(x, chips)[EMBEDDING] for x in (*shown[:2], batch.label, batch.target)]
        margins.append(
            torch.stack(
                [(x - ids[3]).norm(dim=1) - (x - batch.id_source).norm(dim=1) for x in ids[:3]], 1
            )
        )
        results.append(ids[0])
        labels.append(ids[2])
    made, geo, copied = torch.cat(errors).mean(0).tolist()
    margin, geo_margin, label_margin = torch.cat(margins).mean(0).tolist()
    return Watched(
        n=sum(len(batch.label) for batch in batches),
        progress=1 - made / max(copied, 1e-9),
        geo_progress=1 - geo / max(copied, 1e-9),
        margin=margin,
        geo_margin=geo_margin,
        label_margin=label_margin,
        kid=1000 * kernel_distance(torch.cat(results), torch.cat(labels)),
    )


def watch_all(net: StyleMixNet, judge: FaceJudge, samples: SampleSet) -> dict[str, Watched]:
    """Return the figures by kind: forward and reverse."""
    return {
        kind: watch(net, judge, parts)
        for kind in ("forward", "reverse")
        if (parts := list(samples.parts(kind, BATCH)))
    }


def changed_error(image: Tensor, batch: Batch) -> Tensor:
    """Return the mean |image - label| on all changed pixels of the square, grey levels (n,)."""
    apart = (batch.label - batch.target).abs().mean(1) * LEVEL
    changed = (apart > CHANGED_LEVELS).float()
    missed = (image - batch.label).abs().mean(1) * LEVEL * changed
    return missed.sum((1, 2)) / changed.sum((1, 2)).clamp(min=1)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Return the unbiased squared MMD of features (n, d) and (m, d), cubic polynomial kernel."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        values, n = kernel(a, a), len(a)
        return (values.sum() - values.diagonal().sum()) / max(n * (n - 1), 1)

    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


class CollapseGuard:
    """Ends a run that shows the target again: two such reports in a row after a fifth of it."""

    def __init__(self) -> None:
        self.strikes, self._seen = 0, ""

    def look(
        self, progress: float, seen: Mapping[str, float], say: Callable[[str], object]
    ) -> None:
        """Take the figures of a report (`Watched.as_json`) at `progress` 0..1 of the run."""
        if progress < COLLAPSE_FROM:
            return
        copies = seen["progress"] < COLLAPSED_PROGRESS
        shows_target = seen["margin"] < seen["geo_margin"] - COLLAPSED_MARGIN
        self.strikes = self.strikes + 1 if copies or shows_target else 0
        if not self.strikes:
            return
        self._seen = (
            f"progress {seen['progress']:.3f}, margin {seen['margin']:.3f}, "
            f"geo's margin {seen['geo_margin']:.3f}"
        )
        say(f"the network goes back to the target: {self._seen}")

    def require(self) -> None:
        """Raise TrainingStopped after the second bad report; ask once the checkpoint is kept."""
        if self.strikes >= 2:
            raise TrainingStopped(
                f"the network collapsed to the target: {self._seen}",
                mend="raise the weight of changed pixels or of identity; the checkpoint is kept",
            )
